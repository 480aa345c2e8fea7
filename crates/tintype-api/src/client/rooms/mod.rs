//! What is sent to rooms, on its way to the homeserver.

mod member;
pub(crate) mod send;
pub(crate) mod state;

use std::borrow::Cow;

use axum::http::Uri;
use tintype_domain::{OwnedRoomId, RoomId};
use tintype_http::path::{decode_segment, segments};

use crate::error::MatrixError;

/// The room, and the segments that follow after `send` or `state`, of `/_matrix/client/{version}/rooms/{room}/…`.
///
/// # Errors
/// 400 `M_INVALID_PARAM` for what cannot be decoded, and what names no room.
fn room_and_rest(uri: &Uri) -> Result<(OwnedRoomId, Vec<Cow<'_, str>>), MatrixError> {
    let undecodable = |_| MatrixError::invalid_param("The path is not percent-encoded UTF-8");
    let decoded = segments(uri.path()).map(decode_segment).collect::<Result<Vec<_>, _>>().map_err(undecodable)?;
    let room = decoded.get(4).map(|room| RoomId::parse(room.as_ref()));
    let room = room.and_then(Result::ok).ok_or_else(|| MatrixError::invalid_param("The path names no room"))?;
    Ok((room, decoded.into_iter().skip(6).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_segment_of_the_path_is_decoded_once() {
        for (path, room, rest) in [
            ("/_matrix/client/v3/rooms/!a:b/send/m.room.message/1", "!a:b", &["m.room.message", "1"][..]),
            ("/_matrix/client/r0/rooms/%21a%3Ab/state/org.x/%2561%2F", "!a:b", &["org.x", "%61/"]),
            (
                "/_matrix/client/v3/rooms/!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM/state/x/",
                "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM",
                &["x", ""],
            ),
        ] {
            let uri = path.parse().unwrap();
            let (found, segments) = room_and_rest(&uri).unwrap();
            assert_eq!(found, room, "{path}");
            assert_eq!(segments, rest, "{path}");
        }
    }

    #[test]
    fn what_names_no_room_is_refused() {
        for path in ["/_matrix/client/v3/rooms/%23a:b/send/x/1", "/_matrix/client/v3/rooms/!%zz/send/x/1"] {
            assert!(room_and_rest(&path.parse().unwrap()).is_err(), "{path}");
        }
    }
}
