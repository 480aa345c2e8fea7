//! What homeservers tell us as their application service: the events of rooms, and what follows from them here.
//!
//! A transaction is committed as a whole before it is acknowledged; what is remembered here is put right after that. The
//! stream brings no room's state from before, so that is read in the background, as a user of ours who is in the room.
//! Which rooms are still to be read is in the records, and so outlives a stop.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use tintype_domain::{OwnedServerName, ServerName, Timestamp};
use tintype_homeserver::{Homeserver, QuestionError};
use tintype_storage::records::{
    ApplyState, ApplyTransaction, Membership, RecordsError, RoomToRead, StateOutcome, StreamEvent, TransactionOutcome,
};
use tokio::{sync::Notify, time::sleep};

use crate::{Accounts, Inner, Repository, StorageError, background::Observed};

/// Rooms whose state is read at once: that of a large one takes a homeserver some seconds, and us some megabytes.
const AT_ONCE: usize = 2;

/// Rooms that are looked up at once.
const LOOKED_UP: u32 = 50;

/// What is looked at of a room's state.
const STATE_TYPES: [&str; 3] = ["m.room.member", "m.room.history_visibility", "m.room.avatar"];

/// As how many users of ours a room's state is asked for before it is tried again later.
const ASKED: u32 = 5;

/// After how long a state that could not be read is tried again; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// How often a node looks whether another one still reads rooms for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long it is waited at most.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// A transaction of an application service.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The server of ours whose homeserver sent it.
    pub server: OwnedServerName,
    /// Its ID.
    pub id: String,
    /// Its events, in order.
    pub events: Vec<StreamEvent>,
}

/// Wakes who reads the state of rooms.
#[derive(Default)]
pub(crate) struct RoomReading(Arc<Notify>);

impl RoomReading {
    /// A room may have become one that can be read.
    pub(crate) fn look(&self) {
        self.0.notify_one();
    }
}

impl Repository {
    /// Applies a transaction of an application service, unless it was applied before.
    ///
    /// # Errors
    /// [`StorageError`] if it could not be committed: the homeserver has to repeat it.
    pub async fn apply_transaction(&self, transaction: Transaction) -> Result<(), StorageError> {
        let repository = self.clone();
        // Whoever sent it may be gone; what follows the commit is done all the same.
        let applied = self.0.background.finish(async move { repository.apply(transaction).await });
        applied.await.unwrap_or(Err(StorageError::Records(RecordsError::Closed)))
    }

    async fn apply(&self, transaction: Transaction) -> Result<(), StorageError> {
        let Transaction { server, id, events } = transaction;
        let (count, hides) = (events.len(), events.iter().any(may_hide));
        let apply = ApplyTransaction {
            tenant: server,
            transaction_id: id,
            events,
            now: self.0.clock.now(),
            naming: self.0.rules.linked.naming(),
        };
        if let TransactionOutcome::Applied(applied) = self.0.records.apply_transaction(apply).await? {
            self.0.metrics.transaction(count);
            if hides {
                self.forget_visibility();
            }
            for mxc in &applied.healed {
                self.0.call(mxc);
            }
            self.0.heard_of_rooms();
            self.0.told().await;
        }
        self.redactions_due().await;
        self.0.rooms_to_read.look();
        Ok(())
    }

    /// Has the homeservers ask us whether we listen, which is also when they send what they could not send before
    /// (client-server API, "Application service ping").
    pub fn greet_homeservers(&self) {
        for server in &self.0.servers {
            let Accounts::Homeserver(homeserver) = &server.accounts else { continue };
            if !homeserver.has_appservice() {
                continue;
            }
            let (homeserver, name) = (Arc::clone(homeserver), server.name.clone());
            self.0.background.while_open(async move {
                match homeserver.ping_appservice().await {
                    Ok(()) => tracing::debug!(server = %name, "the homeserver reaches this application service"),
                    Err(error) => tracing::warn!(
                        server = %name, %error,
                        "the homeserver does not reach this application service: it will send its events when it does"
                    ),
                }
            });
        }
    }
}

/// Whether somebody may not see any more, from this event on, what they saw before. Of redactions it is decided elsewhere
/// whether they count.
fn may_hide(event: &StreamEvent) -> bool {
    match event.event_type.as_str() {
        "m.room.history_visibility" => true,
        "m.room.member" => {
            let membership = event.content.get("membership").and_then(|membership| membership.as_str());
            membership.and_then(Membership::parse) != Some(Membership::Join)
        }
        _ => false,
    }
}

impl Inner {
    fn appservice(&self, server: &ServerName) -> Option<&Homeserver> {
        self.homeserver(server).map(|homeserver| &**homeserver).filter(|homeserver| homeserver.has_appservice())
    }
}

/// Reads the state of rooms that are not known, until the repository is closed.
pub(crate) fn read_rooms(inner: &Arc<Inner>) {
    if !inner.servers.iter().any(|server| inner.appservice(&server.name).is_some()) {
        return;
    }
    let observed: Observed = Arc::downgrade(inner);
    let (wanted, clock) = (Arc::clone(&inner.rooms_to_read.0), Arc::clone(&inner.clock));
    inner.background.while_open(async move {
        let mut lease = None;
        loop {
            let Some(inner) = observed.upgrade() else { return };
            if !inner.does("sweep:rooms", &mut lease).await {
                drop(inner);
                sleep(LOOK_AGAIN).await;
                continue;
            }
            let next = match read_due_rooms(&inner).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "what is known of rooms could not be written; it is tried again");
                    Some(clock.now() + LONGEST_WAIT)
                }
            };
            drop(inner);
            let alarm = clock.reaches(next.unwrap_or(Timestamp::NEVER));
            tokio::select! {
                () = wanted.notified() => {}
                () = alarm => {}
            }
        }
    });
}

/// Reads all that is to be read by now, and tells when there is more.
async fn read_due_rooms(inner: &Inner) -> Result<Option<Timestamp>, StorageError> {
    loop {
        let rooms = inner.records.rooms_to_read(inner.clock.now(), LOOKED_UP).await?;
        if rooms.is_empty() {
            break;
        }
        let mut readings = futures_util::stream::iter(rooms.into_iter().map(|room| read_room(inner, room)));
        let mut readings = readings.by_ref().buffer_unordered(AT_ONCE);
        while let Some(outcome) = readings.next().await {
            outcome?;
        }
    }
    inner.metrics.rooms(inner.records.count_rooms().await?);
    Ok(inner.records.next_room_to_read().await?)
}

async fn read_room(inner: &Inner, room: RoomToRead) -> Result<(), StorageError> {
    let later = |wait| Some(inner.clock.now() + wait);
    let Some(homeserver) = inner.appservice(&room.tenant) else {
        // Its application service was taken out of the configuration, and may come back.
        return Ok(inner.records.room_was_not_read(room, later(LONGEST_WAIT)).await?);
    };
    let members = inner.records.joined_local_members(&room.tenant, &room.room_id, ASKED).await?;
    if members.is_empty() {
        return Ok(inner.records.room_was_not_read(room, None).await?);
    }
    let mut why = None;
    for member in members {
        let Some(credentials) = homeserver.credentials_of(&member) else { break };
        // Before it is asked: what comes after this is newer than the answer, or in it.
        let asked_at = inner.records.stream_position(&room.tenant).await?;
        match homeserver.room_state(&credentials, &room.room_id, &STATE_TYPES).await {
            Ok(state) => {
                let state = state.into_iter().filter_map(|event| StreamEvent::from_json(event).ok()).collect();
                let outcome = inner.records.apply_state(ApplyState { room, asked_at, state }).await?;
                if outcome == StateOutcome::Outdated {
                    tracing::debug!("a room was left while its state was read");
                }
                inner.heard_of_rooms();
                return Ok(());
            }
            // Somebody else may be in it still.
            Err(error @ QuestionError::Hidden) => why = Some(error),
            Err(error) => {
                why = Some(error);
                break;
            }
        }
    }
    inner.metrics.room_not_read();
    let wait = FIRST_WAIT.saturating_mul(1 << room.failures.min(10)).min(LONGEST_WAIT);
    if let Some(error) = why {
        tracing::warn!(room = %room.room_id, server = %room.tenant, %error, "a room's state cannot be read; it is tried again");
    }
    Ok(inner.records.room_was_not_read(room, later(wait)).await?)
}
