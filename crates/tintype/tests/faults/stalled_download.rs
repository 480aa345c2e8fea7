//! Clients that ask for much and read little.

use std::{thread, time::Duration};

use crate::support::{Installation, Random, eventually};

/// More than the kernel keeps for a client that does not read.
const LENGTH: usize = 32 * 1024 * 1024;

const STALLED: usize = 4;

#[test]
fn a_client_that_stops_reading_is_cut_and_others_are_served() {
    let installation = Installation::new("http.write_stall_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let body = Random::new(1).bytes(LENGTH);
    let uri = client.upload("large", &body).unwrap().content_uri();
    let mut stalled: Vec<_> = (0..STALLED).map(|_| client.connect()).collect();

    for connection in &mut stalled {
        connection.send(client.download_head(&uri).as_bytes()).unwrap();
        let head = connection.head().unwrap();
        assert_eq!((head.status, head.length), (200, LENGTH));
    }

    client.assert_whole(&uri, &body);
    eventually("the stalled connections are cut", || server.connections() == 0);
    server.wait_for_log(&["method=\"GET\"", "cut=true"]);
    for mut connection in stalled {
        let read = connection.read_to_end().len();
        assert!(read < LENGTH, "the download came to its end");
    }
    client.assert_whole(&uri, &body);
}

#[test]
fn a_client_that_reads_slowly_but_never_stops_gets_everything() {
    let installation = Installation::new("http.write_stall_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let body = Random::new(2).bytes(LENGTH);
    let uri = client.upload("large", &body).unwrap().content_uri();
    let mut connection = client.connect();

    connection.send(client.download_head(&uri).as_bytes()).unwrap();
    let head = connection.head().unwrap();
    let mut pieces = body.chunks(LENGTH / 8);
    while let Some(piece) = pieces.next() {
        assert!(connection.read(piece.len()).unwrap() == piece);
        if pieces.len() > 4 {
            // The client's slowness, which is what this is about: less than the time-out each time, more in all.
            thread::sleep(Duration::from_millis(500));
        }
    }

    assert_eq!(head.length, LENGTH);
}
