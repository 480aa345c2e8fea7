//! The server under test, as a client sees it.

use std::time::Duration;

use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder};
use reqwest::{
    Method, RequestBuilder,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;
use tintype_domain::{MediaId, Mxc, OsRandomness, Randomness as _};

use crate::{
    Names,
    report::{Verdict, fail},
};

/// How often a request is sent again that came too early.
const ATTEMPTS: u32 = 10;

/// How long a server may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The edges of pictures, in pixels.
const WIDTH: u16 = 640;
const HEIGHT: u16 = 480;

/// What thumbnails are asked for.
pub(crate) const SIZE: &str = "width=96&height=96&method=crop";

/// The server under test.
pub(crate) struct Subject {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
}

/// What it answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Bytes that nobody has uploaded before.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

impl Sample {
    pub(crate) fn text() -> Self {
        let text = format!("conformance {}, and so on and so forth", random_word());
        Self { content_type: "text/plain", bytes: text.into_bytes() }
    }

    pub(crate) fn picture() -> Self {
        let mut color = [0; 3];
        OsRandomness.fill(&mut color);
        let pixels = color.repeat(usize::from(WIDTH) * usize::from(HEIGHT));
        let mut bytes = Vec::new();
        let encoded = Encoder::new(&mut bytes, 90).encode(&pixels, WIDTH, HEIGHT, ColorType::Rgb);
        encoded.expect("a picture of one color can be encoded into memory");
        Self { content_type: "image/jpeg", bytes }
    }
}

/// A word that nobody has used before.
pub(crate) fn random_word() -> String {
    MediaId::random(&OsRandomness).to_string()
}

impl Answer {
    fn errcode(&self) -> String {
        let body = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        body["errcode"].as_str().unwrap_or("no errcode").to_owned()
    }

    pub(crate) fn described(&self) -> String {
        if self.status < 400 { self.status.to_string() } else { format!("{} ({})", self.status, self.errcode()) }
    }

    /// It has to be this error.
    pub(crate) fn is_error(&self, allowed: &[(u16, &str)]) -> Verdict {
        if allowed.iter().any(|(status, errcode)| *status == self.status && *errcode == self.errcode()) {
            return Ok(if allowed.len() > 1 { self.described() } else { String::new() });
        }
        let allowed = allowed.iter().map(|(status, errcode)| format!("{status} {errcode}")).collect::<Vec<_>>();
        fail(format!("answered {}, not {}", self.described(), allowed.join(" or ")))
    }

    /// It has to be a refusal.
    pub(crate) fn gives_nothing(&self, of: &str) -> Verdict {
        match self.status {
            // Too early says nothing of what is there.
            429 => fail(format!("{of} was asked for too often")),
            400..500 => Ok(String::new()),
            _ => fail(format!("{of} answered {} with {} bytes", self.described(), self.body.len())),
        }
    }
}

impl Subject {
    pub(crate) fn request(&self, method: Method, path: &str, token: Option<&str>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Verdict<Answer> {
        send(self.request(Method::GET, path, Some(token))).await
    }

    pub(crate) async fn delete(&self, names: Names, mxc: &Mxc, token: &str) -> Verdict<Answer> {
        send(self.request(Method::DELETE, &names.delete(mxc), Some(token))).await
    }

    /// Deletes what is there to be deleted.
    pub(crate) async fn delete_own(&self, names: Names, mxc: &Mxc, token: &str) -> Verdict {
        let answer = self.delete(names, mxc, token).await?;
        let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        if answer.status != 200 || body != Value::Object(serde_json::Map::new()) {
            return fail(format!("DELETE answered {}, not 200 with an empty JSON object", answer.described()));
        }
        Ok(String::new())
    }

    /// Uploads; `query` is all behind the path.
    pub(crate) async fn upload(&self, query: &str, sample: &Sample, token: &str) -> Verdict<Mxc> {
        let request = self.request(Method::POST, &format!("/_matrix/media/v3/upload{query}"), Some(token));
        let request = request.header("content-type", sample.content_type).body(sample.bytes.clone());
        content_uri(&send(request).await?)
    }

    pub(crate) async fn ephemeral(&self, names: Names, sample: &Sample, token: &str) -> Verdict<Mxc> {
        self.upload(&format!("?{}=true", names.flag()), sample, token).await
    }

    pub(crate) async fn create(&self, names: Names, token: &str) -> Verdict<Mxc> {
        let path = format!("/_matrix/media/v1/create?{}=true", names.flag());
        content_uri(&send(self.request(Method::POST, &path, Some(token)).body("{}")).await?)
    }

    pub(crate) async fn put(&self, mxc: &Mxc, sample: &Sample, token: &str) -> Verdict<Answer> {
        let path = format!("/_matrix/media/v3/upload/{}/{}", mxc.server_name, mxc.media_id);
        let request = self.request(Method::PUT, &path, Some(token)).header("content-type", sample.content_type);
        send(request.body(sample.bytes.clone())).await
    }

    /// Media has to be there.
    pub(crate) async fn gives(&self, mxc: &Mxc, sample: &Sample, token: &str) -> Verdict {
        let answer = self.get(&download(mxc), token).await?;
        if answer.status != 200 || answer.body[..] != sample.bytes[..] {
            return fail(format!("the download answered {} with {} bytes", answer.described(), answer.body.len()));
        }
        Ok(String::new())
    }
}

/// Sends a request, and again when it came too early.
pub(crate) async fn send(request: RequestBuilder) -> Verdict<Answer> {
    for _ in 1..ATTEMPTS {
        let Some(again) = request.try_clone() else { break };
        let answer = read(again).await?;
        if answer.status != 429 {
            return Ok(answer);
        }
        tokio::time::sleep(pause(&answer)).await;
    }
    read(request).await
}

async fn read(request: RequestBuilder) -> Verdict<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await? })
}

fn pause(answer: &Answer) -> Duration {
    let header = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let field = body["retry_after_ms"].as_u64().map(Duration::from_millis);
    header.map(Duration::from_secs).or(field).unwrap_or(Duration::from_secs(1)).min(LONGEST_PAUSE)
}

fn content_uri(answer: &Answer) -> Verdict<Mxc> {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    match body["content_uri"].as_str().and_then(|uri| uri.parse().ok()) {
        Some(mxc) if answer.status == 200 => Ok(mxc),
        _ => fail(format!("the upload answered {} and no content_uri", answer.described())),
    }
}

pub(crate) fn download(mxc: &Mxc) -> String {
    format!("/_matrix/client/v1/media/download/{}/{}", mxc.server_name, mxc.media_id)
}

pub(crate) fn thumbnail(mxc: &Mxc) -> String {
    format!("/_matrix/client/v1/media/thumbnail/{}/{}?{SIZE}", mxc.server_name, mxc.media_id)
}
