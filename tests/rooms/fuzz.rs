//! Every fuzz target is compiled here as it stands, and holds for its seeds and for a little of what chance brings.
//!
//! The real runs are `fuzz/README.md`'s. Here a stand-in takes the place of libFuzzer, so that no target is left behind by a
//! change of the rooms.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::test_runner::{Config, TestRunner};

macro_rules! targets {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(
            #[path = $path]
            #[allow(unused_attributes, clippy::duplicate_mod, reason = "the attribute is for the binary that the target is elsewhere")]
            mod $name;
        )*
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run)),*];
    };
}

targets! {
    answer: "../../fuzz/fuzz_targets/answer.rs",
    config: "../../fuzz/fuzz_targets/config.rs",
    keys: "../../fuzz/fuzz_targets/keys.rs",
    message: "../../fuzz/fuzz_targets/message.rs",
    passkey: "../../fuzz/fuzz_targets/passkey.rs",
    path: "../../fuzz/fuzz_targets/path.rs",
    proof: "../../fuzz/fuzz_targets/proof.rs",
    sse: "../../fuzz/fuzz_targets/sse.rs",
    token: "../../fuzz/fuzz_targets/token.rs",
}

/// What libFuzzer's macro makes: here one function that runs the target over some bytes. Below the targets, so that their imports name it.
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:block) => {
        pub fn run($data: &[u8]) $body
    };
    (|$text:ident: &str| $body:block) => {
        pub fn run(bytes: &[u8]) {
            let Ok($text) = std::str::from_utf8(bytes) else { return };
            $body
        }
    };
}
pub(crate) use fuzz_target;

/// A plain input of each kind: what chance alone would not find.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    if target == "passkey" {
        return vec![attestation()];
    }
    let texts: Vec<&str> = match target {
        "config" => vec!["", "public_url: https://a.example\nlisten: [{ address: 127.0.0.1:1 }]\n", "a: &a [*a]", "\u{feff}public_url: 1"],
        "message" => vec![
            "0{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",\"arguments\":{\"b\":[1,2]}}}",
            "2{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"resources/read\",\"params\":{\"uri\":\"file:///a\"}}",
            "0{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"completion/complete\",\"params\":{\"ref\":{\"type\":\"ref/prompt\",\"name\":\"p\"},\"argument\":{\"name\":\"a\",\"value\":\"b\"}}}",
        ],
        "path" => vec![
            "/one/mcp",
            "/one/mcp/",
            "//one/mcp",
            "/one/%6dcp",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration/two",
            "/two/.well-known/oauth-authorization-server",
            "/.well-known/oauth-protected-resource",
            "/one/../two",
        ],
        "proof" => vec!["e30.e30.e30", "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7fX0.e30.AA"],
        "sse" => vec!["\u{3}data: pass\n\ndata: drop\r\n\r\nevent: x\ndata: r\rid: 1\n\n", "\u{1}:\n\n"],
        "answer" => vec![
            "{\"active\":true,\"iss\":\"https://login.example.com\",\"aud\":\"a\",\"sub\":\"b\",\"exp\":1900000000,\"scope\":\"x\"}",
            "{\"active\":false}",
        ],
        "keys" => vec![
            "{\"keys\":[]}",
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":\"AA\",\"y\":\"AA\"},{\"kty\":\"oct\",\"k\":\"AA\"}]}",
        ],
        "token" => vec!["eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJhIn0.AA", "a.b.c.d.e", ".."],
        _ => vec![],
    };
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// An attestation object (Web Authentication Level 3 §6.5.4) that is taken, of a key that nobody holds.
fn attestation() -> Vec<u8> {
    let party = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"mcp.example.com");
    let data = [party.as_ref(), &[0x45], &[0; 4], &[0; 16], &[0, 1, 7], &passkey::KEY.concat()].concat();
    let length = u8::try_from(data.len()).expect("short");
    [b"\xa3cfmtdnonegattStmt\xa0hauthData\x58", &[length][..], &data].concat()
}

#[test]
fn the_seed_of_passkeys_is_one_that_is_taken() {
    use doorward::oauth::passkey::New;
    let client_data = passkey::client_data("create");
    let made = New { client_data: &client_data, attestation: &attestation() }.judge(&passkey::PARTY, passkey::CHALLENGE);
    assert_eq!(made.map(|made| made.id), Ok(vec![7]));
}

#[test]
fn every_fuzz_target_is_compiled_here_and_run_by_ci() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = fs::read_dir(repository.join("fuzz/fuzz_targets")).expect("a folder");
    let files: BTreeSet<String> =
        folder.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(files, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    let manifest = fs::read_to_string(repository.join("fuzz/Cargo.toml")).expect("read");
    let workflow = fs::read_to_string(repository.join(".github/workflows/ci.yml")).expect("read");
    let matrix = workflow.lines().find(|line| line.trim_start().starts_with("target: [")).expect("a matrix").to_owned();
    for name in files {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(matrix.split(['[', ']', ',']).any(|word| word.trim() == name), "{name}");
    }
}

#[test]
fn every_fuzz_target_holds_for_its_seeds_and_for_what_chance_brings() {
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for seed in &seeds {
            run(seed);
            // Cut anywhere, and with one byte changed.
            for at in 0..seed.len().min(64) {
                run(&seed[..at]);
                let mut changed = seed.clone();
                changed[at] ^= 0x20;
                run(&changed);
            }
        }
        let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        let any = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
        runner
            .run(&any, |bytes| {
                run(&bytes);
                Ok(())
            })
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
}
