//! Those who read an upload that is interrupted: they are held, and read on when it goes on.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, Receiving, paths, pattern};

use super::{arriving, interrupted, is_stored, offset_of, reserved};

const ALMOST_A_MINUTE: Duration = Duration::from_secs(59);

async fn open(user: &Client, mxc: &Mxc) -> Receiving {
    user.get(paths::download(mxc)).open().await
}

#[tokio::test]
async fn who_reads_an_interrupted_upload_gets_the_rest_when_it_goes_on() {
    for length in [10, 200_000, 3_000_000] {
        let (_server, alice, bob, mxc) = reserved("").await;
        let bytes = pattern(length);
        let (start, rest) = bytes.split_at(length / 2);
        let upload = arriving(&alice, &mxc, length, start).await;
        let mut reading = open(&bob, &mxc).await;
        assert!(reading.bytes(start.len()).await == start);
        let slow = open(&bob, &mxc).await;
        upload.break_off();
        assert_eq!(offset_of(&alice, &mxc).await, i64::try_from(start.len()).unwrap());

        let mut patch = alice.patch(&mxc, start.len()).complete().feed(rest.len()).await;
        patch.send(&rest[..1]).await;
        assert!(reading.bytes(1).await == rest[..1]);
        patch.send(&rest[1..]).await;

        is_stored(&patch.finish().await, &bob, &mxc, &bytes).await;
        assert!(reading.whole().await == rest[1..]);
        assert!(slow.whole().await == bytes);
    }
}

#[tokio::test]
async fn without_a_length_those_who_read_are_held_too() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).complete().feed_chunked().await;
    upload.send("hell").await;
    let mut reading = open(&bob, &mxc).await;
    assert_eq!(reading.bytes(4).await, "hell");
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    alice.patch(&mxc, 4).complete().body("o").await;

    assert_eq!(reading.whole().await, "o");
}

#[tokio::test]
async fn between_the_parts_of_an_upload_those_who_read_are_held() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut put = alice.put(&mxc).incomplete().feed(4).await;
    put.send("he").await;
    let mut reading = open(&bob, &mxc).await;
    put.send("ll").await;
    assert_eq!(put.finish().await.status(), 201);
    assert_eq!(reading.bytes(4).await, "hell");

    alice.patch(&mxc, 4).incomplete().body("o").await;
    assert_eq!(reading.bytes(1).await, "o");
    alice.patch(&mxc, 5).complete().await;

    assert_eq!(reading.whole().await, "");
}

#[tokio::test]
async fn who_comes_while_it_is_interrupted_gets_all_of_it_when_it_goes_on() {
    let (_server, alice, bob, mxc) = reserved("").await;
    interrupted(&alice, &mxc, 10, b"hell").await;

    let reading = tintype_testing::Waiting::new(bob.get(paths::download(&mxc)).into_future());
    let last = alice.patch(&mxc, 4).complete().body("o hell").await;

    is_stored(&last, &bob, &mxc, b"hello hell").await;
    assert_eq!(reading.await.bytes(), "hello hell");
}

#[tokio::test]
async fn who_reads_is_not_held_for_ever() {
    let (server, alice, bob, mxc) = reserved("").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = open(&bob, &mxc).await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    server.advance(Duration::from_mins(1));

    assert_eq!(reading.aborted().await, "");
    // The upload itself goes on as before.
    let last = alice.patch(&mxc, 4).complete().body("o hell").await;
    is_stored(&last, &bob, &mxc, b"hello hell").await;
}

#[tokio::test]
async fn each_step_of_the_upload_gives_those_who_read_more_time() {
    let (server, alice, bob, mxc) = reserved("").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = open(&bob, &mxc).await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    for at in 4..9 {
        server.advance(ALMOST_A_MINUTE);
        assert_eq!(alice.patch(&mxc, at).incomplete().body("x").await.status(), 204);
        assert_eq!(reading.bytes(1).await, "x");
    }
    server.advance(ALMOST_A_MINUTE);
    assert_eq!(alice.patch(&mxc, 9).complete().body("!").await.status(), 200);

    assert_eq!(reading.whole().await, "!");
}

#[tokio::test]
async fn questions_give_those_who_read_no_more_time() {
    let (server, alice, bob, mxc) = reserved("").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = open(&bob, &mxc).await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    server.advance(ALMOST_A_MINUTE);
    assert_eq!(offset_of(&alice, &mxc).await, 4);
    assert_eq!(alice.patch(&mxc, 3).incomplete().body("l").await.status(), 409);
    server.advance(ALMOST_A_MINUTE);

    assert_eq!(reading.aborted().await, "");
}

#[tokio::test]
async fn the_operator_decides_how_long_readers_are_held() {
    let (server, alice, bob, mxc) = reserved("limits.max_wait = '5s'").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = open(&bob, &mxc).await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    server.advance(Duration::from_secs(5));

    assert_eq!(reading.aborted().await, "");
}

#[tokio::test]
async fn a_new_put_aborts_those_who_read_the_old_one() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    let mut reading = open(&bob, &mxc).await;
    reading.bytes(4).await;
    upload.break_off();
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    assert_eq!(alice.put(&mxc).body("something else").await.status(), 200);

    assert_eq!(reading.aborted().await, "");
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "something else");
}
