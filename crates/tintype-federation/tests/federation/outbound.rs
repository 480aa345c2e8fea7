//! Requests: what arrives, on which connections, and when we give up.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tintype_domain::Clock as _;
use tintype_federation::{Outbound, OutboundError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::Notify,
};
use url::Url;

use crate::{
    get, hello, matrix, server,
    support::{PATIENCE, Peer, START, World, answer, json},
    text,
};

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let world = World::new().await;
    let peer = matrix(&world, hello).await;
    let target = "/_matrix/a%2Fb/c%20d?x=%7B%22y%22%3A1%7D&z=+";
    let headers = [(header::AUTHORIZATION, HeaderValue::from_static("X-Matrix a=b"))].into_iter().collect();

    let response = world.outbound().get(&server("example.test"), target, headers, PATIENCE).await.unwrap();

    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, "hello"));
    let received = peer.received().pop().unwrap();
    assert_eq!((received.method.clone(), received.target.as_str()), (Method::GET, target));
    let names: Vec<HeaderName> = received.headers.keys().cloned().collect();
    assert_eq!(names, [header::AUTHORIZATION, header::HOST, header::USER_AGENT]);
    assert_eq!(received.headers[header::AUTHORIZATION], "X-Matrix a=b");
}

#[tokio::test]
async fn an_error_status_is_an_answer() {
    let world = World::new().await;
    let _peer = matrix(&world, |_| answer(StatusCode::NOT_FOUND, &[], "no")).await;

    let outbound = world.outbound();
    let response = outbound.get(&server("example.test"), "/", HeaderMap::new(), PATIENCE).await.unwrap();

    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::NOT_FOUND, "no"));
}

#[tokio::test]
async fn json_is_posted() {
    let world = World::new().await;
    let peer = matrix(&world, |_| json(&json!({}))).await;
    let question = json!({ "server_keys": {} });

    let outbound = world.outbound();
    outbound.post_json(&server("example.test"), "/query", &question, PATIENCE).await.unwrap();

    let received = peer.received().pop().unwrap();
    assert_eq!((received.method.clone(), received.target.as_str()), (Method::POST, "/query"));
    assert_eq!(received.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(received.body, question.to_string());
}

#[tokio::test]
async fn a_target_that_would_be_sent_differently_is_refused() {
    let world = World::new().await;
    let outbound = world.outbound();

    for target in ["", "hello", "/a#b", "/a b", "https://other.test/"] {
        let error = outbound.get(&server("example.test"), target, HeaderMap::new(), PATIENCE).await.unwrap_err();
        assert_eq!(error, OutboundError::Target, "{target}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let world = World::new().await;
    let peer = matrix(&world, hello).await;
    let outbound = world.outbound();

    for _ in 0..3 {
        get(&outbound, "example.test").await.unwrap();
    }

    assert_eq!((peer.connections(), peer.received().len()), (1, 3));
}

#[tokio::test]
async fn servers_that_share_an_address_share_no_connection() {
    let world = World::new().await;
    for host in ["a.test", "b.test"] {
        world.dns.host(host, world.address(3));
    }
    let peer = Peer::start(world.federation(3), world.authority.server(&["a.test", "b.test"]), hello).await;
    let outbound = world.outbound();

    get(&outbound, "a.test").await.unwrap();
    get(&outbound, "b.test").await.unwrap();

    let received = peer.received();
    let received: Vec<_> = received.iter().map(|request| (request.connection, request.host())).collect();
    assert_eq!(received, [(0, "a.test"), (1, "b.test")]);
}

#[tokio::test]
async fn servers_that_delegate_to_one_host_share_its_connections() {
    let world = World::new().await;
    let name = format!("matrix.test:{}", world.ports.federation);
    world.dns.host("a.test", world.address(2));
    world.dns.host("b.test", world.address(2));
    world.dns.host("matrix.test", world.address(3));
    let (document, tls) = (json!({ "m.server": name }), world.authority.server(&["a.test", "b.test"]));
    let _hosts = Peer::start(world.https(2), tls, move |_| json(&document)).await;
    let peer = Peer::start(world.federation(3), world.authority.server(&["matrix.test"]), hello).await;
    let outbound = world.outbound();

    get(&outbound, "a.test").await.unwrap();
    get(&outbound, "b.test").await.unwrap();

    let received = peer.received();
    let received: Vec<_> = received.iter().map(|request| (request.connection, request.host())).collect();
    assert_eq!(received, [(0, name.as_str()), (0, name.as_str())]);
}

#[tokio::test]
async fn a_server_that_has_moved_is_spoken_to_where_it_is_now() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let names = [3, 4].map(|host| world.federation(host).to_string());
    let (old_name, moved) = (names[0].clone(), names.clone());
    let (tls, clock) = (world.authority.server(&["example.test"]), world.clock.clone());
    let _host = Peer::start(world.https(2), tls, move |_| {
        json(&json!({ "m.server": if clock.now() == START { &moved[0] } else { &moved[1] } }))
    })
    .await;
    let tls = [3, 4].map(|host| world.authority.server(&[&world.address(host).to_string()]));
    let [old_tls, new_tls] = tls;
    let old = Peer::start(world.federation(3), old_tls, hello).await;
    let new = Peer::start(world.federation(4), new_tls, hello).await;
    let outbound = world.outbound();
    get(&outbound, "example.test").await.unwrap();

    world.clock.advance(Duration::from_hours(24));
    get(&outbound, "example.test").await.unwrap();

    let hosts = |peer: &Peer| peer.received().iter().map(|request| request.host().to_owned()).collect::<Vec<_>>();
    assert_eq!((hosts(&old), hosts(&new)), (vec![old_name], vec![names[1].clone()]));
}

#[tokio::test]
async fn a_request_is_sent_again_when_the_connection_that_was_kept_has_just_been_closed() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test"]);
    let _peer = Peer::raw(world.federation(3), tls, |connection, mut stream| async move {
        let mut request = [0; 4096];
        assert_ne!(stream.read(&mut request).await.unwrap(), 0);
        let number = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connection}");
        stream.write_all(number.as_bytes()).await.unwrap();
        // The next request is read, and not answered.
        assert_ne!(stream.read(&mut request).await.unwrap(), 0);
    })
    .await;
    let outbound = world.outbound();
    assert_eq!(get(&outbound, "example.test").await.unwrap(), "0");

    assert_eq!(get(&outbound, "example.test").await.unwrap(), "1");
}

#[test]
fn a_connection_outlives_the_runtime_of_the_client_that_it_was_made_for() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let peer = runtime.block_on(matrix(&world, hello));
    let mut parts = runtime.block_on(async { world.parts() });
    parts.runtime = runtime.handle().clone();
    let outbound = Outbound::new(parts).unwrap();

    for _ in 0..2 {
        let client = Builder::new_current_thread().build().unwrap();
        assert_eq!(client.block_on(get(&outbound, "example.test")).unwrap(), "hello");
    }

    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let peer = Peer::start(world.federation(3), world.authority.server(&["other.test"]), hello).await;

    let error = get(&world.outbound(), "example.test").await.unwrap_err();

    assert!(matches!(error, OutboundError::Tls { ref name, .. } if name == "example.test"), "{error}");
    assert_eq!(peer.received().len(), 0);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    world.dns.host("example.test", world.address(3));
    let peer = Peer::start(world.federation(3), elsewhere.authority.server(&["example.test"]), hello).await;

    let error = get(&world.outbound(), "example.test").await.unwrap_err();

    assert!(matches!(error, OutboundError::Tls { .. }), "{error}");
    assert_eq!(peer.received().len(), 0);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_left_alone_until_its_time_has_come() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let outbound = world.outbound();
    assert!(matches!(get(&outbound, "example.test").await, Err(OutboundError::Connect { .. })));
    let peer = matrix(&world, hello).await;

    let until = START + Duration::from_secs(10);
    assert_eq!(get(&outbound, "example.test").await, Err(OutboundError::BackingOff { until }));
    assert_eq!(peer.connections(), 0);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(get(&outbound, "example.test").await.unwrap(), "hello");
    assert_eq!(get(&outbound, "example.test").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_slow_server_takes_some_connections_and_not_all() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test"]);
    let peer = Peer::raw(world.federation(3), tls, |_, mut stream| async move {
        let beginning = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
        stream.write_all(beginning).await.unwrap();
        // Until the other end is gone.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut parts = world.parts();
    parts.connect_timeout = Duration::from_secs(1);
    let outbound = Outbound::new(parts).unwrap();
    let get = async |patience| outbound.get(&server("example.test"), "/", HeaderMap::new(), patience).await;
    let mut answers = Vec::new();
    for _ in 0..32 {
        answers.push(get(PATIENCE).await.unwrap());
    }

    let one_more = get(Duration::from_secs(1)).await;

    assert_eq!(one_more.unwrap_err(), OutboundError::TimedOut);
    assert_eq!(peer.connections(), 32);
    // It is not left alone for that.
    answers.pop();
    assert_eq!(get(PATIENCE).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_server_without_a_name_is_left_alone() {
    let world = World::new().await;
    let outbound = world.outbound();

    assert!(matches!(get(&outbound, "nowhere.test").await, Err(OutboundError::Dns { .. })));

    assert!(matches!(get(&outbound, "nowhere.test").await, Err(OutboundError::BackingOff { .. })));
}

#[tokio::test]
async fn a_server_that_does_not_finish_connecting_is_given_up_and_left_alone() {
    let world = World::new().await;
    let name = world.federation(3).to_string();
    let _silent = TcpListener::bind(world.federation(3)).await.unwrap();
    let mut parts = world.parts();
    parts.connect_timeout = Duration::from_millis(50);
    let outbound = Outbound::new(parts).unwrap();

    assert_eq!(get(&outbound, &name).await, Err(OutboundError::TimedOut));

    assert!(matches!(get(&outbound, &name).await, Err(OutboundError::BackingOff { .. })));
}

#[tokio::test]
async fn somebody_without_patience_does_not_have_a_server_left_alone() {
    let world = World::new().await;
    let name = server(&world.federation(3).to_string());
    let _silent = TcpListener::bind(world.federation(3)).await.unwrap();
    let outbound = world.outbound();

    for _ in 0..2 {
        let answer = outbound.get(&name, "/", HeaderMap::new(), Duration::from_millis(20)).await;
        assert_eq!(answer.unwrap_err(), OutboundError::TimedOut);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_but_not_left_alone() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test"]);
    let _silent = Peer::raw(world.federation(3), tls, |_, stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut parts = world.parts();
    parts.connect_timeout = Duration::from_secs(2);
    let outbound = Outbound::new(parts).unwrap();

    // Time enough to connect, and no time at all.
    for patience in [Duration::from_secs(2), Duration::ZERO] {
        let answer = outbound.get(&server("example.test"), "/", HeaderMap::new(), patience).await;
        assert_eq!(answer.unwrap_err(), OutboundError::TimedOut);
    }
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_dropped() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let (asked, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, ends) = (asked.clone(), closed.clone());
    let tls = world.authority.server(&["example.test"]);
    let _peer = Peer::raw(world.federation(3), tls, move |_, mut stream| {
        let (asked, closed) = (begins.clone(), ends.clone());
        async move {
            let mut request = [0; 4096];
            assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            asked.notify_one();
            // The end, in whatever way.
            let _ = stream.read(&mut request).await;
            closed.notify_one();
        }
    })
    .await;
    let outbound = world.outbound();
    let waiting = tokio::spawn(async move { get(&outbound, "example.test").await });
    asked.notified().await;

    waiting.abort();

    closed.notified().await;
}

#[tokio::test]
async fn a_head_without_an_end_is_given_up() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test"]);
    let _peer = Peer::raw(world.federation(3), tls, |_, mut stream| async move {
        let begin = stream.write_all(b"HTTP/1.1 200 OK\r\nEndless: ").await;
        begin.unwrap();
        while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
    })
    .await;

    let error = get(&world.outbound(), "example.test").await.unwrap_err();

    assert!(matches!(error, OutboundError::Http(_)), "{error}");
}

#[tokio::test]
async fn what_is_not_http_is_no_answer() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test"]);
    let _peer = Peer::raw(world.federation(3), tls, |_, mut stream| async move {
        // Whether the client listens to the end is its own affair.
        let _ = stream.write_all(b"220 mail.example.test ESMTP\r\n").await;
    })
    .await;

    let error = get(&world.outbound(), "example.test").await.unwrap_err();

    assert!(matches!(error, OutboundError::Http(_)), "{error}");
}

#[tokio::test]
async fn a_web_server_that_does_not_answer_is_given_up() {
    let world = World::new().await;
    let _silent = TcpListener::bind(world.https(3)).await.unwrap();
    let url = Url::parse(&format!("https://{}/", world.address(3))).unwrap();

    let answer = world.outbound().get_web(&url, Duration::from_millis(50)).await;

    assert_eq!(answer.unwrap_err(), OutboundError::TimedOut);
}
