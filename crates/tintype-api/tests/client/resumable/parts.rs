//! An upload in one request or in several, which all come to their end.

use http::Method;
use tintype_testing::{paths, pattern};

use super::{is_stored, offset, offset_of, reserved};

const MIB: usize = 1024 * 1024;

/// Up to here media lies beside its record; beyond, in a file.
const INLINE: usize = 64 * 1024;

/// The members of `Upload-Limit`.
fn limit(value: &str, name: &str) -> Option<u64> {
    value.split(", ").find_map(|member| member.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[tokio::test]
async fn an_upload_that_is_not_interrupted_is_like_any_other() {
    let (_server, alice, bob, mxc) = reserved("").await;

    let answer = alice.put(&mxc).complete().header("content-type", "text/plain").body("hello").await;

    is_stored(&answer, &bob, &mxc, b"hello").await;
    assert_eq!(bob.get(paths::download(&mxc)).await.header("content-type"), "text/plain");
}

#[tokio::test]
async fn an_empty_upload_may_be_complete() {
    let (_server, alice, bob, mxc) = reserved("").await;

    let answer = alice.put(&mxc).complete().await;

    is_stored(&answer, &bob, &mxc, b"").await;
}

#[tokio::test]
async fn a_first_part_is_acknowledged_with_where_and_how_to_go_on() {
    let (_server, alice, _, mxc) = reserved("limits.max_upload_size = '1MiB'").await;

    let answer = alice.put(&mxc).incomplete().body("hello").await;

    assert_eq!(answer.status(), 201);
    assert_eq!(answer.header("location"), paths::put(&mxc));
    assert_eq!((answer.header("upload-complete"), offset(&answer)), ("?0", 5));
    let limits = answer.header("upload-limit");
    assert_eq!(limit(limits, "max-size"), Some(1024 * 1024), "{limits}");
    assert_eq!(limit(limits, "max-age"), Some(24 * 60 * 60), "{limits}");
}

#[tokio::test]
async fn the_time_that_is_left_is_that_of_the_reservation() {
    let (server, alice, _, mxc) = reserved("").await;
    server.advance(std::time::Duration::from_hours(23));

    let answer = alice.put(&mxc).incomplete().await;

    assert_eq!(limit(answer.header("upload-limit"), "max-age"), Some(60 * 60));
}

#[tokio::test]
async fn what_never_expires_has_no_age() {
    let (_server, alice, _, mxc) = reserved("limits.unused_expires_after = 'never'").await;

    let answer = alice.put(&mxc).incomplete().await;

    assert_eq!(limit(answer.header("upload-limit"), "max-age"), None);
    assert!(limit(answer.header("upload-limit"), "max-size").is_some());
}

#[tokio::test]
async fn an_upload_may_come_in_many_parts() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let first = alice.put(&mxc).incomplete().header("content-type", "text/plain").body("one, ").await;

    let second = alice.patch(&mxc, 5).incomplete().body("two, ").await;
    let empty = alice.patch(&mxc, 10).incomplete().await;
    let last = alice.patch(&mxc, 10).complete().body("three").await;

    assert_eq!(first.status(), 201);
    assert_eq!((second.status(), second.header("upload-complete"), offset(&second)), (204, "?0", 10));
    assert_eq!((empty.status(), empty.header("upload-complete"), offset(&empty)), (204, "?0", 10));
    is_stored(&last, &bob, &mxc, b"one, two, three").await;
    assert_eq!(bob.get(paths::download(&mxc)).await.header("content-type"), "text/plain");
}

#[tokio::test]
async fn the_name_and_type_are_those_of_the_first_part() {
    let (server, alice, bob, mxc) = reserved("").await;
    let path = paths::put(&mxc) + "?filename=a.png";
    alice.request(Method::PUT, path).header("content-type", "image/png").incomplete().body("hel").await;

    let _server = server.restart().await;
    alice.patch(&mxc, 3).complete().body("lo").await;

    let download = bob.get(paths::download(&mxc)).await;
    assert_eq!(download.header("content-type"), "image/png");
    assert_eq!(download.header("content-disposition"), "inline; filename=\"a.png\"");
}

#[tokio::test]
async fn the_end_may_be_announced_with_no_more_bytes() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body("hello").await;

    let end = alice.patch(&mxc, 5).complete().await;

    is_stored(&end, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn parts_of_every_size_make_a_whole() {
    let (server, alice, bob, _) = reserved("").await;

    for cut in [1, INLINE - 1, INLINE, INLINE + 1, 4 * INLINE, MIB + 1] {
        let mxc = alice.create().await;
        let bytes = pattern(2 * cut + 1);
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(offset(&alice.put(&mxc).incomplete().body(head.to_vec()).await), i64::try_from(cut).unwrap());
        let mut upload = alice.patch(&mxc, cut).complete().feed_chunked().await;
        for piece in tail.chunks(100_000) {
            upload.send(piece).await;
        }
        is_stored(&upload.finish().await, &bob, &mxc, &bytes).await;
    }
    assert_eq!((server.blobs().len(), server.partial_uploads().len()), (5, 0));
}

#[tokio::test]
async fn what_comes_in_parts_may_be_the_same_as_what_is_there() {
    let (server, alice, bob, mxc) = reserved("").await;
    bob.upload(pattern(MIB)).await;

    alice.put(&mxc).incomplete().body(pattern(MIB)[..1000].to_vec()).await;
    let last = alice.patch(&mxc, 1000).complete().body(pattern(MIB)[1000..].to_vec()).await;

    is_stored(&last, &bob, &mxc, &pattern(MIB)).await;
    assert_eq!(server.blobs().len(), 1);
}

#[tokio::test]
async fn the_unstable_path_resumes_too() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let path = paths::unstable_put(&mxc);
    let request = |method| alice.request(method, path.as_str());

    let first = request(Method::PUT).incomplete().body("hel").await;
    let asked = request(Method::HEAD).await;
    let partial = request(Method::PATCH).header("content-type", "application/partial-upload");
    let last = partial.header("upload-offset", "3").complete().body("lo").await;

    assert_eq!(first.header("location"), path);
    assert_eq!((asked.status(), offset(&asked)), (204, 3));
    is_stored(&last, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn a_patch_at_the_wrong_offset_is_told_the_right_one() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body("hello").await;

    for wrong in [0, 4, 6, 1_000_000] {
        let refusal = alice.patch(&mxc, wrong).complete().body("?").await;
        assert_eq!(refusal.error(), (409, "M_UNKNOWN".to_owned()), "{wrong}");
        assert_eq!((refusal.header("upload-complete"), offset(&refusal)), ("?0", 5));
        let body = refusal.json();
        assert_eq!((&body["expected-offset"], &body["provided-offset"]), (&5.into(), &wrong.into()));
    }

    let last = alice.patch(&mxc, 5).complete().body("!").await;
    is_stored(&last, &bob, &mxc, b"hello!").await;
}

#[tokio::test]
async fn a_patch_that_is_no_partial_upload_is_refused() {
    let (_server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body("hel").await;
    let patch = || alice.request(Method::PATCH, paths::put(&mxc)).header("upload-offset", "3").complete().body("lo");

    let untyped = patch().await;
    let typed = patch().header("content-type", "application/octet-stream").await;

    for refusal in [untyped, typed] {
        assert_eq!(refusal.error(), (415, "M_UNKNOWN".to_owned()));
    }
    assert_eq!(offset_of(&alice, &mxc).await, 3);
}

#[tokio::test]
async fn a_patch_says_where_it_begins_and_whether_it_is_the_end() {
    let (_server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body("hel").await;
    let patch = || {
        let request = alice.request(Method::PATCH, paths::put(&mxc)).body("lo");
        request.header("content-type", "application/partial-upload")
    };

    // What is malformed is ignored (draft, section 4.1), and so missing.
    for offset in ["-1", "three", "3.0", "\"3\"", "?1", "", "3, 3", "9999999999999999"] {
        let refusal = patch().header("upload-offset", offset).complete().await;
        assert_eq!(refusal.error(), (400, "M_MISSING_PARAM".to_owned()), "{offset}");
    }
    for complete in ["1", "true", "?2", "?", "\"?1\"", "", "?1 ?1"] {
        let refusal = patch().header("upload-offset", "3").header("upload-complete", complete).await;
        assert_eq!(refusal.error(), (400, "M_MISSING_PARAM".to_owned()), "{complete}");
    }
    assert_eq!(patch().complete().await.error(), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(patch().header("upload-offset", "3").await.error(), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(offset_of(&alice, &mxc).await, 3);
}

#[tokio::test]
async fn structured_fields_may_have_parameters() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let first = alice.put(&mxc).header("upload-complete", " ?0;a=1;b").body("hel").await;

    let patch = alice.request(Method::PATCH, paths::put(&mxc)).header("content-type", "application/partial-upload");
    let last = patch.header("upload-offset", "3;x=\"y\"").header("upload-complete", "?1; c").body("lo").await;

    assert_eq!(first.status(), 201);
    is_stored(&last, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn an_upload_whose_header_is_malformed_is_a_plain_one() {
    let (_server, alice, bob, mxc) = reserved("").await;

    let answer = alice.put(&mxc).header("upload-complete", "no").body("hello").await;

    assert_eq!((answer.status(), answer.header("upload-complete")), (200, ""));
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn an_upload_may_begin_at_the_offset_that_was_asked_for() {
    let (_server, alice, bob, mxc) = reserved("").await;
    assert_eq!(offset_of(&alice, &mxc).await, 0);

    let answer = alice.patch(&mxc, 0).complete().body("hello").await;

    is_stored(&answer, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn a_new_put_starts_clean() {
    let (server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().header("content-type", "image/png").body(pattern(MIB)).await;
    alice.put(&mxc).incomplete().header("content-type", "image/gif").body("short").await;
    assert_eq!(offset_of(&alice, &mxc).await, 5);

    alice.put(&mxc).body("plain").await;

    let download = bob.get(paths::download(&mxc)).await;
    assert_eq!((download.bytes(), download.header("content-type")), (&"plain".into(), "application/octet-stream"));
    server.holds_nothing().await;
}
