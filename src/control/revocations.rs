//! What is revoked, by which words, and whether every replica knows.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, Hand, issuer, said, seconds, time, upstream, written};
use crate::governance::{Bounds, Revocation, Selector};
use crate::store::{Reason, Store};
use crate::token::{Token, marks};

/// Between two looks whether all replicas know.
const LOOK: Duration = Duration::from_millis(50);
/// Revocations in one answer.
const FEW: u32 = 1_000;

/// What to revoke: at least one of its first nine members. What is said together is revoked together.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Revoke")]
pub struct Wanted {
    /// A token itself. Only its digest, `jti` and issuer are kept.
    pub token: Option<String>,
    /// The token with this digest, as in the audit log. A JWT is better revoked by `jti` or `token`.
    pub digest: Option<String>,
    /// The token with this `jti`. Needs `issuer`.
    pub jti: Option<String>,
    /// All tokens with this `sid`.
    pub session: Option<String>,
    /// All tokens that were issued to this client until now.
    pub client: Option<String>,
    /// All tokens of this subject that were issued until now. Needs `issuer`.
    pub subject: Option<String>,
    /// All tokens signed with the key that has this `kid`, for ever. Needs `issuer`.
    pub key: Option<String>,
    /// All tokens that were issued until now, at this upstream.
    pub upstream: Option<String>,
    /// Only tokens issued before this time (RFC 3339); alone: all of them, everywhere.
    pub before: Option<String>,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    pub issuer: Option<String>,
    /// Why, for the records.
    pub reason: String,
    /// In whose name, for the records; who asks is known.
    pub by: Option<String>,
    /// Answer when every live replica refuses, or after this time: `30s`. At most 60s.
    pub wait: Option<String>,
}

/// What was revoked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Revoked")]
pub struct Done {
    pub revoked: Vec<Revoked>,
    /// Only where it was waited for.
    pub confirmations: Option<Confirmations>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RevokedOne")]
pub struct Revoked {
    /// What, in words. A token by its digest.
    pub what: String,
    /// The number of the change.
    pub seq: i64,
}

/// Which replicas have read the feed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Confirmations")]
pub struct Confirmations {
    /// Every replica that lets anybody in has read it.
    pub confirmed: bool,
    pub replicas: Vec<Replica>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Replica {
    pub id: String,
    /// Host and process.
    pub place: String,
    /// The number up to which it has read.
    pub seq: i64,
    pub state: Confirmation,
}

/// Whether a replica knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    Confirmed,
    /// It has ended, or refuses every request by itself.
    Gone,
    Waiting,
}

/// Which revocations are listed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RevocationListing")]
pub struct Listing {
    /// Only those with a greater number: `next` of the answer before.
    pub after: Option<i64>,
    /// At most so many. Default and most: 1000.
    pub limit: Option<u32>,
}

/// Revocations that have not expired, in their order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Revocations")]
pub struct Listed {
    pub revocations: Vec<Shown>,
    /// Ask again with `after` for the rest; null where there is none.
    pub next: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Revocation")]
pub struct Shown {
    pub seq: i64,
    /// What, in words. A token by its digest.
    pub what: String,
    /// `token`, `jti`, `session`, `client`, `subject`, `key`, `upstream` or `everything`.
    pub kind: String,
    /// Tokens issued later are not meant; null means all. RFC 3339.
    pub issued_until: Option<String>,
    /// When it leaves; null is never.
    pub leaves: Option<String>,
    pub reason: String,
    /// Who revoked.
    pub actor: String,
    /// When it was made.
    pub made: String,
}

/// Whether replicas have read up to a change.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The number of the change. Default: the last one.
    pub seq: Option<i64>,
    /// Answer when every live replica has read it, or after this time: `30s`. At most 60s.
    pub wait: Option<String>,
}

/// Writes revocations, and tells the records of each.
///
/// # Errors
/// [`Fault::Invalid`] where nothing was done; any other after which the first ones may be.
pub async fn revoke(hand: &Hand<'_>, bounds: &Bounds, wanted: &Wanted) -> Result<Vec<Revoked>, Fault> {
    for (name, text) in [("reason", wanted.reason.as_str()), ("by", hand.actor)] {
        said(name, text)?;
    }
    let before = wanted.before.as_deref().map(|text| past(text, hand)).transpose()?;
    write(hand, bounds, (meant(hand, wanted)?, before), &wanted.reason).await
}

/// Ends sessions, which are the grants of the authorization server inside. As [`revoke`], of each of them.
///
/// # Errors
/// The first ones may have ended.
pub(super) async fn end(hand: &Hand<'_>, bounds: &Bounds, sessions: &[String], reason: &str) -> Result<Vec<Revoked>, Fault> {
    let meant = sessions.iter().map(|id| Meant { selector: Selector::Session(id.clone()), expires: None });
    write(hand, bounds, (meant.collect(), None), reason).await
}

/// SECURITY: all of it first, and then the records: a disk that is full keeps nobody in.
async fn write(hand: &Hand<'_>, bounds: &Bounds, (meant, before): (Vec<Meant>, Option<u64>), reason: &str) -> Result<Vec<Revoked>, Fault> {
    let now = hand.store.latest(hand.seconds()).await?;
    let (mut done, mut failed) = (Vec::new(), None);
    for Meant { selector, expires } in meant {
        let revocation = Revocation::new(selector, now, before, expires, bounds);
        let reason = Reason { text: reason, actor: hand.actor, made: hand.seconds() };
        match hand.store.revoke(&revocation, &reason).await {
            Ok(seq) => done.push(Revoked { what: describe(&revocation.selector), seq }),
            Err(error) => {
                failed = Some(error.into());
                break;
            }
        }
    }
    for Revoked { what, .. } in &done {
        if let Err(fault) = hand.witness.saw("admin/revoke", what.clone(), reason).await {
            failed.get_or_insert(fault);
        }
    }
    failed.map_or(Ok(done), Err)
}

/// What was asked for, with the end of the one token it means, where that is known.
struct Meant {
    selector: Selector,
    expires: Option<u64>,
}

/// A token is revoked by its digest and by what cannot be spelled in another way.
fn meant(hand: &Hand<'_>, wanted: &Wanted) -> Result<Vec<Meant>, Fault> {
    let Wanted { token, digest, jti, session, client, subject, key, upstream: at, before, issuer: of, reason: _, by: _, wait: _ } = wanted;
    for (name, text) in
        [("jti", jti), ("session", session), ("client", client), ("subject", subject), ("key", key), ("upstream", at), ("digest", digest)]
    {
        text.as_deref().map_or(Ok(()), |text| said(name, text))?;
    }
    let mut meant = Vec::new();
    let of = |name: &str| match of {
        Some(text) => issuer(text, hand.config),
        None => Err(Fault::Invalid(format!("`{name}` needs `issuer`"))),
    };
    if let Some(text) = token {
        let token = Token::new(text.trim()).map_err(|_| Fault::Invalid("this is not one token".into()))?;
        let claimed = marks::claimed(token);
        let expires = claimed.as_ref().and_then(|claimed| claimed.expires);
        meant.push(Meant { selector: Selector::Token(token.digest()), expires });
        if let Some(marks::Claimed { issuer, id: jti, expires }) = claimed {
            meant.push(Meant { selector: Selector::Id { issuer, jti }, expires });
        }
    }
    let mut any = |selector| meant.push(Meant { selector, expires: None });
    if let Some(text) = digest {
        any(Selector::Token(self::digest(text)?));
    }
    if let Some(jti) = jti.clone() {
        any(Selector::Id { issuer: of("jti")?, jti });
    }
    if let Some(sid) = session.clone() {
        any(Selector::Session(sid));
    }
    if let Some(client) = client.clone() {
        any(Selector::Client(client));
    }
    if let Some(subject) = subject.clone() {
        any(Selector::Subject { issuer: of("subject")?, subject });
    }
    if let Some(kid) = key.clone() {
        any(Selector::Key { issuer: of("key")?, kid });
    }
    if let Some(name) = at.clone() {
        upstream(&name, hand.config)?;
        any(Selector::Upstream(name));
    }
    match (meant.is_empty(), before) {
        (false, _) => Ok(meant),
        (true, Some(_)) => Ok(vec![Meant { selector: Selector::Everything, expires: None }]),
        (true, None) => Err(Fault::Invalid("say what to revoke, such as `client` or `subject`; everything needs `before`".into())),
    }
}

/// What is revoked, in their order.
///
/// # Errors
/// [`Fault::Store`].
pub async fn list(store: &Store, what: &Listing) -> Result<Listed, Fault> {
    let most = i64::from(what.limit.unwrap_or(FEW).clamp(1, FEW));
    let mut found = store.revocations_since(what.after.unwrap_or_default(), most + 1).await?;
    let is_more = i64::try_from(found.len()).is_ok_and(|count| count > most);
    if is_more {
        found.pop();
    }
    let next = found.last().map(|last| last.seq).filter(|_| is_more);
    let shown = |one: crate::store::Recorded| Shown {
        seq: one.seq,
        what: describe(&one.revocation.selector),
        kind: one.revocation.selector.kind().to_owned(),
        issued_until: one.revocation.issued_until.map(written),
        leaves: one.revocation.leaves.map(written),
        reason: one.reason,
        actor: one.actor,
        made: written(one.made),
    };
    Ok(Listed { revocations: found.into_iter().map(shown).collect(), next })
}

/// Waits until every replica that lets anybody in has read the change, and says how far each is.
///
/// # Errors
/// [`Fault::Store`].
pub async fn confirmations(store: &Store, seq: i64, timeout: Duration) -> Result<Confirmations, Fault> {
    let begun = Instant::now();
    loop {
        let replicas = store.replicas().await?;
        let waiting = replicas.iter().any(|replica| !replica.is_gone && replica.seq < seq);
        if waiting && begun.elapsed() < timeout {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let shown = replicas.into_iter().map(|one| Replica {
            state: match (one.seq >= seq, one.is_gone) {
                (true, _) => Confirmation::Confirmed,
                (false, true) => Confirmation::Gone,
                (false, false) => Confirmation::Waiting,
            },
            id: one.id,
            place: one.place,
            seq: one.seq,
        });
        return Ok(Confirmations { confirmed: !waiting, replicas: shown.collect() });
    }
}

/// SECURITY: names a token by its digest alone.
fn describe(selector: &Selector) -> String {
    let kind = selector.kind();
    match selector {
        Selector::Token(digest) => format!("{kind} {}", URL_SAFE_NO_PAD.encode(digest)),
        Selector::Id { issuer, jti: name } | Selector::Subject { issuer, subject: name } | Selector::Key { issuer, kid: name } => {
            format!("{kind} {name} of {issuer}")
        }
        Selector::Session(name) | Selector::Client(name) | Selector::Upstream(name) => format!("{kind} {name}"),
        Selector::Everything => kind.to_owned(),
    }
}

/// In base64url, as in the audit log, or in hexadecimal digits.
fn digest(text: &str) -> Result<[u8; 32], Fault> {
    let hex = || {
        let pairs: Option<Vec<u8>> = (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        pairs.filter(|_| text.len() == 64)
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32).or_else(hex);
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| Fault::Invalid(format!("`{text}` is not the digest of a token")))
}

/// Seconds since 1970. A time to come would refuse tokens that are not issued yet.
fn past(text: &str, hand: &Hand<'_>) -> Result<u64, Fault> {
    let time = time(text)?;
    if time > hand.now {
        return Err(Fault::Invalid(format!("`{text}` lies ahead")));
    }
    Ok(seconds(time))
}

#[cfg(test)]
mod tests;
