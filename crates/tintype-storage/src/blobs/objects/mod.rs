//! Blobs as objects of a store that speaks S3, by OpenDAL.
//!
//! ```text
//! bucket:  prefix/ab/cd/abcd…-suffix   a blob
//! scratch: tmp/…, partial/…            blobs that are arriving, as in a folder of blobs
//!          pending/abcd…-suffix        an empty marker: this object may be there, but perhaps no record yet
//!          lock                        held while a server runs
//! ```
//!
//! What arrives is in a folder of this machine, the scratch folder, until it is whole: nothing can be read of an object
//! before it is. Then it is sent, and recorded only when the store has it.

mod error;
mod listing;
mod presigned;
mod stream;
mod transport;
mod unfinished;
mod upload;

pub use self::{presigned::PresignedHeaders, stream::ObjectStream};

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    fs::File,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use opendal::{BufferStream, HttpTransporter, OperationContext, Operator, services::S3};
use tintype_domain::Randomness;
use tokio::runtime::Handle;

use self::{error::blobs_error, transport::Transport, unfinished::Unfinished, upload::Uploads};
use super::{BlobsError, Cache, Files, Hashed, Location, PartialName, Sweep, incoming::run_blocking};

/// Uploads that failed and of which something may be left, at most.
const UNSENT: usize = 10_000;

/// A bucket, and how it is reached.
#[derive(Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What the names of all objects begin with, without a slash at either end; may be empty.
    pub prefix: String,
    /// The URL of the service.
    pub endpoint: String,
    /// The URL of the service as others know it, for URLs that are given to them; the same if it is not given.
    pub public_endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Who signs them.
    pub credentials: BucketCredentials,
    /// Where its name is in URLs.
    pub addressing: Addressing,
}

/// Who signs requests to a bucket.
#[derive(Clone)]
pub enum BucketCredentials {
    /// Whoever has this key.
    Key {
        /// Its ID.
        id: String,
        /// The secret.
        secret: String,
    },
    /// Whoever the machine says: the variables and files of AWS's tools, or the service of its cloud.
    Machine,
}

/// Where the name of a bucket is in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// In the path, as most services but Amazon's want it.
    Path,
    /// In the host.
    Host,
}

impl fmt::Debug for Bucket {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, prefix, endpoint, region, .. } = self;
        write!(f, "s3://{name}/{prefix} at {endpoint} in {region}")
    }
}

/// Blobs as objects of one bucket. Cheap to clone.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

struct Inner {
    store: Operator,
    /// The same bucket, for URLs that are given to others.
    presigner: Operator,
    /// Where blobs arrive.
    scratch: Files,
    /// What is kept near.
    cache: OnceLock<Cache>,
    uploads: Uploads,
    /// Multipart uploads that were begun; none where nobody is known who signs the question.
    unfinished: Option<Unfinished>,
    /// What failed for us, but may have reached the store all the same.
    unsent: Mutex<VecDeque<Location>>,
}

/// An object.
#[derive(Clone)]
pub struct Object {
    objects: Objects,
    location: Location,
    /// Its size in bytes, if it may be kept near.
    lasting: Option<u64>,
}

impl Objects {
    /// Opens a bucket for a server, and creates the scratch folder if there is none. The bucket is not asked yet. Requests
    /// are sent on the runtime that this is called on.
    ///
    /// # Errors
    /// [`BlobsError::InUse`] if another process uses the scratch folder; [`BlobsError::Io`] if it cannot be written to;
    /// [`BlobsError::Store`] if the settings cannot be right.
    pub fn open(bucket: &Bucket, scratch: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let scratch = Files::open(scratch, Arc::clone(&randomness))?;
        Self::with(bucket, scratch, randomness)
    }

    /// Opens a bucket beside a server that may be running: for diagnosis.
    ///
    /// # Errors
    /// As [`Objects::open`], without `InUse`.
    pub fn open_shared(bucket: &Bucket, scratch: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let scratch = Files::open_shared(scratch, Arc::clone(&randomness))?;
        Self::with(bucket, scratch, randomness)
    }

    /// Opens a bucket to add to it beside a server that may be running.
    ///
    /// # Errors
    /// As [`Objects::open`], without `InUse`.
    pub fn open_beside(bucket: &Bucket, scratch: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let scratch = Files::open_beside(scratch, &randomness)?;
        Self::with(bucket, scratch, randomness)
    }

    fn with(bucket: &Bucket, scratch: Files, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let service = |endpoint: &str| {
            let mut service = S3::default()
                .bucket(&bucket.name)
                .root(&format!("/{}", bucket.prefix))
                .endpoint(endpoint)
                .region(&bucket.region)
                // The store refuses what was changed on the way.
                .checksum_algorithm("crc32c");
            if bucket.addressing == Addressing::Host {
                service = service.enable_virtual_host_style();
            }
            if let BucketCredentials::Key { id, secret } = &bucket.credentials {
                // Nothing that happens to be in the environment takes the place of what is configured.
                service =
                    service.access_key_id(id).secret_access_key(secret).disable_config_load().disable_ec2_metadata();
            }
            service
        };
        let runtime = Handle::try_current().map_err(|error| BlobsError::Store(error.to_string()))?;
        let transport = HttpTransporter::new(Transport::new(runtime, randomness)?);
        let context = OperationContext::new().with_http_transport(transport.clone());
        let store = Operator::new(service(&bucket.endpoint)).map_err(|error| blobs_error(&error, None))?;
        let store = store.with_context(context.clone());
        let public = bucket.public_endpoint.as_ref().unwrap_or(&bucket.endpoint);
        let presigner = presigned::presigner(service(public), context)?;
        Ok(Self(Arc::new(Inner {
            store,
            presigner,
            scratch,
            cache: OnceLock::new(),
            uploads: Uploads::new(),
            unfinished: Unfinished::of(bucket, transport),
            unsent: Mutex::default(),
        })))
    }

    /// Where blobs arrive.
    pub(super) fn scratch(&self) -> &Files {
        &self.0.scratch
    }

    /// Sends the blob to the store. Until it is recorded it counts as possibly unrecorded, as in a folder.
    ///
    /// # Errors
    /// [`BlobsError::Unavailable`] if the store cannot take it at the moment; another [`BlobsError`] if it does not want
    /// to.
    pub(super) async fn publish(&self, blob: Hashed) -> Result<Location, BlobsError> {
        let location = self.0.scratch.mark(&blob).await?;
        let path = blob.path.path().to_owned();
        let sent = match run_blocking(move || File::open(path)).await {
            Ok(file) => self.0.uploads.send(&self.0.store, &key(&location), file, blob.size).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            // What failed for us may have reached the store all the same.
            self.remove_later(location);
            return Err(error);
        }
        Ok(location)
    }

    /// Sends the blob to the store, under a name that it has already elsewhere.
    ///
    /// # Errors
    /// As [`Objects::publish`].
    pub(super) async fn take_over(&self, blob: Hashed, location: &Location) -> Result<(), BlobsError> {
        let path = blob.path.path().to_owned();
        let file = run_blocking(move || File::open(path)).await?;
        self.0.uploads.send(&self.0.store, &key(location), file, blob.size).await
    }

    /// Whether there is such an object, of this size.
    ///
    /// # Errors
    /// [`BlobsError`] if the store does not say.
    pub(super) async fn has(&self, location: &Location, size: u64) -> Result<bool, BlobsError> {
        match self.0.store.stat(&key(location)).await {
            Ok(metadata) => Ok(metadata.content_length() == size),
            // An answer to HEAD has no words; that there is none is asked for with words.
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => {
                match self.object(location).begin(0..size.min(1)).await {
                    Err(BlobsError::NotFound(_)) => Ok(false),
                    outcome => outcome.map(|_| true),
                }
            }
            Err(error) => Err(blobs_error(&error, Some(location))),
        }
    }

    /// Keeps what lasts in this cache, from now on. It is given once.
    #[must_use]
    pub fn cached(self, cache: Cache) -> Self {
        // Only whoever opened them gives it.
        let _ = self.0.cache.set(cache);
        self
    }

    /// What is kept near.
    pub(super) fn cache(&self) -> Option<&Cache> {
        self.0.cache.get()
    }

    /// An object, whether it is there or not.
    pub(super) fn object(&self, location: &Location) -> Object {
        Object { objects: self.clone(), location: location.clone(), lasting: None }
    }

    /// An object of this size that may be kept near.
    pub(super) fn lasting_object(&self, location: &Location, size: u64) -> Object {
        Object { lasting: Some(size), ..self.object(location) }
    }

    fn forget(&self, location: &Location) {
        if let Some(cache) = self.cache() {
            cache.forget(location);
        }
    }

    /// Removes an object that no record names, and its marker. That it is not there is no error.
    ///
    /// # Errors
    /// [`BlobsError`] if it may still be there.
    pub(super) async fn remove(&self, location: &Location) -> Result<(), BlobsError> {
        self.forget(location);
        self.0.store.delete(&key(location)).await.map_err(|error| blobs_error(&error, None))?;
        // Somebody who came late may have loaded it meanwhile.
        self.forget(location);
        self.0.scratch.unmark(location).await
    }

    /// Notes that something may be left of an upload. What is not noted since there is too much of it is removed at the next
    /// start: its marker stays.
    fn remove_later(&self, location: Location) {
        let mut unsent = self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if unsent.len() < UNSENT {
            unsent.push_back(location);
        }
    }

    /// Removes what uploads left that failed. The first that cannot be removed ends it, and is tried again the next time.
    ///
    /// # Errors
    /// [`BlobsError`] if the store does not let it.
    pub(super) async fn remove_unsent(&self) -> Result<(), BlobsError> {
        loop {
            let Some(location) = self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else {
                return Ok(());
            };
            if let Err(error) = self.remove(&location).await {
                self.remove_later(location);
                return Err(error);
            }
        }
    }

    /// See [`super::Blobs::sweep`]. What cannot be removed since the store is away is removed later.
    pub(super) async fn sweep<E: From<BlobsError>>(
        &self,
        partial: HashSet<PartialName>,
        is_recorded: impl AsyncFn(&Location) -> Result<bool, E>,
    ) -> Result<Sweep, E> {
        let mut sweep = self.0.scratch.sweep_arriving(partial).await?;
        // Of processes that wrote beside a server; what they send has its name already.
        for left in self.0.scratch.left(Duration::ZERO).await? {
            sweep.temporary += self.0.scratch.clear(left, &[]).await?.temporary;
        }
        let mut is_away = false;
        for location in self.0.scratch.marked().await? {
            if is_recorded(&location).await? {
                self.0.scratch.recorded(&location).await;
                continue;
            }
            sweep.unrecorded += 1;
            if is_away || self.remove(&location).await.is_err() {
                // A server starts without its store too.
                is_away = true;
                self.remove_later(location);
            }
        }
        Ok(sweep)
    }

    /// Writes, reads back and removes a small object.
    ///
    /// # Errors
    /// [`BlobsError`] for the step that failed.
    pub(super) async fn probe(&self) -> Result<(), BlobsError> {
        self.0.scratch.probe().await?;
        let key = format!("probe/{}", self.0.scratch.random_name());
        let error = |error| blobs_error(&error, None);
        self.0.store.write(&key, &b"tintype"[..]).await.map_err(error)?;
        let read = self.0.store.read_with(&key).range(0..7).await.map_err(error);
        self.0.store.delete(&key).await.map_err(error)?;
        if read?.to_bytes() == "tintype" {
            Ok(())
        } else {
            Err(BlobsError::Store("what was written was not read back".to_owned()))
        }
    }

    /// Whether the scratch folder can be written to, and the store answers. Costs one request, which changes nothing.
    ///
    /// # Errors
    /// [`BlobsError`] if one of them does not.
    pub(super) async fn ready(&self) -> Result<(), BlobsError> {
        self.0.scratch.probe().await?;
        // Of an object that is not there. Its absence has to be said in words, which an answer to HEAD has none of: a bucket
        // that is not there is another matter.
        match self.0.store.read_with("probe/ready").range(0..1).await {
            Err(error) if !error::is_no_such_key(&error) => Err(blobs_error(&error, None)),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("scratch", &self.0.scratch).finish_non_exhaustive()
    }
}

impl Object {
    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// The bytes of `range`. Nothing is asked for before they are wanted.
    pub(super) fn stream(&self, range: Range<u64>) -> ObjectStream {
        ObjectStream::new(self.clone(), range)
    }

    /// The same; the first of them are there.
    ///
    /// # Errors
    /// [`BlobsError::NotFound`] if there is no such object; another [`BlobsError`] if it cannot be read.
    pub(super) async fn begin(&self, range: Range<u64>) -> Result<ObjectStream, BlobsError> {
        self.stream(range).begin().await
    }

    /// Its bytes, `size` of them, as a file without a name.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read, or not be written here.
    pub(super) async fn file(&self, size: u64) -> Result<File, BlobsError> {
        let mut bytes = self.begin(0..size).await?;
        let mut copy = self.objects.0.scratch.receive().await?;
        while let Some(piece) = bytes.next().await {
            copy.write(piece?).await?;
        }
        copy.into_file().await
    }

    /// All of it, from what is kept near, or loaded to be kept there; nothing if it is not of that kind, or cannot be loaded.
    async fn near(&self) -> Option<Bytes> {
        let (cache, size) = (self.objects.cache()?, self.lasting?);
        if !cache.takes(size) {
            return None;
        }
        let object = Self { lasting: None, ..self.clone() };
        cache.get(&self.location, object.load(size)).await
    }

    fn load(self, size: u64) -> BoxFuture<'static, Result<Bytes, BlobsError>> {
        async move {
            let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
            let mut stream = self.stream(0..size);
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece?);
            }
            Ok(bytes.freeze())
        }
        .boxed()
    }

    async fn get(&self, range: Range<u64>) -> opendal::Result<BufferStream> {
        self.objects.0.store.reader(&key(&self.location)).await?.into_stream(range).await
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("location", &self.location).finish_non_exhaustive()
    }
}

/// The name of an object, below the prefix: the path that its file would have.
fn key(location: &Location) -> String {
    location.relative_path().to_string_lossy().into_owned()
}
