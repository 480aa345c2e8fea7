//! Multipart uploads that nobody will complete: of a node that was killed in the middle of one. Their parts are in the bucket,
//! unseen, until they are aborted.
//!
//! OpenDAL has no request that lists them, so it is made and signed here. Where the machine says who signs, it is not: that
//! is left to the lifecycle rule of the bucket.

use std::str::FromStr as _;

use http::{Method, Request, StatusCode};
use opendal::{Buffer, HttpTransporter, raw};
use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use tintype_domain::{ContentHash, Timestamp};

use super::{Addressing, Bucket, BucketCredentials, Objects, error::blobs_error};
use crate::blobs::{BlobsError, Location};

/// What is needed to ask for them.
pub(super) struct Unfinished {
    transport: HttpTransporter,
    signer: Signer<Credential>,
    /// The URL of the bucket, without a slash at its end.
    bucket: String,
    /// What the names of all objects begin with, with a slash at its end, or nothing.
    prefix: String,
}

/// An upload that was begun.
#[derive(Debug, PartialEq, Eq)]
struct Begun {
    key: String,
    id: String,
    since: Timestamp,
}

impl Unfinished {
    /// None where nobody signs that is known here.
    pub(super) fn of(bucket: &Bucket, transport: HttpTransporter) -> Option<Self> {
        let BucketCredentials::Key { id, secret } = &bucket.credentials else { return None };
        let signer = Signer::new(
            Context::new(),
            StaticCredentialProvider::new(id, secret),
            RequestSigner::new("s3", &bucket.region),
        );
        let endpoint = bucket.endpoint.trim_end_matches('/');
        let url = match (bucket.addressing, endpoint.split_once("://")) {
            (Addressing::Host, Some((scheme, host))) => format!("{scheme}://{}.{host}", bucket.name),
            _ => format!("{endpoint}/{}", bucket.name),
        };
        let prefix = if bucket.prefix.is_empty() { String::new() } else { format!("{}/", bucket.prefix) };
        Some(Self { transport, signer, bucket: url, prefix })
    }

    async fn send(&self, method: Method, target: &str) -> Result<(StatusCode, String), BlobsError> {
        let failed = |error: &dyn std::fmt::Display| BlobsError::Store(error.to_string());
        let request = Request::builder().method(method).uri(format!("{}{target}", self.bucket));
        let request = request.header("x-amz-content-sha256", ContentHash::of(b"").to_hex());
        let (mut head, body) = request.body(Buffer::new()).map_err(|error| failed(&error))?.into_parts();
        self.signer.sign(&mut head, None).await.map_err(|error| failed(&error))?;
        // It is that of the URL.
        head.headers.remove(http::header::HOST);
        let answer = self.transport.send(Request::from_parts(head, body)).await;
        let answer = answer.map_err(|error| blobs_error(&error, None))?;
        Ok((answer.status(), String::from_utf8_lossy(&answer.body().to_bytes()).into_owned()))
    }

    /// The first of them, a thousand at most, of blobs.
    async fn list(&self) -> Result<Vec<Begun>, BlobsError> {
        // A slash within a value is written as it is nowhere.
        let prefix = self.prefix.replace('/', "%2F");
        match self.send(Method::GET, &format!("/?prefix={prefix}&uploads=")).await? {
            (StatusCode::OK, text) => Ok(begun(&text, &self.prefix)),
            (status, text) => Err(BlobsError::Store(format!("it does not list what is unfinished: {status} {text}"))),
        }
    }

    async fn abort(&self, upload: &Begun) -> Result<(), BlobsError> {
        let (key, id) = (&upload.key, &upload.id);
        match self.send(Method::DELETE, &format!("/{key}?uploadId={id}")).await? {
            (status, _) if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            (status, text) => Err(BlobsError::Store(format!("it does not abort {key}: {status} {text}"))),
        }
    }
}

impl Objects {
    /// Aborts what was begun before this time, by the clock of the store. Returns how many uploads that were.
    pub(in crate::blobs) async fn abort_unfinished(&self, before: Timestamp) -> Result<u64, BlobsError> {
        let Some(unfinished) = &self.0.unfinished else { return Ok(0) };
        let mut aborted = 0;
        for upload in unfinished.list().await?.iter().filter(|upload| upload.since < before) {
            unfinished.abort(upload).await?;
            aborted += 1;
        }
        Ok(aborted)
    }
}

/// The uploads of blobs in an answer (`ListMultipartUploadsResult`). What is not as expected is left alone.
fn begun(text: &str, prefix: &str) -> Vec<Begun> {
    let uploads = text.split("<Upload>").skip(1).filter_map(|upload| {
        let (key, id) = (element(upload, "Key")?, element(upload, "UploadId")?);
        // Nobody else's, and nothing that has to be escaped.
        Location::parse(key.strip_prefix(prefix)?.rsplit('/').next()?)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
        let since = raw::Timestamp::from_str(element(upload, "Initiated")?).ok()?;
        let since = Timestamp(since.into_inner().as_millisecond());
        id.bytes().all(is_plain).then(|| Begun { key: key.to_owned(), id: id.to_owned(), since })
    });
    uploads.collect()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uploads_of_blobs_below_the_prefix_are_taken_from_a_list() {
        let name = format!("{}-0123456789ab", "ab".repeat(32));
        let upload = |key: &str, id: &str| {
            format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>"
            )
        };
        let ours = format!("a/prefix/ab/ab/{name}");
        let text = [
            upload(&ours, "id_1.~-"),
            upload(&ours, "id&amp;x"),
            upload(&format!("other/ab/ab/{name}"), "id"),
            upload("a/prefix/backup.tar", "id"),
            "<Upload><Key>".to_owned(),
        ]
        .concat();

        let since = Timestamp(1_767_225_600_000);
        assert_eq!(begun(&text, "a/prefix/"), [Begun { key: ours, id: "id_1.~-".to_owned(), since }]);
    }
}
