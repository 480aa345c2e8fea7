//! Keys of other servers, over the network.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use ruma_common::CanonicalJsonValue;
use serde_json::{Value, json};
use tintype_domain::Clock as _;
use tintype_federation::{KeyError, KeyFetchError, KeySource as _, MAX_DOCUMENT, ServerKeys, SigningKey, server_keys};

use crate::{
    fetch::signing_key,
    matrix, server,
    support::{Answer, Peer, Received, World, answer, json},
};

/// The keys that others show here.
fn keys(world: &World, notaries: &[&str]) -> ServerKeys {
    let notaries = notaries.iter().map(|notary| server(notary)).collect();
    ServerKeys::new(Arc::new(world.outbound()), notaries, world.clock.clone())
}

fn document(world: &World) -> Value {
    server_keys(&server("example.test"), &signing_key(), world.clock.now()).unwrap()
}

async fn notary(world: &World, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Peer {
    world.dns.host("notary.test", world.address(4));
    Peer::start(world.federation(4), world.authority.server(&["notary.test"]), answer).await
}

/// The document with the signature of a notary on it.
fn notarized(document: Value, key: &SigningKey) -> Value {
    let CanonicalJsonValue::Object(mut object) = document.try_into().unwrap() else { panic!() };
    key.sign(&server("notary.test"), &mut object).unwrap();
    serde_json::to_value(object).unwrap()
}

#[tokio::test]
async fn a_server_is_asked_for_its_own_keys() {
    let world = World::new().await;
    let document = document(&world);
    let peer = matrix(&world, move |_| json(&document)).await;

    keys(&world, &[]).key(&server("example.test"), "ed25519:a").await.unwrap();

    let received = peer.received().pop().unwrap();
    assert_eq!((received.method.clone(), received.target.as_str()), (Method::GET, "/_matrix/key/v2/server"));
}

#[tokio::test]
async fn a_notary_is_asked_for_the_keys_of_a_server_that_is_gone() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));
    let its_key = SigningKey::parse("ed25519 n AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let own = server_keys(&server("notary.test"), &its_key, world.clock.now()).unwrap();
    let answered = json!({ "server_keys": [notarized(document(&world), &its_key)] });
    let peer = notary(&world, move |request| match request.target.as_str() {
        "/_matrix/key/v2/server" => json(&own),
        _ => json(&answered),
    })
    .await;

    keys(&world, &["notary.test"]).key(&server("example.test"), "ed25519:a").await.unwrap();

    let received = peer.received();
    let question = received.iter().find(|request| request.method == Method::POST).unwrap();
    assert_eq!(question.target, "/_matrix/key/v2/query");
    let body: Value = serde_json::from_slice(&question.body).unwrap();
    assert!(body["server_keys"]["example.test"][""]["minimum_valid_until_ts"].is_u64(), "{body}");
}

#[tokio::test]
async fn documents_are_read_up_to_a_bound() {
    let world = World::new().await;
    let _peer = matrix(&world, |_| answer(StatusCode::OK, &[], "x".repeat(MAX_DOCUMENT + 1))).await;
    let _notary = notary(&world, |_| answer(StatusCode::OK, &[], "x".repeat(1_000_000))).await;
    let outbound = world.outbound();
    let until = world.clock.now() + Duration::from_secs(1);

    let own = outbound.own(&server("example.test")).await.unwrap_err();
    let of_notary = outbound.of_notary(&server("notary.test"), &server("example.test"), until).await.unwrap_err();

    assert!(matches!((&own, &of_notary), (KeyFetchError::TooLong, KeyFetchError::TooLong)), "{own:?} {of_notary:?}");
}

#[tokio::test]
async fn an_error_is_no_document() {
    let world = World::new().await;
    let document = document(&world);
    let _peer = matrix(&world, move |_| {
        let mut answer = json(&document);
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
    .await;

    let error = keys(&world, &[]).key(&server("example.test"), "ed25519:a").await.unwrap_err();

    assert!(matches!(error, KeyError::Unavailable { .. }), "{error:?}");
}
