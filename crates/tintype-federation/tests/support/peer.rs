//! A web server with TLS that says what it is told, and remembers what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What a peer says.
pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What a peer was asked.
#[derive(Debug, Clone)]
pub struct Received {
    /// Counts the connections from 0.
    pub connection: usize,
    /// The name that the client asked for in the handshake.
    pub sni: Option<String>,
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The `Host` header.
    pub fn host(&self) -> &str {
        self.headers[header::HOST].to_str().unwrap()
    }
}

/// A web server. It and its connections stop when it is dropped.
pub struct Peer {
    log: Arc<Log>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Log {
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
}

impl Peer {
    /// Starts one that answers each request so.
    pub async fn start(
        at: SocketAddr,
        tls: Arc<ServerConfig>,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (log, answer) = (Arc::new(Log::default()), Arc::new(answer));
        let received = log.clone();
        Self::listen(at, tls, log, move |connection, stream| {
            serve(connection, stream, answer.clone(), received.clone())
        })
        .await
    }

    /// Starts one that does this with each of its connections, which are counted from 0: for what HTTP does not allow.
    pub async fn raw<F: Future<Output = ()> + Send + 'static>(
        at: SocketAddr,
        tls: Arc<ServerConfig>,
        speak: impl Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::listen(at, tls, Arc::new(Log::default()), speak).await
    }

    async fn listen<F: Future<Output = ()> + Send + 'static>(
        at: SocketAddr,
        tls: Arc<ServerConfig>,
        log: Arc<Log>,
        speak: impl Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls.into(), Arc::new(speak), log.clone()));
        Self { log, _tasks: tasks }
    }

    /// Each request that came, in order.
    pub fn received(&self) -> Vec<Received> {
        self.log.received.lock().unwrap().clone()
    }

    /// How many connections were made, whether or not their handshakes succeeded.
    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::Relaxed)
    }
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    tls: TlsAcceptor,
    speak: Arc<impl Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + 'static>,
    log: Arc<Log>,
) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let connection = log.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, speak) = (tls.clone(), speak.clone());
        connections.spawn(async move {
            if let Ok(stream) = tls.accept(tcp).await {
                speak(connection, stream).await;
            }
        });
    }
}

async fn serve(
    connection: usize,
    stream: TlsStream<TcpStream>,
    answer: Arc<impl Fn(&Received) -> Answer + Send + Sync + 'static>,
    log: Arc<Log>,
) {
    let sni = stream.get_ref().1.server_name().map(ToOwned::to_owned);
    let service = service_fn(|request: Request<Incoming>| {
        let (sni, answer, log) = (sni.clone(), answer.clone(), log.clone());
        async move {
            let (head, body) = request.into_parts();
            let received = Received {
                connection,
                sni,
                method: head.method,
                target: head.uri.to_string(),
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            };
            log.received.lock().unwrap().push(received.clone());
            Ok::<_, hyper::Error>(answer(&received))
        }
    });
    // A client that breaks off is not our concern.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An answer with this status, these headers and this body.
pub fn answer(status: StatusCode, headers: &[(header::HeaderName, &str)], body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status;
    for (name, value) in headers {
        answer.headers_mut().append(name, value.parse().unwrap());
    }
    answer
}

/// 200 with JSON.
pub fn json(value: &serde_json::Value) -> Answer {
    answer(StatusCode::OK, &[(header::CONTENT_TYPE, "application/json")], value.to_string())
}

/// 302.
pub fn redirect(location: &str) -> Answer {
    answer(StatusCode::FOUND, &[(header::LOCATION, location)], "")
}
