//! Files that somebody changed or removed behind the server's back.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use crate::support::{Installation, Random, Server};

const LENGTH: usize = 4 * 1024 * 1024;

/// A server with one blob in a file.
struct OneBlob {
    installation: Installation,
    server: Server,
    uri: String,
}

impl OneBlob {
    fn new() -> Self {
        let installation = Installation::new("cache.memory = 0");
        let server = installation.start();
        let uri = server.client().upload("blob", &Random::new(5).bytes(LENGTH)).unwrap().content_uri();
        Self { installation, server, uri }
    }

    fn file(&self) -> PathBuf {
        fn find(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    find(&path, found);
                } else if !path.ends_with("lock") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        find(&self.installation.media_dir(), &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn truncate(&self, length: u64) {
        OpenOptions::new().write(true).open(self.file()).unwrap().set_len(length).unwrap();
    }

    fn assert_lives(&self) {
        let client = self.server.client();
        let body = Random::new(6).bytes(LENGTH);
        let uri = client.upload("another", &body).unwrap().content_uri();
        client.assert_whole(&uri, &body);
    }
}

#[test]
fn a_download_of_a_truncated_file_does_not_look_complete() {
    let blob = OneBlob::new();
    blob.truncate(LENGTH as u64 / 2);
    let client = blob.server.client();
    let mut connection = client.connect();

    connection.send(client.download_head(&blob.uri).as_bytes()).unwrap();
    let head = connection.head().unwrap();
    let body = connection.read_to_end();

    assert_eq!((head.status, head.length), (200, LENGTH));
    assert!(body.len() <= LENGTH / 2, "{} bytes came from half a file", body.len());
    blob.server.wait_for_log(&["WARN", "damaged", blob.file().to_str().unwrap()]);
    blob.assert_lives();
}

#[test]
fn a_download_of_an_emptied_file_does_not_look_complete() {
    let blob = OneBlob::new();
    blob.truncate(0);

    let download = blob.server.client().download(&blob.uri);

    assert!(download.is_err());
    blob.server.wait_for_log(&["damaged", blob.file().to_str().unwrap()]);
    blob.assert_lives();
}

#[test]
fn a_file_that_is_truncated_during_its_download_ends_it() {
    let blob = OneBlob::new();
    let client = blob.server.client();
    let body = Random::new(7).bytes(8 * LENGTH);
    fs::remove_file(blob.file()).unwrap();
    let uri = client.upload("large", &body).unwrap().content_uri();
    let mut connection = client.connect();
    connection.send(client.download_head(&uri).as_bytes()).unwrap();
    let head = connection.head().unwrap();

    blob.truncate(0);
    let read = connection.read_to_end();

    assert_eq!(head.length, body.len());
    assert!(read.len() < body.len());
    assert!(body.starts_with(&read), "what came is not the beginning");
    blob.server.wait_for_log(&["damaged"]);
    blob.assert_lives();
}

#[test]
fn a_download_of_a_removed_file_is_an_internal_error() {
    let blob = OneBlob::new();
    fs::remove_file(blob.file()).unwrap();

    let response = blob.server.client().download(&blob.uri).unwrap();

    assert_eq!(response.status, 500);
    assert_eq!(response.field("errcode"), "M_UNKNOWN");
    blob.server.wait_for_log(&["ERROR", "cannot be opened", "location"]);
    blob.assert_lives();
}
