//! What an operation costs in statements.

use tintype_storage::records::{InsertOutcome, Records};

use crate::{
    media::{media, mxc},
    wire::Wire,
};

#[tokio::test]
async fn a_download_is_one_statement_and_an_upload_is_at_most_four() {
    let database = tintype_services::Postgres::shared().database();
    let wire = Wire::to(&database.url()).await;
    let records = Records::open_postgres(wire.url()).await.unwrap();
    wire.executed();

    assert_eq!(records.insert_media(media(1, b"bytes")).await.unwrap(), InsertOutcome::Inserted);
    let upload = wire.executed();
    assert_eq!(upload.len(), 3, "{upload:#?}");
    assert!(upload[0].starts_with("BEGIN") && upload[1].contains("INSERT INTO media") && upload[2] == "COMMIT");

    records.find_media(&mxc(1)).await.unwrap().unwrap();
    let download = wire.executed();
    assert_eq!(download.len(), 1, "{download:#?}");
}
