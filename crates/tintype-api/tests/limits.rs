//! How much and how often.

use tintype_testing::{Client, FakeHomeserver, Request, Response, TestServer, paths, pattern, pictures::png};

/// What comes back when it is asked so often that some of it must be too often.
async fn all_at_once(request: impl Fn() -> Request) -> Vec<Response> {
    let requests: Vec<_> = (0..12).map(|_| tokio::spawn(request().into_future())).collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.expect("there is an answer"));
    }
    answers
}

fn some_are_refused(answers: &[Response]) {
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status() != 200).collect();
    assert!(!refused.is_empty());
    assert!(refused.len() < answers.len());
    for refusal in refused {
        assert_eq!(refusal.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
        assert!(refusal.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds == 1));
        assert!(refusal.json()["retry_after_ms"].as_u64().is_some_and(|milliseconds| milliseconds <= 1000));
    }
}

/// A burst of three, and then one a second.
const SLOW: &str = "{ per_second = 1, burst = 3 }";

#[tokio::test]
async fn a_user_who_uploads_too_often_has_to_wait_and_others_do_not() {
    let server = TestServer::with(&format!("limits.rates.upload = {SLOW}")).await;
    server.is_at_one_node("a burst is what one node gives");
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);

    some_are_refused(&all_at_once(|| alice.post(paths::UPLOAD).body("hello")).await);

    assert_eq!(bob.post(paths::UPLOAD).body("hello").await.status(), 200);
}

#[tokio::test]
async fn a_user_who_reserves_too_often_has_to_wait_and_others_do_not() {
    let server = TestServer::with(&format!("limits.max_pending_uploads = 100\nlimits.rates.create = {SLOW}")).await;
    server.is_at_one_node("a burst is what one node gives");
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);

    some_are_refused(&all_at_once(|| alice.post(paths::CREATE)).await);

    assert_eq!(bob.post(paths::CREATE).await.status(), 200);
    assert_eq!(alice.post(paths::UPLOAD).body("hello").await.status(), 200);
}

#[tokio::test]
async fn an_upload_to_a_reserved_uri_counts_as_an_upload() {
    let server = TestServer::with(&format!("limits.rates.upload = {SLOW}")).await;
    server.is_at_one_node("a burst is what one node gives");
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (mxc, other) = (alice.create().await, bob.create().await);
    assert_eq!(alice.put(&mxc).body("hello").await.status(), 200);

    let answers = all_at_once(|| alice.put(&mxc).body("again")).await;

    let limited: Vec<_> = answers.iter().filter(|answer| answer.status() == 429).collect();
    assert!(!limited.is_empty() && limited.len() < answers.len());
    assert!(limited.iter().all(|answer| answer.error().1 == "M_LIMIT_EXCEEDED" && answer.header("retry-after") == "1"));
    assert!(answers.iter().all(|answer| matches!(answer.status(), 409 | 429)));
    assert_eq!(bob.put(&other).body("hello").await.status(), 200);
}

#[tokio::test]
async fn a_user_who_downloads_too_often_has_to_wait_and_others_do_not() {
    let server = TestServer::with(&format!("limits.rates.download = {SLOW}")).await;
    server.is_at_one_node("a burst is what one node gives");
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.upload("hello").await;

    some_are_refused(&all_at_once(|| alice.get(paths::download(&mxc))).await);

    assert_eq!(bob.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn one_user_is_one_user_with_any_token() {
    let server = TestServer::with("limits.rates.download = { per_second = 1, burst = 1 }").await;
    let tokens = [server.user("alice").await, server.user("alice").await, server.user("alice").await];
    let mxc = tokens[0].upload("hello").await;

    let mut statuses = Vec::new();
    for alice in tokens.iter().cycle().take(12) {
        statuses.push(alice.get(paths::download(&mxc)).await.status());
    }

    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn thumbnails_have_a_rate_of_their_own() {
    let server = TestServer::with(&format!("limits.rates.thumbnail = {SLOW}")).await;
    server.is_at_one_node("a burst is what one node gives");
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;

    some_are_refused(&all_at_once(|| alice.get(paths::thumbnail(&mxc, "width=9&height=9"))).await);

    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn without_a_user_the_address_counts() {
    let config = format!("legacy.freeze = 'never'\nlimits.rates.download = {SLOW}");
    let server = TestServer::with(&config).await;
    server.is_at_one_node("a burst is what one node gives");
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    let from = |address: &str| server.anonymous().get(paths::legacy_download(&mxc)).header("x-forwarded-for", address);

    some_are_refused(&all_at_once(|| from("203.0.113.7")).await);
    assert_eq!(from("203.0.113.8").await.status(), 200);
    // A customer has a /64 of IPv6 addresses.
    let mut statuses = Vec::new();
    for host in 1..=12 {
        statuses.push(from(&format!("2001:db8::{host}")).await.status());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn an_address_that_tries_many_tokens_does_not_reach_the_homeserver_with_all() {
    let homeserver = FakeHomeserver::start().await;
    let config = format!("limits.rates.authenticate = {SLOW}{}", homeserver.config());
    let server = TestServer::with(&config).await;
    server.is_at_one_node("a burst is what one node gives");

    let mut statuses = Vec::new();
    for guess in 0..12 {
        let stranger = server.anonymous().with_token(&format!("guess_{guess}"));
        statuses.push(stranger.get(paths::CONFIG).await.status());
    }

    assert!(statuses.starts_with(&[401, 401, 401]), "{statuses:?}");
    let refused = statuses.iter().filter(|&&status| status == 429).count();
    assert!(refused > 0, "{statuses:?}");
    assert_eq!(homeserver.asked().len(), 12 - refused);
}

async fn refused_upload(server: &TestServer, alice: &Client, length: usize) -> Response {
    let files = server.blobs().len();
    let refusal = alice.post(paths::UPLOAD).body(pattern(length)).await;
    assert_eq!(server.blobs().len(), files, "a refused upload left a file");
    refusal
}

#[tokio::test]
async fn a_full_quota_of_bytes_is_forbidden() {
    let server = TestServer::with("limits.max_user_bytes = '300KiB'").await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    alice.upload(pattern(200 * 1024)).await;

    let over = refused_upload(&server, &alice, 100 * 1024 + 1).await;
    assert_eq!(over.error(), (403, "M_FORBIDDEN".to_owned()));
    alice.upload(pattern(100 * 1024)).await;
    assert_eq!(refused_upload(&server, &alice, 1).await.error().0, 403);
    bob.upload(pattern(300 * 1024)).await;
}

#[tokio::test]
async fn a_full_quota_of_media_is_forbidden() {
    let server = TestServer::with("limits.max_user_media = 2").await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    alice.upload("one").await;
    alice.upload("one").await;

    assert_eq!(refused_upload(&server, &alice, 1).await.error(), (403, "M_FORBIDDEN".to_owned()));
    bob.upload("one").await;
}

#[tokio::test]
async fn where_there_is_a_page_about_quotas_the_user_is_sent_there() {
    let server =
        TestServer::with("limits.max_user_media = 1\nlimits.limit_info_uri = 'https://example.org/quota'").await;
    let alice = server.user("alice").await;
    alice.upload("one").await;

    let refusal = refused_upload(&server, &alice, 1).await;

    assert_eq!(refusal.error(), (403, "M_USER_LIMIT_EXCEEDED".to_owned()));
    assert_eq!(refusal.json()["info_uri"], "https://example.org/quota");
}

#[tokio::test]
async fn a_quota_survives_a_restart() {
    let server = TestServer::with("limits.max_user_media = 1").await;
    let alice = server.user("alice").await;
    alice.upload("one").await;

    let server = server.restart().await;

    assert_eq!(refused_upload(&server, &alice, 1).await.error().0, 403);
}

#[tokio::test]
async fn a_chunked_upload_that_turns_out_to_be_over_quota_leaves_nothing() {
    let server = TestServer::with("limits.max_user_bytes = '100KiB'").await;
    let alice = server.user("alice").await;
    let mut connection = server.connect().await;

    let authorization = format!("Authorization: Bearer {}", alice.token());
    let head = format!("POST {} HTTP/1.1\r\n{authorization}\r\nTransfer-Encoding: chunked\r\n\r\n", paths::UPLOAD);
    connection.send(head).await;
    connection.send(format!("{:x}\r\n", 200_000)).await;
    connection.send(pattern(200_000)).await;
    connection.send("\r\n0\r\n\r\n").await;

    assert_eq!(connection.response().await.error(), (403, "M_FORBIDDEN".to_owned()));
    server.holds_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_once_do_not_get_past_a_quota_together() {
    let server = TestServer::with("limits.max_user_media = 3").await;
    let alice = server.user("alice").await;

    let answers = all_at_once(|| alice.post(paths::UPLOAD).body(pattern(100_000))).await;

    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 3);
    assert!(answers.iter().all(|answer| matches!(answer.status(), 200 | 403)));
    assert_eq!(server.blobs().len(), 1);
}
