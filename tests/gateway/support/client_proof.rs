//! A key of the gateway's as a client, and what its proofs say (RFC 7523).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

pub struct ProofKey {
    pair: EcdsaKeyPair,
    pub file: PathBuf,
}

impl ProofKey {
    /// A new key in a file that only its owner can read.
    pub fn new(folder: &Path) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let file = folder.join("client.pem");
        let der = pair.private_key().as_der().unwrap();
        let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        std::fs::write(&file, pem).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self { pair, file }
    }

    /// The header and the claims of the proof in a form, whose signature is by this key.
    #[track_caller]
    pub fn opened(&self, form: &HashMap<String, String>) -> (Value, Value) {
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let parts: Vec<&str> = form["client_assertion"].split('.').collect();
        assert_eq!(parts.len(), 3);
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let message = format!("{}.{}", parts[0], parts[1]);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(message.as_bytes(), &bytes(parts[2])).expect("a signature by the client's key");
        let json = |part: &str| serde_json::from_slice(&bytes(part)).unwrap();
        (json(parts[0]), json(parts[1]))
    }
}
