//! `POST /_matrix/media/v3/upload`

use tintype_testing::{Client, TestServer, embedded_only, paths, pattern};

const MIB: usize = 1024 * 1024;

/// Up to here media lies beside its record; beyond, in a file.
const INLINE: usize = 64 * 1024;

/// The head of an upload on a raw connection.
fn head(user: &Client, headers: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{headers}\r\n\r\n",
        paths::UPLOAD,
        user.token()
    )
}

/// The body in chunks of 1000 bytes.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(1000) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

#[tokio::test]
async fn an_upload_gets_a_new_uri_of_this_server_each_time() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let first = alice.upload("the same").await;
    let second = alice.upload("the same").await;

    assert_eq!(first.server_name, "localhost");
    assert_ne!(first, second);
}

#[tokio::test]
async fn the_answer_is_the_uri_and_nothing_else() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let answer = alice.post(paths::UPLOAD).body("hello").await;

    assert_eq!(answer.json().as_object().unwrap().keys().collect::<Vec<_>>(), ["content_uri"]);
    assert!(answer.json()["content_uri"].as_str().unwrap().starts_with("mxc://localhost/"));
}

#[tokio::test]
async fn every_byte_comes_back_whatever_the_size() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, MIB, 9 * MIB + 1] {
        let mxc = alice.upload(pattern(length)).await;
        let download = alice.get(paths::download(&mxc)).await;
        assert!(*download.bytes() == pattern(length), "{length} bytes came back as {}", download.bytes().len());
        assert_eq!(download.content_length(), length);
    }
}

#[tokio::test]
async fn a_chunked_upload_is_as_good_as_one_that_says_its_length() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    for length in [0, 10, INLINE, INLINE + 1, 2 * MIB] {
        connection.send(head(&alice, "Transfer-Encoding: chunked")).await;
        connection.send(chunked(&pattern(length))).await;
        let mxc = connection.response().await.mxc();
        assert!(*alice.get(paths::download(&mxc)).await.bytes() == pattern(length), "{length}");
    }
}

#[tokio::test]
async fn only_what_is_larger_than_the_inline_size_becomes_a_file() {
    embedded_only!("PostgreSQL holds no bytes of media");
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    alice.upload(pattern(INLINE)).await;
    assert_eq!(server.blobs().len(), 0);
    alice.upload(pattern(INLINE + 1)).await;
    assert_eq!(server.blobs().len(), 1);
}

#[tokio::test]
async fn the_same_bytes_are_one_file_however_often_they_are_uploaded() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);

    let first = alice.upload(pattern(MIB)).content_type("image/png").filename("a.png").await;
    let second = bob.upload(pattern(MIB)).content_type("text/plain").await;

    assert_eq!(server.blobs().len(), 1);
    let (first, second) = (bob.get(paths::download(&first)).await, bob.get(paths::download(&second)).await);
    assert_eq!((first.header("content-type"), second.header("content-type")), ("image/png", "text/plain"));
    assert_eq!(first.bytes(), second.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_from_many_at_once_are_one_file() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let uploads = (0..16).map(|_| tokio::spawn(alice.upload(pattern(MIB)).into_future())).collect::<Vec<_>>();
    for upload in uploads {
        let mxc = upload.await.unwrap();
        assert!(*alice.get(paths::download(&mxc)).await.bytes() == pattern(MIB));
    }

    assert_eq!(server.blobs().len(), 1);
}

#[tokio::test]
async fn without_a_content_type_it_is_an_octet_stream() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let absent = alice.upload("hello").await;
    let empty = alice.upload("hello").content_type("").await;

    for mxc in [absent, empty] {
        assert_eq!(alice.get(paths::download(&mxc)).await.header("content-type"), "application/octet-stream");
    }
}

#[tokio::test]
async fn an_upload_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let server = TestServer::with("limits.max_upload_size = '100KiB'").await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    connection.send(head(&alice, "Content-Length: 102401\r\nExpect: 100-continue")).await;
    let refusal = connection.response().await;

    assert_eq!(refusal.error(), (413, "M_TOO_LARGE".to_owned()));
    server.holds_nothing().await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    connection.send(head(&alice, "Content-Length: 5\r\nExpect: 100-continue")).await;
    assert_eq!(connection.head().await.0, 100);
    connection.send("hello").await;

    let mxc = connection.response().await.mxc();
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn the_size_limit_itself_is_allowed() {
    let server = TestServer::with("limits.max_upload_size = '100KiB'").await;
    let alice = server.user("alice").await;

    let allowed = alice.post(paths::UPLOAD).body(pattern(102_400)).await;
    let refused = alice.post(paths::UPLOAD).body(pattern(102_401)).await;

    assert_eq!(allowed.status(), 200);
    assert_eq!(refused.error(), (413, "M_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_listens_still_hears_that_it_is_too_much() {
    let server = TestServer::with("limits.max_upload_size = '1MiB'").await;
    let alice = server.user("alice").await;

    // Much more than all buffers between the two hold.
    let body = pattern(40 * MIB);
    for (headers, body) in [
        (format!("Content-Length: {}", body.len()), body.clone()),
        ("Transfer-Encoding: chunked".to_owned(), chunked(&body)),
    ] {
        let mut connection = server.connect().await;
        connection.send(head(&alice, &headers)).await;
        connection.send(&body).await;
        assert_eq!(connection.response().await.error(), (413, "M_TOO_LARGE".to_owned()), "{headers}");
    }
    server.holds_nothing().await;
}

#[tokio::test]
async fn an_upload_that_turns_out_too_large_is_refused_while_it_arrives() {
    let server = TestServer::with("limits.max_upload_size = '1MiB'").await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    connection.send(head(&alice, "Transfer-Encoding: chunked")).await;
    connection.send(format!("{:x}\r\n", 100 * MIB)).await;
    connection.send(pattern(MIB + 1)).await;

    assert_eq!(connection.response().await.error(), (413, "M_TOO_LARGE".to_owned()));
    server.holds_nothing().await;
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_nothing() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for headers in ["Content-Length: 10000000", "Transfer-Encoding: chunked"] {
        let mut connection = server.connect().await;
        connection.send(head(&alice, headers)).await;
        connection.send(format!("{:x}\r\n", 10_000_000)).await;
        connection.send(pattern(3 * MIB)).await;
        server.is_receiving().await;
        drop(connection);
        server.holds_nothing().await;
    }
    assert_eq!(server.metric("tintype_uploads_total").await, 0);
}

#[tokio::test]
async fn a_chunked_body_that_ends_without_its_last_chunk_is_not_stored() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    connection.send(head(&alice, "Transfer-Encoding: chunked")).await;
    connection.send("5\r\nhello\r\n").await;
    connection.send("this is no chunk\r\n").await;
    connection.rest().await;

    assert_eq!(server.metric("tintype_uploads_total").await, 0);
}

#[tokio::test]
async fn an_upload_that_stops_arriving_is_given_up_and_leaves_nothing() {
    let server = TestServer::with("http.body_idle_timeout = '100ms'").await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    connection.send(head(&alice, "Content-Length: 10000000")).await;
    connection.send(pattern(MIB)).await;

    assert_eq!(connection.response().await.error(), (408, "M_UNKNOWN".to_owned()));
    server.holds_nothing().await;
}

#[tokio::test]
async fn an_upload_that_never_begins_is_given_up() {
    let server = TestServer::with("http.body_idle_timeout = '100ms'").await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    connection.send(head(&alice, "Content-Length: 10")).await;

    assert_eq!(connection.response().await.error(), (408, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_refused_upload_leaves_the_connection_usable() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    for body in ["short".to_owned(), "x".repeat(2 * MIB)] {
        let length = body.len();
        connection
            .send(format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n", paths::UPLOAD))
            .await;
        connection.send(body).await;
        assert_eq!(connection.response().await.error(), (401, "M_MISSING_TOKEN".to_owned()));
    }
    connection.send(head(&alice, "Content-Length: 5") + "hello").await;

    assert_eq!(connection.response().await.status(), 200);
}

#[tokio::test]
async fn guests_do_not_upload() {
    let server = TestServer::start().await;
    let guest = server.guest("visitor").await;

    let refusal = guest.post(paths::UPLOAD).body("hello").await;

    assert_eq!(refusal.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn nobody_uploads_without_a_token() {
    let server = TestServer::start().await;

    let refusal = server.anonymous().post(paths::UPLOAD).body(pattern(MIB)).await;

    assert_eq!(refusal.error(), (401, "M_MISSING_TOKEN".to_owned()));
    server.holds_nothing().await;
}

#[tokio::test]
async fn the_old_paths_take_uploads_too() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for path in ["/_matrix/media/r0/upload", "/_matrix/media/v1/upload"] {
        let mxc = alice.post(path).body("hello").await.mxc();
        assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    }
}

#[tokio::test]
async fn labels_that_are_longer_than_any_real_one_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let name = alice.post(format!("{}?filename={}", paths::UPLOAD, "x".repeat(1025))).body("hello").await;
    let content_type = alice.post(paths::UPLOAD).header("content-type", "x".repeat(1025)).body("hello").await;

    assert_eq!(name.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(content_type.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[tokio::test]
async fn a_file_name_that_cannot_be_decoded_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for name in ["%ff", "%zz", "%"] {
        let refusal = alice.post(format!("{}?filename={name}", paths::UPLOAD)).body("hello").await;
        assert_eq!(refusal.error(), (400, "M_INVALID_PARAM".to_owned()), "{name}");
    }
}
