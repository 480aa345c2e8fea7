//! The servers start, keep what they were given, and end with whoever started them.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tintype_services::{Postgres, SeaweedFs};

/// Where a server can be connected to, of a URL.
fn address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(address, _)| address).to_owned()
}

fn answers(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn each_test_has_a_database_of_its_own() {
    let (one, other) = (Postgres::shared().database(), Postgres::shared().database());

    assert_ne!(one.url(), other.url());
    assert!(answers(&address(&one.url())));
}

#[test]
fn a_database_server_stops_and_starts_again_where_it_was() {
    let mut server = Postgres::start();
    let before = address(&server.url("postgres"));

    server.stop();
    assert!(!answers(&before));
    server.start_again();

    assert!(answers(&before));
    assert_eq!(address(&server.url("postgres")), before);
}

#[test]
fn a_store_stops_and_starts_again_where_it_was() {
    let mut server = SeaweedFs::start();
    let bucket = server.bucket();

    server.stop();
    assert!(!answers(&address(&bucket.endpoint)));
    server.start_again();

    assert!(answers(&address(&bucket.endpoint)));
}

/// Not a test of its own: what the next one starts and kills.
#[test]
fn started_by_a_test_that_kills_it() {
    if env::var_os("TINTYPE_SERVICES_TO_BE_KILLED").is_none() {
        return;
    }
    println!("\nurl {}", Postgres::shared().url("postgres"));
    println!("url {}", SeaweedFs::shared().endpoint());
    thread::park();
}

#[test]
fn they_end_with_a_process_that_is_killed() {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "started_by_a_test_that_kills_it", "--nocapture"])
        .env("TINTYPE_SERVICES_TO_BE_KILLED", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let urls = lines.filter_map(|line| line.unwrap().strip_prefix("url ").map(address)).take(2).collect::<Vec<_>>();
    assert!(urls.len() == 2 && urls.iter().all(|url| answers(url)));

    child.kill().unwrap();
    child.wait().unwrap();

    let deadline = Instant::now() + Duration::from_mins(1);
    while !urls.iter().all(|url| TcpListener::bind(url).is_ok()) {
        assert!(Instant::now() < deadline, "they are still there");
        thread::sleep(Duration::from_millis(50));
    }
}
