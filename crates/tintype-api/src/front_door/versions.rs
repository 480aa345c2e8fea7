//! `GET /_matrix/client/versions` where there is a homeserver: its answer to this caller, with what is here besides.
//!
//! The homeserver says to each user what it has for them, so it is asked each time, with the caller's token.

use std::{pin::pin, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http_body::Body as _;
use serde_json::{Map, Value};
use tintype_homeserver::{ForwardError, ForwardedBody};

use super::passed;
use crate::{
    Api,
    edge::Head,
    error::{MatrixError, unrecognized},
};

/// The longest answer that is looked into, in bytes. Synapse's takes some three thousand.
const MAX_ANSWER: usize = 256 * 1024;

/// What there is here whatever the configuration says, by its flags (MSC4425, MSC3911).
const FLAGS: [&str; 2] = ["org.matrix.msc4425", "org.matrix.msc3911"];

/// The flag of a server that takes restricted media only (MSC3911).
const BLOCKS_UNRESTRICTED: &str = "org.matrix.msc3911.block_unrestricted_media_upload";

/// The homeserver's answer with our flags in `unstable_features`. What does not look like an answer goes through as it is.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let homeserver = api.tenant(&head.request)?.homeserver.as_ref();
    let homeserver = homeserver.ok_or_else(|| unrecognized(StatusCode::NOT_FOUND))?;
    let target = head.request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut parts = head.forwarded(target);
    for name in [
        // It has to be read here.
        header::ACCEPT_ENCODING,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::RANGE,
        // A body would say nothing.
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ] {
        parts.headers.remove(name);
    }
    let answer = homeserver.forward(Request::from_parts(parts, Body::empty())).await;
    let (mut parts, body) = answer.map_err(|error| MatrixError::from(&error))?.into_parts();
    vary_by_token(&mut parts.headers);
    if head.request.method() == Method::HEAD {
        // That of the homeserver's answer to GET, not of ours.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    if parts.status != StatusCode::OK || body.is_end_stream() {
        return Ok(passed(Response::from_parts(parts, Body::new(body))));
    }
    let body = match read(body).await.map_err(|error| MatrixError::from(&error))? {
        Read::Whole(whole) => match with_flags(&whole, &flags(&api)) {
            Some(merged) => {
                parts.headers.remove(header::ETAG);
                parts.headers.insert(header::CONTENT_LENGTH, merged.len().into());
                Body::from(merged)
            }
            None => Body::from(whole),
        },
        Read::TooLong(beginning, rest) => {
            let beginning = stream::iter([Ok(beginning)]);
            Body::from_stream(beginning.chain(Body::new(rest).into_data_stream()))
        }
    };
    Ok(passed(Response::from_parts(parts, body)))
}

fn flags(api: &Api) -> Vec<&'static str> {
    let blocks = api.parts.repository.blocks_unrestricted().then_some(BLOCKS_UNRESTRICTED);
    FLAGS.into_iter().chain(blocks).collect()
}

/// An answer with these flags beside its own; nothing if it is not as the specification has it.
fn with_flags(answer: &[u8], flags: &[&str]) -> Option<String> {
    let mut answer = serde_json::from_slice::<Map<String, Value>>(answer).ok()?;
    answer.get("versions")?.as_array()?;
    let features = answer.entry("unstable_features").or_insert_with(|| Map::new().into()).as_object_mut()?;
    features.extend(flags.iter().map(|flag| ((*flag).to_owned(), Value::Bool(true))));
    Some(Value::Object(answer).to_string())
}

enum Read {
    Whole(Bytes),
    TooLong(Bytes, ForwardedBody),
}

async fn read(body: ForwardedBody) -> Result<Read, ForwardError> {
    let mut body = body;
    let mut read = BytesMut::new();
    loop {
        let frame = std::future::poll_fn(|context| pin!(&mut body).poll_frame(context)).await;
        match frame.transpose()? {
            Some(frame) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            None => return Ok(Read::Whole(read.freeze())),
        }
        if read.len() > MAX_ANSWER {
            return Ok(Read::TooLong(read.freeze(), body));
        }
    }
}

/// Says that the answer is of one user, beside what the homeserver says of that.
fn vary_by_token(headers: &mut HeaderMap) {
    let names = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let varies = names.flat_map(|names| names.split(',')).map(str::trim);
    let says_so = varies.into_iter().any(|name| name == "*" || name.eq_ignore_ascii_case("authorization"));
    if !says_so {
        headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(answer: &Value) -> Option<Value> {
        let merged = with_flags(answer.to_string().as_bytes(), &["ours"])?;
        Some(serde_json::from_str(&merged).expect("it is JSON"))
    }

    #[test]
    fn nothing_of_the_homeservers_answer_is_changed() {
        let answer = json!({ "versions": ["v1.1"], "unstable_features": { "theirs": false }, "more": [1, 2.5, null] });

        let expected = json!({
            "versions": ["v1.1"],
            "unstable_features": { "theirs": false, "ours": true },
            "more": [1, 2.5, null],
        });
        assert_eq!(merged(&answer), Some(expected));
    }

    #[test]
    fn an_answer_without_features_gets_ours() {
        let expected = json!({ "versions": [], "unstable_features": { "ours": true } });
        assert_eq!(merged(&json!({ "versions": [] })), Some(expected));
    }

    #[test]
    fn what_is_no_answer_is_left_alone() {
        for answer in [
            json!([]),
            json!({}),
            json!({ "versions": "v1.1" }),
            json!({ "versions": [], "unstable_features": ["theirs"] }),
        ] {
            assert_eq!(merged(&answer), None, "{answer}");
        }
    }

    #[test]
    fn what_an_answer_varies_by_is_added_to_and_not_repeated() {
        for (theirs, expected) in [
            (&[][..], &["Authorization"][..]),
            (&["Origin"], &["Origin", "Authorization"]),
            (&["Origin, authorization"], &["Origin, authorization"]),
            (&["*"], &["*"]),
        ] {
            let values = theirs.iter().map(|value| (header::VARY, HeaderValue::from_static(value)));
            let mut headers = values.collect::<HeaderMap>();
            vary_by_token(&mut headers);
            assert_eq!(headers.get_all(header::VARY).iter().collect::<Vec<_>>(), expected);
        }
    }
}
