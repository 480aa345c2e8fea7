//! What a server says of its media, to be believed by browsers.

use tintype_testing::{Script, paths, pictures};

use super::{DOWNLOAD, MIXED, Scene, THUMBNAIL, good, two_parts};

const SIZE: &str = "width=96&height=96&method=scale";

fn labelled(head: &str, media: impl AsRef<[u8]>) -> Script {
    Script::response(200, MIXED, two_parts(head, media))
}

#[tokio::test]
async fn no_header_of_another_server_reaches_a_client_but_type_and_name() {
    let scene = Scene::new("").await;
    let evil = "Set-Cookie: a=b\r\nX-Evil: yes\r\nAccess-Control-Allow-Credentials: true\r\nRefresh: 0\r\n";
    let head = format!("{MIXED}{evil}");
    scene.peer.says(DOWNLOAD, Script::response(200, &head, two_parts(evil, "media")));

    let answer = scene.alice.get(paths::download(&scene.peer.mxc("evil"))).await;

    assert_eq!(answer.status(), 200);
    for name in ["set-cookie", "x-evil", "access-control-allow-credentials", "refresh"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").starts_with("sandbox;"));
}

#[tokio::test]
async fn what_a_browser_would_run_is_a_file_to_save() {
    let scene = Scene::new("").await;
    for (number, content_type) in
        ["text/html", "image/svg+xml", "application/javascript", "text/xml", "TEXT/HTML; charset=utf-7", "", "x"]
            .into_iter()
            .enumerate()
    {
        let head = format!("Content-Type: {content_type}\r\nContent-Disposition: inline; filename=\"a.html\"\r\n");
        scene.peer.says(DOWNLOAD, labelled(&head, "<script>alert(1)</script>"));

        for again in [false, true] {
            let answer = scene.alice.get(paths::download(&scene.peer.mxc(&format!("run{number}")))).await;
            let disposition = answer.header("content-disposition");
            assert!(disposition.starts_with("attachment"), "{content_type}, {again}: {disposition}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
}

#[tokio::test]
async fn a_type_or_a_name_beyond_reason_is_left_out() {
    let scene = Scene::new("").await;
    let long = "a".repeat(5_000);
    let head = format!("Content-Type: text/{long}\r\n");
    scene.peer.says(&format!("{DOWNLOAD}type"), labelled(&head, "media"));
    let head = format!("Content-Disposition: inline; filename=\"{long}\"\r\n");
    scene.peer.says(&format!("{DOWNLOAD}name"), labelled(&head, "media"));

    let answer = scene.alice.get(paths::download(&scene.peer.mxc("type"))).await;
    assert_eq!((answer.status(), answer.header("content-type")), (200, "application/octet-stream"));
    let answer = scene.alice.get(paths::download(&scene.peer.mxc("name"))).await;
    assert_eq!((answer.status(), answer.header("content-disposition")), (200, "attachment"));
    let huge = format!("Content-Disposition: inline; filename=\"{}\"\r\n", "a".repeat(10_000));
    scene.refuses(&[("10 KB", labelled(&huge, "media"))]).await;
}

#[tokio::test]
async fn a_name_cannot_leave_its_header() {
    let scene = Scene::new("").await;
    for (number, (given, expected)) in [
        (r#"filename="a\"; x=\"b""#, "; filename*=utf-8''a%22%3B%20x%3D%22b"),
        ("filename*=UTF-8''a%0D%0ASet-Cookie:%20b%3Dc", "; filename*=utf-8''a%0D%0ASet-Cookie%3A%20b%3Dc"),
        ("filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "; filename*=utf-8''..%2F..%2Fetc%2Fpasswd"),
        (r#"filename="../../etc/passwd""#, "; filename*=utf-8''..%2F..%2Fetc%2Fpasswd"),
        (r#"filename="C:\\a.exe""#, "; filename*=utf-8''C%3A%5Ca.exe"),
        ("filename*=UTF-8''%E2%80%AEgpj.exe", "; filename*=utf-8''%E2%80%AEgpj.exe"),
        ("filename=", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let head = format!("Content-Type: application/x-a\r\nContent-Disposition: inline; {given}\r\n");
        scene.peer.says(DOWNLOAD, labelled(&head, "media"));

        let answer = scene.alice.get(paths::download(&scene.peer.mxc(&format!("name{number}")))).await;

        assert_eq!(answer.status(), 200, "{given}");
        assert_eq!(answer.header("set-cookie"), "", "{given}");
        assert_eq!(answer.header("content-disposition"), format!("attachment{expected}"), "{given}");
    }
}

#[tokio::test]
async fn a_thumbnail_that_is_no_picture_is_made_here_from_the_media() {
    let scene = Scene::new("").await;
    scene.peer.says(DOWNLOAD, labelled("Content-Type: image/jpeg\r\n", pictures::jpeg(300, 200)));
    for (number, content_type) in
        ["text/html", "image/svg+xml", "", "image/x", "text/html, image/png"].iter().enumerate()
    {
        scene.peer.says(THUMBNAIL, labelled(&format!("Content-Type: {content_type}\r\n"), "<script>alert(1)</script>"));
        let mxc = scene.peer.mxc(&format!("thumbnail{number}"));

        for again in [false, true] {
            let answer = scene.alice.get(paths::thumbnail(&mxc, SIZE)).await;
            assert_eq!(
                (answer.status(), answer.header("content-type")),
                (200, "image/jpeg"),
                "{content_type}, {again}"
            );
            assert!(answer.bytes().starts_with(&[0xff, 0xd8]), "{content_type}, {again}");
        }
    }
}

#[tokio::test]
async fn a_thumbnail_of_what_is_no_picture_either_is_refused() {
    let scene = Scene::new("").await;
    scene.peer.says(DOWNLOAD, labelled("Content-Type: image/jpeg\r\n", "<script>alert(1)</script>"));
    scene.peer.says(THUMBNAIL, labelled("Content-Type: text/html\r\n", "<script>alert(1)</script>"));

    let answer = scene.alice.get(paths::thumbnail(&scene.peer.mxc("script"), SIZE)).await;

    assert_eq!(answer.error(), (400, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_thumbnail_that_breaks_off_is_made_here_from_the_media() {
    let scene = Scene::new("federation.idle_timeout = '300ms'\nlimits.max_remote_size = '200KiB'").await;
    scene.peer.says(DOWNLOAD, labelled("Content-Type: image/jpeg\r\n", pictures::jpeg(300, 200)));
    let piece = [super::FIRST.as_bytes(), b"Content-Type: image/jpeg\r\n\r\nmedia"].concat();
    let begun = Script::unfinished(200, MIXED, &[&piece]);
    for (name, script) in [
        ("cut", begun.clone().close()),
        ("stalled", begun.clone().stall()),
        ("packed", Script::response(200, &format!("{MIXED}Content-Encoding: gzip\r\n"), "")),
        ("refused", Script::error(500, "M_UNKNOWN")),
    ] {
        scene.peer.says(THUMBNAIL, script);

        let answer = scene.alice.get(paths::thumbnail(&scene.peer.mxc(name), SIZE)).await;

        assert_eq!((answer.status(), answer.header("content-type")), (200, "image/jpeg"), "{name}");
    }
}

#[tokio::test]
async fn a_thumbnail_that_never_ends_is_given_up() {
    let scene = Scene::new("limits.max_remote_size = '200KiB'").await;
    scene.peer.says(DOWNLOAD, good());
    let begin = [super::FIRST.as_bytes(), b"Content-Type: image/jpeg\r\n\r\n"].concat();
    scene.peer.says(THUMBNAIL, Script::unfinished(200, MIXED, &[&begin]).endless_chunks([b'x'; 4096]));

    let answer = scene.alice.get(paths::thumbnail(&scene.peer.mxc("endless"), SIZE)).await;

    assert_eq!(answer.error(), (502, "M_TOO_LARGE".to_owned()));
    scene.peer.is_left_alone().await;
    scene.ours.holds_nothing().await;
}
