//! `GET` and `HEAD /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`

use tintype_testing::{
    Client, Response, TestServer, paths, pattern,
    pictures::{jpeg, look, png},
};

const MADE: &str = "tintype_thumbnails_made_total";

fn unknown() -> (u16, String) {
    (400, "M_UNKNOWN".to_owned())
}

/// A thumbnail that is not the original: 320 by 240.
const SIZE: &str = "width=320&height=240&method=scale";

#[tokio::test]
async fn the_standard_sizes_are_made_as_they_are_asked_for() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(jpeg(1000, 500)).content_type("image/jpeg").await;

    // `scale` keeps the aspect and covers the size; `crop` has the size.
    for (query, width, height) in [
        ("width=32&height=32&method=crop", 32, 32),
        ("width=96&height=96&method=crop", 96, 96),
        ("width=320&height=240&method=scale", 480, 240),
        ("width=640&height=480&method=scale", 960, 480),
        ("width=800&height=600&method=scale", 1000, 500),
        ("width=100&height=200&method=crop", 100, 200),
        ("width=500&height=100", 500, 250),
    ] {
        let answer = alice.get(paths::thumbnail(&mxc, query)).await;
        assert_eq!(answer.status(), 200, "{query}");
        assert_eq!(look(answer.bytes()), ("jpeg", width, height), "{query}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_shown_under_a_name_and_a_type_of_its_own() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for (picture, content_type, name) in
        [(png(800, 600), "image/png", "thumbnail.png"), (jpeg(800, 600), "image/jpeg", "thumbnail.jpeg")]
    {
        let mxc = alice.upload(picture).content_type("application/octet-stream").filename("secret.bin").await;
        let answer = alice.get(paths::thumbnail(&mxc, SIZE)).await;
        assert_eq!(answer.header("content-type"), content_type);
        assert_eq!(answer.header("content-disposition"), format!("inline; filename=\"{name}\""));
    }
}

#[tokio::test]
async fn a_thumbnail_is_disarmed_like_a_download() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(800, 600)).await;

    let answer = alice.get(paths::thumbnail(&mxc, SIZE)).await;

    assert!(answer.header("content-security-policy").starts_with("sandbox; default-src 'none';"));
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("cache-control").contains("private"));
}

#[tokio::test]
async fn a_small_picture_is_its_own_thumbnail_with_the_type_that_it_has() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let original = png(64, 48);
    let mxc = alice.upload(original.clone()).content_type("text/html").filename("a.html").await;

    let answer = alice.get(paths::thumbnail(&mxc, SIZE)).await;

    assert_eq!(*answer.bytes(), original);
    assert_eq!(answer.header("content-type"), "image/png");
    assert_eq!(answer.header("content-disposition"), "inline; filename=\"thumbnail.png\"");
}

#[tokio::test]
async fn width_and_height_are_needed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;

    for query in ["", "width=32", "height=32", "method=crop", "Width=32&Height=32"] {
        let answer = alice.get(paths::thumbnail(&mxc, query)).await;
        assert_eq!(answer.error(), (400, "M_MISSING_PARAM".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn sizes_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;

    for width in ["0", "-1", "%2B5", "1.5", "0x20", "wide", "", "%20", "4294967296", "99999999999999999999999"] {
        let answer = alice.get(paths::thumbnail(&mxc, format!("width={width}&height=32"))).await;
        assert_eq!(answer.error(), unknown(), "{width}");
    }
}

#[tokio::test]
async fn an_enormous_size_is_answered_with_what_there_is() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;

    for method in ["scale", "crop"] {
        let query = format!("width=4294967295&height=4294967295&method={method}");
        let answer = alice.get(paths::thumbnail(&mxc, query)).await;
        assert_eq!((answer.status(), look(answer.bytes())), (200, ("png", 64, 48)), "{method}");
    }
}

#[tokio::test]
async fn there_are_two_methods() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;

    let answer = alice.get(paths::thumbnail(&mxc, "width=32&height=32&method=stretch")).await;

    assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[tokio::test]
async fn animated_is_a_wish() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(800, 600)).await;

    for animated in ["true", "false"] {
        let answer = alice.get(paths::thumbnail(&mxc, format!("{SIZE}&animated={animated}&timeout_ms=0"))).await;
        assert_eq!((answer.status(), look(answer.bytes())), (200, ("png", 320, 240)), "{animated}");
    }
}

#[tokio::test]
async fn what_is_no_picture_has_no_thumbnail() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let whole = png(800, 600);
    let bodies: [Vec<u8>; 5] = [
        Vec::new(),
        b"hello".to_vec(),
        pattern(200_000),
        whole[..whole.len() / 2].to_vec(),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>".to_vec(),
    ];
    for body in bodies {
        let length = body.len();
        let mxc = alice.upload(body).content_type("image/png").await;
        assert_eq!(alice.get(paths::thumbnail(&mxc, SIZE)).await.error(), unknown(), "{length} bytes");
    }
}

#[tokio::test]
async fn a_picture_with_too_many_pixels_is_not_decoded() {
    let server = TestServer::with("thumbnails.max_pixels = 480000").await;
    let alice = server.user("alice").await;
    let (allowed, refused) = (alice.upload(png(800, 600)).await, alice.upload(png(801, 600)).await);

    assert_eq!(alice.get(paths::thumbnail(&allowed, SIZE)).await.status(), 200);
    assert_eq!(alice.get(paths::thumbnail(&refused, SIZE)).await.error(), (413, "M_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_file_with_too_many_bytes_is_not_decoded() {
    let picture = jpeg(800, 600);
    let server = TestServer::with(&format!("thumbnails.max_source_size = {}", picture.len() - 1)).await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(picture).await;

    assert_eq!(alice.get(paths::thumbnail(&mxc, SIZE)).await.error(), (413, "M_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_thumbnail_of_nothing_is_not_found() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for path in ["localhost/missing", "LOCALHOST/missing", "localhost/%2e%2e", "localhost:+1/missing"] {
        let answer = alice.get(format!("/_matrix/client/v1/media/thumbnail/{path}?{SIZE}")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn guests_see_thumbnails_and_strangers_do_not() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest("visitor").await);
    let mxc = alice.upload(png(800, 600)).await;

    assert_eq!(guest.get(paths::thumbnail(&mxc, SIZE)).await.status(), 200);
    assert_eq!(server.anonymous().get(paths::thumbnail(&mxc, SIZE)).await.error().0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_made_once_for_all_who_ask() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(jpeg(2000, 1500)).await;

    let requests = (0..20).map(|_| tokio::spawn(alice.get(paths::thumbnail(&mxc, SIZE)).into_future()));
    let mut answers = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        answers.push(request.await.unwrap());
    }

    assert!(answers.iter().all(|answer| answer.status() == 200 && answer.bytes() == answers[0].bytes()));
    assert_eq!(server.metric(MADE).await, 1);
}

#[tokio::test]
async fn a_thumbnail_that_was_made_is_kept() {
    // One that lies beside its record, and one that lies in a file.
    for size in ["width=320&height=240", "width=1600&height=1200"] {
        let server = TestServer::start().await;
        let alice = server.user("alice").await;
        let mxc = alice.upload(jpeg(2000, 1500)).await;
        let before = alice.get(paths::thumbnail(&mxc, size)).await;

        let server = server.restart().await;
        let after = alice.get(paths::thumbnail(&mxc, size)).await;

        assert_eq!(before.bytes(), after.bytes());
        assert_eq!(before.header("etag"), after.header("etag"));
        assert_eq!(server.metric(MADE).await, 0);
    }
}

#[tokio::test]
async fn that_a_picture_is_its_own_thumbnail_is_kept() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;
    alice.get(paths::thumbnail(&mxc, SIZE)).await;

    let server = server.restart().await;
    let after = alice.get(paths::thumbnail(&mxc, SIZE)).await;

    assert_eq!(*after.bytes(), png(64, 48));
    assert_eq!(server.metric(MADE).await, 0);
}

#[tokio::test]
async fn the_same_picture_has_the_same_thumbnail_everywhere() {
    let (first, second) = (TestServer::start().await, TestServer::start().await);

    let mut thumbnails = Vec::new();
    for server in [&first, &second] {
        let alice = server.user("alice").await;
        let mxc = alice.upload(jpeg(1000, 700)).await;
        thumbnails.push(alice.get(paths::thumbnail(&mxc, SIZE)).await);
    }

    assert_eq!(thumbnails[0].bytes(), thumbnails[1].bytes());
}

#[tokio::test]
async fn only_so_many_sizes_of_a_picture_are_kept() {
    let server = TestServer::with("thumbnails.max_sizes_per_media = 2").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(800, 600)).await;
    let size = |width| paths::thumbnail(&mxc, format!("width={width}&height=10&method=crop"));
    for width in [10, 20, 30, 40] {
        assert_eq!(look(alice.get(size(width)).await.bytes()), ("png", width, 10));
    }

    let server = server.restart().await;
    for width in [10, 20, 30, 40] {
        assert_eq!(look(alice.get(size(width)).await.bytes()), ("png", width, 10));
    }

    assert_eq!(server.metric(MADE).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_too_many_wait_is_asked_to_come_back() {
    let server = TestServer::with("thumbnails = { threads = 1, queue = 1 }").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(jpeg(3000, 2000)).await;

    let size = |width| paths::thumbnail(&mxc, format!("width={width}&height=400&method=crop"));
    let requests = (300..330).map(|width| tokio::spawn(alice.get(size(width)).into_future()));
    let mut refused = Vec::new();
    let mut made = 0;
    for request in requests.collect::<Vec<_>>() {
        let answer = request.await.unwrap();
        if answer.status() == 200 { made += 1 } else { refused.push(answer) }
    }

    assert!(made > 0);
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|answer| answer.error() == (429, "M_LIMIT_EXCEEDED".to_owned())));
    assert!(refused.iter().all(|answer| answer.header("retry-after").parse::<u32>().unwrap() > 0));
    assert_eq!(server.metric("tintype_thumbnails_refused_total").await, refused.len() as u64);
    assert_eq!(alice.get(size(300)).await.status(), 200);
}

/// Thumbnails that lie in memory after they were made, in the database, and in a file.
async fn thumbnails_of_all_kinds(server: TestServer, alice: &Client) -> (TestServer, Vec<(String, Response)>) {
    let mxc = alice.upload(jpeg(2000, 1500)).await;
    let (small, large) =
        (paths::thumbnail(&mxc, "width=320&height=240"), paths::thumbnail(&mxc, "width=1600&height=1200"));
    alice.get(small.as_str()).await;
    let server = server.restart().await;
    let fresh = paths::thumbnail(&mxc, "width=640&height=480");
    alice.get(large.as_str()).await;
    let server = server.restart().await;
    let mut thumbnails = Vec::new();
    for path in [small, large, fresh] {
        let whole = alice.get(path.as_str()).await;
        thumbnails.push((path, whole));
    }
    (server, thumbnails)
}

#[tokio::test]
async fn thumbnails_have_ranges_conditions_and_head_like_downloads() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (_server, thumbnails) = thumbnails_of_all_kinds(server, &alice).await;

    for (path, whole) in &thumbnails {
        let length = whole.bytes().len();
        let (path, etag) = (path.as_str(), whole.header("etag"));

        let head = alice.head(path).await;
        assert_eq!((head.status(), head.content_length(), head.bytes().len()), (200, length, 0));
        assert_eq!(head.header("content-type"), "image/jpeg");
        let part = alice.get(path).header("range", "bytes=100-199").header("if-range", etag).await;
        assert_eq!((part.status(), part.header("content-range")), (206, &*format!("bytes 100-199/{length}")));
        assert_eq!(part.bytes()[..], whole.bytes()[100..200]);
        let parts = alice.get(path).header("range", "bytes=0-0,-1").await;
        assert!(parts.header("content-type").starts_with("multipart/byteranges; boundary="));
        let beyond = alice.get(path).header("range", format!("bytes={length}-")).await;
        assert_eq!((beyond.status(), beyond.header("content-range")), (416, &*format!("bytes */{length}")));
        let same = alice.get(path).header("if-none-match", etag).await;
        assert_eq!((same.status(), same.bytes().len()), (304, 0));
        assert_eq!(alice.get(path).header("if-match", "\"other\"").await.status(), 412);
    }
}
