//! What the repository counts, for the operator.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use tintype_storage::records::Concluded;
use tintype_storage::records::RoomCounts;

use crate::Asker;

/// Counters of a repository.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    uploads: Counter,
    uploaded_bytes: Counter,
    thumbnails_made: Counter,
    thumbnails_failed: Counter,
    thumbnails_refused: Counter,
    thumbnails_waiting: Gauge,
    reservations_pending: Gauge,
    reservations_expired: Counter,
    pub(crate) downloads_waiting: Gauge,
    downloads_streaming: Gauge,
    pub(crate) waits_ended_early: Counter,
    fetches: Counter,
    fetches_failed: Counter,
    fetched_bytes: Counter,
    evicted: Counter,
    remote_cache_bytes: Gauge,
    removals_pending: Gauge,
    blobs_checked: Counter,
    blobs_checked_bytes: Counter,
    blobs_damaged: Gauge,
    blobs_missing: Gauge,
    strays_removed: Counter,
    ephemeral_deleted: Counter,
    ephemeral_ended: Counter,
    judged_visible: Counter,
    judged_hidden: Counter,
    judged_undecided: Counter,
    restricted_unattached: Counter,
    copies: Counter,
    servers_refused: Counter,
    redactions_applied: Counter,
    redactions_rejected: Counter,
    redactions_pending: Gauge,
    redacted_media_removed: Counter,
    erasures: Counter,
    stream_transactions: Counter,
    stream_events: Counter,
    rooms_known: Gauge,
    rooms_unknown: Gauge,
    room_states_failed: Counter,
    attachments: Counter,
    attachments_refused: Counter,
    attachments_unknown: Counter,
    redirected_clients: Counter,
    redirected_servers: Counter,
}

impl Metrics {
    pub(crate) fn redirected(&self, asker: Asker) {
        match asker {
            Asker::Client => self.redirected_clients.inc(),
            Asker::Server => self.redirected_servers.inc(),
        };
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "redirected_clients",
            "Requests of clients that were answered with another place",
            self.redirected_clients.clone(),
        );
        registry.register(
            "redirected_servers",
            "Requests of other servers that were answered with another place",
            self.redirected_servers.clone(),
        );
        registry.register("uploads", "Uploads that were stored", self.uploads.clone());
        registry.register_with_unit(
            "uploaded",
            "Bytes of uploads that were stored",
            Unit::Bytes,
            self.uploaded_bytes.clone(),
        );
        registry.register("thumbnails_made", "Thumbnails that were made", self.thumbnails_made.clone());
        registry.register(
            "thumbnails_failed",
            "Pictures of which no thumbnail could be made",
            self.thumbnails_failed.clone(),
        );
        registry.register(
            "thumbnails_refused",
            "Thumbnails that were not made because too many were waiting",
            self.thumbnails_refused.clone(),
        );
        registry.register(
            "thumbnails_waiting",
            "Thumbnails being made or waiting to be",
            self.thumbnails_waiting.clone(),
        );
        registry.register(
            "reservations_pending",
            "URIs that wait for their upload, those that expired in the last minute included",
            self.reservations_pending.clone(),
        );
        registry.register(
            "reservations_expired",
            "URIs that expired without an upload",
            self.reservations_expired.clone(),
        );
        registry.register(
            "downloads_waiting",
            "Downloads and thumbnails that wait for an upload",
            self.downloads_waiting.clone(),
        );
        registry.register(
            "downloads_streaming",
            "Downloads that read an upload while it arrives",
            self.downloads_streaming.clone(),
        );
        registry.register(
            "waits_ended_early",
            "Downloads and thumbnails whose wait was ended to make room, or because the server stopped",
            self.waits_ended_early.clone(),
        );
        registry.register("fetches", "Media that was asked of other servers", self.fetches.clone());
        registry.register("fetches_failed", "Media that other servers did not give", self.fetches_failed.clone());
        registry.register_with_unit(
            "fetched",
            "Bytes of media that other servers gave",
            Unit::Bytes,
            self.fetched_bytes.clone(),
        );
        registry.register(
            "remote_cache_evicted",
            "Responses of other servers that are not kept any more",
            self.evicted.clone(),
        );
        registry.register_with_unit(
            "remote_cache",
            "Bytes of media of other servers that are kept, as of the last minute",
            Unit::Bytes,
            self.remote_cache_bytes.clone(),
        );
        registry.register(
            "removals_pending",
            "Files of deleted media that are still to be removed, as of the last minute",
            self.removals_pending.clone(),
        );
        registry.register("blobs_checked", "Blobs that were read and compared", self.blobs_checked.clone());
        registry.register_with_unit(
            "blobs_checked",
            "Bytes of blobs that were read and compared",
            Unit::Bytes,
            self.blobs_checked_bytes.clone(),
        );
        registry.register(
            "blobs_damaged",
            "Blobs whose bytes are not those that were stored, as of the last minute",
            self.blobs_damaged.clone(),
        );
        registry.register(
            "blobs_missing",
            "Blobs that are not there, as of the last minute",
            self.blobs_missing.clone(),
        );
        registry.register(
            "stray_blobs_removed",
            "What was removed from the blob store since no record named it",
            self.strays_removed.clone(),
        );
        registry.register("ephemeral_deleted", "Ephemeral media that was deleted", self.ephemeral_deleted.clone());
        registry.register("ephemeral_ended", "Ephemeral media that its owner forgot", self.ephemeral_ended.clone());
        registry.register(
            "judged_visible",
            "Requests for restricted media by those who may see it",
            self.judged_visible.clone(),
        );
        registry.register(
            "judged_hidden",
            "Requests for restricted media by those who may not see it, or whom the homeserver does not know",
            self.judged_hidden.clone(),
        );
        registry.register(
            "judged_undecided",
            "Requests for restricted media that were refused because the homeserver did not say who may see it",
            self.judged_undecided.clone(),
        );
        registry.register(
            "restricted_unattached",
            "Restricted media that was removed because it was attached to nothing in time",
            self.restricted_unattached.clone(),
        );
        registry.register(
            "servers_refused",
            "Linked media that was not given to other servers",
            self.servers_refused.clone(),
        );
        registry.register("copies", "Copies of media that were made", self.copies.clone());
        self.register_attachments(registry);
        self.register_redactions(registry);
        self.register_stream(registry);
    }

    fn register_stream(&self, registry: &mut Registry) {
        registry.register(
            "stream_transactions",
            "Transactions of homeservers that were applied",
            self.stream_transactions.clone(),
        );
        registry.register("stream_events", "Events of rooms that homeservers told of", self.stream_events.clone());
        registry.register("rooms_known", "Rooms with a user of ours whose members are known", self.rooms_known.clone());
        registry.register(
            "rooms_unknown",
            "Rooms with a user of ours whose state has not been read yet",
            self.rooms_unknown.clone(),
        );
        registry.register(
            "room_states_failed",
            "Times that a homeserver did not give the state of a room",
            self.room_states_failed.clone(),
        );
    }

    fn register_redactions(&self, registry: &mut Registry) {
        registry.register(
            "redactions_applied",
            "Events that the homeserver redacted, whether media belonged to them or not",
            self.redactions_applied.clone(),
        );
        registry.register(
            "redactions_rejected",
            "Redactions that the homeserver did not apply",
            self.redactions_rejected.clone(),
        );
        registry.register(
            "redactions_pending",
            "Redactions of which it is not known yet whether the homeserver applied them",
            self.redactions_pending.clone(),
        );
        registry.register(
            "redacted_media_removed",
            "Media that was removed because its event was redacted",
            self.redacted_media_removed.clone(),
        );
        registry.register("erasures", "Users all of whose media was erased", self.erasures.clone());
    }

    /// Events are redacted from now on.
    pub(crate) fn redactions_applied(&self, events: usize) {
        self.redactions_applied.inc_by(events as u64);
    }

    /// A redaction was not applied.
    pub(crate) fn redaction_rejected(&self) {
        self.redactions_rejected.inc();
    }

    /// So many redactions are not decided yet.
    pub(crate) fn redactions_pending(&self, redactions: u64) {
        self.redactions_pending.set(i64::try_from(redactions).unwrap_or(i64::MAX));
    }

    /// Media of redacted events was removed.
    pub(crate) fn redacted_media_removed(&self, media: usize) {
        self.redacted_media_removed.inc_by(media as u64);
    }

    /// A user was erased.
    pub(crate) fn erased(&self) {
        self.erasures.inc();
    }

    /// A homeserver's transaction with so many events was applied.
    pub(crate) fn transaction(&self, events: usize) {
        self.stream_transactions.inc();
        self.stream_events.inc_by(events as u64);
    }

    /// So many rooms are followed.
    pub(crate) fn rooms(&self, rooms: RoomCounts) {
        self.rooms_known.set(i64::try_from(rooms.known).unwrap_or(i64::MAX));
        self.rooms_unknown.set(i64::try_from(rooms.unknown).unwrap_or(i64::MAX));
    }

    pub(crate) fn room_not_read(&self) {
        self.room_states_failed.inc();
    }

    fn register_attachments(&self, registry: &mut Registry) {
        registry.register("attachments", "Requests that attached media", self.attachments.clone());
        registry.register(
            "attachments_refused",
            "Requests with media to attach that the homeserver refused",
            self.attachments_refused.clone(),
        );
        registry.register(
            "attachments_unknown",
            "Attempts to attach media of which it was not known what became of them",
            self.attachments_unknown.clone(),
        );
    }

    /// Ephemeral media was deleted by its owner.
    pub(crate) fn deleted(&self, media: u64) {
        self.ephemeral_deleted.inc_by(media);
    }

    /// It was written down what became of a request that attaches media.
    pub(crate) fn attachment_ended(&self, concluded: &Concluded) {
        match concluded {
            Concluded::Attached(_) => self.attachments.inc(),
            Concluded::Freed(_) => self.attachments_refused.inc(),
            Concluded::Unknown => self.attachments_unknown.inc(),
            Concluded::Over => return,
        };
    }

    /// Ephemeral media ended by itself.
    pub(crate) fn ended(&self, media: usize) {
        self.ephemeral_ended.inc_by(media as u64);
    }

    /// Another server was not given linked media.
    pub(crate) fn server_refused(&self) {
        self.servers_refused.inc();
    }

    /// Media was copied.
    pub(crate) fn copied(&self) {
        self.copies.inc();
    }

    /// Restricted media went because nobody attached it.
    pub(crate) fn unattached(&self, media: usize) {
        self.restricted_unattached.inc_by(media as u64);
    }

    pub(crate) fn judged_visible(&self) {
        self.judged_visible.inc();
    }

    pub(crate) fn judged_hidden(&self) {
        self.judged_hidden.inc();
    }

    pub(crate) fn judged_undecided(&self) {
        self.judged_undecided.inc();
    }

    pub(crate) fn fetch_began(&self) {
        self.fetches.inc();
    }

    pub(crate) fn fetch_failed(&self) {
        self.fetches_failed.inc();
    }

    pub(crate) fn fetched(&self, bytes: u64) {
        self.fetched_bytes.inc_by(bytes);
    }

    pub(crate) fn evicted(&self, responses: usize) {
        self.evicted.inc_by(responses as u64);
    }

    pub(crate) fn remote_cache(&self, bytes: u64) {
        self.remote_cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn removals_pending(&self, files: u64) {
        self.removals_pending.set(i64::try_from(files).unwrap_or(i64::MAX));
    }

    pub(crate) fn blob_checked(&self, bytes: u64) {
        self.blobs_checked.inc();
        self.blobs_checked_bytes.inc_by(bytes);
    }

    pub(crate) fn blobs_damaged(&self, damaged: u64, missing: u64) {
        self.blobs_damaged.set(i64::try_from(damaged).unwrap_or(i64::MAX));
        self.blobs_missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
    }

    pub(crate) fn stray_removed(&self) {
        self.strays_removed.inc();
    }

    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploads.inc();
        self.uploaded_bytes.inc_by(bytes);
    }

    /// So many URIs wait for their upload.
    pub(crate) fn pending(&self, reservations: u64) {
        self.reservations_pending.set(i64::try_from(reservations).unwrap_or(i64::MAX));
    }

    pub(crate) fn reserved(&self) {
        self.reservations_pending.inc();
    }

    pub(crate) fn fulfilled(&self) {
        self.reservations_pending.dec();
    }

    pub(crate) fn expired(&self, reservations: usize) {
        self.reservations_pending.dec_by(i64::try_from(reservations).unwrap_or(i64::MAX));
        self.reservations_expired.inc_by(reservations as u64);
    }

    /// Counts one download as reading what arrives until the guard is dropped.
    pub(crate) fn download_streams(&self) -> Counted {
        Counted::one(&self.downloads_streaming)
    }

    pub(crate) fn thumbnail_made(&self) {
        self.thumbnails_made.inc();
    }

    pub(crate) fn thumbnail_failed(&self) {
        self.thumbnails_failed.inc();
    }

    pub(crate) fn thumbnail_refused(&self) {
        self.thumbnails_refused.inc();
    }

    /// Counts one thumbnail as waiting until the guard is dropped.
    pub(crate) fn thumbnail_waits(&self) -> Counted {
        Counted::one(&self.thumbnails_waiting)
    }
}

/// Counts in a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn one(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
