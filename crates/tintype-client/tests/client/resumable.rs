//! A `PUT` that is interrupted and goes on.

use std::time::Duration;

use tintype_client::{Error, ErrorCode, Put, Resumable, Retry, Source};
use tintype_testing::pattern;

use crate::{
    peer::{Act, Peer},
    relay::Cut,
    server::{SOON, Server, mxc},
    told::Told,
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

/// What is sent to a peer.
const TEXT: &str = "0123456789";

fn put(peer: &Peer) -> Put {
    peer.client().put(&mxc(), TEXT).content_type("text/plain").filename("name").resumable(Resumable::Always)
}

/// The peer has the first `offset` bytes.
fn has(offset: usize) -> Act {
    Act::head(&format!("Upload-Offset: {offset}\r\nUpload-Complete: ?0\r\nUpload-Length: 10\r\n"))
}

fn stored() -> Act {
    Act::answer("200 OK", "Upload-Complete: ?1\r\n", "{}")
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_it_stopped() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pattern(LONG)).unwrap();
    let mxc = alice.create().await.unwrap().mxc;
    let told = Told::default();
    for at in [1_000_000, 600_000, 700_000] {
        server.relay.cut(Cut::Upwards(at));
    }

    let put = alice.put(&mxc, Source::file(file.path()).await.unwrap()).content_type("text/plain").filename("a.txt");
    put.on_event(told.listener()).await.unwrap();

    assert!(server.relay.has_cut());
    let resumed = told.resumed();
    assert!(resumed.len() == 3 && resumed.is_sorted() && resumed[2] > 0, "{resumed:?}");
    let download = alice.download(&mxc).await.unwrap();
    assert_eq!((download.content_type(), download.filename()), (Some("text/plain"), Some("a.txt")));
    assert!(download.bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_is_found_to_be_whole() {
    let server = Server::start().await;
    let mxc = server.client("alice").await.create().await.unwrap().mxc;
    // Of a connection of its own the first byte down is that of the answer to the PUT.
    let alice = server.client("alice").await;
    server.relay.cut(Cut::Downwards(1));

    alice.put(&mxc, pattern(LONG)).resumable(Resumable::Always).await.unwrap();

    assert!(server.relay.has_cut());
    assert!(alice.download(&mxc).await.unwrap().bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn an_upload_goes_on_from_an_earlier_process() {
    let server = Server::start().await;
    let earlier = server.builder("alice").await.retry(Retry::NEVER).build().unwrap();
    let mxc = earlier.create().await.unwrap().mxc;
    server.relay.cut(Cut::Upwards(1_500_000));
    earlier.put(&mxc, pattern(LONG)).content_type("text/plain").resumable(Resumable::Always).await.unwrap_err();
    let told = Told::default();

    let alice = server.client("alice").await;
    alice.put(&mxc, pattern(LONG)).continuing().on_event(told.listener()).await.unwrap();

    assert!(matches!(told.resumed()[..], [1..=1_500_000]), "{told:?}");
    let download = alice.download(&mxc).await.unwrap();
    assert_eq!(download.content_type(), Some("text/plain"));
    assert!(download.bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn nothing_to_send_is_sent_resumably_too() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.create().await.unwrap().mxc;

    alice.put(&mxc, "").resumable(Resumable::Always).await.unwrap();

    assert_eq!(alice.download(&mxc).await.unwrap().bytes(0).await.unwrap(), "");
}

#[tokio::test]
async fn the_server_says_what_it_has_even_if_it_is_less_than_was_sent() {
    let peer = Peer::start([Act::break_off(8), has(3), stored()]).await;

    put(&peer).await.unwrap();

    let [first, asked, rest] = &peer.asked()[..] else { panic!("{:?}", peer.asked()) };
    let path = "/_matrix/media/v3/upload/example.org/abc";
    assert_eq!(first.line, format!("PUT {path}?filename=name HTTP/1.1"));
    assert_eq!((first.header("upload-complete"), first.header("upload-length")), ("?1", "10"));
    assert_eq!((first.header("content-type"), first.header("content-length")), ("text/plain", "10"));
    assert_eq!(asked.line, format!("HEAD {path} HTTP/1.1"));
    assert_eq!(rest.line, format!("PATCH {path} HTTP/1.1"));
    assert_eq!((rest.header("upload-complete"), rest.header("upload-offset")), ("?1", "3"));
    assert_eq!((rest.header("content-type"), rest.header("content-length")), ("application/partial-upload", "7"));
    assert_eq!(rest.body, b"3456789");
}

#[tokio::test]
async fn where_nothing_arrived_it_begins_anew_with_type_and_name() {
    let peer = Peer::start([Act::break_off(8), has(0), stored()]).await;

    put(&peer).await.unwrap();

    assert_eq!(peer.methods(), ["PUT", "HEAD", "PUT"]);
    let again = &peer.asked()[2];
    assert_eq!((again.header("content-type"), &again.body[..]), ("text/plain", TEXT.as_bytes()));
}

#[tokio::test]
async fn what_was_all_received_is_only_completed() {
    let peer = Peer::start([Act::break_off(10), has(10), stored()]).await;

    put(&peer).await.unwrap();

    let last = &peer.asked()[2];
    assert!(last.line.starts_with("PATCH"), "{}", last.line);
    assert_eq!((last.header("upload-offset"), last.header("content-length"), last.body.len()), ("10", "0", 0));
}

#[tokio::test]
async fn what_is_whole_already_is_not_sent_again() {
    let whole = Act::head("Upload-Offset: 10\r\nUpload-Complete: ?1\r\n");
    let peer = Peer::start([Act::break_off(10), whole]).await;

    put(&peer).await.unwrap();

    assert_eq!(peer.methods(), ["PUT", "HEAD"]);
}

#[tokio::test]
async fn what_is_there_of_something_else_is_not_appended_to() {
    for (headers, offset) in [
        ("Upload-Offset: 11\r\nUpload-Complete: ?0\r\n", 11),
        ("Upload-Offset: 3\r\nUpload-Complete: ?1\r\n", 3),
        ("Upload-Offset: 3\r\nUpload-Complete: ?0\r\nUpload-Length: 12\r\n", 3),
    ] {
        let peer = Peer::start([Act::break_off(8), Act::head(headers)]).await;
        let error = put(&peer).await.unwrap_err();
        assert!(matches!(error, Error::OtherUpload { offset: told } if told == offset), "{headers}: {error:?}");
        assert_eq!(peer.methods(), ["PUT", "HEAD"]);
    }
}

#[tokio::test]
async fn a_server_that_does_not_say_what_it_has_ends_it() {
    for headers in ["", "Upload-Offset: many\r\n", "Upload-Offset: -3\r\n"] {
        let peer = Peer::start([Act::break_off(8), Act::head(headers)]).await;
        let error = put(&peer).await.unwrap_err();
        assert!(matches!(error, Error::Answer(_)), "{headers}: {error:?}");
    }
}

#[tokio::test]
async fn another_offset_than_the_servers_is_corrected() {
    let mismatch = Act::refuse("409 Conflict", "Upload-Offset: 5\r\nUpload-Complete: ?0\r\n", "M_UNKNOWN");
    let peer = Peer::start([Act::break_off(8), has(3), mismatch, has(5), stored()]).await;

    put(&peer).await.unwrap();

    assert_eq!(peer.methods(), ["PUT", "HEAD", "PATCH", "HEAD", "PATCH"]);
    assert_eq!(peer.asked()[4].body, b"56789");
}

#[tokio::test]
async fn a_refusal_ends_it_unless_it_may_pass() {
    let final_words = Act::refuse("500 Internal Server Error", "Upload-Complete: ?1\r\n", "M_UNKNOWN");
    let idle = Act::refuse("408 Request Timeout", "Upload-Complete: ?0\r\n", "M_UNKNOWN");

    for refusal in [Act::refuse("413 Content Too Large", "", "M_TOO_LARGE"), final_words] {
        let peer = Peer::start([refusal]).await;
        assert!(put(&peer).await.unwrap_err().errcode().is_some());
        assert_eq!(peer.methods(), ["PUT"]);
    }
    let peer = Peer::start([idle, has(3), stored()]).await;
    put(&peer).await.unwrap();
    assert_eq!(peer.methods(), ["PUT", "HEAD", "PATCH"]);
}

#[tokio::test]
async fn an_upload_that_was_stored_by_another_ends_it() {
    let taken = Act::refuse("409 Conflict", "Upload-Complete: ?1\r\n", "M_CANNOT_OVERWRITE_MEDIA");
    let peer = Peer::start([Act::break_off(8), has(3), taken]).await;

    let error = put(&peer).await.unwrap_err();

    assert_eq!(error.errcode(), Some(&ErrorCode::CANNOT_OVERWRITE_MEDIA));
}

#[tokio::test]
async fn an_upload_that_is_still_held_by_the_broken_request_is_asked_for_again() {
    let held = Act::raw("HTTP/1.1 409 Conflict\r\nRetry-After: 0\r\nConnection: close\r\n\r\n");
    let peer = Peer::start([Act::break_off(8), held, has(3), stored()]).await;

    put(&peer).await.unwrap();

    assert_eq!(peer.methods(), ["PUT", "HEAD", "HEAD", "PATCH"]);
}

#[tokio::test]
async fn an_upload_that_comes_second_is_not_mistaken_for_the_first() {
    let second = Act::refuse("409 Conflict", "Retry-After: 0\r\n", "M_CANNOT_OVERWRITE_MEDIA");
    let peer = Peer::start([second, Act::head("Upload-Offset: 10\r\nUpload-Complete: ?1\r\n")]).await;

    let error = put(&peer).await.unwrap_err();

    assert_eq!(error.errcode(), Some(&ErrorCode::CANNOT_OVERWRITE_MEDIA));
    assert_eq!(peer.methods(), ["PUT"]);
}

#[tokio::test]
async fn a_reservation_that_expires_meanwhile_ends_it() {
    let peer = Peer::start([Act::break_off(8), Act::raw("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n")]).await;

    let error = put(&peer).await.unwrap_err();

    assert!(matches!(error, Error::Status { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn it_is_given_up_after_so_many_failures_in_a_row() {
    let peer = Peer::start([]).await;

    let error = put(&peer).await.unwrap_err();

    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    assert_eq!(peer.asked().len(), 1 + SOON.attempts as usize);
}

#[tokio::test]
async fn a_connection_that_takes_nothing_counts_as_broken() {
    let peer = Peer::start([Act::break_off(0).and_hang(), has(3), stored()]).await;
    let client = peer.builder().idle_timeout(Duration::from_millis(500)).build().unwrap();

    client.put(&mxc(), TEXT).resumable(Resumable::Always).await.unwrap();

    assert_eq!(peer.methods(), ["PUT", "HEAD", "PATCH"]);
}

#[tokio::test]
async fn a_server_that_nobody_runs_is_not_tried_again() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let never_tried = Retry { attempts: 5, first_pause: Duration::MAX, longest_pause: Duration::MAX };
    let client = crate::server::builder(&url, "token").retry(never_tried).build().unwrap();

    let error = client.put(&mxc(), TEXT).resumable(Resumable::Always).await.unwrap_err();

    assert!(matches!(error, Error::Transport(_)), "{error:?}");
}

#[tokio::test]
async fn whether_the_server_can_is_learnt_once_from_its_versions() {
    let versions = r#"{"versions":["v1.16"],"unstable_features":{"io.github.tintype.resumable_uploads":true}}"#;
    let peer = Peer::start([Act::answer("200 OK", "", versions), stored(), stored()]).await;
    let client = peer.client();

    client.put(&mxc(), TEXT).await.unwrap();
    client.put(&mxc(), TEXT).await.unwrap();

    assert_eq!(peer.methods(), ["GET", "PUT", "PUT"]);
    assert_eq!(peer.asked()[0].line, "GET /_matrix/client/versions HTTP/1.1");
    assert_eq!(peer.asked()[2].header("upload-complete"), "?1");
}

#[tokio::test]
async fn behind_a_homeserver_the_uploads_own_path_says_whether_it_can() {
    let homeservers = [
        Act::answer("200 OK", "", r#"{"versions":["v1.16"],"unstable_features":{"org.example":true}}"#),
        Act::answer("200 OK", "", r#"{"versions":["v1.16"]}"#),
        Act::answer("200 OK", "", "<html>"),
        Act::refuse("404 Not Found", "", "M_UNRECOGNIZED"),
    ];
    for versions in homeservers {
        let can = Act::head("Upload-Limit: max-size=100\r\n");
        let peer = Peer::start([versions.clone(), can, stored()]).await;
        peer.client().put(&mxc(), TEXT).await.unwrap();
        assert_eq!(peer.methods(), ["GET", "OPTIONS", "PUT"]);
        assert_eq!(peer.asked()[2].header("upload-complete"), "?1");

        let peer = Peer::start([versions, Act::head(""), Act::answer("200 OK", "", "{}")]).await;
        peer.client().put(&mxc(), TEXT).await.unwrap();
        assert_eq!(peer.methods(), ["GET", "OPTIONS", "PUT"]);
        assert_eq!(peer.asked()[2].header("upload-complete"), "");
    }
}

#[tokio::test]
async fn a_server_that_knows_only_plain_uploads_stores_it_all_the_same() {
    let peer = Peer::start([Act::answer("200 OK", "", "{}")]).await;

    put(&peer).await.unwrap();

    assert_eq!(peer.methods(), ["PUT"]);
}
