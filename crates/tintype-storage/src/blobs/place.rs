//! Several processes on one folder of blobs, on a filesystem that all of their machines have.
//!
//! ```text
//! media/ab/cd/abcd…-suffix         a blob, whoever brought it
//! media/partial/…                  blobs that arrive in several requests, at whichever node
//! media/nodes/NAME/tmp, /pending   what is arriving at one process, and its markers
//! media/nodes/NAME/lock            held for as long as that process runs; touched every minute
//! media/lock                       held by all of them together, or by one that wants the folder for itself
//! ```
//!
//! What a process leaves that is gone, another one removes: once it gets its lock, *and* the lock was not touched for
//! [`SILENCE`]. Either alone would do where locks and clocks are what they should be. The lock also tells a process that is
//! only paused from one that is gone; the silence protects those on a filesystem that keeps locks to its own machine. Times
//! are compared as the file server writes them, so that the clocks of the machines do not matter.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tintype_domain::Randomness;

use super::{
    BlobsError, Files, Location, PartialName, Sweep,
    files::{random_name, remove_files, remove_if_there},
    incoming::run_blocking,
};

/// How long a process that shares a folder is silent before what it left counts as left.
pub const SILENCE: Duration = Duration::from_mins(10);

/// Where a process writes what is its own.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// Held for as long as this is there; none where the folder is not shared.
    lock: Option<File>,
}

impl Place {
    /// The folder of blobs itself.
    pub(super) fn whole(root: &Path) -> Result<Self, BlobsError> {
        make(root)?;
        Ok(Self { folder: root.to_owned(), lock: None })
    }

    /// A new folder below it.
    fn among(root: &Path, randomness: &dyn Randomness) -> Result<Self, BlobsError> {
        let (nodes, name) = (root.join("nodes"), random_name(randomness));
        let (hidden, folder) = (nodes.join(format!(".{name}")), nodes.join(name));
        make(&hidden)?;
        let lock = File::create_new(hidden.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        // From here on the others see it, and that it is locked.
        fs::rename(&hidden, &folder)?;
        File::open(&nodes)?.sync_all()?;
        Ok(Self { folder, lock: Some(lock) })
    }

    pub(super) fn arriving(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub(super) fn pending(&self) -> PathBuf {
        self.folder.join("pending")
    }

    /// Touches the lock, and returns what time the file server wrote.
    fn touch(&self) -> io::Result<Option<SystemTime>> {
        let Some(lock) = &self.lock else { return Ok(None) };
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        rustix::fs::futimens(lock, &rustix::fs::Timestamps { last_access: now, last_modification: now })?;
        lock.metadata()?.modified().map(Some)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Nothing is left where it ends in order. Where something is, the others find it.
            let emptied = [self.arriving(), self.pending()].iter().try_for_each(fs::remove_dir);
            let _ = emptied.and_then(|()| fs::remove_file(self.folder.join("lock")));
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// What a process left that is gone. While this is there nobody else looks at it.
#[derive(Debug)]
pub struct Left {
    folder: PathBuf,
    /// Blobs with a marker: each may lack a record.
    marked: Vec<Location>,
    /// None where the folder is that of the blobs.
    lock: Option<File>,
}

impl Left {
    /// The blobs that may lack a record.
    pub fn marked(&self) -> &[Location] {
        &self.marked
    }
}

impl Files {
    /// Opens the folder for one of several servers, and creates it if there is none.
    ///
    /// # Errors
    /// [`BlobsError::InUse`] if a process serves it alone; [`BlobsError::Io`] if it cannot be created or written to.
    pub fn open_among_others(root: &Path, randomness: &Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let mut files = Self::open_shared(root, Arc::clone(randomness))?;
        let lock = File::options().create(true).truncate(false).write(true).read(true).open(root.join("lock"))?;
        match lock.try_lock_shared() {
            Ok(()) => files.lock = Some(Arc::new(lock)),
            Err(TryLockError::WouldBlock) => return Err(BlobsError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        files.place = Arc::new(Place::among(root, &**randomness)?);
        Ok(files)
    }

    /// Opens the folder to add to it beside a server that may be running, whether or not it has the folder for itself.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it cannot be created or written to.
    pub fn open_beside(root: &Path, randomness: &Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let mut files = Self::open_shared(root, Arc::clone(randomness))?;
        files.place = Arc::new(Place::among(root, &**randomness)?);
        Ok(files)
    }

    /// Whether other processes write to this folder, too.
    pub fn is_among_others(&self) -> bool {
        self.place.lock.is_some()
    }

    /// Says that this process is there. Those on one folder have to, every minute.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it cannot be written.
    pub async fn be_seen(&self) -> Result<(), BlobsError> {
        let place = Arc::clone(&self.place);
        run_blocking(move || place.touch().map(drop)).await
    }

    /// What processes left that are gone and were silent for so long.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if a folder cannot be listed.
    pub async fn left(&self, silent_for: Duration) -> Result<Vec<Left>, BlobsError> {
        let (root, place) = (Arc::clone(&self.root), Arc::clone(&self.place));
        run_blocking(move || {
            let mut left = left(&root, &place, silent_for)?;
            if place.lock.is_some() {
                // Of one that had the folder for itself: it is gone, since it would not have let anybody in.
                left.push(Left { folder: root.to_path_buf(), marked: marked(&root.join("pending"))?, lock: None });
            }
            Ok(left)
        })
        .await
    }

    /// Removes it: what was arriving, and those of its marked blobs that have no record.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if a file cannot be removed. What was left is still left then.
    pub async fn clear(&self, left: Left, unrecorded: &[Location]) -> Result<Sweep, BlobsError> {
        for location in unrecorded {
            self.remove(location).await?;
        }
        let unrecorded = unrecorded.len() as u64;
        run_blocking(move || {
            // Whoever looks what the server depends on, beside it, is there for a moment only.
            let temporary = remove_files(&left.folder.join("tmp"), |name| !name.starts_with("probe-"))?;
            for location in &left.marked {
                remove_if_there(&left.folder.join("pending").join(location.as_str()))?;
            }
            if left.lock.is_some() {
                fs::remove_dir_all(&left.folder)?;
            }
            Ok(Sweep { temporary, unrecorded, partial: 0 })
        })
        .await
    }

    /// The partial blobs that are there. One that no record names *after* this was asked is nobody's: its name is recorded
    /// before it is made, and never twice.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the folder cannot be listed.
    pub async fn partial_names(&self) -> Result<Vec<PartialName>, BlobsError> {
        let folder = self.root.join("partial");
        run_blocking(move || Ok(names_in(&folder)?.iter().filter_map(|name| PartialName::parse(name)).collect())).await
    }
}

/// The blobs that have a marker in this folder.
pub(super) fn marked(pending: &Path) -> io::Result<Vec<Location>> {
    Ok(names_in(pending)?.iter().filter_map(|name| Location::parse(name)).collect())
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn make(folder: &Path) -> io::Result<()> {
    ["tmp", "pending"].iter().try_for_each(|name| fs::create_dir_all(folder.join(name)))
}

/// What was left by those that are gone.
fn left(root: &Path, place: &Place, silent_for: Duration) -> io::Result<Vec<Left>> {
    let now = place.touch()?;
    let entries = match fs::read_dir(root.join("nodes")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut left = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        if folder == place.folder {
            continue;
        }
        let lock = match File::options().write(true).open(folder.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It has just left in order, or was killed while it came or went: an empty folder goes.
                let _ = fs::remove_dir(folder.join("tmp")).and_then(|()| fs::remove_dir(folder.join("pending")));
                let _ = fs::remove_dir(folder);
                continue;
            }
            lock => lock?,
        };
        // By the time of whoever looks where that one has no lock to touch: it has the folder for itself.
        let seen = lock.metadata()?.modified()?;
        let is_silent = now.is_none_or(|now| now.duration_since(seen).is_ok_and(|silence| silence >= silent_for));
        match lock.try_lock() {
            Ok(()) if is_silent => {
                let marked = marked(&folder.join("pending"))?;
                left.push(Left { folder, marked, lock: Some(lock) });
            }
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(left)
}
