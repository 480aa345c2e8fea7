//! How far an upload is, and who may know.

use std::time::Duration;

use http::Method;
use tintype_testing::{TestServer, paths, until};

use super::{arriving, interrupted, is_stored, offset, offset_of, reserved};

const EXPIRED: Duration = Duration::from_millis(24 * 60 * 60 * 1000 + 1);

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

#[tokio::test]
async fn before_the_first_byte_the_offset_is_nothing() {
    let (_server, alice, _, mxc) = reserved("").await;

    let answer = alice.head(paths::put(&mxc)).await;

    assert_eq!((answer.status(), answer.header("upload-complete"), offset(&answer)), (204, "?0", 0));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("upload-length"), "");
    assert!(answer.header("upload-limit").contains("max-size="), "{}", answer.header("upload-limit"));
}

#[tokio::test]
async fn of_an_interrupted_upload_the_offset_is_what_has_arrived() {
    let (_server, alice, _, mxc) = reserved("").await;
    arriving(&alice, &mxc, 10, b"hell").await.break_off();

    for method in [Method::HEAD, Method::GET, Method::HEAD] {
        let answer = alice.request(method, paths::put(&mxc)).await;
        assert_eq!((answer.status(), answer.header("upload-complete"), offset(&answer)), (204, "?0", 4));
        assert_eq!((answer.header("upload-length"), answer.header("cache-control")), ("10", "no-store"));
        assert!(answer.header("upload-limit").contains("max-size="));
    }
}

#[tokio::test]
async fn a_length_that_was_announced_is_told() {
    let (_server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().header("upload-length", "100").body("hello").await;

    let answer = alice.head(paths::put(&mxc)).await;

    assert_eq!((offset(&answer), answer.header("upload-length")), (5, "100"));
}

#[tokio::test]
async fn of_a_stored_upload_the_offset_is_its_size() {
    let (_server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).body("hello").await;
    let posted = alice.upload("hello world").await;

    for (mxc, size) in [(&mxc, 5), (&posted, 11)] {
        let answer = alice.head(paths::put(mxc)).await;
        assert_eq!((answer.status(), answer.header("upload-complete"), offset(&answer)), (204, "?1", size));
    }
}

#[tokio::test]
async fn only_the_creator_asks_continues_and_cancels() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body("hel").await;

    assert_eq!(bob.head(paths::put(&mxc)).await.status(), 403);
    assert_eq!(bob.get(paths::put(&mxc)).await.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(bob.patch(&mxc, 3).complete().body("p").await.error(), (403, "M_FORBIDDEN".to_owned()));
    let cancel = bob.request(Method::DELETE, paths::put(&mxc)).await;
    assert_eq!(cancel.error(), (403, "M_FORBIDDEN".to_owned()));

    let last = alice.patch(&mxc, 3).complete().body("lo").await;
    is_stored(&last, &bob, &mxc, b"hello").await;
    assert_eq!(bob.get(paths::put(&mxc)).await.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn a_stranger_interrupts_nothing() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = arriving(&alice, &mxc, 10, b"hell").await;

    bob.head(paths::put(&mxc)).await;
    bob.patch(&mxc, 4).complete().body("!").await;
    bob.request(Method::DELETE, paths::put(&mxc)).await;
    upload.send("o hell").await;

    is_stored(&upload.finish().await, &bob, &mxc, b"hello hell").await;
}

#[tokio::test]
async fn nobody_asks_without_a_token_and_guests_neither() {
    let (server, _, _, mxc) = reserved("").await;
    let guest = server.guest("visitor").await;

    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let stranger = server.anonymous().request(method.clone(), paths::put(&mxc)).await;
        assert_eq!(stranger.error(), (401, "M_MISSING_TOKEN".to_owned()), "{method}");
        let visitor = guest.request(method.clone(), paths::put(&mxc)).await;
        assert_eq!(visitor.status() / 100, 4, "{method}");
    }
}

#[tokio::test]
async fn what_was_never_reserved_is_not_found() {
    let (_server, alice, ..) = reserved("").await;

    for path in ["localhost/missing", "elsewhere.example/a", "localhost/a%00"] {
        let path = format!("/_matrix/media/v3/upload/{path}");
        assert_eq!(alice.head(path.as_str()).await.status(), 404, "{path}");
        assert_eq!(alice.get(path.as_str()).await.error(), not_found(), "{path}");
        assert_eq!(alice.request(Method::DELETE, path.as_str()).await.error(), not_found(), "{path}");
        let partial = alice.request(Method::PATCH, path.as_str()).header("content-type", "application/partial-upload");
        let refusal = partial.header("upload-offset", "0").complete().body("hello").await;
        assert_eq!(refusal.error(), not_found(), "{path}");
    }
}

#[tokio::test]
async fn an_expired_upload_is_not_found() {
    let (server, alice, bob, mxc) = reserved("").await;
    interrupted(&alice, &mxc, 10, b"hell").await;

    server.advance(EXPIRED);

    assert_eq!(alice.head(paths::put(&mxc)).await.status(), 404);
    assert_eq!(alice.patch(&mxc, 4).complete().body("o hell").await.error(), not_found());
    assert_eq!(alice.request(Method::DELETE, paths::put(&mxc)).await.error(), not_found());
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn a_lost_answer_can_be_had_again() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).complete().body("hello").await;

    let replayed = alice.patch(&mxc, 5).complete().await;

    is_stored(&replayed, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn what_is_stored_is_never_continued() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).complete().body("hello").await;

    for refusal in [
        alice.patch(&mxc, 5).complete().body("!").await,
        alice.patch(&mxc, 5).incomplete().await,
        alice.patch(&mxc, 4).complete().await,
        alice.patch(&mxc, 0).complete().body("other").await,
        alice.put(&mxc).complete().body("other").await,
    ] {
        assert_eq!(refusal.error(), (409, "M_CANNOT_OVERWRITE_MEDIA".to_owned()));
        assert_eq!(refusal.header("upload-complete"), "?1");
    }
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn clients_learn_of_resumable_uploads_beforehand() {
    let (server, alice, _, mxc) = reserved("limits.max_upload_size = '1MiB'").await;

    for path in [paths::put(&mxc), paths::unstable_put(&mxc)] {
        for client in [&alice, &server.anonymous()] {
            let options = client.request(Method::OPTIONS, path.as_str()).await;
            assert_eq!(options.header("upload-limit"), "max-size=1048576");
        }
    }
}

async fn is_left_alone(server: &TestServer, method: Method) {
    let alice = server.user("alice").await;
    let mxc = alice.create().await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;

    let request = alice.request(method.clone(), paths::put(&mxc));
    let request = request.header("content-type", "application/partial-upload").header("upload-offset", "4");
    let refusal = request.complete().await;

    assert_eq!(refusal.status(), 409, "{method}");
    assert!(refusal.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{method}");
    upload.send("o hell").await;
    assert_eq!(upload.finish().await.status(), 200, "{method}");
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello hell");
}

#[tokio::test]
async fn a_plain_upload_is_left_alone() {
    let server = TestServer::unlimited("").await;

    for method in [Method::HEAD, Method::GET, Method::PATCH, Method::DELETE] {
        is_left_alone(&server, method).await;
    }
}

#[tokio::test]
async fn a_plain_upload_that_broke_off_has_left_nothing() {
    let (server, alice, _, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;

    upload.break_off();

    until("it is over", async || alice.head(paths::put(&mxc)).await.status() == 204).await;
    assert_eq!(offset_of(&alice, &mxc).await, 0);
    server.holds_nothing().await;
}
