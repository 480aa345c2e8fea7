//! What a homeserver asks of its application service.

mod ping;
mod queries;
mod rooms;
mod transactions;

use http::Method;
use serde_json::{Value, json};
use tintype_testing::{Client, FakeHomeserver, Response, TestServer, until};

/// With what the homeserver speaks to us.
const TOKEN: &str = "hs-secret";

/// With what we speak to the homeserver.
const AS_TOKEN: &str = "as-secret";

const ALICE: &str = "@alice:example.org";

const TOKENS: &str = "appservice_token = 'as-secret'\nhomeserver_token = 'hs-secret'\n";

/// A homeserver, and the application service that it knows.
struct Pair {
    homeserver: FakeHomeserver,
    server: TestServer,
}

impl Pair {
    async fn start() -> Self {
        let homeserver = FakeHomeserver::start().await;
        let server = TestServer::with(&format!("{}{TOKENS}", homeserver.config())).await;
        Self { homeserver, server }
    }

    /// The homeserver, as it speaks to us.
    fn speaks(&self) -> Client {
        self.server.anonymous().with_token(TOKEN)
    }

    async fn sends(&self, id: &str, events: &[Value]) -> Response {
        let body = json!({ "events": events }).to_string();
        self.speaks().request(Method::PUT, transactions::path(id)).body(body).await
    }

    /// What the room's state is from now on, for this user.
    fn shows_state(&self, user: &str, status: u16, state: &Value) {
        let path = "/_matrix/client/v3/rooms/%21room%3Aexample.org/state";
        self.homeserver.answers_to(Method::GET, path, Some(user), status, state);
    }

    async fn knows_rooms(&self, rooms: u64) {
        until("the rooms are known", async || self.server.metric("tintype_rooms_known").await == rooms).await;
    }
}

fn message(id: &str, sender: &str) -> Value {
    json!({
        "event_id": id, "room_id": "!room:example.org", "sender": sender, "type": "m.room.message",
        "content": { "msgtype": "m.text", "body": "hello" }, "origin_server_ts": 1, "unsigned": { "age": 5 }
    })
}

fn member(id: &str, user: &str, membership: &str) -> Value {
    json!({
        "event_id": id, "room_id": "!room:example.org", "sender": user, "type": "m.room.member", "state_key": user,
        "content": { "membership": membership }, "origin_server_ts": 1
    })
}
