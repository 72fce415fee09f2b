//! The authorization server's metadata (RFC 8414 §2), the same in the form of OpenID Connect Discovery.

use serde_json::{Map, Value, json};

use super::GrantType;

/// Signature algorithms of assertions that clients and trusted issuers may use.
pub const ASSERTION_ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

/// How a client proves itself, where it can and where it must.
const ANYONE: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
const PROVING: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// What is enabled.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    pub issuer: &'a str,
    /// People can be asked.
    pub authorize: bool,
    /// Clients can register themselves.
    pub registration: bool,
    /// Clients can publish a document at their id.
    pub documents: bool,
    /// Identity assertions of trusted issuers are taken (ID-JAG).
    pub identity_assertions: bool,
    /// The same of workloads.
    pub workloads: bool,
    /// What may be asked for, without `offline_access`.
    pub scopes: &'a [&'a str],
    /// Algorithms of proofs; none where tokens are not bound here.
    pub proofs: &'a [&'a str],
    /// How access tokens are signed.
    pub algorithm: &'a str,
    pub resources: &'a [&'a str],
}

/// The document. What is not enabled is absent, never null or empty (RFC 8414 §3.2). Says nothing of who is trusted.
pub fn document(about: &Description<'_>, is_openid: bool) -> String {
    let Description { issuer, authorize, registration, documents, identity_assertions, workloads, scopes, proofs, algorithm, resources } =
        *about;
    let endpoint = |path: &str| json!(format!("{issuer}{path}"));
    let mut all = Map::new();
    let mut set = |name: &str, value: Value| all.insert(name.to_owned(), value);
    set("issuer", json!(issuer));
    let mut grants = Vec::new();
    if authorize {
        set("authorization_endpoint", endpoint("/authorize"));
        set("response_types_supported", json!(["code"]));
        set("response_modes_supported", json!(["query"]));
        set("code_challenge_methods_supported", json!(["S256"]));
        set("authorization_response_iss_parameter_supported", json!(true));
        grants.extend([GrantType::AuthorizationCode, GrantType::RefreshToken]);
    }
    set("token_endpoint", endpoint("/token"));
    set("revocation_endpoint", endpoint("/revoke"));
    set("introspection_endpoint", endpoint("/introspect"));
    set("jwks_uri", endpoint("/jwks.json"));
    grants.push(GrantType::ClientCredentials);
    if identity_assertions || workloads {
        grants.push(GrantType::JwtBearer);
    }
    set("grant_types_supported", json!(grants.into_iter().map(GrantType::name).collect::<Vec<_>>()));
    if identity_assertions {
        set("authorization_grant_profiles_supported", json!(["urn:ietf:params:oauth:grant-profile:id-jag"]));
    }
    set("token_endpoint_auth_methods_supported", json!(ANYONE));
    set("revocation_endpoint_auth_methods_supported", json!(ANYONE));
    set("introspection_endpoint_auth_methods_supported", json!(PROVING));
    for name in ["token", "revocation", "introspection"] {
        set(&format!("{name}_endpoint_auth_signing_alg_values_supported"), json!(ASSERTION_ALGORITHMS));
    }
    let offline = authorize.then_some("offline_access");
    let scopes: Vec<&str> = scopes.iter().copied().chain(offline).collect();
    if !scopes.is_empty() {
        set("scopes_supported", json!(scopes));
    }
    if registration {
        set("registration_endpoint", endpoint("/register"));
    }
    if documents {
        set("client_id_metadata_document_supported", json!(true));
    }
    if !proofs.is_empty() {
        set("dpop_signing_alg_values_supported", json!(proofs));
    }
    if !resources.is_empty() {
        set("protected_resources", json!(resources));
    }
    if is_openid {
        // OpenID Connect Discovery §3 wants both; no ID token is issued here.
        set("subject_types_supported", json!(["public"]));
        set("id_token_signing_alg_values_supported", json!([algorithm]));
    }
    Value::Object(all).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: Description<'static> = Description {
        issuer: "https://gw.example",
        authorize: true,
        registration: true,
        documents: true,
        identity_assertions: false,
        workloads: false,
        scopes: &["a"],
        proofs: &["ES256"],
        algorithm: "ES256",
        resources: &["https://gw.example/files"],
    };

    fn read(about: &Description<'_>, is_openid: bool) -> Value {
        serde_json::from_str(&document(about, is_openid)).expect("json")
    }

    #[test]
    fn what_is_enabled_is_advertised() {
        let all = read(&ABOUT, false);
        assert_eq!(all["issuer"], "https://gw.example");
        assert_eq!(all["registration_endpoint"], "https://gw.example/register");
        assert_eq!(all["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(all["authorization_response_iss_parameter_supported"], true);
        assert_eq!(all["client_id_metadata_document_supported"], true);
        assert_eq!(all["scopes_supported"], json!(["a", "offline_access"]));
        assert_eq!(all["grant_types_supported"], json!(["authorization_code", "refresh_token", "client_credentials"]));
        assert_eq!(all.get("id_token_signing_alg_values_supported"), None);
        assert_eq!(read(&ABOUT, true)["subject_types_supported"], json!(["public"]));
    }

    #[test]
    fn what_is_not_enabled_is_absent_and_never_null() {
        let bare = Description { authorize: false, registration: false, documents: false, scopes: &[], proofs: &[], ..ABOUT };
        let all = read(&bare, false);
        for name in [
            "registration_endpoint",
            "authorization_endpoint",
            "client_id_metadata_document_supported",
            "scopes_supported",
            "dpop_signing_alg_values_supported",
            "code_challenge_methods_supported",
            "authorization_grant_profiles_supported",
        ] {
            assert_eq!(all.get(name), None, "{name}");
        }
        assert!(all.as_object().expect("an object").values().all(|value| !value.is_null()));
        assert_eq!(all["grant_types_supported"], json!(["client_credentials"]));
    }

    #[test]
    fn item_139_the_profile_and_its_grant_go_together() {
        let all = read(&Description { identity_assertions: true, ..ABOUT }, false);
        assert_eq!(all["authorization_grant_profiles_supported"], json!(["urn:ietf:params:oauth:grant-profile:id-jag"]));
        assert!(all["grant_types_supported"].as_array().expect("a list").contains(&json!("urn:ietf:params:oauth:grant-type:jwt-bearer")));
        let workloads = read(&Description { workloads: true, ..ABOUT }, false);
        assert_eq!(workloads.get("authorization_grant_profiles_supported"), None);
    }
}
