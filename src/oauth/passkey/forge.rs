//! An authenticator of software, for tests: these here, and those of the whole gateway.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use minicbor::Encoder;

/// Present, verified, may be backed up, is.
pub const FLAGS: u8 = 0b0001_1101;
pub const ATTESTED: u8 = 1 << 6;

/// One passkey, and what is to be said with it.
pub struct Authenticator {
    pair: EcdsaKeyPair,
    pub id: Vec<u8>,
    pub party: String,
    pub origin: String,
    pub flags: u8,
    pub counter: u32,
    /// Stands in the client data besides.
    pub more: String,
    pub format: &'static str,
}

impl Authenticator {
    pub fn new(party: &str, origin: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let id = digest(&SHA256, pair.public_key().as_ref()).as_ref().to_vec();
        let (party, origin, more) = (party.to_owned(), origin.to_owned(), String::new());
        Self { pair, id, party, origin, flags: FLAGS, counter: 0, more, format: "none" }
    }

    pub fn client_data(&self, ceremony: &str, challenge: &str) -> Vec<u8> {
        let (origin, more) = (&self.origin, &self.more);
        format!(r#"{{"type":"webauthn.{ceremony}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false{more}}}"#).into_bytes()
    }

    /// Its key as COSE writes it.
    pub fn key(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point.get(1..).expect("a point").split_at(32);
        let mut key = Vec::new();
        let mut cbor = Encoder::new(&mut key);
        cbor.map(5).and_then(|e| e.i8(1)?.i8(2)?.i8(3)?.i8(-7)?.i8(-1)?.i8(1)?.i8(-2)?.bytes(x)?.i8(-3)?.bytes(y)).expect("a key");
        key
    }

    /// Flags and counter as they are; with `attested`, the credential too.
    pub fn data(&self, attested: Option<&[u8]>) -> Vec<u8> {
        let flags = self.flags | if attested.is_some() { ATTESTED } else { 0 };
        let head = [digest(&SHA256, self.party.as_bytes()).as_ref(), &[flags], &self.counter.to_be_bytes()].concat();
        let Some(key) = attested else { return head };
        let length = u16::try_from(self.id.len()).expect("a length").to_be_bytes();
        [&head[..], &[0; 16], &length, &self.id, key].concat()
    }

    pub fn sign(&self, data: &[u8], client_data: &[u8]) -> Vec<u8> {
        let message = [data, digest(&SHA256, client_data).as_ref()].concat();
        self.pair.sign(&SystemRandom::new(), &message).expect("a signature").as_ref().to_vec()
    }

    pub fn attestation(&self, data: &[u8], client_data: &[u8]) -> Vec<u8> {
        let mut object = Vec::new();
        let mut cbor = Encoder::new(&mut object);
        cbor.map(3).and_then(|e| e.str("fmt")?.str(self.format)?.str("attStmt")).expect("cbor");
        if self.format == "packed" {
            let signature = self.sign(data, client_data);
            cbor.map(2).and_then(|e| e.str("alg")?.i8(-7)?.str("sig")?.bytes(&signature)).expect("cbor");
        } else {
            cbor.map(0).expect("cbor");
        }
        cbor.str("authData").and_then(|e| e.bytes(data)).expect("cbor");
        object
    }

    /// The client data and the attestation object of a new passkey.
    pub fn make(&self, challenge: &str) -> (Vec<u8>, Vec<u8>) {
        let (client_data, data) = (self.client_data("create", challenge), self.data(Some(&self.key())));
        let attestation = self.attestation(&data, &client_data);
        (client_data, attestation)
    }

    /// Client data, authenticator data and signature of a use.
    pub fn answer(&self, challenge: &str) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (client_data, data) = (self.client_data("get", challenge), self.data(None));
        let signature = self.sign(&data, &client_data);
        (client_data, data, signature)
    }
}
