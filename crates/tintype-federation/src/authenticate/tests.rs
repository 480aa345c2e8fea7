use std::sync::Arc;

use serde_json::json;
use tintype_domain::Timestamp;

use super::*;
use crate::{
    SigningKey, authorization,
    keys::fake::{DAY, FakeServers, NOW, document, name, sign, signing_key, unsigned},
};

const TARGET: &str = "/_matrix/federation/v1/media/download/a%2Fb?timeout_ms=1&x=%20";

/// `a.example`, whose key is `ed25519:1`; we are `us.example` and `also.us.example:8448`.
struct Setting {
    servers: Arc<FakeServers>,
    keys: ServerKeys,
    names: Vec<OwnedServerName>,
}

fn setting() -> Setting {
    let servers = Arc::new(FakeServers::default());
    servers.publish("a.example", &document("a.example", &signing_key("1", 1), NOW + DAY));
    let (keys, _clock) = servers.keys(&[]);
    Setting { servers, keys, names: vec![name("us.example"), name("also.us.example:8448")] }
}

impl Setting {
    async fn authenticate(&self, headers: &[&str]) -> Result<Authenticated, AuthenticationError> {
        self.authenticate_as("GET", TARGET, headers).await
    }

    async fn authenticate_as(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
    ) -> Result<Authenticated, AuthenticationError> {
        let authorization = headers.iter().map(|header| header.as_bytes()).collect();
        let request = SignedRequest { method, target, authorization, names: &self.names, host: &self.names[0] };
        authenticate(&self.keys, &request).await
    }
}

fn header(key: &SigningKey, origin: &str, destination: &str) -> String {
    let value = authorization(key, &name(origin), &name(destination), "GET", TARGET).unwrap();
    value.to_str().unwrap().to_owned()
}

fn right() -> String {
    header(&signing_key("1", 1), "a.example", "us.example")
}

#[tokio::test]
async fn a_signed_request_is_from_who_signed_it() {
    let setting = setting();
    let other_name = header(&signing_key("1", 1), "a.example", "also.us.example:8448");

    let first = setting.authenticate(&[&right()]).await.unwrap();
    let second = setting.authenticate(&[&other_name]).await.unwrap();

    assert_eq!(first, Authenticated { origin: name("a.example"), destination: name("us.example") });
    assert_eq!(second.destination, name("also.us.example:8448"));
    assert_eq!(setting.servers.asked(), ["a.example"]);
}

#[tokio::test]
async fn a_request_without_destination_is_verified_with_the_name_of_its_host() {
    let setting = setting();
    let without = |destination| right().replace("us.example", destination).replace(",destination=\"\"", "");
    let other = header(&signing_key("1", 1), "a.example", "also.us.example:8448");
    let other = other.replace(r#",destination="also.us.example:8448""#, "");

    let outcome = setting.authenticate(&[&without("")]).await;

    assert_eq!(outcome.unwrap().destination, name("us.example"));
    assert!(matches!(setting.authenticate(&[&other]).await, Err(AuthenticationError::BadSignature { .. })));
}

#[tokio::test]
async fn another_method_target_or_destination_than_the_signed_one_is_refused() {
    let setting = setting();
    let replayed = right().replace("us.example", "also.us.example:8448");

    for (method, target, header) in [
        ("HEAD", TARGET, right()),
        ("GET", "/_matrix/federation/v1/media/download/a/b?timeout_ms=1&x=%20", right()),
        ("GET", "/_matrix/federation/v1/media/download/a%2fb?timeout_ms=1&x=%20", right()),
        ("GET", "/_matrix/federation/v1/media/download/a%2Fb", right()),
        ("GET", TARGET, replayed),
        ("GET", TARGET, header(&signing_key("1", 2), "a.example", "us.example")),
    ] {
        let outcome = setting.authenticate_as(method, target, &[&header]).await;
        let expected = AuthenticationError::BadSignature { origin: name("a.example"), key_id: "ed25519:1".to_owned() };
        assert_eq!(outcome, Err(expected), "{method} {target} {header}");
    }
}

#[tokio::test]
async fn nobody_is_asked_for_keys_before_everything_else_is_right() {
    let setting = setting();
    let key = signing_key("1", 1);
    let (right, broken) = (right(), right().replace("sig=", "sgi="));
    let elsewhere = header(&key, "a.example", "them.example");
    let too_many = vec![right.as_str(); 11];

    for (headers, expected) in [
        (&[][..], AuthenticationError::Missing),
        (&["Bearer abc"], AuthenticationError::Missing),
        (&["X-Matrix"], AuthenticationError::Malformed(XMatrixError::Missing("origin"))),
        (&[&broken], AuthenticationError::Malformed(XMatrixError::Missing("sig"))),
        (&[&right, &broken], AuthenticationError::Malformed(XMatrixError::Missing("sig"))),
        (&[&elsewhere], AuthenticationError::OtherDestination(name("them.example"))),
        (&[&header(&key, "a.example", "US.example")], AuthenticationError::OtherDestination(name("US.example"))),
        (&[&header(&key, "us.example", "us.example")], AuthenticationError::Ourselves(name("us.example"))),
        (
            &[&header(&key, "also.us.example:8448", "us.example")],
            AuthenticationError::Ourselves(name("also.us.example:8448")),
        ),
        (&[&right, &header(&key, "b.example", "us.example")], AuthenticationError::Contradictory),
        (&[&right, &header(&key, "a.example", "also.us.example:8448")], AuthenticationError::Contradictory),
        (&too_many, AuthenticationError::TooMany),
    ] {
        assert_eq!(setting.authenticate(headers).await, Err(expected), "{headers:?}");
    }
    assert_eq!(setting.servers.asked(), [""; 0]);
}

#[tokio::test]
async fn one_right_signature_of_several_is_enough() {
    let setting = setting();
    let unknown = header(&signing_key("2", 2), "a.example", "us.example");
    let wrong = header(&signing_key("1", 3), "a.example", "us.example");

    assert!(setting.authenticate(&[&unknown, &wrong, "Bearer abc", &right()]).await.is_ok());

    let outcome = setting.authenticate(&[&unknown, &wrong]).await;
    let expected = AuthenticationError::UnknownKey { origin: name("a.example"), key_id: "ed25519:2".to_owned() };
    assert_eq!(outcome, Err(expected));
}

#[tokio::test]
async fn a_retired_key_is_unknown_and_an_expired_document_no_proof() {
    let setting = setting();
    let (current, retired) = (signing_key("1", 1), signing_key("old", 2));
    let mut published = unsigned("a.example", &[&current], NOW + DAY);
    published["old_verify_keys"] = json!({ retired.id(): { "key": retired.public_key(), "expired_ts": 1 } });
    setting.servers.publish("a.example", &sign(published, "a.example", &current));
    let expired = signing_key("1", 3);
    setting.servers.publish("b.example", &document("b.example", &expired, Timestamp(NOW.0 - 1)));

    let outcome = setting.authenticate(&[&header(&retired, "a.example", "us.example")]).await;
    assert!(matches!(outcome, Err(AuthenticationError::UnknownKey { .. })), "{outcome:?}");
    let outcome = setting.authenticate(&[&header(&expired, "b.example", "us.example")]).await;
    assert!(matches!(outcome, Err(AuthenticationError::Unavailable(_))), "{outcome:?}");
}
