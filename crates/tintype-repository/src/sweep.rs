//! What a crash left behind is removed before anything is served.

use tintype_storage::{blobs::Files, records::Records};

use crate::StorageError;

pub(crate) async fn what_a_crash_left(records: &Records, blobs: &Files) -> Result<(), StorageError> {
    let sweep = blobs.sweep(async |location| Ok::<_, StorageError>(records.is_recorded(location).await?)).await?;
    if sweep != tintype_storage::blobs::Sweep::default() {
        tracing::info!(
            temporary = sweep.temporary,
            unrecorded = sweep.unrecorded,
            "removed what interrupted uploads had left"
        );
    }
    Ok(())
}
