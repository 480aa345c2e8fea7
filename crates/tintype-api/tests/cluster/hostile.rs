//! What is not of a node learns nothing on the internal port, and an envelope counts nowhere else.

use std::{net::Ipv4Addr, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tintype_api::{ENVELOPE, Envelope, Via};
use tintype_domain::{Clock as _, ContentHash, OsRandomness, Randomness as _, SystemClock, Timestamp};
use tintype_repository::{ClusterKey, Wanted};
use tokio::time::timeout;

use crate::nodes::{Answer, Nodes, download, key, upload};

const TARGET: &str = "/_matrix/client/v1/media/config";

fn envelope(nodes: &Nodes) -> Envelope {
    let mut nonce = [0; 16];
    OsRandomness.fill(&mut nonce);
    Envelope {
        from: nodes.all[1].id(),
        to: nodes.all[0].id(),
        sent_at: SystemClock.now(),
        nonce: u128::from_ne_bytes(nonce),
        address: Ipv4Addr::LOCALHOST.into(),
        via: Via::Http,
        wanted: Wanted::Beginning,
        patience: None,
        body: None,
    }
}

fn request(target: &str, method: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
    request.header(header::AUTHORIZATION, "Bearer token").body(Body::empty()).unwrap()
}

fn sealed(envelope: &Envelope, key: &ClusterKey) -> HeaderValue {
    envelope.seal(key, &request(TARGET, "GET"))
}

/// The answer on the internal port of the first node.
async fn internal(nodes: &Nodes, mut request: Request<Body>, value: Option<HeaderValue>) -> Answer {
    if let Some(value) = value {
        request.headers_mut().insert(ENVELOPE, value);
    }
    let target = format!("http://{}{}", nodes.all[0].internal, request.uri());
    *request.uri_mut() = target.parse().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

fn learns_nothing(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (StatusCode::UNAUTHORIZED, 0), "{answer:?}");
    assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_node_has_sealed_for_this_node_and_this_moment_is_answered_and_once() {
    let nodes = Nodes::start(2).await;
    let ago = |seconds: u64| Timestamp(SystemClock.now().0 - i64::try_from(seconds * 1000).unwrap());

    let good = sealed(&envelope(&nodes), &key());
    let answer = internal(&nodes, request(TARGET, "GET"), Some(good.clone())).await;
    assert_eq!(answer.status, StatusCode::OK);

    learns_nothing(&internal(&nodes, request(TARGET, "GET"), None).await);
    learns_nothing(&internal(&nodes, request("/nothing", "GET"), None).await);
    learns_nothing(&internal(&nodes, request(TARGET, "OPTIONS"), None).await);
    learns_nothing(&internal(&nodes, request(TARGET, "GET"), Some(good)).await);
    let forged = sealed(&envelope(&nodes), &ClusterKey::new(b"another secret", "relay"));
    learns_nothing(&internal(&nodes, request(TARGET, "GET"), Some(forged)).await);
    let of_another_purpose = sealed(&envelope(&nodes), &ClusterKey::new(crate::nodes::SECRET, "rates"));
    learns_nothing(&internal(&nodes, request(TARGET, "GET"), Some(of_another_purpose)).await);
    for sent_at in [ago(31), Timestamp(SystemClock.now().0 + 32_000), Timestamp(0)] {
        let value = sealed(&Envelope { sent_at, ..envelope(&nodes) }, &key());
        learns_nothing(&internal(&nodes, request(TARGET, "GET"), Some(value)).await);
    }
    for other in [request(TARGET, "POST"), request("/_matrix/client/v1/media/config?a", "GET")] {
        let value = sealed(&envelope(&nodes), &key());
        learns_nothing(&internal(&nodes, other, Some(value)).await);
    }
    let value = sealed(&Envelope { to: nodes.all[1].id(), ..envelope(&nodes) }, &key());
    let answer = internal(&nodes, request(TARGET, "GET"), Some(value)).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(nodes.all[0].metric("http_relay_refused_total") >= 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_says_nothing_on_a_public_port() {
    let nodes = Nodes::start(2).await;
    let value = sealed(&envelope(&nodes), &key());

    let answer = nodes.ask(0, "GET", TARGET, &[(ENVELOPE.as_str(), value.to_str().unwrap())], Body::empty()).await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(nodes.all[0].metric("http_relayed_in_total"), 0);
    let answer = nodes.ask(0, "POST", "/_tintype/taken", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_for_itself_is_what_it_has_sealed() {
    let nodes = Nodes::start(2).await;
    let said = |body: &'static str| {
        let envelope = Envelope { body: Some(ContentHash::of(b"\x01")), ..envelope(&nodes) };
        let mut said = request("/_tintype/taken", "POST");
        let value = envelope.seal(&key(), &said);
        *said.body_mut() = Body::from(body);
        (said, value)
    };

    let (good, value) = said("\x01");
    assert_eq!(internal(&nodes, good, Some(value)).await.status, StatusCode::NO_CONTENT);
    let (changed, value) = said("\x02");
    learns_nothing(&internal(&nodes, changed, Some(value)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_handed_on_waits_as_long_as_its_client_still_does() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;
    // Of what has no length, a byte that has not arrived is waited for: here as long as it takes.
    let mut handed = request(&format!("{}?timeout_ms=60000", download(&id)), "GET");
    handed.headers_mut().insert(header::RANGE, HeaderValue::from_static("bytes=100-"));
    let value = Envelope { patience: Some(Duration::from_millis(10)), ..envelope(&nodes) }.seal(&key(), &handed);

    let answer = timeout(Duration::from_secs(30), internal(&nodes, handed, Some(value))).await;

    assert_eq!(answer.expect("less than what its target says").status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(sending.finish().await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_handed_on_goes_no_further() {
    let nodes = Nodes::start(3).await;
    let id = nodes.reserve(2).await;
    let sending = nodes.sending(2, "PUT", &upload(&id), &[]);
    sending.send("first");
    nodes.arrives(2, &id).await;
    let envelope = Envelope { patience: Some(Duration::from_secs(20)), ..envelope(&nodes) };
    let handed = request(&download(&id), "GET");
    let value = envelope.seal(&key(), &handed);

    let answer = internal(&nodes, handed, Some(value)).await;

    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(nodes.all[2].metric("http_relayed_in_total"), 0);
    assert_eq!(sending.finish().await, StatusCode::OK);
}
