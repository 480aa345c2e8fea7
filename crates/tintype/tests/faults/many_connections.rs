//! More connections than are allowed at once.

use std::{io, time::Duration};

use crate::support::{Installation, PATIENCE, eventually};

#[test]
fn connections_above_the_limit_wait_and_are_served_later() {
    let installation = Installation::new("http.max_connections = 4");
    let server = installation.start();
    let client = server.client();
    let mut held: Vec<_> = (0..4).map(|_| client.connect()).collect();
    eventually("the first are accepted", || server.connections() == 4);
    let mut waiting: Vec<_> = (0..8).map(|_| client.connect()).collect();
    for connection in &mut waiting {
        connection.send(client.upload_head("waiting", 4).as_bytes()).unwrap();
        connection.send(b"wait").unwrap();
    }
    waiting[0].socket().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let early = waiting[0].socket().peek(&mut [0; 1]).map_err(|error| error.kind());

    held.truncate(3);
    waiting[0].socket().set_read_timeout(Some(PATIENCE)).unwrap();

    assert_eq!(early, Err(io::ErrorKind::WouldBlock), "it was served while all places were taken");
    for mut connection in waiting {
        assert_eq!(connection.response().unwrap().status, 200);
    }
    eventually("those that were answered are gone", || server.connections() == 3);
}
