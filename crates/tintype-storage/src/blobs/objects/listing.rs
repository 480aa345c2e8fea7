//! What is in a bucket.

use futures_util::TryStreamExt as _;
use tintype_domain::Timestamp;

use super::{Objects, error::blobs_error};
use crate::blobs::{BlobsError, Location, Stored, shelf::MARKS};

impl Objects {
    /// Objects of blobs whose hash begins with this byte: a thousand with each request.
    pub(in crate::blobs) async fn shelf(&self, first: u8) -> Result<Vec<Stored>, BlobsError> {
        let prefix = format!("{first:02x}/");
        let error = |error| blobs_error(&error, None);
        let mut listed = self.0.store.lister_with(&prefix).recursive(true).await.map_err(error)?;
        let mut all = Vec::new();
        while let Some(entry) = listed.try_next().await.map_err(error)? {
            let Some(location) = entry.path().rsplit('/').next().and_then(Location::parse) else { continue };
            // What has no time is never old.
            let since = entry
                .metadata()
                .last_modified()
                .map_or(Timestamp::NEVER, |time| Timestamp(time.into_inner().as_millisecond()));
            all.push(Stored { location, since });
        }
        Ok(all)
    }

    pub(in crate::blobs) async fn mark_as_of(&self, installation: &str) -> Result<usize, BlobsError> {
        let error = |error| blobs_error(&error, None);
        let folder = format!("{MARKS}/");
        self.0.store.write(&format!("{folder}{installation}"), &b"tintype"[..]).await.map_err(error)?;
        let marks = self.0.store.list(&folder).await.map_err(error)?;
        Ok(marks.iter().filter(|mark| mark.path() != folder && !mark.path().ends_with(installation)).count())
    }
}
