//! Does a document describe the client whose id is its URL? (draft-ietf-oauth-client-id-metadata-document §4)
//!
//! Knows nothing of fetching: see `remote::client_document`.

use serde_json::Value;

use super::client_id::DocumentUrl;
use super::registration::{Fault, Metadata, Whence};
use crate::token::json;

/// Why a document describes no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentFault {
    /// Its `client_id` is not the URL where it stands, to the letter.
    Other,
    Metadata(Fault),
}

impl DocumentFault {
    pub fn text(self) -> &'static str {
        match self {
            Self::Other => "the client_id in the document is not the address of the document",
            Self::Metadata(fault) => fault.text(),
        }
    }
}

/// What a document says of the client.
///
/// # Errors
/// The first fault. What is refused is not kept.
pub fn read(text: &[u8], url: &DocumentUrl, allow_loopback: bool) -> Result<Metadata, DocumentFault> {
    let object = json::object(text).ok_or(DocumentFault::Metadata(Fault::Object))?;
    if object.get("client_id").and_then(Value::as_str) != Some(url.url().as_str()) {
        return Err(DocumentFault::Other);
    }
    if ["client_secret", "client_secret_expires_at"].iter().any(|name| object.contains_key(*name)) {
        return Err(DocumentFault::Metadata(Fault::Secret));
    }
    let metadata = Metadata::of(object, Whence::Document, allow_loopback).map_err(DocumentFault::Metadata)?;
    match (&metadata.client_name, metadata.redirect_uris.is_empty()) {
        (None, _) => Err(DocumentFault::Metadata(Fault::NoName)),
        // Needed even of those that answer nobody (MCP 2026-07-28, client registration).
        (_, true) => Err(DocumentFault::Metadata(Fault::NoRedirect)),
        _ => Ok(metadata),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oauth::registration::Method;

    const URL: &str = "https://app.example/client.json";

    fn read_with(member: &str, value: Value) -> Result<Metadata, DocumentFault> {
        let mut document = json!({ "client_id": URL, "client_name": "Acme", "redirect_uris": ["http://127.0.0.1/cb"] });
        document.as_object_mut().expect("an object").insert(member.to_owned(), value);
        read(document.to_string().as_bytes(), &DocumentUrl::parse(URL, false).expect("a URL"), false)
    }

    #[test]
    fn item_122_a_document_has_its_own_url_as_id_and_a_name_and_redirect_uris() {
        assert_eq!(read_with("x", json!(1)).expect("read").token_endpoint_auth_method, Method::None);
        for id in ["https://app.example/client.jso", "https://app.example/client.json/", "https://APP.example/client.json", ""] {
            assert_eq!(read_with("client_id", json!(id)), Err(DocumentFault::Other), "{id}");
        }
        assert_eq!(read_with("client_id", Value::Null), Err(DocumentFault::Other));
        for name in [Value::Null, json!(""), json!(" ")] {
            assert_eq!(read_with("client_name", name), Err(DocumentFault::Metadata(Fault::NoName)));
        }
        for uris in [Value::Null, json!([])] {
            assert_eq!(read_with("redirect_uris", uris), Err(DocumentFault::Metadata(Fault::NoRedirect)));
        }
        let url = DocumentUrl::parse(URL, false).expect("a URL");
        for text in ["", "[]", "<html>", r#"{"client_id":"a","client_id":"b"}"#] {
            assert_eq!(read(text.as_bytes(), &url, false), Err(DocumentFault::Metadata(Fault::Object)), "{text}");
        }
    }

    #[test]
    fn item_124_a_document_holds_no_secret() {
        let secret = Err(DocumentFault::Metadata(Fault::Secret));
        for method in ["client_secret_basic", "client_secret_post"] {
            assert_eq!(read_with("token_endpoint_auth_method", json!(method)), secret, "{method}");
        }
        assert_eq!(read_with("client_secret", json!("s")), secret);
        assert_eq!(read_with("client_secret_expires_at", json!(0)), secret);
        assert_eq!(read_with("token_endpoint_auth_method", json!("client_secret_jwt")), Err(DocumentFault::Metadata(Fault::Method)));
        let private = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c" }] });
        assert_eq!(read_with("jwks", private), Err(DocumentFault::Metadata(Fault::PrivateKey)));
        let shared = json!({ "keys": [{ "kty": "oct", "kid": "1" }] });
        assert_eq!(read_with("jwks", shared), Err(DocumentFault::Metadata(Fault::PrivateKey)));
    }
}
