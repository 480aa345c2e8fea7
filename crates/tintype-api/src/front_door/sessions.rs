//! What ends sessions at the homeserver: what is known here of their tokens is forgotten at once.
//!
//! These requests are finished even if their client goes away, as clients do that log out: the homeserver may have heard
//! them, and then we have to know.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{Method, Request, StatusCode},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tintype_domain::User;
use tintype_homeserver::{ForwardError, Homeserver};
use tintype_repository::{BodyError, ReceiveError, TokensOf};
use tokio::time::timeout;

use super::{body::ClientBody, passed, passing, paths::segments};
use crate::{Api, edge::Head, error::MatrixError};

/// The longest body that is looked into, in bytes: passwords and what else proves who one is.
const MAX_BODY: usize = 64 * 1024;

/// How long the homeserver may take, in which a stop of the server is held up.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a request ends if the homeserver agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Sessions of a user.
    Sessions,
    /// An account.
    Account,
}

impl Ending {
    /// What this request ends, if it does (client-server API, "Login", "Device Management", "Account deactivation").
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        // All others are cheaply told apart: nearly every request is one.
        let may_end = [&Method::POST, &Method::PUT, &Method::DELETE].contains(&method);
        if !may_end || !ENDINGS.iter().any(|ending| path.contains(ending)) && !path.contains('%') {
            return None;
        }
        let segments = segments(path)?;
        let segments = segments.iter().map(String::as_str).collect::<Vec<_>>();
        let ["_matrix", "client", version, rest @ ..] = &segments[..] else { return None };
        if !["v3", "r0"].contains(version) {
            return None;
        }
        match (method, rest) {
            (&Method::POST, ["logout" | "delete_devices"] | ["logout", "all"] | ["account", "password"])
            | (&Method::DELETE, ["devices", _, ..]) => Some(Self::Sessions),
            (&Method::POST, ["account", "deactivate"]) => Some(Self::Account),
            _ => None,
        }
    }
}

/// What the path of each has in it, unless it is encoded.
const ENDINGS: [&str; 4] = ["/logout", "/devices/", "/delete_devices", "/account/"];

/// Passes the request on, and forgets the tokens that it ended.
///
/// # Errors
/// 502 if the homeserver does not answer.
pub(super) async fn passed_on(
    api: &Arc<Api>,
    homeserver: &Arc<Homeserver>,
    head: &Head,
    ending: Ending,
    request: Request<ClientBody>,
) -> Result<Response, MatrixError> {
    // Asked before, since afterwards nobody could say. A password may be reset without a token: then nobody can say at all.
    let user = api.user(head).await.ok();
    let server = &api.tenant(&head.request)?.server_name;
    let tokens =
        user.as_ref().map_or_else(|| TokensOf::Server(server.clone()), |user| TokensOf::User(user.user_id.clone()));
    let (parts, body) = request.into_parts();
    let (erases, body) = match ending {
        Ending::Sessions => (false, body),
        Ending::Account => match read(body).await.map_err(ReceiveError::Body)? {
            Read::Whole(known) => (wants_erasure(&known), ClientBody::whole(known)),
            Read::TooLong(beginning, rest) => (false, rest.after(beginning)),
        },
    };
    let request = Request::from_parts(parts, body);
    let finish = {
        let (api, homeserver) = (Arc::clone(api), Arc::clone(homeserver));
        async move {
            let answer = timeout(PATIENCE, passing::sent(&api, &homeserver, request)).await;
            let answer = answer.unwrap_or_else(|_| Err(ForwardError::Unknown("no answer in time".to_owned())));
            let has_ended = match &answer {
                Ok(answer) => answer.status() == StatusCode::OK,
                Err(ForwardError::NotSent(_)) => false,
                // It may have.
                Err(ForwardError::Unknown(_)) => true,
            };
            if has_ended {
                api.parts.repository.forget_tokens(&tokens).await;
            }
            let is_done = answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::OK);
            if is_done && erases {
                erase(&api, user.as_deref()).await;
            }
            answer
        }
    };
    let answer = api.parts.repository.finish(finish).await.ok_or_else(MatrixError::internal)?;
    answer.map(passed).map_err(|error| MatrixError::from(&error))
}

enum Read {
    Whole(Bytes),
    TooLong(Bytes, ClientBody),
}

/// What the client sends, unless it is too long.
async fn read(mut body: ClientBody) -> Result<Read, BodyError> {
    let mut read = BytesMut::new();
    while read.len() <= MAX_BODY {
        match body.frame().await.transpose()? {
            Some(frame) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            None => return Ok(Read::Whole(read.freeze())),
        }
    }
    Ok(Read::TooLong(read.freeze(), body))
}

/// Whether who deactivates an account wants everything gone that it sent (client-server API, "Account deactivation").
fn wants_erasure(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["erase"] == true)
}

/// Has everything removed that a user uploaded, who wanted it gone with the account.
async fn erase(api: &Api, user: Option<&User>) {
    let Some(user) = user else {
        tracing::error!(
            "an account was deactivated that wants to be erased, and nobody can say whose: run `tintype user erase`"
        );
        return;
    };
    if let Err(error) = api.parts.repository.erase(&user.user_id).await {
        tracing::error!(user = %user.user_id, %error, "a deactivated account could not be erased: run `tintype user erase`");
    }
}
