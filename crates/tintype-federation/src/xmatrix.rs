//! `Authorization: X-Matrix …`: how one server says to another who it is (server-server API, "Request
//! Authentication").
//!
//! It is written as the oldest servers want it, and read as leniently as RFC 9110 §11.4 allows, and a little more:
//! values with colons need no quotes.

use http::HeaderValue;
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use tintype_domain::{OwnedServerName, ServerName};

use crate::{SigningKey, encoding::decode_base64, signing_key::is_key_version};

/// The longest value that is read, in bytes. The names in it have at most 255 each.
const MAX_LENGTH: usize = 4 * 1024;

/// The longest ID of a key that is read, in bytes.
pub(crate) const MAX_KEY_ID: usize = 128;

/// The algorithm of every key there is, as it begins their IDs.
const ED25519: &str = "ed25519:";

/// Why a header is no credentials of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XMatrixError {
    /// The credentials are of another scheme, such as `Bearer`.
    #[error("the scheme is not X-Matrix")]
    OtherScheme,
    /// The header is longer than is read.
    #[error("the header is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// The header is not a list of parameters.
    #[error("the header is not a list of parameters")]
    Malformed,
    /// A parameter is there twice.
    #[error("{0} is there twice")]
    Repeated(&'static str),
    /// A parameter is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter has a value that it cannot have.
    #[error("{0} is not valid")]
    Invalid(&'static str),
}

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SignRequestError(String);

/// The credentials of a server, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XMatrix {
    /// Who sent the request.
    pub origin: OwnedServerName,
    /// Whom it was sent to. Servers before version 1.3 of the specification do not say.
    pub destination: Option<OwnedServerName>,
    /// The ID of the key that signed: `ed25519:` and letters, digits and underscores.
    pub key: String,
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

impl XMatrix {
    /// Reads the value of an `Authorization` header.
    ///
    /// # Errors
    /// [`XMatrixError`]; no panic, whatever the bytes.
    pub fn parse(value: &[u8]) -> Result<Self, XMatrixError> {
        let value = value.trim_ascii();
        let space = value.iter().position(|&byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
        let (scheme, mut rest) = value.split_at(space);
        if !scheme.eq_ignore_ascii_case(b"X-Matrix") {
            return Err(XMatrixError::OtherScheme);
        }
        if value.len() > MAX_LENGTH {
            return Err(XMatrixError::TooLong);
        }
        let (mut origin, mut destination, mut key, mut signature) = (None, None, None, None);
        while let Some(Parameter { name, value }) = next_parameter(&mut rest)? {
            let (slot, name) = match name.to_ascii_lowercase().as_slice() {
                b"origin" => (&mut origin, "origin"),
                b"destination" => (&mut destination, "destination"),
                b"key" => (&mut key, "key"),
                // The specification's list says `signature`; its example, and every server, `sig`.
                b"sig" | b"signature" => (&mut signature, "sig"),
                _ => continue,
            };
            let value = String::from_utf8(value).map_err(|_| XMatrixError::Invalid(name))?;
            if slot.replace(value).is_some() {
                return Err(XMatrixError::Repeated(name));
            }
        }
        let origin = origin.ok_or(XMatrixError::Missing("origin"))?;
        let key = key.ok_or(XMatrixError::Missing("key"))?;
        let signature = signature.ok_or(XMatrixError::Missing("sig"))?;
        Ok(Self {
            origin: server_name(&origin).ok_or(XMatrixError::Invalid("origin"))?,
            destination: match destination {
                Some(name) => Some(server_name(&name).ok_or(XMatrixError::Invalid("destination"))?),
                None => None,
            },
            key: if is_key_id(&key) { key } else { return Err(XMatrixError::Invalid("key")) },
            signature: decode_base64(&signature).ok_or(XMatrixError::Invalid("sig"))?,
        })
    }
}

/// The header that goes with a request without a body.
///
/// `target` is the path and query exactly as they are sent; both names are those from before delegation.
///
/// # Errors
/// [`SignRequestError`]; with names that are valid there is none.
pub fn authorization(
    key: &SigningKey,
    origin: &ServerName,
    destination: &ServerName,
    method: &str,
    target: &str,
) -> Result<HeaderValue, SignRequestError> {
    let mut request = request_object(origin, destination, method, target);
    key.sign(origin, &mut request).map_err(SignRequestError)?;
    let id = key.id();
    let signature = signature_of(&request, origin, &id).ok_or_else(|| SignRequestError("no signature".to_owned()))?;
    let value = format!(r#"X-Matrix origin="{origin}",destination="{destination}",key="{id}",sig="{signature}""#);
    HeaderValue::try_from(value).map_err(|error| SignRequestError(error.to_string()))
}

/// What a server signs of a request without a body.
pub(crate) fn request_object(
    origin: &ServerName,
    destination: &ServerName,
    method: &str,
    target: &str,
) -> CanonicalJsonObject {
    [("destination", destination.as_str()), ("method", method), ("origin", origin.as_str()), ("uri", target)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), CanonicalJsonValue::String(value.to_owned())))
        .collect()
}

/// The signature of a server with one of its keys, in base64, if the object has it.
pub(crate) fn signature_of<'a>(object: &'a CanonicalJsonObject, server: &ServerName, id: &str) -> Option<&'a str> {
    object.get("signatures")?.as_object()?.get(server.as_str())?.as_object()?.get(id)?.as_str()
}

/// Whether this is the ID of an Ed25519 key. There is no other algorithm.
pub(crate) fn is_key_id(id: &str) -> bool {
    id.len() <= MAX_KEY_ID && id.strip_prefix(ED25519).is_some_and(is_key_version)
}

fn server_name(text: &str) -> Option<OwnedServerName> {
    // Names in Matrix have at most 255 bytes (appendices, "Server Name").
    if text.len() > 255 { None } else { text.try_into().ok() }
}

struct Parameter<'a> {
    name: &'a [u8],
    value: Vec<u8>,
}

/// Takes the next parameter, and the commas before it. An empty element of the list is none (RFC 9110 §5.6.1).
fn next_parameter<'a>(rest: &mut &'a [u8]) -> Result<Option<Parameter<'a>>, XMatrixError> {
    let start = rest.iter().position(|&byte| !matches!(byte, b' ' | b'\t' | b','));
    let Some(start) = start else {
        return Ok(None);
    };
    let text = &rest[start..];
    let equals = text.iter().position(|&byte| byte == b'=').ok_or(XMatrixError::Malformed)?;
    let name = text[..equals].trim_ascii_end();
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err(XMatrixError::Malformed);
    }
    let text = trim_start(&text[equals + 1..]);
    let (value, after) = if let Some(quoted) = text.strip_prefix(b"\"") { unquote(quoted)? } else { bare(text) };
    let after = trim_start(after);
    if !after.is_empty() && after[0] != b',' {
        return Err(XMatrixError::Malformed);
    }
    *rest = after;
    Ok(Some(Parameter { name, value }))
}

/// Reads a quoted string (RFC 9110 §5.6.4) behind its first quote.
fn unquote(text: &[u8]) -> Result<(Vec<u8>, &[u8]), XMatrixError> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((value, &text[at + 1..])),
            b'\\' => value.push(*bytes.next().ok_or(XMatrixError::Malformed)?.1),
            _ => value.push(byte),
        }
    }
    Err(XMatrixError::Malformed)
}

/// Reads a value without quotes: more than a token, since names have colons and signatures `/`, `+` and `=`.
fn bare(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = text.iter().position(|&byte| !matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b'~')).unwrap_or(text.len());
    let (value, after) = text.split_at(end);
    (value.to_vec(), after)
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    &text[start..]
}

/// Whether a name may hold this byte (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SIGNATURE: &str = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ";

    fn parse(parameters: &str) -> Result<XMatrix, XMatrixError> {
        XMatrix::parse(format!("X-Matrix {}", parameters.replace("SIG", SIGNATURE)).as_bytes())
    }

    fn expected() -> XMatrix {
        XMatrix {
            origin: "a.example:8448".try_into().unwrap(),
            destination: Some("b.example".try_into().unwrap()),
            key: "ed25519:k_1".to_owned(),
            signature: decode_base64(SIGNATURE).unwrap(),
        }
    }

    #[test]
    fn credentials_are_read_however_they_are_spelled() {
        for parameters in [
            r#"origin="a.example:8448",destination="b.example",key="ed25519:k_1",sig="SIG""#,
            "origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=SIG",
            "origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=SIG==",
            r#"sig="SIG==" , KEY = "ed25519:k_1"	,	Destination="b.example", ORIGIN=a.example:8448 "#,
            r#"  origin="a\.example\:8448",,destination="b.example",key="ed25519:k_1",sig="SIG","#,
            r#"x="a,b=\"c\"",origin="a.example:8448",y=,destination="b.example",z="",key="ed25519:k_1",signature="SIG""#,
        ] {
            assert_eq!(parse(parameters), Ok(expected()), "{parameters}");
        }
    }

    #[test]
    fn the_scheme_is_compared_without_regard_to_case() {
        let parameters =
            format!(r#"origin="a.example:8448",destination=b.example,key="ed25519:k_1",sig="{SIGNATURE}""#);
        for scheme in ["X-Matrix", "x-matrix", "X-MATRIX"] {
            assert_eq!(XMatrix::parse(format!("{scheme} {parameters}").as_bytes()), Ok(expected()));
        }
        for value in ["", "Bearer abc", "X-Matrixx origin=a", "X-Matrix,origin=a"] {
            assert_eq!(XMatrix::parse(value.as_bytes()), Err(XMatrixError::OtherScheme), "{value}");
        }
    }

    #[test]
    fn a_destination_may_be_missing_and_nothing_else() {
        let read = parse("origin=a.example:8448,key=ed25519:k_1,sig=SIG");

        assert_eq!(read, Ok(XMatrix { destination: None, ..expected() }));
        assert_eq!(parse("key=ed25519:1,sig=SIG"), Err(XMatrixError::Missing("origin")));
        assert_eq!(parse("origin=a,sig=SIG"), Err(XMatrixError::Missing("key")));
        assert_eq!(parse("origin=a,key=ed25519:1"), Err(XMatrixError::Missing("sig")));
        assert_eq!(parse(""), Err(XMatrixError::Missing("origin")));
    }

    #[test]
    fn malformed_credentials_are_refused() {
        for (parameters, error) in [
            ("origin", XMatrixError::Malformed),
            ("=a", XMatrixError::Malformed),
            ("origin=,key=ed25519:1,sig=SIG", XMatrixError::Invalid("origin")),
            ("origin=\"a", XMatrixError::Malformed),
            ("origin=\"a\\", XMatrixError::Malformed),
            ("origin=\"a\"b", XMatrixError::Malformed),
            ("origin=a b", XMatrixError::Malformed),
            ("origin=a;key=b", XMatrixError::Missing("key")),
            ("or igin=a", XMatrixError::Malformed),
            ("origin=a\"b\"", XMatrixError::Malformed),
            ("origin=a\0", XMatrixError::Malformed),
            ("origin=a,origin=a,key=ed25519:1,sig=SIG", XMatrixError::Repeated("origin")),
            ("origin=a,key=ed25519:1,sig=SIG,signature=SIG", XMatrixError::Repeated("sig")),
            ("origin=a/b,key=ed25519:1,sig=SIG", XMatrixError::Invalid("origin")),
            ("origin=\"\",key=ed25519:1,sig=SIG", XMatrixError::Invalid("origin")),
            ("origin=a,destination=\"b c\",key=ed25519:1,sig=SIG", XMatrixError::Invalid("destination")),
            ("origin=a,destination=\"\",key=ed25519:1,sig=SIG", XMatrixError::Invalid("destination")),
            ("origin=a,key=ed25519:,sig=SIG", XMatrixError::Invalid("key")),
            ("origin=a,key=ed25519:a-b,sig=SIG", XMatrixError::Invalid("key")),
            ("origin=a,key=rsa:1,sig=SIG", XMatrixError::Invalid("key")),
            ("origin=a,key=ed25519:1,sig=AAAA", XMatrixError::Invalid("sig")),
            ("origin=a,key=ed25519:1,sig=SIG*", XMatrixError::Invalid("sig")),
        ] {
            assert_eq!(parse(parameters), Err(error), "{parameters}");
        }
        assert_eq!(parse(&"x=y,".repeat(1024)), Err(XMatrixError::TooLong));
        assert_eq!(XMatrix::parse(b"X-Matrix origin=\"\xff\""), Err(XMatrixError::Invalid("origin")));
        let long = format!("origin={},key=ed25519:1,sig=SIG", "a".repeat(256));
        assert_eq!(parse(&long), Err(XMatrixError::Invalid("origin")));
    }

    #[test]
    fn our_own_are_written_as_the_oldest_servers_want_them() {
        let key = SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
        let (origin, destination) = ("a.example".try_into().unwrap(), "b.example:8448".try_into().unwrap());

        let value = authorization(&key, origin, destination, "GET", "/_matrix/x?a=%2f").unwrap();

        let value = value.to_str().unwrap();
        let head = r#"X-Matrix origin="a.example",destination="b.example:8448",key="ed25519:1",sig=""#;
        assert!(value.starts_with(head), "{value}");
        assert!(!value.contains("=\"\"") && !value.contains("==") && !value.contains('\\'), "{value}");
        let read = XMatrix::parse(value.as_bytes()).unwrap();
        let signed = r#"{"destination":"b.example:8448","method":"GET","origin":"a.example","uri":"/_matrix/x?a=%2f"}"#;
        let public_key = decode_base64::<32>(&key.public_key()).unwrap();
        ruma_signatures::verify_canonical_json_bytes(
            &ruma_signatures::SigningKeyAlgorithm::Ed25519,
            &public_key,
            &read.signature,
            signed.as_bytes(),
        )
        .unwrap();
    }

    proptest! {
        #[test]
        fn nothing_panics(value in vec(any::<u8>(), 0..200), text in "[a-z=\", \\\\]{0,60}") {
            let _ = XMatrix::parse(&value);
            let _ = XMatrix::parse(&[b"X-Matrix ", &value[..]].concat());
            let _ = XMatrix::parse(format!("X-Matrix {text}").as_bytes());
        }

        #[test]
        fn credentials_are_read_in_any_order_and_with_any_spaces(
            order in Just(vec!["origin=a.example:8448", "destination=\"b.example\"", "key=ed25519:k_1", "sig=SIG"])
                .prop_shuffle(),
            spaces in "[ \t]{0,3}",
        ) {
            prop_assert_eq!(parse(&order.join(&format!("{spaces},{spaces}"))), Ok(expected()));
        }
    }
}
