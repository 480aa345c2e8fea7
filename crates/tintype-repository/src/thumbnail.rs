//! A small picture of the media: found, or made once for everybody who asks.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, Timestamp};
use tintype_homeserver::Refusal;
use tintype_storage::{
    blobs::{BlobsError, Location},
    records::{
        Body, FoundThumbnail, InsertOutcome, InsertRemote, InsertThumbnail, MediaRecord, NewBlob, Records,
        RecordsError, ThumbnailContent, ThumbnailKey, ThumbnailMethod, ThumbnailOutcome,
    },
};
use tintype_thumbnails::{Dimensions, Method, PoolError, Request, Thumbnail, ThumbnailError};

use crate::{
    Caller, Content, Elsewhere, FromOrigin, Missing, OpenError, RateLimited, Repository, StorageError,
    content::{LocalContent, Source, living},
    lives::Life,
    open::{CachedMedia, in_memory},
    rates::Action,
    visibility::Restriction,
};

/// A thumbnail as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThumbnailRequest {
    /// The least size wanted.
    pub size: Dimensions,
    /// How to fit it.
    pub method: Method,
}

/// A thumbnail that the caller may have.
#[derive(Debug, Clone)]
pub struct OpenedThumbnail {
    /// Its type.
    pub content_type: &'static str,
    /// The SHA-256 of its bytes.
    pub sha256: ContentHash,
    /// Its length in bytes.
    pub size: u64,
    /// When it, or what it was made from, was stored.
    pub created_at: Timestamp,
    /// How long what it was made from lives.
    pub lifetime: Lifetime,
    /// Whom what it was made from is for.
    pub audience: Audience,
    /// Its bytes.
    pub content: Content,
}

/// Why there is no thumbnail.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ThumbnailsError {
    /// Too many thumbnails were asked for, or are waiting to be made.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// There is no such media, or not for this requester.
    #[error("media not found")]
    NotFound,
    /// It is frozen for those who come without a token.
    #[error("media not found")]
    Frozen,
    /// The media is restricted, and the requester may not see what it is attached to (MSC3911).
    #[error("the media is not visible to you")]
    NotVisible,
    /// Nobody can say at the moment whether the requester may see the media.
    #[error("it cannot be decided who may see the media: {0}")]
    Undecided(String),
    /// The homeserver does not accept the requester's token, in its own words.
    #[error("the homeserver refuses the access token")]
    TokenRefused(Refusal),
    /// The media is another server's, with which none of ours speaks.
    #[error("there is no media from this server")]
    NotAPeer,
    /// The media is another server's, which did not give it.
    #[error("the media's server did not give it: {0}")]
    OriginFailed(String),
    /// The media is another server's, and too large to be taken or to be worked on.
    #[error("the media of another server is too large: {0}")]
    RemoteTooLarge(String),
    /// The media was promised, and did not come in time.
    #[error("the media has not been uploaded yet")]
    NotYetUploaded,
    /// No thumbnail can be made of this media.
    #[error("no thumbnail can be made of this media: {0}")]
    NotAPicture(String),
    /// The picture is too large to be worked on.
    #[error("the picture is too large for a thumbnail: {0}")]
    TooLarge(String),
    /// The media is fetched at another node, or the thumbnail is made there.
    #[error("the thumbnail is at another node")]
    Elsewhere(Elsewhere),
    /// The storage failed.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl From<OpenError> for ThumbnailsError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::RateLimited(limited) => Self::RateLimited(limited),
            OpenError::NotFound => Self::NotFound,
            OpenError::Frozen => Self::Frozen,
            // What is redacted is never asked for as a thumbnail.
            OpenError::NotVisible | OpenError::RedactedForOthers => Self::NotVisible,
            OpenError::Undecided(why) => Self::Undecided(why),
            OpenError::TokenRefused(refusal) => Self::TokenRefused(refusal),
            OpenError::NotAPeer => Self::NotAPeer,
            OpenError::TooLarge => Self::RemoteTooLarge("it is more than is taken from other servers".to_owned()),
            OpenError::OriginFailed(why) => Self::OriginFailed(why),
            OpenError::Elsewhere(elsewhere) => Self::Elsewhere(elsewhere),
            // Of media of ours thumbnails are sent elsewhere only when it is stored.
            OpenError::NotYetUploaded | OpenError::Misdirected => Self::NotYetUploaded,
            OpenError::Storage(error) => Self::Storage(error),
        }
    }
}

impl From<RecordsError> for ThumbnailsError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

impl From<BlobsError> for ThumbnailsError {
    fn from(error: BlobsError) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

/// What is remembered of a thumbnail.
#[derive(Debug)]
pub(crate) struct CachedThumbnail {
    pub(crate) content_type: &'static str,
    pub(crate) sha256: ContentHash,
    pub(crate) size: u64,
    pub(crate) body: Body,
    /// When it, or what it was made from, was stored.
    pub(crate) created_at: Timestamp,
    /// How long what it was made from lives.
    pub(crate) lifetime: Lifetime,
    /// Who may see what it was made from; none if it is everybody.
    pub(crate) restriction: Option<Restriction>,
}

impl CachedThumbnail {
    /// Whether it may be gone, or be somebody else's to see, at any moment: then it is never answered from memory.
    pub(crate) fn may_end(&self) -> bool {
        self.lifetime.is_ephemeral() || self.restriction.is_some()
    }

    /// Bytes of its body that are held in memory.
    pub(crate) fn body_in_memory(&self) -> usize {
        in_memory(&self.body)
    }
}

fn key_of(mxc: &Mxc, request: ThumbnailRequest) -> ThumbnailKey {
    ThumbnailKey {
        mxc: mxc.clone(),
        width: request.size.width(),
        height: request.size.height(),
        method: match request.method {
            Method::Scale => ThumbnailMethod::Scale,
            Method::Crop => ThumbnailMethod::Crop,
        },
    }
}

/// How long a client waits that came when too many were waiting.
const RETRY_WHEN_BUSY: Duration = Duration::from_secs(2);

impl Repository {
    /// Opens a thumbnail for the caller; makes it, if nobody has asked for it before. Media that was promised is waited
    /// for, no longer than `patience`, until it is whole.
    ///
    /// Requests for the same thumbnail at the same time make it once.
    ///
    /// # Errors
    /// A [`ThumbnailsError`].
    pub async fn thumbnail(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: ThumbnailRequest,
        patience: Duration,
        from_origin: FromOrigin,
    ) -> Result<OpenedThumbnail, ThumbnailsError> {
        self.0.limiters.check(Action::Thumbnail, caller)?;
        self.thumbnail_by(caller, key_of(mxc, request), request, patience, from_origin).await
    }

    /// Opens a thumbnail again whose bytes turned out not to be there when they were to be read.
    ///
    /// # Errors
    /// A [`ThumbnailsError`].
    pub async fn thumbnail_again(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: ThumbnailRequest,
        patience: Duration,
        from_origin: FromOrigin,
        missing: Missing,
    ) -> Result<OpenedThumbnail, ThumbnailsError> {
        let key = key_of(mxc, request);
        self.0.thumbnails.invalidate(&key).await;
        if !self.look_anew(mxc, missing.lost).await {
            return Err(missing.error.into());
        }
        self.thumbnail_by(caller, key, request, patience, from_origin).await
    }

    /// The same for a caller who was sent to another node, where there was nothing of it.
    ///
    /// # Errors
    /// A [`ThumbnailsError`]; it may be elsewhere again.
    pub async fn thumbnail_after(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: ThumbnailRequest,
        patience: Duration,
        from_origin: FromOrigin,
        earlier: &Elsewhere,
    ) -> Result<OpenedThumbnail, ThumbnailsError> {
        self.pause(earlier).await;
        let patience = self.patience_left(earlier).unwrap_or(patience);
        match Box::pin(self.thumbnail_by(caller, key_of(mxc, request), request, patience, from_origin)).await {
            Err(ThumbnailsError::Elsewhere(found)) => Err(self
                .still_elsewhere(found, earlier)
                .map_or(ThumbnailsError::NotYetUploaded, ThumbnailsError::Elsewhere)),
            outcome => outcome,
        }
    }

    async fn thumbnail_by(
        &self,
        caller: &Caller,
        key: ThumbnailKey,
        request: ThumbnailRequest,
        patience: Duration,
        from_origin: FromOrigin,
    ) -> Result<OpenedThumbnail, ThumbnailsError> {
        let mxc = &key.mxc;
        if !self.0.is_ours(mxc) {
            return Box::pin(self.remote_thumbnail(caller, key, request, patience, from_origin)).await;
        }
        let media = self.find_whole(caller, mxc, patience).await?;
        let making = self.find_or_make(&media, key.clone(), request);
        if media.life.is_some() || self.0.is_deaf() {
            // What can be deleted is never answered from memory.
            let thumbnail = Box::pin(making).await?;
            return Ok(self.opened_thumbnail(&thumbnail, media.life.as_ref()).await?);
        }
        let thumbnail =
            Box::pin(self.0.thumbnails.try_get_with(key, making)).await.map_err(|error| (*error).clone())?;
        Ok(self.opened_thumbnail(&thumbnail, None).await?)
    }

    pub(crate) async fn opened_thumbnail(
        &self,
        thumbnail: &CachedThumbnail,
        life: Option<&Life>,
    ) -> Result<OpenedThumbnail, BlobsError> {
        let lasting = (life.is_none() && !thumbnail.may_end()).then_some(thumbnail.size);
        Ok(OpenedThumbnail {
            content_type: thumbnail.content_type,
            sha256: thumbnail.sha256,
            size: thumbnail.size,
            created_at: thumbnail.created_at,
            lifetime: thumbnail.lifetime,
            audience: thumbnail.restriction.as_ref().map_or(Audience::Everyone, |one| one.audience.clone()),
            content: living(self.content(&thumbnail.body, lasting).await?, life),
        })
    }

    async fn find_or_make(
        &self,
        media: &CachedMedia,
        key: ThumbnailKey,
        request: ThumbnailRequest,
    ) -> Result<Arc<CachedThumbnail>, ThumbnailsError> {
        if let Some(made) = self.find_made(media, &key).await? {
            return Ok(made);
        }
        // Held until it is recorded.
        let turn = self.turn_to_make(&key).await?;
        if turn.is_late()
            && let Some(made) = self.find_made(media, &key).await?
        {
            return Ok(made);
        }
        let made = self.make(media, request).await?;
        self.keep(media, made, |content_type, blob| {
            Some(Insertion::Ours(InsertThumbnail {
                key,
                content_type,
                blob,
                created_at: self.0.clock.now(),
                max_sizes: self.0.rules.thumbnails.max_sizes,
            }))
        })
        .await
    }

    /// A thumbnail that was made before.
    async fn find_made(
        &self,
        media: &CachedMedia,
        key: &ThumbnailKey,
    ) -> Result<Option<Arc<CachedThumbnail>>, RecordsError> {
        let Some(FoundThumbnail { content_type, content }) = self.0.records.find_thumbnail(key).await? else {
            return Ok(None);
        };
        let content_type = known_type(&content_type)
            .ok_or_else(|| RecordsError::Inconsistent(format!("the type of a thumbnail of {}", key.mxc)))?;
        Ok(Some(Arc::new(match content {
            ThumbnailContent::Original => media.as_its_own_thumbnail(content_type),
            ThumbnailContent::Own(record, body) => {
                let MediaRecord { created_at, lifetime, .. } = *media.record();
                let (sha256, size) = (record.sha256, record.size);
                let restriction = Restriction::of(media.record());
                CachedThumbnail { content_type, sha256, size, body, created_at, lifetime, restriction }
            }
        })))
    }

    pub(crate) async fn make(
        &self,
        media: &CachedMedia,
        request: ThumbnailRequest,
    ) -> Result<Thumbnail, ThumbnailsError> {
        let limits = self.0.rules.thumbnails.limits;
        let source = LocalContent::of(&self.content(&media.body, media.lasting()).await?, media.size()).await?;
        let size = media.size();
        let request = Request { size: request.size, method: request.method };
        let _waiting = self.0.metrics.thumbnail_waits();
        let outcome = self
            .0
            .painters
            .run(move || {
                tintype_thumbnails::thumbnail(Source::of(source)?, size, &request, &limits).map_err(Trouble::from)
            })
            .await;
        match outcome {
            Ok(Ok(thumbnail)) => {
                self.0.metrics.thumbnail_made();
                Ok(thumbnail)
            }
            Ok(Err(Trouble::Blobs(error))) => Err(error.into()),
            Ok(Err(Trouble::Picture(error))) => {
                self.0.metrics.thumbnail_failed();
                Err(error.into())
            }
            Err(PoolError::Full) => {
                self.0.metrics.thumbnail_refused();
                Err(RateLimited { retry_after: RETRY_WHEN_BUSY }.into())
            }
            Err(PoolError::Panicked) => {
                self.0.metrics.thumbnail_failed();
                Err(ThumbnailsError::NotAPicture("the decoder gave up".to_owned()))
            }
        }
    }

    /// Stores a thumbnail that was made, as `insertion` says of its type and its own bytes, if it has any. If it cannot be
    /// stored it is served all the same.
    pub(crate) async fn keep(
        &self,
        media: &CachedMedia,
        made: Thumbnail,
        insertion: impl FnOnce(&'static str, Option<NewBlob>) -> Option<Insertion>,
    ) -> Result<Arc<CachedThumbnail>, ThumbnailsError> {
        let (format, bytes) = match made {
            Thumbnail::Original { format, .. } => (format, None),
            Thumbnail::Encoded { format, bytes, .. } => (format, Some(Bytes::from(bytes))),
        };
        let content_type = format.content_type();
        let Some(bytes) = bytes else {
            if let Some(insertion) = insertion(content_type, None) {
                kept(insertion.run(&self.0.records).await.map(drop));
            }
            return Ok(Arc::new(media.as_its_own_thumbnail(content_type)));
        };
        let (sha256, size) = (ContentHash::of(&bytes), bytes.len() as u64);
        let body = Body::Inline(bytes.clone());
        if let Some(insertion) = insertion(content_type, Some(NewBlob { sha256, size, body })) {
            kept(if bytes.len() <= self.0.rules.inline_size {
                insertion.run(&self.0.records).await.map(drop)
            } else {
                let (repository, bytes) = (self.clone(), bytes.clone());
                // Finished even if everybody who waits for it goes away: a blob is never left without its record.
                let keeping = self.0.background.finish(async move { repository.keep_in_file(bytes, insertion).await });
                keeping.await.unwrap_or(Err(RecordsError::Closed))
            });
        }
        let MediaRecord { created_at, lifetime, .. } = *media.record();
        let (body, restriction) = (Body::Inline(bytes), Restriction::of(media.record()));
        Ok(Arc::new(CachedThumbnail { content_type, sha256, size, body, created_at, lifetime, restriction }))
    }

    async fn keep_in_file(&self, bytes: Bytes, insertion: Insertion) -> Result<(), RecordsError> {
        let written = async {
            let mut incoming = self.0.blobs.receive().await?;
            incoming.write(bytes).await?;
            self.0.blobs.publish(incoming.finish().await?).await
        };
        let location = match written.await {
            Ok(location) => location,
            Err(error) => {
                tracing::warn!(%error, "a thumbnail could not be written");
                return Ok(());
            }
        };
        match insertion.at(location.clone()).run(&self.0.records).await {
            Ok(ThumbnailOutcome::Inserted) => self.0.blobs.recorded(&location).await,
            Ok(ThumbnailOutcome::NotNeeded) => self.discard(&location).await,
            Err(error) => {
                self.discard_if_unrecorded(&location).await;
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The record of a thumbnail that was made: of media of ours, or of another server's.
pub(crate) enum Insertion {
    Ours(InsertThumbnail),
    Remote(InsertRemote),
}

impl Insertion {
    /// The same, with its bytes in the blob store.
    fn at(mut self, location: Location) -> Self {
        let blob = match &mut self {
            Self::Ours(insert) => insert.blob.as_mut(),
            Self::Remote(insert) => Some(&mut insert.blob),
        };
        if let Some(blob) = blob {
            blob.body = Body::At(location);
        }
        self
    }

    async fn run(self, records: &Records) -> Result<ThumbnailOutcome, RecordsError> {
        match self {
            Self::Ours(insert) => records.insert_thumbnail(insert).await,
            Self::Remote(insert) => Ok(match records.insert_remote(insert).await? {
                InsertOutcome::Inserted => ThumbnailOutcome::Inserted,
                _ => ThumbnailOutcome::NotNeeded,
            }),
        }
    }
}

/// A thumbnail that cannot be kept is served all the same.
fn kept(outcome: Result<(), RecordsError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "a thumbnail could not be kept; it will be made again");
    }
}

/// What can go wrong on the thread that makes a thumbnail.
enum Trouble {
    Blobs(BlobsError),
    Picture(ThumbnailError),
}

impl From<BlobsError> for Trouble {
    fn from(error: BlobsError) -> Self {
        Self::Blobs(error)
    }
}

impl From<ThumbnailError> for Trouble {
    fn from(error: ThumbnailError) -> Self {
        match error {
            ThumbnailError::Io(error) => Self::Blobs(error.into()),
            error => Self::Picture(error),
        }
    }
}

impl From<ThumbnailError> for ThumbnailsError {
    fn from(error: ThumbnailError) -> Self {
        match error {
            ThumbnailError::Unsupported { .. } | ThumbnailError::Malformed { .. } => {
                Self::NotAPicture(error.to_string())
            }
            ThumbnailError::TooManyPixels { .. }
            | ThumbnailError::TooManyBytes { .. }
            | ThumbnailError::TooMuchMemory { .. } => Self::TooLarge(error.to_string()),
            ThumbnailError::Io(error) => Self::Storage(Arc::new(BlobsError::from(error).into())),
        }
    }
}

/// The types that a thumbnail can have (client-server API, "Thumbnails").
pub(crate) fn known_type(name: &str) -> Option<&'static str> {
    ["image/jpeg", "image/png", "image/gif", "image/webp", "image/apng"].into_iter().find(|known| *known == name)
}
