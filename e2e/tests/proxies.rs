//! What nginx and Caddy make of a media server's streams, with the files of `deploy/` and with nginx's defaults.
//!
//! The media server is the test itself, which sends a piece only after the one before has arrived: with a proxy that
//! holds bytes back such a test does not end. Where holding back is to be shown, a later request proves that the proxy
//! has had its chance: nginx has one process here and works through its connections in turn.

use e2e::{
    caddy::Caddy,
    exchange::{Answer, Connection, Upstream, is_complete},
    nginx::{Nginx, Passing},
};

const UPLOAD: &str = "/_matrix/media/v3/upload";
const RESERVED: &str = "/_matrix/media/v3/upload/tintype.test/abc";
const DOWNLOAD: &str = "/_matrix/client/v1/media/download/tintype.test/abc";

#[tokio::test]
async fn an_aborted_download_is_an_error_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    let received = download_aborted_in_the_middle(nginx.port(), &upstream).await;

    assert!(received.contains("first piece"), "{received}");
    assert!(!is_complete(&received), "{received}");
}

#[tokio::test]
async fn an_aborted_download_looks_complete_with_nginx_defaults() {
    let (nginx, upstream) = nginx(Passing::Defaults).await;

    let received = download_aborted_in_the_middle(nginx.port(), &upstream).await;

    assert!(received.contains("first piece"), "{received}");
    assert!(is_complete(&received), "{received}");
}

#[tokio::test]
async fn an_aborted_download_is_an_error_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    let received = download_aborted_in_the_middle(caddy.port(), &upstream).await;

    assert!(received.contains("first piece"), "{received}");
    assert!(!is_complete(&received), "{received}");
}

#[tokio::test]
async fn a_download_is_passed_on_as_it_arrives_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;
    let (client, answer) = download_begun(nginx.port(), &upstream).await;

    arrives_in_two_awaited_pieces(client, answer).await;
}

#[tokio::test]
async fn a_download_of_known_length_is_passed_on_as_it_arrives_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;
    let mut client = Connection::open(nginx.port()).await;
    client.get(DOWNLOAD, "").await;
    let length = "first piece".len() + "second piece".len();
    let answer = upstream.next_request().await.answer_of_length(length).await;

    arrives_in_two_awaited_pieces(client, answer).await;
}

#[tokio::test]
async fn a_download_is_held_back_until_its_end_with_nginx_defaults() {
    let (nginx, upstream) = nginx(Passing::Defaults).await;
    let (mut client, mut answer) = download_begun(nginx.port(), &upstream).await;
    answer.send("first piece").await;

    request_something_else(nginx.port(), &upstream).await;
    request_something_else(nginx.port(), &upstream).await;
    assert!(client.is_silent());

    answer.finish().await;
    let received = client.read_to_end().await;
    assert!(received.contains("first piece"), "{received}");
}

#[tokio::test]
async fn a_download_is_passed_on_as_it_arrives_behind_caddy() {
    let (caddy, upstream) = caddy().await;
    let (client, answer) = download_begun(caddy.port(), &upstream).await;

    arrives_in_two_awaited_pieces(client, answer).await;
}

#[tokio::test]
async fn a_download_of_known_length_is_passed_on_as_it_arrives_behind_caddy() {
    let (caddy, upstream) = caddy().await;
    let mut client = Connection::open(caddy.port()).await;
    client.get(DOWNLOAD, "").await;
    let length = "first piece".len() + "second piece".len();
    let answer = upstream.next_request().await.answer_of_length(length).await;

    arrives_in_two_awaited_pieces(client, answer).await;
}

#[tokio::test]
async fn an_upload_is_passed_on_as_it_arrives_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    upload_in_two_awaited_pieces(nginx.port(), &upstream).await;
}

#[tokio::test]
async fn an_upload_is_held_back_until_its_end_with_nginx_defaults() {
    let (nginx, upstream) = nginx(Passing::Defaults).await;
    let mut client = upload_begun(nginx.port()).await;

    // These come later and are seen first.
    request_something_else(nginx.port(), &upstream).await;
    request_something_else(nginx.port(), &upstream).await;

    client.send(b"after").await;
    let mut request = upstream.next_request().await;
    assert_eq!(request.body(11).await, b"beforeafter");
}

#[tokio::test]
async fn an_upload_is_passed_on_as_it_arrives_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    upload_in_two_awaited_pieces(caddy.port(), &upstream).await;
}

#[tokio::test]
async fn an_upload_larger_than_nginx_allows_by_default_reaches_the_media_server() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;
    let mut client = Connection::open(nginx.port()).await;

    client.post(UPLOAD, 9_999_999_999).await;

    let request = upstream.next_request().await;
    assert_eq!(request.header("Content-Length"), Some("9999999999"));
}

#[tokio::test]
async fn every_media_path_reaches_the_media_server_unchanged_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    for target in TARGETS {
        assert_eq!(target_at_the_upstream(nginx.port(), &upstream, target).await, target);
    }
}

#[tokio::test]
async fn every_media_path_reaches_the_media_server_unchanged_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    for target in TARGETS {
        assert_eq!(target_at_the_upstream(caddy.port(), &upstream, target).await, target);
    }
}

#[tokio::test]
async fn every_method_of_an_upload_reaches_the_media_server_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    for method in UPLOAD_METHODS {
        passes_both_ways(method, nginx.port(), &upstream).await;
    }
}

#[tokio::test]
async fn every_method_of_an_upload_reaches_the_media_server_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    for method in UPLOAD_METHODS {
        passes_both_ways(method, caddy.port(), &upstream).await;
    }
}

#[tokio::test]
async fn a_sender_that_breaks_off_is_a_broken_upload_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    for framing in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        breaks_off_at_the_upstream(framing, nginx.port(), &upstream).await;
    }
}

#[tokio::test]
async fn a_sender_that_breaks_off_is_a_broken_upload_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    for framing in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        breaks_off_at_the_upstream(framing, caddy.port(), &upstream).await;
    }
}

#[tokio::test]
async fn a_reader_who_stops_waiting_frees_its_place_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    leaves_without_an_answer(nginx.port(), &upstream).await;
}

#[tokio::test]
async fn a_reader_who_stops_waiting_frees_its_place_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    leaves_without_an_answer(caddy.port(), &upstream).await;
}

#[tokio::test]
async fn other_paths_reach_the_homeserver_behind_nginx() {
    let (media, homeserver) = (Upstream::bind().await, Upstream::bind().await);
    let nginx = Nginx::start(Passing::Snippet, &media.address(), &homeserver.address()).await;

    for target in HOMESERVER_TARGETS {
        assert_eq!(target_at_the_upstream(nginx.port(), &homeserver, target).await, target);
    }
}

#[tokio::test]
async fn other_paths_reach_the_homeserver_behind_caddy() {
    let (media, homeserver) = (Upstream::bind().await, Upstream::bind().await);
    let caddy = Caddy::start(&media.address(), &homeserver.address()).await;

    for target in HOMESERVER_TARGETS {
        assert_eq!(target_at_the_upstream(caddy.port(), &homeserver, target).await, target);
    }
}

#[tokio::test]
async fn requests_that_send_events_reach_the_media_server_unchanged_behind_nginx() {
    let (media, homeserver) = (Upstream::bind().await, Upstream::bind().await);
    let nginx = Nginx::start(Passing::Linked, &media.address(), &homeserver.address()).await;

    for target in TARGETS.iter().chain(&LINKED_TARGETS) {
        assert_eq!(target_at_the_upstream(nginx.port(), &media, target).await, *target);
    }
    for target in UNLINKED_TARGETS {
        assert_eq!(target_at_the_upstream(nginx.port(), &homeserver, target).await, target);
    }
}

#[tokio::test]
async fn requests_that_send_events_reach_the_media_server_unchanged_behind_caddy() {
    let (media, homeserver) = (Upstream::bind().await, Upstream::bind().await);
    let caddy = Caddy::start_linked(&media.address(), &homeserver.address()).await;

    for target in TARGETS.iter().chain(&LINKED_TARGETS) {
        assert_eq!(target_at_the_upstream(caddy.port(), &media, target).await, *target);
    }
    for target in UNLINKED_TARGETS {
        assert_eq!(target_at_the_upstream(caddy.port(), &homeserver, target).await, target);
    }
}

#[tokio::test]
async fn the_media_server_learns_host_and_address_of_the_client_behind_nginx() {
    let (nginx, upstream) = nginx(Passing::Snippet).await;

    learns_host_and_address(nginx.port(), &upstream).await;
}

#[tokio::test]
async fn the_media_server_learns_host_and_address_of_the_client_behind_caddy() {
    let (caddy, upstream) = caddy().await;

    learns_host_and_address(caddy.port(), &upstream).await;
}

/// Each prefix that is Tintype's, and targets that a careless proxy would rewrite.
const TARGETS: [&str; 19] = [
    "/_matrix/media/v3/download/tintype.test/abc",
    "/_matrix/media/v1/create",
    "/_matrix/media/v3/upload/tintype.test/abc?filename=a%2Fb",
    "/_matrix/media/unstable/fi.mau.msc2246/create",
    "/_matrix/media/unstable/fi.mau.msc2246/upload/tintype.test/abc",
    "/_matrix/client/v1/media/thumbnail/tintype.test/abc?width=32&height=32&method=crop",
    "/_matrix/client/unstable/org.matrix.msc4425/tintype.test/abc",
    "/_matrix/client/unstable/org.matrix.msc3911/media/copy/tintype.test/abc",
    "/_matrix/federation/v1/media/download/abc?timeout_ms=20000",
    "/_matrix/federation/v1/media/download/%61b%2Fc?timeout_ms=20%30%30",
    "/_matrix/federation/v1/media/thumbnail/abc?width=32&height=32&method=crop&animated=false",
    "/_matrix/federation/unstable/org.matrix.msc3916.v2/media/download/abc",
    "/_matrix/federation/unstable/org.matrix.msc3916.v2/media/thumbnail/abc?width=32&height=32",
    "/_matrix/client/v1/media/download/tintype.test/abc/a%2Fb%2fc.jpg",
    "/_matrix/client/v1/media/download/tintype.test/abc/%D1%84%D0%BE%D1%82%D0%BE%20%E2%98%80.jpg",
    "/_matrix/client/v1/media/download/tintype.test//abc",
    "/_matrix/client/v1/media/download/tintype.test/abc/%2e%2e",
    "/_matrix/client/v1/media/download/[::1]:8448/abc/%41(1)'!.jpg",
    "/_matrix/media/v3/upload?filename=a%2Bb+c%26d&filename=%",
];

/// What a sender asks of the URI of an upload: to send it, to go on with it, how far it is, to give it up.
const UPLOAD_METHODS: [&str; 5] = ["PUT", "PATCH", "HEAD", "DELETE", "OPTIONS"];

const HOMESERVER_TARGETS: [&str; 7] = [
    "/_matrix/client/versions",
    "/_matrix/client/v3/account/whoami",
    "/_matrix/client/v1/mediator",
    "/_matrix/federation/v1/version",
    "/_matrix/federation/v1/mediator",
    "/_matrix/federation/v1/query/profile?user_id=%40alice%3Atintype.test",
    "/_matrix/key/v2/server",
];

/// What the media server sees besides, when media is linked to events.
const LINKED_TARGETS: [&str; 12] = [
    "/_matrix/client/v3/rooms/!room:tintype.test/send/m.room.message/1?org.matrix.msc3911.attach_media=mxc%3A%2F%2Fa%2Fb",
    "/_matrix/client/r0/rooms/%21room%3Atintype.test/send/m.room.message/a%2Fb",
    "/_matrix/client/v3/rooms/!room:tintype.test/state/m.room.avatar",
    "/_matrix/client/v3/rooms/!room:tintype.test/state/m.room.member/%40alice%3Atintype.test",
    "/_matrix/client/v3/profile/%40alice%3Atintype.test/avatar_url",
    "/_matrix/client/v3/createRoom",
    "/_matrix/client/v3/logout",
    "/_matrix/client/v3/logout/all",
    "/_matrix/client/v3/devices/ABC",
    "/_matrix/client/v3/account/password",
    "/_matrix/client/v3/account/deactivate",
    "/_matrix/client/versions",
];

/// What goes to the homeserver even then.
const UNLINKED_TARGETS: [&str; 8] = [
    "/_matrix/client/v3/sync?timeout=30000",
    "/_matrix/client/v3/rooms/!room:tintype.test/state",
    "/_matrix/client/v3/rooms/!room:tintype.test/messages?dir=b",
    "/_matrix/client/v3/rooms/!room:tintype.test/redact/$event/1",
    "/_matrix/client/v3/profile/@alice:tintype.test",
    "/_matrix/client/v3/profile/@alice:tintype.test/displayname",
    "/_matrix/client/v3/account/whoami",
    "/_matrix/federation/v1/send/1",
];

async fn nginx(passing: Passing) -> (Nginx, Upstream) {
    let upstream = Upstream::bind().await;
    // One upstream for both: these tests ask only for media.
    let nginx = Nginx::start(passing, &upstream.address(), &upstream.address()).await;
    (nginx, upstream)
}

async fn caddy() -> (Caddy, Upstream) {
    let upstream = Upstream::bind().await;
    let caddy = Caddy::start(&upstream.address(), &upstream.address()).await;
    (caddy, upstream)
}

async fn download_begun(port: u16, upstream: &Upstream) -> (Connection, Answer) {
    let mut client = Connection::open(port).await;
    client.get(DOWNLOAD, "").await;
    let answer = upstream.next_request().await.answer().await;
    (client, answer)
}

async fn download_aborted_in_the_middle(port: u16, upstream: &Upstream) -> String {
    let (mut client, mut answer) = download_begun(port, upstream).await;
    answer.send("first piece").await;
    drop(answer);
    client.read_to_end().await
}

async fn arrives_in_two_awaited_pieces(mut client: Connection, mut answer: Answer) {
    answer.send("first piece").await;
    client.read_until("first piece").await;
    answer.send("second piece").await;
    client.read_until("second piece").await;
}

async fn upload_begun(port: u16) -> Connection {
    let mut client = Connection::open(port).await;
    client.post(UPLOAD, 11).await;
    client.send(b"before").await;
    client
}

async fn upload_in_two_awaited_pieces(port: u16, upstream: &Upstream) {
    let mut client = upload_begun(port).await;
    let mut request = upstream.next_request().await;
    assert_eq!(request.body(6).await, b"before");
    client.send(b"after").await;
    assert_eq!(request.body(5).await, b"after");
}

/// The headers of a resumable upload are those of the IETF draft.
async fn passes_both_ways(method: &str, port: u16, upstream: &Upstream) {
    let mut client = Connection::open(port).await;
    client.ask(method, RESERVED, "Upload-Offset: 7\r\nUpload-Complete: ?0\r\nContent-Length: 0\r\n").await;

    let request = upstream.next_request().await;
    assert_eq!((request.method(), request.target()), (method, RESERVED));
    assert_eq!(request.header("Upload-Offset"), Some("7"));
    assert_eq!(request.header("Upload-Complete"), Some("?0"));
    request.answer_without_body("204 No Content", "Upload-Offset: 7\r\nUpload-Complete: ?0\r\n").await;

    let answer = client.read_until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 204"), "{answer}");
    assert!(answer.contains("upload-offset: 7\r\n"), "{answer}");
    assert!(answer.contains("upload-complete: ?0\r\n"), "{answer}");
}

async fn breaks_off_at_the_upstream(framing: &str, port: u16, upstream: &Upstream) {
    let mut client = Connection::open(port).await;
    client.ask("PUT", RESERVED, framing).await;
    client.send(b"5\r\nbegin\r\n").await;
    let mut request = upstream.next_request().await;
    request.read_until("begin").await;

    drop(client);

    assert!(!request.read_to_end().await.contains("0\r\n\r\n"));
}

/// Ends when the media server sees that nobody waits any more.
async fn leaves_without_an_answer(port: u16, upstream: &Upstream) {
    let mut client = Connection::open(port).await;
    client.get(DOWNLOAD, "").await;
    let request = upstream.next_request().await;

    drop(client);

    assert_eq!(request.read_to_end().await, "");
}

async fn request_something_else(port: u16, upstream: &Upstream) {
    let target = "/_matrix/media/v3/config";
    assert_eq!(target_at_the_upstream(port, upstream, target).await, target);
}

async fn target_at_the_upstream(port: u16, upstream: &Upstream, target: &str) -> String {
    let mut client = Connection::open(port).await;
    client.get(target, "").await;
    let request = upstream.next_request().await;
    let arrived = request.target().to_owned();
    request.answer().await.finish().await;
    client.read_to_end().await;
    arrived
}

async fn learns_host_and_address(port: u16, upstream: &Upstream) {
    let mut client = Connection::open(port).await;
    client.get(DOWNLOAD, "X-Forwarded-For: 203.0.113.7\r\n").await;

    let request = upstream.next_request().await;

    assert_eq!(request.header("Host"), Some(format!("127.0.0.1:{port}").as_str()));
    assert_eq!(request.header("X-Forwarded-For"), Some("127.0.0.1"));
}
