//! Restricted media (MSC3911): how it comes to be, how it goes, who is made to use it, and what other servers say of theirs.

mod blocked;
mod copying;
mod creating;
mod origin;
mod theirs;
mod unattached;
mod uploading;

use bytes::Bytes;
use tintype_domain::Mxc;
use tintype_testing::{Client, paths};

/// Uploads restricted media.
async fn restricted(client: &Client, body: impl Into<Bytes>) -> Mxc {
    client.post(paths::RESTRICTED_UPLOAD).body(body).await.mxc()
}

fn invisible() -> (u16, String) {
    (403, "M_UNAUTHORIZED".to_owned())
}

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}
