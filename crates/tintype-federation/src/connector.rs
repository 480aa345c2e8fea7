//! The one way out: a TLS connection to the first address that the filter allows and that answers.
//!
//! Every connection to a machine that a stranger named is made by [`Dialer::dial`], so the filter cannot be passed by. The
//! two connectors below only say where a pool's key leads: to the host of a URL, or to whatever a Matrix server name is
//! resolved to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName as CertificateName},
};
use rustls_platform_verifier::Verifier;
use tintype_domain::ServerName;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::{
    AddressFilter, OutboundError,
    discovery::{Discovery, Identity},
    resolver::Resolver,
    slots::Slots,
};

/// How many places a server's SRV records may have us try.
const MAX_TARGETS: usize = 8;

/// How many addresses of one place are tried.
const MAX_ADDRESSES: usize = 8;

/// What is wrong on a machine without certificates.
const NO_TRUST: &str = "this system has no certificates of authorities, so no server can be trusted";

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address, which no DNS is needed for.
    Address(IpAddr),
    /// A name.
    Name(String),
}

impl Host {
    /// Parses a host as it stands in a URL or a server name.
    pub fn parse(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().map_or_else(|_| Self::Name(host.to_owned()), Self::Address)
    }

    /// The name that the certificate must have. No SNI is sent for an address (RFC 6066 §3).
    pub fn certificate_name(&self) -> Result<CertificateName<'static>, OutboundError> {
        match self {
            Self::Address(address) => Ok(CertificateName::from(*address)),
            Self::Name(name) => CertificateName::try_from(name.clone()).map_err(|error| OutboundError::Tls {
                name: name.clone(),
                reason: format!("no certificate can have this name: {error}"),
            }),
        }
    }
}

/// A place to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

/// Makes connections.
pub struct Dialer {
    resolver: Arc<Resolver>,
    filter: AddressFilter,
    /// None where there is nobody to trust.
    tls: Option<TlsConnector>,
    connect_timeout: Duration,
}

impl Dialer {
    /// A dialer that trusts what the system trusts, and `extra_roots`. Where that is nothing, it connects to nobody.
    pub fn new(
        resolver: Arc<Resolver>,
        filter: AddressFilter,
        extra_roots: Vec<CertificateDer<'static>>,
        connect_timeout: Duration,
    ) -> Result<Self, OutboundError> {
        let failed = |error: rustls::Error| OutboundError::Tls { name: String::new(), reason: error.to_string() };
        let mut extra = RootCertStore::empty();
        extra_roots.iter().try_for_each(|root| extra.add(root.clone())).map_err(failed)?;
        let provider = Arc::new(ring::default_provider());
        let tls = match Verifier::new_with_extra_roots(extra_roots, provider.clone()) {
            Ok(verifier) => Some(connector(verifier, provider).map_err(failed)?),
            // The extra ones are sound, so there are none, and the system has none either.
            Err(error) => {
                tracing::warn!(%error, "{NO_TRUST}: install them, or name some in federation.extra_ca_files");
                None
            }
        };
        Ok(Self { resolver, filter, tls, connect_timeout })
    }

    /// The addresses of a place that we may connect to; at least one.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, OutboundError> {
        let found = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolver.addresses(name).await?,
        };
        let allowed = found.iter().filter(|address| self.filter.allows(**address));
        let allowed: Vec<_> = allowed.map(|address| SocketAddr::new(*address, target.port)).collect();
        match (allowed.first(), found.first()) {
            (None, Some(address)) => Err(OutboundError::Forbidden { address: *address }),
            _ => Ok(allowed),
        }
    }

    /// Connects to the first of these places that can be reached and shows the certificate. Each address has the time
    /// limit of a connection.
    async fn dial(&self, targets: &[Target], name: &CertificateName<'static>) -> Result<Stream, OutboundError> {
        let mut first_failure = None;
        for target in targets.iter().take(MAX_TARGETS) {
            match self.dial_one(target, name).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => {
                    tracing::debug!(?target, %failure, "not connected");
                    first_failure.get_or_insert(failure);
                }
            }
        }
        Err(first_failure.unwrap_or(OutboundError::TimedOut))
    }

    async fn dial_one(&self, target: &Target, name: &CertificateName<'static>) -> Result<Stream, OutboundError> {
        let mut first_failure = None;
        for address in self.addresses(target).await?.into_iter().take(MAX_ADDRESSES) {
            match timeout(self.connect_timeout, self.connect(address, name)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(failure)) => _ = first_failure.get_or_insert(failure),
                Err(_) => _ = first_failure.get_or_insert(OutboundError::TimedOut),
            }
        }
        Err(first_failure.unwrap_or(OutboundError::TimedOut))
    }

    async fn connect(&self, address: SocketAddr, name: &CertificateName<'static>) -> Result<Stream, OutboundError> {
        let failed = |error: io::Error| OutboundError::Connect { address, reason: error.to_string() };
        let not_secured = |reason: String| OutboundError::Tls { name: name.to_str().into_owned(), reason };
        let tls = self.tls.as_ref().ok_or_else(|| not_secured(NO_TRUST.to_owned()))?;
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let tls = tls.connect(name.clone(), tcp).await.map_err(|error| not_secured(error.to_string()))?;
        Ok(Stream { tls: TokioIo::new(tls), answered: Answered::default(), _slot: None })
    }
}

fn connector(verifier: Verifier, provider: Arc<CryptoProvider>) -> Result<TlsConnector, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whether a connection has brought an answer already. One that has may be closed by its other end at any time, even
/// while the next request is on its way.
#[derive(Debug, Clone, Default)]
pub struct Answered(Arc<AtomicBool>);

impl Answered {
    /// An answer came.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether an answer came before.
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection.
pub struct Stream {
    tls: TokioIo<TlsStream<TcpStream>>,
    answered: Answered,
    /// Given back when the connection ends.
    _slot: Option<OwnedSemaphorePermit>,
}

impl Stream {
    fn with_slot(self, slot: OwnedSemaphorePermit) -> Self {
        Self { _slot: Some(slot), ..self }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.answered.clone())
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write_vectored(cx, bufs)
    }
}

/// Connects to the host of a URL.
#[derive(Clone)]
pub struct WebConnector {
    pub dialer: Arc<Dialer>,
    pub slots: Slots,
    /// The port of URLs that have none.
    pub port: u16,
}

impl Service<Uri> for WebConnector {
    type Response = Stream;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<Stream, OutboundError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dialer, slots, port } = self.clone();
        Box::pin(async move {
            let slot = slots.take(uri.authority().map_or("", |authority| authority.as_str())).await?;
            let host = Host::parse(uri.host().unwrap_or_default());
            let name = host.certificate_name()?;
            let stream = dialer.dial(&[Target { host, port: uri.port_u16().unwrap_or(port) }], &name).await?;
            Ok(stream.with_slot(slot))
        })
    }
}

/// Connects to the Matrix server that goes by the URI's authority: a server name, or the one that it delegates to. So
/// servers that delegate to one host share its connections, and one that delegates to another takes none along.
#[derive(Clone)]
pub struct MatrixConnector {
    pub dialer: Arc<Dialer>,
    pub discovery: Arc<Discovery>,
    pub slots: Slots,
}

impl Service<Uri> for MatrixConnector {
    type Response = Stream;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<Stream, OutboundError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dialer, discovery, slots } = self.clone();
        Box::pin(async move {
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            let name = ServerName::parse(authority).map_err(|_| OutboundError::ServerName)?;
            let slot = slots.take(authority).await?;
            let identity = Identity::undelegated(name);
            let (_, targets) = discovery.targets(&identity).await?;
            let stream = dialer.dial(&targets, &identity.host.certificate_name()?).await?;
            Ok(stream.with_slot(slot))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_connected_to_where_nobody_is_trusted() {
        let loopback = "127.0.0.1".parse::<IpAddr>().unwrap();
        let dialer = Dialer {
            resolver: Arc::new(Resolver::new(&[(loopback, 1).into()]).unwrap()),
            filter: AddressFilter::new(vec![loopback.into()]),
            tls: None,
            connect_timeout: Duration::from_secs(10),
        };
        let target = Target { host: Host::Address(loopback), port: 1 };

        let failure = dialer.dial(&[target], &loopback.into()).await.err();

        let expected = OutboundError::Tls { name: loopback.to_string(), reason: NO_TRUST.to_owned() };
        assert_eq!(failure, Some(expected));
    }
}
