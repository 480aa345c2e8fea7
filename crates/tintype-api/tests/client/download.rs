//! `GET` and `HEAD /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}]`
//!
//! Headers, conditions and ranges, which thumbnails have too, are tested in `tests/serve.rs`.

use tintype_testing::{TestServer, paths, pattern};

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
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
async fn nobody_learns_by_a_condition_what_a_token_would_be_needed_for() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let answer = server.anonymous().get(paths::download(&mxc)).header("if-none-match", "*").await;

    assert_eq!(answer.error(), (401, "M_MISSING_TOKEN".to_owned()));
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
        format!("LOCALHOST/{id}"),
        format!("local_host/{id}"),
        format!("[::1/{id}"),
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
