//! A user of a homeserver behind Tintype, and what a client does for them when media belongs to events (MSC3911).
//!
//! All of it goes to the address that clients know. Only [`Person::is_shown`] and its like ask the homeserver itself:
//! they say what Tintype has to agree with.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time;

use crate::{
    picture,
    synapse::{User, http_client},
};

const CLIENT: &str = "/_matrix/client/v3";

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// An account, and where it is.
#[derive(Clone, Debug)]
pub struct Person {
    /// The account.
    pub user: User,
    front: String,
    homeserver: String,
    http: reqwest::Client,
}

/// What was asked for, and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, if it is JSON.
    pub json: Value,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Person {
    /// A user whose client knows the server as `front`; behind that the homeserver is at `homeserver`.
    pub fn new(user: User, front: String, homeserver: String) -> Self {
        Self { user, front, homeserver, http: http_client() }
    }

    /// `@localpart:SERVER_NAME`.
    pub fn id(&self) -> &str {
        &self.user.user_id
    }

    /// Makes a private room of which so much of the past can be seen (`m.room.history_visibility`).
    pub async fn create_room(&self, visibility: &str) -> String {
        let visibility = json!({
            "type": "m.room.history_visibility",
            "state_key": "",
            "content": { "history_visibility": visibility },
        });
        self.create(&json!({ "preset": "private_chat", "initial_state": [visibility] })).await
    }

    /// Makes a room as `body` says.
    pub async fn create(&self, body: &Value) -> String {
        text(&self.done(Method::POST, &format!("{CLIENT}/createRoom"), body).await, "room_id")
    }

    /// Invites somebody.
    pub async fn invite(&self, room: &str, invited: &Self) {
        self.done(Method::POST, &format!("{CLIENT}/rooms/{room}/invite"), &json!({ "user_id": invited.id() })).await;
    }

    /// Joins a room that they are invited to.
    pub async fn join(&self, room: &str) {
        self.done(Method::POST, &format!("{CLIENT}/rooms/{room}/join"), &json!({})).await;
    }

    /// Leaves a room.
    pub async fn leave(&self, room: &str) {
        self.done(Method::POST, &format!("{CLIENT}/rooms/{room}/leave"), &json!({})).await;
    }

    /// Redacts an event and returns the ID of the redaction.
    pub async fn redact(&self, room: &str, event: &str) -> String {
        let answer = self.try_to_redact(room, event).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        text(&answer.json, "event_id")
    }

    /// Asks for a redaction.
    pub async fn try_to_redact(&self, room: &str, event: &str) -> Answer {
        let target = format!("{CLIENT}/rooms/{room}/redact/{event}/{}", transaction());
        self.answer(self.request(Method::PUT, &target).json(&json!({}))).await
    }

    /// Uploads a photograph that nobody else sees yet, and returns its URI.
    pub async fn upload(&self) -> String {
        let target = "/_matrix/client/unstable/org.matrix.msc3911/media/upload";
        let request = self.request(Method::POST, target).header("Content-Type", "image/jpeg");
        let answer = self.answer(request.body(picture::photograph())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        text(&answer.json, "content_uri")
    }

    /// Uploads a photograph that everybody sees, and returns its URI.
    pub async fn upload_for_everybody(&self) -> String {
        let request = self.request(Method::POST, "/_matrix/media/v3/upload").header("Content-Type", "image/jpeg");
        let answer = self.answer(request.body(picture::photograph())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        text(&answer.json, "content_uri")
    }

    /// Asks for a piece of media of their own on the same bytes.
    pub async fn try_to_copy(&self, mxc: &str) -> Answer {
        let target = format!("/_matrix/client/unstable/org.matrix.msc3911/media/copy/{}", path(mxc));
        self.answer(self.request(Method::POST, &target).json(&json!({}))).await
    }

    /// Sends a message with media that is attached to it, and returns the ID of the event.
    pub async fn send(&self, room: &str, mxc: &str) -> String {
        let answer = self.try_to_send(room, &transaction(), mxc).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        text(&answer.json, "event_id")
    }

    /// Asks to send it in a transaction of this name.
    pub async fn try_to_send(&self, room: &str, transaction: &str, mxc: &str) -> Answer {
        self.answer(self.sending(room, transaction, mxc)).await
    }

    /// The request that sends a message with media that is attached to it.
    pub fn sending(&self, room: &str, transaction: &str, mxc: &str) -> RequestBuilder {
        let target = format!("{CLIENT}/rooms/{room}/send/m.room.message/{transaction}?{}", attached(mxc));
        self.request(Method::PUT, &target).json(&message(mxc))
    }

    /// Gives the room an avatar that is attached to the event, and returns the ID of the event.
    pub async fn set_room_avatar(&self, room: &str, mxc: &str) -> String {
        let answer = self.answer(self.setting_room_avatar(room, mxc)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        text(&answer.json, "event_id")
    }

    /// The request that gives the room an avatar.
    pub fn setting_room_avatar(&self, room: &str, mxc: &str) -> RequestBuilder {
        let target = format!("{CLIENT}/rooms/{room}/state/m.room.avatar?{}", attached(mxc));
        self.request(Method::PUT, &target).json(&json!({ "url": mxc }))
    }

    /// Has an avatar in this room only, attached to the member event, and returns the ID of the event.
    pub async fn set_member_avatar(&self, room: &str, mxc: &str) -> String {
        let target = format!("{CLIENT}/rooms/{room}/state/m.room.member/{}?{}", self.id(), attached(mxc));
        let body = json!({ "membership": "join", "avatar_url": mxc });
        text(&self.done(Method::PUT, &target, &body).await, "event_id")
    }

    /// Has an avatar in this room only, and says nothing of attaching it.
    pub async fn set_member_avatar_unattached(&self, room: &str, mxc: &str) {
        let target = format!("{CLIENT}/rooms/{room}/state/m.room.member/{}", self.id());
        self.done(Method::PUT, &target, &json!({ "membership": "join", "avatar_url": mxc })).await;
    }

    /// The content of an event of the room's state.
    pub async fn state(&self, room: &str, (kind, key): (&str, &str)) -> Value {
        let state = self.shown(&format!("{CLIENT}/rooms/{room}/state/{kind}/{key}")).await;
        state.unwrap_or_else(|| panic!("there is no {kind} {key} in {room}"))
    }

    /// Has an avatar in the profile.
    pub async fn set_avatar(&self, mxc: &str) {
        let answer = self.try_to_set_avatar(mxc).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    }

    /// Asks for an avatar in the profile.
    pub async fn try_to_set_avatar(&self, mxc: &str) -> Answer {
        let target = format!("{CLIENT}/profile/{}/avatar_url", self.id());
        self.answer(self.request(Method::PUT, &target).json(&json!({ "avatar_url": mxc }))).await
    }

    /// Asks for media.
    pub async fn download(&self, mxc: &str) -> Answer {
        self.answer(self.downloading(mxc, "")).await
    }

    /// The request for media, with a query.
    pub fn downloading(&self, mxc: &str, query: &str) -> RequestBuilder {
        self.request(Method::GET, &format!("/_matrix/client/v1/media/download/{}{query}", path(mxc)))
    }

    /// Asks for a thumbnail that fits into 320 by 240 pixels.
    pub async fn thumbnail(&self, mxc: &str) -> Answer {
        let query = "?width=320&height=240&method=scale";
        let target = format!("/_matrix/client/v1/media/thumbnail/{}{query}", path(mxc));
        self.answer(self.request(Method::GET, &target)).await
    }

    /// Whether the homeserver shows them an event.
    pub async fn is_shown(&self, room: &str, event: &str) -> bool {
        self.shown(&format!("{CLIENT}/rooms/{room}/event/{event}")).await.is_some()
    }

    /// Whether the homeserver shows them an event as part of the room's state.
    pub async fn is_shown_state(&self, room: &str, (kind, key): (&str, &str), event: &str) -> bool {
        let state = self.shown(&format!("{CLIENT}/rooms/{room}/state/{kind}/{key}?format=event")).await;
        state.is_some_and(|state| state["event_id"] == event)
    }

    /// Whether the homeserver shows them somebody's profile.
    pub async fn is_shown_profile(&self, other: &Self) -> bool {
        self.shown(&format!("{CLIENT}/profile/{}", other.id())).await.is_some()
    }

    /// The IDs of the events of a room that the homeserver shows them and that name this media in their content.
    pub async fn events_with(&self, room: &str, mxc: &str) -> Vec<String> {
        let events = self.events_with_media(room).await.into_iter();
        events.filter(|(_, media)| media == mxc).map(|(event, _)| event).collect()
    }

    /// The IDs of the events of a room that the homeserver shows them and that name media in their content, and that media.
    pub async fn events_with_media(&self, room: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut from = String::new();
        loop {
            let messages = self.shown(&format!("{CLIENT}/rooms/{room}/messages?dir=b&limit=1000{from}")).await;
            let messages = messages.expect("members see messages");
            for event in messages["chunk"].as_array().expect("there are events") {
                if let Some(media) = event["content"]["url"].as_str() {
                    found.push((text(event, "event_id"), media.to_owned()));
                }
            }
            let Some(end) = messages["end"].as_str() else { return found };
            from = format!("&from={end}");
        }
    }

    /// What the homeserver itself answers, unless it refuses.
    async fn shown(&self, target: &str) -> Option<Value> {
        let request = self.http.get(format!("{}{target}", self.homeserver)).bearer_auth(&self.user.token);
        let answer = self.answer(request).await;
        let refused = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status);
        assert!(refused || answer.status == StatusCode::OK, "{target}: {} {}", answer.status, answer.json);
        (!refused).then_some(answer.json)
    }

    fn request(&self, method: Method, target: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{target}", self.front)).bearer_auth(&self.user.token)
    }

    async fn done(&self, method: Method, target: &str, body: &Value) -> Value {
        let answer = self.answer(self.request(method, target).json(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{target}: {}", answer.json);
        answer.json
    }

    async fn answer(&self, request: RequestBuilder) -> Answer {
        answer(request).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }
}

impl Answer {
    /// Fails unless this is the photograph.
    #[track_caller]
    pub fn is_the_photograph(&self) {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        assert_eq!(self.bytes, picture::photograph());
    }

    /// Fails unless this is its thumbnail.
    #[track_caller]
    pub fn is_its_thumbnail(&self) {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        assert_eq!(picture::size_of_jpeg(&self.bytes), (320, 240));
    }

    /// Fails unless they may not see it.
    #[track_caller]
    pub fn is_unauthorized(&self) {
        self.is_refused(StatusCode::FORBIDDEN, "M_UNAUTHORIZED");
    }

    /// Fails unless this is a refusal of this kind.
    #[track_caller]
    pub fn is_refused(&self, status: StatusCode, errcode: &str) {
        assert_eq!((self.status, &self.json["errcode"]), (status, &json!(errcode)), "{}", self.json);
    }
}

/// Sends a request and takes the whole answer.
///
/// # Errors
///
/// If there is no whole answer.
pub async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let answer: Response = request.send().await?;
    let status = answer.status();
    let bytes = answer.bytes().await?.to_vec();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Answer { status, json, bytes })
}

/// Asks again and again until the answer is yes: there is no event to wait for across servers.
///
/// # Panics
///
/// When that takes longer than anybody would wait.
pub async fn eventually(is_so: impl AsyncFn() -> bool) {
    let asking = time::timeout(PATIENCE, async {
        while !is_so().await {
            time::sleep(ASK_AGAIN_AFTER).await;
        }
    });
    asking.await.unwrap_or_else(|_| panic!("still not so after {PATIENCE:?}"));
}

/// A name for a transaction that no other has.
pub fn transaction() -> String {
    format!("transaction-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The content of a message with a picture.
fn message(mxc: &str) -> Value {
    json!({ "msgtype": "m.image", "body": picture::NAME, "url": mxc, "info": { "mimetype": "image/jpeg" } })
}

fn attached(mxc: &str) -> String {
    format!("org.matrix.msc3911.attach_media={mxc}")
}

/// `SERVER_NAME/MEDIA_ID`.
fn path(mxc: &str) -> &str {
    mxc.strip_prefix("mxc://").expect("it is an MXC URI")
}

fn text(object: &Value, key: &str) -> String {
    let value = object[key].as_str();
    value.unwrap_or_else(|| panic!("no {key} in {object}")).to_owned()
}
