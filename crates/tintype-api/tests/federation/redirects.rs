//! Media that another server reads elsewhere: it is told where in the second part, and never redirected.

use tintype_testing::{Response, paths, pattern, pictures::png};

use super::{ask, pair};

/// The CDN is the server itself.
const CDN: &str = "blobs.redirect = 'federation'
    blobs.redirect_min_size = 1
    blobs.inline_size = 0
    blobs.cdn.base_url = 'https://theirs.localhost:{port}'
    blobs.cdn.secret = 'what this server and nobody else knows'";

fn download(id: impl std::fmt::Display) -> String {
    format!("/_matrix/federation/v1/media/download/{id}")
}

/// The head and the body of the second part.
fn second_part(answer: &Response) -> (String, String) {
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.content_length(), answer.bytes().len());
    let boundary = answer.header("content-type").strip_prefix("multipart/mixed; boundary=").expect("a boundary");
    let body = String::from_utf8_lossy(answer.bytes());
    let part = body.split(&format!("--{boundary}")).nth(2).expect("a second part");
    let (head, body) = part.split_once("\r\n\r\n").expect("an empty line");
    (head.trim().to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_server_reads_where_it_is_told_to_and_its_user_gets_what_ours_would() {
    let (_ours, theirs, alice, bob) = pair("", CDN).await;
    let body = pattern(300_000);
    let mxc = bob.upload(body.clone()).content_type("image/png").filename("фото & b.png").await;

    let answer = alice.get(paths::download(&mxc)).await;

    assert_eq!(theirs.metric("tintype_redirected_servers_total").await, 1);
    let original = bob.get(paths::download(&mxc)).await;
    assert_eq!((original.status(), answer.status()), (200, 200), "{answer:?}");
    assert!(*answer.bytes() == body);
    for name in ["content-type", "content-disposition"] {
        assert_eq!(answer.header(name), original.header(name));
    }
}

#[tokio::test]
async fn the_second_part_has_a_location_and_nothing_else_and_the_answer_is_no_redirect() {
    let (ours, theirs, _, bob) = pair("", CDN).await;
    let media = bob.upload(pattern(300_000)).await;
    let picture = bob.upload(png(640, 480)).await;
    let thumbnail = format!("/_matrix/federation/v1/media/thumbnail/{}?width=32&height=32", picture.media_id);
    // Made, and kept.
    assert!(second_part(&ask(&ours, &theirs, &thumbnail).await).0.contains("Content-Type: image/png"));
    let theirs = theirs.restart().await;

    for target in [download(&media.media_id), thumbnail] {
        let (head, body) = second_part(&ask(&ours, &theirs, &target).await);

        assert!(head.starts_with("Location: https://theirs.localhost:"), "{head}");
        assert_eq!((head.lines().count(), body.as_str()), (1, "\r\n"));
    }
}

#[tokio::test]
async fn ephemeral_media_is_given_to_a_server_by_ourselves() {
    let (ours, theirs, _, bob) = pair("", CDN).await;
    let path = format!("{}?org.matrix.msc4425.ephemeral=true", paths::UPLOAD);
    let mxc = bob.post(path).body("gone in a moment").await.mxc();

    let (_, body) = second_part(&ask(&ours, &theirs, &download(&mxc.media_id)).await);

    assert_eq!(body, "gone in a moment\r\n");
}
