//! The words on pages. English is built in; a file per language says what it wants otherwise.

use std::sync::Arc;

use serde::Deserialize;

/// What pages show besides what a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The name above each page.
    pub title: String,
    /// Who is asked for approval and help, as people are told.
    pub contact: Option<String>,
    /// By language tag, in the order of the file; English comes last and is always there.
    pub languages: Vec<(String, Arc<Texts>)>,
}

impl Pages {
    /// The language that fits `Accept-Language` best (RFC 9110 §12.5.4), by its primary tag.
    pub fn pick(&self, accepted: &str) -> (&str, &Arc<Texts>) {
        let mut wanted: Vec<(&str, u16)> = accepted.split(',').take(16).filter_map(range).collect();
        wanted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let find = |tag: &str| {
            let primary = tag.split('-').next().unwrap_or(tag);
            let exact = self.languages.iter().find(|(language, _)| language.eq_ignore_ascii_case(tag));
            exact.or_else(|| self.languages.iter().find(|(language, _)| language.eq_ignore_ascii_case(primary)))
        };
        let found = wanted.iter().find_map(|(tag, _)| find(tag)).or_else(|| find("en")).or_else(|| self.languages.last());
        found.map_or(("en", &ENGLISH), |(language, texts)| (language, texts))
    }
}

static ENGLISH: std::sync::LazyLock<Arc<Texts>> = std::sync::LazyLock::new(Arc::default);

/// A language range and its weight in thousandths; none where it is not wanted.
fn range(text: &str) -> Option<(&str, u16)> {
    let (tag, weight) = text.split_once(";q=").unwrap_or((text, "1"));
    let weight = (weight.trim().parse::<f32>().ok()? * 1000.0) as u16;
    (weight > 0).then_some((tag.trim(), weight))
}

macro_rules! texts {
    ($($name:ident: $english:literal,)*) => {
        /// Every text, by its key in a translation. `{word}` is filled in.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[expect(missing_docs, reason = "each text says itself what it is")]
        pub struct Texts {
            $(pub $name: String,)*
        }

        impl Default for Texts {
            fn default() -> Self {
                Self { $($name: $english.into(),)* }
            }
        }

        impl Texts {
            /// Keys and texts.
            pub fn pairs(&self) -> Vec<(&'static str, &str)> {
                vec![$((stringify!($name), self.$name.as_str()),)*]
            }
        }
    };
}

texts! {
    reference: "Reference for the operator:",
    continue_with: "Continue with {login}",
    allow: "Allow",
    allow_with: "Allow, and sign in with {login}",
    try_again: "Try again",
    consent_title: "Allow {client} to use {resource}?",
    consent_lead: "It would act there in your name.",
    consent_unverified: "Nobody has vouched for this name: the client chose it itself.",
    consent_client: "Client",
    consent_resource: "Tools",
    consent_goes_to: "Access goes to",
    consent_this_computer: "a program on this computer",
    consent_program: "the program on this device that opens {scheme}: addresses",
    consent_loopback_warning: "Go on only if you started {client} on this computer yourself just now. Any program on it could be asking.",
    consent_program_warning: "Go on only if you started {client} yourself just now. Another program on this device could be asking.",
    consent_as: "Signed in as",
    consent_scopes: "It could",
    consent_no_scopes: "It asks for no particular permission.",
    consent_offline: "Stay connected while you are away",
    consent_other: "Allow, with another account",
    consent_deny: "Do not allow",
    consent_revoke_hint: "You can disconnect it at any time.",
    denied_title: "Not allowed",
    denied: "{client} was given nothing. You can close this page.",
    waiting_title: "{client} waits for approval",
    waiting: "It is new here, and must first be approved by {contact}. Nothing is wrong with your account.",
    waiting_code: "To speed it up, tell them this code:",
    waiting_then: "Once it is approved, try again here or connect again from {client}.",
    suspended_title: "{client} is suspended",
    suspended: "It may not be used at present. Ask {contact} about it.",
    retired_title: "{client} is not used any more",
    retired: "Its entry here has ended for good. Remove it from your client and connect anew.",
    operator: "the operator of {host}",
    error_title: "This did not work",
    error_client: "The client that sent you here is not known. Remove the server from it and connect anew.",
    error_document: "The client that sent you here could not be looked up.",
    error_redirect: "The client wants its answer at an address that it has not registered, so you were not sent there.",
    error_request: "The client that sent you here asked for something that cannot be given: {what}.",
    error_begin_again: "This page is too old, or was opened in another browser. Go back to your client and connect again.",
    error_forged: "This did not come from a page of ours in this browser, so nothing was done.",
    error_login: "Signing in did not work. Try again from your client.",
    error_login_cancelled: "You did not sign in, so nothing was given. You can close this page.",
    error_entrance: "You are signed in, but may not use this. Ask {contact} for access.",
    error_unavailable: "This is not available at present. Try again in a moment.",
    error_not_found: "There is nothing here.",
    refused_title: "{client} cannot be connected",
    refused: "It asked for something that cannot be given: {what}.",
    refused_tell: "To tell it so, sign in and go back to it.",
    sign_in_title: "Sign in",
    sign_in_lead: "To see which clients are connected in your name.",
    sign_out: "Sign out",
    signed_out_title: "Signed out",
    signed_out: "You are signed out here. Clients that you connected stay connected.",
    connected_title: "Connected clients",
    connected_none: "No client is connected in your name.",
    connected_dates: "Connected {since}, last used {used}",
    connected_disconnect: "Disconnect",
    connected_disconnect_one: "Disconnect {client} from {resource}",
    connected_done: "{client} is disconnected.",
    account_title: "Your account",
    account_lead: "To see and change your account.",
    account_name: "Name",
    account_sessions: "Where you are signed in",
    account_session_since: "Since {since} UTC",
    account_session_here: "this browser",
    account_session_end: "Sign out there",
    account_sign_out: "Sign out in this browser",
    account_session_ended: "That browser is signed out.",
    account_password: "Another password",
    account_password_button: "Change the password",
    account_password_changed: "The password is changed, and your other browsers are signed out.",
    account_current_wrong: "That is not your present password.",
    account_codes_left: "Recovery codes left: {count}. New ones take the place of the old.",
    account_codes_button: "Make new recovery codes",
    sign_in_password: "Password",
    password_current: "Present password",
    password_new: "New password, of at least 15 characters",
    password_again: "The same again",
    password_differs: "The two passwords are not the same.",
    password_short: "A password has at least 15 characters. A few words in a row are fine.",
    password_long: "That password is too long.",
    password_guessable: "That password is among the first that anybody would try. Take another.",
    sign_in_wrong: "Name and password do not fit together.",
    sign_in_wait: "Too many attempts. Wait {seconds} seconds and try again.",
    passkey_title: "Passkeys",
    passkey_lead: "A passkey is a key on your device that you use with your finger, face or PIN. No other site can ask for it.",
    passkey_instead: "Or take a passkey instead",
    passkey_label: "What to call it (optional)",
    passkey_make: "Make a passkey",
    passkey_made: "The passkey is kept. You can sign in with it from now on.",
    passkey_sign_in: "Sign in with a passkey",
    passkey_dates: "Made {made}, last used {used} UTC",
    passkey_unused: "Made {made} UTC, not used yet",
    passkey_backed_up: "kept by your provider too",
    passkey_remove: "Remove",
    passkey_remove_one: "Remove the passkey {passkey}",
    passkey_rename: "Rename",
    passkey_rename_one: "Rename the passkey {passkey}",
    passkey_renamed: "The passkey is called {passkey} from now on.",
    passkey_name: "What to call it",
    passkey_removed: "The passkey is removed, and lets nobody in any more. It may still stand on your device.",
    passkey_last: "This passkey is your only way in. Set a password or make another passkey first.",
    passkey_anew: "Sign out and in again first: this wants a sign-in of the last ten minutes.",
    passkey_failed: "That did not work, or was cancelled. Try again, or take another way.",
    passkey_wrong: "That passkey cannot be used here. Try again, or take another way.",
    recovery_title: "Sign in with a recovery code",
    recovery_lead: "Each code works once. You choose a new password; whatever was signed in or connected before ends, and passkeys are removed.",
    recovery_code: "Recovery code",
    recovery_button: "Set the password and sign in",
    recovery_wrong: "Name and code do not fit together, or the code was used before.",
    recovery_link: "The password is lost? Use a recovery code.",
    recovery_back: "Sign in with the password.",
    invite_title: "Choose a password",
    invite_lead: "You were invited. With name and password you sign in, and allow clients to act in your name.",
    invite_button: "Set the password",
    invite_gone: "This link does not work any more: it was used, or is too old. Ask {contact} for another.",
    codes_title: "Recovery codes",
    codes_lead: "Keep these where nobody else sees them. Each lets you in once when the password is lost. They are not shown again.",
    codes_then: "You can go back to your client and connect now.",
}

/// A text with its words filled in. What is filled in is not read again.
pub fn fill(text: &str, words: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(name, tail)| Some((words.iter().find(|(word, _)| *word == name)?.1, tail)));
        match value {
            Some((value, tail)) => {
                filled.push_str(value);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

/// The words that a text wants filled in.
pub fn blanks(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        let languages = ["de", "pt-BR", "en"].map(|tag| (tag.to_owned(), Arc::default()));
        Pages { title: String::new(), contact: None, languages: languages.to_vec() }
    }

    #[test]
    fn the_language_that_is_wanted_most_is_picked() {
        let pages = pages();
        let picked = |accepted| pages.pick(accepted).0.to_owned();
        assert_eq!(picked("de-CH, en;q=0.5"), "de");
        assert_eq!(picked("fr, en;q=0.3, de;q=0.8"), "de");
        assert_eq!(picked("pt-br"), "pt-BR");
        assert_eq!(picked("de;q=0, fr"), "en");
        assert_eq!((picked(""), picked("*"), picked(";;q=x,,")), ("en".into(), "en".into(), "en".into()));
    }

    #[test]
    fn what_is_filled_in_is_not_read_again() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "x")]), "{b} and x");
        assert_eq!(fill("{unknown} {", &[("a", "x")]), "{unknown} {");
        assert_eq!(blanks("{a} and {b}"), ["a", "b"]);
    }
}
