//! What does the question "is it revoked?" cost a request, with a million revocations?
//!
//! The bar: well under a microsecond. Each request asks all kinds once.
#![expect(clippy::unwrap_used, reason = "a bench may stop at what cannot be")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use doorward::governance::{Asked, Bounds, Revocation, Revocations, Selector};
use doorward::token::{Answer, AnswerRules, AudienceFrom, ClaimNames, IssuerRules, Token, Verified};

const ISSUER: &str = "https://login.example.com";

fn verified(index: &Revocations, now: u64) -> Verified {
    let rules = Arc::new(IssuerRules {
        name: "corp".into(),
        issuer: ISSUER.into(),
        algorithms: Vec::new(),
        token_types: Vec::new(),
        audience: Vec::new(),
        leeway: Duration::from_secs(30),
        claims: ClaimNames::default(),
        required_claims: Vec::new(),
        audience_from: AudienceFrom::Aud,
        required_values: Vec::new(),
        own: false,
    });
    let text = format!(
        r#"{{"active":true,"iss":"{ISSUER}","sub":"user-a","client_id":"app","aud":"a","jti":"j","sid":"s","iat":{now},"exp":{}}}"#,
        now + 600
    );
    let answer = Answer::parse(text.as_bytes()).unwrap();
    let demands = AnswerRules { cache: Duration::from_secs(60), allow_missing_audience: false };
    let mut verified = answer.verify(&rules, demands, SystemTime::now(), &[]).unwrap();
    verified.marks = answer.marks(index.marker(), &rules, Token::new("opaque").unwrap()).map(Box::new);
    verified
}

fn look_up(criterion: &mut Criterion) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for number in [0, 1_000, 1_000_000_u32] {
        let index = Revocations::new(Bounds::default());
        for n in 0..number {
            let seq = i64::from(n) + 1;
            let name = format!("name-{n}");
            let selector = match n % 6 {
                0 => Selector::Id { issuer: ISSUER.into(), jti: name },
                1 => Selector::Session(name),
                2 => Selector::Client(name),
                3 => Selector::Subject { issuer: ISSUER.into(), subject: name },
                4 => Selector::Upstream(name),
                _ => Selector::Key { issuer: ISSUER.into(), kid: name },
            };
            index.apply(seq, &Revocation::new(selector, now, None, None, &index.bounds())).unwrap();
        }
        let received = SystemTime::now();
        index.confirm(received);
        let verified = verified(&index, now);
        let asked = Asked { token: &[7; 32], verified: &verified, upstream: "files", now: received };
        criterion.bench_function(&format!("revocations/{number}"), |bench| {
            bench.iter(|| index.check(black_box(&asked), || Some("key-1")).is_ok());
        });
    }
}

criterion_group!(benches, look_up);
criterion_main!(benches);
