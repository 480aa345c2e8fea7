//! From one start to the next: what is kept, what is cleaned up, and how a server ends.

use std::{fs, os::unix::fs::FileTypeExt as _};

use tintype_testing::{Client, Connection, TestServer, embedded_only, paths, pattern};

/// More than the buffers of a connection take.
const MORE_THAN_BUFFERS: usize = 40 * 1024 * 1024;

/// A connection on which a download has begun that its buffers do not hold.
async fn reading(server: &TestServer) -> Connection {
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(MORE_THAN_BUFFERS)).await;
    let mut connection = server.connect().await;
    let (path, token) = (paths::download(&mxc), alice.token());
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    connection.head().await;
    connection
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let small = alice.upload("hello").content_type("text/plain").filename("☃.txt").await;
    let large = alice.upload(pattern(3_000_000)).content_type("video/mp4").await;

    let _server = server.restart().await;

    let answer = alice.get(paths::download(&small)).await;
    assert_eq!(answer.bytes(), "hello");
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(answer.header("content-disposition"), "inline; filename*=utf-8''%E2%98%83.txt");
    assert!(*alice.get(paths::download(&large)).await.bytes() == pattern(3_000_000));
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_does_not_start() {
    embedded_only!("a folder that is one server's own");
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let refusal = server.start_another_beside().await.unwrap_err();

    assert!(refusal.contains("media"), "{refusal}");
    assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start() {
    embedded_only!("it lays files where a crash leaves them");
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(100_000)).await;
    let media = server.data_dir().join("media");
    let blob = server.blobs().remove(0);
    let name = blob.file_name().unwrap().to_str().unwrap();
    // A temporary file, a blob that has its name but no record, and one that has its record but still its marker.
    fs::write(media.join("tmp/0123456789ab"), "half an upload").unwrap();
    let unrecorded = format!("{}-000000000000", name.split_once('-').unwrap().0);
    fs::copy(&blob, blob.with_file_name(&unrecorded)).unwrap();
    fs::write(media.join("pending").join(&unrecorded), "").unwrap();
    fs::write(media.join("pending").join(name), "").unwrap();

    let server = server.restart().await;

    assert_eq!(server.blobs(), [blob]);
    assert_eq!(fs::read_dir(media.join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(media.join("pending")).unwrap().count(), 0);
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == pattern(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_finishes_the_download_that_is_under_way() {
    let server = TestServer::start().await;
    let mut connection = reading(&server).await;

    let draining = tokio::spawn(server.drain());
    let body = connection.bytes(MORE_THAN_BUFFERS).await;

    assert!(body == pattern(MORE_THAN_BUFFERS));
    assert_eq!(connection.rest().await.len(), 0);
    draining.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_is_not_ready_any_more() {
    embedded_only!("of several nodes only one has the download that keeps it from its end");
    let server = TestServer::start().await;
    let mut connection = reading(&server).await;
    let telemetry = server.telemetry();
    assert_eq!(telemetry.get("/ready").await.status(), 200);

    let draining = tokio::spawn(server.drain());

    // Until the task has begun; the download keeps the server from its end.
    while telemetry.get("/ready").await.status() == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(telemetry.get("/ready").await.status(), 503);
    assert_eq!(telemetry.get("/health").await.status(), 200);
    connection.bytes(MORE_THAN_BUFFERS).await;
    draining.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_does_not_wait_for_ever() {
    let server = TestServer::with("http.drain_timeout = '100ms'").await;
    let mut connection = reading(&server).await;

    server.drain().await;

    assert!(connection.rest().await.len() < MORE_THAN_BUFFERS);
}

#[tokio::test]
async fn a_connection_that_waits_for_its_next_request_does_not_hold_up_the_end() {
    let server = TestServer::with("http.drain_timeout = '1h'").await;
    let mut connection = server.connect().await;
    connection.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    connection.response().await;

    server.drain().await;

    assert_eq!(connection.rest().await.len(), 0);
}

#[tokio::test]
async fn a_unix_socket_is_listened_on_beside_a_port() {
    embedded_only!("a socket file is one node's");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tintype.sock");
    let server = TestServer::with(&format!("http.listen = ['127.0.0.1:0', 'unix:{}']", socket.display())).await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let local = Client::of_socket(&socket).with_token(alice.token());
    assert_eq!(local.get(paths::download(&mxc)).await.bytes(), "hello");

    server.drain().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_socket_file_that_nobody_listens_on_is_replaced() {
    embedded_only!("a socket file is one node's");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tintype.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());

    let config = format!("http.listen = ['unix:{}', '127.0.0.1:0']", socket.display());
    let _server = TestServer::with(&config).await;

    assert_eq!(Client::of_socket(&socket).get(paths::CONFIG).await.status(), 401);
}
