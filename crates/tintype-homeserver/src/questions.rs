//! What a homeserver knows of rooms, events and profiles, asked for a user: with the user's own token, or as an
//! application service that acts as the user.
//!
//! The questions are those of the client-server API, which every homeserver answers. Its "no" and its silence are told
//! apart: nobody is shown anything because a homeserver did not answer.

use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Response, StatusCode,
    header::{self, HeaderValue},
};
use serde::{
    Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use tintype_domain::{EventId, RoomId, UserId};

use crate::{
    Asker, Credentials, Homeserver, Masquerade, Refusal,
    whoami::{chain, read},
};

/// What does not need to be encoded in a segment of a path (RFC 3986, "unreserved").
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest answer that is read, in bytes: an event has 64 KiB, and a context some of them.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The longest state of a room that is read, in bytes: that of the largest rooms takes some ten megabytes.
const MAX_STATE: usize = 256 * 1024 * 1024;

/// How long the state of a room may take: that of a large one is a matter of minutes.
const STATE: Duration = Duration::from_mins(5);

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QuestionError {
    /// The homeserver does not show it to this user: it may not exist (403 and 404).
    #[error("the homeserver does not show it to this user")]
    Hidden,
    /// The homeserver does not accept the token (401), in its own words.
    #[error("the homeserver refused the access token with status {}", .0.status)]
    Refused(Refusal),
    /// The homeserver does not answer, not as a homeserver would, or not now (429, 5xx, time-outs).
    #[error("the homeserver cannot be asked: {0}")]
    Unavailable(String),
}

/// A segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn state_path(room: &RoomId, event_type: &str, state_key: &str) -> String {
    format!("v3/rooms/{}/state/{}/{}", segment(room.as_str()), segment(event_type), segment(state_key))
}

impl Homeserver {
    /// What an application service shows to act as a user of this homeserver (application service API, "Identity
    /// assertion"); none if there is no application service.
    pub fn credentials_of(&self, user: &UserId) -> Option<Credentials> {
        let token = self.appservice_token.clone()?;
        Some(Credentials { token, masquerade: Masquerade { user_id: Some(user.to_string()), device_id: None } })
    }

    /// An event as this user sees it: `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn event(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Map<String, Value>, QuestionError> {
        let path = format!("v3/rooms/{}/event/{}", segment(room.as_str()), segment(event.as_str()));
        object(self.ask(credentials, asker, &path, &[]).await?)
    }

    /// An event of which the room is not known: `GET /_matrix/client/v3/events/{eventId}`, which is deprecated.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn event_of_any_room(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        event: &EventId,
    ) -> Result<Map<String, Value>, QuestionError> {
        let path = format!("v3/events/{}", segment(event.as_str()));
        object(self.ask(credentials, asker, &path, &[]).await?)
    }

    /// An event as the homeserver gives it to a server that signs for itself: `GET
    /// /_matrix/federation/v1/event/{eventId}` (server-server API, "Retrieving events"). Asked in the homeserver's own
    /// name, this tells of any event of a room that one of its users is in. `authorization` is what signs the target
    /// that it is given.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn event_as_server(
        &self,
        event: &EventId,
        authorization: impl FnOnce(&str) -> Option<HeaderValue>,
    ) -> Result<Map<String, Value>, QuestionError> {
        let unavailable = |error: &dyn std::error::Error| QuestionError::Unavailable(chain(error));
        let target = format!("/_matrix/federation/v1/event/{}", segment(event.as_str()));
        let authorization = authorization(&target)
            .ok_or_else(|| QuestionError::Unavailable("there is no key to sign with".to_owned()))?;
        let url = self.client_api.join(&format!("../..{target}")).map_err(|error| unavailable(&error))?;
        let request = self.client.get(url).header(header::AUTHORIZATION, authorization);
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        let mut transaction = object(Unread(response).read(MAX_ANSWER).await?.understand()?)?;
        match transaction.get_mut("pdus").and_then(Value::as_array_mut).and_then(Vec::pop) {
            Some(event) => object(event),
            None => Err(QuestionError::Hidden),
        }
    }

    /// The current state event of this type and key, whole: `GET /_matrix/client/v3/rooms/{roomId}/state/…?format=event`.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn state_event(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
    ) -> Result<Map<String, Value>, QuestionError> {
        let path = state_path(room, event_type, state_key);
        object(self.ask(credentials, asker, &path, &[("format", "event")]).await?)
    }

    /// The content of the current state event of this type and key.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn state_content(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
    ) -> Result<Map<String, Value>, QuestionError> {
        let path = state_path(room, event_type, state_key);
        object(self.ask(credentials, asker, &path, &[]).await?)
    }

    /// The current state events of these types: `GET /_matrix/client/v3/rooms/{roomId}/state`. All of the state comes, and
    /// only what is wanted of it is kept.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn room_state(
        &self,
        credentials: &Credentials,
        room: &RoomId,
        types: &'static [&'static str],
    ) -> Result<Vec<Value>, QuestionError> {
        let path = format!("v3/rooms/{}/state", segment(room.as_str()));
        let answer = self.send(Some(STATE), credentials, None, &path, &[]).await?.read(MAX_STATE).await?;
        if answer.status != StatusCode::OK {
            let refused = answer.understand().map(drop);
            return Err(refused.err().unwrap_or_else(|| QuestionError::Unavailable("it answered no list".to_owned())));
        }
        // It may take a second to read, in which nobody else is to wait.
        let body = answer.body;
        let read = tokio::task::spawn_blocking(move || events_of_types(&body, types)).await;
        let unavailable = |error: &dyn std::error::Error| QuestionError::Unavailable(chain(error));
        read.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))
    }

    /// An event, and the state of these types at it: `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}?limit=0`.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn context(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        room: &RoomId,
        event: &EventId,
        types: &[&str],
    ) -> Result<Map<String, Value>, QuestionError> {
        let path = format!("v3/rooms/{}/context/{}", segment(room.as_str()), segment(event.as_str()));
        let filter = serde_json::json!({ "types": types, "lazy_load_members": true }).to_string();
        object(self.ask(credentials, asker, &path, &[("limit", "0"), ("filter", &filter)]).await?)
    }

    /// A user's profile as this user sees it: `GET /_matrix/client/v3/profile/{userId}`.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn profile(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        user: &UserId,
    ) -> Result<Map<String, Value>, QuestionError> {
        object(self.ask(credentials, asker, &format!("v3/profile/{}", segment(user.as_str())), &[]).await?)
    }

    /// Answers a `GET` below `/_matrix/client/` with its JSON. The path is encoded already.
    ///
    /// # Errors
    /// A [`QuestionError`].
    pub async fn ask(
        &self,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Value, QuestionError> {
        self.send(None, credentials, asker, path, query).await?.read(MAX_ANSWER).await?.understand()
    }

    /// Sends a question, for whose answer more time than usual may be allowed.
    async fn send(
        &self,
        time: Option<Duration>,
        credentials: &Credentials,
        asker: Option<&Asker<'_>>,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Unread, QuestionError> {
        let unavailable = |error: &dyn std::error::Error| QuestionError::Unavailable(chain(error));
        let url = self.client_api.join(path).map_err(|error| unavailable(&error))?;
        let Masquerade { user_id, device_id } = &credentials.masquerade;
        let masquerade = [("user_id", user_id), ("device_id", device_id)];
        let masquerade = masquerade.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let query = query.iter().copied().chain(masquerade).collect::<Vec<_>>();
        let mut request = self.client.get(url).query(&query).bearer_auth(&credentials.token);
        if let Some(time) = time {
            request = request.timeout(time);
        }
        if let Some(asker) = asker {
            request = request.header("X-Forwarded-For", asker.address.to_string());
            if let Some(user_agent) = asker.user_agent {
                request = request.header(header::USER_AGENT, user_agent);
            }
        }
        Ok(Unread(request.send().await.map_err(|error| unavailable(&error))?))
    }
}

/// An answer whose body is still to come.
struct Unread(Response);

impl Unread {
    async fn read(self, at_most: usize) -> Result<Answer, QuestionError> {
        let status = self.0.status();
        let retry_after =
            self.0.headers().get(header::RETRY_AFTER).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let body = read(self.0, at_most).await.map_err(|error| QuestionError::Unavailable(error.to_string()))?;
        Ok(Answer { status, body, retry_after })
    }
}

/// An answer.
struct Answer {
    status: StatusCode,
    body: Bytes,
    retry_after: Option<String>,
}

impl Answer {
    fn understand(self) -> Result<Value, QuestionError> {
        let Self { status, body, retry_after } = self;
        let answer: Result<Value, _> = serde_json::from_slice(&body);
        let is_matrix_error = matches!(&answer, Ok(Value::Object(error)) if error.contains_key("errcode"));
        match (status, answer) {
            (StatusCode::OK, Ok(answer)) => Ok(answer),
            (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, _) if is_matrix_error => Err(QuestionError::Hidden),
            // So Synapse says of an event that it does not know, where it is asked without a room or as a server.
            (StatusCode::NOT_FOUND, Ok(Value::String(_))) => Err(QuestionError::Hidden),
            (StatusCode::UNAUTHORIZED, _) if is_matrix_error => {
                Err(QuestionError::Refused(Refusal { status: status.as_u16(), body, retry_after }))
            }
            _ => Err(QuestionError::Unavailable(format!("it answered with status {status}"))),
        }
    }
}

/// The events of these types in a list of events, of which the others are forgotten as they are read.
fn events_of_types(list: &[u8], types: &[&str]) -> Result<Vec<Value>, serde_json::Error> {
    struct OfTypes<'a>(&'a [&'a str]);

    impl<'de> Visitor<'de> for OfTypes<'_> {
        type Value = Vec<Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of events")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Value>, A::Error> {
            let mut events = Vec::new();
            while let Some(event) = list.next_element::<Value>()? {
                if event.get("type").and_then(Value::as_str).is_some_and(|of| self.0.contains(&of)) {
                    events.push(event);
                }
            }
            Ok(events)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(list);
    let events = reader.deserialize_seq(OfTypes(types))?;
    reader.end()?;
    Ok(events)
}

fn object(answer: Value) -> Result<Map<String, Value>, QuestionError> {
    match answer {
        Value::Object(object) => Ok(object),
        _ => Err(QuestionError::Unavailable("its answer is no object".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_list_of_events_those_of_the_wanted_types_are_kept() {
        let member = json!({ "type": "m.room.member", "state_key": "@a:b" });
        let list = json!([{ "type": "m.room.name" }, member, { "no": "type" }, 7, null]).to_string();

        assert_eq!(events_of_types(list.as_bytes(), &["m.room.member"]).unwrap(), [member]);
        assert_eq!(events_of_types(b"[]", &["m.room.member"]).unwrap(), Vec::<Value>::new());
        for no_list in ["{}", "", "[", "[] []", "[{]"] {
            assert!(events_of_types(no_list.as_bytes(), &["m.room.member"]).is_err(), "{no_list}");
        }
    }
}
