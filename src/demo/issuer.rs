//! The demo's authorization server: whoever asks for a token as alice or bob gets one.
//!
//! **Only for the demo.** It checks no password and is no example of how to log people in; its
//! metadata says so too. What it issues is real, though: `at+jwt` access tokens (RFC 9068), signed
//! by an ES256 key that is made at start, for one resource (RFC 8707) on loopback.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;

/// The extension grant (RFC 6749 §4.5) of the demo: a user name, and nothing to prove it.
pub const GRANT_TYPE: &str = "urn:doorward:demo";
const LIFETIME: Duration = Duration::from_secs(600);
const SCOPES: [&str; 2] = ["notes:read", "notes:write"];
const CLIENT: &str = "demo-curl";

struct Issuer {
    name: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
    kid: String,
}

/// The server's routes. `name` is the issuer identifier.
pub fn router(name: String) -> Result<Router, Failure> {
    let issuer = Arc::new(Issuer::new(name)?);
    Ok(Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/jwks", get(jwks))
        .route("/token", post(token))
        .layer(DefaultBodyLimit::max(8 << 10))
        .with_state(issuer))
}

/// RFC 8414 §2.
async fn metadata(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let name = &issuer.name;
    Json(json!({
        "issuer": name,
        "token_endpoint": format!("{name}/token"),
        "jwks_uri": format!("{name}/jwks"),
        "scopes_supported": SCOPES,
        "response_types_supported": [],
        "grant_types_supported": [GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["none"],
        "service_documentation": "demo only",
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let (x, y) = issuer.point();
    Json(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": issuer.kid, "x": x, "y": y }] }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    grant_type: String,
    username: String,
    scope: String,
    resource: String,
}

async fn token(State(issuer): State<Arc<Issuer>>, Form(request): Form<Request>) -> Response {
    let claims = match issuer.claims(&request, SystemTime::now()) {
        Ok(claims) => claims,
        Err((error, description)) => {
            let body = json!({ "error": error, "error_description": description });
            return (StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
        }
    };
    let Some(token) = issuer.sign(&claims) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME.as_secs(), "scope": request.scope });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

impl Issuer {
    fn new(name: String) -> Result<Self, Failure> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| Failure::Key)?;
        Ok(Self { name, key, random: SystemRandom::new(), kid: random_text().ok_or(Failure::Key)? })
    }

    /// The claims of RFC 9068 §2.2, or the error of RFC 6749 §5.2.
    fn claims(&self, request: &Request, now: SystemTime) -> Result<Value, (&'static str, &'static str)> {
        let Request { grant_type, username, scope, resource } = request;
        if grant_type != GRANT_TYPE {
            return Err(("unsupported_grant_type", "only urn:doorward:demo is known here"));
        }
        let groups = groups(username).ok_or(("invalid_grant", "only alice and bob are known here"))?;
        if scope.is_empty() || scope.split(' ').any(|one| !SCOPES.contains(&one)) {
            return Err(("invalid_scope", "only notes:read and notes:write are known here"));
        }
        if !is_loopback(resource) {
            return Err(("invalid_target", "only a resource at http://127.0.0.1 is known here"));
        }
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(json!({
            "iss": self.name,
            "sub": username,
            "aud": resource,
            "client_id": CLIENT,
            "iat": issued.as_secs(),
            "exp": (issued + LIFETIME).as_secs(),
            "jti": random_text().unwrap_or_default(),
            "scope": scope,
            "groups": groups,
            "email": format!("{username}@demo.example"),
        }))
    }

    /// A JWS in compact form (RFC 7515 §7.1).
    fn sign(&self, claims: &Value) -> Option<String> {
        let head = json!({ "typ": "at+jwt", "alg": "ES256", "kid": self.kid });
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The public key's coordinates (RFC 7518 §6.2.1): an uncompressed point is 0x04, x, y.
    fn point(&self) -> (String, String) {
        let point = self.key.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        (part(1..33), part(33..65))
    }
}

fn groups(username: &str) -> Option<&'static [&'static str]> {
    match username {
        "alice" => Some(&["dev"]),
        "bob" => Some(&["dev", "sre"]),
        _ => None,
    }
}

/// SECURITY: a token from here must be worth nothing anywhere else.
fn is_loopback(resource: &str) -> bool {
    url::Url::parse(resource).is_ok_and(|url| url.scheme() == "http" && url.host_str() == Some("127.0.0.1") && url.fragment().is_none())
}

/// 96 random bits as text.
pub(super) fn random_text() -> Option<String> {
    let mut bytes = [0u8; 12];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    const RESOURCE: &str = "http://127.0.0.1:7400/mcp";

    fn request(username: &str, scope: &str, resource: &str) -> Request {
        Request { grant_type: GRANT_TYPE.into(), username: username.into(), scope: scope.into(), resource: resource.into() }
    }

    fn error(request: Request) -> &'static str {
        let issuer = Issuer::new("http://127.0.0.1:1".into()).expect("a key");
        issuer.claims(&request, SystemTime::now()).expect_err("refused").0
    }

    #[test]
    fn a_token_is_an_at_jwt_for_one_resource_that_the_published_key_verifies() {
        let issuer = Issuer::new("http://127.0.0.1:1".into()).expect("a key");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let claims = issuer.claims(&request("bob", "notes:read notes:write", RESOURCE), now).expect("granted");
        assert_eq!(claims["aud"], RESOURCE);
        assert_eq!(claims["exp"], 1600);
        assert_eq!(claims["groups"], json!(["dev", "sre"]));
        let token = issuer.sign(&claims).expect("signed");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let head: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').next().expect("a head")).expect("base64")).expect("json");
        assert_eq!(head["typ"], "at+jwt");
        let (x, y) = issuer.point();
        let mut point = vec![4u8];
        point.extend(URL_SAFE_NO_PAD.decode(x).expect("x"));
        point.extend(URL_SAFE_NO_PAD.decode(y).expect("y"));
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).expect("base64")).is_ok());
    }

    #[test]
    fn strangers_other_scopes_other_grants_and_resources_elsewhere_are_refused() {
        assert_eq!(error(request("mallory", "notes:read", RESOURCE)), "invalid_grant");
        assert_eq!(error(request("alice", "notes:admin", RESOURCE)), "invalid_scope");
        assert_eq!(error(request("alice", "", RESOURCE)), "invalid_scope");
        for elsewhere in ["", "https://mcp.example.com/mcp", "http://127.0.0.1.evil.example/mcp", "http://127.0.0.1@evil.example/mcp"] {
            assert_eq!(error(request("alice", "notes:read", elsewhere)), "invalid_target", "{elsewhere}");
        }
        assert_eq!(error(Request { grant_type: "password".into(), ..request("alice", "notes:read", RESOURCE) }), "unsupported_grant_type");
    }
}
