//! Where we do not go, whoever sends us.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::StatusCode;
use tintype_federation::{AddressFilter, Outbound, OutboundError};
use url::Url;

use crate::{
    get, hello, server,
    support::{PATIENCE, Peer, World, answer, redirect},
    text,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Somebody who makes no exceptions.
fn strict(world: &World) -> Outbound {
    let mut parts = world.parts();
    parts.filter = AddressFilter::default();
    Outbound::new(parts).unwrap()
}

async fn get_web(outbound: &Outbound, url: &str) -> Result<String, OutboundError> {
    Ok(text(outbound.get_web(&Url::parse(url).unwrap(), PATIENCE).await?).await)
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let tls = world.authority.server(&["example.test", &world.address(3).to_string()]);
    let peer = Peer::start(world.federation(3), tls, hello).await;
    let names = [
        "example.test".to_owned(),
        format!("example.test:{}", world.ports.federation),
        world.federation(3).to_string(),
        format!("[::ffff:{}]:{}", world.address(3), world.ports.federation),
        format!("[64:ff9b::{}]:{}", world.address(3), world.ports.federation),
    ];
    let (open, closed) = (world.outbound(), strict(&world));

    for name in &names {
        let error = get(&closed, name).await.unwrap_err();
        assert!(matches!(error, OutboundError::Forbidden { .. }), "{name}: {error}");
    }
    assert_eq!(peer.connections(), 0);
    // It is there for those who may connect to it.
    assert_eq!(get(&open, &names[0]).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_ipv6_address_that_carries_a_refused_one_is_not_followed_from_dns_either() {
    let world = World::new().await;
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    world.dns.host("example.test", mapped);

    let error = get(&world.outbound(), "example.test:8448").await.unwrap_err();

    assert_eq!(error, OutboundError::Forbidden { address: mapped });
}

#[tokio::test]
async fn what_is_forbidden_stays_so_and_is_said_each_time() {
    let world = World::new().await;
    let outbound = world.outbound();

    for _ in 0..2 {
        assert_eq!(get(&outbound, "127.0.0.1").await, Err(OutboundError::Forbidden { address: LOOPBACK }));
        assert_eq!(get(&outbound, "localhost:1").await, Err(OutboundError::Forbidden { address: LOOPBACK }));
    }
}

#[tokio::test]
async fn of_a_name_with_several_addresses_only_the_allowed_ones_are_tried() {
    let world = World::new().await;
    world.dns.host("example.test", "10.0.0.1".parse().unwrap());
    world.dns.host("example.test", world.address(3));
    world.dns.host("example.test", "fd00::1".parse().unwrap());

    let destination = world.outbound().resolve(&server("example.test")).await.unwrap();

    assert_eq!(destination.addresses, [world.federation(3)]);
}

#[tokio::test]
async fn a_well_known_file_inside_is_not_asked_for() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let host = Peer::start(world.https(2), world.authority.server(&["example.test"]), hello).await;

    assert!(strict(&world).resolve(&server("example.test")).await.is_err());

    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn a_delegation_to_the_inside_is_not_followed() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(2));
    let tls = world.authority.server(&["example.test"]);
    let document = r#"{"m.server":"127.0.0.1:22"}"#;
    let _host = Peer::start(world.https(2), tls, move |_| answer(StatusCode::OK, &[], document)).await;

    let error = get(&world.outbound(), "example.test").await.unwrap_err();

    assert_eq!(error, OutboundError::Forbidden { address: LOOPBACK });
}

#[tokio::test]
async fn a_plain_url_is_fetched() {
    let world = World::new().await;
    world.dns.host("cdn.test", world.address(2));
    let peer = Peer::start(world.https(2), world.authority.server(&["cdn.test"]), hello).await;

    assert_eq!(get_web(&world.outbound(), "https://cdn.test/a%2Fb?c=d#e").await.unwrap(), "hello");

    let received = peer.received().pop().unwrap();
    assert_eq!((received.host(), received.target.as_str()), ("cdn.test", "/a%2Fb?c=d"));
    let names: Vec<_> = received.headers.keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["user-agent", "host"]);
}

#[tokio::test]
async fn redirects_are_judged_one_by_one() {
    let world = World::new().await;
    world.dns.host("cdn.test", world.address(2));
    world.dns.host("inside.test", "192.168.0.1".parse().unwrap());
    let tls = world.authority.server(&["cdn.test"]);
    let _peer = Peer::start(world.https(2), tls, |request| {
        redirect(match request.target.as_str() {
            "/literal" => "https://127.0.0.1/",
            "/number" => "https://2130706433/",
            "/mapped" => "https://[::ffff:127.0.0.1]/",
            "/name" => "https://inside.test/",
            "/metadata" => "https://169.254.169.254/latest/",
            "/plain" => "http://cdn.test/",
            "/file" => "file:///etc/passwd",
            "/credentials" => "https://user:password@cdn.test/",
            "/circle" => "/circle#again",
            "/circle/a" => "/circle/b",
            "/circle/b" => "/circle/a",
            _ => "https://:nothing",
        })
    })
    .await;
    let outbound = world.outbound();
    let error = async |path: &str| get_web(&outbound, &format!("https://cdn.test{path}")).await.unwrap_err();
    let forbidden = |address: &str| OutboundError::Forbidden { address: address.parse().unwrap() };

    assert_eq!(error("/literal").await, forbidden("127.0.0.1"));
    assert_eq!(error("/number").await, forbidden("127.0.0.1"));
    assert_eq!(error("/mapped").await, forbidden("::ffff:127.0.0.1"));
    assert_eq!(error("/name").await, forbidden("192.168.0.1"));
    assert_eq!(error("/metadata").await, forbidden("169.254.169.254"));
    assert_eq!(error("/plain").await, OutboundError::NotHttps);
    assert_eq!(error("/file").await, OutboundError::NotHttps);
    assert!(matches!(error("/credentials").await, OutboundError::Url(_)));
    assert_eq!(error("/circle").await, OutboundError::TooManyRedirects);
    assert_eq!(error("/circle/a").await, OutboundError::TooManyRedirects);
    assert!(matches!(error("/other").await, OutboundError::Url(_)));
}

#[tokio::test]
async fn five_redirects_are_followed_and_six_are_not() {
    let world = World::new().await;
    world.dns.host("cdn.test", world.address(2));
    let tls = world.authority.server(&["cdn.test"]);
    let _peer = Peer::start(world.https(2), tls, |request| match request.target[1..].parse::<u32>().unwrap() {
        0 => hello(request),
        more => redirect(&format!("/{}", more - 1)),
    })
    .await;
    let outbound = world.outbound();

    assert_eq!(get_web(&outbound, "https://cdn.test/5").await.unwrap(), "hello");
    assert_eq!(get_web(&outbound, "https://cdn.test/6").await, Err(OutboundError::TooManyRedirects));
}

#[tokio::test]
async fn a_url_that_is_not_https_is_refused() {
    let outbound = World::new().await.outbound();

    for url in ["http://cdn.test/", "ftp://cdn.test/", "file:///etc/passwd", "data:,hello"] {
        assert_eq!(get_web(&outbound, url).await, Err(OutboundError::NotHttps), "{url}");
    }
}

#[tokio::test]
async fn a_chain_of_slow_redirects_has_one_time_limit() {
    let world = World::new().await;
    world.dns.host("cdn.test", world.address(2));
    let tls = world.authority.server(&["cdn.test"]);
    let to_silence = format!("https://{}/", world.address(3));
    let _peer = Peer::start(world.https(2), tls, move |_| redirect(&to_silence)).await;
    let _silent = tokio::net::TcpListener::bind(world.https(3)).await.unwrap();

    let url = Url::parse("https://cdn.test/").unwrap();
    let answer = world.outbound().get_web(&url, Duration::from_millis(500)).await;

    assert_eq!(answer.unwrap_err(), OutboundError::TimedOut);
}
