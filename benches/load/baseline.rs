//! A bare Pingora proxy: what any gateway built on Pingora costs before it decides anything.
//!
//! It names its upstream and does nothing else. Same allocator, build profile, buffers, pool size
//! and thread count as Doorward, so that the difference is Doorward's own.

use async_trait::async_trait;
use pingora::listeners::ListenerConfig;
use pingora::prelude::{HttpPeer, Result, Server, Session};
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::proxy::{ProxyHttp, http_proxy_service};
use pingora::server::configuration::ServerConf;

struct Bare {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

/// Forwards everything from `listen` to `upstream`, both `host:port`, until it is killed.
pub fn run(listen: &str, upstream: &str) -> ! {
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream: upstream.to_owned() });
    service.add_listener(ListenerConfig::tcp(listen).l4_buffer(L4BufferSettings::default().read(8 << 10)));
    server.add_service(service);
    server.run_forever()
}
