//! A fake issuer: discovery documents, a key set, and tokens with anything about them wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A private key with its id.
#[derive(Clone)]
pub struct Signer {
    pub kid: String,
    key: Arc<Key>,
}

enum Key {
    Rsa(&'static RsaKeyPair),
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Generated once for the whole process: it is slow.
fn rsa() -> &'static RsaKeyPair {
    static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap())
}

impl Signer {
    pub fn es256(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.into(), key: Arc::new(Key::Es256(key)) }
    }

    pub fn rs256(kid: &str) -> Self {
        Self { kid: kid.into(), key: Arc::new(Key::Rsa(rsa())) }
    }

    pub fn ed25519(kid: &str) -> Self {
        Self { kid: kid.into(), key: Arc::new(Key::Ed25519(Ed25519KeyPair::generate().unwrap())) }
    }

    pub fn alg(&self) -> &'static str {
        match *self.key {
            Key::Rsa(_) => "RS256",
            Key::Es256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        match &*self.key {
            Key::Rsa(key) => {
                let (n, e) = rsa_parts(key.public_key().as_ref());
                json!({"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256", "n": b64(n), "e": b64(e)})
            }
            Key::Es256(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "kid": self.kid, "use": "sig", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Key::Ed25519(key) => {
                json!({"kty": "OKP", "kid": self.kid, "use": "sig", "crv": "Ed25519", "x": b64(key.public_key().as_ref())})
            }
        }
    }

    /// The public key as PEM bytes: what an HMAC confusion would use as its secret.
    pub fn public_pem(&self) -> Vec<u8> {
        match &*self.key {
            Key::Rsa(key) => {
                let body = base64::engine::general_purpose::STANDARD.encode(key.public_key().as_ref());
                format!("-----BEGIN RSA PUBLIC KEY-----\n{body}\n-----END RSA PUBLIC KEY-----\n").into_bytes()
            }
            _ => panic!("only the RSA key has a PEM here"),
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// Modulus and exponent of a PKCS #1 `RSAPublicKey`: a sequence of two integers.
fn rsa_parts(der: &[u8]) -> (&[u8], &[u8]) {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, header) = match der[1] {
            short @ 0..=0x7F => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7F);
                (der[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + count)
            }
        };
        (&der[header..header + length], &der[header + length..])
    }
    let (sequence, _) = element(der);
    let (modulus, rest) = element(sequence);
    let (exponent, _) = element(rest);
    (modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent)
}

/// A token before it is signed: change what should be wrong.
pub struct Token {
    pub header: Value,
    pub claims: Value,
    pub signer: Signer,
    /// The payload's text, when it must not be what `claims` would give.
    pub payload: Option<String>,
    /// The header's text, when it must not be what `header` would give.
    pub head: Option<String>,
}

impl Token {
    pub fn new(issuer: &str, audience: &str, signer: &Signer) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, SeqCst);
        Self {
            header: json!({"alg": signer.alg(), "kid": signer.kid, "typ": "at+jwt"}),
            claims: json!({
                "iss": issuer, "aud": audience, "sub": "user-a", "client_id": "client-one", "scope": "files:read",
                "iat": now(), "exp": now() + 300, "jti": format!("jti-{serial}"),
            }),
            signer: signer.clone(),
            payload: None,
            head: None,
        }
    }

    /// Everything before the signature.
    pub fn signing_input(&self) -> String {
        let head = self.head.clone().unwrap_or_else(|| self.header.to_string());
        let payload = self.payload.clone().unwrap_or_else(|| self.claims.to_string());
        format!("{}.{}", b64(head), b64(payload))
    }

    pub fn sign(&self) -> String {
        let input = self.signing_input();
        let signature = self.signer.sign(input.as_bytes());
        format!("{input}.{}", b64(signature))
    }

    pub fn remove(&mut self, claim: &str) {
        self.claims.as_object_mut().unwrap().remove(claim);
    }
}

/// The issuer itself, listening on loopback for as long as the test runs.
pub struct Issuer {
    pub url: String,
    pub signer: Signer,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Value>>,
    introspection: Mutex<Option<String>>,
    described: Mutex<Vec<(String, Value)>>,
    down: AtomicBool,
    slow: AtomicBool,
    go_on: Notify,
    key_fetches: AtomicUsize,
    metadata_fetches: AtomicUsize,
    other_fetches: Mutex<Vec<String>>,
}

impl Issuer {
    pub async fn start() -> Self {
        let signer = Signer::es256("key-1");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys: Mutex::new(vec![signer.jwk()]),
            introspection: Mutex::new(None),
            described: Mutex::default(),
            down: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            go_on: Notify::new(),
            key_fetches: AtomicUsize::new(0),
            metadata_fetches: AtomicUsize::new(0),
            other_fetches: Mutex::new(Vec::new()),
        });
        let router = axum::Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .fallback(other)
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, signer, shared }
    }

    pub fn token(&self, audience: &str, change: impl FnOnce(&mut Token)) -> String {
        let mut token = Token::new(&self.url, audience, &self.signer);
        change(&mut token);
        token.sign()
    }

    /// Adds a key to the published set.
    pub fn publish(&self, signer: &Signer) {
        self.shared.keys.lock().unwrap().push(signer.jwk());
    }

    /// Replaces the published set.
    pub fn publish_only(&self, signers: &[&Signer]) {
        *self.shared.keys.lock().unwrap() = signers.iter().map(|signer| signer.jwk()).collect();
    }

    /// Puts any JSON into the published set.
    pub fn publish_raw(&self, jwk: Value) {
        self.shared.keys.lock().unwrap().push(jwk);
    }

    /// The metadata says from now on that tokens are asked about there.
    pub fn introspect_at(&self, url: &str) {
        *self.shared.introspection.lock().unwrap() = Some(url.to_owned());
    }

    /// The metadata says this of a member from now on.
    pub fn describe(&self, member: &str, value: Value) {
        self.shared.described.lock().unwrap().push((member.to_owned(), value));
    }

    /// Every answer is 503 while down.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, SeqCst);
    }

    /// No answer is given while slow.
    pub fn set_slow(&self, slow: bool) {
        self.shared.slow.store(slow, SeqCst);
        self.shared.go_on.notify_waiters();
    }

    /// How often the key set was asked for.
    pub fn key_fetches(&self) -> usize {
        self.shared.key_fetches.load(SeqCst)
    }

    pub fn metadata_fetches(&self) -> usize {
        self.shared.metadata_fetches.load(SeqCst)
    }

    /// Paths that nobody should ask for.
    pub fn other_fetches(&self) -> Vec<String> {
        self.shared.other_fetches.lock().unwrap().clone()
    }
}

impl Shared {
    async fn answer(&self, body: Value) -> Response {
        while self.slow.load(SeqCst) {
            let woken = self.go_on.notified();
            if self.slow.load(SeqCst) {
                woken.await;
            }
        }
        match self.down.load(SeqCst) {
            true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            false => axum::Json(body).into_response(),
        }
    }
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    shared.metadata_fetches.fetch_add(1, SeqCst);
    let url = &shared.url;
    let introspection = shared.introspection.lock().unwrap().clone();
    let mut document = json!({
        "issuer": url, "introspection_endpoint": introspection, "jwks_uri": format!("{url}/jwks"),
        "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
    });
    for (member, value) in shared.described.lock().unwrap().iter() {
        document[member] = value.clone();
    }
    shared.answer(document).await
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    shared.key_fetches.fetch_add(1, SeqCst);
    let keys = shared.keys.lock().unwrap().clone();
    shared.answer(json!({"keys": keys})).await
}

async fn other(State(shared): State<Arc<Shared>>, uri: axum::http::Uri) -> StatusCode {
    shared.other_fetches.lock().unwrap().push(uri.to_string());
    StatusCode::NOT_FOUND
}
