//! Connections that send nothing, or next to nothing.

use std::{
    io::{self, Read as _, Write as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Connection, Installation, PATIENCE, Server, closes_within, eventually, raise_open_files};

const IDLE: u64 = 1000;

/// What a thousand idle connections may cost, in bytes.
const MEMORY: u64 = 40 * 1024 * 1024;

/// How long a download and an upload may take beside them, on a machine that is busy.
const PROMPTLY: Duration = Duration::from_secs(2);

#[test]
fn a_thousand_silent_connections_hinder_nobody_and_are_closed() {
    raise_open_files();
    // As services are often started: with a soft limit of open files that is far below the hard one.
    let installation = Installation::new("http.header_timeout = \"10s\"");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 256; exec \"$0\" serve --config \"$1\"", env!("CARGO_BIN_EXE_tintype")]);
    command.arg(installation.config());
    let server = Server::start(&installation, command);
    let client = server.client();
    let body = vec![7; 200 * 1024];
    let uri = client.upload("before", &body).unwrap().content_uri();
    let memory = server.anonymous_memory();

    let silent: Vec<_> = (0..IDLE).map(|_| client.connect()).collect();
    eventually("all are accepted", || server.connections() >= IDLE);

    for number in 0..50 {
        let asked = Instant::now();
        client.assert_whole(&uri, &body);
        client.upload("meanwhile", format!("upload {number}").as_bytes()).unwrap().content_uri();
        let took = asked.elapsed();
        assert!(took < PROMPTLY, "a download and an upload took {took:?}");
    }
    assert!(server.connections() >= IDLE, "they were closed too early for this test");
    let grown = server.anonymous_memory().saturating_sub(memory);
    assert!(grown < MEMORY, "memory grew by {grown} bytes");
    let deadline = Instant::now() + PATIENCE;
    for connection in &silent {
        assert!(closes_within(connection, deadline.saturating_duration_since(Instant::now())));
    }
    eventually("all are closed", || server.connections() == 0);
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_cut() {
    let installation = Installation::new("http.header_timeout = \"2s\"");
    let server = installation.start();
    let connection = server.client().connect();
    let mut socket = connection.socket();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let began = Instant::now();

    // A head without an end.
    let mut bytes = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
    let cut = loop {
        if socket.write_all(&[*bytes.next().unwrap()]).is_err() {
            break true;
        }
        match socket.read(&mut [0; 1]) {
            Ok(read) => break read == 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break true,
        }
        assert!(began.elapsed() < PATIENCE, "it is never cut");
    };

    assert!(cut, "something was answered to half a head");
    assert!(began.elapsed() >= Duration::from_secs(2), "it was cut too early");
}

#[test]
fn a_connection_that_waits_for_its_next_request_is_closed() {
    let installation = Installation::new("http.header_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let connections: Vec<_> = thread::scope(|scope| {
        let ask = || {
            let mut connection = Connection::open(client.address).unwrap();
            connection.send(client.upload_head("first", 5).as_bytes()).unwrap();
            connection.send(b"first").unwrap();
            assert_eq!(connection.response().unwrap().status, 200);
            connection
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    for connection in &connections {
        assert!(closes_within(connection, PATIENCE));
    }
}
