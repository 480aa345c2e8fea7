//! Connections to the homeserver, for what is passed on to it: always to the one place that its base URL names.
//!
//! The operator wrote that URL, so no address is refused; those that strangers name are the business of
//! `tintype-federation`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{IpAddr as CertificateAddress, ServerName as CertificateName},
};
use rustls_platform_verifier::Verifier;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tower::Service;
use url::{Host, Url};

/// How long it may take until a connection is there, the handshake of TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the homeserver.
#[derive(Clone)]
pub struct Connector {
    place: Arc<Place>,
}

struct Place {
    host: Host<String>,
    port: u16,
    tls: Option<(TlsConnector, CertificateName<'static>)>,
}

impl Connector {
    /// To where this URL leads.
    pub fn new(base: &Url) -> Result<Self, String> {
        let host = base.host().ok_or("its URL names no host")?.to_owned();
        let port = base.port_or_known_default().ok_or("its URL names no port")?;
        let tls = if base.scheme() == "https" { Some((tls()?, certificate_name(&host)?)) } else { None };
        Ok(Self { place: Arc::new(Place { host, port, tls }) })
    }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let place = Arc::clone(&self.place);
        Box::pin(async move {
            let connected = timeout(CONNECT_TIMEOUT, place.connect()).await;
            connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        })
    }
}

impl Place {
    async fn connect(&self) -> io::Result<Link> {
        let stream = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await,
            Host::Ipv4(address) => TcpStream::connect((*address, self.port)).await,
            Host::Ipv6(address) => TcpStream::connect((*address, self.port)).await,
        }?;
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            Some((connector, name)) => Either::Right(Box::new(connector.connect(name.clone(), stream).await?)),
            None => Either::Left(stream),
        };
        Ok(Link(TokioIo::new(stream)))
    }
}

/// A connection.
pub struct Link(TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }
}

/// TLS that trusts what the system trusts.
fn tls() -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: rustls::Error| format!("TLS cannot be set up: {error}");
    let verifier = Verifier::new(Arc::clone(&provider)).map_err(failed)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificate_name(host: &Host<String>) -> Result<CertificateName<'static>, String> {
    Ok(match host {
        Host::Domain(name) => CertificateName::try_from(name.clone())
            .map_err(|error| format!("no certificate can have the name {name}: {error}"))?,
        Host::Ipv4(address) => CertificateName::IpAddress(CertificateAddress::from(std::net::IpAddr::from(*address))),
        Host::Ipv6(address) => CertificateName::IpAddress(CertificateAddress::from(std::net::IpAddr::from(*address))),
    })
}
