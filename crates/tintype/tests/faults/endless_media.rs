//! Media of another server that has no end.

use std::fs;

use tintype_testing::{Peer, Script, tls};
use tokio::runtime::Builder;

use crate::support::{Installation, eventually};

/// The largest media that is taken, in bytes.
const LIMIT: usize = 200 * 1024 * 1024;

/// What passing all of it on may cost, in bytes.
const MEMORY: u64 = 30 * 1024 * 1024;

/// How much is read between two looks at the memory.
const PIECE: usize = 10 * 1024 * 1024;

#[test]
fn media_of_another_server_is_passed_on_without_being_held_in_memory_and_cut_where_it_is_too_large() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let peer = runtime.block_on(Peer::start("theirs"));
    let begin = "--bound\r\nContent-Type: application/json\r\n\r\n{}\r\n--bound\r\n\r\n";
    let head = "Content-Type: multipart/mixed; boundary=bound\r\n";
    peer.says(
        "/_matrix/federation/v1/media/download/",
        Script::unfinished(200, head, &[begin.as_bytes()]).endless_chunks(vec![b'x'; 64 * 1024]),
    );
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    fs::write(&authority, tls::authority_pem()).unwrap();
    let installation = Installation::new(&format!(
        "limits.max_remote_size = \"200MiB\"\n\
         federation.allow_addresses = [\"127.0.0.0/8\"]\n\
         federation.extra_ca_files = [\"{}\"]",
        authority.display()
    ));
    let server = installation.start();
    let client = server.client();
    client.upload("before", &vec![7; 200 * 1024]).unwrap().content_uri();
    let memory = server.anonymous_memory();
    let mut connection = client.connect();

    connection.send(client.download_head(&peer.mxc("endless").to_string()).as_bytes()).unwrap();

    assert_eq!(connection.head().unwrap().status, 200);
    for _ in 1..LIMIT / PIECE {
        connection.read(PIECE).unwrap();
        let grown = server.anonymous_memory().saturating_sub(memory);
        assert!(grown < MEMORY, "{grown} bytes more");
    }
    assert!(connection.read_to_end().len() < 2 * PIECE);
    eventually("nothing of it is kept", || files(&installation.media_dir().join("tmp")) == 0);
    runtime.block_on(peer.is_left_alone());
}

fn files(folder: &std::path::Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
