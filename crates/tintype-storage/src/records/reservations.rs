//! Reservations: URIs that were made for a later upload (MSC2246), and who is bringing it.
//!
//! `Reserved → Receiving → Stored` are told apart by rows: a reservation without a holder, one with a holder, a row in
//! `media`. Each step is one statement of the writer that names in its `WHERE` the state it starts from, so that of two
//! requests exactly one takes it.

use sqlx::FromRow;
use tintype_domain::{Mxc, OwnedUserId, Timestamp};

use super::{InsertMedia, InsertOutcome, NodeId, Records, RecordsError, Statement, linked::insert_link, usage::signed};
use crate::blobs::PartialName;
use crate::records::sql::{Connection, query, query_as};

/// A URI for a later upload.
#[derive(Debug, Clone)]
pub struct InsertReservation {
    /// Its name, which must be new.
    pub mxc: Mxc,
    /// Who may upload to it.
    pub creator: OwnedUserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it waits for its upload; [`Timestamp::NEVER`] for ever.
    pub expires_at: Timestamp,
    /// How many the creator may have open.
    pub max_pending: u64,
    /// What will become of the upload.
    pub kind: MediaKind,
}

/// What media is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Kept.
    Kept,
    /// Ephemeral (MSC4425).
    Ephemeral,
    /// Restricted: for its uploader, until it is attached to something (MSC3911).
    Restricted {
        /// When it goes if it is still attached to nothing; [`Timestamp::NEVER`] where it stays.
        unattached_until: Timestamp,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// It is reserved.
    Reserved,
    /// The creator has too many open ones.
    TooManyPending {
        /// When the first of them expires.
        next_expiry: Timestamp,
    },
}

/// What a resumable upload has brought so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// Its file.
    pub name: PartialName,
    /// Bytes that are kept of it.
    pub size: u64,
    /// How many there will be, if the sender said.
    pub length: Option<u64>,
    /// The `Content-Type`, byte for byte.
    pub content_type: Vec<u8>,
    /// The file name.
    pub filename: Option<String>,
}

/// What is known of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Who may upload to it.
    pub creator: OwnedUserId,
    /// Until when it waits for its upload.
    pub expires_at: Timestamp,
    /// Whether a request is bringing the upload.
    pub held: bool,
    /// The node of the request that brings it, or of the last one that did; none where there is one node only.
    pub node: Option<NodeId>,
    /// Whether it was given up as expired.
    pub swept: bool,
    /// What earlier requests brought.
    pub partial: Option<Partial>,
    /// What will become of the upload.
    pub kind: MediaKind,
}

/// Takes a reservation for one request.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which.
    pub mxc: Mxc,
    /// Who asks.
    pub user: OwnedUserId,
    /// When.
    pub now: Timestamp,
    /// A random number of the request.
    pub holder: i64,
    /// What becomes of the bytes of earlier requests.
    pub partial: ClaimPartial,
}

/// What becomes of the bytes of earlier requests.
#[derive(Debug, Clone)]
pub enum ClaimPartial {
    /// They are kept: the request goes on with them.
    Keep,
    /// They are forgotten, and another file is recorded in their place, if there is one.
    Replace(Option<Partial>),
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The request holds the reservation, which was so before.
    Claimed(Reservation),
    /// There is no such reservation, or no longer.
    NotFound,
    /// It is another user's.
    NotTheCreator,
    /// Its upload is recorded already.
    Stored {
        /// Its length in bytes.
        size: u64,
    },
    /// Another request holds it.
    Held,
    /// Nobody holds it, and what there is of its upload is kept by another node, which is alive.
    KeptElsewhere(NodeId),
}

/// Gives a reservation back.
#[derive(Debug, Clone)]
pub struct Release {
    /// Which.
    pub mxc: Mxc,
    /// Who held it.
    pub holder: i64,
    /// What is kept of the upload.
    pub partial: ReleasePartial,
}

/// What is kept of an upload whose request gives its reservation back.
#[derive(Debug, Clone)]
pub enum ReleasePartial {
    /// What is recorded already.
    Keep,
    /// This.
    Set(Option<Partial>),
}

/// Whether a reservation was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// Now, or by the same request before.
    GivenBack,
    /// The request did not hold it any more: its node was taken for dead, or the media was deleted. Nothing that it brought
    /// is recorded.
    Lost,
}

/// Records the upload, in place of its reservation.
#[derive(Debug, Clone)]
pub struct Fulfil {
    /// Who held the reservation.
    pub holder: i64,
    /// The media.
    pub media: InsertMedia,
}

/// A reservation that has expired, and the file that it no longer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub mxc: Mxc,
    /// What it held.
    pub partial: Option<PartialName>,
}

#[derive(FromRow)]
struct ReservationRow {
    creator: String,
    expires_at: i64,
    holder: Option<i64>,
    node: Option<i64>,
    swept: bool,
    ephemeral: bool,
    /// Of restricted media.
    unattached_until: Option<i64>,
    partial: Option<String>,
    partial_size: Option<i64>,
    length: Option<i64>,
    content_type: Option<Vec<u8>>,
    filename: Option<String>,
}

/// The columns of a [`ReservationRow`].
macro_rules! select_reservation {
    () => {
        "SELECT r.creator, r.expires_at, r.holder, r.node, r.swept = 1 AS swept, r.ephemeral = 1 AS ephemeral,
         l.unattached_until, r.partial, r.partial_size,
         r.length, r.content_type, r.filename
         FROM reservations r
         LEFT JOIN linked_media l ON l.server_name = r.server_name AND l.media_id = r.media_id
         WHERE r.server_name = $1 AND r.media_id = $2"
    };
}

impl Records {
    /// Reserves a URI, if its creator has not too many open ones.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing is reserved.
    pub async fn reserve(&self, reservation: InsertReservation) -> Result<ReserveOutcome, RecordsError> {
        self.write(reservation).await
    }

    /// The reservation of this name, which may have expired; none where there is none, or its upload is recorded.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_reservation(&self, mxc: &Mxc) -> Result<Option<Reservation>, RecordsError> {
        let row: Option<ReservationRow> = query_as(select_reservation!())
            .bind(mxc.server_name.as_str())
            .bind(mxc.media_id.as_str())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| row.into_reservation(mxc)).transpose()
    }

    /// Takes a reservation for one request of this node, if nobody else has it. What a node has that is dead nobody has.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, RecordsError> {
        self.write(ClaimHere { claim, node: self.me() }).await
    }

    /// Gives a reservation back.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn release(&self, release: Release) -> Result<ReleaseOutcome, RecordsError> {
        self.write(release).await
    }

    /// Records the upload in place of its reservation; none, if the request does not hold it any more.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was recorded.
    pub async fn fulfil(&self, fulfil: Fulfil) -> Result<Option<InsertOutcome>, RecordsError> {
        self.write(fulfil).await
    }

    /// Gives all reservations back that no node holds which is alive: whoever held one is gone. Where there is one node only
    /// that is all of them, at its start.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn release_all(&self) -> Result<(), RecordsError> {
        self.write(ReleaseAll).await
    }

    /// How many reservations wait for their upload, those included that expired since the last sweep.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn pending(&self) -> Result<u64, RecordsError> {
        let (count,): (i64,) =
            query_as("SELECT COUNT(*) FROM reservations WHERE swept = 0").fetch_one(&self.readers).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Marks reservations that have expired, `limit` of them at most, and returns those that were not marked before.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn expire(&self, now: Timestamp, limit: u32) -> Result<Vec<Expired>, RecordsError> {
        self.write(Expire { now, limit }).await
    }
}

impl ReservationRow {
    fn into_reservation(self, mxc: &Mxc) -> Result<Reservation, RecordsError> {
        let inconsistent = |what: &str| RecordsError::Inconsistent(format!("{what} of the reservation {mxc}"));
        let partial = self.partial.map(|name| {
            Ok::<_, RecordsError>(Partial {
                name: PartialName::parse(&name).ok_or_else(|| inconsistent("the file"))?,
                size: self
                    .partial_size
                    .and_then(|size| size.try_into().ok())
                    .ok_or_else(|| inconsistent("the size"))?,
                length: self.length.map(u64::try_from).transpose().map_err(|_| inconsistent("the length"))?,
                content_type: self.content_type.ok_or_else(|| inconsistent("the type"))?,
                filename: self.filename,
            })
        });
        Ok(Reservation {
            creator: self.creator.try_into().map_err(|_| inconsistent("the creator"))?,
            expires_at: Timestamp(self.expires_at),
            held: self.holder.is_some(),
            node: self.node.map(NodeId),
            swept: self.swept,
            partial: partial.transpose()?,
            kind: match self.unattached_until {
                Some(until) => MediaKind::Restricted { unattached_until: Timestamp(until) },
                None if self.ephemeral => MediaKind::Ephemeral,
                None => MediaKind::Kept,
            },
        })
    }
}

impl Statement for InsertReservation {
    type Output = ReserveOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<ReserveOutcome, RecordsError> {
        let inserted = query(
            "INSERT INTO reservations (server_name, media_id, creator, created_at, expires_at, ephemeral)
             SELECT $1, $2, $3, $4, $5, $7 WHERE
             (SELECT COUNT(*) FROM reservations WHERE creator = $3 AND swept = 0 AND expires_at > $4) < $6",
        )
        .bind(self.mxc.server_name.as_str())
        .bind(self.mxc.media_id.as_str())
        .bind(self.creator.as_str())
        .bind(self.created_at.as_millis())
        .bind(self.expires_at.as_millis())
        .bind(signed(self.max_pending))
        .bind(self.kind == MediaKind::Ephemeral)
        .execute(&mut *connection)
        .await?;
        if inserted.rows_affected() == 1 {
            if let MediaKind::Restricted { unattached_until } = self.kind {
                insert_link(connection, &self.mxc, &self.creator, self.created_at, unattached_until).await?;
            }
            return Ok(ReserveOutcome::Reserved);
        }
        let (next,): (Option<i64>,) =
            query_as("SELECT MIN(expires_at) FROM reservations WHERE creator = $1 AND swept = 0 AND expires_at > $2")
                .bind(self.creator.as_str())
                .bind(self.created_at.as_millis())
                .fetch_one(connection)
                .await?;
        Ok(ReserveOutcome::TooManyPending { next_expiry: next.map_or(Timestamp::NEVER, Timestamp) })
    }
}

/// A claim of a request of this node.
struct ClaimHere {
    claim: Claim,
    node: Option<i64>,
}

impl Statement for ClaimHere {
    type Output = ClaimOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<ClaimOutcome, RecordsError> {
        let claim = &self.claim;
        let claimed = query(
            // What a node kept that is gone is lost with it.
            "UPDATE reservations SET holder = $1, node = $6,
             partial = CASE WHEN node IS NULL OR node = $6 THEN partial END,
             partial_size = CASE WHEN node IS NULL OR node = $6 THEN partial_size END,
             length = CASE WHEN node IS NULL OR node = $6 THEN length END,
             content_type = CASE WHEN node IS NULL OR node = $6 THEN content_type END,
             filename = CASE WHEN node IS NULL OR node = $6 THEN filename END
             WHERE server_name = $2 AND media_id = $3 AND creator = $4 AND expires_at > $5 AND swept = 0
             AND (holder IS NULL OR holder = $1
                  OR (node IS NOT NULL AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = reservations.node)))
             AND (partial IS NULL OR node IS NULL OR node = $6
                  OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = reservations.node))",
        )
        .bind(claim.holder)
        .bind(claim.mxc.server_name.as_str())
        .bind(claim.mxc.media_id.as_str())
        .bind(claim.user.as_str())
        .bind(claim.now.as_millis())
        .bind(self.node)
        .execute(&mut *connection)
        .await?;
        let row: Option<ReservationRow> = query_as(select_reservation!())
            .bind(claim.mxc.server_name.as_str())
            .bind(claim.mxc.media_id.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return claim.refusal(connection).await };
        let mut reservation = row.into_reservation(&claim.mxc)?;
        if claimed.rows_affected() == 1 {
            reservation.held = false;
            if let ClaimPartial::Replace(partial) = &claim.partial {
                set_partial(connection, &claim.mxc, claim.holder, partial.as_ref(), Some(claim.holder)).await?;
            }
            return Ok(ClaimOutcome::Claimed(reservation));
        }
        Ok(if !reservation.held && (reservation.swept || reservation.expires_at <= claim.now) {
            ClaimOutcome::NotFound
        } else if reservation.creator != claim.user {
            ClaimOutcome::NotTheCreator
        } else if let Some(node) = reservation.node.filter(|_| !reservation.held) {
            ClaimOutcome::KeptElsewhere(node)
        } else {
            ClaimOutcome::Held
        })
    }
}

impl Claim {
    /// There is no reservation: there never was one, or its upload is recorded.
    async fn refusal(&self, connection: &mut Connection) -> Result<ClaimOutcome, RecordsError> {
        let row: Option<(String, i64)> = query_as(
            "SELECT m.uploader, b.size FROM media m JOIN blobs b ON b.id = m.blob_id
             WHERE m.server_name = $1 AND m.media_id = $2",
        )
        .bind(self.mxc.server_name.as_str())
        .bind(self.mxc.media_id.as_str())
        .fetch_optional(connection)
        .await?;
        Ok(match row {
            None => ClaimOutcome::NotFound,
            Some((uploader, _)) if uploader != self.user.as_str() => ClaimOutcome::NotTheCreator,
            Some((_, size)) => ClaimOutcome::Stored { size: u64::try_from(size).unwrap_or(0) },
        })
    }
}

impl Statement for Release {
    type Output = ReleaseOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<ReleaseOutcome, RecordsError> {
        let released = match &self.partial {
            ReleasePartial::Set(partial) => {
                set_partial(connection, &self.mxc, self.holder, partial.as_ref(), None).await?
            }
            ReleasePartial::Keep => {
                query("UPDATE reservations SET holder = NULL WHERE server_name = $1 AND media_id = $2 AND holder = $3")
                    .bind(self.mxc.server_name.as_str())
                    .bind(self.mxc.media_id.as_str())
                    .bind(self.holder)
                    .execute(&mut *connection)
                    .await?
                    .rows_affected()
            }
        };
        if released > 0 {
            return Ok(ReleaseOutcome::GivenBack);
        }
        // The answer to an earlier try may have been lost: then so much is recorded, or more by now. Its name alone says
        // nothing, since that is recorded with the claim.
        let ReleasePartial::Set(Some(partial)) = &self.partial else { return Ok(ReleaseOutcome::Lost) };
        let kept: Option<(i64,)> =
            query_as("SELECT expires_at FROM reservations WHERE partial = $1 AND partial_size >= $2")
                .bind(partial.name.as_str())
                .bind(signed(partial.size))
                .fetch_optional(connection)
                .await?;
        Ok(if kept.is_some() { ReleaseOutcome::GivenBack } else { ReleaseOutcome::Lost })
    }
}

/// Records what is kept of an upload, and who brings it from now on. Returns how many reservations that was: one, or none.
async fn set_partial(
    connection: &mut Connection,
    mxc: &Mxc,
    held_by: i64,
    partial: Option<&Partial>,
    holder: Option<i64>,
) -> Result<u64, RecordsError> {
    let set = query(
        "UPDATE reservations SET holder = $1, partial = $2, partial_size = $3, length = $4, content_type = $5,
         filename = $6 WHERE server_name = $7 AND media_id = $8 AND holder = $9",
    )
    .bind(holder)
    .bind(partial.map(|partial| partial.name.as_str()))
    .bind(partial.map(|partial| signed(partial.size)))
    .bind(partial.and_then(|partial| partial.length).map(signed))
    .bind(partial.map(|partial| partial.content_type.as_slice()))
    .bind(partial.and_then(|partial| partial.filename.as_deref()))
    .bind(mxc.server_name.as_str())
    .bind(mxc.media_id.as_str())
    .bind(held_by)
    .execute(connection)
    .await?;
    Ok(set.rows_affected())
}

impl Statement for Fulfil {
    type Output = Option<InsertOutcome>;

    async fn run(&self, connection: &mut Connection) -> Result<Option<InsertOutcome>, RecordsError> {
        let Mxc { server_name, media_id } = &self.media.mxc;
        let held: Option<(i64,)> = query_as(
            "SELECT CAST(1 AS BIGINT) FROM reservations WHERE server_name = $1 AND media_id = $2 AND holder = $3",
        )
        .bind(server_name.as_str())
        .bind(media_id.as_str())
        .bind(self.holder)
        .fetch_optional(&mut *connection)
        .await?;
        if held.is_none() {
            return Ok(None);
        }
        let outcome = self.media.run(connection).await?;
        if matches!(outcome, InsertOutcome::Inserted | InsertOutcome::Deduplicated) {
            query("DELETE FROM reservations WHERE server_name = $1 AND media_id = $2")
                .bind(server_name.as_str())
                .bind(media_id.as_str())
                .execute(connection)
                .await?;
        }
        Ok(Some(outcome))
    }
}

struct ReleaseAll;

impl Statement for ReleaseAll {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query(
            "UPDATE reservations SET holder = NULL WHERE swept = 0 AND holder IS NOT NULL
             AND (node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = reservations.node))",
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

struct Expire {
    now: Timestamp,
    limit: u32,
}

impl Statement for Expire {
    type Output = Vec<Expired>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Expired>, RecordsError> {
        let rows: Vec<(String, String, Option<String>)> = query_as(
            "SELECT server_name, media_id, partial FROM reservations
             WHERE swept = 0 AND expires_at <= $1 AND holder IS NULL ORDER BY expires_at LIMIT $2",
        )
        .bind(self.now.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut expired = Vec::with_capacity(rows.len());
        for (server_name, media_id, partial) in rows {
            query(
                "UPDATE reservations SET swept = 1, partial = NULL, partial_size = NULL, length = NULL,
                 content_type = NULL, filename = NULL WHERE server_name = $1 AND media_id = $2",
            )
            .bind(&server_name)
            .bind(&media_id)
            .execute(&mut *connection)
            .await?;
            let mxc = Mxc::from_parts(&server_name, &media_id)
                .map_err(|_| RecordsError::Inconsistent(format!("a reservation, {server_name}/{media_id}")))?;
            expired.push(Expired { mxc, partial: partial.as_deref().and_then(PartialName::parse) });
        }
        Ok(expired)
    }
}
