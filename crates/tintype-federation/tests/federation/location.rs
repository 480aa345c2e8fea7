//! Media that its origin says is elsewhere.

use http::{StatusCode, header};
use tintype_federation::{FetchError, OutboundError};

use crate::{
    fetch::{bytes, download, federation, mixed, outcome, without_key},
    hello, matrix,
    support::{Answer, Peer, Received, World, answer, redirect},
};

/// Where media is kept for `example.test`.
async fn cdn(world: &World, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Peer {
    world.dns.host("cdn.test", world.address(5));
    Peer::start(world.https(5), world.authority.server(&["cdn.test"]), answer).await
}

/// Why media whose origin says that it is there does not come.
async fn failure(world: &World, location: &str) -> FetchError {
    let head = format!("Location: {location}");
    let _origin = matrix(world, move |_| mixed(&head, "")).await;
    outcome(&federation(world)).await.unwrap_err()
}

#[tokio::test]
async fn what_is_there_counts_and_what_is_beside_the_location_does_not() {
    let world = World::new().await;
    let head = "Location: https://cdn.test/a?signature=b%2Fc\r\nContent-Type: image/png\r\nContent-Length: 3";
    let _origin = matrix(&world, move |_| mixed(head, "not this")).await;
    let cdn = cdn(&world, |_| {
        let headers =
            [(header::CONTENT_TYPE, "text/plain"), (header::CONTENT_DISPOSITION, "attachment; filename=a.txt")];
        answer(StatusCode::OK, &headers, "hello")
    })
    .await;

    let media = download(&federation(&world)).await.unwrap();

    assert_eq!(media.content_type.as_deref(), Some(&b"text/plain"[..]));
    assert_eq!((media.filename.as_deref(), media.content_length), (Some("a.txt"), Some(5)));
    assert_eq!(media.metadata["a"], 1);
    assert_eq!(bytes(media).await.unwrap(), b"hello");
    let received = cdn.received().pop().unwrap();
    assert_eq!(received.target, "/a?signature=b%2Fc");
    assert_eq!(received.headers.get(header::AUTHORIZATION), None);
}

#[tokio::test]
async fn the_old_endpoint_may_redirect() {
    for status in [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        let world = World::new().await;
        let headers = [(header::LOCATION, "https://cdn.test/a")];
        let _origin = matrix(&world, move |_| answer(status, &headers, "")).await;
        let _cdn = cdn(&world, hello).await;

        assert_eq!(outcome(&without_key(&world)).await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_refused() {
    let world = World::new().await;
    let _origin = matrix(&world, |_| answer(StatusCode::TEMPORARY_REDIRECT, &[], "")).await;

    let error = outcome(&without_key(&world)).await.unwrap_err();

    assert!(matches!(error, FetchError::Malformed(_)), "{error:?}");
}

#[tokio::test]
async fn no_location_leads_inside() {
    for location in [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "https://loopback.test/",
        "https://inside.test/",
        "https://169.254.169.254/latest/",
    ] {
        let world = World::new().await;
        world.dns.host("inside.test", "10.0.0.1".parse().unwrap());
        world.dns.host("loopback.test", "127.0.0.1".parse().unwrap());
        let error = failure(&world, location).await;
        assert!(matches!(error, FetchError::Unreachable(OutboundError::Forbidden { .. })), "{location}: {error:?}");
    }
}

#[tokio::test]
async fn only_https_is_spoken_there() {
    for location in ["http://cdn.test/a", "file:///etc/passwd", "data:,hello", "https://cdn.test/a"] {
        let world = World::new().await;
        let _cdn = cdn(&world, |_| redirect("http://cdn.test/")).await;
        let error = failure(&world, location).await;
        assert!(matches!(error, FetchError::Unreachable(OutboundError::NotHttps)), "{location}: {error:?}");
    }
}

#[tokio::test]
async fn a_location_is_a_whole_url_without_credentials() {
    for location in ["/a", "a", "//cdn.test/a", "?a=b"] {
        let world = World::new().await;
        let error = failure(&world, location).await;
        assert!(matches!(error, FetchError::Malformed(_)), "{location}: {error:?}");
    }
    let world = World::new().await;
    let error = failure(&world, "https://user:password@cdn.test/").await;
    assert!(matches!(error, FetchError::Unreachable(OutboundError::Url(_))), "{error:?}");
}

#[tokio::test]
async fn a_long_chain_of_redirects_is_not_followed() {
    let world = World::new().await;
    let _cdn = cdn(&world, |request| match request.target[1..].parse::<u32>().unwrap() {
        0 => hello(request),
        more => redirect(&format!("/{}", more - 1)),
    })
    .await;

    let error = failure(&world, "https://cdn.test/6").await;

    assert!(matches!(error, FetchError::Unreachable(OutboundError::TooManyRedirects)), "{error:?}");
}

#[tokio::test]
async fn media_that_is_not_there_is_not_found() {
    for (status, expected) in [
        (404, "NotFound"),
        (410, "NotFound"),
        (403, "Refused { status: 403, errcode: None }"),
        (206, "Refused { status: 206, errcode: None }"),
        (500, "Refused { status: 500, errcode: None }"),
    ] {
        let world = World::new().await;
        let _cdn = cdn(&world, move |_| answer(StatusCode::from_u16(status).unwrap(), &[], "")).await;
        assert_eq!(format!("{:?}", failure(&world, "https://cdn.test/a").await), expected);
    }
}

#[tokio::test]
async fn what_is_packed_there_is_refused() {
    let world = World::new().await;
    let _cdn = cdn(&world, |_| answer(StatusCode::OK, &[(header::CONTENT_ENCODING, "gzip")], "hello")).await;

    let error = failure(&world, "https://cdn.test/a").await;

    assert!(matches!(error, FetchError::Malformed(_)), "{error:?}");
}
