//! `GET` and `HEAD /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}]`

use http::Method;
use tintype_testing::{Response, TestServer, paths, pattern};

/// One length that lies in the database and one that lies in a file and takes several buffers.
const LENGTHS: [usize; 2] = [1000, 3_000_000];

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

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
async fn the_content_type_comes_back_byte_for_byte() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let types: [&[u8]; 8] = [
        b"image/png",
        b"img/png",
        b"IMAGE/PNG",
        b"text/plain;charset=UTF-8; format=flowed",
        b"text/html",
        b"not a type at all",
        b"text/\xe4\xf6\xfc; name=\"\xe2\x98\x83\"",
        b"multipart/form-data; boundary=\"----x\\\"y\"",
    ];
    for content_type in types {
        let mxc = alice.upload("hello").content_type(content_type).await;
        let download = alice.get(paths::download(&mxc)).await;
        assert_eq!(download.header_bytes("content-type"), content_type, "{}", content_type.escape_ascii());
    }
}

#[tokio::test]
async fn what_cannot_run_a_script_is_shown_and_everything_else_is_saved() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let table = [
        ("text/css", "inline"),
        ("text/plain", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("text/csv", "inline"),
        ("application/json", "inline"),
        ("application/ld+json", "inline"),
        ("image/jpeg", "inline"),
        ("image/gif", "inline"),
        ("image/png", "inline"),
        ("Image/PNG", "inline"),
        ("image/apng", "inline"),
        ("image/webp", "inline"),
        ("image/avif", "inline"),
        ("video/mp4", "inline"),
        ("video/webm", "inline"),
        ("video/ogg", "inline"),
        ("video/quicktime", "inline"),
        ("audio/mp4", "inline"),
        ("audio/webm", "inline"),
        ("audio/aac", "inline"),
        ("audio/mpeg", "inline"),
        ("audio/ogg", "inline"),
        ("audio/wave", "inline"),
        ("audio/wav", "inline"),
        ("audio/x-wav", "inline"),
        ("audio/x-pn-wav", "inline"),
        ("audio/flac", "inline"),
        ("audio/x-flac", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("text/javascript", "attachment"),
        ("application/javascript", "attachment"),
        ("application/xhtml+xml", "attachment"),
        ("text/xml", "attachment"),
        ("application/pdf", "attachment"),
        ("application/octet-stream", "attachment"),
        ("img/png", "attachment"),
        ("text/plain, text/html", "attachment"),
    ];
    for (content_type, disposition) in table {
        let mxc = alice.upload("hello").content_type(content_type).await;
        let download = alice.get(paths::download(&mxc)).await;
        assert_eq!(download.header("content-disposition"), disposition, "{content_type}");
    }
}

#[tokio::test]
async fn the_name_of_the_upload_is_the_name_of_the_file() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let table = [
        ("photo.jpg", r#"inline; filename="photo.jpg""#),
        ("a photo.jpg", "inline; filename*=utf-8''a%20photo.jpg"),
        ("☃ und ö.jpg", "inline; filename*=utf-8''%E2%98%83%20und%20%C3%B6.jpg"),
        ("a\"b;c.jpg", "inline; filename*=utf-8''a%22b%3Bc.jpg"),
        ("../../etc/passwd", "inline; filename*=utf-8''..%2F..%2Fetc%2Fpasswd"),
        ("a\r\nSet-Cookie: b", "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20b"),
    ];
    for (name, disposition) in table {
        let mxc = alice.upload("hello").content_type("image/jpeg").filename(name).await;
        let download = alice.get(paths::download(&mxc)).await;
        assert_eq!(download.header("content-disposition"), disposition, "{name:?}");
    }
}

#[tokio::test]
async fn a_name_in_the_path_wins() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let named = alice.upload("hello").content_type("image/jpeg").filename("photo.jpg").await;
    let nameless = alice.upload("hello").content_type("application/zip").await;

    let other = alice.get(paths::download(&named) + "/other.jpg").await;
    let encoded = alice.get(paths::download(&nameless) + "/%E2%98%83%2Fa+b.zip").await;

    assert_eq!(other.header("content-disposition"), r#"inline; filename="other.jpg""#);
    assert_eq!(encoded.header("content-disposition"), "attachment; filename*=utf-8''%E2%98%83%2Fa+b.zip");
}

#[tokio::test]
async fn an_upload_without_a_name_has_none() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let nameless = alice.upload("hello").content_type("image/jpeg").await;
    let empty = alice.upload("hello").content_type("image/jpeg").filename("").await;

    for mxc in [nameless, empty] {
        assert_eq!(alice.get(paths::download(&mxc)).await.header("content-disposition"), "inline");
    }
}

#[tokio::test]
async fn an_empty_name_in_the_path_is_no_name() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").content_type("image/jpeg").filename("photo.jpg").await;

    let answer = alice.get(paths::download(&mxc) + "/").await;

    assert_eq!(answer.error(), (404, "M_UNRECOGNIZED".to_owned()));
}

#[tokio::test]
async fn a_name_that_is_not_text_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    for name in ["%ff", "%zz"] {
        let refusal = alice.get(format!("{}/{name}", paths::download(&mxc))).await;
        assert_eq!(refusal.error(), (400, "M_INVALID_PARAM".to_owned()), "{name}");
    }
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
async fn nobody_learns_by_a_condition_what_a_token_would_be_needed_for() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let answer = server.anonymous().get(paths::download(&mxc)).header("if-none-match", "*").await;

    assert_eq!(answer.error(), (401, "M_MISSING_TOKEN".to_owned()));
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

#[tokio::test]
async fn what_is_no_media_is_not_found() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    let id = &mxc.media_id;

    for path in [
        "localhost/missing".to_owned(),
        "localhost/%2e%2e".to_owned(),
        "localhost/..".to_owned(),
        "../tintype.db".to_owned(),
        "%2e%2e/%2e%2e".to_owned(),
        "localhost/%2e%2e%2f%2e%2e%2ftintype.db".to_owned(),
        format!("localhost/{id}%00"),
        format!("localhost/{id}%2f"),
        format!("localhost/{id}%ff"),
        format!("localhost/{id}%zz"),
        format!("localhost/{id}."),
        format!("localhost/{}", "a".repeat(256)),
        "/a".to_owned(),
        format!("localhost:+8448/{id}"),
        format!("localhost:/{id}"),
        format!("localhost:8448/{id}"),
        format!("LOCALHOST/{id}"),
        format!("local_host/{id}"),
        format!("[::1/{id}"),
        format!("elsewhere.example/{id}"),
    ] {
        let answer = alice.get(format!("/_matrix/client/v1/media/download/{path}")).await;
        assert_eq!(answer.error(), not_found(), "{path}");
    }
}

#[tokio::test]
async fn an_encoded_path_is_the_same_path() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let answer = alice.get(paths::download(&mxc).replace("localhost", "%6cocalhost")).await;

    assert_eq!(answer.bytes(), "hello");
}

#[tokio::test]
async fn guests_download_what_others_uploaded() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest("visitor").await);
    let mxc = alice.upload("hello").await;

    assert_eq!(guest.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn wishes_that_change_nothing_here_are_allowed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let answer = alice.get(paths::download(&mxc) + "?timeout_ms=20000&allow_remote=false&allow_redirect=true").await;

    assert_eq!(answer.bytes(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_downloads_of_a_large_file_at_once_are_all_whole() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bytes = pattern(5_000_000);
    let mxc = alice.upload(bytes.clone()).await;

    let downloads = (0..16).map(|_| tokio::spawn(alice.get(paths::download(&mxc)).into_future())).collect::<Vec<_>>();

    for download in downloads {
        assert!(*download.await.unwrap().bytes() == bytes);
    }
}
