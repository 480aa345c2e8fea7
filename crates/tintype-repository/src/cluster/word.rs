//! What nodes tell each other, as short lines of text.
//!
//! A node that does not understand a word, because the one that says it is newer, forgets all it remembers: that is never
//! wrong, whatever the word means.

use serde_json::{Value, json};
use tintype_domain::{Audience, Mxc};
use tintype_storage::{
    blobs::Location,
    records::{RemoteKey, RemoteResponse, ThumbnailMethod},
};

use crate::TokensOf;

/// Something that the other nodes have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// A node hears itself: so many milliseconds after its start it said this.
    Beat(u64),
    /// Something happened to this media: whoever waits for it looks again.
    Changed(Mxc),
    /// There is a beginning of it.
    Beginning(Mxc),
    /// It is gone from the records.
    Ended(Mxc),
    /// Whoever reads it reads no further, and may look again.
    Cut(Mxc),
    /// Its upload will never be whole.
    BrokeOff(Mxc),
    /// What is remembered of this response of another server is not true any more.
    Forget(RemoteKey),
    /// These bytes are being removed: nobody is to keep them near.
    Removed(Location),
    /// Another server says that its media is for this audience.
    Overruled(Mxc, Audience),
    /// These sessions were ended, or some of them.
    Sessions(TokensOf),
    /// Somebody may not see any more what they saw before.
    Visibility,
    /// More is known of rooms or of events.
    Rooms,
    /// Something that is not understood, or does not fit into a word.
    Unknown,
}

impl Word {
    /// The line that says it.
    pub(crate) fn line(&self) -> String {
        let of = |tag: &str, mxc: &Mxc| json!([tag, mxc.server_name.as_str(), mxc.media_id.as_str()]);
        match self {
            Self::Beat(at) => json!(["b", at]),
            Self::Changed(mxc) => of("c", mxc),
            Self::Beginning(mxc) => of("i", mxc),
            Self::Ended(mxc) => of("e", mxc),
            Self::Cut(mxc) => of("x", mxc),
            Self::BrokeOff(mxc) => of("k", mxc),
            Self::Removed(location) => json!(["d", location.as_str()]),
            Self::Forget(RemoteKey { mxc, response }) => {
                let (server, id) = (mxc.server_name.as_str(), mxc.media_id.as_str());
                match response {
                    RemoteResponse::Original => json!(["f", server, id]),
                    RemoteResponse::Thumbnail { width, height, method } => {
                        json!(["f", server, id, width, height, method.as_str()])
                    }
                }
            }
            Self::Overruled(mxc, audience) => {
                let (kind, id) = match audience {
                    Audience::Everyone => ("everyone", ""),
                    Audience::Uploader => ("uploader", ""),
                    Audience::Attaching => ("attaching", ""),
                    Audience::Event(event) => ("event", event.as_str()),
                    Audience::Profile(user) => ("profile", user.as_str()),
                    Audience::Nobody => ("nobody", ""),
                };
                json!(["o", mxc.server_name.as_str(), mxc.media_id.as_str(), kind, id])
            }
            Self::Sessions(TokensOf::User(user)) => json!(["u", user.as_str()]),
            Self::Sessions(TokensOf::Server(server)) => json!(["s", server.as_str()]),
            Self::Visibility => json!(["v"]),
            Self::Rooms => json!(["r"]),
            Self::Unknown => json!([]),
        }
        .to_string()
    }

    /// What a line says.
    pub(crate) fn parse(line: &str) -> Self {
        let parts = serde_json::from_str(line).ok();
        parts.and_then(|parts: Vec<Value>| read(&parts)).unwrap_or(Self::Unknown)
    }
}

fn read(parts: &[Value]) -> Option<Word> {
    let text = |index: usize| parts.get(index).and_then(Value::as_str);
    let number = |index: usize| parts.get(index).and_then(Value::as_u64);
    let mxc = || Mxc::from_parts(text(1)?, text(2)?).ok();
    Some(match (text(0)?, parts.len()) {
        ("b", 2) => Word::Beat(number(1)?),
        ("c", 3) => Word::Changed(mxc()?),
        ("i", 3) => Word::Beginning(mxc()?),
        ("e", 3) => Word::Ended(mxc()?),
        ("x", 3) => Word::Cut(mxc()?),
        ("k", 3) => Word::BrokeOff(mxc()?),
        ("d", 2) => Word::Removed(Location::parse(text(1)?)?),
        ("f", 3) => Word::Forget(RemoteKey { mxc: mxc()?, response: RemoteResponse::Original }),
        ("f", 6) => {
            let method = match text(5)? {
                "scale" => ThumbnailMethod::Scale,
                "crop" => ThumbnailMethod::Crop,
                _ => return None,
            };
            let (width, height) = (number(3)?.try_into().ok()?, number(4)?.try_into().ok()?);
            Word::Forget(RemoteKey { mxc: mxc()?, response: RemoteResponse::Thumbnail { width, height, method } })
        }
        ("o", 5) => {
            let audience = match (text(3)?, text(4)?) {
                ("everyone", "") => Audience::Everyone,
                ("uploader", "") => Audience::Uploader,
                ("attaching", "") => Audience::Attaching,
                ("event", event) => Audience::Event(event.try_into().ok()?),
                ("profile", user) => Audience::Profile(user.try_into().ok()?),
                ("nobody", "") => Audience::Nobody,
                _ => return None,
            };
            Word::Overruled(mxc()?, audience)
        }
        ("u", 2) => Word::Sessions(TokensOf::User(text(1)?.try_into().ok()?)),
        ("s", 2) => Word::Sessions(TokensOf::Server(text(1)?.try_into().ok()?)),
        ("v", 1) => Word::Visibility,
        ("r", 1) => Word::Rooms,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tintype_domain::{ContentHash, OsRandomness};

    use super::*;

    #[test]
    fn every_word_is_heard_as_it_was_said() {
        let mxc: Mxc = "mxc://example.org:8448/AbC_-9".parse().unwrap();
        let thumbnail = RemoteResponse::Thumbnail { width: 64, height: 32, method: ThumbnailMethod::Crop };
        let audiences = [
            Audience::Everyone,
            Audience::Uploader,
            Audience::Attaching,
            Audience::Event("$event\n\"'".try_into().unwrap()),
            Audience::Profile("@alice:example.org".try_into().unwrap()),
            Audience::Nobody,
        ];
        let mut words = vec![
            Word::Beat(u64::MAX),
            Word::Changed(mxc.clone()),
            Word::Beginning(mxc.clone()),
            Word::Ended(mxc.clone()),
            Word::Cut(mxc.clone()),
            Word::BrokeOff(mxc.clone()),
            Word::Removed(Location::new(ContentHash::of(b"abc"), &OsRandomness)),
            Word::Forget(RemoteKey { mxc: mxc.clone(), response: RemoteResponse::Original }),
            Word::Forget(RemoteKey { mxc: mxc.clone(), response: thumbnail }),
            Word::Sessions(TokensOf::User("@alice:example.org".try_into().unwrap())),
            Word::Sessions(TokensOf::Server("example.org".try_into().unwrap())),
            Word::Visibility,
            Word::Rooms,
            Word::Unknown,
        ];
        words.extend(audiences.map(|audience| Word::Overruled(mxc.clone(), audience)));
        for word in words {
            assert!(!word.line().contains('\n'), "{word:?}");
            assert_eq!(Word::parse(&word.line()), word);
        }
    }

    #[test]
    fn what_is_not_understood_is_known_not_to_be() {
        for line in ["", "x", "{}", "[]", "[1]", r#"["z"]"#, r#"["c","a"]"#, r#"["c","a b","c"]"#, r#"["v","more"]"#] {
            assert_eq!(Word::parse(line), Word::Unknown, "{line}");
        }
    }
}
