//! Whether what is being given to somebody may still be given: asked again and again while it takes long.

use serde_json::json;
use sqlx::FromRow;
use tintype_domain::{Audience, Mxc, Timestamp};

use super::{Records, RecordsError, linked::remote_columns};
use crate::records::sql::query_as;

/// What a transfer goes on for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// Media of ours is recorded, and its event is redacted since then, or not.
    Recorded {
        /// Since when it is redacted.
        redacted_at: Option<Timestamp>,
    },
    /// It is reserved, and arrives.
    Arriving,
    /// Media of another server is kept for this audience, and its event is redacted since then, or not.
    Kept {
        /// For whom.
        audience: Audience,
        /// Since when it is redacted.
        redacted_at: Option<Timestamp>,
    },
}

#[derive(FromRow)]
struct BasisRow {
    server_name: String,
    media_id: String,
    recorded: i64,
    reserved: i64,
    redacted_at: Option<i64>,
    kept: i64,
    audience: Option<String>,
    copy_redacted_at: Option<i64>,
}

impl BasisRow {
    fn holds(&self, basis: &Basis) -> bool {
        match basis {
            Basis::Recorded { redacted_at } => {
                self.recorded > 0 && self.redacted_at == redacted_at.map(Timestamp::as_millis)
            }
            Basis::Arriving => self.recorded > 0 || self.reserved > 0,
            Basis::Kept { audience, redacted_at } => {
                let (kind, id) = remote_columns(audience);
                let known = format!("{} {}", kind.unwrap_or_default(), id.unwrap_or_default());
                let redacted_at = redacted_at.map(Timestamp::as_millis);
                self.kept > 0 && self.copy_redacted_at == redacted_at && self.audience.as_ref() == Some(&known)
            }
        }
    }
}

impl Records {
    /// Those of these transfers that may not go on, asked in one query. Only on PostgreSQL: where there is one node it knows
    /// that by itself.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn transfers_over(&self, transfers: &[(Mxc, Basis)]) -> Result<Vec<(Mxc, Basis)>, RecordsError> {
        let asked =
            transfers.iter().map(|(mxc, _)| json!({ "s": mxc.server_name.as_str(), "m": mxc.media_id.as_str() }));
        let asked = asked.collect::<serde_json::Value>().to_string();
        let rows: Vec<BasisRow> = query_as(
            r#"SELECT a.s AS server_name, a.m AS media_id,
             (SELECT COUNT(*) FROM media m WHERE m.server_name = a.s AND m.media_id = a.m) AS recorded,
             (SELECT COUNT(*) FROM reservations r WHERE r.server_name = a.s AND r.media_id = a.m AND r.swept = 0)
                AS reserved,
             (SELECT e.redacted_at FROM linked_media l JOIN linked_events e ON e.event_id = l.event_id
              WHERE l.server_name = a.s AND l.media_id = a.m) AS redacted_at,
             (SELECT COUNT(*) FROM remote_cache c WHERE c.server_name = a.s AND c.media_id = a.m) AS kept,
             (SELECT MIN(COALESCE(c.audience, '') || ' ' || COALESCE(c.audience_id, '')) FROM remote_cache c
              WHERE c.server_name = a.s AND c.media_id = a.m) AS audience,
             (SELECT MAX(e.redacted_at) FROM remote_cache c JOIN linked_events e ON e.event_id = c.audience_id
              WHERE c.server_name = a.s AND c.media_id = a.m AND c.audience = 'event') AS copy_redacted_at
             FROM json_to_recordset($1::json) AS a(s TEXT COLLATE "C", m TEXT COLLATE "C")"#,
        )
        .bind(asked)
        .fetch_all(&self.nodes()?.connections)
        .await?;
        let is_over = |(mxc, basis): &&(Mxc, Basis)| {
            let is_its =
                |row: &&BasisRow| row.server_name == mxc.server_name.as_str() && row.media_id == mxc.media_id.as_str();
            !rows.iter().find(is_its).is_some_and(|row| row.holds(basis))
        };
        Ok(transfers.iter().filter(is_over).cloned().collect())
    }
}
