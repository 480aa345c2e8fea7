//! TCP, with TLS or without, and Unix sockets, as one kind of listener.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use tintype_api::Peer;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::tls::Tls;
use crate::config::ListenAddress;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// An address and a port, with TLS.
    Tls(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl Address {
    /// The base URL of what is served there; none for a socket file.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Tcp(address) => Some(format!("http://{address}")),
            Self::Tls(address) => Some(format!("https://{address}")),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address) => write!(f, "{address} (TLS)"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<Tls>),
    Unix(UnixListener, PathBuf),
}

/// A connection that no runtime watches yet.
pub(super) enum Accepted {
    Tcp(std::net::TcpStream),
    Tls(std::net::TcpStream, Arc<Tls>),
    Unix(std::os::unix::net::UnixStream),
}

/// A connection that the current runtime watches.
pub(super) enum Stream {
    Tcp(TcpStream),
    /// Nothing was agreed on yet.
    Tls(TcpStream, Arc<Tls>),
    Unix(UnixStream),
}

impl Accepted {
    /// Has the current runtime watch the connection.
    pub(super) fn register(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Tls(stream, tls) => Stream::Tls(TcpStream::from_std(stream)?, tls),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl Listener {
    pub(super) async fn bind(address: &ListenAddress) -> anyhow::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => Ok(Self::Tcp(bind_tcp(*address).await?)),
            ListenAddress::Unix(path) => {
                remove_abandoned(path).with_context(|| format!("cannot listen on {}", path.display()))?;
                let listener =
                    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    pub(super) async fn bind_tls(address: SocketAddr, tls: Arc<Tls>) -> anyhow::Result<Self> {
        Ok(Self::Tls(bind_tcp(address).await?, tls))
    }

    pub(super) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Self::Tls(listener, _) => Address::Tls(listener.local_addr()?),
            Self::Unix(_, path) => Address::Unix(path.clone()),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok((Accepted::Tcp(stream), Peer::Address(peer)))
            }
            Self::Tls(listener, tls) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok((Accepted::Tls(stream, Arc::clone(tls)), Peer::Tls(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream.into_std()?), Peer::Local))
            }
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(std::net::TcpStream, IpAddr)> {
    let (stream, peer) = listener.accept().await?;
    // Answers are written whole or in large pieces: waiting for more to send would only add delay.
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?, peer.ip()))
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// A server that was killed leaves its socket file. It is removed if nobody listens there any more.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    Ok(())
}
