//! Accounts of our own: what a name and a password may be, and how fast somebody may guess.
//!
//! Knows no clock, no randomness and no hashing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of the shortest password. There is no second factor beside it (NIST SP 800-63B-4 §3.1.1.2 wants 15 there).
pub const SHORTEST: usize = 15;
/// Bytes of the longest.
pub const LONGEST: usize = 1024;
/// Characters of the longest name.
const LONGEST_NAME: usize = 64;
/// Attempts that cost no wait.
const FREE: u32 = 5;
/// Seconds of the longest wait between two attempts.
const LONGEST_WAIT: u64 = 15 * 60;
/// How long attempts are remembered, in seconds.
pub const MEMORY: u64 = 24 * 3600;

/// Long and yet guessed first.
const COMMON: [&str; 12] = [
    "passwordpassword",
    "123456789012345",
    "1234567890123456",
    "qwertyuiopasdfg",
    "qwertyuiopasdfghjkl",
    "correcthorsebatterystaple",
    "correct horse battery staple",
    "adminadminadmin",
    "iloveyouiloveyou",
    "letmeinletmeinletmein",
    "changemechangeme",
    "passwordpassword1",
];

/// Where an account is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// Made, and its person has not come yet.
    Invited,
    Active,
    /// Nobody signs in with it until it is enabled again.
    Disabled,
}

impl AccountState {
    const ALL: [Self; 3] = [Self::Invited, Self::Active, Self::Disabled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Never given to another: the subject of its tokens is `account|` and this.
    pub id: String,
    /// What its person types, as [`name`] writes it.
    pub name: String,
    /// What people read.
    pub display: Option<String>,
    pub email: Option<String>,
    pub groups: Vec<String>,
    pub state: AccountState,
    /// A PHC string; none where no password is set.
    pub password: Option<String>,
    /// In seconds since 1970.
    pub created: u64,
    pub changed: u64,
}

impl Account {
    /// Of its tokens. Logins elsewhere cannot make such a subject.
    pub fn subject(&self) -> String {
        format!("{SUBJECT}{}", self.id)
    }
}

/// What an invitation holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The account's id.
    pub account: String,
}

impl Invitation {
    /// As it is kept: one text for each account.
    pub fn text(&self) -> String {
        serde_json::json!({ "account": self.account }).to_string()
    }
}

/// What subjects of accounts begin with.
pub const SUBJECT: &str = "account|";

/// Why a name or a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Name,
    TooShort,
    TooLong,
    /// Among the first that anybody tries.
    Guessable,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => {
                write!(f, "a name has 1 to {LONGEST_NAME} of the letters a to z, digits, and . _ - @ +, and begins with a letter or digit")
            }
            Self::TooShort => write!(f, "a password has at least {SHORTEST} characters; a few words in a row are fine"),
            Self::TooLong => write!(f, "a password has at most {LONGEST} bytes"),
            Self::Guessable => f.write_str("that password is among the first that anybody would try"),
        }
    }
}

/// A name as it is kept: in lower case, so that no two differ in case alone.
///
/// # Errors
/// It has other characters, or is too long.
pub fn name(written: &str) -> Result<String, Unfit> {
    let name = written.trim().to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '@' | '+');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && name.len() <= LONGEST_NAME && name.chars().all(allowed) { Ok(name) } else { Err(Unfit::Name) }
}

/// Whether a password may be set for this account. No rule of what kinds of characters it has (NIST SP 800-63B-4 §3.1.1.2).
///
/// # Errors
/// What is wrong with it.
pub fn password(written: &str, name: &str) -> Result<(), Unfit> {
    if written.chars().count() < SHORTEST {
        return Err(Unfit::TooShort);
    }
    if written.len() > LONGEST {
        return Err(Unfit::TooLong);
    }
    let folded = written.to_lowercase();
    let mut kinds: Vec<char> = folded.chars().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let repeats_name = name.len() >= 3 && folded.replace(name, "").chars().count() < SHORTEST / 2;
    if kinds.len() < 5 || repeats_name || COMMON.contains(&folded.as_str()) {
        return Err(Unfit::Guessable);
    }
    Ok(())
}

/// Seconds until the next attempt may be made, after this many that failed in a row.
pub fn wait(failures: u32) -> u64 {
    match failures.checked_sub(FREE) {
        None => 0,
        Some(more) => 1_u64.checked_shl(more).unwrap_or(LONGEST_WAIT).clamp(1, LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_differ_in_case_or_space_alone() {
        assert_eq!(name(" Alice@Example.com ").as_deref(), Ok("alice@example.com"));
        for odd in ["", " ", "-a", ".a", "a b", "ä", "a\u{0}", "a/b", "a|b", "a%", &"a".repeat(65)] {
            assert_eq!(name(odd), Err(Unfit::Name), "{odd:?}");
        }
    }

    #[test]
    fn passwords_are_long_and_not_the_first_that_anybody_tries() {
        assert_eq!(password("four plain words here", "alice"), Ok(()));
        assert_eq!(password("日本語のとても長い合い言葉ですよね", "alice"), Ok(()));
        assert_eq!(password("short", "alice"), Err(Unfit::TooShort));
        assert_eq!(password(&"ab cde fgh ".repeat(100), "alice"), Err(Unfit::TooLong));
        for odd in ["Correct Horse Battery Staple", "aaaaaaaaaaaaaaaaaaaa", "abababababababab", "alicealicealice1", "PasswordPassword"] {
            assert_eq!(password(odd, "alice"), Err(Unfit::Guessable), "{odd}");
        }
    }

    #[test]
    fn waits_begin_after_a_few_attempts_grow_and_end_at_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (0..20).map(wait).collect();
        assert_eq!(waits.iter().take(8).copied().collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 2, 4]);
        assert!(waits.is_sorted());
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
    }
}
