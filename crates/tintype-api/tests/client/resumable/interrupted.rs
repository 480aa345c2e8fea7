//! Uploads that break off, hang, or outlive the server, and go on.

use std::time::Duration;

use http::Method;
use tintype_testing::{Sending, Waiting, paths, pattern, until};

use super::{arriving, interrupted, is_free, is_stored, offset, offset_of, reserved};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was() {
    for length in [10, 200_000, 3 * MIB] {
        let (_server, alice, bob, mxc) = reserved("").await;
        let bytes = pattern(length);
        interrupted(&alice, &mxc, length, &bytes[..length / 2]).await;

        let last = alice.patch(&mxc, length / 2).complete().body(bytes[length / 2..].to_vec()).await;

        is_stored(&last, &bob, &mxc, &bytes).await;
    }
}

#[tokio::test]
async fn it_may_break_off_again_and_again() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let bytes = pattern(MIB);
    interrupted(&alice, &mxc, MIB, &bytes[..100_000]).await;

    for at in [100_000, 200_000, 300_000] {
        let mut patch = alice.patch(&mxc, at).complete().feed(MIB - at).await;
        patch.send(&bytes[at..at + 100_000]).await;
        let mut reader = bob.get(paths::download(&mxc)).open().await;
        assert!(reader.bytes(at + 100_000).await == bytes[..at + 100_000]);
        patch.break_off();
        assert_eq!(offset_of(&alice, &mxc).await, i64::try_from(at + 100_000).unwrap());
    }

    let last = alice.patch(&mxc, 400_000).complete().body(bytes[400_000..].to_vec()).await;
    is_stored(&last, &bob, &mxc, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_however_soon_it_comes_after_the_interruption() {
    let (_server, alice, ..) = reserved("").await;

    for _ in 0..50 {
        let mut asked = Vec::new();
        for _ in 0..8 {
            let (alice, mxc) = (alice.clone(), alice.create().await);
            asked.push(Waiting::new(async move {
                arriving(&alice, &mxc, 10, b"hell").await.break_off();
                alice.head(paths::put(&mxc)).await
            }));
        }
        for answer in asked {
            let answer = answer.await;
            assert_eq!((answer.status(), offset(&answer)), (204, 4));
        }
    }
}

#[tokio::test]
async fn without_a_length_it_goes_on_too() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).complete().feed_chunked().await;
    upload.send("hell").await;
    bob.get(paths::download(&mxc)).open().await.bytes(4).await;
    upload.break_off();

    let asked = alice.head(paths::put(&mxc)).await;
    let last = alice.patch(&mxc, 4).complete().body("o").await;

    assert_eq!((offset(&asked), asked.header("upload-length")), (4, ""));
    is_stored(&last, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn an_upload_that_stops_arriving_is_kept_and_goes_on() {
    let (_server, alice, bob, mxc) = reserved("http.body_idle_timeout = '100ms'").await;
    let bytes = pattern(MIB);
    let mut upload = alice.put(&mxc).complete().feed(MIB).await;
    upload.send(&bytes[..500_000]).await;

    assert_eq!(upload.response().await.error(), (408, "M_UNKNOWN".to_owned()));
    assert_eq!(offset_of(&alice, &mxc).await, 500_000);

    let last = alice.patch(&mxc, 500_000).complete().body(bytes[500_000..].to_vec()).await;
    is_stored(&last, &bob, &mxc, &bytes).await;
}

/// Checks that a request that hangs gives way, and was not taken for finished.
async fn gives_way(upload: Sending) {
    let answer = upload.answer_or_end().await;
    assert!(answer.as_ref().is_none_or(|answer| answer.status() >= 400), "{answer:?}");
}

#[tokio::test]
async fn a_request_that_hangs_gives_way_to_the_question_how_far_it_is() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let hanging = arriving(&alice, &mxc, 10, b"hell").await;

    assert_eq!(offset_of(&alice, &mxc).await, 4);

    gives_way(hanging).await;
    let last = alice.patch(&mxc, 4).complete().body("o hell").await;
    is_stored(&last, &bob, &mxc, b"hello hell").await;
}

#[tokio::test]
async fn a_request_that_hangs_gives_way_to_the_next() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let put = arriving(&alice, &mxc, 10, b"hell").await;

    let mut patch = alice.patch(&mxc, 4).complete().feed(6).await;
    gives_way(put).await;
    patch.send("o h").await;
    bob.get(paths::download(&mxc)).open().await.bytes(7).await;
    let last = alice.patch(&mxc, 7).complete().body("ell").await;

    gives_way(patch).await;
    is_stored(&last, &bob, &mxc, b"hello hell").await;
}

#[tokio::test]
async fn what_a_request_sends_after_it_gave_way_is_not_taken() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut hanging = arriving(&alice, &mxc, 10, b"hell").await;
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    hanging.send("stale!").await;
    gives_way(hanging).await;

    assert_eq!(offset_of(&alice, &mxc).await, 4);
    let last = alice.patch(&mxc, 4).complete().body("o hell").await;
    is_stored(&last, &bob, &mxc, b"hello hell").await;
}

#[tokio::test]
async fn a_hanging_upload_may_be_started_anew() {
    let (_server, alice, bob, mxc) = reserved("").await;
    arriving(&alice, &mxc, 10, b"hell").await.break_off();
    // As soon as the server knows that it broke off.
    assert_eq!(offset_of(&alice, &mxc).await, 4);

    let anew = alice.put(&mxc).complete().body("something else").await;

    is_stored(&anew, &bob, &mxc, b"something else").await;
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    for length in [10, 200_000, 3 * MIB] {
        let (server, alice, bob, mxc) = reserved("").await;
        let bytes = pattern(length);
        let half = length / 2;
        interrupted(&alice, &mxc, length, &bytes[..half]).await;

        let _server = server.restart().await;

        let asked = alice.head(paths::put(&mxc)).await;
        assert_eq!((asked.status(), offset(&asked)), (204, i64::try_from(half).unwrap()));
        assert_eq!(asked.header("upload-length"), length.to_string());
        let last = alice.patch(&mxc, half).complete().body(bytes[half..].to_vec()).await;
        is_stored(&last, &bob, &mxc, &bytes).await;
    }
}

#[tokio::test]
async fn a_part_that_was_acknowledged_is_there_after_a_restart() {
    let (server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body(pattern(MIB)).await;
    alice.patch(&mxc, MIB).incomplete().body("more").await;

    let _server = server.restart().await;

    let last = alice.patch(&mxc, MIB + 4).complete().await;
    is_stored(&last, &bob, &mxc, &[&pattern(MIB)[..], b"more"].concat()).await;
}

#[tokio::test]
async fn a_new_put_after_a_restart_drops_what_was_there() {
    let (server, alice, bob, mxc) = reserved("").await;
    interrupted(&alice, &mxc, 2 * MIB, &pattern(MIB)).await;

    let server = server.restart().await;
    let anew = alice.put(&mxc).body("anew").await;

    assert_eq!(anew.status(), 200);
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "anew");
    server.holds_nothing().await;
}

#[tokio::test]
async fn what_is_not_continued_in_time_is_removed_from_the_disk() {
    let (server, alice, _, mxc) = reserved("").await;
    let second = alice.create().await;
    interrupted(&alice, &mxc, 2 * MIB, &pattern(MIB)).await;
    alice.put(&second).incomplete().body(pattern(MIB)).await;
    assert_eq!(server.partial_uploads().len(), 2);

    server.advance(Duration::from_hours(24));
    server.advance(Duration::from_mins(2));

    until("it is swept", async || server.metric("tintype_reservations_expired_total").await == 2).await;
    server.holds_nothing().await;
}

#[tokio::test]
async fn an_upload_that_is_under_way_when_its_reservation_expires_may_finish() {
    let (server, alice, bob, mxc) = reserved("").await;
    interrupted(&alice, &mxc, 10, b"hell").await;
    let mut patch = alice.patch(&mxc, 4).complete().feed(6).await;
    patch.send("o ").await;

    server.advance(Duration::from_hours(25));
    patch.send("hell").await;

    is_stored(&patch.finish().await, &bob, &mxc, b"hello hell").await;
}

#[tokio::test]
async fn what_breaks_off_after_its_reservation_expired_is_dropped() {
    let (server, alice, _, mxc) = reserved("").await;
    let upload = arriving(&alice, &mxc, 10, b"hell").await;
    server.advance(Duration::from_hours(25));

    upload.break_off();

    until("it is expired", async || alice.head(paths::put(&mxc)).await.status() == 404).await;
    server.advance(Duration::from_mins(2));
    server.holds_nothing().await;
}

#[tokio::test]
async fn what_expired_while_the_server_was_down_is_removed_too() {
    let (server, alice, _, mxc) = reserved("").await;
    interrupted(&alice, &mxc, 2 * MIB, &pattern(MIB)).await;

    server.advance(Duration::from_hours(25));
    let server = server.restart().await;
    server.advance(Duration::from_mins(2));

    server.holds_nothing().await;
    assert_eq!(alice.head(paths::put(&mxc)).await.status(), 404);
}

#[tokio::test]
async fn a_sweep_leaves_what_can_still_be_continued() {
    let (server, alice, bob, mxc) = reserved("").await;
    interrupted(&alice, &mxc, MIB + 4, &pattern(MIB)).await;
    let fleeting = alice.create().await;

    server.advance(Duration::from_hours(23));
    let later = alice.create().await;
    alice.put(&later).incomplete().body(pattern(MIB)).await;
    let last = alice.patch(&mxc, MIB).complete().body("more").await;
    server.advance(Duration::from_hours(2));
    until("it is swept", async || server.metric("tintype_reservations_expired_total").await == 1).await;

    is_stored(&last, &bob, &mxc, &[&pattern(MIB)[..], b"more"].concat()).await;
    assert_eq!(alice.head(paths::put(&fleeting)).await.status(), 404);
    assert_eq!(offset_of(&alice, &later).await, i64::try_from(MIB).unwrap());
}

#[tokio::test]
async fn a_hanging_request_is_cut_by_a_cancellation() {
    let (server, alice, _, mxc) = reserved("").await;
    let hanging = arriving(&alice, &mxc, 10, b"hell").await;

    let cancelled = alice.request(Method::DELETE, paths::put(&mxc)).await;

    assert_eq!(cancelled.status(), 204);
    gives_way(hanging).await;
    is_free(&server, &alice, &mxc).await;
}
