//! `mxc://{server_name}/{media_id}`: the name of a piece of media.
//!
//! Both parts are checked against the grammar of the specification (client-server API, "Matrix Content (`mxc://`)
//! URIs", security considerations), because they reach file names, SQL and other servers: whatever is not on the
//! list of allowed characters never gets further than this module.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ruma_common::{OwnedServerName, ServerName};

use crate::Randomness;

/// The longest media ID accepted, in bytes. The specification names no limit for the ID alone; 255 is what peers
/// accept for the URI as a whole.
const MAX_MEDIA_ID: usize = 255;

/// Random bytes in a new media ID: 144 bits, which is 24 characters of base64.
const MEDIA_ID_ENTROPY: usize = 18;

/// Why a string is no MXC URI, or no part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseMxcError {
    /// The URI does not begin with `mxc://`.
    #[error("an MXC URI begins with mxc://")]
    Scheme,
    /// There is no `/` between server name and media ID.
    #[error("an MXC URI has the form mxc://server/media-id")]
    Form,
    /// The server name does not follow the grammar of server names.
    #[error("the server name is not valid")]
    ServerName,
    /// The media ID is empty, too long, or has characters other than `A-Z a-z 0-9 _ -`.
    #[error("a media ID has 1 to 255 characters, of A-Z a-z 0-9 _ and - only")]
    MediaId,
}

/// A media ID: 1 to 255 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(Box<str>);

impl MediaId {
    /// Parses a media ID.
    ///
    /// # Errors
    /// [`ParseMxcError::MediaId`] for anything outside the grammar.
    pub fn parse(id: &str) -> Result<Self, ParseMxcError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if id.is_empty() || id.len() > MAX_MEDIA_ID || !id.bytes().all(allowed) {
            return Err(ParseMxcError::MediaId);
        }
        Ok(Self(id.into()))
    }

    /// A new ID that nobody can guess (144 random bits).
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; MEDIA_ID_ENTROPY];
        randomness.fill(&mut bytes);
        Self(BASE64_URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a piece of media: the server it was uploaded to, and its ID there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mxc {
    /// The server that the media was uploaded to (its origin).
    pub server_name: OwnedServerName,
    /// The ID that the origin gave it.
    pub media_id: MediaId,
}

impl Mxc {
    /// Parses the two parts as they stand in a path.
    ///
    /// # Errors
    /// [`ParseMxcError::ServerName`] or [`ParseMxcError::MediaId`] for the part that is not valid.
    pub fn from_parts(server_name: &str, media_id: &str) -> Result<Self, ParseMxcError> {
        // The grammar's characters only: a parser of numbers also takes `+8448` for a port, and two spellings of one
        // server would be two servers.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        if !server_name.bytes().all(allowed) {
            return Err(ParseMxcError::ServerName);
        }
        Ok(Self {
            server_name: ServerName::parse(server_name).map_err(|_| ParseMxcError::ServerName)?,
            media_id: MediaId::parse(media_id)?,
        })
    }

    /// Parses a URI of the form `mxc://server/media-id`.
    ///
    /// # Errors
    /// A [`ParseMxcError`] that names what is wrong.
    pub fn parse(uri: &str) -> Result<Self, ParseMxcError> {
        let rest = uri.strip_prefix("mxc://").ok_or(ParseMxcError::Scheme)?;
        let (server_name, media_id) = rest.split_once('/').ok_or(ParseMxcError::Form)?;
        Self::from_parts(server_name, media_id)
    }
}

impl FromStr for Mxc {
    type Err = ParseMxcError;

    fn from_str(uri: &str) -> Result<Self, ParseMxcError> {
        Self::parse(uri)
    }
}

impl fmt::Display for Mxc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mxc://{}/{}", self.server_name, self.media_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::OsRandomness;

    #[test]
    fn a_uri_is_parsed_and_printed_unchanged() {
        for uri in [
            "mxc://example.org/abc_DEF-123",
            "mxc://matrix.example.org:8448/a",
            "mxc://[2001:db8::1]:8448/a",
            "mxc://1.2.3.4/a",
        ] {
            assert_eq!(Mxc::parse(uri).unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused_with_its_reason() {
        for (uri, why) in [
            ("http://example.org/abc", ParseMxcError::Scheme),
            ("mxc://example.org", ParseMxcError::Form),
            ("mxc:///abc", ParseMxcError::ServerName),
            ("mxc://exa mple.org/abc", ParseMxcError::ServerName),
            ("mxc://example.org:+8448/abc", ParseMxcError::ServerName),
            ("mxc://example.org/", ParseMxcError::MediaId),
            ("mxc://example.org/..", ParseMxcError::MediaId),
            ("mxc://example.org/a/b", ParseMxcError::MediaId),
            ("mxc://example.org/a%2fb", ParseMxcError::MediaId),
            ("mxc://example.org/ä", ParseMxcError::MediaId),
            ("mxc://example.org/a\0", ParseMxcError::MediaId),
        ] {
            assert_eq!(Mxc::parse(uri), Err(why), "{uri}");
        }
        assert!(MediaId::parse(&"a".repeat(255)).is_ok());
        assert!(MediaId::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn new_media_ids_are_valid_and_differ() {
        let first = MediaId::random(&OsRandomness);
        let second = MediaId::random(&OsRandomness);

        assert_eq!(MediaId::parse(first.as_str()).unwrap(), first);
        assert_eq!(first.as_str().len(), 24);
        assert_ne!(first, second);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_prints_itself(text in "(mxc://)?[ -~]{0,40}(/[ -~]{0,40})?") {
            if let Ok(mxc) = Mxc::parse(&text) {
                prop_assert_eq!(mxc.to_string(), text);
                prop_assert!(!mxc.media_id.as_str().contains(['/', '.', '\\', '%']));
            }
        }
    }
}
