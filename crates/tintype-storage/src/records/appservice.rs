//! What a homeserver tells us as its application service (application service API, "Pushing events").
//!
//! Everything that a transaction means is written in one transaction of the database, with its ID: one that is repeated
//! after it was committed changes nothing, and one that was not committed is repeated by the homeserver.

use tintype_domain::{ContentHash, Mxc, OwnedServerName, Timestamp};

use super::{
    LinkedEvent, Naming, Records, RecordsError, Statement, StreamEvent, attachments, departures, linked::learn_event,
    naming, redactions, room_changes,
};
use crate::records::sql::{Connection, query, query_as};

/// How many transactions are remembered for each homeserver. It sends the next one when the last one was acknowledged, so
/// that one would do.
const REMEMBERED: i64 = 1000;

/// Applies a transaction of an application service.
#[derive(Debug, Clone)]
pub struct ApplyTransaction {
    /// The server whose homeserver sent it.
    pub tenant: OwnedServerName,
    /// Its ID.
    pub transaction_id: String,
    /// Its events, in order.
    pub events: Vec<StreamEvent>,
    /// When it came.
    pub now: Timestamp,
    /// Whether it is written down which events name which media.
    pub naming: Naming,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// It was applied.
    Applied(Applied),
    /// It had been applied before.
    Repeated,
}

/// What a transaction has changed for those who read media.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Media that is attached from now on.
    pub healed: Vec<Mxc>,
}

impl Records {
    /// Applies a transaction, unless it was applied before.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing of it was applied.
    pub async fn apply_transaction(&self, transaction: ApplyTransaction) -> Result<TransactionOutcome, RecordsError> {
        self.write(transaction).await
    }
}

impl ApplyTransaction {
    fn events_sha256(&self) -> ContentHash {
        let ids: Vec<_> = self.events.iter().map(|event| event.event_id.as_str()).collect();
        ContentHash::of(ids.join("\n").as_bytes())
    }
}

impl Statement for ApplyTransaction {
    type Output = TransactionOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<TransactionOutcome, RecordsError> {
        let tenant = self.tenant.as_str();
        let sha256 = self.events_sha256();
        let (before, number): (i64, i64) = query_as(
            "INSERT INTO streams (tenant, position, transactions) VALUES ($1, 0, 1)
             ON CONFLICT (tenant) DO UPDATE SET transactions = streams.transactions + 1
             RETURNING position, transactions",
        )
        .bind(tenant)
        .fetch_one(&mut *connection)
        .await?;
        let repeated: Option<(Vec<u8>,)> =
            query_as("SELECT events_sha256 FROM stream_transactions WHERE tenant = $1 AND transaction_id = $2")
                .bind(tenant)
                .bind(&self.transaction_id)
                .fetch_optional(&mut *connection)
                .await?;
        if let Some((known,)) = repeated
            && known == sha256.as_bytes()
        {
            return Ok(TransactionOutcome::Repeated);
        }
        let mut applied = Applied::default();
        let mut position = before;
        for event in &self.events {
            position += 1;
            self.apply(connection, event, position, &mut applied).await?;
        }
        query("UPDATE streams SET position = $2 WHERE tenant = $1")
            .bind(tenant)
            .bind(position)
            .execute(&mut *connection)
            .await?;
        query(
            "INSERT INTO stream_transactions (tenant, transaction_id, number, events_sha256) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, transaction_id) DO UPDATE SET number = $3, events_sha256 = $4",
        )
        .bind(tenant)
        .bind(&self.transaction_id)
        .bind(number)
        .bind(&sha256.as_bytes()[..])
        .execute(&mut *connection)
        .await?;
        query("DELETE FROM stream_transactions WHERE tenant = $1 AND number <= $2")
            .bind(tenant)
            .bind(number - REMEMBERED)
            .execute(connection)
            .await?;
        Ok(TransactionOutcome::Applied(applied))
    }
}

impl ApplyTransaction {
    /// Everything that one event means. What else is to hear of the events of the stream is called here.
    async fn apply(
        &self,
        connection: &mut Connection,
        event: &StreamEvent,
        position: i64,
        applied: &mut Applied,
    ) -> Result<(), RecordsError> {
        // Before the members change: who else is in the room matters.
        departures::note(connection, self.tenant.as_str(), event, self.now).await?;
        room_changes::note(connection, &self.tenant, event, position, self.now).await?;
        self.note_attaching(connection, event, position).await?;
        self.note_linked(connection, event, position).await?;
        applied.healed.extend(attachments::heal(connection, self.tenant.as_str(), event, self.now).await?);
        if self.naming == Naming::Noted {
            naming::note(connection, self.tenant.as_str(), event, self.now).await?;
        }
        redactions::note(connection, self.tenant.as_str(), event, self.now).await
    }

    /// Where an event is in the stream to which media may be being attached: when that is known it has gone by.
    async fn note_attaching(
        &self,
        connection: &mut Connection,
        event: &StreamEvent,
        position: i64,
    ) -> Result<(), RecordsError> {
        if !attachments::expects(connection, self.tenant.as_str(), event).await? {
            return Ok(());
        }
        let known = LinkedEvent {
            room_id: Some(event.room_id.clone()),
            sender: Some(event.sender.clone()),
            event_type: Some(event.event_type.clone()),
            state_key: event.state_key.clone(),
            position: Some(position),
            ..LinkedEvent::default()
        };
        learn_event(connection, &event.event_id, &known).await
    }

    /// Where an event is in the stream to which media is attached already. Only the homeserver of its sender tells:
    /// positions in the streams of others say nothing about it.
    async fn note_linked(
        &self,
        connection: &mut Connection,
        event: &StreamEvent,
        position: i64,
    ) -> Result<(), RecordsError> {
        if event.sender.server_name() != self.tenant {
            return Ok(());
        }
        query(
            "UPDATE linked_events SET position = $2, room_id = COALESCE(room_id, $3), sender = COALESCE(sender, $4)
             WHERE event_id = $1 AND position IS NULL",
        )
        .bind(event.event_id.as_str())
        .bind(position)
        .bind(event.room_id.as_str())
        .bind(event.sender.as_str())
        .execute(connection)
        .await?;
        Ok(())
    }
}
