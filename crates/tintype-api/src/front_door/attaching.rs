//! Requests that attach media on their way to the homeserver (MSC3911).
//!
//! They are what clients send anyway, with a parameter of ours, or with a URI that means something here. What there is to
//! attach is read here; whether it may be attached, and what becomes of it, is the repository's to say. Requests with
//! nothing to attach go on as they came.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri, header, request},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};
use tintype_domain::ContentHash;
use tintype_homeserver::{ForwardError, Homeserver};
use tintype_repository::{AttachRequest, Attached, Forwarded, ReceiveError, Verdict};
use tintype_storage::records::{AttachmentTarget, hash_of_content};
use tokio::time::timeout;

pub(crate) use super::attach_media::{Asked, is_delayed};
use super::{pass, passed, paths::leads_to_homeserver};
use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok, unrecognized},
    upload_body::UploadBody,
};

/// What all of these paths begin with.
const CLIENT_API: &str = "/_matrix/client/";

/// The largest body that is looked into, in bytes: sixteen times the largest event.
const MAX_BODY: usize = 1024 * 1024;

/// The longest answer to a request that attaches media, in bytes. An event ID takes some fifty.
const MAX_ANSWER: usize = 1024 * 1024;

/// How long the homeserver may take for its answer: longer than the proxies that are usual in front of one let it.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// What is to be forwarded once the media is taken.
pub(crate) struct Attaching {
    pub(crate) asked: Asked,
    pub(crate) attached_to: AttachmentTarget,
    /// As it is sent.
    pub(crate) body: Bytes,
    /// Of the event; none if it is not known here.
    pub(crate) content: Option<ContentHash>,
}

/// Other methods of the paths on which media is attached.
pub(crate) async fn other_method(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    pass_on(&api, &head, body).await
}

/// A request with nothing to attach, as it came: also where only the paths on which media is attached are sent here.
pub(crate) async fn pass_on(api: &Arc<Api>, head: &Head, body: Body) -> Response {
    match homeserver(api, head) {
        Ok(homeserver) => Box::pin(pass(api, homeserver, head, body)).await,
        Err(error) => refuse(api, body, error),
    }
}

/// Answers without having read the body.
pub(crate) fn refuse(api: &Api, body: Body, error: MatrixError) -> Response {
    UploadBody::new(body, api.parts.body_idle_timeout).linger();
    error.into_response()
}

/// Where a request to one of our paths goes, if the homeserver reads the path as we do.
fn homeserver<'a>(api: &'a Api, head: &Head) -> Result<&'a Arc<Homeserver>, MatrixError> {
    let homeserver = api.tenant(&head.request)?.homeserver.as_ref();
    let homeserver = homeserver.filter(|_| leads_to_homeserver(head.request.uri().path(), &[CLIENT_API.to_owned()]));
    homeserver.ok_or_else(|| unrecognized(StatusCode::NOT_FOUND))
}

/// Sends an event for which the query names media, or passes the request on if it names none.
pub(crate) async fn send(
    api: &Arc<Api>,
    request: Request,
    attached_to: impl FnOnce(&Uri) -> Result<AttachmentTarget, MatrixError>,
) -> Response {
    let (head, body) = Head::split(request);
    let uri = head.request.uri();
    let asked = match api.parts.msc3911.attachments_asked(uri) {
        Ok(None) => return pass_on(api, &head, body).await,
        asked => asked.transpose().expect("something is asked").and_then(|asked| Ok((asked, attached_to(uri)?))),
    };
    let (asked, attached_to) = match asked {
        Ok(asked) => asked,
        Err(error) => return refuse(api, body, error),
    };
    let body = match read(api, body).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    send_read(api, &head, asked, attached_to, body).await
}

/// The same, with a body that was read.
pub(crate) async fn send_read(
    api: &Arc<Api>,
    head: &Head,
    asked: Asked,
    attached_to: AttachmentTarget,
    body: Bytes,
) -> Response {
    // What is no event is the homeserver's to refuse.
    let content = serde_json::from_slice::<Map<String, Value>>(&body).ok().as_ref().map(hash_of_content);
    attach(api, head, Attaching { asked, attached_to, body, content }).await
}

/// The whole body, or the answer to one that is too long or breaks off.
pub(crate) async fn read(api: &Api, body: Body) -> Result<Bytes, Response> {
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let error = match chunk {
            Ok(chunk) if bytes.len() + chunk.len() <= MAX_BODY => {
                bytes.extend_from_slice(&chunk);
                continue;
            }
            Ok(_) => {
                let error = format!("the body is larger than {MAX_BODY} bytes");
                MatrixError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error)
            }
            Err(error) => ReceiveError::from(error).into(),
        };
        body.linger();
        return Err(error.into_response());
    }
    Ok(bytes.freeze())
}

/// Attaches media and forwards the request, in this order.
pub(crate) async fn attach(api: &Arc<Api>, head: &Head, attaching: Attaching) -> Response {
    // Boxed: most requests have nothing to attach.
    Box::pin(try_to_attach(api, head, attaching)).await.unwrap_or_else(MatrixError::into_response)
}

async fn try_to_attach(api: &Arc<Api>, head: &Head, attaching: Attaching) -> Result<Response, MatrixError> {
    let Attaching { asked, attached_to, body, content } = attaching;
    let homeserver = Arc::clone(homeserver(api, head)?);
    let caller = api.caller(head).await?;
    let mut parts = head.forwarded(&asked.target);
    // The answer has to be read here, and the body is as long as it is.
    parts.headers.remove(header::ACCEPT_ENCODING);
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let request = AttachRequest {
        method: head.request.method().to_string(),
        path: head.request.uri().path().to_owned(),
        media: asked.media,
        body: ContentHash::of(&body),
        content,
        target: attached_to.clone(),
    };
    let forward = async move { forward(&homeserver, parts, body, &attached_to).await };
    Ok(match api.parts.repository.attach(&caller, request, forward).await? {
        Attached::Answered(answer) => answer,
        Attached::Before(event_id) => ok(&json!({ "event_id": event_id })),
    })
}

async fn forward(
    homeserver: &Homeserver,
    parts: request::Parts,
    body: Bytes,
    attached_to: &AttachmentTarget,
) -> Forwarded<Response> {
    let request = Request::from_parts(parts, Body::from(body));
    let answered = timeout(ANSWER_WITHIN, async {
        let (parts, body) = homeserver.forward(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| ForwardError::Unknown(error.to_string()))?.to_bytes();
        Ok::<_, ForwardError>((parts, body))
    });
    match answered.await {
        Ok(Ok((parts, body))) => {
            let verdict = verdict(parts.status, &body, attached_to);
            Forwarded { verdict, answer: passed(Response::from_parts(parts, Body::from(body))) }
        }
        Ok(Err(error)) => {
            let not_sent = matches!(error, ForwardError::NotSent(_));
            let verdict = if not_sent { Verdict::Refused } else { Verdict::Unknown };
            Forwarded { verdict, answer: MatrixError::from(&error).into_response() }
        }
        Err(_) => {
            let text = "The homeserver takes too long; the request may have taken effect";
            let error = MatrixError::new(StatusCode::GATEWAY_TIMEOUT, "M_UNKNOWN", text);
            Forwarded { verdict: Verdict::Unknown, answer: error.into_response() }
        }
    }
}

/// What an answer says about what it answers.
fn verdict(status: StatusCode, body: &[u8], attached_to: &AttachmentTarget) -> Verdict {
    if status.is_client_error() {
        return Verdict::Refused;
    }
    if !status.is_success() {
        return Verdict::Unknown;
    }
    let answer = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let id = |key: &str| answer.get(key).and_then(Value::as_str);
    let known = match attached_to {
        AttachmentTarget::Profile(_) => Some(Verdict::ProfileSet),
        AttachmentTarget::NewRoom => id("room_id").and_then(|id| Some(Verdict::RoomCreated(id.try_into().ok()?))),
        AttachmentTarget::Transaction { .. } | AttachmentTarget::Message { .. } | AttachmentTarget::State { .. } => {
            id("event_id").and_then(|id| Some(Verdict::Sent(id.try_into().ok()?)))
        }
    };
    known.unwrap_or(Verdict::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_says_so_means_that_there_is_an_event() {
        let to_room = AttachmentTarget::Transaction {
            room_id: "!a:b".try_into().expect("it is a room ID"),
            event_type: "m.room.message".to_owned(),
        };
        let event = || Verdict::Sent("$event".try_into().expect("it is an event ID"));
        for (status, body, expected) in [
            (200, r#"{"event_id":"$event"}"#, event()),
            (201, r#"{"event_id":"$event","more":1}"#, event()),
            (200, r#"{"event_id":"event"}"#, Verdict::Unknown),
            (200, r#"{"event_id":7}"#, Verdict::Unknown),
            (200, r#"{"room_id":"!a:b"}"#, Verdict::Unknown),
            (200, "{}", Verdict::Unknown),
            (200, "[]", Verdict::Unknown),
            (200, "<html>", Verdict::Unknown),
            (204, "", Verdict::Unknown),
            (302, "", Verdict::Unknown),
            (400, r#"{"event_id":"$event"}"#, Verdict::Refused),
            (403, "", Verdict::Refused),
            (429, "", Verdict::Refused),
            (500, r#"{"event_id":"$event"}"#, Verdict::Unknown),
            (502, "", Verdict::Unknown),
        ] {
            let status = StatusCode::from_u16(status).expect("it is a status");
            assert_eq!(verdict(status, body.as_bytes(), &to_room), expected, "{status} {body}");
        }
    }
}
