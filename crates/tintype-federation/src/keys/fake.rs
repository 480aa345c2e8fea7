//! Servers that publish what a test gives them, count how often they are asked, and answer when they are let.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ruma_common::CanonicalJsonValue;
use serde_json::{Value, json};
use tintype_domain::{ManualClock, OwnedServerName, ServerName, Timestamp};
use tokio::sync::Semaphore;

use super::{KeyFetchError, KeySource, ServerKeys};
use crate::SigningKey;

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// A key of the same seed for the same number.
pub(crate) fn signing_key(version: &str, seed: u8) -> SigningKey {
    use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
    SigningKey::parse(&format!("ed25519 {version} {}", BASE64_STANDARD_NO_PAD.encode([seed; 32]))).unwrap()
}

pub(crate) fn name(text: &str) -> OwnedServerName {
    text.try_into().unwrap()
}

/// The document of a server before it is signed.
pub(crate) fn unsigned(server: &str, keys: &[&SigningKey], valid_until: Timestamp) -> Value {
    let keys = keys.iter().map(|key| (key.id(), json!({ "key": key.public_key() })));
    json!({
        "server_name": server,
        "valid_until_ts": valid_until.as_millis(),
        "verify_keys": keys.collect::<serde_json::Map<_, _>>(),
        "old_verify_keys": {},
    })
}

/// Adds a server's signature.
pub(crate) fn sign(document: Value, server: &str, key: &SigningKey) -> Value {
    let Ok(CanonicalJsonValue::Object(mut object)) = CanonicalJsonValue::try_from(document) else { panic!() };
    key.sign(&name(server), &mut object).unwrap();
    serde_json::to_value(&object).unwrap()
}

/// A document that its one key has signed.
pub(crate) fn document(server: &str, key: &SigningKey, valid_until: Timestamp) -> Value {
    sign(unsigned(server, &[key], valid_until), server, key)
}

#[derive(Default)]
pub(crate) struct FakeServers(Mutex<State>);

#[derive(Default)]
struct State {
    answers: HashMap<String, String>,
    asked: Vec<String>,
    gates: HashMap<String, Arc<Semaphore>>,
}

impl FakeServers {
    /// Keys from these servers, and the clock by which they count.
    pub(crate) fn keys(self: &Arc<Self>, notaries: &[&str]) -> (ServerKeys, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(NOW));
        let notaries = notaries.iter().map(|notary| name(notary)).collect();
        (ServerKeys::new(Arc::clone(self) as Arc<dyn KeySource>, notaries, Arc::clone(&clock) as _), clock)
    }

    /// Who answers what: `server`, or `notary/server`.
    pub(crate) fn publish(&self, who: &str, answer: &Value) {
        self.publish_text(who, &answer.to_string());
    }

    pub(crate) fn publish_text(&self, who: &str, answer: &str) {
        self.0.lock().unwrap().answers.insert(who.to_owned(), answer.to_owned());
    }

    pub(crate) fn go_away(&self, who: &str) {
        self.0.lock().unwrap().answers.remove(who);
    }

    /// From now on the server answers only as often as the semaphore lets it.
    pub(crate) fn hold(&self, who: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.0.lock().unwrap().gates.insert(who.to_owned(), Arc::clone(&gate));
        gate
    }

    /// Whoever was asked since this was called last, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    /// Waits until the server has been asked, without forgetting who was.
    pub(crate) async fn until_asked(&self, who: &str) {
        while !self.0.lock().unwrap().asked.iter().any(|asked| asked == who) {
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self, who: String) -> BoxFuture<'static, Result<Bytes, KeyFetchError>> {
        let mut state = self.0.lock().unwrap();
        let answer = state.answers.get(&who).cloned();
        let gate = state.gates.get(&who).cloned();
        state.asked.push(who);
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            answer.map(Bytes::from).ok_or(KeyFetchError::Status(404))
        })
    }
}

impl KeySource for FakeServers {
    fn own(&self, server: &ServerName) -> BoxFuture<'static, Result<Bytes, KeyFetchError>> {
        self.answer(server.to_string())
    }

    fn of_notary(
        &self,
        notary: &ServerName,
        server: &ServerName,
        minimum_valid_until: Timestamp,
    ) -> BoxFuture<'static, Result<Bytes, KeyFetchError>> {
        assert!(minimum_valid_until >= NOW);
        self.answer(format!("{notary}/{server}"))
    }
}
