//! What the tests store.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use bytes::Bytes;
use tintype_domain::{ContentHash, Mxc, OwnedUserId, Timestamp, UserId};
use tintype_services::{Database, Postgres};
use tintype_storage::{
    blobs::Location,
    records::{Body, InsertMedia, MediaKind, NewAudience, NewBlob, NewLifetime, Quota, Records},
};

/// Records of two nodes on one new database, which has to live as long as they do.
pub(crate) async fn two_nodes() -> (Records, Records, Database) {
    let database = Postgres::shared().database();
    let node = async || Records::open_postgres(database.url()).await.expect("the database opens");
    (node().await, node().await, database)
}

pub(crate) fn alice() -> OwnedUserId {
    UserId::parse("@alice:example.org").unwrap()
}

pub(crate) fn mxc(number: usize) -> Mxc {
    Mxc::parse(&format!("mxc://example.org/media{number}")).unwrap()
}

/// A place for these bytes, another one each time.
pub(crate) fn location(bytes: &[u8], number: usize) -> Location {
    let hash = ContentHash::of(bytes).to_hex();
    Location::parse(&format!("{hash}-{number:012x}")).expect("it is a location")
}

/// Kept media of Alice's.
pub(crate) fn media(number: usize, bytes: &[u8]) -> InsertMedia {
    InsertMedia {
        mxc: mxc(number),
        blob: NewBlob {
            sha256: ContentHash::of(bytes),
            size: bytes.len() as u64,
            body: Body::At(location(bytes, number)),
        },
        content_type: b"image/png".to_vec(),
        filename: Some("picture.png".to_owned()),
        uploader: alice(),
        created_at: Timestamp(1),
        quota: Quota::UNLIMITED,
        lifetime: NewLifetime::Kept,
        audience: NewAudience::Everyone,
    }
}

/// The same, ephemeral.
pub(crate) fn ephemeral(number: usize, bytes: &[u8]) -> InsertMedia {
    let lifetime = NewLifetime::Ephemeral { expires_at: Timestamp::NEVER, quota: Quota::UNLIMITED };
    InsertMedia { lifetime, ..media(number, bytes) }
}

/// The same, in the database.
pub(crate) fn inline(number: usize, bytes: &'static [u8]) -> InsertMedia {
    let mut media = media(number, bytes);
    media.blob.body = Body::Inline(Bytes::from_static(bytes));
    media
}

pub(crate) const KEPT: MediaKind = MediaKind::Kept;
