//! The port that nodes have among themselves: requests that other nodes hand to this one, and what they say for themselves.

use std::{io, time::Duration};

use axum::{extract::Request, response::Response};
use tintype_api::{Endpoints, Peer};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connections::{Answer, Connections, Limits},
    cores,
    listener::Listener,
};

/// How long a node may keep a connection on which it sends nothing: longer than it does.
const IDLE: Duration = Duration::from_mins(1);

/// A running port. Dropping it cuts what is under way.
pub(super) struct Internal {
    connections: Connections,
    telling: AbortOnDropHandle<()>,
}

/// The endpoints, for nodes.
#[derive(Clone)]
struct ForNodes(Endpoints);

impl Answer for ForNodes {
    async fn answer(&self, request: Request, _: Peer) -> Response {
        self.0.answer_node(request).await
    }
}

impl Internal {
    /// Begins to accept what other nodes send, and to tell them what was taken from the rate limits.
    ///
    /// # Errors
    /// Those of the system when it gives no thread.
    pub(super) fn start(endpoints: &Endpoints, listener: Listener, limits: Limits) -> io::Result<Self> {
        let connections = Connections::new(&ForNodes(endpoints.clone()), cores(), Limits { head: IDLE, ..limits })?;
        connections.accept_from(listener);
        let endpoints = endpoints.clone();
        let telling = AbortOnDropHandle::new(tokio::spawn(async move { endpoints.tell_takings().await }));
        Ok(Self { connections, telling })
    }

    /// Finishes the requests that are under way, for as long as `patience`.
    pub(super) async fn drain(self, patience: Duration) {
        self.telling.abort();
        // What it held of the repository is gone when it has ended.
        let _ = self.telling.await;
        self.connections.drain(patience).await;
    }
}
