//! Server-server API, "Resolving server names".

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tintype_federation::Step;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::Notify};

use crate::{
    get, hello, server,
    support::{Answer, Peer, Received, World, answer, json, redirect},
};

/// Starts a host that delegates its Matrix server.
async fn delegating(world: &World, host: &str, to: &str) -> Peer {
    world.dns.host(host, world.address(2));
    let document = json!({ "m.server": to });
    Peer::start(world.https(2), world.authority.server(&[host]), move |_| json(&document)).await
}

/// The step by which a server is found, and what arrives at the peer that must be the one which is found.
async fn found(world: &World, name: &str, peer: &Peer) -> (Step, Option<String>, String) {
    let outbound = world.outbound();
    let step = outbound.resolve(&server(name)).await.unwrap().step;

    assert_eq!(get(&outbound, name).await.unwrap(), "hello");

    let received = peer.received().pop().unwrap();
    assert_eq!(received.target, "/hello");
    (step, received.sni.clone(), received.host().to_owned())
}

fn to(step: Step, sni: &str, host: &str) -> (Step, Option<String>, String) {
    (step, Some(sni.to_owned()), host.to_owned())
}

#[tokio::test]
async fn step_1_an_address_is_connected_to_on_8448() {
    let world = World::new().await;
    let address = world.address(3).to_string();
    let peer = Peer::start(world.federation(3), world.authority.server(&[&address]), hello).await;

    assert_eq!(found(&world, &address, &peer).await, (Step::Address, None, address));
    assert_eq!(world.dns.questions(), []);
}

#[tokio::test]
async fn step_1_an_address_is_connected_to_on_the_port_that_it_has() {
    let world = World::new().await;
    let name = world.https(3).to_string();
    let peer = Peer::start(world.https(3), world.authority.server(&[&world.address(3).to_string()]), hello).await;

    assert_eq!(found(&world, &name, &peer).await, (Step::Address, None, name));
}

#[tokio::test]
async fn step_2_a_host_with_a_port_is_connected_to_there() {
    let world = World::new().await;
    world.dns.alias("matrix.test", "machine.test");
    world.dns.host("machine.test", world.address(3));
    let peer = Peer::start(world.https(3), world.authority.server(&["matrix.test"]), hello).await;
    let name = format!("matrix.test:{}", world.ports.https);

    assert_eq!(found(&world, &name, &peer).await, to(Step::Port, "matrix.test", &name));
    assert!(world.dns.questions().iter().all(|(_, record_type)| *record_type != RecordType::SRV));
}

#[tokio::test]
async fn step_3_1_a_host_may_delegate_to_an_address() {
    let world = World::new().await;
    let address = world.address(3).to_string();
    let _host = delegating(&world, "example.test", &address).await;
    let peer = Peer::start(world.federation(3), world.authority.server(&[&address]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, (Step::DelegatedAddress, None, address));
}

#[tokio::test]
async fn step_3_1_a_host_may_delegate_to_an_address_with_a_port() {
    let world = World::new().await;
    let name = world.https(3).to_string();
    let _host = delegating(&world, "example.test", &name).await;
    let peer = Peer::start(world.https(3), world.authority.server(&[&world.address(3).to_string()]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, (Step::DelegatedAddress, None, name));
}

#[tokio::test]
async fn step_3_2_a_host_may_delegate_to_a_host_with_a_port() {
    let world = World::new().await;
    let name = format!("matrix.test:{}", world.ports.https);
    let host = delegating(&world, "example.test", &name).await;
    world.dns.host("matrix.test", world.address(3));
    let peer = Peer::start(world.https(3), world.authority.server(&["matrix.test"]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, to(Step::DelegatedPort, "matrix.test", &name));
    let asked = host.received().pop().unwrap();
    assert_eq!((asked.host(), asked.target.as_str()), ("example.test", "/.well-known/matrix/server"));
}

#[tokio::test]
async fn step_3_3_a_host_may_delegate_to_a_host_with_srv_records() {
    let world = World::new().await;
    let _host = delegating(&world, "example.test", "matrix.test").await;
    world.dns.service("_matrix-fed._tcp.matrix.test", 1, 1, "machine.test", world.ports.https);
    world.dns.service("_matrix._tcp.matrix.test", 1, 1, "nowhere.test", 1);
    world.dns.host("machine.test", world.address(3));
    let peer = Peer::start(world.https(3), world.authority.server(&["matrix.test"]), hello).await;

    let expected = to(Step::DelegatedService, "matrix.test", "matrix.test");
    assert_eq!(found(&world, "example.test", &peer).await, expected);
}

#[tokio::test]
async fn step_3_4_the_deprecated_srv_records_of_a_delegated_host_count() {
    let world = World::new().await;
    let _host = delegating(&world, "example.test", "matrix.test").await;
    world.dns.service("_matrix._tcp.matrix.test", 1, 1, "machine.test", world.ports.https);
    world.dns.host("machine.test", world.address(3));
    let peer = Peer::start(world.https(3), world.authority.server(&["matrix.test"]), hello).await;

    let expected = to(Step::DelegatedDeprecatedService, "matrix.test", "matrix.test");
    assert_eq!(found(&world, "example.test", &peer).await, expected);
}

#[tokio::test]
async fn step_3_5_a_delegated_host_without_srv_records_is_connected_to_on_8448() {
    let world = World::new().await;
    let _host = delegating(&world, "example.test", "matrix.test").await;
    world.dns.host("matrix.test", world.address(3));
    let peer = Peer::start(world.federation(3), world.authority.server(&["matrix.test"]), hello).await;

    let expected = to(Step::DelegatedHost, "matrix.test", "matrix.test");
    assert_eq!(found(&world, "example.test", &peer).await, expected);
}

#[tokio::test]
async fn step_4_a_host_that_delegates_to_nobody_may_have_srv_records() {
    let world = World::new().await;
    world.dns.service("_matrix-fed._tcp.example.test", 1, 1, "machine.test", world.ports.https);
    world.dns.service("_matrix._tcp.example.test", 1, 1, "nowhere.test", 1);
    world.dns.host("machine.test", world.address(3));
    let peer = Peer::start(world.https(3), world.authority.server(&["example.test"]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, to(Step::Service, "example.test", "example.test"));
}

#[tokio::test]
async fn step_5_the_deprecated_srv_records_count() {
    let world = World::new().await;
    world.dns.service("_matrix._tcp.example.test", 1, 1, "machine.test", world.ports.https);
    world.dns.host("machine.test", world.address(3));
    let peer = Peer::start(world.https(3), world.authority.server(&["example.test"]), hello).await;

    let expected = to(Step::DeprecatedService, "example.test", "example.test");
    assert_eq!(found(&world, "example.test", &peer).await, expected);
}

#[tokio::test]
async fn step_6_a_host_that_says_nothing_is_connected_to_on_8448() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let peer = Peer::start(world.federation(3), world.authority.server(&["example.test"]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, to(Step::Host, "example.test", "example.test"));
}

#[tokio::test]
async fn the_host_header_and_the_certificate_keep_to_the_name_that_srv_records_lead_away_from() {
    let world = World::new().await;
    world.dns.service("_matrix-fed._tcp.example.test", 1, 1, "machine.test", world.ports.https);
    world.dns.host("machine.test", world.address(3));
    let _peer = Peer::start(world.https(3), world.authority.server(&["machine.test"]), hello).await;

    let error = get(&world.outbound(), "example.test").await.unwrap_err();

    assert!(error.to_string().starts_with("TLS with `example.test` failed"), "{error}");
}

#[tokio::test]
async fn a_well_known_file_that_is_not_valid_is_as_none() {
    let world = World::new().await;
    let names = ["missing", "text", "keyless", "number", "nameless", "long", "loop", "plain", "gone", "inside"];
    let hosts = names.map(|name| format!("{name}.test"));
    for host in &hosts {
        world.dns.host(host, world.address(2));
        world.dns.service(&format!("_matrix-fed._tcp.{host}"), 1, 1, "machine.test", 1234);
    }
    world.dns.host("machine.test", world.address(3));
    let tls = world.authority.server(&hosts.each_ref().map(String::as_str));
    let _peer = Peer::start(world.https(2), tls, |request| match request.host() {
        "missing.test" => answer(StatusCode::NOT_FOUND, &[], r#"{"m.server":"matrix.test"}"#),
        "text.test" => answer(StatusCode::OK, &[], "matrix.test"),
        "keyless.test" => json(&json!({ "server": "matrix.test" })),
        "number.test" => json(&json!({ "m.server": 8448 })),
        "nameless.test" => json(&json!({ "m.server": "https://matrix.test" })),
        "long.test" => json(&json!({ "m.server": "matrix.test", "more": "x".repeat(50 * 1024) })),
        "loop.test" => redirect("/.well-known/matrix/server"),
        "plain.test" => redirect("http://plain.test/"),
        "gone.test" => redirect("https://nowhere.test/"),
        _ => redirect("https://10.0.0.1/"),
    })
    .await;
    let outbound = world.outbound();

    for host in &hosts {
        let destination = outbound.resolve(&server(host)).await.unwrap();

        assert_eq!(destination.step, Step::Service, "{host}");
        assert_eq!(destination.addresses, [(world.address(3), 1234).into()]);
        assert!(destination.delegation.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_well_known_file_is_found_through_redirects_and_read_whatever_its_type() {
    let world = World::new().await;
    for host in ["example.test", "www.example.test"] {
        world.dns.host(host, world.address(2));
    }
    let tls = world.authority.server(&["example.test", "www.example.test"]);
    let _peer = Peer::start(world.https(2), tls, |request| match request.host() {
        "example.test" => redirect("https://www.example.test/server"),
        _ => answer(StatusCode::OK, &[(header::CONTENT_TYPE, "image/png")], r#"{"m.server":"matrix.test:1234"}"#),
    })
    .await;
    world.dns.host("matrix.test", world.address(3));

    let destination = world.outbound().resolve(&server("example.test")).await.unwrap();

    assert_eq!((destination.step, destination.host.as_str()), (Step::DelegatedPort, "matrix.test:1234"));
    assert_eq!(destination.certificate_name, "matrix.test");
}

#[tokio::test]
async fn the_next_of_several_srv_records_is_tried_when_one_leads_nowhere() {
    let world = World::new().await;
    let service = "_matrix-fed._tcp.example.test";
    world.dns.service(service, 40, 0, "machine.test", world.ports.https);
    world.dns.service(service, 30, 0, "dead.test", world.ports.https);
    world.dns.service(service, 20, 0, "nameless.test", world.ports.https);
    world.dns.service(service, 10, 0, "inside.test", world.ports.https);
    world.dns.host("machine.test", world.address(3));
    world.dns.host("dead.test", world.address(4));
    world.dns.host("inside.test", "10.0.0.1".parse().unwrap());
    let peer = Peer::start(world.https(3), world.authority.server(&["example.test"]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, to(Step::Service, "example.test", "example.test"));
}

#[tokio::test]
async fn srv_records_are_tried_by_priority() {
    let world = World::new().await;
    let service = "_matrix-fed._tcp.example.test";
    for (priority, host) in [(30, "c.test"), (10, "a.test"), (20, "b.test")] {
        world.dns.service(service, priority, priority, host, 1234);
    }
    for (host, number) in [("a.test", 3), ("b.test", 4), ("c.test", 5)] {
        world.dns.host(host, world.address(number));
    }

    let destination = world.outbound().resolve(&server("example.test")).await.unwrap();

    assert_eq!(destination.addresses, [3, 4, 5].map(|number| (world.address(number), 1234).into()));
}

#[tokio::test]
async fn the_next_address_of_a_host_is_tried_when_one_does_not_answer() {
    let world = World::new().await;
    for number in [4, 3] {
        world.dns.host("example.test", world.address(number));
    }
    let peer = Peer::start(world.federation(3), world.authority.server(&["example.test"]), hello).await;

    assert_eq!(found(&world, "example.test", &peer).await, to(Step::Host, "example.test", "example.test"));
}

#[tokio::test]
async fn a_service_that_is_declared_not_to_exist_is_not_looked_for_elsewhere() {
    let world = World::new().await;
    world.dns.service("_matrix-fed._tcp.example.test", 0, 0, ".", 0);
    world.dns.host("example.test", world.address(3));

    let error = world.outbound().resolve(&server("example.test")).await.unwrap_err();

    assert!(error.to_string().ends_with("there is no such service"), "{error}");
}

/// Delegates to another port with each answer.
fn moving(request: &Received, next: &AtomicU16) -> Answer {
    let port = next.fetch_add(1, Ordering::Relaxed);
    let body = format!(r#"{{"m.server":"{}:{port}"}}"#, request.host());
    answer(StatusCode::OK, &[(header::CACHE_CONTROL, "max-age=7200")], body)
}

#[tokio::test]
async fn a_well_known_file_is_asked_for_again_when_its_time_is_over() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let next = AtomicU16::new(1);
    let tls = world.authority.server(&["example.test"]);
    let _peer = Peer::start(world.https(2), tls, move |request| moving(request, &next)).await;
    let outbound = world.outbound();
    let host = async || outbound.resolve(&server("example.test")).await.unwrap().host;
    assert_eq!(host().await, "example.test:1");

    world.clock.advance(Duration::from_secs(7199));
    assert_eq!(host().await, "example.test:1");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(host().await, "example.test:2");
}

#[tokio::test]
async fn a_missing_well_known_file_is_asked_for_less_and_less_often() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let tls = world.authority.server(&["example.test"]);
    let peer = Peer::start(world.https(2), tls, |_| answer(StatusCode::NOT_FOUND, &[], "")).await;
    let outbound = world.outbound();

    let mut asked = 0;
    for minutes in [5, 10, 20, 40, 60, 60] {
        asked += 1;
        outbound.resolve(&server("example.test")).await.unwrap();
        world.clock.advance(Duration::from_secs(minutes * 60 - 1));
        outbound.resolve(&server("example.test")).await.unwrap();
        assert_eq!(peer.received().len(), asked, "after {minutes} minutes");
        world.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_well_known_file_that_appears_is_found_after_five_minutes_and_failures_are_forgotten() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let exists = Arc::new(AtomicBool::new(false));
    let (tls, switch) = (world.authority.server(&["example.test"]), exists.clone());
    let peer = Peer::start(world.https(2), tls, move |_| {
        let status = if switch.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::NOT_FOUND };
        answer(status, &[(header::CACHE_CONTROL, "max-age=600")], r#"{"m.server":"example.test:1"}"#)
    })
    .await;
    let outbound = world.outbound();
    let step = async || outbound.resolve(&server("example.test")).await.unwrap().step;
    assert_eq!(step().await, Step::Host);

    exists.store(true, Ordering::Relaxed);
    world.clock.advance(Duration::from_mins(5));
    assert_eq!(step().await, Step::DelegatedPort);
    exists.store(false, Ordering::Relaxed);
    world.clock.advance(Duration::from_mins(10));
    assert_eq!(step().await, Step::Host);
    world.clock.advance(Duration::from_mins(5));
    step().await;

    assert_eq!(peer.received().len(), 4);
}

#[tokio::test]
async fn many_who_ask_at_once_cause_one_fetch() {
    let world = World::new().await;
    let peer = delegating(&world, "example.test", &world.federation(3).to_string()).await;
    let outbound = world.outbound();

    let name = server("example.test");
    let steps = join_all((0..32).map(|_| outbound.resolve(&name))).await;

    assert!(steps.into_iter().all(|destination| destination.unwrap().step == Step::DelegatedAddress));
    assert_eq!(peer.received().len(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_nobody_waits_for_it() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let may_answer = Arc::new(Notify::new());
    let (tls, sign) = (world.authority.server(&["example.test"]), may_answer.clone());
    let host = Peer::raw(world.https(2), tls, move |_, mut stream| {
        let sign = sign.clone();
        async move {
            sign.notified().await;
            let body = r#"{"m.server":"matrix.test:1"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    world.dns.host("matrix.test", world.address(3));
    let outbound = world.outbound();
    let without_patience = Duration::from_millis(100);
    assert!(outbound.get(&server("example.test"), "/", HeaderMap::new(), without_patience).await.is_err());

    may_answer.notify_one();
    let destination = outbound.resolve(&server("example.test")).await.unwrap();

    assert_eq!((destination.host.as_str(), host.connections()), ("matrix.test:1", 1));
}

#[tokio::test]
async fn a_slow_host_keeps_nobody_waiting_who_asks_for_another() {
    let world = World::new().await;
    let _peer = delegating(&world, "example.test", &world.federation(3).to_string()).await;
    world.dns.host("slow.test", world.address(4));
    let slow = TcpListener::bind(world.https(4)).await.unwrap();
    let outbound = world.outbound();
    let waiting = tokio::spawn({
        let outbound = outbound.clone();
        async move { outbound.resolve(&server("slow.test")).await }
    });
    let _connection = slow.accept().await.unwrap();

    outbound.resolve(&server("example.test")).await.unwrap();

    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn a_host_that_is_too_slow_delegates_to_nobody() {
    let world = World::new().await;
    for (host, number) in [("example.test", 2), ("machine.test", 3)] {
        world.dns.host(host, world.address(number));
    }
    world.dns.service("_matrix-fed._tcp.example.test", 1, 1, "machine.test", 1234);
    let _slow = TcpListener::bind(world.https(2)).await.unwrap();
    let mut parts = world.parts();
    parts.connect_timeout = Duration::from_millis(50);
    let outbound = tintype_federation::Outbound::new(parts).unwrap();

    let destination = outbound.resolve(&server("example.test")).await.unwrap();

    assert_eq!(destination.step, Step::Service);
}
