//! Downloads and thumbnails of media that is reserved and not uploaded yet.
//!
//! Here nothing is streamed: that has tests of its own in `tests/client/streaming.rs`. That no wake-up is lost is shown
//! in `tests/races.rs`.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, Response, TestServer, Waiting, paths, pattern, pictures::png, until};

const DAY: Duration = Duration::from_hours(24);

const SIZE: &str = "width=32&height=32&method=crop";

fn not_yet_uploaded() -> (u16, String) {
    (504, "M_NOT_YET_UPLOADED".to_owned())
}

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

/// A server, a reservation, and two users of whom the first made it.
async fn reserved(config: &str) -> (TestServer, Client, Client, Mxc) {
    let server = TestServer::unlimited(config).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.create().await;
    (server, alice, bob, mxc)
}

/// A download that waits.
async fn waits(server: &TestServer, user: &Client, mxc: &Mxc, query: &str) -> Waiting<Response> {
    server.waiting(user.get(paths::download(mxc) + query)).await
}

/// Waits until only so many downloads wait.
async fn only_wait(server: &TestServer, count: u64) {
    until("the others have been answered", async || server.waiting_downloads().await == count).await;
}

#[tokio::test]
async fn a_download_waits_for_its_upload() {
    let (server, alice, bob, mxc) = reserved("").await;
    let waiting = waits(&server, &bob, &mxc, "").await;

    alice.put(&mxc).header("content-type", "text/plain").body("hello").await;

    let answer = waiting.await;
    assert_eq!((answer.status(), answer.bytes()), (200, &"hello".into()));
    assert_eq!(answer.header("content-type"), "text/plain");
    only_wait(&server, 0).await;
}

#[tokio::test]
async fn a_large_upload_ends_the_waiting_too() {
    let (server, alice, bob, mxc) = reserved("async.stream = false").await;
    let waiting = waits(&server, &bob, &mxc, "").await;

    alice.put(&mxc).body(pattern(3_000_000)).await;

    assert!(*waiting.await.bytes() == pattern(3_000_000));
}

#[tokio::test]
async fn a_thumbnail_waits_for_its_upload() {
    let (server, alice, bob, mxc) = reserved("").await;
    let waiting = server.waiting(bob.get(paths::thumbnail(&mxc, SIZE))).await;

    alice.put(&mxc).header("content-type", "image/png").body(png(64, 48)).await;

    let answer = waiting.await;
    assert_eq!((answer.status(), answer.header("content-type")), (200, "image/png"));
}

#[tokio::test]
async fn head_waits_as_get_does() {
    let (server, alice, bob, mxc) = reserved("").await;
    let download = server.waiting(bob.head(paths::download(&mxc))).await;
    let thumbnail = server.waiting(bob.head(paths::thumbnail(&mxc, SIZE))).await;

    alice.put(&mxc).header("content-type", "image/png").body(png(64, 48)).await;

    assert_eq!(download.await.status(), 200);
    assert_eq!(thumbnail.await.status(), 200);
}

#[tokio::test]
async fn all_who_wait_are_woken() {
    let (server, alice, bob, mxc) = reserved("").await;
    let guest = server.guest("visitor").await;
    let mut waiting = Vec::new();
    for user in [&alice, &bob, &guest, &bob] {
        waiting.push(waits(&server, user, &mxc, "").await);
    }

    alice.put(&mxc).body("hello").await;

    for answer in waiting {
        assert_eq!(answer.await.bytes(), "hello");
    }
    only_wait(&server, 0).await;
}

#[tokio::test]
async fn an_upload_wakes_those_who_wait_for_it_and_nobody_else() {
    let (server, alice, bob, mxc) = reserved("").await;
    let other = alice.create().await;
    let (first, second) = (waits(&server, &bob, &mxc, "").await, waits(&server, &bob, &other, "").await);

    alice.put(&mxc).body("first").await;
    assert_eq!(first.await.bytes(), "first");
    only_wait(&server, 1).await;

    alice.put(&other).body("second").await;
    assert_eq!(second.await.bytes(), "second");
}

#[tokio::test]
async fn what_is_stored_is_served_at_once() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).body("hello").await;

    for query in ["", "?timeout_ms=0", "?timeout_ms=60000", "?fi.mau.msc2246.timeout_ms=0"] {
        assert_eq!(bob.get(paths::download(&mxc) + query).await.bytes(), "hello", "{query}");
    }
}

#[tokio::test]
async fn what_was_never_reserved_is_not_found_at_once() {
    let (server, _, bob, mxc) = reserved("").await;

    for path in [
        "/_matrix/client/v1/media/download/localhost/missing".to_owned(),
        paths::download(&mxc).replace("localhost", "LOCALHOST"),
    ] {
        assert_eq!(bob.get(path).await.error(), not_found());
    }
    assert_eq!(server.waiting_downloads().await, 0);
}

#[tokio::test]
async fn nobody_waits_without_a_token() {
    let (server, _, _, mxc) = reserved("").await;

    for path in [paths::download(&mxc), paths::thumbnail(&mxc, SIZE)] {
        assert_eq!(server.anonymous().get(path).await.error(), (401, "M_MISSING_TOKEN".to_owned()));
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_does_not_wait() {
    let (_server, _, bob, mxc) = reserved("").await;

    let thumbnail = bob.get(paths::thumbnail(&mxc, "width=32")).await;
    let name = bob.get(paths::download(&mxc) + "/%ff").await;

    assert_eq!(thumbnail.error(), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(name.error(), (400, "M_INVALID_PARAM".to_owned()));
}

/// Checks that a download with this query waits for so long and not a millisecond less.
async fn waits_for(config: &str, query: &str, millis: u64) {
    let (server, _, bob, mxc) = reserved(config).await;
    // The witness: when it has its answer, the time before has passed for all.
    let witness = waits(&server, &bob, &mxc, &format!("?timeout_ms={}", millis - 1)).await;
    let waiting = waits(&server, &bob, &mxc, query).await;

    server.advance(Duration::from_millis(millis - 1));
    assert_eq!(witness.await.error(), not_yet_uploaded());
    only_wait(&server, 1).await;

    server.advance(Duration::from_millis(1));
    assert_eq!(waiting.await.status(), 504);
    only_wait(&server, 0).await;
}

#[tokio::test]
async fn a_download_waits_for_twenty_seconds() {
    waits_for("", "", 20_000).await;
}

#[tokio::test]
async fn a_client_may_wait_for_less_or_more() {
    waits_for("", "?timeout_ms=5000", 5000).await;
    waits_for("", "?timeout_ms=45000", 45_000).await;
    waits_for("", "?fi.mau.msc2246.timeout_ms=45000", 45_000).await;
}

#[tokio::test]
async fn nobody_waits_for_longer_than_the_operator_allows() {
    waits_for("", "?timeout_ms=60001", 60_000).await;
    waits_for("", "?timeout_ms=9007199254740991", 60_000).await;
    waits_for("limits.max_wait = '10s'", "", 10_000).await;
    waits_for("limits.max_wait = '10s'", "?timeout_ms=20000", 10_000).await;
    waits_for("limits.max_wait = '5m'", "?timeout_ms=200000", 200_000).await;
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_answered_at_once() {
    let (_server, _, bob, mxc) = reserved("").await;

    for path in [paths::download(&mxc) + "?timeout_ms=0", paths::thumbnail(&mxc, SIZE) + "&timeout_ms=0"] {
        assert_eq!(bob.get(path).await.error(), not_yet_uploaded());
    }
}

#[tokio::test]
async fn the_unstable_parameter_has_the_unstable_error() {
    let (_server, _, bob, mxc) = reserved("").await;
    let unstable = (504, "FI.MAU.MSC2246_NOT_YET_UPLOADED".to_owned());

    for path in [
        paths::download(&mxc) + "?fi.mau.msc2246.timeout_ms=0",
        paths::thumbnail(&mxc, SIZE) + "&fi.mau.msc2246.timeout_ms=0",
    ] {
        assert_eq!(bob.get(path).await.error(), unstable);
    }
}

#[tokio::test]
async fn a_time_that_is_no_time_is_refused() {
    let (_server, _, bob, mxc) = reserved("").await;

    for time in ["-1", "soon", "1.5", "0x10", "", "20s", "%2020", "1e3"] {
        for name in ["timeout_ms", "fi.mau.msc2246.timeout_ms"] {
            let download = bob.get(format!("{}?{name}={time}", paths::download(&mxc))).await;
            let thumbnail = bob.get(format!("{}&{name}={time}", paths::thumbnail(&mxc, SIZE))).await;
            assert_eq!(download.error(), (400, "M_INVALID_PARAM".to_owned()), "{name}={time}");
            assert_eq!(thumbnail.error(), (400, "M_INVALID_PARAM".to_owned()), "{name}={time}");
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_what_is_expired() {
    let (server, _, bob, mxc) = reserved("").await;

    server.advance(DAY + Duration::from_millis(1));

    for path in [paths::download(&mxc), paths::thumbnail(&mxc, SIZE)] {
        assert_eq!(bob.get(path.as_str()).await.error(), not_found(), "{path}");
        assert_eq!(bob.head(path.as_str()).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn those_who_wait_when_it_expires_hear_it_at_once() {
    let (server, _, bob, mxc) = reserved("").await;
    server.advance(DAY.saturating_sub(Duration::from_secs(10)));
    let download = waits(&server, &bob, &mxc, "").await;
    let thumbnail = server.waiting(bob.get(paths::thumbnail(&mxc, SIZE) + "&timeout_ms=60000")).await;

    server.advance(Duration::from_millis(10_001));

    assert_eq!(download.await.error(), not_found());
    assert_eq!(thumbnail.await.error(), not_found());
    only_wait(&server, 0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_wait_any_more() {
    let (server, alice, bob, mxc) = reserved("").await;
    let waiting = waits(&server, &bob, &mxc, "").await;

    drop(waiting);

    only_wait(&server, 0).await;
    alice.put(&mxc).body("hello").await;
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn an_upload_that_breaks_off_wakes_nobody_who_waits_for_the_whole() {
    let (server, alice, bob, mxc) = reserved("async.stream = false").await;
    let waiting = waits(&server, &bob, &mxc, "").await;
    let mut upload = alice.put(&mxc).feed(1000).await;
    upload.send("stump").await;

    upload.break_off();
    until("it is tried again", async || alice.put(&mxc).body("whole").await.status() == 200).await;

    assert_eq!(waiting.await.bytes(), "whole");
}

#[tokio::test]
async fn under_pressure_the_longest_waiting_are_answered_early() {
    let (server, alice, bob, mxc) = reserved("limits.max_waiting_downloads = 3").await;
    server.is_at_one_node("each node has its own places to wait");
    let carol = server.user("carol").await;
    let first = waits(&server, &alice, &mxc, "?timeout_ms=60000").await;
    let second = waits(&server, &bob, &mxc, "?timeout_ms=10000").await;
    let third = waits(&server, &carol, &mxc, "").await;

    let fourth = Waiting::new(bob.get(paths::download(&mxc)).into_future());
    assert_eq!(first.await.error(), not_yet_uploaded());
    let fifth = Waiting::new(carol.get(paths::thumbnail(&mxc, SIZE)).into_future());
    assert_eq!(second.await.error(), not_yet_uploaded());

    alice.put(&mxc).header("content-type", "image/png").body(png(64, 48)).await;
    for answer in [third, fourth, fifth] {
        assert_eq!(answer.await.status(), 200);
    }
    assert_eq!(server.metric("tintype_waits_ended_early_total").await, 2);
}

#[tokio::test]
async fn a_user_who_waits_for_too_much_loses_only_waits_of_their_own() {
    let (server, alice, bob, mxc) = reserved("limits.max_waiting_per_user = 2").await;
    server.is_at_one_node("each node has its own places to wait");
    let longest = waits(&server, &alice, &mxc, "").await;
    let first = waits(&server, &bob, &mxc, "").await;
    let second = waits(&server, &bob, &mxc, "").await;
    // Another token, the same user.
    let bob_elsewhere = server.user("bob").await;

    let third = Waiting::new(bob_elsewhere.get(paths::download(&mxc)).into_future());

    assert_eq!(first.await.error(), not_yet_uploaded());
    alice.put(&mxc).body("hello").await;
    for answer in [longest, second, third] {
        assert_eq!(answer.await.bytes(), "hello");
    }
    assert_eq!(server.metric("tintype_waits_ended_early_total").await, 1);
}

#[tokio::test]
async fn what_was_answered_no_longer_counts_as_waiting() {
    let (server, alice, bob, mxc) = reserved("limits.max_waiting_downloads = 2").await;
    let other = alice.create().await;
    drop(waits(&server, &bob, &mxc, "").await);
    only_wait(&server, 0).await;
    let woken = waits(&server, &bob, &mxc, "").await;
    alice.put(&mxc).body("hello").await;
    woken.await;
    let late = waits(&server, &bob, &other, "?timeout_ms=1").await;
    server.advance(Duration::from_millis(1));
    late.await;

    let first = waits(&server, &bob, &other, "").await;
    let second = waits(&server, &bob, &other, "").await;

    alice.put(&other).body("other").await;
    assert_eq!((first.await.status(), second.await.status()), (200, 200));
    assert_eq!(server.metric("tintype_waits_ended_early_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_never_holds_up_downloads_of_what_is_there() {
    let (server, alice, bob, mxc) = reserved("limits.max_waiting_downloads = 50").await;
    server.is_at_one_node("each node has its own places to wait");
    let stored = alice.upload(pattern(100_000)).await;
    let waiting: Vec<_> = (0..200).map(|_| Waiting::new(bob.get(paths::download(&mxc)).into_future())).collect();
    only_wait(&server, 50).await;

    for _ in 0..20 {
        assert!(*bob.get(paths::download(&stored)).await.bytes() == pattern(100_000));
    }

    alice.put(&mxc).body("hello").await;
    let mut statuses = Vec::new();
    for answer in waiting {
        statuses.push(answer.await.status());
    }
    let in_time = statuses.iter().filter(|&&status| status == 200).count();
    assert!(in_time >= 50, "{in_time} of those who waited were served");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 504)), "{statuses:?}");
}

#[tokio::test]
async fn nothing_waits_where_nothing_may_wait() {
    let (_server, _, bob, mxc) = reserved("limits.max_waiting_downloads = 0").await;

    assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_yet_uploaded());
}

#[tokio::test]
async fn a_server_that_ends_lets_nobody_wait() {
    let (server, _, bob, mxc) = reserved("http.drain_timeout = '1h'").await;
    let download = waits(&server, &bob, &mxc, "").await;
    let thumbnail = server.waiting(bob.get(paths::thumbnail(&mxc, SIZE))).await;

    server.drain().await;

    assert_eq!(download.await.error(), not_yet_uploaded());
    assert_eq!(thumbnail.await.error(), not_yet_uploaded());
}

#[tokio::test]
async fn waiting_begins_anew_after_a_restart() {
    let (server, alice, bob, mxc) = reserved("").await;
    let server = server.restart().await;

    let waiting = waits(&server, &bob, &mxc, "").await;
    alice.put(&mxc).body("hello").await;

    assert_eq!(waiting.await.bytes(), "hello");
}

#[tokio::test]
async fn an_upload_is_found_at_once_by_those_who_asked_before() {
    let (_server, alice, bob, mxc) = reserved("cache.time = '1h'").await;
    let missing = bob.get(paths::download(&mxc) + "?timeout_ms=0").await;
    assert_eq!(missing.error(), not_yet_uploaded());

    alice.put(&mxc).body("hello").await;

    assert_eq!(bob.get(paths::download(&mxc) + "?timeout_ms=0").await.bytes(), "hello");
    assert_eq!(bob.head(paths::download(&mxc)).await.status(), 200);
}
