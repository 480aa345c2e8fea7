//! A store in a bucket.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;
use tintype_domain::OsRandomness;
use tintype_services::SeaweedFs;
use tintype_storage::blobs::{Addressing, Blobs, Bucket, BucketCredentials, Objects};

/// A store, and the folder that blobs arrive in.
pub fn folder() -> (TempDir, Blobs) {
    let folder = TempDir::new().expect("a folder");
    let objects = open(&bucket(), folder.path());
    (folder, objects.into())
}

/// A new bucket.
pub fn bucket() -> Bucket {
    bucket_of(SeaweedFs::shared())
}

/// A new bucket of this server.
pub fn bucket_of(server: &SeaweedFs) -> Bucket {
    let bucket = server.bucket();
    Bucket {
        name: bucket.name,
        prefix: "a/prefix".to_owned(),
        endpoint: bucket.endpoint,
        public_endpoint: None,
        region: "us-east-1".to_owned(),
        credentials: BucketCredentials::Key {
            id: bucket.access_key_id.to_owned(),
            secret: bucket.secret_access_key.to_owned(),
        },
        addressing: Addressing::Path,
    }
}

/// The bucket, for blobs that arrive in this folder.
pub fn open(bucket: &Bucket, scratch: &Path) -> Objects {
    Objects::open(bucket, scratch, Arc::new(OsRandomness)).expect("a store")
}
