//! Nobody proves possession of a key without a signature by it: no proof of a stranger's is accepted for the key of another.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use doorward::token::dpop::{Expected, ProofRules, check};
use doorward::token::proof_key::ProofKeys;
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<ProofKeys> = LazyLock::new(ProofKeys::default);

fuzz_target!(|proof: &str| {
    let expected = Expected {
        method: "POST",
        url: "https://mcp.example.com/files",
        token: Some(&[7; 32]),
        key: Some(&[1; 32]),
        nonces: None,
        now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    assert!(check(proof, &expected, &ProofRules::default(), &KEYS).is_err());
});
