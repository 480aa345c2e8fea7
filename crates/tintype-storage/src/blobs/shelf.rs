//! What is in a store, whoever knows of it.
//!
//! It is looked at in 256 parts, one for each first byte of the hashes. And a store has a mark of each installation that
//! uses it, so that none takes for stray what another one keeps there.

use std::{fs, io, path::Path, time::SystemTime};

use tintype_domain::Timestamp;

use super::{Blobs, BlobsError, Files, Location, incoming::run_blocking};

/// The folder of the marks.
pub(super) const MARKS: &str = "installations";

/// Something that is in a store under the name of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub location: Location,
    /// Since when it has that, by the clock of the store.
    pub since: Timestamp,
}

impl Blobs {
    /// What there is of blobs whose hash begins with this byte.
    ///
    /// # Errors
    /// [`BlobsError`] if the store does not say.
    pub async fn shelf(&self, first: u8) -> Result<Vec<Stored>, BlobsError> {
        match self {
            Self::Files(files) => files.shelf(first).await,
            Self::Objects(objects) => objects.shelf(first).await,
            Self::Moving(moving) => {
                let mut all = Box::pin(moving.new_store().shelf(first)).await?;
                all.extend(Box::pin(moving.old_store().shelf(first)).await?);
                Ok(all)
            }
        }
    }

    /// Marks the store as used by this installation, and returns how many others have.
    ///
    /// # Errors
    /// [`BlobsError`] if the store fails.
    pub async fn mark_as_of(&self, installation: &str) -> Result<usize, BlobsError> {
        match self {
            Self::Files(files) => files.mark_as_of(installation).await,
            Self::Objects(objects) => objects.mark_as_of(installation).await,
            Self::Moving(moving) => {
                let new = Box::pin(moving.new_store().mark_as_of(installation)).await?;
                Ok(new + Box::pin(moving.old_store().mark_as_of(installation)).await?)
            }
        }
    }
}

impl Files {
    async fn shelf(&self, first: u8) -> Result<Vec<Stored>, BlobsError> {
        let folder = self.root.join(format!("{first:02x}"));
        run_blocking(move || {
            let mut all = Vec::new();
            for below in entries(&folder)? {
                for entry in entries(&below?.path())? {
                    stored(&entry?, &mut all)?;
                }
            }
            Ok(all)
        })
        .await
    }

    async fn mark_as_of(&self, installation: &str) -> Result<usize, BlobsError> {
        let folder = self.root.join(MARKS);
        let own = folder.join(installation);
        run_blocking(move || {
            fs::create_dir_all(&folder)?;
            fs::write(own, b"")?;
            Ok(fs::read_dir(&folder)?.count().saturating_sub(1))
        })
        .await
    }
}

/// What is in a folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        entries => Ok(Some(entries?).into_iter().flatten()),
    }
}

fn stored(entry: &fs::DirEntry, all: &mut Vec<Stored>) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let Some(location) = entry.file_name().to_str().and_then(Location::parse) else { return Ok(()) };
    match entry.metadata() {
        // Since when it has its name: its bytes may be older, if they arrived in several requests.
        Ok(metadata) => {
            let changed = metadata.ctime().saturating_mul(1000);
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let written = written.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
            let since = Timestamp(changed.max(i64::try_from(written).unwrap_or(i64::MAX)));
            all.push(Stored { location, since });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
