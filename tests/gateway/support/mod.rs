//! The neighbours of the gateway: an issuer, an MCP server, clients, and the binary itself.

#[path = "../../../src/oauth/passkey/forge.rs"]
pub mod authenticator;
pub mod client;
pub mod client_proof;
pub mod gateway;
pub mod introspection;
pub mod issuer;
pub mod postgres;
pub mod provider;
pub mod tls;
pub mod upstream;
pub mod world;

pub use client::{Raw, Reply, json_call, raw};
pub use gateway::Gateway;
pub use issuer::{Issuer, Signer, Token};
pub use upstream::{Answer, Upstream};
pub use world::{Setup, World};

use std::future::Future;
use std::time::{Duration, Instant};

/// How long any event may take before a test calls it lost.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `probe` gives a value; fails with `what` after [`DEADLINE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails when `future` takes longer than [`DEADLINE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// The one crypto provider of this process.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
