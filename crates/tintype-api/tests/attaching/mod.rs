//! Requests that attach media on their way to the homeserver (MSC3911).

mod avatar_url;
mod create_room;
mod retries;
mod send;
mod state;

use std::fmt::Display;

use http::Method;
use serde_json::{Value, json};
use tintype_domain::{Audience, Mxc};
use tintype_testing::{Asked, Client, FakeHomeserver, Response, TestServer};

const ROOM: &str = "/_matrix/client/v3/rooms/!room:example.org";

/// A server beside a homeserver, and a user of theirs.
struct Setting {
    homeserver: FakeHomeserver,
    server: TestServer,
    alice: Client,
}

impl Setting {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With this in the configuration of the server.
    async fn with(config: &str) -> Self {
        let homeserver = FakeHomeserver::start().await;
        homeserver.log_in("alice", "syt_alice");
        let server = TestServer::with(&format!("{}{config}", homeserver.config())).await;
        let alice = server.anonymous().with_token("syt_alice");
        Self { homeserver, server, alice }
    }

    /// Restricted media of Alice's that is attached to nothing.
    async fn restricted(&self, id: &str) -> Mxc {
        self.restricted_of("@alice:example.org", id).await
    }

    async fn restricted_of(&self, user_id: &str, id: &str) -> Mxc {
        self.server.store_restricted(&format!("mxc://example.org/{id}"), user_id, id.to_owned(), "image/png").await
    }

    async fn audience(&self, mxc: &Mxc) -> Audience {
        self.server.audience(mxc).await.expect("the media is restricted")
    }

    /// The requests that were forwarded with this method.
    fn forwarded(&self, method: &Method) -> Vec<Asked> {
        self.homeserver.asked().into_iter().filter(|asked| asked.method == method).collect()
    }

    /// The homeserver takes message `txn`, and makes this event of it.
    fn takes(&self, txn: &str, event_id: &str) {
        let path = format!("{ROOM}/send/m.room.message/{txn}");
        self.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": event_id }));
    }

    /// The homeserver answers so to message `txn`.
    fn answers(&self, txn: &str, status: u16, body: &Value) {
        self.homeserver.answers(Method::PUT, &format!("{ROOM}/send/m.room.message/{txn}"), status, body);
    }

    /// The homeserver says what the history visibility at an event is.
    fn tells_visibility(&self, event_id: &str, state: &Value) {
        let path = format!("/_matrix/client/v3/rooms/%21room%3Aexample.org/context/{}", event_id.replace('$', "%24"));
        self.homeserver.answers(Method::GET, &path, 200, &json!({ "event": {}, "state": state }));
    }
}

/// `path` with media to attach.
fn attaching<'a>(path: impl Display, media: impl IntoIterator<Item = &'a Mxc>) -> String {
    let parameters = media.into_iter().map(|mxc| format!("org.matrix.msc3911.attach_media={mxc}"));
    format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
}

fn message() -> Value {
    json!({ "msgtype": "m.image", "body": "cat.png", "url": "mxc://example.org/one" })
}

/// Sends message `txn` with this media.
async fn send(client: &Client, txn: &str, media: impl IntoIterator<Item = &Mxc>) -> Response {
    put(client, attaching(format!("{ROOM}/send/m.room.message/{txn}"), media), &message()).await
}

async fn put(client: &Client, path: String, body: &Value) -> Response {
    client.request(Method::PUT, path).body(body.to_string()).await
}

fn event(event_id: &str) -> Audience {
    Audience::Event(event_id.try_into().expect("a test names a valid event"))
}

fn invalid() -> (u16, String) {
    (400, "M_INVALID_PARAM".to_owned())
}
