//! What other servers see of ours: where its name leads, and what is found there.
//!
//! It is tried from here, and a machine does not always see itself as others do: behind a router that does not send its
//! own address back, nothing is reached although all is well. That is a note, then, and no failure.

use std::{future::Future, time::Duration};

use axum::body::{Body, to_bytes};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use serde_json::Value;
use tintype_domain::{Clock, SystemClock};
use tintype_federation::{
    AuthenticationError, Destination, KeyDocument, KeySource as _, MAX_DOCUMENT, Outbound, OutboundError, SigningKey,
};
use tokio::time::timeout;

use super::{Finding, Outcome};
use crate::config::ServerConfig;

/// How long it may take to resolve the name: a `.well-known` file and several questions to the DNS.
const RESOLVING: Duration = Duration::from_secs(8);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(4);

/// A path of media that is not there, which is asked for without a signature.
const MEDIA: &str = "/_matrix/federation/v1/media/download/x";

/// Tries everything, in the order in which other servers come by it.
pub(super) async fn findings(outbound: &Outbound, server: &ServerConfig, key: Option<&SigningKey>) -> Vec<Finding> {
    let name = &server.name;
    let found = discovery(outbound, server).await;
    let leads_somewhere = matches!(found, Outcome::Ok(_));
    let mut findings = vec![Finding::new(format!("discovery of {name}"), found)];
    if !leads_somewhere {
        return findings;
    }
    let reached = version(outbound, server).await;
    let is_reached = matches!(reached, Outcome::Ok(_));
    findings.push(Finding::new(format!("federation of {name}"), reached));
    if is_reached {
        let (key, media) = tokio::join!(published_key(outbound, server, key), media(outbound, server));
        findings.push(Finding::new(format!("key that others find of {name}"), key));
        findings.push(Finding::new(format!("media that others find of {name}"), media));
    }
    findings
}

async fn discovery(outbound: &Outbound, server: &ServerConfig) -> Outcome {
    let is_of_this_machine = server.owns_name() && server.name.host() == "localhost";
    if is_of_this_machine && server.name.port().is_none() {
        return Outcome::Note("not tried: no other server can find this name".to_owned());
    }
    match within(RESOLVING, outbound.resolve(&server.name)).await {
        Ok(destination) => Outcome::Ok(description(&destination)),
        Err(OutboundError::Forbidden { address }) => Outcome::Note(format!(
            "it leads to {address} from here, which is not connected to (federation.allow_addresses): what others see \
             was not tried"
        )),
        Err(error) if is_of_this_machine => Outcome::Note(error.to_string()),
        Err(error) => Outcome::Failed(format!("other servers cannot find it: {error}")),
    }
}

fn description(destination: &Destination) -> String {
    let Destination { step, delegation, host, certificate_name, addresses } = destination;
    let delegation = match delegation {
        None => String::new(),
        Some(Ok(server)) => format!(", .well-known delegates to {server}"),
        Some(Err(why)) => format!(", no .well-known ({why})"),
    };
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    format!("step {step}{delegation}, at {addresses}, Host {host}, certificate of {certificate_name}")
}

async fn version(outbound: &Outbound, server: &ServerConfig) -> Outcome {
    let (status, body) = match get(outbound, server, "/_matrix/federation/v1/version").await {
        Ok(answer) => answer,
        Err(error @ (OutboundError::Tls { .. } | OutboundError::Http(_))) => return Outcome::Failed(error.to_string()),
        Err(error) => {
            return Outcome::Note(format!("not reached from here ({error}): what others see was not tried"));
        }
    };
    if status != 200 {
        return Outcome::Failed(format!("it answers with status {status} when it is asked for its version"));
    }
    let text = |field: &str| body["server"][field].as_str().unwrap_or("(unnamed)").to_owned();
    Outcome::Ok(format!("{} {} answers", text("name"), text("version")))
}

/// Whether others find the key with which media is asked of them.
async fn published_key(outbound: &Outbound, server: &ServerConfig, key: Option<&SigningKey>) -> Outcome {
    let document = match timeout(ANSWER, outbound.own(&server.name)).await {
        Ok(Ok(document)) => document,
        Ok(Err(error)) => return Outcome::Failed(error.to_string()),
        Err(_) => return Outcome::Failed(OutboundError::TimedOut.to_string()),
    };
    let document = match KeyDocument::verify(&document, &server.name, SystemClock.now()) {
        Ok(document) => document,
        Err(error) => return Outcome::Failed(format!("other servers refuse it: {error}")),
    };
    let Some(key) = key else {
        return Outcome::Ok("the document is signed; whose key is in it is not known".to_owned());
    };
    let found = document.key(&key.id()).map(|found| BASE64_STANDARD_NO_PAD.encode(found.as_bytes()));
    if found.is_some_and(|found| found == key.public_key()) {
        Outcome::Ok(format!("it is {}", key.id()))
    } else {
        Outcome::Failed(format!("{} is not there: other servers will refuse what is signed with it", key.id()))
    }
}

/// Whether requests for media come here: proxies are often told of the paths of clients alone.
async fn media(outbound: &Outbound, server: &ServerConfig) -> Outcome {
    let (status, body) = match get(outbound, server, MEDIA).await {
        Ok(answer) => answer,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let errcode = body["errcode"].as_str().unwrap_or("no errcode");
    let advice = "does the proxy send /_matrix/federation/v1/media/ here?";
    match (status, errcode) {
        (401, "M_UNAUTHORIZED") if body["error"] == AuthenticationError::Missing.to_string() => {
            Outcome::Ok("requests come to Tintype, which asks for a signature".to_owned())
        }
        // As every server would say it in its own words.
        (401, "M_UNAUTHORIZED") => {
            Outcome::Note(format!("a signature is asked for, but not in the words of this Tintype: {advice}"))
        }
        (502..=504, _) => Outcome::Note(format!("the proxy answers with status {status}: does Tintype run?")),
        _ => Outcome::Failed(format!("{MEDIA} answers with status {status} ({errcode}): {advice}")),
    }
}

/// The status of an answer, and its JSON; null if it is none.
async fn get(outbound: &Outbound, server: &ServerConfig, target: &str) -> Result<(u16, Value), OutboundError> {
    within(ANSWER, async {
        let response = outbound.get(&server.name, target, axum::http::HeaderMap::new(), ANSWER).await?;
        let status = response.status().as_u16();
        let body = to_bytes(Body::new(response.into_body()), MAX_DOCUMENT).await;
        let body = body.map_err(|error| OutboundError::Http(error.to_string()))?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    })
    .await
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, OutboundError>>) -> Result<T, OutboundError> {
    timeout(time, work).await.unwrap_or(Err(OutboundError::TimedOut))
}
