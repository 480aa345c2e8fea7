//! `http:` and `https:` URLs. They carry no password: they end up in logs.

use serde::{Deserialize, Deserializer, de};
use url::Url;

/// Reads the base URL of a server, to which paths are appended: without query, fragment and password.
pub fn base<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let url = web::<D>(deserializer)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(de::Error::custom("a base URL has neither \"?\" nor \"#\""));
    }
    Ok(Some(url))
}

/// Reads the URL of a page for people.
pub fn page<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    web::<D>(deserializer).map(Some)
}

fn web<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    let malformed = |why: String| de::Error::custom(format!("{why}; write a URL such as \"https://example.org\""));
    let url = Url::parse(&text).map_err(|error| malformed(format!("not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed(format!("{:?} is not \"http\" or \"https\"", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(de::Error::custom("a URL with a user name or password is not accepted"));
    }
    Ok(url)
}
