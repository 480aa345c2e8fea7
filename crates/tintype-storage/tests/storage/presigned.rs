//! URLs that the store answers by itself.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tintype_storage::blobs::{Blobs, Bucket, Location, PresignedHeaders};
use tokio::time::{sleep, timeout};

use crate::blobs_in_objects::support::{bucket, open};

/// How long something may take that has to happen: waited for only by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

const BYTES: &[u8] = b"bytes of a blob";

struct Kept {
    _folder: TempDir,
    blobs: Blobs,
    location: Location,
}

async fn kept(bucket: &Bucket) -> Kept {
    let folder = TempDir::new().unwrap();
    let blobs: Blobs = open(bucket, folder.path()).into();
    let mut incoming = blobs.receive().await.unwrap();
    incoming.write(Bytes::from_static(BYTES)).await.unwrap();
    let location = blobs.publish(incoming.finish().await.unwrap()).await.unwrap();
    Kept { _folder: folder, blobs, location }
}

impl Kept {
    async fn url(&self, expires: Duration) -> String {
        let headers = PresignedHeaders {
            content_type: "text/plain; charset=utf-8".to_owned(),
            content_disposition: "attachment; filename*=utf-8''%E2%82%AC%20a%2Bb.txt".to_owned(),
            cache_control: "private, max-age=86400".to_owned(),
        };
        let blob = self.blobs.read(&self.location).await.unwrap();
        blob.presigned(headers, expires).await.unwrap().unwrap()
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([]).build().unwrap()
}

async fn status(url: &str) -> u16 {
    client().get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_presigned_url_gives_the_bytes_with_the_headers_that_were_signed() {
    let kept = kept(&bucket()).await;

    let answer = client().get(kept.url(Duration::from_mins(1)).await).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename*=utf-8''%E2%82%AC%20a%2Bb.txt");
    assert_eq!(answer.headers()["cache-control"], "private, max-age=86400");
    assert_eq!(answer.bytes().await.unwrap(), BYTES);
}

#[tokio::test]
async fn a_presigned_url_gives_a_range() {
    let kept = kept(&bucket()).await;

    let url = kept.url(Duration::from_mins(1)).await;
    let answer = client().get(url).header("range", "bytes=6-7").send().await.unwrap();

    assert_eq!(answer.status(), 206);
    assert_eq!(answer.headers()["content-range"], "bytes 6-7/15");
    assert_eq!(answer.bytes().await.unwrap(), "of");
}

#[tokio::test]
async fn a_presigned_url_is_refused_once_its_time_is_over_or_it_is_changed() {
    let kept = kept(&bucket()).await;

    let url = kept.url(Duration::from_mins(1)).await;
    assert_eq!(status(&url.replace("charset", "character")).await, 403);
    assert_eq!(status(&url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")).await, 403);
    let url = kept.url(Duration::from_secs(1)).await;
    let refused = async {
        while status(&url).await != 403 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
}

#[tokio::test]
async fn a_presigned_url_gives_nothing_any_more_once_its_blob_is_removed() {
    let kept = kept(&bucket()).await;
    let url = kept.url(Duration::from_mins(1)).await;
    assert_eq!(status(&url).await, 200);

    kept.blobs.remove(&kept.location).await.unwrap();

    assert_eq!(status(&url).await, 404);
}

#[tokio::test]
async fn a_presigned_url_is_for_the_host_by_which_others_know_the_store() {
    let mut bucket = bucket();
    bucket.public_endpoint = Some(bucket.endpoint.replace("127.0.0.1", "localhost"));
    let kept = kept(&bucket).await;

    let url = kept.url(Duration::from_mins(1)).await;

    assert!(url.starts_with("http://localhost:"), "{url}");
    assert_eq!(client().get(url).send().await.unwrap().bytes().await.unwrap(), BYTES);
}
