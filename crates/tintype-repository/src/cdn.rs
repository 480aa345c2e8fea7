//! URLs for a CDN, signed by us and checked by us: the CDN asks this server for what it does not have, with the URL that it
//! was asked for, so it needs no key and no code of its own.
//!
//! ```text
//! BASE/_tintype/cdn/v1/LOCATION?size=N&type=T&disposition=D&cache=C&expires=E&signature=S
//! ```
//!
//! S is the HMAC-SHA256, in lower-case hexadecimal, of everything from the slash after BASE up to `&signature=`, as it is
//! sent. E is in seconds since 1970. All who ask within a while get the same URL, so that the CDN has it already: E is a
//! multiple of half the time that a URL holds.

use std::{fmt::Write as _, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use tintype_domain::{ContentHash, Timestamp};
use tintype_http::query::Query;
use tintype_storage::blobs::{BlobsError, Location, PresignedHeaders};

use crate::{Content, Repository};

/// What the paths of such URLs begin with.
pub const CDN_PREFIX: &str = "/_tintype/cdn/v1/";

const SIGNATURE: &str = "&signature=";

/// A CDN that reads from this server.
#[derive(Clone)]
pub struct Cdn {
    base: String,
    key: hmac::Key,
}

/// Why a CDN is given nothing.
#[derive(Debug, thiserror::Error)]
pub enum CdnError {
    /// There is none, or nobody here signed this URL.
    #[error("the signature does not hold")]
    Forged,
    /// The URL holds no longer.
    #[error("the URL has expired")]
    Expired,
    /// The bytes cannot be read.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
}

/// What a signed URL names.
#[derive(Debug, Clone)]
pub struct OpenedForCdn {
    /// The bytes.
    pub content: Content,
    /// How many there are.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: ContentHash,
    /// What is said of them.
    pub headers: PresignedHeaders,
    /// When the URL ends, in seconds since 1970.
    pub expires: u64,
    /// How long that is from now.
    pub holds_for: Duration,
}

/// A signed URL that was read.
struct Signed {
    location: Location,
    size: u64,
    headers: PresignedHeaders,
    expires: u64,
}

impl std::fmt::Debug for Cdn {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the CDN {}", self.base)
    }
}

impl Cdn {
    /// The CDN whose URLs begin with `base`: scheme and host. `secret` signs them.
    pub fn new(base: &str, secret: &[u8]) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A URL that holds for no longer than `expires`, and for more than half of it.
    pub(crate) fn url(
        &self,
        location: &Location,
        size: u64,
        headers: &PresignedHeaders,
        expires: Duration,
        now: Timestamp,
    ) -> String {
        let step = (expires.as_secs() / 2).max(1);
        let expires = (seconds(now) / step + 2) * step;
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let target = format!(
            "{CDN_PREFIX}{}?size={size}&type={}&disposition={}&cache={}&expires={expires}",
            location.as_str(),
            encoded(&headers.content_type),
            encoded(&headers.content_disposition),
            encoded(&headers.cache_control),
        );
        let mut url = format!("{}{target}{SIGNATURE}", self.base);
        for byte in hmac::sign(&self.key, target.as_bytes()).as_ref() {
            let _ = write!(url, "{byte:02x}");
        }
        url
    }

    /// What the target of a request names, if it was signed here.
    fn read(&self, target: &str) -> Option<Signed> {
        let (signed, signature) = target.rsplit_once(SIGNATURE)?;
        hmac::verify(&self.key, signed.as_bytes(), &bytes_of(signature)?).ok()?;
        let (location, query) = signed.strip_prefix(CDN_PREFIX)?.split_once('?')?;
        let query = Query::parse(Some(query)).ok()?;
        let text = |name| query.get(name).map(ToOwned::to_owned);
        let number = |name| query.get(name)?.parse().ok();
        Some(Signed {
            location: Location::parse(location)?,
            size: number("size")?,
            headers: PresignedHeaders {
                content_type: text("type")?,
                content_disposition: text("disposition")?,
                cache_control: text("cache")?,
            },
            expires: number("expires")?,
        })
    }
}

impl Repository {
    /// Whether a CDN reads from here.
    pub fn has_cdn(&self) -> bool {
        self.0.rules.redirect.cdn.is_some()
    }

    /// Opens what a signed URL names: whoever has it may have that. `target` is path and query as they were sent.
    ///
    /// # Errors
    /// A [`CdnError`].
    pub async fn open_for_cdn(&self, target: &str) -> Result<OpenedForCdn, CdnError> {
        let signed = self.0.rules.redirect.cdn.as_ref().and_then(|cdn| cdn.read(target)).ok_or(CdnError::Forged)?;
        let now = seconds(self.0.clock.now());
        if signed.expires <= now {
            return Err(CdnError::Expired);
        }
        let Signed { location, size, headers, expires } = signed;
        let content = Content::Blob(Box::pin(self.0.blobs.read_lasting(&location, size)).await?);
        let sha256 = location.content_hash();
        Ok(OpenedForCdn { content, size, sha256, headers, expires, holds_for: Duration::from_secs(expires - now) })
    }
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0) / 1000
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes();
    let is_ours = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 64 || !digits.iter().all(is_ours) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use tintype_domain::OsRandomness;

    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    const FIVE_MINUTES: Duration = Duration::from_mins(5);

    fn headers() -> PresignedHeaders {
        PresignedHeaders {
            content_type: "image/png".to_owned(),
            content_disposition: "inline; filename=\"a&b.png\"".to_owned(),
            cache_control: "private, max-age=86400".to_owned(),
        }
    }

    fn cdn() -> Cdn {
        Cdn::new("https://cdn.example.org/", b"a secret of the CDN and this server")
    }

    fn location() -> Location {
        Location::new(ContentHash::of(b"abc"), &OsRandomness)
    }

    fn target(url: &str) -> &str {
        url.strip_prefix("https://cdn.example.org").unwrap()
    }

    #[test]
    fn what_was_signed_is_read() {
        let location = location();

        let url = cdn().url(&location, 3, &headers(), FIVE_MINUTES, NOW);
        let read = cdn().read(target(&url)).unwrap();

        assert_eq!((read.location, read.size, read.headers), (location, 3, headers()));
        assert_eq!(read.expires, 1_767_225_600 + 300);
    }

    /// The format that is documented, made by other means:
    /// `printf %s "$TARGET" | openssl dgst -sha256 -hmac "$SECRET"`.
    #[test]
    fn the_signature_is_what_others_compute() {
        let location = Location::parse(&format!("{}-000102030405", "ba".repeat(32))).unwrap();

        let url = cdn().url(&location, 3, &headers(), FIVE_MINUTES, NOW);

        let expected = "28e81cfdf7f8436280fe7f983c21782be3b3fd31baf664b9be94d5a8dd18f194";
        assert_eq!(url.rsplit_once('=').unwrap().1, expected, "{url}");
    }

    #[test]
    fn nothing_is_read_that_was_changed_or_signed_by_somebody_else() {
        let url = cdn().url(&location(), 3, &headers(), FIVE_MINUTES, NOW);
        let (signed, signature) = target(&url).rsplit_once(SIGNATURE).unwrap();

        let other = Cdn::new("https://cdn.example.org", b"another secret of somebody else.....");
        assert!(other.read(target(&url)).is_none());
        for changed in [
            target(&url).replace("size=3", "size=4"),
            target(&url).replace("image", "text"),
            target(&url).replace("expires=1", "expires=2"),
            target(&url).to_uppercase(),
            format!("{signed}&size=4{SIGNATURE}{signature}"),
            format!("{signed}{SIGNATURE}{}", &signature[1..]),
            format!("{signed}{SIGNATURE}{signature}{SIGNATURE}{signature}"),
            format!("{}&x=y", target(&url)),
            signed.to_owned(),
        ] {
            assert!(cdn().read(&changed).is_none(), "{changed}");
        }
    }

    #[test]
    fn who_asks_soon_after_gets_the_same_url_and_none_holds_for_longer_than_is_allowed() {
        let location = location();
        let url = |at: Duration| cdn().url(&location, 3, &headers(), FIVE_MINUTES, NOW + at);

        assert_eq!(url(Duration::ZERO), url(Duration::from_secs(149)));
        assert_ne!(url(Duration::ZERO), url(Duration::from_secs(150)));
        for second in 0..600 {
            let at = Duration::from_secs(second);
            let expires = cdn().read(target(&url(at))).unwrap().expires;
            let holds_for = expires - seconds(NOW + at);
            assert!((151..=300).contains(&holds_for), "{holds_for}");
        }
    }
}
