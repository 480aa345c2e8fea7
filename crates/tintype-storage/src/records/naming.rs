//! Which events name which media of ours, so that media goes with the last event that named it (`unlinked_redaction`).
//!
//! Today's clients attach nothing: all that is known of a picture in a message is that the message names it. So it is
//! written down for every event that can be read. Media goes when an event of its own uploader's that named it was
//! redacted, and every other event that we saw name it, too. Nobody can have another's media deleted: whoever sends, and
//! has redacted, an event that names it is not its uploader.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sqlx::FromRow;
use tintype_domain::{Mxc, OwnedUserId, Timestamp};

use super::{
    Records, RecordsError, Statement, StreamEvent, linked::mxc_from, redactions::Removed, rooms::is_current_avatar,
};
use crate::records::sql::{Connection, query, query_as};

/// Whether it is written down which events name which media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// It is.
    Noted,
    /// It is not: media stays whatever is redacted.
    Ignored,
}

/// Media that no event names any more that we know of, if it is nobody's avatar either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    /// Which.
    pub mxc: Mxc,
    /// Who uploaded it.
    pub uploader: OwnedUserId,
}

/// What becomes of unnamed media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnnamedFate {
    /// It is somebody's avatar, and stays.
    Spared,
    /// It goes.
    Removed,
}

impl Records {
    /// Media whose last event was redacted long enough ago, `limit` pieces at most. It comes again until
    /// [`settle_unnamed`](Self::settle_unnamed) is told what becomes of it.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn unnamed_media(&self, now: Timestamp, limit: u32) -> Result<Vec<Unnamed>, RecordsError> {
        self.write(FindUnnamed { now, limit }).await
    }

    /// Removes unnamed media, if still nothing names it; or forgets that it is unnamed.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing has changed.
    pub async fn settle_unnamed(&self, mxc: Mxc, fate: UnnamedFate, now: Timestamp) -> Result<Removed, RecordsError> {
        self.write(Settle { mxc, fate, now }).await
    }

    /// Forgets which events name which media: from now on it is not written down, so that it would not be all of them.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn forget_naming(&self) -> Result<(), RecordsError> {
        // Read first: a server must start on a disk where nothing can be written any more, to serve what it has.
        let noted: Option<(i64,)> =
            query_as("SELECT CAST(1 AS BIGINT) FROM naming_since LIMIT 1").fetch_optional(&self.readers).await?;
        if noted.is_some() { self.write(Forget).await } else { Ok(()) }
    }
}

/// Writes down which media of ours an event names.
pub(super) async fn note(
    connection: &mut Connection,
    tenant: &str,
    event: &StreamEvent,
    now: Timestamp,
) -> Result<(), RecordsError> {
    query("INSERT INTO naming_since (tenant, since) VALUES ($1, $2) ON CONFLICT (tenant) DO NOTHING")
        .bind(tenant)
        .bind(now.as_millis())
        .execute(&mut *connection)
        .await?;
    for mxc in named_in(&event.content) {
        // Of what is not here nothing is written down, whoever names it how often.
        query(
            "INSERT INTO named_media (server_name, media_id, event_id, sender) SELECT $1, $2, $3, $4
             WHERE EXISTS (SELECT 1 FROM media WHERE server_name = $1 AND media_id = $2)
             OR EXISTS (SELECT 1 FROM reservations WHERE server_name = $1 AND media_id = $2 AND swept = 0)
             ON CONFLICT (server_name, media_id, event_id) DO NOTHING",
        )
        .bind(mxc.server_name.as_str())
        .bind(mxc.media_id.as_str())
        .bind(event.event_id.as_str())
        .bind(event.sender.as_str())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The MXC URIs in a content, wherever they stand, in formatted text too.
fn named_in(content: &Map<String, Value>) -> BTreeSet<Mxc> {
    let mut named = BTreeSet::new();
    let mut values: Vec<&Value> = content.values().collect();
    for key in content.keys() {
        find_in(key, &mut named);
    }
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) => find_in(text, &mut named),
            Value::Array(array) => values.extend(array),
            Value::Object(object) => {
                for (key, value) in object {
                    find_in(key, &mut named);
                    values.push(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    named
}

fn find_in(text: &str, named: &mut BTreeSet<Mxc>) {
    let part_of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    for (at, scheme) in text.match_indices("mxc://") {
        let rest = &text[at + scheme.len()..];
        let Some((server_name, rest)) = rest.split_once('/') else { continue };
        let media_id = rest.split(|c| !part_of_id(c)).next().unwrap_or_default();
        named.extend(Mxc::from_parts(server_name, media_id));
    }
}

struct FindUnnamed {
    now: Timestamp,
    limit: u32,
}

/// A name whose event was redacted long enough ago.
#[derive(FromRow)]
struct DueName {
    server_name: String,
    media_id: String,
    event_id: String,
    /// Whether another event names it that is not redacted, or not long enough.
    is_named: bool,
    /// Who uploaded it, if it is media for everybody that came since all events are looked at, and if they sent one of the
    /// events.
    uploader: Option<String>,
}

impl Statement for FindUnnamed {
    type Output = Vec<Unnamed>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Unnamed>, RecordsError> {
        let due: Vec<DueName> = query_as(
            "SELECT n.server_name, n.media_id, n.event_id,
             EXISTS (SELECT 1 FROM named_media o WHERE o.server_name = n.server_name AND o.media_id = n.media_id
                     AND o.over = 0 AND (o.due_at IS NULL OR o.due_at > $1)) AS is_named,
             (SELECT m.uploader FROM media m JOIN naming_since s ON s.tenant = m.server_name
              WHERE m.server_name = n.server_name AND m.media_id = n.media_id AND m.created_at > s.since
              AND NOT EXISTS (SELECT 1 FROM linked_media l
                              WHERE l.server_name = m.server_name AND l.media_id = m.media_id)
              AND EXISTS (SELECT 1 FROM named_media o WHERE o.server_name = m.server_name
                          AND o.media_id = m.media_id AND o.sender = m.uploader)) AS uploader
             FROM named_media n WHERE n.due_at <= $1 AND n.over = 0 ORDER BY n.due_at LIMIT $2",
        )
        .bind(self.now.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut unnamed = Vec::new();
        for name in due {
            let mxc = mxc_from(&name.server_name, &name.media_id)?;
            if name.is_named {
                // It is looked at again when the others' time has come.
                query("UPDATE named_media SET over = 1 WHERE server_name = $1 AND media_id = $2 AND event_id = $3")
                    .bind(&name.server_name)
                    .bind(&name.media_id)
                    .bind(&name.event_id)
                    .execute(&mut *connection)
                    .await?;
            } else if let Some(uploader) = name.uploader {
                let uploader =
                    uploader.try_into().map_err(|_| RecordsError::Inconsistent(format!("the uploader of {mxc}")))?;
                let media = Unnamed { mxc, uploader };
                if !unnamed.contains(&media) {
                    unnamed.push(media);
                }
            } else {
                forget(connection, &mxc).await?;
            }
        }
        Ok(unnamed)
    }
}

struct Settle {
    mxc: Mxc,
    fate: UnnamedFate,
    now: Timestamp,
}

impl Statement for Settle {
    type Output = Removed;

    async fn run(&self, connection: &mut Connection) -> Result<Removed, RecordsError> {
        let mut removed = Removed::default();
        let (is_named,): (bool,) = query_as(
            "SELECT EXISTS (SELECT 1 FROM named_media WHERE server_name = $1 AND media_id = $2 AND over = 0
                            AND (due_at IS NULL OR due_at > $3))",
        )
        .bind(self.mxc.server_name.as_str())
        .bind(self.mxc.media_id.as_str())
        .bind(self.now.as_millis())
        .fetch_one(&mut *connection)
        .await?;
        if is_named {
            // Since it was looked at: the next look sees that.
            return Ok(removed);
        }
        forget(connection, &self.mxc).await?;
        if self.fate == UnnamedFate::Removed && !is_current_avatar(connection, &self.mxc).await? {
            removed.remove(connection, self.mxc.clone(), self.now).await?;
        }
        Ok(removed)
    }
}

async fn forget(connection: &mut Connection, mxc: &Mxc) -> Result<(), RecordsError> {
    query("DELETE FROM named_media WHERE server_name = $1 AND media_id = $2")
        .bind(mxc.server_name.as_str())
        .bind(mxc.media_id.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

struct Forget;

impl Statement for Forget {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query("DELETE FROM named_media").execute(&mut *connection).await?;
        query("DELETE FROM naming_since").execute(connection).await?;
        Ok(())
    }
}

#[cfg(test)]
super::testing::on_both_engines!("naming/tests.rs");
