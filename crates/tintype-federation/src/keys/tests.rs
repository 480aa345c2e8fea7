use std::sync::Arc;

use serde_json::json;
use tintype_domain::ManualClock;

use super::{
    fake::{DAY, FakeServers, NOW, document, name, sign, signing_key, unsigned},
    *,
};

const MINUTE: Duration = Duration::from_mins(1);

fn is_unavailable(outcome: &Result<VerifyKey, KeyError>) -> bool {
    matches!(outcome, Err(KeyError::Unavailable { .. }))
}

fn is_unknown(outcome: &Result<VerifyKey, KeyError>) -> bool {
    matches!(outcome, Err(KeyError::Unknown { .. }))
}

/// `a.example` with a key `ed25519:1` that is valid for two days.
fn one_server() -> (Arc<FakeServers>, ServerKeys, Arc<ManualClock>) {
    let servers = Arc::new(FakeServers::default());
    servers.publish("a.example", &document("a.example", &signing_key("1", 1), NOW + 2 * DAY));
    let (keys, clock) = servers.keys(&[]);
    (servers, keys, clock)
}

#[tokio::test]
async fn a_key_is_fetched_once_and_kept_for_half_of_its_time() {
    let (servers, keys, clock) = one_server();
    let server = name("a.example");

    let key = keys.key(&server, "ed25519:1").await.unwrap();
    clock.advance(Duration::from_hours(23));
    let again = keys.key(&server, "ed25519:1").await;

    let expected = crate::encoding::decode_base64(&signing_key("1", 1).public_key());
    assert_eq!(Some(*key.as_bytes()), expected);
    assert_eq!(again, Ok(key));
    assert_eq!(servers.asked(), ["a.example"]);
}

#[tokio::test]
async fn an_ageing_key_is_used_while_it_is_fetched_anew() {
    let (servers, keys, clock) = one_server();
    let server = name("a.example");
    let key = keys.key(&server, "ed25519:1").await;
    let gate = servers.hold("a.example");
    clock.advance(DAY);
    servers.asked();

    assert_eq!(keys.key(&server, "ed25519:1").await, key);
    assert_eq!(keys.key(&server, "ed25519:1").await, key);
    servers.until_asked("a.example").await;
    assert_eq!(keys.key(&server, "ed25519:1").await, key);

    assert_eq!(servers.asked(), ["a.example"]);
    gate.add_permits(1);
}

#[tokio::test]
async fn a_key_that_cannot_be_fetched_anew_is_used_until_it_expires() {
    let (servers, keys, clock) = one_server();
    let server = name("a.example");
    let key = keys.key(&server, "ed25519:1").await;
    servers.go_away("a.example");
    servers.asked();
    clock.advance(DAY);

    assert_eq!(keys.key(&server, "ed25519:1").await, key);
    servers.until_asked("a.example").await;
    assert!(is_unavailable(&keys.key(&server, "ed25519:other").await));
    assert_eq!(keys.key(&server, "ed25519:1").await, key);
    assert_eq!(servers.asked(), ["a.example"]);

    clock.advance(DAY);
    assert!(is_unavailable(&keys.key(&server, "ed25519:1").await));
    assert_eq!(servers.asked(), ["a.example"]);
}

#[tokio::test]
async fn a_key_counts_for_seven_days_whatever_the_server_says() {
    let servers = Arc::new(FakeServers::default());
    servers.publish("a.example", &document("a.example", &signing_key("1", 1), NOW + 365 * DAY));
    let (keys, clock) = servers.keys(&[]);
    let server = name("a.example");
    keys.key(&server, "ed25519:1").await.unwrap();
    servers.go_away("a.example");

    clock.advance(7 * DAY);

    assert!(is_unavailable(&keys.key(&server, "ed25519:1").await));
}

#[tokio::test]
async fn an_unknown_key_makes_a_server_be_asked_once_in_five_minutes() {
    let (servers, keys, clock) = one_server();
    let server = name("a.example");
    keys.key(&server, "ed25519:1").await.unwrap();
    servers.asked();

    assert!(is_unknown(&keys.key(&server, "ed25519:2").await));
    assert_eq!(servers.asked(), [""; 0]);
    clock.advance(5 * MINUTE);
    assert!(is_unknown(&keys.key(&server, "ed25519:2").await));
    assert!(is_unknown(&keys.key(&server, "ed25519:3").await));
    assert_eq!(servers.asked(), ["a.example"]);

    servers.publish("a.example", &document("a.example", &signing_key("2", 2), NOW + 2 * DAY));
    clock.advance(5 * MINUTE);
    assert!(keys.key(&server, "ed25519:2").await.is_ok());
    assert!(is_unknown(&keys.key(&server, "ed25519:1").await));
    assert_eq!(servers.asked(), ["a.example"]);
}

#[tokio::test]
async fn many_who_need_a_key_at_once_cause_one_fetch_and_hold_up_nobody_else() {
    let (servers, keys, _clock) = one_server();
    servers.publish("b.example", &document("b.example", &signing_key("1", 2), NOW + DAY));
    let gate = servers.hold("a.example");
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let keys = keys.clone();
            tokio::spawn(async move { keys.key(&name("a.example"), "ed25519:1").await })
        })
        .collect();
    servers.until_asked("a.example").await;

    assert!(keys.key(&name("b.example"), "ed25519:1").await.is_ok());
    assert!(waiting.iter().all(|task| !task.is_finished()));
    gate.add_permits(1);

    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(servers.asked(), ["a.example", "b.example"]);
}

#[tokio::test]
async fn a_fetch_goes_on_when_who_caused_it_has_gone() {
    let (servers, keys, _clock) = one_server();
    let gate = servers.hold("a.example");
    let impatient = tokio::spawn({
        let keys = keys.clone();
        async move { keys.key(&name("a.example"), "ed25519:1").await }
    });
    servers.until_asked("a.example").await;
    impatient.abort();
    impatient.await.unwrap_err();
    gate.add_permits(1);

    assert!(keys.key(&name("a.example"), "ed25519:1").await.is_ok());

    assert_eq!(servers.asked(), ["a.example"]);
}

#[tokio::test]
async fn a_server_that_fails_is_left_alone_for_longer_and_longer_up_to_an_hour() {
    let servers = Arc::new(FakeServers::default());
    let (keys, clock) = servers.keys(&[]);
    let server = name("a.example");

    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(is_unavailable(&keys.key(&server, "ed25519:1").await));
        assert_eq!(servers.asked(), ["a.example"], "{minutes}");
        clock.advance(Duration::from_millis(minutes * 60_000 - 1));
        assert!(is_unavailable(&keys.key(&server, "ed25519:1").await));
        assert_eq!(servers.asked(), [""; 0], "{minutes}");
        clock.advance(Duration::from_millis(1));
    }

    servers.publish("a.example", &document("a.example", &signing_key("1", 1), clock.now() + MINUTE));
    assert!(keys.key(&server, "ed25519:1").await.is_ok());
    servers.go_away("a.example");
    clock.advance(MINUTE);
    servers.asked();
    assert!(is_unavailable(&keys.key(&server, "ed25519:1").await));
    clock.advance(MINUTE);
    assert!(is_unavailable(&keys.key(&server, "ed25519:1").await));
    assert_eq!(servers.asked(), ["a.example", "a.example"], "success makes it begin anew");
}

#[tokio::test]
async fn a_document_that_proves_nothing_is_a_failure() {
    let (servers, keys, _clock) = one_server();
    servers.publish("a.example", &document("b.example", &signing_key("1", 1), NOW + DAY));

    let outcome = keys.key(&name("a.example"), "ed25519:1").await;

    let Err(KeyError::Unavailable { reason, until, .. }) = outcome else { panic!() };
    assert_eq!(reason, "the document is the one of \"b.example\"");
    assert_eq!(until, NOW + MINUTE);
}

/// A notary that knows `a.example`, which is gone itself.
fn notary(answer: &serde_json::Value) -> (Arc<FakeServers>, ServerKeys) {
    let servers = Arc::new(FakeServers::default());
    servers.publish("notary.example", &document("notary.example", &signing_key("n", 9), NOW + DAY));
    servers.publish("notary.example/a.example", answer);
    let (keys, _) = servers.keys(&["gone.example", "notary.example"]);
    (servers, keys)
}

fn notarised(document: serde_json::Value) -> serde_json::Value {
    sign(document, "notary.example", &signing_key("n", 9))
}

#[tokio::test]
async fn a_notary_is_asked_about_a_server_that_does_not_answer() {
    let older = notarised(document("a.example", &signing_key("1", 1), NOW + MINUTE));
    let newer = notarised(document("a.example", &signing_key("2", 2), NOW + DAY));
    let other = notarised(document("b.example", &signing_key("3", 3), NOW + DAY));
    let expired = notarised(document("a.example", &signing_key("4", 4), NOW));
    let (servers, keys) = notary(&json!({ "server_keys": [older, newer, other, expired, 5] }));

    assert!(keys.key(&name("a.example"), "ed25519:2").await.is_ok());

    let asked = ["a.example", "gone.example/a.example", "notary.example/a.example", "notary.example"];
    assert_eq!(servers.asked(), asked);
    for id in ["ed25519:1", "ed25519:3", "ed25519:4"] {
        assert!(is_unknown(&keys.key(&name("a.example"), id).await), "{id}");
    }
}

#[tokio::test]
async fn a_notary_proves_nothing_without_both_signatures() {
    let own = document("a.example", &signing_key("1", 1), NOW + DAY);
    let nobodys = unsigned("a.example", &[&signing_key("1", 1)], NOW + DAY);
    for document in [
        own.clone(),
        notarised(nobodys),
        sign(own.clone(), "notary.example", &signing_key("n", 8)),
        sign(own.clone(), "notary.example", &signing_key("unknown", 9)),
        sign(own, "other.example", &signing_key("n", 9)),
    ] {
        let (_servers, keys) = notary(&json!({ "server_keys": [document] }));
        assert!(is_unavailable(&keys.key(&name("a.example"), "ed25519:1").await), "{document}");
    }
    for answer in [json!({}), json!({ "server_keys": {} }), json!({ "server_keys": [] }), json!([])] {
        let (_servers, keys) = notary(&answer);
        assert!(is_unavailable(&keys.key(&name("a.example"), "ed25519:1").await), "{answer}");
    }
}

#[tokio::test]
async fn notaries_do_not_vouch_for_each_other() {
    let servers = Arc::new(FakeServers::default());
    let (keys, _) = servers.keys(&["n.example", "m.example"]);

    assert!(is_unavailable(&keys.key(&name("n.example"), "ed25519:1").await));

    assert_eq!(servers.asked(), ["n.example"]);
}
