//! Somebody who asks us for media and is not who they say, or wants more than they may have. Nobody learns whether there
//! is such media before it is known who they are.

mod keys;
mod signatures;
mod strangers;

use http::HeaderValue;
use tintype_domain::{Mxc, ServerName};
use tintype_federation::{SigningKey, authorization};
use tintype_testing::{Peer, Request, Response, TestServer};

/// A server of ours with some media, and another server.
struct Scene {
    ours: TestServer,
    mxc: Mxc,
    peer: Peer,
}

impl Scene {
    async fn new(config: &str) -> Self {
        let (ours, peer) = tokio::join!(TestServer::federating("ours", config), Peer::start("theirs"));
        ours.is_at_one_node("each node remembers for itself who signs with which keys");
        let mxc = ours.user("bob").await.upload("media").content_type("text/plain").await;
        Self { ours, mxc, peer }
    }

    /// Where the media is.
    fn target(&self) -> String {
        target(self.mxc.media_id.as_str())
    }

    /// The peer's signature of a request for the media.
    fn signature(&self) -> HeaderValue {
        self.peer.authorization(self.ours.name(), &self.target())
    }

    /// A request for the media with these credentials.
    fn asks(&self, authorization: impl AsRef<[u8]>) -> Request {
        self.ours.anonymous().get(self.target()).header("authorization", authorization)
    }

    /// A request of a server for the media.
    fn asked_by(&self, peer: &Peer) -> Request {
        self.asks(peer.authorization(self.ours.name(), &self.target()))
    }
}

fn target(media_id: &str) -> String {
    format!("/_matrix/federation/v1/media/download/{media_id}")
}

fn signed_by(
    key: &SigningKey,
    origin: &ServerName,
    destination: &ServerName,
    method: &str,
    target: &str,
) -> HeaderValue {
    authorization(key, origin, destination, method, target).expect("the request can be signed")
}

fn unauthorized() -> (u16, String) {
    (401, "M_UNAUTHORIZED".to_owned())
}

fn gives_media(answer: &Response) -> bool {
    answer.status() == 200 && answer.bytes().windows(9).any(|bytes| bytes == b"\r\n\r\nmedia")
}
