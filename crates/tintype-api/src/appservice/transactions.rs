//! `PUT /_matrix/app/v1/transactions/{txnId}` (application service API, "Pushing events").

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tintype_http::path::{decode_segment, segments};
use tintype_repository::{StreamEvent, Transaction};

use super::object;
use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
    upload_body::UploadBody,
};

/// The largest transaction that is read, in bytes. Synapse sends at most 100 events at once, each of them 64 KiB at most,
/// with what is unsigned besides.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Acknowledges a transaction when all that it means is committed.
pub(crate) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    match apply(&api, &head, &mut body).await {
        Ok(answer) => answer,
        Err(error) => {
            body.linger();
            error.into_response()
        }
    }
}

async fn apply(api: &Api, head: &Head, body: &mut UploadBody) -> Result<Response, MatrixError> {
    let server = api.homeserver(&head.request)?.server_name.clone();
    let id = segments(head.request.uri().path()).next_back().and_then(|id| decode_segment(id).ok());
    let id = id.ok_or_else(|| MatrixError::invalid_param("the transaction's ID is not UTF-8"))?.into_owned();
    let mut transaction = object(body, MAX_BODY).await?;
    let events = match transaction.remove("events") {
        Some(Value::Array(events)) => events,
        _ => Vec::new(),
    };
    let mut understood = Vec::with_capacity(events.len());
    for event in events {
        let event_id = event.get("event_id").and_then(Value::as_str).unwrap_or("(unnamed)").to_owned();
        match StreamEvent::from_json(event) {
            Ok(event) => understood.push(event),
            // The homeserver would repeat it for ever, and send nothing else.
            Err(error) => tracing::warn!(%server, event_id, %error, "an event of the homeserver is passed over"),
        }
    }
    let transaction = Transaction { server, id, events: understood };
    api.parts.repository.apply_transaction(transaction).await.map_err(|error| MatrixError::from(&error))?;
    Ok(ok(&json!({})))
}
