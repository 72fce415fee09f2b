//! An answer about a token is read or refused, and proves nothing unless it says `active: true`, is for our issuer and has not ended.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use doorward::token::{Answer, AnswerRules, AudienceFrom, ClaimNames, IssuerRules};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.com";

fuzz_target!(|data: &[u8]| {
    let Ok(answer) = Answer::parse(data) else { return };
    let rules = Arc::new(IssuerRules {
        name: "corp".into(),
        issuer: ISSUER.into(),
        algorithms: Vec::new(),
        token_types: vec!["at+jwt".into()],
        audience: Vec::new(),
        leeway: Duration::ZERO,
        claims: ClaimNames::default(),
        required_claims: Vec::new(),
        audience_from: AudienceFrom::Aud,
        required_values: Vec::new(),
        own: false,
    });
    let demands = AnswerRules { cache: Duration::from_secs(30), allow_missing_audience: false };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let Ok(verified) = answer.verify(&rules, demands, now, &[]) else { return };
    let other: Value = serde_json::from_slice(data).expect("accepted, so JSON");
    assert_eq!(other["active"], true);
    assert!(other["iss"].is_null() || other["iss"] == ISSUER, "another issuer's token");
    assert!(verified.expires > now && !other["aud"].is_null(), "a token that has ended, or is for nobody");
});
