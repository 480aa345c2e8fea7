//! An upload: limits, then bytes to stable storage, then the record, then the answer.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use tintype_domain::{ContentHash, Lifetime, MediaId, Mxc, OwnedServerName, OwnedUserId, Timestamp, User};
use tintype_storage::{
    blobs::{BlobsError, Hashed, Incoming, Location, PartialName},
    records::{Body, InsertMedia, InsertOutcome, MediaKind, NewAudience, NewBlob, NewLifetime, Quota, RecordsError},
};

use crate::{
    Caller, EphemeralRules, Inner, RateLimited, Repository, StorageError, UnrestrictedError, rates::Action, scrub,
};

/// The longest `Content-Type` that is kept, in bytes. Types that are in use take less than a hundred.
pub(crate) const MAX_CONTENT_TYPE: usize = 1024;

/// The longest file name that is kept, in bytes. File systems allow 255.
pub(crate) const MAX_FILENAME: usize = 1024;

/// What the uploader says of the body.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The server it is uploaded to.
    pub server_name: OwnedServerName,
    /// The `Content-Type`, kept byte for byte.
    pub content_type: Vec<u8>,
    /// The file name.
    pub filename: Option<String>,
    /// The length of the body in bytes, if the sender says.
    pub content_length: Option<u64>,
    /// What is to become of it.
    pub kind: UploadKind,
}

/// What an upload is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    /// Media that is kept, for everybody.
    Kept,
    /// Media that its uploader can delete (MSC4425).
    Ephemeral,
    /// Media that only its uploader sees until it is attached to something (MSC3911).
    Restricted,
}

/// An upload that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its name.
    pub mxc: Mxc,
    /// How long it lives.
    pub lifetime: Lifetime,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke, or what came is not HTTP.
    #[error("the upload broke off: {0}")]
    Broken(String),
    /// Nothing came for too long.
    #[error("the upload stopped arriving")]
    Stalled,
}

/// Why an upload was refused. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Only users upload, and not guests.
    #[error("guests cannot upload media")]
    Guest,
    /// Media that is for everybody is not taken (MSC3911).
    #[error(transparent)]
    Unrestricted(#[from] UnrestrictedError),
    /// Too many uploads.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The body is larger than allowed.
    #[error("the upload is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The user's quota is reached.
    #[error("the user's storage quota is reached")]
    OverQuota {
        /// Where the user can read more.
        info_uri: Option<String>,
    },
    /// The `Content-Type` is longer than is kept.
    #[error("the Content-Type is longer than {MAX_CONTENT_TYPE} bytes")]
    ContentTypeTooLong,
    /// The file name is longer than is kept.
    #[error("the file name is longer than {MAX_FILENAME} bytes")]
    FilenameTooLong,
    /// The body broke off.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<RecordsError> for ReceiveError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<BlobsError> for ReceiveError {
    fn from(error: BlobsError) -> Self {
        Self::Storage(error.into())
    }
}

/// Media that has everything but its bytes.
struct NewMedia {
    mxc: Mxc,
    content_type: Vec<u8>,
    filename: Option<String>,
    uploader: OwnedUserId,
    created_at: Timestamp,
    lifetime: NewLifetime,
    audience: NewAudience,
}

impl NewMedia {
    fn with(self, blob: NewBlob, quota: Quota) -> InsertMedia {
        let Self { mxc, content_type, filename, uploader, created_at, lifetime, audience } = self;
        InsertMedia { mxc, blob, content_type, filename, uploader, created_at, quota, lifetime, audience }
    }
}

/// A body that has arrived.
enum Arrived {
    Small(Bytes),
    Large(Hashed),
}

/// The user, who must not be a guest.
pub(crate) fn uploader(caller: &Caller) -> Result<&User, ReceiveError> {
    caller.requester.user().filter(|user| !user.guest).ok_or(ReceiveError::Guest)
}

/// Whether what the uploader says of the body can be kept.
pub(crate) fn check_labels(upload: &Upload) -> Result<(), ReceiveError> {
    if upload.content_type.len() > MAX_CONTENT_TYPE {
        return Err(ReceiveError::ContentTypeTooLong);
    }
    if upload.filename.as_ref().is_some_and(|name| name.len() > MAX_FILENAME) {
        return Err(ReceiveError::FilenameTooLong);
    }
    Ok(())
}

impl Repository {
    /// Stores an upload, and returns its name when it is on stable storage.
    ///
    /// # Errors
    /// A [`ReceiveError`]; nothing of the upload is left then.
    pub async fn receive(
        &self,
        caller: &Caller,
        upload: Upload,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Received, ReceiveError> {
        let uploader = uploader(caller)?;
        self.0.limiters.check(Action::Upload, caller)?;
        self.0.limiters.check_kind(upload.kind, caller)?;
        Box::pin(self.check_kind(caller, uploader, upload.kind)).await?;
        check_labels(&upload)?;
        self.check_size(uploader, upload.content_length).await?;
        let arrived = self.arrive(&upload, body).await?;
        let mxc = Mxc { server_name: upload.server_name, media_id: MediaId::random(&*self.0.randomness) };
        // From now on, however long it took to arrive.
        let now = self.0.clock.now();
        let kind = self.0.kind(upload.kind, uploader, now);
        let media = NewMedia {
            mxc: mxc.clone(),
            content_type: upload.content_type,
            filename: upload.filename,
            uploader: uploader.user_id.clone(),
            created_at: now,
            lifetime: self.0.lifetime_of(kind),
            audience: audience_of(kind),
        };
        let lifetime = lifetime_given(media.lifetime);
        match arrived {
            Arrived::Small(bytes) => self.record_small(media, bytes).await?,
            Arrived::Large(hashed) => {
                let repository = self.clone();
                // Finished even if the client has gone: a blob is never left without its record.
                let recording = self.0.background.finish(async move { repository.record_large(media, hashed).await });
                recording.await.map_err(|error| BlobsError::from(std::io::Error::other(error)))??;
            }
        }
        Ok(Received { mxc, lifetime })
    }

    /// Whether an upload of so many bytes, if that is known, may begin.
    pub(crate) async fn check_size(&self, uploader: &User, length: Option<u64>) -> Result<(), ReceiveError> {
        let rules = &self.0.rules;
        if length.is_some_and(|length| length > rules.max_upload_size) {
            return Err(ReceiveError::TooLarge { limit: rules.max_upload_size });
        }
        // The record decides in the end; this only spares both sides a transfer that cannot succeed.
        if rules.quota != Quota::UNLIMITED {
            let usage = self.0.records.usage(&uploader.user_id).await?;
            if !rules.quota.allows(usage, length.unwrap_or(0)) {
                return Err(self.over_quota());
            }
        }
        Ok(())
    }

    /// Takes the body: a small one into memory, a larger one into a temporary file.
    async fn arrive(
        &self,
        upload: &Upload,
        mut body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Arrived, ReceiveError> {
        let rules = &self.0.rules;
        let expected = upload.content_length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut small = BytesMut::with_capacity(expected.min(rules.inline_size));
        let mut large: Option<Incoming> = None;
        let mut size = 0_u64;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            if size > rules.max_upload_size {
                return Err(ReceiveError::TooLarge { limit: rules.max_upload_size });
            }
            if large.is_none() && (small.len() + chunk.len() > rules.inline_size || expected > rules.inline_size) {
                let mut incoming = self.0.blobs.receive().await?;
                incoming.write(std::mem::take(&mut small).freeze()).await?;
                large = Some(incoming);
            }
            match &mut large {
                Some(incoming) => incoming.write(chunk).await?,
                None => small.extend_from_slice(&chunk),
            }
        }
        Ok(match large {
            Some(incoming) => Arrived::Large(incoming.finish().await?),
            None => Arrived::Small(small.freeze()),
        })
    }

    /// Records bytes together with the media that they are: one transaction does both.
    async fn record_small(&self, media: NewMedia, bytes: Bytes) -> Result<(), ReceiveError> {
        let size = bytes.len() as u64;
        let blob = NewBlob { sha256: ContentHash::of(&bytes), size, body: Body::Inline(bytes) };
        let outcome = self.0.records.insert_media(media.with(blob, self.0.rules.quota)).await?;
        self.conclude(&outcome, size)
    }

    /// Gives a blob its name, then its record.
    async fn record_large(&self, media: NewMedia, hashed: Hashed) -> Result<(), ReceiveError> {
        let (records, blobs) = (&self.0.records, &self.0.blobs);
        let (sha256, size) = (hashed.sha256, hashed.size);
        let location = blobs.publish(hashed).await?;
        let blob = NewBlob { sha256, size, body: Body::At(location.clone()) };
        let outcome = records.insert_media(media.with(blob, self.0.rules.quota)).await;
        match &outcome {
            Ok(InsertOutcome::Inserted) => blobs.recorded(&location).await,
            // The same bytes were there before, or the quota is reached: no record names this blob.
            Ok(_) => self.discard(&location).await,
            Err(_) => self.discard_if_unrecorded(&location).await,
        }
        self.conclude(&outcome?, size)
    }

    /// What an upload's sender is told of its record.
    pub(crate) fn conclude(&self, outcome: &InsertOutcome, size: u64) -> Result<(), ReceiveError> {
        match outcome {
            InsertOutcome::Inserted | InsertOutcome::Deduplicated => {
                self.0.metrics.uploaded(size);
                Ok(())
            }
            InsertOutcome::OverQuota | InsertOutcome::OverEphemeralQuota => Err(self.over_quota()),
        }
    }

    /// Removes a blob that no record names.
    pub(crate) async fn discard(&self, location: &Location) {
        match scrub::mend(&self.0, location).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                // Whether it took the place of another one is not known.
                tracing::warn!(%error, location = location.as_str(), "an unneeded blob stays until the next start");
                return;
            }
        }
        if let Err(error) = self.0.blobs.remove(location).await {
            tracing::warn!(%error, location = location.as_str(), "an unneeded blob stays until the next start");
        }
    }

    /// Removes what is kept of an upload that nobody will go on with.
    pub(crate) async fn discard_partial(&self, name: &PartialName) {
        if let Err(error) = self.0.blobs.remove_partial(name).await {
            tracing::warn!(%error, file = name.as_str(), "an unneeded partial upload stays until the next start");
        }
    }

    /// After a failure it is not certain that nothing was committed: the records are asked before anything is removed.
    /// If they do not answer either, the blob keeps its marker and is asked about again, in a while or at the next start.
    pub(crate) async fn discard_if_unrecorded(&self, location: &Location) {
        if self.settle_blob(location).await.is_err() {
            self.0.unsettled.lock().expect("nobody panics with it").push(location.clone());
        }
    }

    /// Asks again about the blobs of which it is not known whether they were recorded.
    pub(crate) async fn settle_blobs(&self) -> Result<(), RecordsError> {
        loop {
            let Some(location) = self.0.unsettled.lock().expect("nobody panics with it").pop() else { return Ok(()) };
            if let Err(error) = self.settle_blob(&location).await {
                self.0.unsettled.lock().expect("nobody panics with it").push(location);
                return Err(error);
            }
        }
    }

    async fn settle_blob(&self, location: &Location) -> Result<(), RecordsError> {
        if self.0.records.is_recorded(location).await? {
            self.0.blobs.recorded(location).await;
        } else {
            self.discard(location).await;
        }
        Ok(())
    }

    fn over_quota(&self) -> ReceiveError {
        ReceiveError::OverQuota { info_uri: self.0.rules.limit_info_uri.clone() }
    }
}

impl Inner {
    /// What is recorded of an upload of this kind by this user, who can attach it from this time on.
    pub(crate) fn kind(&self, kind: UploadKind, user: &User, from: Timestamp) -> MediaKind {
        match kind {
            UploadKind::Kept => MediaKind::Kept,
            UploadKind::Ephemeral => MediaKind::Ephemeral,
            UploadKind::Restricted => MediaKind::Restricted { unattached_until: self.unattached_until(user, from) },
        }
    }

    /// When restricted media of this user goes that can be attached from this time on, and is not. Of users whose media
    /// stays never, and of nobody else.
    pub(crate) fn unattached_until(&self, user: &User, from: Timestamp) -> Timestamp {
        let stays = user.admin || self.rules.linked.unswept_users.contains(&user.user_id);
        if stays { Timestamp::NEVER } else { self.ends_unattached(from) }
    }

    /// The same of users whose media does not stay: some time, however late.
    pub(crate) fn ends_unattached(&self, from: Timestamp) -> Timestamp {
        (from + self.rules.linked.unattached_after).min(Timestamp(Timestamp::NEVER.as_millis() - 1))
    }

    /// How long new media of this kind lives, from now on.
    pub(crate) fn lifetime_of(&self, kind: MediaKind) -> NewLifetime {
        let EphemeralRules { max_age, quota } = self.rules.ephemeral;
        match kind {
            MediaKind::Kept | MediaKind::Restricted { .. } => NewLifetime::Kept,
            MediaKind::Ephemeral => {
                let expires_at = max_age.map_or(Timestamp::NEVER, |age| self.clock.now() + age);
                NewLifetime::Ephemeral { expires_at, quota }
            }
        }
    }
}

/// Who may see new media of this kind.
pub(crate) fn audience_of(kind: MediaKind) -> NewAudience {
    match kind {
        MediaKind::Restricted { unattached_until } => NewAudience::Uploader { unattached_until },
        MediaKind::Kept | MediaKind::Ephemeral => NewAudience::Everyone,
    }
}

fn lifetime_given(lifetime: NewLifetime) -> Lifetime {
    match lifetime {
        NewLifetime::Kept => Lifetime::Kept,
        NewLifetime::Ephemeral { expires_at, .. } => Lifetime::Ephemeral { expires_at },
    }
}
