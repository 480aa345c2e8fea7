//! The journal of attaching (MSC3911): which request attaches which media to what, and what became of it.
//!
//! A request is written down before it is forwarded, in the same transaction that takes its media: from then on no other
//! request can have it. It ends in one of three ways: attached for ever, free again, or unknown. What is unknown stays
//! taken until the client's retry is answered, the event is seen in the stream, or its time is over.

mod concluding;
mod sweeping;

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value};
use sqlx::FromRow;
use tintype_domain::{
    ContentHash, ContentHasher, EventId, Mxc, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, Timestamp,
};

pub(super) use self::concluding::{expects, heal};
pub use self::{
    concluding::{AttachmentOutcome, ConcludeAttachment, Concluded},
    sweeping::{EndUnresolved, EndedAttachment, UnresolvedRoom, VisibilityQuestion},
};
use super::{Records, RecordsError, Statement};
use crate::records::sql::{Connection, query, query_as};

/// How long a finished request answers its retries.
pub const ANSWERS_RETRIES: Duration = Duration::from_hours(24);

/// What a request attaches media to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachmentTarget {
    /// A message whose path says which one it is: the homeserver sends it once, however often it is asked.
    Transaction {
        /// Its room.
        room_id: OwnedRoomId,
        /// Its type.
        event_type: String,
    },
    /// A message that is another one each time it is sent.
    Message {
        /// Its room.
        room_id: OwnedRoomId,
        /// Its type.
        event_type: String,
    },
    /// A state event.
    State {
        /// Its room.
        room_id: OwnedRoomId,
        /// Its type.
        event_type: String,
        /// Its state key.
        state_key: String,
    },
    /// A user's profile.
    Profile(OwnedUserId),
    /// The avatar of a room that the request creates.
    NewRoom,
}

/// Writes a request down that attaches media, and takes the media for it.
#[derive(Debug, Clone)]
pub struct BeginAttachment {
    /// The server whose user asks; the media is of that server.
    pub tenant: OwnedServerName,
    /// Who asks; the media is theirs.
    pub user: OwnedUserId,
    /// With which device.
    pub device: Option<String>,
    /// The method.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// The media.
    pub media: BTreeSet<Mxc>,
    /// Of the body, as it was sent.
    pub body: ContentHash,
    /// What it is attached to.
    pub target: AttachmentTarget,
    /// Of the event's content, see [`hash_of_content`]; none where it is no object.
    pub content: Option<ContentHash>,
    /// When.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeginOutcome {
    /// It is written down, and the media is taken for it.
    Begun {
        /// Its number.
        id: i64,
        /// Whether it was sent before.
        attempt: Attempt,
    },
    /// It is a retry of a request that ended well.
    Finished {
        /// The event that the media is attached to.
        event_id: OwnedEventId,
    },
    /// The same request is still being forwarded.
    Forwarding,
    /// The same transaction was sent with other media or another body.
    OtherRequest,
    /// This media is not for this user to attach: it may not exist.
    NotTheirs(Mxc),
    /// This media is attached already, or being attached.
    Taken(Mxc),
}

/// Whether a request is forwarded for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is.
    First,
    /// It was forwarded before, and nobody knows what became of that.
    Again,
}

/// A row of the journal, as far as a later request of the same path needs it.
#[derive(FromRow)]
struct EarlierRow {
    id: i64,
    media: String,
    body_sha256: Vec<u8>,
    state: String,
    event_id: Option<String>,
}

impl Records {
    /// Writes a request down and takes its media, all of it or nothing; or tells why not.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing is taken.
    pub async fn begin_attachment(&self, begin: BeginAttachment) -> Result<BeginOutcome, RecordsError> {
        self.write(BeginHere { begin, node: self.me() }).await
    }
}

impl AttachmentTarget {
    fn kind(&self) -> &'static str {
        match self {
            Self::Transaction { .. } => "transaction",
            Self::Message { .. } => "message",
            Self::State { .. } => "state",
            Self::Profile(_) => "profile",
            Self::NewRoom => "room",
        }
    }

    /// Room, type and state key of the event, as far as they are known.
    fn event(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        match self {
            Self::Transaction { room_id, event_type } | Self::Message { room_id, event_type } => {
                (Some(room_id.as_str()), Some(event_type), None)
            }
            Self::State { room_id, event_type, state_key } => {
                (Some(room_id.as_str()), Some(event_type), Some(state_key))
            }
            Self::Profile(_) => (None, None, None),
            Self::NewRoom => (None, Some("m.room.avatar"), Some("")),
        }
    }
}

impl BeginAttachment {
    fn media_column(&self) -> String {
        self.media.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn is_same(&self, earlier: &EarlierRow) -> bool {
        earlier.media == self.media_column() && earlier.body_sha256 == self.body.as_bytes()
    }

    /// Earlier requests with this path, the newest first. What no longer answers retries is forgotten.
    async fn earlier(&self, connection: &mut Connection) -> Result<Vec<EarlierRow>, RecordsError> {
        let device = self.device.as_deref().unwrap_or_default();
        query(
            "DELETE FROM attachments WHERE user_id = $1 AND device_id = $2 AND path = $3
             AND state = 'finished' AND updated_at <= $4",
        )
        .bind(self.user.as_str())
        .bind(device)
        .bind(&self.path)
        .bind((self.now - ANSWERS_RETRIES).as_millis())
        .execute(&mut *connection)
        .await?;
        Ok(query_as(
            "SELECT id, media, body_sha256, state, event_id FROM attachments
             WHERE user_id = $1 AND device_id = $2 AND path = $3 AND method = $4 AND kind = $5 ORDER BY id DESC",
        )
        .bind(self.user.as_str())
        .bind(device)
        .bind(&self.path)
        .bind(&self.method)
        .bind(self.target.kind())
        .fetch_all(connection)
        .await?)
    }

    /// What an earlier request says of this one; none if nothing.
    async fn follows(
        &self,
        connection: &mut Connection,
        earlier: &EarlierRow,
    ) -> Result<Option<BeginOutcome>, RecordsError> {
        if !self.is_same(earlier) {
            let is_transaction = matches!(self.target, AttachmentTarget::Transaction { .. });
            return Ok(is_transaction.then_some(BeginOutcome::OtherRequest));
        }
        Ok(match earlier.state.as_str() {
            "forwarding" => Some(BeginOutcome::Forwarding),
            "unknown" => {
                query("UPDATE attachments SET state = 'forwarding', updated_at = $1 WHERE id = $2")
                    .bind(self.now.as_millis())
                    .bind(earlier.id)
                    .execute(connection)
                    .await?;
                Some(BeginOutcome::Begun { id: earlier.id, attempt: Attempt::Again })
            }
            // What is not sent under the name of a transaction may be meant to be sent again.
            _ => match (&self.target, &earlier.event_id) {
                (AttachmentTarget::Transaction { .. } | AttachmentTarget::State { .. }, Some(event_id)) => {
                    let event_id = EventId::parse(event_id)
                        .map_err(|_| RecordsError::Inconsistent(format!("the event {event_id}")))?;
                    Some(BeginOutcome::Finished { event_id })
                }
                _ => None,
            },
        })
    }

    /// Why this media cannot be taken; none if it can.
    async fn refusal(&self, connection: &mut Connection, mxc: &Mxc) -> Result<Option<BeginOutcome>, RecordsError> {
        if mxc.server_name != self.tenant {
            return Ok(Some(BeginOutcome::NotTheirs(mxc.clone())));
        }
        // What is over is gone, whether or not it was swept; so is what was reserved and never came.
        let found: Option<(String,)> = query_as(
            "SELECT l.state FROM linked_media l WHERE l.server_name = $1 AND l.media_id = $2 AND l.uploader = $3
             AND (l.state <> 'unattached' OR l.unattached_until > $4)
             AND NOT EXISTS (SELECT 1 FROM reservations r WHERE r.server_name = $1 AND r.media_id = $2
                 AND r.holder IS NULL AND (r.swept = 1 OR r.expires_at <= $4))",
        )
        .bind(mxc.server_name.as_str())
        .bind(mxc.media_id.as_str())
        .bind(self.user.as_str())
        .bind(self.now.as_millis())
        .fetch_optional(connection)
        .await?;
        Ok(match found {
            None => Some(BeginOutcome::NotTheirs(mxc.clone())),
            Some((state,)) if state == "unattached" => None,
            Some(_) => Some(BeginOutcome::Taken(mxc.clone())),
        })
    }

    async fn take(&self, connection: &mut Connection) -> Result<i64, RecordsError> {
        let (room_id, event_type, state_key) = self.target.event();
        let (id,): (i64,) = query_as(
            "INSERT INTO attachments (tenant, user_id, device_id, method, path, media, body_sha256, kind, room_id,
                 event_type, state_key, content_sha256, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) RETURNING id",
        )
        .bind(self.tenant.as_str())
        .bind(self.user.as_str())
        .bind(self.device.as_deref().unwrap_or_default())
        .bind(&self.method)
        .bind(&self.path)
        .bind(self.media_column())
        .bind(&self.body.as_bytes()[..])
        .bind(self.target.kind())
        .bind(room_id)
        .bind(event_type)
        .bind(state_key)
        .bind(self.content.as_ref().map(|content| &content.as_bytes()[..]))
        .bind(self.now.as_millis())
        .fetch_one(&mut *connection)
        .await?;
        for mxc in &self.media {
            let taken = query(
                "UPDATE linked_media SET state = 'attaching', attachment_id = $1
                 WHERE server_name = $2 AND media_id = $3 AND uploader = $4 AND state = 'unattached'",
            )
            .bind(id)
            .bind(mxc.server_name.as_str())
            .bind(mxc.media_id.as_str())
            .bind(self.user.as_str())
            .execute(&mut *connection)
            .await?;
            if taken.rows_affected() != 1 {
                return Err(RecordsError::Inconsistent(format!("the link of {mxc} changed in a transaction")));
            }
        }
        Ok(id)
    }
}

/// A request that this node forwards.
struct BeginHere {
    begin: BeginAttachment,
    node: Option<i64>,
}

impl Statement for BeginHere {
    type Output = BeginOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<BeginOutcome, RecordsError> {
        let outcome = self.begin.run(connection).await?;
        if let (BeginOutcome::Begun { id, .. }, Some(node)) = (&outcome, self.node) {
            query("UPDATE attachments SET node = $1 WHERE id = $2").bind(node).bind(*id).execute(connection).await?;
        }
        Ok(outcome)
    }
}

impl BeginAttachment {
    async fn run(&self, connection: &mut Connection) -> Result<BeginOutcome, RecordsError> {
        for earlier in self.earlier(connection).await? {
            if let Some(outcome) = self.follows(connection, &earlier).await? {
                return Ok(outcome);
            }
        }
        for mxc in &self.media {
            if let Some(refusal) = self.refusal(connection, mxc).await? {
                return Ok(refusal);
            }
        }
        Ok(BeginOutcome::Begun { id: self.take(connection).await?, attempt: Attempt::First })
    }
}

/// The hash of an event's content that does not depend on how its JSON is written: keys in their order, no spaces.
pub fn hash_of_content(content: &Map<String, Value>) -> ContentHash {
    let mut hasher = ContentHasher::default();
    write_object(&mut hasher, content);
    hasher.finish()
}

fn write_object(hasher: &mut ContentHasher, object: &Map<String, Value>) {
    let mut pairs = object.iter().collect::<Vec<_>>();
    pairs.sort_unstable_by_key(|(key, _)| *key);
    hasher.update(b"{");
    for (key, value) in pairs {
        hasher.update(Value::from(key.as_str()).to_string().as_bytes());
        hasher.update(b":");
        write_value(hasher, value);
        hasher.update(b",");
    }
    hasher.update(b"}");
}

fn write_value(hasher: &mut ContentHasher, value: &Value) {
    match value {
        Value::Object(object) => write_object(hasher, object),
        Value::Array(values) => {
            hasher.update(b"[");
            for value in values {
                write_value(hasher, value);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        scalar => hasher.update(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hash(content: &Value) -> ContentHash {
        hash_of_content(content.as_object().expect("a test hashes an object"))
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_everything_else_does() {
        let content: Value = serde_json::from_str(r#"{"b": [1, {"y": null, "x": "ä"}], "a": true}"#).unwrap();

        assert_eq!(hash(&content), hash(&json!({ "a": true, "b": [1, { "x": "ä", "y": null }] })));
        for other in [
            json!({ "a": true, "b": [1, { "x": "ä" }] }),
            json!({ "a": true, "b": [{ "x": "ä", "y": null }, 1] }),
            json!({ "a": "true", "b": [1, { "x": "ä", "y": null }] }),
            json!({}),
        ] {
            assert_ne!(hash(&content), hash(&other), "{other}");
        }
    }
}
