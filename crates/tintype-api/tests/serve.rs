//! Media as an HTTP answer: what disarms it, conditions and ranges.

use http::Method;
use tintype_testing::{Response, TestServer, paths, pattern};

/// One length that lies in the database and one that lies in a file and takes several buffers.
const LENGTHS: [usize; 2] = [1000, 3_000_000];

/// The parts of a `multipart/byteranges` answer: each one's headers and bytes.
fn parts(response: &Response) -> Vec<(String, Vec<u8>)> {
    let boundary = response.header("content-type").strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("there are several parts");
    let body: Vec<u8> = [b"\r\n", &response.bytes()[..]].concat();
    let delimiter = format!("\r\n--{boundary}");
    let mut found = Vec::new();
    let mut rest = &body[..];
    while let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter.as_bytes()) {
        let part = &rest[..at];
        if let Some(end) = part.windows(4).position(|window| window == b"\r\n\r\n") {
            let headers = String::from_utf8(part[2..end].to_vec()).expect("the headers are text");
            found.push((headers, part[end + 4..].to_vec()));
        }
        rest = &rest[at + delimiter.len()..];
    }
    assert_eq!(rest, b"--\r\n", "the body does not end with its closing delimiter");
    found
}

#[tokio::test]
async fn foreign_bytes_come_with_headers_that_disarm_them() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("<script>").content_type("text/html").await;

    let download = alice.get(paths::download(&mxc)).await;

    let policy = download.header("content-security-policy");
    for directive in [
        "sandbox;",
        "default-src 'none';",
        "script-src 'none';",
        "plugin-types application/pdf;",
        "style-src 'unsafe-inline';",
        "object-src 'self';",
    ] {
        assert!(policy.contains(directive), "{directive} is missing in {policy}");
    }
    assert_eq!(download.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(download.header("x-content-type-options"), "nosniff");
    assert_eq!(download.header("referrer-policy"), "no-referrer");
    assert!(download.header("x-robots-tag").contains("noindex"));
    assert_eq!(download.header("accept-ranges"), "bytes");
}

#[tokio::test]
async fn only_the_client_that_asked_may_keep_authenticated_media() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let cache_control = alice.get(paths::download(&mxc)).await.header("cache-control").to_owned();

    assert!(cache_control.contains("private"), "{cache_control}");
    assert!(!cache_control.contains("public"), "{cache_control}");
}

#[tokio::test]
async fn head_says_everything_that_get_says_but_the_bytes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for length in LENGTHS {
        let mxc = alice.upload(pattern(length)).content_type("image/png").filename("a.png").await;
        let (get, head) = (alice.get(paths::download(&mxc)).await, alice.head(paths::download(&mxc)).await);
        assert_eq!(head.status(), 200);
        assert_eq!(head.content_length(), length);
        assert_eq!(head.bytes().len(), 0);
        for name in ["content-type", "content-disposition", "etag", "accept-ranges", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}

#[tokio::test]
async fn head_of_what_is_not_there_is_not_found() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let head = alice.head("/_matrix/client/v1/media/download/localhost/missing").await;

    assert_eq!((head.status(), head.bytes().len()), (404, 0));
}

#[tokio::test]
async fn a_range_counts_for_get_only() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(1000)).await;

    // RFC 9110, section 14.2: a Range in a request with another method is ignored.
    let head = alice.head(paths::download(&mxc)).header("range", "bytes=0-9").await;

    assert_eq!((head.status(), head.content_length()), (200, 1000));
}

#[tokio::test]
async fn the_same_bytes_have_the_same_strong_entity_tag() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let [first, same, other] = [alice.upload("a").await, alice.upload("a").await, alice.upload("b").await];

    let mut tags = Vec::new();
    for mxc in [first, same, other] {
        tags.push(alice.get(paths::download(&mxc)).await.header("etag").to_owned());
    }
    assert!(tags[0].starts_with('"') && tags[0].ends_with('"') && tags[0].len() > 2, "{tags:?}");
    assert_eq!(tags[0], tags[1]);
    assert_ne!(tags[0], tags[2]);
}

#[tokio::test]
async fn what_the_client_has_already_is_not_sent_again() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    let etag = alice.get(paths::download(&mxc)).await.header("etag").to_owned();

    for condition in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        for method in [Method::GET, Method::HEAD] {
            let answer = alice.request(method, paths::download(&mxc)).header("if-none-match", &condition).await;
            assert_eq!((answer.status(), answer.bytes().len()), (304, 0), "{condition}");
            assert_eq!(answer.header("etag"), etag);
            assert!(answer.header("cache-control").contains("private"));
        }
    }
    let changed = alice.get(paths::download(&mxc)).header("if-none-match", "\"other\"").await;
    assert_eq!((changed.status(), &changed.bytes()[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn a_client_that_insists_on_other_bytes_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    let etag = alice.get(paths::download(&mxc)).await.header("etag").to_owned();

    let same = alice.get(paths::download(&mxc)).header("if-match", &etag).await;
    let any = alice.get(paths::download(&mxc)).header("if-match", "*").await;
    let other = alice.get(paths::download(&mxc)).header("if-match", "\"other\"").await;

    assert_eq!((same.status(), any.status()), (200, 200));
    assert_eq!(other.error(), (412, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn one_range_is_answered_with_its_bytes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for length in LENGTHS {
        let bytes = pattern(length);
        let mxc = alice.upload(bytes.clone()).content_type("video/mp4").await;
        let table = [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=10-99".to_owned(), 10..100),
            ("bytes=999-".to_owned(), 999..length),
            ("bytes=-1".to_owned(), length - 1..length),
            ("bytes=-99999999".to_owned(), 0..length),
            (format!("bytes={}-99999999", length / 2), length / 2..length),
            ("bytes=0-9,10-19".to_owned(), 0..20),
        ];
        for (range, expected) in table {
            let answer = alice.get(paths::download(&mxc)).header("range", &range).await;
            assert_eq!(answer.status(), 206, "{range}");
            let (first, last) = (expected.start, expected.end - 1);
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{length}"), "{range}");
            assert_eq!(answer.header("content-type"), "video/mp4");
            assert_eq!(answer.content_length(), expected.len());
            assert!(answer.bytes()[..] == bytes[expected], "{range}");
        }
    }
}

#[tokio::test]
async fn several_ranges_are_answered_in_parts() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for length in LENGTHS {
        let bytes = pattern(length);
        let mxc = alice.upload(bytes.clone()).content_type("video/mp4").await;
        let answer = alice.get(paths::download(&mxc)).header("range", "bytes=0-9, 500-600, -1").await;

        assert_eq!(answer.status(), 206);
        assert_eq!(answer.content_length(), answer.bytes().len());
        let parts = parts(&answer);
        let expected = [(0, 9), (500, 600), (length - 1, length - 1)];
        assert_eq!(parts.len(), expected.len());
        for ((headers, part), (first, last)) in parts.iter().zip(expected) {
            let range = format!("Content-Range: bytes {first}-{last}/{length}");
            assert_eq!(*headers, format!("Content-Type: video/mp4\r\n{range}"));
            assert!(part[..] == bytes[first..=last], "{range}");
        }
    }
}

#[tokio::test]
async fn a_range_past_the_end_is_unsatisfiable() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for length in LENGTHS {
        let mxc = alice.upload(pattern(length)).await;
        for range in [format!("bytes={length}-"), "bytes=99999999-999999999".to_owned(), "bytes=-0".to_owned()] {
            let answer = alice.get(paths::download(&mxc)).header("range", &range).await;
            assert_eq!(answer.error(), (416, "M_UNKNOWN".to_owned()), "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes */{length}"));
        }
    }
}

#[tokio::test]
async fn a_range_that_makes_no_sense_is_ignored() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(1000)).await;

    for range in ["lines=0-9", "bytes=9-0", "bytes=a-b", "bytes=", "0-9", "bytes=0-9-"] {
        let answer = alice.get(paths::download(&mxc)).header("range", range).await;
        assert_eq!((answer.status(), answer.bytes().len()), (200, 1000), "{range}");
    }
}

#[tokio::test]
async fn of_nothing_there_is_no_range() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("").await;

    let answer = alice.get(paths::download(&mxc)).header("range", "bytes=0-").await;

    assert_eq!(answer.status(), 416);
    assert_eq!(answer.header("content-range"), "bytes */0");
}

#[tokio::test]
async fn a_range_of_other_bytes_is_answered_with_the_whole() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(1000)).await;
    let etag = alice.get(paths::download(&mxc)).await.header("etag").to_owned();

    let table = [
        (etag.clone(), 206),
        ("\"other\"".to_owned(), 200),
        (format!("W/{etag}"), 200),
        ("Sat, 31 Jan 2026 12:00:00 GMT".to_owned(), 200),
    ];
    for (condition, status) in table {
        let request = alice.get(paths::download(&mxc)).header("range", "bytes=0-9");
        assert_eq!(request.header("if-range", &condition).await.status(), status, "{condition}");
    }
}
