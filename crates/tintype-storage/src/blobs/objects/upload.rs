//! A file on its way into the store.
//!
//! Up to [`ONE_REQUEST`] it is one request. Beyond, it goes in parts whose size grows with it, so that it takes about the
//! same number of requests whatever its size. Parts are in memory while they are sent, since each has to be signed and
//! may have to be sent again; all uploads of a node share what there is for that.

use std::{fs::File, io::Read as _, sync::Arc};

use opendal::{Operator, Writer};
use tokio::sync::Semaphore;

use super::error::blobs_error;
use crate::blobs::{BlobsError, incoming::run_blocking};

const MIB: u64 = 1024 * 1024;

/// The largest file that is sent in one request, and the least size of a part. S3 wants at least 5 MiB.
const ONE_REQUEST: u64 = 8 * MIB;

/// The largest part.
const LARGEST_PART: u64 = 64 * MIB;

/// Parts that a file is cut into, as long as they are not too small or too large.
const PARTS: u64 = 16;

/// What all uploads of a node may hold in memory together, in MiB.
const MEMORY: u32 = 256;

/// Sends files, within the memory that there is for it.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    memory: Arc<Semaphore>,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self { memory: Arc::new(Semaphore::new(MEMORY as usize)) }
    }

    /// Sends `size` bytes of the file, from its beginning. If that fails, nothing of it is readable in the store.
    pub(super) async fn send(&self, store: &Operator, key: &str, file: File, size: u64) -> Result<(), BlobsError> {
        let part = part_size(size);
        // One part is sent while the next is read.
        let at_once = if size <= ONE_REQUEST { size } else { 2 * part };
        let mib = u32::try_from(at_once.div_ceil(MIB)).unwrap_or(MEMORY).clamp(1, MEMORY);
        let _memory =
            self.memory.acquire_many(mib).await.map_err(|_| BlobsError::Unavailable("it is closed".into()))?;
        if size <= ONE_REQUEST {
            let (bytes, _) = read_part(file, size).await?;
            store.write(key, bytes).await.map_err(|error| blobs_error(&error, None))?;
            return Ok(());
        }
        let mut writer = store.writer(key).await.map_err(|error| blobs_error(&error, None))?;
        match send_parts(store, key, &mut writer, file, size, part).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Err(error) = writer.abort().await {
                    tracing::warn!(%error, key, "a multipart upload could not be aborted; the bucket's lifecycle rule does");
                }
                Err(error)
            }
        }
    }
}

fn part_size(size: u64) -> u64 {
    size.div_ceil(PARTS).clamp(ONE_REQUEST, LARGEST_PART)
}

async fn send_parts(
    store: &Operator,
    key: &str,
    writer: &mut Writer,
    mut file: File,
    size: u64,
    part: u64,
) -> Result<(), BlobsError> {
    let mut left = size;
    while left > 0 {
        let length = part.min(left);
        let (bytes, rest) = read_part(file, length).await?;
        file = rest;
        left -= length;
        writer.write(bytes).await.map_err(|error| blobs_error(&error, None))?;
    }
    let completed = writer.close().await;
    // The answer may have been lost on the way, and a store may have put together something else.
    match (completed, store.stat(key).await) {
        (_, Ok(metadata)) if metadata.content_length() == size => Ok(()),
        (Ok(_), Ok(metadata)) => {
            Err(BlobsError::Store(format!("of an object of {size} bytes the store has {}", metadata.content_length())))
        }
        (Ok(_), Err(error)) | (Err(error), _) => Err(blobs_error(&error, None)),
    }
}

/// The next `length` bytes of the file, and the file.
async fn read_part(mut file: File, length: u64) -> Result<(Vec<u8>, File), BlobsError> {
    run_blocking(move || {
        let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
        file.read_exact(&mut bytes)?;
        Ok((bytes, file))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_about_the_same_number_of_parts_whatever_its_size() {
        for (size, part) in [(ONE_REQUEST + 1, 8), (100 * MIB, 8), (128 * MIB, 8), (512 * MIB, 32), (10_240 * MIB, 64)]
        {
            assert_eq!(part_size(size), part * MIB, "{size}");
        }
        // S3 takes no more than 10,000 parts.
        assert!((500 * 1024 * MIB).div_ceil(part_size(500 * 1024 * MIB)) <= 10_000);
    }
}
