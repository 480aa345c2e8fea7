//! Blobs as files in a folder.
//!
//! ```text
//! media/ab/cd/abcd…-suffix   a blob
//! media/tmp/…                blobs that are arriving
//! media/partial/…            blobs that arrive in several requests
//! media/pending/abcd…-suffix an empty marker: this blob has its name, but perhaps no record yet
//! media/lock                 held while a server runs
//! ```
//!
//! Where several servers share the folder, `tmp` and `pending` are each one's own: see `place`.
//!
//! The markers are what makes the sweep after a crash quick and exact: only a blob with a marker can lack a record, so
//! only those are looked up, whatever the size of the folder.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use tintype_domain::Randomness;
use tokio::runtime::Handle;

use super::{
    BlobFile, BlobsError, Growing, Hashed, Incoming, Location,
    buffers::Buffers,
    incoming::{Dropped, run_blocking},
    place::{Place, marked},
};

/// Open files kept for the next reader.
const OPEN_FILES: u64 = 512;

/// How long an open file is kept without a reader.
const OPEN_FILE_IDLE: Duration = Duration::from_mins(1);

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Temporary files of uploads that never ended.
    pub temporary: u64,
    /// Blobs that never got a record.
    pub unrecorded: u64,
    /// Partial blobs that no record names.
    pub partial: u64,
}

/// The name of a blob that arrives in several requests. Never used twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartialName(Box<str>);

impl PartialName {
    /// A name that was never used before.
    pub fn random(randomness: &dyn Randomness) -> Self {
        Self(random_name(randomness).into())
    }

    /// Parses a name; none if it is not of the form that [`PartialName::random`] makes.
    pub fn parse(name: &str) -> Option<Self> {
        let valid = name.len() == 24 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn random_name(randomness: &dyn Randomness) -> String {
    let mut name = [0; 12];
    randomness.fill(&mut name);
    name.iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}"))
}

/// Blobs as files below one folder.
#[derive(Clone)]
pub struct Files {
    pub(super) root: Arc<Path>,
    /// Where this process writes what is not whole.
    pub(super) place: Arc<Place>,
    /// Where uploads are written: a connection's runtime may end before what it wrote is kept.
    runtime: Option<Handle>,
    randomness: Arc<dyn Randomness>,
    buffers: Buffers,
    open: Cache<Location, BlobFile>,
    /// Held by the one process that serves this folder, or by all that do.
    pub(super) lock: Option<Arc<File>>,
}

impl Files {
    /// Opens the folder for a server, and creates it if there is none.
    ///
    /// # Errors
    /// [`BlobsError::InUse`] if another process serves it; [`BlobsError::Io`] if it cannot be created or written to.
    pub fn open(root: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let mut files = Self::open_shared(root, randomness)?;
        let lock = File::create(files.root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => files.lock = Some(Arc::new(lock)),
            Err(fs::TryLockError::WouldBlock) => return Err(BlobsError::InUse(root.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(files)
    }

    /// Opens the folder beside a server that may be running: for diagnosis.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it cannot be created or written to.
    pub fn open_shared(root: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let place = Arc::new(Place::whole(root)?);
        fs::create_dir_all(root.join("partial"))?;
        sync_folder(root)?;
        Ok(Self {
            root: root.into(),
            place,
            runtime: Handle::try_current().ok(),
            randomness,
            buffers: Buffers::default(),
            open: Cache::builder().max_capacity(OPEN_FILES).time_to_idle(OPEN_FILE_IDLE).build(),
            lock: None,
        })
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// [`BlobsError`] if no temporary file can be created.
    pub async fn receive(&self) -> Result<Incoming, BlobsError> {
        let path = self.place.arriving().join(random_name(&*self.randomness));
        Incoming::create(path, Dropped::Removed, self.runtime.clone()).await
    }

    /// Begins a blob that may arrive in several requests.
    ///
    /// # Errors
    /// [`BlobsError`] if the file cannot be created.
    pub async fn receive_partial(&self, name: &PartialName) -> Result<Incoming, BlobsError> {
        Incoming::create(self.partial(name), Dropped::Left, self.runtime.clone()).await
    }

    /// Goes on with a blob of which `size` bytes were kept.
    ///
    /// # Errors
    /// [`BlobsError`] if the file cannot be opened, or is shorter.
    pub async fn resume(&self, name: &PartialName, size: u64) -> Result<Incoming, BlobsError> {
        Incoming::open(self.partial(name), size, self.runtime.clone()).await
    }

    /// Removes what was kept of a blob. That it is not there is no error.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it is still there.
    pub async fn remove_partial(&self, name: &PartialName) -> Result<(), BlobsError> {
        let path = self.partial(name);
        run_blocking(move || remove_if_there(&path)).await
    }

    /// Whether `size` bytes of a partial blob are there; what was written after them is cut off.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the file cannot be opened or cut.
    pub async fn cut_partial(&self, name: &PartialName, size: u64) -> Result<bool, BlobsError> {
        let path = self.partial(name);
        run_blocking(move || match fs::OpenOptions::new().write(true).open(path) {
            Ok(file) if file.metadata()?.len() < size => Ok(false),
            Ok(file) => file.set_len(size).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    /// Opens a blob that is being received for readers who do not wait for its end. `length` is its length in bytes,
    /// if it is known. From here on the readers see what is written.
    ///
    /// # Errors
    /// [`BlobsError`] if the file cannot be opened, or earlier bytes could not be written.
    pub async fn grow(&self, incoming: &mut Incoming, length: Option<u64>) -> Result<Arc<Growing>, BlobsError> {
        let (file, path) = incoming.file().await?;
        let file = BlobFile { file: Arc::new(file), path: Arc::new(path), buffers: self.buffers.clone() };
        let growing = Arc::new(Growing::new(file, 0, length));
        incoming.report_to(Arc::clone(&growing)).await?;
        Ok(growing)
    }

    /// Gives the blob its name, durably. Until [`Files::recorded`] is called it counts as possibly unrecorded, and a
    /// crash removes it unless a record names it.
    ///
    /// # Errors
    /// [`BlobsError`] if it cannot be renamed or its folder not be synced; nothing is left then.
    pub async fn publish(&self, blob: Hashed) -> Result<Location, BlobsError> {
        let location = Location::new(blob.sha256, &*self.randomness);
        let (marker, path) = (self.marker(&location), self.path(&location));
        run_blocking(move || {
            File::create_new(&marker)?;
            let published = match blob.path.dropped() {
                Dropped::Removed => durably(&path, || fs::rename(blob.path.path(), &path)),
                // What the records say of a partial blob holds until they say that it is whole.
                Dropped::Left => durably(&path, || {
                    fs::hard_link(blob.path.path(), &path).or_else(|error| match error.kind() {
                        // Not every filesystem has links.
                        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
                            fs::rename(blob.path.path(), &path)
                        }
                        _ => Err(error),
                    })
                }),
            };
            if published.is_ok() {
                blob.path.keep();
            } else {
                let _ = fs::remove_file(&marker);
            }
            published
        })
        .await?;
        Ok(location)
    }

    /// Takes a blob under a name that it has already elsewhere, durably.
    ///
    /// # Errors
    /// [`BlobsError`] if it cannot be renamed or its folder not be synced; nothing is left then.
    pub(super) async fn take_over(&self, blob: Hashed, location: &Location) -> Result<(), BlobsError> {
        let path = self.path(location);
        run_blocking(move || {
            durably(&path, || fs::rename(blob.path.path(), &path))?;
            blob.path.keep();
            Ok(())
        })
        .await
    }

    /// Whether there is such a file, of this size.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the system does not say.
    pub(super) async fn has(&self, location: &Location, size: u64) -> Result<bool, BlobsError> {
        let path = self.path(location);
        run_blocking(move || match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.len() == size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    /// Makes the marker of a blob that is kept elsewhere, before it is there. It is synced: there the folder does not tell.
    pub(super) async fn mark(&self, blob: &Hashed) -> Result<Location, BlobsError> {
        let location = Location::new(blob.sha256, &*self.randomness);
        let (marker, folder) = (self.marker(&location), self.place.pending());
        run_blocking(move || {
            File::create_new(marker)?;
            sync_folder(&folder)
        })
        .await?;
        Ok(location)
    }

    /// Removes the marker of a blob that is not kept elsewhere any more. That it is not there is no error.
    pub(super) async fn unmark(&self, location: &Location) -> Result<(), BlobsError> {
        let marker = self.marker(location);
        run_blocking(move || remove_if_there(&marker)).await
    }

    /// The blobs that have a marker.
    pub(super) async fn marked(&self) -> Result<Vec<Location>, BlobsError> {
        let pending = self.place.pending();
        run_blocking(move || marked(&pending)).await
    }

    /// A name that was never used before.
    pub(super) fn random_name(&self) -> String {
        random_name(&*self.randomness)
    }

    /// A record names this blob now.
    pub async fn recorded(&self, location: &Location) {
        let marker = self.marker(location);
        if let Err(error) = run_blocking(move || fs::remove_file(marker)).await {
            // Harmless: the next sweep finds the record and removes the marker.
            tracing::warn!(%error, location = location.as_str(), "a marker could not be removed");
        }
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`BlobsError::NotFound`] if it is not there; [`BlobsError::Io`] if it cannot be opened.
    pub async fn read(&self, location: &Location) -> Result<BlobFile, BlobsError> {
        if let Some(file) = self.open.get(location) {
            return Ok(file);
        }
        let path = self.path(location);
        let buffers = self.buffers.clone();
        let opened =
            run_blocking(move || Ok(BlobFile { file: Arc::new(File::open(&path)?), path: Arc::new(path), buffers }))
                .await;
        let file = opened.map_err(|error| match error {
            BlobsError::Io(error) if error.kind() == io::ErrorKind::NotFound => BlobsError::NotFound(location.clone()),
            error => error,
        })?;
        self.open.insert(location.clone(), file.clone());
        Ok(file)
    }

    /// Removes a blob that no record names, and its marker. That it is not there is no error.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it is still there.
    pub async fn remove(&self, location: &Location) -> Result<(), BlobsError> {
        self.open.invalidate(location);
        let (marker, path) = (self.marker(location), self.path(location));
        run_blocking(move || {
            remove_if_there(&path)?;
            remove_if_there(&marker)
        })
        .await
    }

    /// Removes what a crash left: temporary files, partial blobs other than those in `partial`, and blobs that
    /// `is_recorded` does not know.
    ///
    /// Call it before anything is received, and not where others share the folder. Markers for which `is_recorded` fails are
    /// left for the next sweep.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the folders cannot be listed or a file cannot be removed; `E` if `is_recorded` fails.
    pub async fn sweep<E: From<BlobsError>>(
        &self,
        partial: HashSet<PartialName>,
        is_recorded: impl AsyncFn(&Location) -> Result<bool, E>,
    ) -> Result<Sweep, E> {
        let mut sweep = self.sweep_arriving(partial).await?;
        for location in self.marked().await? {
            if is_recorded(&location).await? {
                self.recorded(&location).await;
            } else {
                self.remove(&location).await?;
                sweep.unrecorded += 1;
            }
        }
        // Of processes that wrote beside a server.
        for left in self.left(Duration::ZERO).await? {
            let mut unrecorded = Vec::new();
            for location in left.marked() {
                if !is_recorded(location).await? {
                    unrecorded.push(location.clone());
                }
            }
            let left = self.clear(left, &unrecorded).await?;
            sweep.temporary += left.temporary;
            sweep.unrecorded += left.unrecorded;
        }
        Ok(sweep)
    }

    /// Removes what a crash left of blobs that were arriving.
    pub(super) async fn sweep_arriving(&self, partial: HashSet<PartialName>) -> Result<Sweep, BlobsError> {
        let tmp = self.place.arriving();
        let temporary = run_blocking(move || remove_files(&tmp, |_| true)).await?;
        let folder = self.root.join("partial");
        let unknown = move |name: &str| PartialName::parse(name).is_none_or(|name| !partial.contains(&name));
        let partial = run_blocking(move || remove_files(&folder, unknown)).await?;
        Ok(Sweep { temporary, partial, unrecorded: 0 })
    }

    /// Writes, reads back and removes a few bytes.
    ///
    /// # Errors
    /// [`BlobsError`] for the step that failed.
    pub async fn probe(&self) -> Result<(), BlobsError> {
        let mut name = [0; 8];
        self.randomness.fill(&mut name);
        let path = self.place.arriving().join(format!("probe-{}", u64::from_ne_bytes(name)));
        run_blocking(move || {
            let written = fs::write(&path, b"tintype").and_then(|()| File::open(&path)?.sync_all());
            let read = written.and_then(|()| fs::read(&path));
            fs::remove_file(&path)?;
            if read? == b"tintype" { Ok(()) } else { Err(io::Error::other("what was written was not read back")) }
        })
        .await
    }

    /// Bytes that can still be written to the disk of this folder.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the system does not say.
    pub fn free_space(root: &Path) -> Result<u64, BlobsError> {
        let statistics = rustix::fs::statvfs(root).map_err(io::Error::from)?;
        Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
    }

    pub(super) fn path(&self, location: &Location) -> PathBuf {
        self.root.join(location.relative_path())
    }

    fn partial(&self, name: &PartialName) -> PathBuf {
        self.root.join("partial").join(name.as_str())
    }

    fn marker(&self, location: &Location) -> PathBuf {
        self.place.pending().join(location.as_str())
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Gives a synced file a name and syncs the folder of that name; folders that are made for it are synced into their own.
///
/// All syncs come last: a journalling filesystem commits everything with the first of them, and the others cost little.
fn durably(to: &Path, name: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let folder = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut changed = 1;
    match name() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            name()?;
            changed = 3;
        }
        outcome => outcome?,
    }
    folder.ancestors().take(changed).try_for_each(sync_folder).inspect_err(|_| {
        let _ = fs::remove_file(to);
    })
}

/// Removes files of a folder by their names, and returns how many.
pub(super) fn remove_files(folder: &Path, unneeded: impl Fn(&str) -> bool) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(&unneeded) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
