//! The end of a server, wanted and unwanted, and who may begin in its place.

use std::{io, net::TcpStream, process::Command};

use crate::support::{Connection, Installation, PATIENCE, Random, closes_within, eventually, unfinished};

/// More than the kernel keeps for a client that does not read.
const LENGTH: usize = 32 * 1024 * 1024;

#[test]
fn what_is_under_way_at_sigterm_is_finished() {
    let installation = Installation::new("");
    let mut server = installation.start();
    let client = server.client();
    let body = Random::new(3).bytes(LENGTH);
    let uri = client.upload("large", &body).unwrap().content_uri();
    let mut download = client.connect();
    download.send(client.download_head(&uri).as_bytes()).unwrap();
    let head = download.head().unwrap();
    let upload_body = Random::new(4).bytes(1024 * 1024);
    let (first, second) = upload_body.split_at(512 * 1024);
    let mut upload = client.connect();
    upload.send(client.upload_head("under-way", upload_body.len()).as_bytes()).unwrap();
    upload.send(first).unwrap();
    eventually("the upload is being received", || !unfinished(&installation.media_dir()).is_empty());
    let silent = client.connect();
    let mut waiting = client.connect();
    waiting.send(client.download_head("mxc://localhost/none").as_bytes()).unwrap();
    assert_eq!(waiting.response().unwrap().status, 404);
    eventually("all are accepted", || server.connections() == 4);

    server.terminate();

    eventually("new connections are refused", || {
        TcpStream::connect(client.address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    });
    assert!(closes_within(&silent, PATIENCE));
    assert!(closes_within(&waiting, PATIENCE));
    upload.send(second).unwrap();
    let uploaded = upload.response().unwrap().content_uri();
    assert!(download.read(head.length).unwrap() == body);
    assert_eq!(server.exit().code(), Some(0));
    let server = installation.start();
    server.client().assert_whole(&uploaded, &upload_body);
}

#[test]
fn a_request_that_never_ends_is_cut_at_the_end_of_the_drain() {
    let installation = Installation::new("http.drain_timeout = \"1s\"");
    let mut server = installation.start();
    let client = server.client();
    let mut upload = client.connect();
    upload.send(client.upload_head("endless", LENGTH).as_bytes()).unwrap();
    upload.send(&vec![1; 200 * 1024]).unwrap();
    eventually("the upload is being received", || !unfinished(&installation.media_dir()).is_empty());

    server.terminate();

    assert_eq!(server.exit().code(), Some(0));
    assert!(upload.response().is_err());
    assert_eq!(unfinished(&installation.media_dir()).len(), 0);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let installation = Installation::new("");
    let server = installation.start();
    let config = installation.write_config("second.toml", "second.sock", "");

    let second = Command::new(env!("CARGO_BIN_EXE_tintype")).arg("serve").arg("--config").arg(config).output().unwrap();

    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("is used by another tintype process"), "{said}");
    assert!(said.contains(installation.media_dir().to_str().unwrap()), "{said}");
    assert_eq!(server.client().upload("still", b"there").unwrap().status, 200);
}

#[test]
fn the_folder_of_a_killed_server_is_free() {
    let installation = Installation::new("");
    let server = installation.start();
    let uri = server.client().upload("before", b"before").unwrap().content_uri();

    server.kill();

    installation.start().client().assert_whole(&uri, b"before");
}

#[test]
fn a_connection_is_refused_once_the_server_is_gone() {
    let installation = Installation::new("");
    let mut server = installation.start();
    let address = server.client().address;

    server.terminate();

    assert_eq!(server.exit().code(), Some(0));
    assert!(Connection::open(address).is_err());
}
