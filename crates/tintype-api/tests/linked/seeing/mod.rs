//! Who is given restricted media, and who is not.

mod attaching;
mod elsewhere;
mod gate;
mod invitations;
mod messages;
mod profiles;
mod redacted;
mod states;

use http::Method;
use serde_json::{Value, json};
use tintype_domain::Mxc;
use tintype_testing::{Client, FakeHomeserver, Response, TestServer, linked::Event, paths, pictures};

/// Whose media it is.
const ALICE: &str = "@alice:example.org";
const BOB: &str = "@bob:example.org";
const ROOM: &str = "!room:example.org";
const EVENT: &str = "$event";

/// What makes the server an application service of the homeserver.
const AS_APPSERVICE: &str = "appservice_token = 'as_token'\nhomeserver_token = 'hs_token'";

/// How long an answer of the homeserver is believed.
const BELIEVED: std::time::Duration = std::time::Duration::from_secs(5);

/// What those hear who may not see it.
fn not_visible() -> (u16, String) {
    (403, "M_UNAUTHORIZED".to_owned())
}

/// What those hear for whom it does not exist.
fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

/// What those hear of whom nobody can say whether they may see it.
fn undecided() -> (u16, String) {
    (503, "M_UNKNOWN".to_owned())
}

/// What a homeserver says of what somebody may not see.
fn hidden() -> Value {
    json!({ "errcode": "M_FORBIDDEN", "error": "You may not see that" })
}

/// A message of the room as it is shown.
fn message() -> Value {
    json!({ "event_id": EVENT, "room_id": ROOM, "type": "m.room.message", "sender": ALICE, "content": {} })
}

/// The same, as it is shown once it is redacted.
fn redacted_message() -> Value {
    let mut message = message();
    message["unsigned"] = json!({ "redacted_because": { "event_id": "$redaction", "type": "m.room.redaction" } });
    message
}

/// A server beside a homeserver, where Alice has a picture and Bob wants to see it.
struct World {
    homeserver: FakeHomeserver,
    server: TestServer,
    alice: Client,
    bob: Client,
}

impl World {
    async fn start() -> Self {
        Self::with("", "").await
    }

    /// With these lines before and in the section of the server.
    async fn with(config: &str, of_server: &str) -> Self {
        let homeserver = FakeHomeserver::start().await;
        homeserver.log_in("alice", "alice_token");
        homeserver.log_in("bob", "bob_token");
        let config = format!("{config}\n{}{of_server}\n", homeserver.config());
        let server = TestServer::with(&config).await;
        let (alice, bob) = (server.anonymous().with_token("alice_token"), server.anonymous().with_token("bob_token"));
        Self { homeserver, server, alice, bob }
    }

    /// A picture of Alice's that belongs to a message.
    async fn picture(&self) -> Mxc {
        let mxc = self.unattached().await;
        self.server.attach_to_event(&mxc, message_event()).await;
        mxc
    }

    /// A picture of Alice's that belongs to this state event.
    async fn avatar(&self, kind: &str, state_key: &str) -> Mxc {
        let mxc = self.unattached().await;
        let event = Event { kind: Some(kind), state_key: Some(state_key), ..message_event() };
        self.server.attach_to_event(&mxc, event).await;
        mxc
    }

    /// A picture of Alice's that belongs to nothing.
    async fn unattached(&self) -> Mxc {
        let picture = pictures::jpeg(100, 80);
        self.server.store_restricted("mxc://example.org/picture", ALICE, picture, "image/jpeg").await
    }

    /// The homeserver answers so when Bob asks for the event.
    fn answers_bob(&self, status: u16, body: &Value) {
        self.homeserver.answers_to(Method::GET, &event_path(EVENT), Some("bob_token"), status, body);
    }

    /// How often the homeserver was asked for something below this path.
    fn asked(&self, path: &str) -> usize {
        self.homeserver.asked().iter().filter(|asked| asked.target.starts_with(path)).count()
    }

    /// Lets what the homeserver has said be forgotten.
    fn forget(&self) {
        self.server.advance(BELIEVED);
    }
}

/// The message that media is attached to.
fn message_event() -> Event<'static> {
    Event { id: EVENT, room: Some(ROOM), sender: Some(ALICE), kind: Some("m.room.message"), state_key: None }
}

/// Where a homeserver is asked for an event of the room.
fn event_path(event: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/event/{}", encoded(ROOM), encoded(event))
}

/// Where a homeserver is asked for the state of the room.
fn state_path(kind: &str, state_key: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/state/{kind}/{}", encoded(ROOM), encoded(state_key))
}

fn encoded(text: &str) -> String {
    text.replace('!', "%21").replace('$', "%24").replace(':', "%3A").replace('@', "%40")
}

/// All ways to ask for the bytes of some media with a token.
async fn every_way(client: &Client, mxc: &Mxc) -> [Response; 6] {
    let (download, thumbnail) = (paths::download(mxc), paths::thumbnail(mxc, "width=64&height=64"));
    [
        client.get(download.as_str()).await,
        client.head(download.as_str()).await,
        client.get(download.as_str()).header("range", "bytes=0-3").await,
        client.get(download.as_str()).header("if-none-match", "*").await,
        client.get(thumbnail.as_str()).await,
        client.head(thumbnail.as_str()).await,
    ]
}

/// Whether none of these answers tells anything of the media.
fn tell_nothing(answers: &[Response], status: u16) {
    for answer in answers {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!((answer.header("etag"), answer.header("content-disposition")), ("", ""));
        assert!(!answer.bytes().starts_with(b"\xff\xd8"), "it is the picture");
    }
}
