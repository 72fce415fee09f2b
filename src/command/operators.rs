//! The sockets at which operators connect: bound anew, or handed over by the process before.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Admin, ListenAddress};
use crate::proxy::activation::admin_label;
use crate::proxy::server::{remove_stale, tcp};
use crate::proxy::upgrade::Sockets;
use crate::server::listen::Socket;
use crate::tls::Certificates;

/// Listens at `address`. `kept` gets the same socket once more, for the next process.
pub fn bind(
    address: &ListenAddress,
    inherited: &mut Sockets,
    kept: Option<&mut Sockets>,
    tls: Option<Arc<Certificates>>,
) -> Result<Socket, String> {
    let told = |error: std::io::Error| format!("cannot listen on `{address}` for admin: {error}");
    let label = admin_label(address);
    let bound = match (inherited.take(&label), address) {
        (Some(socket), _) => socket,
        (None, ListenAddress::Tcp(address)) => tcp(*address).map_err(told)?.into(),
        (None, ListenAddress::Unix(path)) => unix(path).map_err(told)?,
    };
    if let Some(kept) = kept {
        kept.add(label, bound.try_clone().map_err(told)?);
    }
    match address {
        ListenAddress::Tcp(_) => Ok(Socket::Tcp(tokio::net::TcpListener::from_std(bound.into()).map_err(told)?, tls)),
        ListenAddress::Unix(_) => Ok(Socket::Unix(tokio::net::UnixListener::from_std(bound.into()).map_err(told)?)),
    }
}

/// For its owner alone: whoever else may reach it is still asked for a token.
fn unix(path: &Path) -> std::io::Result<OwnedFd> {
    remove_stale(path)?;
    let bound = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    bound.set_nonblocking(true)?;
    Ok(bound.into())
}

/// Whether what is bound at start is the same; who may do what can change at any time.
pub fn are_same(one: Option<&Admin>, other: Option<&Admin>) -> bool {
    let bound = |admin: &Admin| (admin.addresses.clone(), admin.tls.clone());
    one.map(bound) == other.map(bound)
}
