//! Tokens for the word of somebody else (RFC 7523 §2.1): an identity provider's for a person, a platform's for a workload.
//!
//! `typ` says which it is, and neither is ever taken for the other (RFC 8725 §3.12).

use std::sync::Arc;

use serde_json::json;

use super::client_authentication::Asking;
use super::issue::Order;
use super::reply::Answer;
use super::token::{invalid_grant, may_use, refused, use_up, wanted};
use super::{Call, Fault, Reply, Server, digest};
use crate::config::authorization_server::{Resource, Trusted};
use crate::oauth::assertion::{IDENTITY, Moment};
use crate::oauth::grant::{TokenRequest, narrow};
use crate::oauth::identity_assertion::{IdentityAssertion, IdentityRules};
use crate::oauth::issue::Speaker;
use crate::oauth::{Code, GrantType, OAuthError};
use crate::store::authorization::Kind;
use crate::token::dpop::Proven;
use crate::token::{Error, IssuerRules, Unverified};

impl Server {
    pub(super) async fn by_assertion(
        &self,
        call: &Call<'_>,
        asking: Option<&Asking>,
        text: &str,
        asked: &TokenRequest<'_>,
        proof: Option<&Proven>,
    ) -> Answer<Reply> {
        let jwt = Unverified::parse(text).map_err(|_| invalid_grant("the assertion is no JWT that is accepted"))?;
        let untrusted = || invalid_grant("the assertion is of nobody who is trusted here");
        if jwt.kind() == IDENTITY {
            let asking = asking.ok_or(OAuthError::new(Code::InvalidClient, "no client is named"))?;
            may_use(asking, GrantType::JwtBearer)?;
            let trusted = call.settings.identity_assertions.iter().find(|trusted| trusted.rules.issuer == jwt.issuer());
            return self.for_person(call, asking, jwt, trusted.ok_or(untrusted())?, asked, proof).await;
        }
        let trusted = call.settings.workloads.iter().find(|trusted| trusted.rules.issuer == jwt.issuer()).ok_or(untrusted())?;
        let at = Moment { now: call.origin.now, leeway: trusted.rules.leeway };
        let rule = trusted.rules.judge(&jwt, at).map_err(invalid_grant)?;
        is_signed(call, &jwt, &trusted.issuer).await?;
        if asking.is_some_and(|asking| asking.client.id != rule.client) {
            return Err(refused("the workload comes as another client", "other_client", &rule.client));
        }
        let resource = wanted(call, asked.resource)?;
        is_among(rule.upstreams.as_deref(), resource, &rule.client)?;
        let allowed: Vec<String> = rule.scopes.iter().filter(|scope| resource.scopes.contains(scope)).cloned().collect();
        let scopes = narrow(&allowed, asked.scopes.clone())?;
        let key = proof.map(|proof| proof.key);
        let order = Order {
            client_id: &rule.client,
            resource,
            speaker: Speaker::Client,
            scopes: &scopes,
            grant: None,
            binding: key.as_ref(),
            must_be_bound: false,
        };
        let issued = self.make(call, &order).await?;
        use_up(call, proof, &rule.client).await?;
        Ok(issued.answer("workload", None, &[]))
    }

    /// ID-JAG §4.4.1. No refresh token: the client comes with another assertion.
    async fn for_person(
        &self,
        call: &Call<'_>,
        asking: &Asking,
        jwt: Unverified<'_>,
        trusted: &Trusted<IdentityRules>,
        asked: &TokenRequest<'_>,
        proof: Option<&Proven>,
    ) -> Answer<Reply> {
        let (client, rules) = (&asking.client, &trusted.rules);
        let at = Moment { now: call.origin.now, leeway: rules.leeway };
        let assertion = IdentityAssertion::read(jwt, rules, &call.settings.issuer, at).map_err(invalid_grant)?;
        if assertion.client_id != client.id {
            return Err(refused("the assertion is for another client", "other_client", &client.id));
        }
        is_signed(call, &assertion.jwt, &trusted.issuer).await?;
        let resource = self::resource(call, &assertion, asked.resource)?;
        is_among(rules.upstreams.as_deref(), resource, &client.id)?;
        let key = proof.map(|proof| proof.key);
        if assertion.binding.is_some() && assertion.binding != key {
            return Err(refused("the assertion is bound to a key, and this is no proof of it", "binding", &client.id));
        }
        let granted = assertion.granted(rules, &resource.scopes, asked.scopes.as_deref()).map_err(invalid_grant)?;
        let scopes: Vec<String> = match &client.scope {
            Some(own) => granted.into_iter().filter(|scope| own.contains(scope)).collect(),
            None => granted,
        };
        let speaker = Speaker::Foreign { subject: &assertion.subject, actor: assertion.actor.as_ref(), claims: &assertion.claims };
        let order = Order {
            client_id: &client.id,
            resource,
            speaker,
            scopes: &scopes,
            grant: None,
            binding: key.as_ref(),
            must_be_bound: client.dpop_bound,
        };
        let issued = self.make(call, &order).await?;
        if rules.single_use {
            let seen = digest(&format!("identity assertion\n{}\n{}", rules.issuer, assertion.id));
            // Beyond its end it is believed for the leeway.
            let until = assertion.expires + 2 * rules.leeway.as_secs() + 1;
            if !call.store.put_new_ticket(Kind::Seen, &seen, "", until, call.now).await.map_err(Fault::from)? {
                return Err(refused("the assertion was used before", "assertion_reused", &client.id));
            }
        }
        use_up(call, proof, &client.id).await?;
        Ok(issued.answer("identity_assertion", None, &[("resource", json!(resource.resource))]))
    }
}

/// By a key of the issuer itself.
async fn is_signed(call: &Call<'_>, jwt: &Unverified<'_>, issuer: &Arc<IssuerRules>) -> Answer<()> {
    let store = call.world.issuers.find(issuer).ok_or(Fault::NoKey)?;
    let (kid, algorithm) = (jwt.key_id(), jwt.algorithm());
    match store.verify(kid, algorithm, |keys| jwt.signed_by(keys.find(kid, algorithm)).map(drop)).await {
        Ok(()) => Ok(()),
        Err(Error::KeysUnavailable) => {
            Err(OAuthError::new(Code::TemporarilyUnavailable, "the keys of the assertion's issuer cannot be fetched now").into())
        }
        Err(_) => Err(invalid_grant("the assertion is not signed by its issuer").into()),
    }
}

/// What the assertion names, of which a request may name one; where it names none, what the request names.
fn resource<'c>(call: &Call<'c>, assertion: &IdentityAssertion<'_>, asked: Option<&str>) -> Answer<&'c Resource> {
    let foreign = || invalid_grant("the assertion is for a resource that is not served here");
    let Some(named) = &assertion.resources else { return wanted(call, asked) };
    let named: Option<Vec<&Resource>> = named.iter().map(|named| call.settings.resource(named)).collect();
    let named = named.ok_or(foreign())?;
    match (asked, named.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(OAuthError::new(Code::InvalidTarget, "`resource` is missing, and the assertion names several").into()),
        (Some(asked), _) => {
            let asked = call.settings.resource(asked).filter(|asked| named.contains(asked));
            Ok(asked.ok_or(invalid_grant("the assertion is for another resource"))?)
        }
    }
}

fn is_among(upstreams: Option<&[String]>, resource: &Resource, client: &str) -> Answer<()> {
    let is_there = upstreams.is_none_or(|names| names.iter().any(|name| *name == *resource.upstream));
    if is_there { Ok(()) } else { Err(refused("its issuer is not trusted for this resource", "untrusted_for_resource", client)) }
}
