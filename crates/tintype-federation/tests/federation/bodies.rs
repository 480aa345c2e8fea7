//! Bodies that do not come as they should: none is taken for whole, and none is waited for without end.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use http::{StatusCode, header};
use tintype_federation::{Federation, FederationParts, FetchError, FetchTimes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::interval,
};
use tokio_rustls::server::TlsStream;

use crate::{
    fetch::{LONG, download, federation, mixed, outcome, parts, without_key},
    matrix,
    support::{Peer, World, answer},
};

/// The head and the beginning of a multipart answer of 1000 bytes.
const BEGINNING: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=abc\r\nContent-Length: 1000\r\n\r\n\
                         --abc\r\n\r\n{}\r\n--abc\r\n\r\nhello";

/// What comes after the beginning of an answer.
#[derive(Clone, Copy)]
enum Then {
    /// The connection ends in order.
    End,
    /// It breaks.
    Break,
    /// Nothing.
    Silence,
    /// Now and then something.
    Drip,
    /// More and more.
    Flood,
}

/// A Matrix server that begins each answer so.
async fn speaking(world: &World, beginning: &'static str, then: Then) -> Peer {
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test"]);
    Peer::raw(world.federation(3), tls, move |_, stream| speak(stream, beginning, then)).await
}

async fn speak(mut stream: TlsStream<TcpStream>, beginning: &str, then: Then) {
    read_head(&mut stream).await;
    stream.write_all(beginning.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut ticks = interval(Duration::from_millis(10));
    // What is written to somebody who is gone is not our concern.
    match then {
        Then::End => _ = stream.shutdown().await,
        Then::Break => {}
        Then::Silence => pending().await,
        Then::Drip => {
            while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
                ticks.tick().await;
            }
        }
        Then::Flood => while stream.write_all(&[b'x'; 10_000]).await.is_ok() {},
    }
}

async fn read_head(stream: &mut TlsStream<TcpStream>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

fn in_times(world: &World, times: FetchTimes) -> Federation {
    Federation::new(FederationParts { times, ..parts(world) })
}

#[tokio::test]
async fn the_first_bytes_are_there_while_the_rest_is_still_to_come() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let (go_on, tls) = (Arc::new(Notify::new()), world.authority.server(&["example.test"]));
    let told = go_on.clone();
    let _peer = Peer::raw(world.federation(3), tls, move |_, mut stream| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=abc\r\nConnection: close\r\n\r\n";
            stream.write_all(format!("{head}--abc\r\n\r\n{{}}\r\n--abc\r\n\r\nhel").as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            told.notified().await;
            stream.write_all(b"lo\r\n--abc--").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;

    let mut media = download(&federation(&world)).await.unwrap();
    assert_eq!(media.body.next().await.unwrap().unwrap(), "hel");
    go_on.notify_one();

    assert_eq!(media.body.next().await.unwrap().unwrap(), "lo");
    assert!(media.body.next().await.is_none());
}

#[tokio::test]
async fn whoever_wants_no_more_ends_the_connection() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let (ended, tls) = (Arc::new(Notify::new()), world.authority.server(&["example.test"]));
    let tell = ended.clone();
    let _peer = Peer::raw(world.federation(3), tls, move |_, stream| {
        let tell = tell.clone();
        async move {
            speak(stream, BEGINNING, Then::Flood).await;
            tell.notify_one();
        }
    })
    .await;
    let mut media = download(&federation(&world)).await.unwrap();
    media.body.next().await.unwrap().unwrap();

    drop(media);

    ended.notified().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_whole() {
    for then in [Then::End, Then::Break] {
        let world = World::new().await;
        let _peer = speaking(&world, BEGINNING, then).await;
        let error = outcome(&federation(&world)).await.unwrap_err();
        assert!(matches!(error, FetchError::BrokenOff(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_plain_body_that_breaks_off_is_not_whole() {
    for beginning in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let world = World::new().await;
        let _peer = speaking(&world, beginning, Then::End).await;
        let error = outcome(&without_key(&world)).await.unwrap_err();
        assert!(matches!(error, FetchError::BrokenOff(_)), "{beginning}: {error:?}");
    }
}

#[tokio::test]
async fn a_plain_body_in_chunks_is_whole_with_the_last_one() {
    let world = World::new().await;
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let _peer = speaking(&world, text, Then::Silence).await;

    let media = download(&without_key(&world)).await.unwrap();

    assert_eq!(media.content_length, None);
    assert_eq!(crate::fetch::bytes(media).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_plain_body_whose_end_nobody_can_know_is_refused() {
    for beginning in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let world = World::new().await;
        let _peer = speaking(&world, beginning, Then::End).await;
        let error = outcome(&without_key(&world)).await.unwrap_err();
        assert!(matches!(error, FetchError::Malformed(_)), "{beginning}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_packed_is_refused() {
    for encoding in ["gzip", "br", "identity, gzip", ""] {
        let world = World::new().await;
        let _peer = matrix(&world, move |_| {
            let mut answer = mixed("", "hello");
            answer.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            answer
        })
        .await;
        for federation in [federation(&world), without_key(&world)] {
            let error = outcome(&federation).await.unwrap_err();
            assert!(matches!(error, FetchError::Malformed(_)), "{encoding}: {error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_said_not_to_be_packed_is_not() {
    let world = World::new().await;
    let _peer = matrix(&world, |_| answer(StatusCode::OK, &[(header::CONTENT_ENCODING, "Identity")], "hello")).await;

    assert_eq!(outcome(&without_key(&world)).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let world = World::new().await;
    let _peer = speaking(&world, BEGINNING, Then::Silence).await;
    let federation = in_times(&world, FetchTimes { idle: Duration::from_millis(200), ..LONG });

    let mut media = download(&federation).await.unwrap();

    assert_eq!(media.body.next().await.unwrap().unwrap(), "hello");
    let error = media.body.next().await.unwrap().unwrap_err();
    assert!(matches!(&error, FetchError::BrokenOff(why) if why.contains("nothing came")), "{error:?}");
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let world = World::new().await;
    let _peer = speaking(&world, BEGINNING, Then::Drip).await;
    let federation = in_times(&world, FetchTimes { total: Duration::from_millis(500), ..LONG });

    let error = outcome(&federation).await.unwrap_err();

    assert!(matches!(&error, FetchError::BrokenOff(why) if why.contains("too long")), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up_with_the_whole_fetch() {
    let world = World::new().await;
    let _peer = speaking(&world, "", Then::Silence).await;
    let federation = in_times(&world, FetchTimes { total: Duration::from_millis(500), ..LONG });

    let error = outcome(&federation).await.unwrap_err();

    assert!(matches!(error, FetchError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_error_is_an_error_however_long_or_slow_its_text_is() {
    for (beginning, then) in [
        ("HTTP/1.1 500 Oh\r\n\r\n", Then::Flood),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n{", Then::Silence),
        ("HTTP/1.1 500 Oh\r\n\r\n{", Then::Drip),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n{", Then::Break),
    ] {
        let world = World::new().await;
        let _peer = speaking(&world, beginning, then).await;
        let federation = in_times(&world, FetchTimes { answer: Duration::from_secs(1), ..LONG });
        let error = outcome(&federation).await.unwrap_err();
        assert!(matches!(error, FetchError::Refused { status: 500, errcode: None }), "{error:?}");
    }
}

#[tokio::test]
async fn the_first_part_is_bounded_while_it_comes() {
    let world = World::new().await;
    let text = "HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\n{\"a\":\"";
    let _peer = speaking(&world, text, Then::Flood).await;

    let error = outcome(&federation(&world)).await.unwrap_err();

    assert!(matches!(error, FetchError::Malformed(_)), "{error:?}");
}
