//! A token is read in one way or refused: what is accepted has three parts and says what JSON says.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use doorward::token::{AudienceFrom, ClaimNames, IssuerRules, Unverified};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(unverified) = Unverified::parse(text) else { return };
    assert_eq!(text.split('.').count(), 3);
    let rules = IssuerRules {
        name: "corp".into(),
        issuer: unverified.issuer().into(),
        algorithms: vec![unverified.algorithm()],
        token_types: vec!["at+jwt".into()],
        audience: Vec::new(),
        leeway: Duration::from_secs(30),
        claims: ClaimNames::default(),
        required_claims: vec!["jti".into()],
        audience_from: AudienceFrom::Aud,
        required_values: Vec::new(),
        own: false,
    };
    for seconds in [0, 1_800_000_000, u64::from(u32::MAX)] {
        let _ = unverified.check(&rules, UNIX_EPOCH + Duration::from_secs(seconds));
    }
});
