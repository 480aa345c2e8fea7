//! The server that this program is: it has a name, TLS and keys as every Matrix server, and media that the server under
//! test can fetch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use tintype_domain::{Clock as _, MediaId, Mxc, OsRandomness, OwnedServerName, SystemClock};
use tintype_federation::{MediaHead, MixedEncoder, SigningKey, server_keys};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{OwnServer, subject::Sample};

/// The longest head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// A running one. It stops when it is dropped.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    name: OwnedServerName,
    key: SigningKey,
    media: Mutex<HashMap<String, Offer>>,
    targets: Mutex<Vec<String>>,
}

/// Media that others may fetch.
struct Offer {
    sample: Sample,
    metadata: Map<String, Value>,
}

impl Origin {
    pub(crate) async fn start(own: OwnServer) -> Result<Self> {
        let tls = acceptor(&own)?;
        let listener = TcpListener::bind(own.listen).await.with_context(|| format!("listening at {}", own.listen))?;
        let shared = Arc::new(Shared {
            name: own.name,
            key: own.signing_key,
            media: Mutex::default(),
            targets: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&shared)));
        Ok(Self { shared, _tasks: tasks })
    }

    pub(crate) fn name(&self) -> &OwnedServerName {
        &self.shared.name
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.shared.key
    }

    /// From now on others can fetch this, and are told this of it.
    pub(crate) fn offer(&self, sample: Sample, metadata: Map<String, Value>) -> Mxc {
        let media_id = MediaId::random(&OsRandomness);
        self.shared.media().insert(media_id.to_string(), Offer { sample, metadata });
        Mxc { server_name: self.name().clone(), media_id }
    }

    /// From now on it is not there any more.
    pub(crate) fn withdraw(&self, mxc: &Mxc) {
        self.shared.media().remove(mxc.media_id.as_str());
    }

    /// What others asked for so far: methods and targets.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.targets().clone()
    }
}

impl Shared {
    fn media(&self) -> MutexGuard<'_, HashMap<String, Offer>> {
        self.media.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn targets(&self) -> MutexGuard<'_, Vec<String>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole answer to a request.
    fn answer(&self, method: &str, target: &str) -> Vec<u8> {
        self.targets().push(format!("{method} {target}"));
        let path = target.split('?').next().unwrap_or_default().trim_end_matches('/');
        if path == "/_matrix/key/v2/server" {
            return match server_keys(&self.name, &self.key, SystemClock.now()) {
                Ok(document) => response("200 OK", "application/json", document.to_string().as_bytes()),
                Err(error) => json_error("500 Internal Server Error", "M_UNKNOWN", &error),
            };
        }
        if path == "/_matrix/federation/v1/version" {
            let version = json!({ "server": { "name": "conformance", "version": env!("CARGO_PKG_VERSION") } });
            return response("200 OK", "application/json", version.to_string().as_bytes());
        }
        let of = |endpoint: &str| path.strip_prefix(&format!("/_matrix/federation/v1/media/{endpoint}/"));
        let Some(id) = of("download").or_else(|| of("thumbnail")) else {
            return json_error("404 Not Found", "M_UNRECOGNIZED", "there is no such endpoint");
        };
        let media = self.media();
        let Some(Offer { sample, metadata }) = media.get(id) else {
            return json_error("404 Not Found", "M_NOT_FOUND", "there is no such media");
        };
        let encoder = MixedEncoder::new(&OsRandomness);
        let head = MediaHead { content_type: Some(sample.content_type.into()), ..MediaHead::default() };
        let body = [&encoder.head(metadata, &head)[..], &sample.bytes, &encoder.tail()].concat();
        let content_type = encoder.content_type();
        response("200 OK", content_type.to_str().unwrap_or("multipart/mixed"), &body)
    }
}

fn acceptor(own: &OwnServer) -> Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_slice_iter(&own.certificate).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.context("reading the certificates")?;
    if certificates.is_empty() {
        bail!("there is no certificate in the file");
    }
    let key = PrivateKeyDer::from_pem_slice(&own.private_key).context("reading the private key")?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("using the certificate")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            // Whoever breaks off has no more to say.
            let _ = converse(&tls, tcp, &shared).await;
        });
    }
}

/// One request for each connection: it is never many.
async fn converse(tls: &TlsAcceptor, tcp: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut stream = tls.accept(tcp).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    stream.write_all(&shared.answer(method, target)).await?;
    stream.shutdown().await
}

fn json_error(status: &str, errcode: &str, error: &str) -> Vec<u8> {
    response(status, "application/json", json!({ "errcode": errcode, "error": error }).to_string().as_bytes())
}

fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
