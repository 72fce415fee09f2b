//! A bare Pingora proxy: what any gateway built on Pingora costs before it decides anything.
//!
//! It names its upstream and does nothing else, or nothing but verify the signature of each DPoP proof. Same
//! allocator, build profile, buffers, pool size and thread count as Doorward, so that the difference is Doorward's own.

use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pingora::listeners::ListenerConfig;
use pingora::prelude::{HttpPeer, Result, Server, Session};
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::proxy::{ProxyHttp, http_proxy_service};
use pingora::server::configuration::ServerConf;

struct Bare {
    upstream: String,
    /// Of the holder of all proofs.
    key: Option<ParsedPublicKey>,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        if let Some(key) = &self.key {
            let proof = session.get_header("dpop").and_then(|proof| proof.to_str().ok());
            assert!(proof.is_none_or(|proof| is_signed(key, proof)), "a forged proof");
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

fn is_signed(key: &ParsedPublicKey, proof: &str) -> bool {
    let Some((message, signature)) = proof.rsplit_once('.') else { return false };
    URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify_sig(message.as_bytes(), &signature).is_ok())
}

/// Forwards everything from `listen` to `upstream`, both `host:port`, until it is killed. Proofs are verified by `key`,
/// a point of P-256 in base64url, where one is given.
pub fn run(listen: &str, upstream: &str, key: Option<&str>) -> ! {
    let point = |key| URL_SAFE_NO_PAD.decode(key).expect("base64url");
    let key = key.map(|key| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(key)).expect("a key"));
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream: upstream.to_owned(), key });
    service.add_listener(ListenerConfig::tcp(listen).l4_buffer(L4BufferSettings::default().read(8 << 10)));
    server.add_service(service);
    server.run_forever()
}
