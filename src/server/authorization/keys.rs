//! Signing keys: made by one replica, known to all through the store, published before they sign.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Fault, Server};
use crate::config::AuthorizationServer;
use crate::config::authorization_server::KeyFile;
use crate::identity::signing::{Curve, SigningKey};
use crate::mcp::seal::{MOST_KEYS, Owner, Purpose, SECRET, Sealer};
use crate::oauth::schedule::{self, Span};
use crate::state::Snapshot;
use crate::store;
use crate::store::Store;
use crate::store::authorization::SealedKey;
use crate::token::{Algorithm, KeySet};

/// Between two looks at the store: far less than a key is published before it signs.
const LOOK: Duration = Duration::from_secs(30);

/// What is known of the keys, replaced whole.
#[derive(Default)]
pub struct Keys {
    /// What seals, from the key file; one for the life of the process.
    sealer: ArcSwapOption<Sealer>,
    ring: ArcSwapOption<Ring>,
}

/// The keys in the order in which they sign.
pub struct Ring {
    keys: Vec<(SigningKey, Span)>,
    spans: Vec<Span>,
}

/// Why no token can be issued.
#[derive(Debug)]
pub enum OpenError {
    KeyFile(String),
    /// A row that this key file does not open.
    Foreign(String),
    Store(store::Error),
    Randomness,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile(why) => f.write_str(why),
            Self::Foreign(kid) => write!(f, "the key file does not open the signing key `{kid}`: it is not the file that sealed it"),
            Self::Store(error) => write!(f, "the store cannot be used: {error}"),
            Self::Randomness => f.write_str("the system has no randomness"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<store::Error> for OpenError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Keys {
    pub fn current(&self) -> Option<Arc<Ring>> {
        self.ring.load_full()
    }

    pub fn sealer(&self) -> Result<Arc<Sealer>, Fault> {
        self.sealer.load_full().ok_or(Fault::Unopened)
    }

    /// Reads the key file, or makes it where it may be made.
    fn unlock(&self, file: &KeyFile) -> Result<Arc<Sealer>, OpenError> {
        if let Some(sealer) = self.sealer.load_full() {
            return Ok(sealer);
        }
        let sealer = Arc::new(read_or_make(file)?);
        self.sealer.store(Some(sealer.clone()));
        Ok(sealer)
    }
}

impl Ring {
    /// The key that signs at `now` (seconds since 1970).
    pub fn signing(&self, now: u64) -> Option<&SigningKey> {
        self.keys.get(schedule::signing(&self.spans, now)?).map(|(key, _)| key)
    }

    /// The key set (RFC 7517 §5).
    pub fn document(&self, now: u64) -> Bytes {
        let keys: Vec<&Value> = self.published(now).map(SigningKey::public).collect();
        json!({ "keys": keys }).to_string().into()
    }

    fn published(&self, now: u64) -> impl Iterator<Item = &SigningKey> {
        let known = self.keys.iter().enumerate();
        known.filter(move |(index, _)| schedule::is_published(&self.spans, *index, now)).map(|(_, (key, _))| key)
    }

    fn due(&self, settings: &AuthorizationServer, now: u64) -> Option<u64> {
        let wanted = curve(settings.tokens.algorithm);
        let is_wanted = self.keys.last().is_some_and(|(key, _)| key.curve() == wanted);
        schedule::due(&self.spans, is_wanted, settings.tokens.rotate_keys.as_secs(), now)
    }
}

impl Server {
    /// Reads the keys before the first request, and goes on looking after them. Nothing where tokens are not issued here.
    ///
    /// # Errors
    /// Why no token could be issued.
    pub async fn open(self: &Arc<Self>) -> Result<(), OpenError> {
        let world = self.state.current();
        if world.config.authorization_server.is_some() && self.state.store().is_some() {
            self.renew(&world).await?;
        }
        let server = Arc::downgrade(self);
        let mut worlds = self.state.worlds();
        tokio::spawn(async move {
            loop {
                // A new world may have other rules, and needs the keys as well.
                let _ = tokio::time::timeout(LOOK, worlds.changed()).await;
                let Some(server) = server.upgrade() else { return };
                let world = server.state.current();
                if world.config.authorization_server.is_some()
                    && let Err(error) = server.renew(&world).await
                {
                    tracing::error!(%error, "signing keys cannot be looked after");
                }
            }
        });
        Ok(())
    }

    /// Takes the keys over from the store, makes the next one where it is due, and tells whoever verifies.
    async fn renew(&self, world: &Snapshot) -> Result<(), OpenError> {
        let (Some(settings), Some(store)) = (&world.config.authorization_server, self.state.store()) else { return Ok(()) };
        let sealer = self.keys.unlock(&settings.key_file)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut ring = read(store, &sealer).await?;
        if let Some(signs_from) = ring.due(settings, now) {
            let newest = ring.spans.last().map(|span| span.signs_from);
            let key = make(&sealer, settings, now, signs_from)?;
            // Another replica may have been first: its key is as good.
            if store.add_signing_key(&key, newest).await? {
                tracing::info!(kid = key.kid, signs_from, "made a signing key");
            }
            ring = read(store, &sealer).await?;
        }
        if let Some(keys) = world.issuers.find(&settings.rules) {
            let document = ring.document(now);
            let set = KeySet::parse(&document).map_err(|error| OpenError::KeyFile(error.to_string()))?;
            keys.publish(set);
        }
        self.keys.ring.store(Some(Arc::new(ring)));
        Ok(())
    }
}

async fn read(store: &Store, sealer: &Sealer) -> Result<Ring, OpenError> {
    let rows = store.signing_keys().await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let span = Span { created: row.created, signs_from: row.signs_from };
        let opened = || {
            let text = sealer.open(Purpose::SigningKey, &owner(&row.kid), &row.sealed, 0)?;
            SigningKey::read(Curve::named(&row.algorithm)?, &URL_SAFE_NO_PAD.decode(text).ok()?)
        };
        keys.push((opened().ok_or_else(|| OpenError::Foreign(row.kid.clone()))?, span));
    }
    let spans = keys.iter().map(|(_, span)| *span).collect();
    Ok(Ring { keys, spans })
}

fn make(sealer: &Sealer, settings: &AuthorizationServer, now: u64, signs_from: u64) -> Result<SealedKey, OpenError> {
    let (key, der) = SigningKey::generate_on(curve(settings.tokens.algorithm)).ok_or(OpenError::Randomness)?;
    let owner = owner(key.kid());
    let sealed = sealer.seal_same(Purpose::SigningKey, &owner, &URL_SAFE_NO_PAD.encode(der)).ok_or(OpenError::Randomness)?;
    let algorithm = key.curve().algorithm().to_owned();
    Ok(SealedKey { kid: key.kid().to_owned(), algorithm, sealed, created: now, signs_from })
}

/// Not bound to the issuer: with another `public_url` the gateway warns loudly, and serves on.
fn owner(kid: &str) -> Owner {
    Owner::new(&[b"signing key", kid.as_bytes()])
}

fn curve(algorithm: Algorithm) -> Curve {
    if algorithm == Algorithm::EdDSA { Curve::Ed25519 } else { Curve::P256 }
}

fn read_or_make(file: &KeyFile) -> Result<Sealer, OpenError> {
    let told =
        |what: &str, error: std::io::Error| OpenError::KeyFile(format!("cannot {what} the key file `{}`: {error}", file.path.display()));
    if file.make && !file.path.exists() {
        let mut secret = [0; SECRET];
        SystemRandom::new().fill(&mut secret).map_err(|_| OpenError::Randomness)?;
        // SECURITY: for its owner alone, and never over another one.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path);
        match made {
            Ok(mut made) => {
                made.write_all(format!("{}\n", STANDARD.encode(secret)).as_bytes()).map_err(|error| told("write", error))?;
                made.sync_all().map_err(|error| told("write", error))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(told("make", error)),
        }
    }
    parse(&file.path, &std::fs::read_to_string(&file.path).map_err(|error| told("read", error))?)
}

fn parse(path: &Path, text: &str) -> Result<Sealer, OpenError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MOST_KEYS);
    let secrets: Option<Vec<[u8; SECRET]>> = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect();
    let sealer = secrets.and_then(|secrets| Sealer::new(&secrets));
    sealer.ok_or_else(|| OpenError::KeyFile(format!("`{}` does not hold keys of 32 bytes in base64", path.display())))
}
