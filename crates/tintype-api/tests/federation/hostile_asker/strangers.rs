//! Many of them, and those who say that they are us.

use tintype_domain::ServerName;
use tintype_federation::SigningKey;

use super::{Scene, gives_media, signed_by, unauthorized};

#[tokio::test]
async fn a_request_that_comes_from_ourselves_finds_nothing_and_asks_nobody() {
    let scene = Scene::new("").await;
    let ours = scene.ours.name();
    let shouted = ServerName::parse(ours.as_str().replace("ours", "OURS")).unwrap();

    for origin in [ours.clone(), shouted] {
        let signature = signed_by(scene.peer.key(), &origin, ours, "GET", &scene.target());
        assert_eq!(scene.asks(signature).await.error(), (404, "M_NOT_FOUND".to_owned()), "{origin}");
    }
}

#[tokio::test]
async fn servers_that_are_not_spoken_with_are_told_so_and_not_asked_for_keys() {
    let scene = Scene::new("federation.deny_servers = ['theirs.*']").await;

    assert_eq!(scene.asked_by(&scene.peer).await.error(), (403, "M_FORBIDDEN".to_owned()));

    assert_eq!(scene.peer.connections(), 0);
}

#[tokio::test]
async fn an_address_that_makes_up_servers_is_slowed_down() {
    let scene = Scene::new("limits.rates.authenticate = { per_second = 1, burst = 20 }").await;
    let key = SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let mut errors = Vec::new();

    for number in 0..1_000 {
        let origin = ServerName::parse(format!("s{number}.localhost:1")).unwrap();
        let signature = signed_by(&key, &origin, scene.ours.name(), "GET", &scene.target());
        errors.push(scene.asks(signature).await.error());
    }

    let limited = errors.iter().filter(|error| **error == (429, "M_LIMIT_EXCEEDED".to_owned())).count();
    let refused = errors.iter().filter(|error| **error == unauthorized()).count();
    assert_eq!(limited + refused, 1_000);
    assert!((900..1_000).contains(&limited), "{limited}");
}

#[tokio::test]
async fn a_thousand_servers_that_are_made_up_do_not_keep_a_real_one_out() {
    let scene = Scene::new("limits.rates.authenticate = { per_second = 10000, burst = 10000 }").await;
    let key = SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    assert!(gives_media(&scene.asked_by(&scene.peer).await));

    for number in 0..1_000 {
        let origin = ServerName::parse(format!("s{number}.localhost:1")).unwrap();
        let signature = signed_by(&key, &origin, scene.ours.name(), "GET", &scene.target());
        assert_eq!(scene.asks(signature).await.error(), unauthorized());
    }

    assert!(gives_media(&scene.asked_by(&scene.peer).await));
    assert_eq!(scene.peer.key_requests(), 1);
}

#[tokio::test]
async fn a_server_that_asks_for_much_is_slowed_down_and_another_is_not() {
    let scene = Scene::new("limits.rates.serve_server = { per_second = 1, burst = 2 }").await;
    let other = tintype_testing::Peer::start("other").await;

    for _ in 0..2 {
        assert!(gives_media(&scene.asked_by(&scene.peer).await));
    }

    assert_eq!(scene.asked_by(&scene.peer).await.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert!(gives_media(&scene.asked_by(&other).await));
}
