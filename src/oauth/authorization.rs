//! A checked authorize request.

/// What a client asked for and may have, if the person agrees. Made by the authorize endpoint alone.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Authorized {
    pub client_id: String,
    /// Exactly as it was sent, and registered.
    pub redirect_uri: String,
    /// `code_challenge`, by S256 (RFC 7636 §4.2).
    pub challenge: String,
    /// The canonical resource, which becomes the audience (RFC 8707).
    pub resource: String,
    /// The upstream behind it.
    pub upstream: std::sync::Arc<str>,
    pub scopes: Vec<String>,
    /// The client wants a refresh token too, and may have one.
    pub offline: bool,
    pub state: Option<String>,
    /// The thumbprint of the key that the code is bound to (RFC 9449 §10).
    pub dpop_jkt: Option<String>,
}
