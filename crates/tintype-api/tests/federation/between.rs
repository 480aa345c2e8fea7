//! Two servers that have never met: found, signed, verified, streamed, kept.

use http::Method;
use tintype_testing::{Client, Response, TestServer, paths, pattern};

use super::pair;

const INLINE: usize = 64 * 1024;

#[tokio::test]
async fn a_user_reads_what_was_uploaded_to_another_server() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload(pattern(300_000)).content_type("image/x-odd; a=\"b;c\"").filename("фото 🐈.png").await;

    let answer = alice.get(paths::download(&mxc)).await;

    assert_eq!(answer.status(), 200, "{:?}", answer.bytes());
    assert_eq!(answer.bytes()[..], pattern(300_000)[..]);
    assert_eq!(answer.header("content-type"), "image/x-odd; a=\"b;c\"");
    let original = bob.get(paths::download(&mxc)).await;
    assert_eq!(answer.header("content-disposition"), original.header("content-disposition"));
}

#[tokio::test]
async fn media_of_every_size_comes_whole_and_is_kept_whole() {
    let (_ours, theirs, alice, bob) = pair("", "").await;
    let mut uploaded = Vec::new();
    for length in [0, 1, INLINE, INLINE + 1, 3_000_000] {
        uploaded.push((length, bob.upload(pattern(length)).await));
    }

    for (length, mxc) in &uploaded {
        let fetched = alice.get(paths::download(mxc)).await;
        assert_eq!((fetched.status(), fetched.content_length()), (200, *length));
        assert!(*fetched.bytes() == pattern(*length), "{length} bytes");
    }

    drop(theirs.drain().await);
    for (length, mxc) in &uploaded {
        let kept = alice.get(paths::download(mxc)).await;
        assert_eq!((kept.status(), kept.content_length()), (200, *length));
        assert!(*kept.bytes() == pattern(*length), "{length} bytes");
    }
}

async fn with_labels(bob: &Client, content_type: Option<&[u8]>, query: &str) -> Response {
    let request = bob.post(format!("{}{query}", paths::UPLOAD)).body("hello");
    match content_type {
        Some(content_type) => request.header("content-type", content_type).await,
        None => request.await,
    }
}

#[tokio::test]
async fn types_and_names_are_those_of_the_origin() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let types: [Option<&[u8]>; 9] = [
        None,
        Some(b"text/plain; charset=utf-8"),
        Some(b"text/html"),
        Some(b"img/png"),
        Some(b"image/png;;a"),
        Some(b"nonsense"),
        Some(b"multipart/mixed; boundary=\"--\""),
        Some(b"text/pl\xe4in"),
        Some("текст/кот".as_bytes()),
    ];
    let names = [
        "",
        "?filename=",
        "?filename=%D1%84%D0%BE%D1%82%D0%BE%20%F0%9F%90%88.png",
        "?filename=a%22b%5Cc%3B%20d%2Ce.txt",
        "?filename=..%2F..%2Fetc%2Fpasswd",
        "?filename=%20%20spaces%20%20",
        "?filename=a%0D%0Ab",
        "?filename=100%25.txt",
        "?filename=%C3%A9.txt",
    ];

    for (content_type, name) in types.into_iter().zip(names).chain(types.into_iter().rev().zip(names)) {
        let mxc = with_labels(&bob, content_type, name).await.mxc();
        let (here, there) = tokio::join!(alice.get(paths::download(&mxc)), bob.get(paths::download(&mxc)));
        let again = alice.get(paths::download(&mxc)).await;
        assert_eq!(here.bytes(), "hello");
        for header in ["content-type", "content-disposition"] {
            assert_eq!(here.header_bytes(header), there.header_bytes(header), "{header} of {content_type:?} {name}");
            assert_eq!(again.header_bytes(header), there.header_bytes(header), "{header} of {content_type:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_name_in_the_path_counts_more_than_the_origins() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload("hello").content_type("text/plain").filename("a.txt").await;

    let answer = alice.get(paths::download(&mxc) + "/b.txt").await;

    assert_eq!(answer.header("content-disposition"), "inline; filename=\"b.txt\"");
}

#[tokio::test]
async fn media_of_others_is_disarmed_like_ours() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload("<script>").content_type("text/html").await;

    let answer = alice.get(paths::download(&mxc)).await;

    assert!(answer.header("content-security-policy").starts_with("sandbox;"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-disposition").starts_with("attachment"));
    assert!(answer.header("cache-control").starts_with("private"));
}

#[tokio::test]
async fn ranges_and_conditions_hold_for_what_is_kept() {
    let (_ours, theirs, alice, bob) = pair("", "").await;
    let bytes = pattern(300_000);
    let mxc = bob.upload(bytes.clone()).await;
    let path = paths::download(&mxc);
    alice.get(path.as_str()).await;

    let head = alice.head(path.as_str()).await;
    let part = alice.get(path.as_str()).header("range", "bytes=299990-").await;
    let parts = alice.get(path.as_str()).header("range", "bytes=0-1,100-199").await;
    let beyond = alice.get(path.as_str()).header("range", "bytes=300000-").await;
    let same = alice.get(path.as_str()).header("if-none-match", head.header("etag")).await;

    assert_eq!((head.status(), head.content_length(), head.bytes().len()), (200, 300_000, 0));
    assert_eq!(head.header("etag"), bob.head(path.as_str()).await.header("etag"));
    assert_eq!((part.status(), part.bytes()), (206, &bytes[299_990..].to_vec().into()));
    assert_eq!(part.header("content-range"), "bytes 299990-299999/300000");
    assert_eq!(parts.status(), 206);
    assert!(parts.header("content-type").starts_with("multipart/byteranges"));
    assert_eq!(beyond.status(), 416);
    assert_eq!(same.status(), 304);
    assert_eq!(theirs.requests("federation_download").await, 1);
}

#[tokio::test]
async fn the_first_request_for_media_may_be_for_a_part_of_it_or_its_head() {
    for length in [10, 300_000] {
        let (_ours, _theirs, alice, bob) = pair("", "").await;
        let bytes = pattern(length);
        let (one, two) = (bob.upload(bytes.clone()).await, bob.upload([&bytes[..], b"."].concat()).await);

        let part = alice.get(paths::download(&one)).header("range", "bytes=5-9").await;
        let head = alice.request(Method::HEAD, paths::download(&two)).await;

        assert_eq!((part.status(), part.bytes()), (206, &bytes[5..10].to_vec().into()));
        assert_eq!(part.header("content-range"), format!("bytes 5-9/{length}"));
        assert_eq!((head.status(), head.content_length()), (200, length + 1));
    }
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart_without_its_origin() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let (small, large) = (bob.upload("small").await, bob.upload(pattern(300_000)).await);
    for mxc in [&small, &large] {
        assert_eq!(alice.get(paths::download(mxc)).await.status(), 200);
    }
    drop(theirs.drain().await);

    let _ours = ours.restart().await;

    assert_eq!(alice.get(paths::download(&small)).await.bytes(), "small");
    assert!(*alice.get(paths::download(&large)).await.bytes() == pattern(300_000));
}

#[tokio::test]
async fn three_servers_read_what_one_of_them_has() {
    let (first, second, alice, bob) = pair("", "").await;
    let third = TestServer::federating("third", "").await;
    let carol = third.user("carol").await;
    let mxc = carol.upload(pattern(200_000)).await;

    let (one, two) = tokio::join!(alice.get(paths::download(&mxc)), bob.get(paths::download(&mxc)));

    assert!(*one.bytes() == pattern(200_000) && *two.bytes() == pattern(200_000));
    assert_eq!(first.metric("tintype_fetches_total").await + second.metric("tintype_fetches_total").await, 2);
}

#[tokio::test]
async fn the_name_of_a_server_may_be_percent_encoded() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload("hello").await;
    let encoded = mxc.server_name.as_str().replace(':', "%3A");

    let answer = alice.get(format!("/_matrix/client/v1/media/download/{encoded}/{}", mxc.media_id)).await;

    assert_eq!(answer.bytes(), "hello");
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(ours.metric("tintype_fetches_total").await, 1, "it is one server however it is written");
}
