//! What a stranger writes makes a passkey of this site with a sound key and id, or none; and nobody signs in with one that is not theirs.
#![no_main]

use std::sync::LazyLock;

use doorward::oauth::passkey::{Answer, Key, Known, LONGEST_ID, New, RelyingParty};
use libfuzzer_sys::fuzz_target;

pub(crate) const CHALLENGE: &str = "Y2hhbGxlbmdl";
/// The base point of P-256: a key that nobody holds.
pub(crate) const KEY: [&[u8]; 4] = [
    &[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20],
    b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96",
    &[0x22, 0x58, 0x20],
    b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5",
];

pub(crate) static PARTY: LazyLock<RelyingParty> = LazyLock::new(|| RelyingParty::of("https://mcp.example.com").expect("a name"));

pub(crate) fn client_data(ceremony: &str) -> Vec<u8> {
    format!(r#"{{"type":"webauthn.{ceremony}","challenge":"{CHALLENGE}","origin":"https://mcp.example.com","crossOrigin":false}}"#)
        .into_bytes()
}

fuzz_target!(|bytes: &[u8]| {
    let _ = New { client_data: bytes, attestation: bytes }.judge(&PARTY, CHALLENGE);
    if let Ok(made) = (New { client_data: &client_data("create"), attestation: bytes }).judge(&PARTY, CHALLENGE) {
        assert!((1..=LONGEST_ID).contains(&made.id.len()));
        assert!(Key::read(&made.key).is_some());
        assert!(made.backup.eligible || !made.backup.done);
    }
    let key = KEY.concat();
    let known = Known { key: &key, counter: 0, eligible: false, account: "alice" };
    // Any two parts: what the authenticator said, and its signature.
    let (data, signature) = bytes.split_at(bytes.len().min(37));
    let answer = Answer { client_data: &client_data("get"), authenticator_data: data, signature, user_handle: b"alice" };
    assert!(answer.judge(&PARTY, CHALLENGE, &known).is_err());
    let _ = Key::read(bytes);
});
