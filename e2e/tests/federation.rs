//! Media of one server at another: authenticated downloads and thumbnails between real servers, on loopback, with
//! certificates of an authority of our own.
//!
//! Those between two Synapses are the control: what fails there too is a fault of the suite.

use e2e::{
    exchange::{Connection, is_complete},
    federation::{Media, Site},
    picture,
    synapse::OldEndpoints,
};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::OnceCell;

#[tokio::test]
async fn synapse_shows_media_of_another_synapse() {
    is_shown(synapse().await, another_synapse().await).await;
}

#[tokio::test]
async fn an_old_client_of_synapse_sees_media_of_another_synapse() {
    // Synapse asks at the origin's old endpoint too, so neither may be frozen.
    is_shown_to_old_clients(another_synapse().await, &Site::synapse(OldEndpoints::Open).await).await;
}

#[tokio::test]
async fn a_frozen_synapse_shows_old_clients_nothing_of_another_synapse() {
    is_hidden_from_old_clients(another_synapse().await, synapse().await).await;
}

#[tokio::test]
async fn synapse_shows_media_of_tintype_beside_another_synapse() {
    is_shown(tintype_beside_synapse().await, synapse().await).await;
}

#[tokio::test]
async fn tintype_beside_a_synapse_shows_media_of_another_synapse() {
    is_shown(synapse().await, tintype_beside_synapse().await).await;
}

#[tokio::test]
async fn synapse_shows_media_of_tintype_alone() {
    is_shown(tintype().await, synapse().await).await;
}

#[tokio::test]
async fn tintype_alone_shows_media_of_synapse() {
    is_shown(synapse().await, tintype().await).await;
}

#[tokio::test]
async fn tintype_alone_shows_media_of_tintype_beside_a_synapse() {
    is_shown(tintype_beside_synapse().await, tintype().await).await;
}

#[tokio::test]
async fn tintype_beside_a_synapse_shows_media_of_tintype_alone() {
    is_shown(tintype().await, tintype_beside_synapse().await).await;
}

#[tokio::test]
async fn two_tintypes_show_media_of_each_other() {
    is_shown(another_tintype().await, tintype().await).await;
    is_shown(tintype().await, another_tintype().await).await;
}

#[tokio::test]
async fn an_old_client_of_tintype_sees_media_of_a_frozen_synapse() {
    is_shown_to_old_clients(synapse().await, another_tintype().await).await;
}

#[tokio::test]
async fn an_old_client_of_synapse_sees_media_of_tintype() {
    is_shown_to_old_clients(another_tintype().await, another_synapse().await).await;
}

#[tokio::test]
async fn a_frozen_tintype_shows_old_clients_nothing_of_synapse() {
    is_hidden_from_old_clients(another_synapse().await, tintype().await).await;
}

#[tokio::test]
async fn an_upload_that_still_arrives_is_read_on_another_server() {
    let (_, mut sender, mut reader) = first_piece_is_read(tintype().await, another_tintype().await).await;

    sender.send(SECOND_PIECE.as_bytes()).await;

    let received = reader.read_to_end().await;
    assert!(received.ends_with(SECOND_PIECE) || is_complete(&received), "{received}");
}

#[tokio::test]
async fn an_upload_that_has_been_read_while_it_arrived_is_kept_on_the_other_server() {
    let (media, mut sender, mut reader) = first_piece_is_read(tintype().await, another_tintype().await).await;
    sender.send(SECOND_PIECE.as_bytes()).await;
    reader.read_to_end().await;

    let download = another_tintype().await.download(&media).await;

    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(download.text().await.expect("the body is whole"), format!("{FIRST_PIECE}{SECOND_PIECE}"));
}

#[tokio::test]
async fn a_sender_that_breaks_off_aborts_those_who_read_on_another_server() {
    let (_, sender, mut reader) = first_piece_is_read(tintype().await, another_tintype().await).await;

    drop(sender);

    let received = reader.read_to_end().await;
    assert!(!is_complete(&received), "{received}");
}

const FIRST_PIECE: &str = "what is there at first, ";
const SECOND_PIECE: &str = "and what comes later";

/// [`picture::NAME`] as it stands in a header (RFC 8187).
const ENCODED_NAME: &str = "%D1%84%D0%BE%D1%82%D0%BE%20%E2%98%80%20%C3%A9t%C3%A9.jpg";

/// Valid, and nothing that a server would come up with. Synapse puts a backslash before each quote.
const ODD_TYPE: &str = "application/x.odd+thing;v=1 ; w=2";

async fn synapse() -> &'static Site {
    static SYNAPSE: OnceCell<Site> = OnceCell::const_new();
    SYNAPSE.get_or_init(|| Site::synapse(OldEndpoints::Frozen)).await
}

async fn another_synapse() -> &'static Site {
    static SYNAPSE: OnceCell<Site> = OnceCell::const_new();
    SYNAPSE.get_or_init(|| Site::synapse(OldEndpoints::Open)).await
}

async fn tintype() -> &'static Site {
    static TINTYPE: OnceCell<Site> = OnceCell::const_new();
    TINTYPE.get_or_init(|| Site::tintype_alone(OldEndpoints::Frozen)).await
}

async fn another_tintype() -> &'static Site {
    static TINTYPE: OnceCell<Site> = OnceCell::const_new();
    TINTYPE.get_or_init(|| Site::tintype_alone(OldEndpoints::Open)).await
}

async fn tintype_beside_synapse() -> &'static Site {
    static BOTH: OnceCell<Site> = OnceCell::const_new();
    BOTH.get_or_init(Site::tintype_beside_synapse).await
}

/// What users of `origin` upload, a user of `reader` gets: the first time from there, then from `reader`'s own copy.
async fn is_shown(origin: &Site, reader: &Site) {
    let media = origin.upload("image/jpeg", picture::NAME, picture::photograph()).await;
    for _ in 0..2 {
        is_the_photograph(reader.download(&media).await).await;
        is_its_thumbnail(reader.thumbnail(&media).await).await;
    }

    // The thumbnail alone, of media that the reader's server has not fetched.
    let unseen = origin.upload("image/jpeg", picture::NAME, picture::photograph()).await;
    is_its_thumbnail(reader.thumbnail(&unseen).await).await;
    is_the_photograph(reader.download(&unseen).await).await;

    let odd = origin.upload(ODD_TYPE, "odd", b"\r\n--\r\n--boundary--\r\n".to_vec()).await;
    let download = reader.download(&odd).await;
    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(header(&download, "Content-Type"), ODD_TYPE);
    assert_eq!(header(&download, "Content-Disposition").replace('"', ""), "attachment; filename=odd");
    assert_eq!(download.bytes().await.expect("the body is whole"), "\r\n--\r\n--boundary--\r\n");

    let missing = Media { path: format!("{}/missing", origin.server_name()) };
    assert_refused(reader.download(&missing).await, StatusCode::NOT_FOUND, "M_NOT_FOUND").await;
    assert_refused(reader.thumbnail(&missing).await, StatusCode::NOT_FOUND, "M_NOT_FOUND").await;
}

async fn is_shown_to_old_clients(origin: &Site, reader: &Site) {
    let media = origin.upload("image/jpeg", picture::NAME, picture::photograph()).await;

    is_the_photograph(reader.download_as_before(&media).await).await;
}

async fn is_hidden_from_old_clients(origin: &Site, reader: &Site) {
    let media = origin.upload("image/jpeg", picture::NAME, picture::photograph()).await;

    assert_refused(reader.download_as_before(&media).await, StatusCode::NOT_FOUND, "M_NOT_FOUND").await;
}

/// A user of `origin` has sent the first piece of an upload, and one of `reader` has it.
async fn first_piece_is_read(origin: &Site, reader: &Site) -> (Media, Connection, Connection) {
    let media = origin.reserve().await;
    let mut sender = Connection::open(origin.port()).await;
    let length = FIRST_PIECE.len() + SECOND_PIECE.len();
    let headers = format!("{}Content-Type: text/plain\r\nContent-Length: {length}\r\n", origin.authorization());
    sender.ask("PUT", &format!("/_matrix/media/v3/upload/{}", media.path), &headers).await;
    sender.send(FIRST_PIECE.as_bytes()).await;

    let mut download = Connection::open(reader.port()).await;
    let target = format!("/_matrix/client/v1/media/download/{}", media.path);
    download.get(&target, &reader.authorization()).await;
    download.read_until(FIRST_PIECE).await;
    (media, sender, download)
}

async fn is_the_photograph(download: Response) {
    assert_eq!(download.status(), StatusCode::OK, "{}", download.text().await.unwrap_or_default());
    assert_eq!(header(&download, "Content-Type"), "image/jpeg");
    let disposition = header(&download, "Content-Disposition");
    assert!(disposition.starts_with("inline;"), "{disposition}");
    assert!(disposition.ends_with(ENCODED_NAME), "{disposition}");
    assert_eq!(download.bytes().await.expect("the body is whole"), picture::photograph());
}

async fn is_its_thumbnail(thumbnail: Response) {
    assert_eq!(thumbnail.status(), StatusCode::OK, "{}", thumbnail.text().await.unwrap_or_default());
    assert_eq!(header(&thumbnail, "Content-Type"), "image/jpeg");
    let bytes = thumbnail.bytes().await.expect("the body is whole");
    assert_eq!(picture::size_of_jpeg(&bytes), (320, 240));
}

async fn assert_refused(answer: Response, status: StatusCode, errcode: &str) {
    assert_eq!(answer.status(), status);
    let error: Value = answer.json().await.expect("the answer is JSON");
    assert_eq!(error["errcode"], errcode, "{error}");
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers()));
    value.to_str().expect("the headers here are ASCII")
}
