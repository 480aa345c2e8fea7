//! Where a resumable request begins and ends: questions that cross its beginning, readers that nobody goes on for.

use std::time::Duration;

use tintype_testing::{Waiting, paths};

use super::{arriving, offset_of, reserved};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_however_soon_it_comes_after_the_beginning() {
    let (server, alice, ..) = reserved("").await;

    for _ in 0..50 {
        let mut asked = Vec::new();
        for _ in 0..8 {
            let (alice, mxc, mut upload) = (alice.clone(), alice.create().await, server.connect().await);
            asked.push(Waiting::new(async move {
                let (path, token) = (paths::put(&mxc), alice.token());
                let head = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
                upload.send(head + "Upload-Complete: ?1\r\nContent-Length: 10\r\n\r\nhell").await;
                alice.head(path).await
            }));
        }
        for answer in asked {
            let answer = answer.await;
            assert_eq!((answer.status(), answer.header("upload-complete")), (204, "?0"));
        }
    }
}

#[tokio::test]
async fn a_server_that_ends_does_not_hold_readers() {
    let (server, alice, bob, mxc) = reserved("http.drain_timeout = '1h'").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = bob.get(paths::download(&mxc)).open().await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    server.drain().await;

    assert_eq!(reading.aborted().await, "");
}

#[tokio::test]
async fn a_part_that_brings_nothing_gives_those_who_read_no_more_time() {
    let (server, alice, bob, mxc) = reserved("").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = bob.get(paths::download(&mxc)).open().await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    server.advance(Duration::from_secs(59));
    assert_eq!(alice.patch(&mxc, 4).incomplete().await.status(), 204);
    server.advance(Duration::from_secs(59));

    assert_eq!(reading.aborted().await, "");
}
