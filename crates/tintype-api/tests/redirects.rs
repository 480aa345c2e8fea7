//! Media that is read elsewhere: from the store, or from a CDN.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_services::{Bucket, SeaweedFs};
use tintype_testing::{Client, Profile, Response, TestServer, paths, pattern, pictures::png};

const SIZE: usize = 300_000;

/// What an answer says of the media itself.
const HEADERS: [&str; 3] = ["content-type", "content-disposition", "cache-control"];

const CDN: &str = "https://cdn.example.org";

fn in_bucket(more: &str) -> String {
    let Bucket { endpoint, name, access_key_id, secret_access_key, .. } = SeaweedFs::shared().bucket();
    format!(
        "blobs.url = 's3://{name}'
         blobs.endpoint = '{endpoint}'
         blobs.access_key_id = '{access_key_id}'
         blobs.secret_access_key = '{secret_access_key}'
         blobs.path_style = true
         blobs.inline_size = 0
         blobs.redirect_min_size = 1
         {more}"
    )
}

const IN_FOLDER: &str = "blobs.inline_size = 0\nblobs.redirect_min_size = 1";

fn with_cdn(store: &str) -> String {
    format!(
        "blobs.redirect = 'clients'
         blobs.cdn.base_url = '{CDN}'
         blobs.cdn.secret = 'what this server and nobody else knows'
         {store}"
    )
}

fn headers(response: &Response) -> [&str; 3] {
    HEADERS.map(|name| response.header(name))
}

/// Somebody without a token reads what a redirect leads to.
async fn follow(redirect: &Response) -> Response {
    assert_eq!(redirect.status(), 307, "{redirect:?}");
    let url = redirect.header("location");
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("a host");
    Client::of_address(host.parse().expect("an address")).at_host(host).get(target(url)).await
}

/// The path and query of a URL.
fn target(url: &str) -> String {
    let (_, rest) = url.split_once("://").expect("a scheme");
    rest[rest.find('/').expect("a path")..].to_owned()
}

async fn direct(server: &TestServer, path: String) -> Response {
    // An entity tag that has to match is answered from here.
    let user = server.user("alice").await;
    user.get(path).header("if-match", "*").await
}

#[tokio::test]
async fn a_client_is_sent_to_the_store_and_gets_there_what_it_would_have_got_here() {
    let server = TestServer::made_of(Profile::Embedded, &in_bucket("blobs.redirect = 'clients'")).await;
    let alice = server.user("alice").await;
    let body = pattern(SIZE);
    let picture = alice.upload(body.clone()).content_type("image/png").filename("a \u{20ac} & b.png").await;
    let page = alice.upload(body.clone()).content_type("text/html; charset=utf-8").await;
    let named = format!("{}/other.png", paths::download(&picture));

    for path in [paths::download(&picture), named, paths::download(&page)] {
        let redirect = alice.get(path.clone()).await;
        let there = follow(&redirect).await;
        let here = direct(&server, path).await;

        assert_eq!((here.status(), there.status()), (200, 200));
        assert_eq!(headers(&there), headers(&here));
        assert!(there.bytes() == &body && here.bytes() == &body);
        assert_eq!(redirect.header("cache-control"), "private, max-age=75");
        assert_eq!(redirect.header("access-control-allow-origin"), "*");
        assert!(redirect.bytes().is_empty());
        assert!(!redirect.header("location").contains(alice.token()));
    }
}

#[tokio::test]
async fn a_thumbnail_is_read_from_the_store_too() {
    let server =
        TestServer::made_of(Profile::Embedded, &in_bucket("blobs.redirect = 'clients'\ncache.memory = 0")).await;
    let alice = server.user("alice").await;
    let picture = alice.upload(png(640, 480)).await;
    let path = paths::thumbnail(&picture, "width=32&height=32");
    // Made, and kept: then it is in the store.
    let made = alice.get(path.clone()).await;
    assert_eq!(made.status(), 200);

    let there = follow(&alice.get(path.clone()).await).await;

    assert_eq!(headers(&there), headers(&made));
    assert!(there.bytes() == made.bytes());
}

#[tokio::test]
async fn what_only_this_server_can_judge_is_answered_here() {
    let server = TestServer::made_of(Profile::Embedded, &in_bucket("blobs.redirect = 'always'")).await;
    let alice = server.user("alice").await;
    let body = pattern(SIZE);
    let path = paths::download(&alice.upload(body.clone()).await);
    let head = alice.head(path.clone()).await;
    assert_eq!((head.status(), head.content_length()), (200, SIZE));
    let etag = head.header("etag");

    let status = async |name: &str, value: &str| alice.get(path.clone()).header(name, value).await.status();
    assert_eq!(status("if-none-match", etag).await, 304);
    assert_eq!(status("if-match", etag).await, 200);
    assert_eq!(status("if-match", "\"another\"").await, 412);
    assert_eq!(status("range", "bytes=0-9,20-29").await, 206);
    assert_eq!(status("range", "bytes=300000-").await, 416);
    assert_eq!(alice.get(path.clone()).header("range", "bytes=5-9").header("if-range", etag).await.status(), 206);
    // A tag of the store's, and one range, are the store's business.
    assert_eq!(status("if-none-match", "\"another\"").await, 307);
    assert_eq!(status("range", "bytes=5-9").await, 307);
    assert_eq!(alice.get(path).header("range", "bytes=5-9").header("if-range", "\"another\"").await.status(), 307);
}

#[tokio::test]
async fn nobody_is_redirected_who_did_not_authenticate_or_did_not_say_that_it_expects_it() {
    let server =
        TestServer::made_of(Profile::Embedded, &in_bucket("blobs.redirect = 'clients'\nlegacy.freeze = 'never'")).await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(SIZE)).await;
    let anybody = server.anonymous();

    assert_eq!(anybody.get(paths::download(&mxc)).await.status(), 401);
    let old = paths::legacy_download(&mxc);
    assert_eq!(anybody.get(old.clone()).await.status(), 200);
    assert_eq!(anybody.get(format!("{old}?allow_redirect=false")).await.status(), 200);
    assert_eq!(anybody.get(format!("{old}?allow_redirect=perhaps")).await.status(), 400);
    let there = follow(&anybody.get(format!("{old}?allow_redirect=true")).await).await;
    assert_eq!(there.header("cache-control"), "public, max-age=86400, s-maxage=0, proxy-revalidate");
}

#[tokio::test]
async fn ephemeral_restricted_arriving_and_small_media_never_leaves() {
    let server = TestServer::made_of(
        Profile::Embedded,
        &in_bucket("blobs.redirect = 'always'").replace("min_size = 1", "min_size = 1000"),
    )
    .await;
    let alice = server.user("alice").await;
    let body = pattern(SIZE);
    let ephemeral = format!("{}?org.matrix.msc4425.ephemeral=true", paths::UPLOAD);
    let restricted = "/_matrix/client/unstable/org.matrix.msc3911/media/upload";

    for mxc in [
        alice.post(ephemeral).body(body.clone()).await.mxc(),
        alice.post(restricted).body(body.clone()).await.mxc(),
        alice.upload(pattern(999)).await,
    ] {
        assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    }
    let promised = alice.create().await;
    let mut sending = alice.put(&promised).feed(SIZE).await;
    sending.send(&body[..SIZE / 2]).await;
    let reading = alice.get(paths::download(&promised)).open().await;
    assert_eq!(reading.status(), 200);
    sending.send(&body[SIZE / 2..]).await;
    assert!(reading.whole().await == body);
    // The very same bytes, from somebody who keeps nothing back.
    assert_eq!(alice.get(paths::download(&alice.upload(body).await)).await.status(), 307);
}

#[tokio::test]
async fn who_is_not_to_be_redirected_is_not() {
    for config in ["", "blobs.redirect = 'federation'"] {
        let server = TestServer::made_of(Profile::Embedded, &in_bucket(config)).await;
        let alice = server.user("alice").await;
        let mxc = alice.upload(pattern(SIZE)).await;

        assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200, "{config}");
    }
}

/// The CDN asks with the URL that it was asked for.
async fn fetch(server: &TestServer, redirect: &Response) -> Response {
    server.anonymous().get(target(redirect.header("location"))).await
}

async fn redirected(alice: &Client, mxc: &Mxc) -> Response {
    let redirect = alice.get(paths::download(mxc)).await;
    assert_eq!(redirect.status(), 307);
    redirect
}

#[tokio::test]
async fn a_cdn_reads_with_a_signed_url_what_the_client_would_have_got_here() {
    for store in [IN_FOLDER.to_owned(), in_bucket("")] {
        let server = TestServer::made_of(Profile::Embedded, &with_cdn(&store)).await;
        let alice = server.user("alice").await;
        let body = pattern(SIZE);
        let mxc = alice.upload(body.clone()).content_type("image/png").filename("a \u{20ac} & b.png").await;

        let redirect = redirected(&alice, &mxc).await;
        assert!(redirect.header("location").starts_with(&format!("{CDN}/_tintype/cdn/v1/")));
        let there = fetch(&server, &redirect).await;
        let here = direct(&server, paths::download(&mxc)).await;

        assert_eq!(there.status(), 200);
        for name in HEADERS.into_iter().chain(["etag", "content-security-policy", "x-content-type-options"]) {
            assert_eq!(there.header(name), here.header(name));
        }
        assert!(there.bytes() == &body);
        assert_eq!(there.header("cdn-cache-control"), "max-age=300");
        assert_eq!(there.header("x-accel-expires"), "@1767225900");
        let part = server.anonymous().get(target(redirect.header("location"))).header("range", "bytes=5-9").await;
        assert_eq!((part.status(), &part.bytes()[..]), (206, &body[5..10]));
        // Whoever asks soon after is sent to the same URL.
        let again = server.user("bob").await.get(paths::download(&mxc)).await;
        assert_eq!(again.header("location"), redirect.header("location"));
    }
}

#[tokio::test]
async fn a_url_for_a_cdn_is_refused_once_it_is_over_or_changed_and_no_cache_keeps_that() {
    let server = TestServer::made_of(Profile::Embedded, &with_cdn(IN_FOLDER)).await;
    let alice = server.user("alice").await;
    let redirect = redirected(&alice, &alice.upload(pattern(SIZE)).await).await;
    let url = target(redirect.header("location"));

    let changed = server.anonymous().get(url.replace("application", "text")).await;
    assert_eq!((changed.error(), changed.header("cache-control")), ((403, "M_FORBIDDEN".to_owned()), "no-store"));
    server.advance(Duration::from_secs(299));
    assert_eq!(fetch(&server, &redirect).await.header("cdn-cache-control"), "max-age=1");
    server.advance(Duration::from_secs(1));
    let late = fetch(&server, &redirect).await;
    assert_eq!((late.error(), late.header("cache-control")), ((403, "M_FORBIDDEN".to_owned()), "no-store"));
}

#[tokio::test]
async fn a_cdn_gets_nothing_of_what_was_removed() {
    let server = TestServer::made_of(Profile::Embedded, &with_cdn(IN_FOLDER)).await;
    let alice = server.user("alice").await;
    let redirect = redirected(&alice, &alice.upload(pattern(SIZE)).await).await;
    for blob in server.blobs() {
        std::fs::remove_file(blob).expect("it is there");
    }
    // What was open stays readable.
    let server = server.restart().await;

    let gone = fetch(&server, &redirect).await;

    assert_eq!((gone.error(), gone.header("cache-control")), ((404, "M_NOT_FOUND".to_owned()), "no-store"));
}

#[tokio::test]
async fn without_a_cdn_there_is_no_such_endpoint() {
    let server = TestServer::start().await;

    let refused = server.anonymous().get("/_tintype/cdn/v1/abc?signature=abc").await;

    assert_eq!(refused.error(), (404, "M_UNRECOGNIZED".to_owned()));
}
