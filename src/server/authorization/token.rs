//! The token endpoint (RFC 6749 §3.2): who asks, by what, and what they get for it.
//!
//! Everything is checked and the token is made before anything is used up, so that a mistake costs a client nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request};

use super::client_authentication::{Asking, form, is_named};
use super::issue::{CodeBody, Order};
use super::reply::Answer;
use super::{Call, Fault, Reply, Server, digest, secret};
use crate::config::authorization_server::Resource;
use crate::governance::Since;
use crate::mcp::seal::{Owner, Purpose};
use crate::oauth::grant::{Asked, TokenRequest, narrow};
use crate::oauth::issue::Speaker;
use crate::oauth::refresh::{GRACE, Shown, Turn};
use crate::oauth::{Code, GrantType, OAuthError, Person, RegisteredClient, pkce};
use crate::store::authorization::{Grant, Kind, Redeemed, Redemption, Refresh, Rotation};
use crate::store::feed;
use crate::token::dpop::Proven;
use crate::token::{Error, Flaw, Thumbprint};

/// Two that exchange one refresh token at once: the second finds what the first did.
const TRIES: usize = 2;

impl Server {
    pub(super) async fn token(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        match self.exchange(call, request).await {
            Ok(reply) => reply,
            Err(reply) => *reply,
        }
    }

    async fn exchange(&self, call: &Call<'_>, request: &Request<Bytes>) -> Answer<Reply> {
        let form = form(request)?;
        let asked = TokenRequest::read(&form)?;
        let proof = proven(call, request)?;
        if let Asked::Assertion(assertion) = asked.asked {
            let asking = if is_named(request, &form) { Some(self.asking(call, request, &form).await?) } else { None };
            return self.by_assertion(call, asking.as_ref(), assertion, &asked, proof.as_ref()).await;
        }
        let asking = self.asking(call, request, &form).await?;
        let grant = asked.asked.grant_type();
        may_use(&asking, grant)?;
        match asked.asked {
            Asked::Code { code, redirect_uri, verifier } => {
                self.by_code(call, &asking, code, (redirect_uri, verifier), &asked, proof.as_ref()).await
            }
            Asked::Refresh(token) => self.by_refresh(call, &asking, token, &asked, proof.as_ref()).await,
            Asked::Credentials => self.by_credentials(call, &asking, &asked, proof.as_ref()).await,
            Asked::Assertion(_) => Err(Reply::not_found().into()),
        }
    }

    /// OAuth 2.1 §4.1.3.
    async fn by_code(
        &self,
        call: &Call<'_>,
        asking: &Asking,
        code: &str,
        (redirect_uri, verifier): (Option<&str>, &str),
        asked: &TokenRequest<'_>,
        proof: Option<&Proven>,
    ) -> Answer<Reply> {
        let client = &asking.client;
        let code_digest = digest(code);
        let found = call.store.code(&code_digest).await.map_err(Fault::from)?;
        let found = found.ok_or(invalid_grant("the code was not issued here, or has long expired"))?;
        let grant = self.grant_of(call, &found.grant_id).await?;
        if found.used {
            // RFC 6749 §4.1.2: whoever comes second, one of the two is a thief.
            self.end_grant(call, &grant, "code_reused").await?;
            return Err(refused("the code was used before; its tokens are revoked", "code_reused", &client.id));
        }
        is_own(&grant, &client.id)?;
        is_live(call, &grant, found.expires)?;
        let body: CodeBody = serde_json::from_str(&found.body).map_err(|_| Fault::Unreadable)?;
        if redirect_uri.is_some_and(|uri| uri != grant.redirect_uri) {
            return Err(refused("`redirect_uri` is not the one that the code was sent to", "redirect_mismatch", &client.id));
        }
        if !pkce::proves(verifier, &body.challenge) {
            return Err(refused("`code_verifier` is not the one that the code was asked for with", "verifier_mismatch", &client.id));
        }
        let key = proof.map(|proof| proof.key);
        if body.dpop_jkt.is_some() && body.dpop_jkt != key.map(|key| URL_SAFE_NO_PAD.encode(key)) {
            return Err(OAuthError::new(Code::InvalidDpopProof, "the code is bound to another key").into());
        }
        let resource = of_grant(call, &grant, asked.resource)?;
        let person = agreed(call, &grant).await?;
        let scopes = granted(client, &grant)?;
        let issued = self.make(call, &order(asking, resource, &person, &scopes, &grant, key.as_ref())).await?;
        use_up(call, proof, &client.id).await?;

        let tokens = &call.settings.tokens;
        let wants_refresh = body.offline && client.grant_types.contains(&GrantType::RefreshToken);
        let expires = call.now + if wants_refresh { tokens.refresh } else { tokens.access }.as_secs();
        let refresh = if wants_refresh { Some(secret()?) } else { None };
        let until = expires.min(call.now + tokens.refresh_idle.as_secs());
        let binding = key.map(|key| URL_SAFE_NO_PAD.encode(key));
        let redemption = Redemption {
            digest: &code_digest,
            grant_id: &grant.id,
            binding: binding.as_deref(),
            refresh: refresh.as_ref().map(|(_, digest)| (digest.as_str(), until)),
            now: call.now,
            expires,
        };
        match call.store.redeem(&redemption).await.map_err(Fault::from)? {
            Redeemed::First => Ok(issued.answer("code_redeemed", refresh.as_ref().map(|(text, _)| text.as_str()), &[])),
            Redeemed::Again => {
                self.end_grant(call, &grant, "code_reused").await?;
                Err(refused("the code was used before; its tokens are revoked", "code_reused", &client.id))
            }
        }
    }

    /// OAuth 2.1 §4.3.
    async fn by_refresh(
        &self,
        call: &Call<'_>,
        asking: &Asking,
        token: &str,
        asked: &TokenRequest<'_>,
        proof: Option<&Proven>,
    ) -> Answer<Reply> {
        let (client, shown) = (&asking.client, digest(token));
        let unknown = || invalid_grant("the refresh token was not issued here, or has long expired");
        let row = call.store.refresh_token(&shown).await.map_err(Fault::from)?.ok_or(unknown())?;
        let grant = self.grant_of(call, &row.grant_id).await?;
        is_own(&grant, &client.id)?;
        is_live(call, &grant, u64::MAX)?;
        let key = proof.map(|proof| proof.key);
        is_bound_alike(asking, &grant, key.as_ref())?;
        let resource = of_grant(call, &grant, asked.resource)?;
        let scopes = narrow(&granted(client, &grant)?, asked.scopes.clone())?;
        // Before the person is asked about: whoever shows a token that was exchanged is no reason to ask.
        self.turn(call, &grant, &row).await?;
        let person = agreed(call, &grant).await?;
        let Some(person) = self.still_there(call, &grant, person).await? else {
            self.end_grant(call, &grant, "person_gone").await?;
            return Err(refused("the person may not sign in any more", "person_gone", &client.id));
        };
        let issued = self.make(call, &order(asking, resource, &person, &scopes, &grant, key.as_ref())).await?;
        use_up(call, proof, &client.id).await?;
        let successor = self.successor(call, &grant, &shown, row).await?;
        Ok(issued.answer("token_refreshed", Some(&successor), &[]))
    }

    /// What a refresh token gets; nothing, and the end of its family, where it was stolen.
    async fn turn(&self, call: &Call<'_>, grant: &Grant, row: &Refresh) -> Answer<Turn> {
        let successor_used = match &row.successor {
            Some(next) => call.store.refresh_token(next).await.map_err(Fault::from)?.is_none_or(|next| next.used.is_some()),
            None => false,
        };
        match (Shown { expires: row.expires, used: row.used, successor_used }).turn(call.now) {
            Turn::Expired => Err(refused("the refresh token lay unused for too long", "refresh_expired", &grant.client_id)),
            Turn::Reused => {
                self.end_grant(call, grant, "refresh_reused").await?;
                Err(refused("the refresh token was used before; all tokens of its family are revoked", "refresh_reused", &grant.client_id))
            }
            turn => Ok(turn),
        }
    }

    /// The token that comes after the one that was shown: a new one, or once more the one that it was exchanged for.
    async fn successor(&self, call: &Call<'_>, grant: &Grant, shown: &str, mut row: Refresh) -> Answer<String> {
        let sealer = self.keys.sealer()?;
        let owner = Owner::new(&[grant.id.as_bytes(), shown.as_bytes()]);
        for _ in 0..TRIES {
            match self.turn(call, grant, &row).await? {
                Turn::Repeat => {
                    let sealed = row.successor_sealed.as_deref();
                    let opened = sealed.and_then(|sealed| sealer.open(Purpose::Successor, &owner, sealed, call.now));
                    return Ok(opened.ok_or(invalid_grant("the refresh token was used before"))?);
                }
                _ => {
                    let (text, next) = secret()?;
                    let until = call.now + 2 * GRACE;
                    let sealed = sealer.seal_derived(Purpose::Successor, &owner, &text, until).ok_or(Fault::Randomness)?;
                    let idle = call.now + call.settings.tokens.refresh_idle.as_secs();
                    let rotation = Rotation {
                        grant_id: &grant.id,
                        shown,
                        successor: &next,
                        sealed: &sealed,
                        generation: row.generation + 1,
                        now: call.now,
                        expires: idle.min(u64::try_from(grant.expires).unwrap_or(0)),
                    };
                    if call.store.rotate(&rotation).await.map_err(Fault::from)? {
                        return Ok(text);
                    }
                    // Another was first, or the grant has ended meanwhile.
                    is_live(call, &self.grant_of(call, &grant.id).await?, u64::MAX)?;
                    row = call.store.refresh_token(shown).await.map_err(Fault::from)?.ok_or(Fault::Unreadable)?;
                }
            }
        }
        Err(invalid_grant("the refresh token was used before").into())
    }

    /// RFC 6749 §4.4: the client for itself. No refresh token (§4.4.3).
    async fn by_credentials(&self, call: &Call<'_>, asking: &Asking, asked: &TokenRequest<'_>, proof: Option<&Proven>) -> Answer<Reply> {
        let client = &asking.client;
        if !asking.is_proven {
            return Err(OAuthError::new(Code::UnauthorizedClient, "a public client has no credentials of its own").into());
        }
        let resource = wanted(call, asked.resource)?;
        let allowed: Vec<String> = match &client.scope {
            Some(own) => own.iter().filter(|scope| resource.scopes.contains(scope)).cloned().collect(),
            None => resource.scopes.clone(),
        };
        let scopes = match (&asked.scopes, &client.scope) {
            // Without a list of its own it has what is advertised, not all that there is.
            (None, None) => resource.advertised.clone(),
            _ => narrow(&allowed, asked.scopes.clone())?,
        };
        let key = proof.map(|proof| proof.key);
        let order = Order {
            client_id: &client.id,
            resource,
            speaker: Speaker::Client,
            scopes: &scopes,
            grant: None,
            binding: key.as_ref(),
            must_be_bound: client.dpop_bound,
        };
        let issued = self.make(call, &order).await?;
        use_up(call, proof, &client.id).await?;
        Ok(issued.answer("client_credentials", None, &[]))
    }

    async fn grant_of(&self, call: &Call<'_>, id: &str) -> Answer<Grant> {
        let grant = call.store.grant(id).await.map_err(Fault::from)?;
        let own = grant.filter(|grant| grant.issuer == *call.settings.issuer);
        Ok(own.ok_or(invalid_grant("what it stands for has ended"))?)
    }
}

fn order<'a>(
    asking: &'a Asking,
    resource: &'a Resource,
    person: &'a Person,
    scopes: &'a [String],
    grant: &'a Grant,
    binding: Option<&'a Thumbprint>,
) -> Order<'a> {
    Order {
        client_id: &asking.client.id,
        resource,
        speaker: Speaker::Person(person),
        scopes,
        grant: Some(&grant.id),
        binding,
        must_be_bound: asking.client.dpop_bound,
    }
}

/// Who agreed. SECURITY: a request that was under way while the person was revoked may have made a grant afterwards, that nothing
/// ended; by all that is revoked until now, for the token will say that it came after that.
async fn agreed(call: &Call<'_>, grant: &Grant) -> Answer<Person> {
    let person: Person = serde_json::from_str(&grant.person).map_err(|_| Fault::Unreadable)?;
    let Some(index) = person.after.and(call.world.revocations.as_ref()) else { return Ok(person) };
    feed::catch_up(call.store, index).await.map_err(Fault::from)?;
    let now = call.origin.now;
    if !index.are_known(now) {
        // And that ends no grant for good.
        return Err(Fault::Unknown.into());
    }
    let at = u64::try_from(grant.created).unwrap_or_default();
    let since = Since { at, leeway: call.settings.rules.leeway, after: person.after };
    match index.ends_subject(&grant.issuer, &grant.subject, since, now) {
        true => Err(refused("what it stands for has ended", "grant_ended", &grant.client_id)),
        false => Ok(person),
    }
}

/// What the person agreed to, without what the client may not have any more.
fn granted(client: &RegisteredClient, grant: &Grant) -> Answer<Vec<String>> {
    let agreed: Vec<String> = serde_json::from_str(&grant.scopes).map_err(|_| Fault::Unreadable)?;
    let may_have = |scope: &String| client.scope.as_ref().is_none_or(|own| own.contains(scope));
    Ok(agreed.into_iter().filter(may_have).collect())
}

/// RFC 6749 §5.2 `unauthorized_client`.
pub(super) fn may_use(asking: &Asking, grant: GrantType) -> Answer<()> {
    if asking.client.grant_types.contains(&grant) {
        return Ok(());
    }
    let refusal: Box<Reply> = OAuthError::new(Code::UnauthorizedClient, "the client is not registered for this grant").into();
    Err(refusal.about(&asking.client.id).into())
}

/// The proof of a key, where the request has one (RFC 9449 §5).
fn proven(call: &Call<'_>, request: &Request<Bytes>) -> Answer<Option<Proven>> {
    let url = call.settings.endpoint("/token");
    call.world.proofs.prove(request.headers(), &url, None, call.origin.now).map_err(|error| unproven(call, error))
}

/// SECURITY: the last thing before a token is given out. In memory first, where one client may fill no more than its share;
/// then in the store, so that no other replica takes it either, nor this one after a restart.
pub(super) async fn use_up(call: &Call<'_>, proof: Option<&Proven>, client: &str) -> Answer<()> {
    let Some(proof) = proof else { return Ok(()) };
    call.world.proofs.used_by(proof, &call.settings.issuer, client, call.origin.now).map_err(|error| unproven(call, error))?;
    let seen = digest(&format!("DPoP proof\n{}", URL_SAFE_NO_PAD.encode(proof.id)));
    // As long again as it is accepted for, by a clock that is behind.
    let until = call.now + 3 * call.world.config.dpop.rules.window.as_secs();
    match call.store.put_new_ticket(Kind::Seen, &seen, "", until, call.now).await.map_err(Fault::from)? {
        true => Ok(()),
        false => Err(unproven(call, Error::Proof(Flaw::Replayed))),
    }
}

/// RFC 9449 §5 and §8.
fn unproven(call: &Call<'_>, error: Error) -> Box<Reply> {
    let mut reply = Reply::error(match error {
        Error::Nonce => OAuthError::new(Code::UseDpopNonce, "use the nonce of this answer"),
        Error::ProofsFull => OAuthError::new(Code::TemporarilyUnavailable, "no more proofs can be remembered; try again in a moment"),
        _ => OAuthError::new(Code::InvalidDpopProof, "the DPoP proof is not one for this request"),
    });
    let nonce = call.world.proofs.nonce(call.origin.now).and_then(|nonce| HeaderValue::try_from(nonce).ok());
    if let (Error::Nonce, Some(nonce)) = (error, nonce) {
        reply.response.headers_mut().insert("dpop-nonce", nonce);
    }
    reply.into()
}

/// RFC 9449 §5: what a public client holds is bound to one key; one that proves itself may change it, and never goes without.
fn is_bound_alike(asking: &Asking, grant: &Grant, key: Option<&Thumbprint>) -> Answer<()> {
    let Some(bound) = &grant.binding else { return Ok(()) };
    let is_same = key.is_some_and(|key| asking.is_proven || URL_SAFE_NO_PAD.encode(key) == *bound);
    if is_same {
        Ok(())
    } else {
        Err(OAuthError::new(Code::InvalidDpopProof, "the refresh token is bound to a key, and this is no proof of it").into())
    }
}

fn is_own(grant: &Grant, client: &str) -> Answer<()> {
    if grant.client_id == client { Ok(()) } else { Err(refused("it was issued to another client", "other_client", client)) }
}

/// Neither ended nor past its time, nor past that of the code.
fn is_live(call: &Call<'_>, grant: &Grant, expires: u64) -> Answer<()> {
    let is_live = grant.ended.is_none() && u64::try_from(grant.expires).is_ok_and(|end| call.now < end) && call.now < expires;
    if is_live { Ok(()) } else { Err(refused("what it stands for has ended", "grant_ended", &grant.client_id)) }
}

/// RFC 8707 §2.2: the resource of the grant, which a request may name again and never change.
fn of_grant<'c>(call: &Call<'c>, grant: &Grant, asked: Option<&str>) -> Answer<&'c Resource> {
    let target = |description| OAuthError::new(Code::InvalidTarget, description);
    let resource = call.settings.resource(&grant.resource).ok_or(target("the resource is no longer served here"))?;
    match asked.map(|asked| call.settings.resource(asked)) {
        Some(Some(other)) if other == resource => Ok(resource),
        None => Ok(resource),
        Some(_) => Err(target("the grant is for another resource").into()),
    }
}

/// The resource that is asked for; the only one where none is (RFC 8707 §2).
pub(super) fn wanted<'c>(call: &Call<'c>, asked: Option<&str>) -> Answer<&'c Resource> {
    let target = |description| OAuthError::new(Code::InvalidTarget, description);
    match (asked, call.settings.resources.as_slice()) {
        (Some(asked), _) => Ok(call.settings.resource(asked).ok_or(target("no tokens are issued here for this resource"))?),
        (None, [only]) => Ok(only),
        (None, _) => Err(target("`resource` is missing, and there are several").into()),
    }
}

pub(super) fn invalid_grant(description: &'static str) -> OAuthError {
    OAuthError::new(Code::InvalidGrant, description)
}

/// `invalid_grant`, with a reason of its own in the record.
pub(super) fn refused(description: &'static str, reason: &'static str, client: &str) -> Box<Reply> {
    let mut reply = Reply::error(invalid_grant(description)).about(client);
    reply.told.reason = reason;
    reply.into()
}
