//! Ephemeral media (MSC4425): uploaded, reserved, deleted, ended.

use std::time::Duration;

use http::Method;
use tintype_domain::Mxc;
use tintype_testing::{
    Client, FakeHomeserver, Request, TestServer, Waiting, embedded_only, paths, pattern, pictures, until,
};

const DAY: Duration = Duration::from_hours(24);

/// More than lies beside its record.
const LARGE: usize = 300_000;

fn delete(client: &Client, mxc: &Mxc) -> Request {
    client.request(Method::DELETE, paths::delete(mxc))
}

fn refused() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

async fn ephemeral(client: &Client, body: impl Into<bytes::Bytes>) -> Mxc {
    client.post(paths::EPHEMERAL_UPLOAD).body(body).await.mxc()
}

/// A server, its ephemeral media, and two users.
async fn uploaded(size: usize) -> (TestServer, Client, Client, Mxc) {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = ephemeral(&alice, pattern(size)).await;
    (server, alice, bob, mxc)
}

#[tokio::test]
async fn what_its_owner_deletes_is_gone_everywhere_at_once() {
    for size in [10, LARGE] {
        let (server, alice, bob, mxc) = uploaded(size).await;
        assert_eq!(bob.get(paths::download(&mxc)).await.bytes()[..], pattern(size)[..]);

        let answer = delete(&alice, &mxc).await;

        assert_eq!((answer.status(), &answer.bytes()[..]), (200, &b"{}"[..]));
        for who in [&alice, &bob] {
            assert_eq!(who.get(paths::download(&mxc)).await.error(), not_found());
            assert_eq!(who.head(paths::download(&mxc)).await.status(), 404);
            assert_eq!(who.get(paths::download(&mxc)).header("range", "bytes=0-1").await.error(), not_found());
            assert_eq!(who.get(paths::thumbnail(&mxc, "width=8&height=8")).await.error(), not_found());
        }
        assert_eq!(server.anonymous().get(paths::legacy_download(&mxc)).await.error(), not_found());
        until("the file is removed", async || server.blobs().is_empty()).await;
    }
}

#[tokio::test]
async fn the_bytes_of_small_media_leave_the_database_too() {
    embedded_only!("it looks for the words in the database's file");
    let (server, alice, _, mxc) = uploaded(0).await;
    let secret = "the words that nobody is to find again";
    let mxc_of_secret = ephemeral(&alice, secret).await;
    assert!(found_on_disk(&server, secret));

    assert_eq!(delete(&alice, &mxc_of_secret).await.status(), 200);

    until("the words are gone from the disk", async || !found_on_disk(&server, secret)).await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
}

fn found_on_disk(server: &TestServer, text: &str) -> bool {
    let entries = std::fs::read_dir(server.data_dir()).expect("the data folder is there");
    let files = entries.filter_map(|entry| std::fs::read(entry.ok()?.path()).ok());
    files.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_is_unreadable_and_tried_again_each_minute() {
    embedded_only!("it puts a folder in the place of a file");
    let (server, alice, bob, mxc) = uploaded(LARGE).await;
    let file = server.blobs().pop().expect("large media has a file");
    // Nobody can remove a folder as a file, not even root.
    std::fs::remove_file(&file).expect("the file can be removed");
    std::fs::create_dir(&file).expect("there can be a folder in its place");

    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    until("the removal is owed", async || server.metric("tintype_removals_pending").await == 1).await;
    let paths = [paths::download(&mxc), paths::thumbnail(&mxc, "width=8&height=8")];
    for path in &paths {
        assert_eq!(bob.get(path.as_str()).await.error(), not_found());
        assert_eq!(bob.get(path.as_str()).header("range", "bytes=0-1").await.error(), not_found());
        assert_eq!(bob.head(path.as_str()).await.status(), 404);
    }
    assert_eq!(server.anonymous().get(paths::legacy_download(&mxc)).await.error(), not_found());
    std::fs::remove_dir(&file).expect("the folder can be removed");
    std::fs::write(&file, "bytes that are owed").expect("there can be a file again");
    server.advance(Duration::from_mins(1));
    until("the file is removed", async || server.blobs().is_empty()).await;
    until("nothing is owed", async || server.metric("tintype_removals_pending").await == 0).await;
}

#[tokio::test]
async fn a_deletion_holds_after_a_restart_and_the_uri_is_never_used_again() {
    let (server, alice, _, mxc) = uploaded(LARGE).await;
    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    let server = server.restart().await;

    let alice = alice.clone();
    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());
    assert_eq!(delete(&alice, &mxc).await.error(), not_found());
    assert_eq!(alice.put(&mxc).body("again").await.error(), not_found());
    assert!(server.blobs().is_empty());
}

#[tokio::test]
async fn everything_but_ones_own_ephemeral_media_is_refused_in_one_text() {
    let (server, alice, bob, theirs) = uploaded(10).await;
    let gone = ephemeral(&alice, "gone").await;
    assert_eq!(delete(&alice, &gone).await.status(), 200);
    let kept = bob.upload("kept").await;
    let reserved = bob.create().await;
    let unknown: Mxc = "mxc://localhost/unknown".parse().unwrap();
    let remote: Mxc = "mxc://elsewhere.example/remote".parse().unwrap();

    let mut texts = Vec::new();
    for mxc in [&theirs, &gone, &kept, &reserved, &unknown, &remote] {
        let answer = delete(&bob, mxc).await;
        assert_eq!(answer.error(), refused(), "{mxc}");
        texts.push(answer.bytes().to_vec());
    }
    let odd = bob.request(Method::DELETE, "/_matrix/client/unstable/org.matrix.msc4425/localhost/%2e%2e").await;
    texts.push(odd.bytes().to_vec());

    texts.dedup();
    assert_eq!(texts.len(), 1);
    assert_eq!(bob.get(paths::download(&theirs)).await.status(), 200);
    assert_eq!(bob.get(paths::download(&kept)).await.bytes(), "kept");
    drop(server);
}

#[tokio::test]
async fn only_users_delete() {
    let (server, _, _, mxc) = uploaded(10).await;
    let guest = server.guest("guest").await;

    assert_eq!(delete(&server.anonymous(), &mxc).await.error(), (401, "M_MISSING_TOKEN".to_owned()));
    assert_eq!(delete(&guest, &mxc).await.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    assert_eq!(server.anonymous().get(paths::legacy_download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn an_administrator_deletes_any_ephemeral_media_and_nothing_else() {
    let server = TestServer::with("server = [{ name = 'localhost', admins = ['@root:localhost'] }]").await;
    let (root, alice) = (server.user("root").await, server.user("alice").await);
    let (mxc, kept) = (ephemeral(&alice, "hello").await, alice.upload("kept").await);

    assert_eq!(delete(&root, &mxc).await.status(), 200);
    assert_eq!(delete(&root, &kept).await.error(), refused());

    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());
    assert_eq!(alice.get(paths::download(&kept)).await.bytes(), "kept");
}

#[tokio::test]
async fn who_logged_out_a_moment_ago_deletes_nothing() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "token");
    let server = TestServer::with(&homeserver.config()).await;
    let alice = server.anonymous().with_token("token");
    let mxc = ephemeral(&alice, "hello").await;

    homeserver.always_answers(401, &[], r#"{"errcode":"M_UNKNOWN_TOKEN","error":"logged out"}"#);
    let answer = delete(&alice, &mxc).await;

    assert_eq!(answer.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
}

#[tokio::test]
async fn a_download_under_way_is_cut() {
    let (_server, alice, bob, mxc) = uploaded(64 * 1024 * 1024).await;
    let mut download = bob.get(paths::download(&mxc)).open().await;
    download.bytes(1).await;

    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    // What was in the buffers of the connection on the way comes through, and no more.
    let rest = download.aborted().await;
    assert!(rest.len() < 32 * 1024 * 1024, "{} bytes came", rest.len());
}

#[tokio::test]
async fn thumbnails_go_with_the_media() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = ephemeral(&alice, pictures::png(600, 600)).await;
    let path = paths::thumbnail(&mxc, "width=400&height=400");
    let thumbnail = alice.get(path.as_str()).await;
    assert_eq!((thumbnail.status(), thumbnail.header("cache-control")), (200, "no-store"));

    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    assert_eq!(alice.get(path).await.error(), not_found());
    until("all files are removed", async || server.blobs().is_empty()).await;
}

#[tokio::test]
async fn bytes_that_other_media_needs_stay() {
    let (server, alice, bob, mxc) = uploaded(LARGE).await;
    let same = bob.upload(pattern(LARGE)).await;
    assert_eq!(server.blobs().len(), 1);

    assert_eq!(delete(&alice, &mxc).await.status(), 200);
    server.advance(Duration::from_mins(2));

    assert_eq!(bob.get(paths::download(&same)).await.bytes()[..], pattern(LARGE)[..]);
    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn ephemeral_media_is_kept_by_no_cache() {
    let (server, _, bob, mxc) = uploaded(LARGE).await;

    for answer in [bob.get(paths::download(&mxc)).await, server.anonymous().get(paths::legacy_download(&mxc)).await] {
        assert_eq!((answer.status(), answer.header("cache-control")), (200, "no-store"));
    }
}

#[tokio::test]
async fn a_reserved_uri_is_deleted_and_those_who_wait_for_it_hear_of_it() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.post(paths::EPHEMERAL_CREATE).await.mxc();
    let waiting = server.waiting(bob.get(paths::download(&mxc))).await;

    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    assert_eq!(waiting.await.error(), not_found());
    assert_eq!(alice.put(&mxc).body("too late").await.error(), not_found());
    assert_eq!(delete(&alice, &mxc).await.error(), not_found());
}

#[tokio::test]
async fn an_upload_that_is_arriving_is_deleted_and_its_readers_are_cut() {
    for resumable in [false, true] {
        let server = TestServer::start().await;
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let mxc = alice.post(paths::EPHEMERAL_CREATE).await.mxc();
        let put = if resumable { alice.put(&mxc).complete() } else { alice.put(&mxc) };
        let mut upload = put.feed(LARGE).await;
        upload.send(pattern(1000)).await;
        let mut download = bob.get(paths::download(&mxc)).open().await;
        assert_eq!(download.bytes(1000).await[..], pattern(1000)[..]);

        assert_eq!(delete(&alice, &mxc).await.status(), 200);

        assert_eq!(download.aborted().await, "");
        assert_eq!(upload.response().await.error(), not_found());
        assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_found());
        server.holds_nothing().await;
    }
}

#[tokio::test]
async fn the_flag_of_create_holds_for_the_upload() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.post(paths::EPHEMERAL_CREATE).await.mxc();
    assert_eq!(alice.put(&mxc).body("hello").await.status(), 200);
    assert_eq!(alice.get(paths::download(&mxc)).await.header("cache-control"), "no-store");

    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn what_its_owner_forgot_ends_by_itself() {
    let (server, alice, bob, mxc) = uploaded(LARGE).await;
    let kept = alice.upload("kept").await;
    server.advance(Duration::from_secs(7 * 24 * 60 * 60 - 1));
    assert_eq!(bob.get(paths::download(&mxc)).await.status(), 200);

    server.advance(Duration::from_secs(1));

    assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_found());
    assert_eq!(delete(&alice, &mxc).await.error(), not_found());
    assert_eq!(delete(&bob, &mxc).await.error(), refused());
    until("the file is removed", async || server.blobs().is_empty()).await;
    assert_eq!(bob.get(paths::download(&kept)).await.bytes(), "kept");
}

#[tokio::test]
async fn a_reader_is_cut_when_the_media_ends_by_itself() {
    let (server, _, bob, mxc) = uploaded(64 * 1024 * 1024).await;
    let mut download = bob.get(paths::download(&mxc)).open().await;
    download.bytes(1).await;

    server.advance(8 * DAY);
    until("the file is removed", async || server.blobs().is_empty()).await;

    assert!(download.aborted().await.len() < 32 * 1024 * 1024);
}

#[tokio::test]
async fn without_a_limit_it_lives_until_it_is_deleted() {
    let server = TestServer::with("ephemeral.max_age = 'never'").await;
    let alice = server.user("alice").await;
    let upload = alice.post(paths::EPHEMERAL_UPLOAD).body("hello").await;
    assert!(upload.json()["io.github.tintype.ephemeral_expires_at"].is_null());
    let mxc = upload.mxc();

    server.advance(1000 * DAY);

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(delete(&alice, &mxc).await.status(), 200);
}

#[tokio::test]
async fn the_uploader_is_told_when_it_ends() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let upload = alice.post(paths::EPHEMERAL_UPLOAD).body("hello").await.json();
    let create = alice.post(paths::EPHEMERAL_CREATE).await.json();
    let kept = alice.post(paths::UPLOAD).body("hello").await.json();

    let week = i64::try_from((7 * DAY).as_millis()).unwrap();
    let expires_at = tintype_testing::START.as_millis() + week;
    assert_eq!(upload["io.github.tintype.ephemeral_expires_at"], expires_at);
    assert_eq!(create["io.github.tintype.ephemeral_max_age_ms"], week);
    assert_eq!(kept.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_parameter_is_true_or_false() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for path in [paths::EPHEMERAL_UPLOAD, paths::EPHEMERAL_CREATE] {
        let answer = alice.post(path.replace("=true", "=yes")).body("").await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
        let kept = alice.post(path.replace("=true", "=false")).body("").await.mxc();
        assert_eq!(delete(&alice, &kept).await.error(), refused());
    }
}

#[tokio::test]
async fn the_stable_names_are_served_only_where_that_is_wanted() {
    let stable = TestServer::start().await;
    let unstable = TestServer::with("proposals.stable = []").await;
    let upload = "/_matrix/media/v3/upload?ephemeral=true";

    let alice = stable.user("alice").await;
    let mxc = alice.post(upload).body("hello").await.mxc();
    assert_eq!(alice.request(Method::DELETE, paths::stable_delete(&mxc)).await.status(), 200);
    let flags = alice.get("/_matrix/client/versions").await.json();
    assert_eq!(flags["unstable_features"]["org.matrix.msc4425"], true);

    let alice = unstable.user("alice").await;
    let mxc = alice.post(upload).body("hello").await.mxc();
    let by_stable_name = alice.request(Method::DELETE, paths::stable_delete(&mxc)).await;
    assert_eq!(by_stable_name.error(), (404, "M_UNRECOGNIZED".to_owned()));
    assert_eq!(delete(&alice, &mxc).await.error(), refused());
}

#[tokio::test]
async fn one_user_has_only_so_much_of_it() {
    let server = TestServer::with(
        "ephemeral.max_user_media = 2\nephemeral.max_user_bytes = '100B'\nlimits.limit_info_uri = 'https://example.org/'",
    )
    .await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let first = ephemeral(&alice, "one").await;
    let too_large = alice.post(paths::EPHEMERAL_UPLOAD).body(pattern(98)).await;
    assert_eq!(too_large.error(), (403, "M_USER_LIMIT_EXCEEDED".to_owned()));
    ephemeral(&alice, "two").await;

    let too_many = alice.post(paths::EPHEMERAL_UPLOAD).body("three").await;
    assert_eq!(too_many.error(), (403, "M_USER_LIMIT_EXCEEDED".to_owned()));
    let reserved = alice.post(paths::EPHEMERAL_CREATE).await.mxc();
    assert_eq!(alice.put(&reserved).body("three").await.error(), (403, "M_USER_LIMIT_EXCEEDED".to_owned()));

    alice.upload("kept").await;
    ephemeral(&bob, "one").await;
    assert_eq!(delete(&alice, &first).await.status(), 200);
    assert_eq!(alice.put(&reserved).body("three").await.status(), 200);
}

#[tokio::test]
async fn ephemeral_media_has_a_rate_of_its_own() {
    let server = TestServer::with("limits.rates.ephemeral = { per_second = 1, burst = 2 }").await;
    server.is_at_one_node("a burst is what one node gives");
    let alice = server.user("alice").await;
    let mxc = ephemeral(&alice, "one").await;
    ephemeral(&alice, "two").await;

    for request in
        [alice.post(paths::EPHEMERAL_UPLOAD).body("three"), alice.post(paths::EPHEMERAL_CREATE), delete(&alice, &mxc)]
    {
        let answer = request.await;
        assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
        assert!(!answer.header("retry-after").is_empty());
    }
    alice.upload("kept").await;
}

#[tokio::test]
async fn deleting_gives_room_in_the_quota() {
    let server = TestServer::with("limits.max_user_bytes = '100B'").await;
    let alice = server.user("alice").await;
    let mxc = ephemeral(&alice, pattern(100)).await;
    assert_eq!(alice.post(paths::UPLOAD).body("more").await.status(), 403);

    assert_eq!(delete(&alice, &mxc).await.status(), 200);

    assert_eq!(alice.post(paths::UPLOAD).body(pattern(100)).await.status(), 200);
}

/// Rounds of the race, and how many run at once.
const ROUNDS: usize = 10_000;
const RACERS: usize = 4;

/// One user's rounds of the race. All of them race for the same bytes, so that one's delete meets another's upload.
async fn race(server: &TestServer, racer: usize, bodies: &[Vec<u8>]) {
    let (owner, reader) = (server.user(&format!("owner{racer}")).await, server.user(&format!("reader{racer}")).await);
    for round in 0..ROUNDS / RACERS {
        let body = &bodies[round % bodies.len()];
        let mxc = ephemeral(&owner, body.clone()).await;
        let (download, thumbnail) = (paths::download(&mxc), paths::thumbnail(&mxc, "width=8&height=8"));
        let before = match round % 4 {
            0 => reader.get(download.clone()),
            1 => reader.get(download.clone()).header("range", "bytes=100-200"),
            2 => reader.get(thumbnail.clone()),
            _ => owner.head(download.clone()),
        };
        let before = Waiting::new(before.open_or_end());
        let same = Waiting::new(reader.post(paths::EPHEMERAL_UPLOAD).body(body.clone()).into_future());
        if round % 64 == 0 {
            // The sweep runs as well.
            server.advance(Duration::from_mins(1));
        }

        assert_eq!(delete(&owner, &mxc).await.status(), 200, "{racer} {round}");

        let after = match round % 3 {
            0 => reader.get(download.clone()),
            1 => reader.get(download.clone()).header("range", "bytes=100-200"),
            _ => reader.get(thumbnail.clone()),
        };
        assert_eq!(after.await.error(), not_found(), "{racer} {round}");
        drop(before);
        let same = same.await.mxc();
        assert_eq!(reader.get(paths::download(&same)).await.bytes()[..], body[..], "{racer} {round}");
        assert_eq!(delete(&reader, &same).await.status(), 200, "{racer} {round}");
    }
}

#[tokio::test]
async fn nobody_gets_a_byte_after_the_answer_whatever_races() {
    let server = TestServer::unlimited(
        "limits.rates.ephemeral = { per_second = 1000000, burst = 1000000 }\n\
         limits.rates.authenticate = { per_second = 1000000, burst = 1000000 }\n\
         limits.rates.thumbnail = { per_second = 1000000, burst = 1000000 }\nephemeral.max_age = 'never'",
    )
    .await;
    let bob = server.user("bob").await;
    // A picture that is kept beside its record, what has a file that others need, what has one that nobody else needs.
    let bodies = [pictures::png(48, 48), pattern(70_000), pattern(80_000)];
    let other = bob.upload(bodies[1].clone()).await;

    tokio::join!(
        race(&server, 0, &bodies),
        race(&server, 1, &bodies),
        race(&server, 2, &bodies),
        race(&server, 3, &bodies),
    );

    assert_eq!(bob.get(paths::download(&other)).await.bytes()[..], bodies[1][..]);
    server.advance(Duration::from_mins(2));
    until("one file is left", async || server.blobs().len() == 1).await;
}
