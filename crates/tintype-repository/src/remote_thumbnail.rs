//! A thumbnail of another server's media: kept from earlier, made from what is kept here, or asked of the origin, which
//! costs less than to fetch the whole.

use std::{sync::Arc, time::Duration};

use tintype_domain::Requester;
use tintype_storage::records::{InsertRemote, MediaRecord, RemoteKey, RemoteResponse, RemoteSource, ThumbnailKey};

use crate::{
    Caller, FromOrigin, OpenError, OpenedThumbnail, RemoteThumbnails, Repository, ThumbnailRequest, ThumbnailsError,
    Wanted,
    lives::Life,
    open::CachedMedia,
    remote::{Lost, Remote, original},
    thumbnail::{CachedThumbnail, Insertion, known_type},
    visibility::{RedactedMedia, Restriction},
};

impl Repository {
    /// Opens a thumbnail of another server's media for the caller.
    ///
    /// # Errors
    /// A [`ThumbnailsError`].
    pub(crate) async fn remote_thumbnail(
        &self,
        caller: &Caller,
        key: ThumbnailKey,
        request: ThumbnailRequest,
        patience: Duration,
        from_origin: FromOrigin,
    ) -> Result<OpenedThumbnail, ThumbnailsError> {
        if !self.0.is_elsewhere(&key.mxc) || matches!(caller.requester, Requester::Server(_)) {
            return Err(ThumbnailsError::NotFound);
        }
        let find = async || {
            let (found, life) = loop {
                let life = self.0.lives.enter(&key.mxc);
                let found = self.find_remote_thumbnail(caller, &key, request, patience, from_origin).await?;
                if !life.is_over() {
                    break (found, life);
                }
                // The media went, or its server restricted it with this very answer: nothing older is to be remembered.
                self.0.thumbnails.invalidate(&key).await;
            };
            self.0.fetches.used(&remote_key(&key), self.0.clock.now());
            if let Some(restriction) = &found.restriction {
                self.admit(caller, &key.mxc, restriction, RedactedMedia::Hidden).await?;
            }
            let life = found.may_end().then_some(life);
            if life.as_ref().is_some_and(Life::is_over) {
                // It was taken away while this was asked.
                return Err(ThumbnailsError::NotFound);
            }
            Ok(self.opened_thumbnail(&found, life.as_ref()).await?)
        };
        let mut outcome = find().await;
        for lost in [Lost::Perhaps, Lost::Certainly] {
            match outcome {
                Err(ThumbnailsError::Storage(error)) if error.is_removed() => {
                    self.0.thumbnails.invalidate(&key).await;
                    self.find_anew(&key.mxc, lost).await;
                    outcome = find().await;
                }
                outcome => return outcome,
            }
        }
        outcome
    }

    async fn find_remote_thumbnail(
        &self,
        caller: &Caller,
        key: &ThumbnailKey,
        request: ThumbnailRequest,
        patience: Duration,
        from_origin: FromOrigin,
    ) -> Result<Arc<CachedThumbnail>, ThumbnailsError> {
        let frozen = self.is_frozen(caller, &key.mxc, self.0.clock.now());
        if frozen || from_origin == FromOrigin::CachedOnly {
            // Nothing is fetched for this caller; and nobody else is to share in that.
            let kept = match self.remembered_thumbnail(key).await {
                Some(kept) => Some(kept),
                None => self.kept_or_made(caller, key, request).await?,
            };
            return match kept {
                Some(kept) if !self.is_frozen(caller, &key.mxc, kept.created_at) => Ok(kept),
                _ if frozen => Err(ThumbnailsError::Frozen),
                _ => Err(ThumbnailsError::NotFound),
            };
        }
        match self.remembered_thumbnail(key).await {
            Some(kept) => Ok(kept),
            None => Box::pin(self.kept_or_fetched(caller, key, request, patience)).await,
        }
    }

    /// What is kept of it, or can be made of what is kept.
    async fn kept_or_made(
        &self,
        caller: &Caller,
        key: &ThumbnailKey,
        request: ThumbnailRequest,
    ) -> Result<Option<Arc<CachedThumbnail>>, ThumbnailsError> {
        if let Some(kept) = self.find_kept(&remote_key(key)).await?
            && let Some(thumbnail) = as_thumbnail(&kept)
        {
            self.remember_thumbnail(key, &thumbnail).await;
            return Ok(Some(thumbnail));
        }
        match self.find_kept(&original(&key.mxc)).await? {
            // Nothing is made for those from whom it would be kept.
            Some(media) if self.is_frozen(caller, &key.mxc, media.record().created_at) => Err(ThumbnailsError::Frozen),
            Some(media) => {
                self.admit_to_stored(caller, &key.mxc, &media, RedactedMedia::Hidden).await?;
                self.made_from(&media, key, request).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn kept_or_fetched(
        &self,
        caller: &Caller,
        key: &ThumbnailKey,
        request: ThumbnailRequest,
        patience: Duration,
    ) -> Result<Arc<CachedThumbnail>, ThumbnailsError> {
        if let Some(thumbnail) = self.kept_or_made(caller, key, request).await? {
            return Ok(thumbnail);
        }
        if self.0.rules.remote.thumbnails == RemoteThumbnails::FromOrigin {
            match self.fetched(caller, &remote_key(key), Wanted::Whole, patience).await {
                Ok(Remote::Stored(kept)) => {
                    if let Some(thumbnail) = as_thumbnail(&kept) {
                        self.remember_thumbnail(key, &thumbnail).await;
                        return Ok(thumbnail);
                    }
                }
                // An origin that makes none may still give what one can be made of.
                Ok(Remote::Arriving(_)) | Err(OpenError::OriginFailed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.fetched(caller, &original(&key.mxc), Wanted::Whole, patience).await? {
            Remote::Stored(media) => {
                self.admit_to_stored(caller, &key.mxc, &media, RedactedMedia::Hidden).await?;
                self.made_from(&media, key, request).await
            }
            Remote::Arriving(_) => Err(ThumbnailsError::NotYetUploaded),
        }
    }

    /// Made here, once for all who ask at the same time: each of them has waited for the media as long as it wanted.
    async fn made_from(
        &self,
        media: &CachedMedia,
        key: &ThumbnailKey,
        request: ThumbnailRequest,
    ) -> Result<Arc<CachedThumbnail>, ThumbnailsError> {
        let making = self.make_from(media, key, request);
        if media.life.is_some() || self.0.is_deaf() {
            // What may be gone at any moment is never answered from memory.
            return Box::pin(making).await;
        }
        let made = Box::pin(self.0.thumbnails.try_get_with_by_ref(key, making)).await;
        made.map_err(|error| (*error).clone())
    }

    async fn remembered_thumbnail(&self, key: &ThumbnailKey) -> Option<Arc<CachedThumbnail>> {
        if self.0.is_deaf() { None } else { self.0.thumbnails.get(key).await }
    }

    /// Keeps a thumbnail in memory, unless it may be gone at any moment.
    async fn remember_thumbnail(&self, key: &ThumbnailKey, thumbnail: &Arc<CachedThumbnail>) {
        if !thumbnail.may_end() && !self.0.is_deaf() {
            self.0.thumbnails.insert(key.clone(), Arc::clone(thumbnail)).await;
        }
    }

    /// It counts as old as what it is made from, and goes with it.
    async fn make_from(
        &self,
        media: &CachedMedia,
        key: &ThumbnailKey,
        request: ThumbnailRequest,
    ) -> Result<Arc<CachedThumbnail>, ThumbnailsError> {
        self.0.fetches.used(&original(&key.mxc), self.0.clock.now());
        // Held until it is recorded.
        let turn = self.turn_to_make(key).await?;
        if turn.is_late()
            && let Some(kept) = self.find_kept(&remote_key(key)).await?
            && let Some(thumbnail) = as_thumbnail(&kept)
        {
            return Ok(thumbnail);
        }
        let made = self.make(media, request).await.map_err(|error| match error {
            ThumbnailsError::TooLarge(why) => ThumbnailsError::RemoteTooLarge(why),
            error => error,
        })?;
        let insertion = |content_type: &'static str, blob| {
            Some(Insertion::Remote(InsertRemote {
                key: remote_key(key),
                // Where the original serves it is found again as the original.
                blob: blob?,
                content_type: content_type.as_bytes().to_vec(),
                filename: None,
                fetched_at: media.record().created_at,
                lifetime: media.record().lifetime,
                audience: media.record().audience.clone(),
                source: RemoteSource::Made,
            }))
        };
        self.keep(media, made, insertion).await
    }
}

fn remote_key(key: &ThumbnailKey) -> RemoteKey {
    let ThumbnailKey { mxc, width, height, method } = key.clone();
    RemoteKey { mxc, response: RemoteResponse::Thumbnail { width, height, method } }
}

/// What an origin gave as a thumbnail, if it is of a type that one can have: it is shown as what it says it is.
fn as_thumbnail(kept: &CachedMedia) -> Option<Arc<CachedThumbnail>> {
    let record = kept.record();
    let name = std::str::from_utf8(&record.content_type).ok()?;
    let essence = name.split(';').next()?.trim().to_ascii_lowercase();
    let content_type = known_type(&essence)?;
    let MediaRecord { sha256, size, created_at, lifetime, .. } = *record;
    let (body, restriction) = (kept.body.clone(), Restriction::of(record));
    Some(Arc::new(CachedThumbnail { content_type, sha256, size, body, created_at, lifetime, restriction }))
}
