//! Certificates for servers on loopback, from an authority that each test program has of its own.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, LazyLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

/// The names of the files that [`Certificate::write`] writes.
pub(crate) const CHAIN_FILE: &str = "chain.pem";
pub(crate) const KEY_FILE: &str = "key.pem";

/// Signs what [`Certificate::of`] makes.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("there is randomness");
    CertifiedIssuer::self_signed(params, key).expect("the parameters are valid")
});

/// The authority's certificate, in PEM: what a server trusts in `federation.extra_ca_files`.
pub fn authority_pem() -> String {
    AUTHORITY.pem()
}

/// The authority's certificate.
pub fn authority() -> CertificateDer<'static> {
    AUTHORITY.der().clone()
}

/// A server's certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The certificate, in PEM.
    pub chain_pem: String,
    /// Its private key, in PEM.
    pub key_pem: String,
}

impl Certificate {
    /// A new certificate of these host names and IP addresses, signed by the authority.
    ///
    /// # Panics
    /// If one of them is neither.
    pub fn of(hosts: &[&str]) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("a test names valid hosts");
        params.distinguished_name = named("Server of a test");
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &AUTHORITY).expect("the authority can sign");
        Self { der: certificate.der().clone(), chain_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    /// Puts the certificate and its key into a folder, each file in place of an earlier one at once, as programs do that
    /// renew certificates.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        for (name, pem) in [(CHAIN_FILE, &self.chain_pem), (KEY_FILE, &self.key_pem)] {
            let new = folder.join(format!("{name}.new"));
            fs::write(&new, pem)?;
            fs::rename(new, folder.join(name))?;
        }
        Ok(())
    }
}

/// Agrees on TLS with whoever connects to the host of this name or address.
pub(crate) fn acceptor(host: &str) -> TlsAcceptor {
    let certificate = Certificate::of(&[host]);
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("the key was written as PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der], key)
        .expect("the key is the certificate's");
    TlsAcceptor::from(Arc::new(config))
}

/// Agrees on TLS with the server of this name, whose certificate has to be the authority's.
pub(crate) async fn connect(stream: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(&CLIENT)).connect(name, stream).await
}

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(authority()).expect("the authority can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});

fn named(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}
