use super::forge::Authenticator;
use super::*;

const CHALLENGE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn party() -> RelyingParty {
    RelyingParty::of("https://mcp.example.com").expect("a party")
}

fn authenticator() -> Authenticator {
    Authenticator::new("mcp.example.com", "https://mcp.example.com")
}

/// A new passkey of an authenticator that was changed so.
fn made(change: impl FnOnce(&mut Authenticator)) -> Result<Made, Unproven> {
    let mut authenticator = authenticator();
    change(&mut authenticator);
    let (client_data, attestation) = authenticator.make(CHALLENGE);
    New { client_data: &client_data, attestation: &attestation }.judge(&party(), CHALLENGE)
}

/// A use by one that was changed so after it was known with counter 7.
fn used(change: impl FnOnce(&mut Authenticator)) -> Result<Used, Unproven> {
    let mut authenticator = authenticator();
    authenticator.counter = 8;
    let key = authenticator.key();
    change(&mut authenticator);
    let (client_data, data, signature) = authenticator.answer(CHALLENGE);
    let answer = Answer { client_data: &client_data, authenticator_data: &data, signature: &signature, user_handle: b"alice-1" };
    answer.judge(&party(), CHALLENGE, &Known { key: &key, counter: 7, eligible: true, account: "alice-1" })
}

#[test]
fn browsers_make_passkeys_at_names_over_tls_and_at_localhost_alone() {
    let id = |url| RelyingParty::of(url).map(|party| (party.id, party.origin));
    assert_eq!(id("https://mcp.example.com"), Some(("mcp.example.com".into(), "https://mcp.example.com".into())));
    assert_eq!(id("https://mcp.example.com:8443"), Some(("mcp.example.com".into(), "https://mcp.example.com:8443".into())));
    assert_eq!(id("http://localhost:8730"), Some(("localhost".into(), "http://localhost:8730".into())));
    for none in ["http://127.0.0.1:8730", "https://10.0.0.1", "https://[::1]", "http://mcp.example.com", "nothing"] {
        assert_eq!(id(none), None, "{none}");
    }
}

#[test]
fn s7_1_a_new_passkey_is_taken_with_its_key_counter_and_backup_state() {
    let passkey = made(|one| one.counter = 3).expect("a passkey");
    assert_eq!((passkey.counter, passkey.backup), (3, Backup { eligible: true, done: true }));
    assert_eq!(passkey.id.len(), 32);
    assert_eq!(Key::read(&passkey.key).map(|key| key.algorithm()), Some(-7));
    assert!(made(|one| one.flags = 0b101).is_ok_and(|made| made.backup == Backup { eligible: false, done: false }));
    assert!(made(|one| one.format = "packed").is_ok(), "signed by itself");
}

type Change = fn(&mut Authenticator);

/// Rules that both ceremonies share.
const SHARED: [(Change, Unproven); 9] = [
    (|one| one.origin = "https://evil.example".into(), Unproven::Origin),
    (|one| one.origin = "https://mcp.example.com:444".into(), Unproven::Origin),
    (|one| one.more = r#","topOrigin":"https://evil.example""#.into(), Unproven::Framed),
    (|one| one.more = r#","origin":"https://mcp.example.com""#.into(), Unproven::ClientData),
    (|one| one.party = "example.com".into(), Unproven::Party),
    (|one| one.flags = 0b0001_1100, Unproven::Presence),
    (|one| one.flags = 0b0001_1001, Unproven::Verification),
    (|one| one.flags = 0b0001_0101, Unproven::Backup),
    (|one| one.flags |= 1 << 7, Unproven::AuthenticatorData),
];

#[test]
fn s7_1_and_s7_2_each_shared_rule_refuses_both_ceremonies() {
    for (n, (change, why)) in SHARED.into_iter().enumerate() {
        assert_eq!(made(change), Err(why), "{n}, made");
        assert_eq!(used(change), Err(why), "{n}, used");
    }
}

#[test]
fn s7_1_another_ceremony_challenge_frame_attestation_or_id_is_refused() {
    let one = authenticator();
    let judge = |client_data: &[u8], attestation: &[u8], challenge: &str| New { client_data, attestation }.judge(&party(), challenge);
    let (client_data, attestation) = one.make(CHALLENGE);
    assert!(judge(&client_data, &attestation, CHALLENGE).is_ok());
    assert_eq!(judge(&client_data, &attestation, "another"), Err(Unproven::Challenge));
    assert_eq!(judge(&one.client_data("get", CHALLENGE), &attestation, CHALLENGE), Err(Unproven::Ceremony));
    let framed = String::from_utf8(client_data.clone()).expect("text").replace("false", "true");
    assert_eq!(judge(framed.as_bytes(), &attestation, CHALLENGE), Err(Unproven::Framed));
    assert_eq!(judge(b"{", &attestation, CHALLENGE), Err(Unproven::ClientData));
    for cut in 0..attestation.len() {
        let part = attestation.get(..cut).expect("a part");
        assert_eq!(judge(&client_data, part, CHALLENGE), Err(Unproven::Attestation), "{cut}");
    }
    assert_eq!(judge(&client_data, &[&attestation[..], &[0]].concat(), CHALLENGE), Err(Unproven::Attestation));
    for format in ["fido-u2f", "tpm", ""] {
        assert_eq!(made(|one| one.format = format), Err(Unproven::Attestation), "{format}");
    }
    assert_eq!(made(|one| one.id = Vec::new()), Err(Unproven::CredentialId));
    assert_eq!(made(|one| one.id = vec![1; LONGEST_ID + 1]), Err(Unproven::CredentialId));
    assert!(made(|one| one.id = vec![1; LONGEST_ID]).is_ok());
}

#[test]
fn s7_1_a_self_attestation_of_another_key_or_of_other_data_is_refused() {
    let (mut one, mut other) = (authenticator(), authenticator());
    (one.format, other.format) = ("packed", "packed");
    let (client_data, data) = (one.client_data("create", CHALLENGE), one.data(Some(&one.key())));
    let judge = |attestation: &[u8]| New { client_data: &client_data, attestation }.judge(&party(), CHALLENGE);
    assert!(judge(&one.attestation(&data, &client_data)).is_ok());
    assert_eq!(judge(&other.attestation(&data, &client_data)), Err(Unproven::Attestation));
    assert_eq!(judge(&one.attestation(&data, b"{}")), Err(Unproven::Attestation));
}

#[test]
fn s7_1_a_passkey_without_credential_or_of_a_key_that_was_not_asked_for_is_refused() {
    let one = authenticator();
    let client_data = one.client_data("create", CHALLENGE);
    let judge = |data: &[u8]| {
        let attestation = one.attestation(data, &client_data);
        New { client_data: &client_data, attestation: &attestation }.judge(&party(), CHALLENGE)
    };
    assert_eq!(judge(&one.data(None)), Err(Unproven::AuthenticatorData));
    assert_eq!(judge(&[&one.data(Some(&one.key()))[..], &[0xa0]].concat()), Err(Unproven::AuthenticatorData));
    let mut odd = one.key();
    *odd.get_mut(4).expect("a byte") = 0x29;
    assert_eq!(judge(&one.data(Some(&odd))), Err(Unproven::Key));
    let mut elsewhere = one.key();
    *elsewhere.last_mut().expect("a byte") ^= 1;
    assert_eq!(judge(&one.data(Some(&elsewhere))), Err(Unproven::Key), "a point that is not on the curve");
    assert_eq!(judge(&one.data(Some(&[0xa0]))), Err(Unproven::Key));
}

#[test]
fn s7_2_a_passkey_proves_its_person_and_says_how_often_it_was_used() {
    assert_eq!(used(|_| {}), Ok(Used { counter: 8, backed_up: true }));
    assert_eq!(used(|one| one.flags = 0b0000_1101), Ok(Used { counter: 8, backed_up: false }));
}

#[test]
fn s7_2_a_counter_that_does_not_grow_may_be_that_of_a_copy() {
    for counter in [0, 1, 7] {
        assert_eq!(used(|one| one.counter = counter), Err(Unproven::Counter), "{counter}");
    }
    let one = authenticator();
    let (client_data, data, signature) = one.answer(CHALLENGE);
    let answer = Answer { client_data: &client_data, authenticator_data: &data, signature: &signature, user_handle: b"a" };
    let known = Known { key: &one.key(), counter: 0, eligible: true, account: "a" };
    assert_eq!(answer.judge(&party(), CHALLENGE, &known).map(|used| used.counter), Ok(0), "an authenticator that does not count");
}

#[test]
fn s7_2_another_person_ceremony_challenge_signature_or_kind_of_backup_is_refused() {
    let (one, other) = (authenticator(), authenticator());
    let (client_data, data, signature) = one.answer(CHALLENGE);
    let key = one.key();
    let known = Known { key: &key, counter: 0, eligible: true, account: "alice-1" };
    let good = Answer { client_data: &client_data, authenticator_data: &data, signature: &signature, user_handle: b"alice-1" };
    let judge = |answer: Answer<'_>, known: &Known<'_>| answer.judge(&party(), CHALLENGE, known);
    assert!(judge(good, &known).is_ok());
    assert_eq!(judge(Answer { user_handle: b"bob-1", ..good }, &known), Err(Unproven::Person));
    assert_eq!(judge(Answer { user_handle: b"", ..good }, &known), Err(Unproven::Person));
    assert_eq!(judge(good, &Known { account: "bob-1", ..known }), Err(Unproven::Person));
    assert_eq!(good.judge(&party(), "another", &known), Err(Unproven::Challenge));
    assert_eq!(judge(Answer { client_data: &one.client_data("create", CHALLENGE), ..good }, &known), Err(Unproven::Ceremony));
    assert_eq!(judge(Answer { authenticator_data: &[], ..good }, &known), Err(Unproven::AuthenticatorData));
    assert_eq!(judge(good, &Known { eligible: false, ..known }), Err(Unproven::Backup));
    assert_eq!(judge(good, &Known { key: &other.key(), ..known }), Err(Unproven::Signature));
    assert_eq!(judge(Answer { signature: &[], ..good }, &known), Err(Unproven::Signature));
    let spaced = [&client_data[..], b" "].concat();
    assert_eq!(judge(Answer { client_data: &spaced, ..good }, &known), Err(Unproven::Signature));
    assert_eq!(judge(good, &Known { key: b"", ..known }), Err(Unproven::Key));
}

#[test]
fn keys_of_ed25519_and_rsa_are_read_and_check_what_they_signed() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use crate::token::Algorithm;
    use crate::token::forge::Signer;
    let (ed, rsa) = (Signer::new(Algorithm::EdDSA), Signer::rsa());
    let member = |jwk: &serde_json::Value, name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("text")).expect("base64url");
    let cose = [&[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32][..], &member(&ed.jwk(""), "x")].concat();
    let key = Key::read(&cose).expect("a key");
    let signature = ed.sign(Algorithm::EdDSA, b"m");
    assert!(key.verify(b"m", &signature) && !key.verify(b"n", &signature));
    let (n, e) = (member(&rsa.jwk(""), "n"), member(&rsa.jwk(""), "e"));
    let cose = [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59, 1, 0][..], &n, &[0x21, 0x43], &e].concat();
    let key = Key::read(&cose).expect("a key");
    let signature = rsa.sign(Algorithm::RS256, b"m");
    assert!(key.verify(b"m", &signature) && !key.verify(b"n", &signature));
    let short = [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x58, 128][..], &n[..128], &[0x21, 0x43], &e].concat();
    assert!(Key::read(&short).is_none(), "1024 bits");
    assert!(Key::read(&[&cose[..], &[0]].concat()).is_none(), "something follows");
    let twice = [&[0xa5, 1, 1, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32][..], &member(&ed.jwk(""), "x")].concat();
    assert!(Key::read(&twice).is_none(), "a member stands twice");
}
