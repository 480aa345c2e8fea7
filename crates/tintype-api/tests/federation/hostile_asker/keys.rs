//! Keys that prove nothing.

use std::time::Duration;

use serde_json::json;
use tintype_domain::Timestamp;
use tintype_federation::SigningKey;
use tintype_testing::{Peer, START, Script, Waiting};

use super::{Scene, gives_media, signed_by, unauthorized};

/// A name, and what a server publishes as its keys.
type Publishing<'a> = (&'a str, &'a dyn Fn(&Peer) -> Script);

const TOMORROW: Timestamp = Timestamp(START.0 + 86_400_000);

#[tokio::test]
async fn a_document_that_proves_nothing_is_refused() {
    let scene = Scene::new("").await;
    let stranger = Peer::start("stranger").await;
    let document = |peer: &Peer| peer.key_document(TOMORROW);
    let unsigned = |peer: &Peer| {
        let mut unsigned = peer.key_document(TOMORROW);
        unsigned.as_object_mut().unwrap().remove("signatures");
        unsigned
    };
    let retired = |peer: &Peer| {
        peer.signed(json!({
            "server_name": peer.name().as_str(),
            "valid_until_ts": TOMORROW.as_millis(),
            "verify_keys": {},
            "old_verify_keys": { peer.key().id(): { "key": peer.key().public_key(), "expired_ts": TOMORROW.as_millis() } },
        }))
    };
    let changed = |peer: &Peer| {
        let mut changed = peer.key_document(TOMORROW);
        changed["valid_until_ts"] = (TOMORROW.as_millis() + 1).into();
        changed
    };
    let twice = |peer: &Peer| document(peer).to_string().replacen('{', "{\"server_name\":\"a.example\",", 1);
    let of = |script: fn(u16, &str, String) -> Script, text: String| script(200, "", text);
    let plain: fn(u16, &str, String) -> Script = |status, head, text| Script::response(status, head, text);

    let cases: [Publishing<'_>; 18] = [
        ("expired", &|peer| Script::json(200, &peer.key_document(Timestamp(START.0 - 1)))),
        ("expiring now", &|peer| Script::json(200, &peer.key_document(START))),
        ("unsigned", &|peer| Script::json(200, &unsigned(peer))),
        ("changed", &|peer| Script::json(200, &changed(peer))),
        ("old keys only", &|peer| Script::json(200, &retired(peer))),
        ("of another server", &|_| Script::json(200, &document(&stranger))),
        ("signed by another server", &|peer| Script::json(200, &stranger.signed(unsigned(peer)))),
        ("a name twice", &|peer| of(plain, twice(peer))),
        ("no JSON", &|_| of(plain, "{".to_owned())),
        ("deep JSON", &|_| of(plain, "[".repeat(50_000))),
        ("an array", &|_| of(plain, "[]".to_owned())),
        ("nothing", &|_| of(plain, String::new())),
        ("padded without an end", &|peer| of(plain, format!("{}{}", document(peer), " ".repeat(100_000)))),
        ("endless", &|_| Script::unfinished(200, "", &[]).endless_chunks([b' '; 4096])),
        ("cut", &|peer| Script::unfinished(200, "", &[document(peer).to_string().as_bytes()]).close()),
        ("another status", &|peer| Script::json(203, &document(peer))),
        ("elsewhere", &|_| Script::response(302, &format!("Location: {}\r\n", stranger.url("/")), "")),
        ("silent", &|_| Script::default().close()),
    ];
    for (name, publishes) in cases {
        let peer = Peer::start("theirs").await;
        peer.publishes(publishes(&peer));

        assert_eq!(scene.asked_by(&peer).await.error(), unauthorized(), "{name}");
        assert_eq!(scene.asked_by(&peer).await.error(), unauthorized(), "{name}, again");

        assert_eq!(peer.key_requests(), 1, "{name}");
        peer.is_left_alone().await;
    }
    assert_eq!(stranger.connections(), 0);
}

#[tokio::test]
async fn a_key_counts_until_its_time_is_over() {
    let scene = Scene::new("").await;
    assert!(gives_media(&scene.asked_by(&scene.peer).await));
    scene.peer.publishes(Script::error(500, "M_UNKNOWN"));

    scene.ours.advance(Duration::from_hours(24) - Duration::from_millis(1));
    assert!(gives_media(&scene.asked_by(&scene.peer).await));
    scene.ours.advance(Duration::from_millis(1));
    assert_eq!(scene.asked_by(&scene.peer).await.error(), unauthorized());

    scene.peer.publishes(Script::json(200, &scene.peer.key_document(Timestamp(TOMORROW.0 + 86_400_000))));
    scene.ours.advance(Duration::from_hours(1));
    assert!(gives_media(&scene.asked_by(&scene.peer).await));
}

#[tokio::test]
async fn a_key_that_claims_to_last_for_ever_lasts_seven_days() {
    let scene = Scene::new("").await;
    scene.peer.publishes(Script::json(200, &scene.peer.key_document(Timestamp(9_007_199_254_740_991))));
    assert!(gives_media(&scene.asked_by(&scene.peer).await));
    scene.peer.publishes(Script::error(500, "M_UNKNOWN"));

    scene.ours.advance(Duration::from_hours(7 * 24));

    assert_eq!(scene.asked_by(&scene.peer).await.error(), unauthorized());
}

#[tokio::test]
async fn a_key_that_a_server_does_not_have_is_asked_for_once() {
    let scene = Scene::new("").await;
    let key = SigningKey::parse("ed25519 other YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let signature = signed_by(&key, scene.peer.name(), scene.ours.name(), "GET", &scene.target());

    for _ in 0..5 {
        assert_eq!(scene.asks(&signature).await.error(), unauthorized());
    }

    assert_eq!(scene.peer.key_requests(), 1);
    assert!(gives_media(&scene.asked_by(&scene.peer).await));
}

#[tokio::test]
async fn a_server_whose_keys_do_not_come_keeps_no_other_waiting() {
    let scene = Scene::new("").await;
    let slow = Peer::start("slow").await;
    slow.publishes(Script::default().stall());
    let waiting: Vec<_> = (0..20).map(|_| Waiting::new(scene.asked_by(&slow).into_future())).collect();
    slow.is_asked("/_matrix/key/v2/server").await;

    assert!(gives_media(&scene.asked_by(&scene.peer).await));

    assert_eq!(slow.key_requests(), 1);
    drop(waiting);
}

#[tokio::test]
async fn keys_are_not_fetched_from_where_nobody_may_connect_to() {
    let scene = Scene::new("federation.allow_addresses = ['127.0.0.2/32']").await;
    let allowed = Peer::at([127, 0, 0, 2]).await;
    let port = scene.peer.name().port().unwrap();
    let at = |host: &str| tintype_domain::ServerName::parse(format!("{host}:{port}")).unwrap();

    for origin in [
        scene.peer.name().clone(),
        at("127.0.0.1"),
        at("[::1]"),
        at("[::ffff:127.0.0.1]"),
        at("0.0.0.0"),
        at("169.254.169.254"),
    ] {
        let signature = signed_by(scene.peer.key(), &origin, scene.ours.name(), "GET", &scene.target());
        let answer = scene.asks(signature).await;
        assert_eq!(answer.error(), unauthorized(), "{origin}");
        // Not where names lead from here, and what listens there.
        assert!(!answer.json()["error"].as_str().unwrap().contains("127.0.0.1"), "{answer:?}");
    }

    assert_eq!(scene.peer.connections(), 0);
    assert!(gives_media(&scene.asked_by(&allowed).await));
}
