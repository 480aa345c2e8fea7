//! TLS of our own, and its certificate, which can be exchanged while the server runs.
//!
//! Certificates live for weeks and are renewed by other programs, which seldom know whom to tell. So the files are looked
//! at again when a connection comes and the last look is some time ago. A certificate that cannot be used, such as one
//! whose key is not there yet, changes nothing but the log.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use tintype_domain::{Clock, Timestamp};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// The only protocol spoken within TLS.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Where the certificate is.
#[derive(Debug, Clone)]
pub(super) struct CertificateFiles {
    /// The chain, in PEM, the server's own certificate first.
    pub(super) chain: PathBuf,
    /// The private key of the first one, in PEM.
    pub(super) key: PathBuf,
}

/// Makes connections private.
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    clock: Arc<dyn Clock>,
}

impl Tls {
    /// Reads the certificate.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub(super) fn load(files: CertificateFiles, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let look = Look { at: clock.now(), state: State::of(&files)? };
        let current = RwLock::new(Arc::new(files.read(&provider)?));
        let certificate =
            Arc::new(Certificate { files, provider: Arc::clone(&provider), current, last: Mutex::new(look) });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificate>::clone(&certificate));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate, clock })
    }

    /// Agrees with the peer on how to go on. A certificate that has changed is taken up before.
    ///
    /// # Errors
    /// What the peer did instead.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.certificate.is_due(self.clock.now()) {
            let certificate = Arc::clone(&self.certificate);
            // Files are not read on a thread of connections.
            spawn_blocking(move || certificate.look()).await?;
        }
        self.acceptor.accept(stream).await
    }
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Certificate {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    last: Mutex<Look>,
}

/// The last look at the files.
#[derive(Debug)]
struct Look {
    at: Timestamp,
    state: State,
}

impl Certificate {
    /// Whether it is time to look at the files. Says so once: who asks looks.
    fn is_due(&self, now: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now.since(last.at) >= LOOK_EVERY;
        if is_due {
            last.at = now;
        }
        is_due
    }

    /// Takes up what is new. What cannot be used is looked at again only after it has changed.
    fn look(&self) {
        let state = match State::of(&self.files) {
            Ok(state) => state,
            Err(error) => return tracing::warn!("the TLS certificate stays what it was: {error:#}"),
        };
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.state == state {
                return;
            }
            last.state = state;
        }
        match self.files.read(&self.provider) {
            Ok(certificate) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                tracing::info!(file = %self.files.chain.display(), "took up a new TLS certificate");
            }
            Err(error) => tracing::warn!("the TLS certificate stays what it was: {error:#}"),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What tells that the files were replaced or written.
#[derive(Debug, PartialEq, Eq)]
struct State([FileState; 2]);

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl State {
    fn of(files: &CertificateFiles) -> anyhow::Result<Self> {
        let of = |path: &Path| {
            let metadata = fs::metadata(path).with_context(|| cannot_read(path))?;
            Ok::<_, anyhow::Error>(FileState {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            })
        };
        Ok(Self([of(&files.chain)?, of(&files.key)?]))
    }
}

impl CertificateFiles {
    fn read(&self, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
        let chain = CertificateDer::pem_file_iter(&self.chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(|| cannot_read(&self.chain))?;
        anyhow::ensure!(!chain.is_empty(), "{} holds no certificate in PEM", self.chain.display());
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| cannot_read(&self.key))?;
        let (chain_file, key_file) = (self.chain.display(), self.key.display());
        CertifiedKey::from_der(chain, key, provider)
            .with_context(|| format!("the certificate in {chain_file} and the key in {key_file} cannot be used"))
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
