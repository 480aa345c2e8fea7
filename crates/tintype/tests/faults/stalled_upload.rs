//! Uploads that stop in the middle.

use std::time::Duration;

use crate::support::{Installation, Inventory, PATIENCE, closes_within, eventually, unfinished};

const LENGTH: usize = 4 * 1024 * 1024;

fn assert_cut(sent: usize) {
    let installation = Installation::new("http.body_idle_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let mut connection = client.connect();

    connection.send(client.upload_head("stalled", LENGTH).as_bytes()).unwrap();
    connection.send(&vec![1; sent]).unwrap();
    let response = connection.response().unwrap();

    assert_eq!(response.status, 408);
    assert_eq!(response.field("errcode"), "M_UNKNOWN");
    assert!(closes_within(&connection, Duration::from_secs(5)), "the connection stays open");
    eventually("the temporary file is removed", || unfinished(&installation.media_dir()).is_empty());
    assert_eq!(Inventory::take(&installation.data_dir()).media.len(), 0);
    assert_eq!(client.upload("next", b"next").unwrap().status, 200);
}

#[test]
fn an_upload_that_stops_in_the_middle_is_cut_and_leaves_nothing() {
    assert_cut(LENGTH / 2);
}

#[test]
fn an_upload_that_never_begins_is_cut() {
    assert_cut(0);
}

#[test]
fn an_upload_whose_client_goes_away_leaves_nothing() {
    let installation = Installation::new("");
    let server = installation.start();
    let client = server.client();
    let mut connection = client.connect();
    connection.send(client.upload_head("gone", LENGTH).as_bytes()).unwrap();
    connection.send(&vec![1; LENGTH - 1]).unwrap();
    eventually("the upload is being received", || !unfinished(&installation.media_dir()).is_empty());

    drop(connection);

    eventually("the temporary file is removed", || unfinished(&installation.media_dir()).is_empty());
    eventually("the connection is gone", || server.connections() == 0);
    assert_eq!(Inventory::take(&installation.data_dir()).media.len(), 0);
}

#[test]
fn an_upload_that_is_slow_but_never_stops_is_stored() {
    let installation = Installation::new("http.body_idle_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let mut connection = client.connect();
    connection.send(client.upload_head("slow", 6).as_bytes()).unwrap();

    for byte in b"slowly" {
        // Nothing is answered meanwhile: this waits, for most of the time-out.
        assert!(!closes_within(&connection, Duration::from_millis(400)));
        connection.send(&[*byte]).unwrap();
    }

    connection.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    let uri = connection.response().unwrap().content_uri();
    client.assert_whole(&uri, b"slowly");
}
