//! What stands around a request that one node hands to another: who it is from, whom it is for, and what was decided about it
//! already, with an HMAC over it and over what the request asks for.
//!
//! It is one header. An envelope holds for one request, for one node, for half a minute, and once. Headers and body of the
//! request are not covered: whoever can change them on their way between two nodes sees the access tokens anyway, so that
//! way has to be a private one.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Request, header};
use tintype_domain::{ContentHash, Randomness, Timestamp};
use tintype_repository::{ClusterKey, NodeId, Wanted};

use crate::edge::Via;

/// The header. Whatever it says, it counts on the internal port only.
pub const ENVELOPE: HeaderName = HeaderName::from_static("tintype-relay");

/// How far the clocks of two nodes may differ, the time on the way included.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(30);

/// What the HMAC begins with, so that it can be taken for nothing else.
const CONTEXT: &str = "tintype relay 1";

/// What makes an envelope unlike every other one.
pub(crate) type Nonce = u128;

/// An envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The node that sends it.
    pub from: NodeId,
    /// The node that it is for.
    pub to: NodeId,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Never used twice.
    pub nonce: u128,
    /// Where the client is.
    pub address: IpAddr,
    /// How the client's request came to the first node.
    pub via: Via,
    /// What of the media has to be there before it is answered.
    pub wanted: Wanted,
    /// How much longer the client waits; as the request says, where the first node has not waited.
    pub patience: Option<Duration>,
    /// The SHA-256 of the body, where a node speaks for itself.
    pub body: Option<ContentHash>,
}

/// Why a request is not taken for one of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It has no envelope, or several.
    #[error("it has no envelope")]
    Missing,
    /// It has one that cannot be read.
    #[error("its envelope cannot be read")]
    Malformed,
    /// It was sealed with another secret, or for another request.
    #[error("its envelope was not sealed with the cluster's secret for this request")]
    Forged,
    /// It is from another time.
    #[error("its envelope is from another time: the clocks of the nodes differ, or somebody repeats what they saw")]
    Stale,
    /// It is for another node.
    #[error("its envelope is for another node")]
    Misdirected,
    /// It has come before.
    #[error("its envelope was used before")]
    Repeated,
}

impl Envelope {
    /// An envelope of this moment, with nothing decided.
    pub(crate) fn new(from: NodeId, to: NodeId, now: Timestamp, address: IpAddr, randomness: &dyn Randomness) -> Self {
        let mut nonce = [0; 16];
        randomness.fill(&mut nonce);
        Self {
            from,
            to,
            sent_at: now,
            nonce: u128::from_ne_bytes(nonce),
            address,
            via: Via::Http,
            wanted: Wanted::Beginning,
            patience: None,
            body: None,
        }
    }

    /// The header's value for this request.
    pub fn seal<B>(&self, key: &ClusterKey, request: &Request<B>) -> HeaderValue {
        let fields = self.to_string();
        let mac = key.sign(&covered(&fields, request));
        let mut value = fields;
        value.push(' ');
        push_hex(&mut value, &mac);
        HeaderValue::try_from(value).expect("numbers, words and addresses are a valid header")
    }

    /// The envelope of a request, if it was sealed for it with this key.
    ///
    /// # Errors
    /// An [`EnvelopeError`]; whom it is for, when it was sent and whether it came before is not looked at yet.
    pub fn open<B>(key: &ClusterKey, request: &Request<B>) -> Result<Self, EnvelopeError> {
        let mut values = request.headers().get_all(ENVELOPE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(EnvelopeError::Missing) };
        let value = value.to_str().map_err(|_| EnvelopeError::Malformed)?;
        let (fields, mac) = value.rsplit_once(' ').ok_or(EnvelopeError::Malformed)?;
        let mac = from_hex(mac).ok_or(EnvelopeError::Malformed)?;
        if !key.is_of(&mac, &covered(fields, request)) {
            return Err(EnvelopeError::Forged);
        }
        fields.parse()
    }

    /// Whether it is from about this time.
    ///
    /// # Errors
    /// [`EnvelopeError::Stale`] if not.
    pub(crate) fn is_of(&self, now: Timestamp) -> Result<(), EnvelopeError> {
        let is_near = now.since(self.sent_at).max(self.sent_at.since(now)) <= TOLERANCE;
        is_near.then_some(()).ok_or(EnvelopeError::Stale)
    }
}

/// What the HMAC is over: no two requests have the same, since nothing of it holds the end of a line.
fn covered<B>(fields: &str, request: &Request<B>) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut covered = format!("{CONTEXT}\n{fields}\n{}\n{target}\n", request.method()).into_bytes();
    covered.extend_from_slice(host);
    covered
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, sent_at, nonce, address, via, wanted, patience, body } = self;
        let via = match via {
            Via::Http => "http",
            Via::Https => "https",
            Via::TrustedProxy => "proxy",
        };
        let wanted = match wanted {
            Wanted::Beginning => "beginning",
            Wanted::Whole => "whole",
        };
        write!(f, "{} {} {} {nonce:032x} {address} {via} {wanted} ", from.0, to.0, sent_at.as_millis())?;
        match patience {
            Some(patience) => write!(f, "{} ", patience.as_millis())?,
            None => write!(f, "- ")?,
        }
        match body {
            Some(hash) => write!(f, "{hash}"),
            None => write!(f, "-"),
        }
    }
}

impl FromStr for Envelope {
    type Err = EnvelopeError;

    fn from_str(fields: &str) -> Result<Self, EnvelopeError> {
        let fields = fields.split(' ').collect::<Vec<_>>();
        let [from, to, sent_at, nonce, address, via, wanted, patience, body] = fields[..] else {
            return Err(EnvelopeError::Malformed);
        };
        Ok(Self {
            from: NodeId(parsed(from)?),
            to: NodeId(parsed(to)?),
            sent_at: Timestamp(parsed(sent_at)?),
            nonce: u128::from_str_radix(nonce, 16).map_err(|_| EnvelopeError::Malformed)?,
            address: parsed(address)?,
            via: match via {
                "http" => Via::Http,
                "https" => Via::Https,
                "proxy" => Via::TrustedProxy,
                _ => return Err(EnvelopeError::Malformed),
            },
            wanted: match wanted {
                "beginning" => Wanted::Beginning,
                "whole" => Wanted::Whole,
                _ => return Err(EnvelopeError::Malformed),
            },
            patience: match patience {
                "-" => None,
                patience => Some(Duration::from_millis(parsed(patience)?)),
            },
            body: match body {
                "-" => None,
                hash => {
                    let hash = from_hex(hash).ok_or(EnvelopeError::Malformed)?;
                    Some(hash.as_slice().try_into().map_err(|_| EnvelopeError::Malformed)?)
                }
            },
        })
    }
}

fn parsed<T: FromStr>(field: &str) -> Result<T, EnvelopeError> {
    field.parse().map_err(|_| EnvelopeError::Malformed)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    use fmt::Write as _;
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tintype_domain::OsRandomness;

    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn key() -> ClusterKey {
        ClusterKey::new(b"secret", "relay")
    }

    fn envelope() -> Envelope {
        Envelope {
            via: Via::TrustedProxy,
            wanted: Wanted::Whole,
            patience: Some(Duration::from_millis(1234)),
            body: Some(ContentHash::of(b"body")),
            ..Envelope::new(NodeId(-3), NodeId(4), NOW, IpAddr::V4(Ipv4Addr::LOCALHOST), &OsRandomness)
        }
    }

    fn request(method: &str, target: &str, host: &str) -> Request<()> {
        Request::builder().method(method).uri(target).header(header::HOST, host).body(()).unwrap()
    }

    fn sealed(envelope: &Envelope) -> Request<()> {
        let mut request = request("GET", "/path?query", "example.org");
        let value = envelope.seal(&key(), &request);
        request.headers_mut().insert(ENVELOPE, value);
        request
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for envelope in [
            envelope(),
            Envelope::new(NodeId(i64::MIN), NodeId(i64::MAX), NOW, "2001:db8::1".parse().unwrap(), &OsRandomness),
        ] {
            assert_eq!(Envelope::open(&key(), &sealed(&envelope)), Ok(envelope));
        }
    }

    #[test]
    fn it_holds_for_its_request_and_its_secret_alone() {
        let mut sealed = sealed(&envelope());
        assert_eq!(Envelope::open(&ClusterKey::new(b"other", "relay"), &sealed), Err(EnvelopeError::Forged));
        let value = sealed.headers()[&ENVELOPE].clone();
        for (method, target, host) in [
            ("PUT", "/path?query", "example.org"),
            ("GET", "/path", "example.org"),
            ("GET", "/path?query=", "example.org"),
            ("GET", "/path?query", "example.com"),
        ] {
            let mut other = request(method, target, host);
            other.headers_mut().insert(ENVELOPE, value.clone());
            assert_eq!(Envelope::open(&key(), &other), Err(EnvelopeError::Forged), "{method} {target} {host}");
        }
        sealed.headers_mut().append(ENVELOPE, value);
        assert_eq!(Envelope::open(&key(), &sealed), Err(EnvelopeError::Missing));
    }

    #[test]
    fn no_field_of_it_can_be_changed() {
        let sealed = sealed(&envelope());
        let value = sealed.headers()[&ENVELOPE].to_str().unwrap().to_owned();
        for index in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[index] = if changed[index] == b'1' { b'2' } else { b'1' };
            let mut request = request("GET", "/path?query", "example.org");
            request.headers_mut().insert(ENVELOPE, HeaderValue::from_bytes(&changed).unwrap());
            Envelope::open(&key(), &request).unwrap_err();
        }
    }

    #[test]
    fn what_is_none_is_not_opened() {
        let mac = "0".repeat(64);
        for value in
            ["", " ", "1", &mac, "1 2 3", "é", "1 2 3 4 5 6 7 8 9 xy", "1 2 3 4 5 6 7 8 9 0", &format!(" {mac}")]
        {
            let mut request = request("GET", "/", "example.org");
            request.headers_mut().insert(ENVELOPE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            Envelope::open(&key(), &request).unwrap_err();
        }
        assert_eq!(Envelope::open(&key(), &request("GET", "/", "example.org")), Err(EnvelopeError::Missing));
    }

    #[test]
    fn half_a_minute_is_near_and_more_is_not() {
        let envelope = envelope();

        for seconds in [-30, 0, 30] {
            assert_eq!(envelope.is_of(Timestamp(NOW.0 + seconds * 1000)), Ok(()));
        }
        for millis in [-30_001, 30_001, i64::MAX - NOW.0] {
            assert_eq!(envelope.is_of(Timestamp(NOW.0 + millis)), Err(EnvelopeError::Stale));
        }
    }
}
