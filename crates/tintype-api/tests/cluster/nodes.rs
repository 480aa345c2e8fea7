//! Several nodes on one database of PostgreSQL and one folder, and Alice, who asks any of them.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header, request::Builder},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tempfile::TempDir;
use tintype_domain::{Clock as _, ContentHash, OwnedUserId, SystemClock};
use tintype_repository::{ClusterKey, Rules};
use tintype_services::{Database, Postgres};
use tintype_storage::records::{Records, TokenRecord};
use tintype_testing::until;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::node::{Node, rules};

pub const SECRET: &[u8] = b"a secret of thirty-two characters";

/// Alice's.
pub const TOKEN: &str = "token";

/// All nodes.
pub struct Nodes {
    pub all: Vec<Node>,
    client: Client<HttpConnector, Body>,
    _folder: TempDir,
    _database: Database,
}

/// An answer whose body was read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Nodes {
    /// So many nodes that do everything as often as they are asked.
    pub async fn start(count: usize) -> Self {
        Self::with(count, rules()).await
    }

    /// So many nodes with these rules.
    pub async fn with(count: usize, rules: Rules) -> Self {
        let (database, folder) = (Postgres::shared().database(), TempDir::new().unwrap());
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Node::start(database.url(), folder.path().join("media"), rules.clone()).await);
        }
        let records = Records::open_postgres(&database.url()).await.unwrap();
        let token = TokenRecord {
            token_sha256: ContentHash::of(TOKEN.as_bytes()),
            user_id: OwnedUserId::try_from("@alice:localhost").unwrap(),
            device_id: "DEVICE".to_owned(),
            guest: false,
            admin: false,
            created_at: SystemClock.now(),
        };
        records.insert_token(token).await.unwrap();
        records.close().await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let nodes = Self { all, client, _folder: folder, _database: database };
        until("all nodes know each other", async || {
            nodes.all.iter().all(|node| node.repository.other_nodes().len() == count - 1)
        })
        .await;
        nodes
    }

    /// The head of the answer of a node to Alice.
    pub async fn begin(
        &self,
        node: usize,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> axum::http::Response<hyper::body::Incoming> {
        self.client.request(self.request(node, method, path, headers).body(body).unwrap()).await.unwrap()
    }

    fn request(&self, node: usize, method: &str, path: &str, headers: &[(&str, &str)]) -> Builder {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.all[node].public))
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    /// The answer of a node to Alice.
    pub async fn ask(&self, node: usize, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let (parts, body) = self.begin(node, method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, node: usize, path: &str) -> Answer {
        self.ask(node, "GET", path, &[], Body::empty()).await
    }

    /// The head of an answer of a node to Alice, which comes when it comes: an error if the node breaks off.
    pub fn asking(
        &self,
        node: usize,
        path: &str,
    ) -> JoinHandle<Result<axum::http::Response<hyper::body::Incoming>, String>> {
        let request = self.client.request(self.request(node, "GET", path, &[]).body(Body::empty()).unwrap());
        tokio::spawn(async move { request.await.map_err(|error| error.to_string()) })
    }

    /// A URI for a later upload: the ID.
    pub async fn reserve(&self, node: usize) -> String {
        let answer = self.ask(node, "POST", "/_matrix/media/v1/create", &[], Body::empty()).await;
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        json["content_uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    /// The answer of a node to what Alice uploads.
    pub async fn upload(&self, node: usize, content_type: &str, body: impl Into<Body>) -> Answer {
        self.ask(node, "POST", "/_matrix/media/v3/upload", &[("content-type", content_type)], body.into()).await
    }

    /// Waits until there is something to read of an upload at the node that receives it.
    pub async fn arrives(&self, node: usize, id: &str) {
        let path = format!("{}?timeout_ms=0", download(id));
        until("the upload arrives", async || {
            self.begin(node, "GET", &path, &[], Body::empty()).await.status() == StatusCode::OK
        })
        .await;
    }

    /// Begins to upload to a node, in pieces.
    pub fn sending(&self, node: usize, method: &str, path: &str, headers: &[(&str, &str)]) -> Sending {
        let (pieces, received) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let body = Body::from_stream(futures_util::stream::unfold(received, async |mut received| {
            Some((received.recv().await?, received))
        }));
        let request = self.client.request(self.request(node, method, path, headers).body(body).unwrap());
        let answer = tokio::spawn(async move {
            let answer = request.await.map_err(|error| error.to_string())?;
            Ok(answer.status())
        });
        Sending { pieces, answer }
    }
}

/// An upload that is being sent.
pub struct Sending {
    pieces: mpsc::UnboundedSender<Result<Bytes, std::io::Error>>,
    answer: JoinHandle<Result<StatusCode, String>>,
}

impl Sending {
    pub fn send(&self, piece: &'static str) {
        self.pieces.send(Ok(Bytes::from_static(piece.as_bytes()))).unwrap();
    }

    pub async fn finish(self) -> StatusCode {
        drop(self.pieces);
        self.answer.await.unwrap().unwrap()
    }

    /// Waits until the node has broken off.
    pub async fn fails(self) {
        self.answer.await.unwrap().unwrap_err();
    }

    /// Breaks off in the middle.
    pub fn break_off(self) {
        let _ = self.pieces.send(Err(std::io::Error::other("broken off")));
        self.answer.abort();
    }
}

/// Where an upload to a reserved URI goes.
pub fn upload(id: &str) -> String {
    format!("/_matrix/media/v3/upload/localhost/{id}")
}

/// Where it is read.
pub fn download(id: &str) -> String {
    format!("/_matrix/client/v1/media/download/localhost/{id}")
}

/// What nodes seal their envelopes with.
pub fn key() -> ClusterKey {
    ClusterKey::new(SECRET, "relay")
}
