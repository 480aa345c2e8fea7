//! Media that its origin does not give: because there is none, because it is gone, too large, or we may not ask.

use std::{future::IntoFuture as _, time::Duration};

use tintype_domain::Mxc;
use tintype_testing::{TestServer, Waiting, paths, pattern};

use super::{ask, pair};

const MIB: usize = 1024 * 1024;

fn too_large() -> (u16, String) {
    (502, "M_TOO_LARGE".to_owned())
}

fn missing(server: &TestServer) -> Mxc {
    format!("mxc://{}/missing", server.name()).parse().expect("it is an MXC URI")
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_again_for_a_minute_for_those_without_a_token() {
    let (ours, theirs, ..) = pair("legacy.freeze = 'never'", "").await;
    ours.is_at_one_node("each node remembers for itself what another server said");
    let (path, anonymous) = (paths::legacy_download(&missing(&theirs)), ours.anonymous());

    for _ in 0..3 {
        assert_eq!(anonymous.get(path.as_str()).await.error(), (404, "M_NOT_FOUND".to_owned()));
    }
    assert_eq!(theirs.requests("federation_download").await, 1);

    ours.advance(Duration::from_secs(59));
    assert_eq!(anonymous.get(path.as_str()).await.status(), 404);
    assert_eq!(theirs.requests("federation_download").await, 1);

    ours.advance(Duration::from_secs(1));
    assert_eq!(anonymous.get(path.as_str()).await.status(), 404);
    assert_eq!(theirs.requests("federation_download").await, 2);
    assert_eq!(theirs.requests("legacy_download").await, 0, "it said that there is none");
}

#[tokio::test]
async fn for_users_it_is_asked_each_time_whether_something_is_there_by_now() {
    let (_ours, theirs, alice, _) = pair("", "").await;
    let path = paths::download(&missing(&theirs));

    for _ in 0..2 {
        assert_eq!(alice.get(path.as_str()).await.error(), (404, "M_NOT_FOUND".to_owned()));
    }

    assert_eq!(theirs.requests("federation_download").await, 2);
}

#[tokio::test]
async fn a_reservation_that_expired_at_the_origin_is_not_found() {
    let (_ours, theirs, alice, bob) = pair("", "limits.unused_expires_after = '1h'").await;
    let mxc = bob.create().await;
    theirs.advance(Duration::from_hours(1));

    assert_eq!(alice.get(paths::download(&mxc)).await.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn an_origin_that_is_gone_is_a_bad_gateway() {
    let (_ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload(pattern(10)).await;
    drop(theirs.drain().await);

    let download = alice.get(paths::download(&mxc)).await;
    let thumbnail = alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;

    assert_eq!(download.error(), (502, "M_UNKNOWN".to_owned()));
    assert_eq!(thumbnail.error(), (502, "M_UNKNOWN".to_owned()));
    let text = download.json()["error"].as_str().unwrap().to_owned();
    assert!(!text.contains("127.0.0.1") && !text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_a_bad_gateway() {
    let (_ours, _, alice, _) = pair("", "").await;
    let path = "/_matrix/client/v1/media/download/nobody.localhost:1/abc";

    assert_eq!(alice.get(path).await.error(), (502, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn an_origin_that_is_back_is_asked_again_after_a_pause() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let (small, large) = (bob.upload("small").await, bob.upload(pattern(300_000)).await);
    alice.get(paths::download(&small)).await;
    let theirs = theirs.restart().await;

    // The connection that was kept open is gone: another one is made, and nobody notices.
    assert!(*alice.get(paths::download(&large)).await.bytes() == pattern(300_000));
    drop((ours, theirs));
}

#[tokio::test]
async fn media_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let (ours, theirs, alice, bob) = pair("limits.max_remote_size = '1MiB'", "").await;
    ours.is_at_one_node("each node remembers for itself what another server said");
    let (fits, too_much) = (bob.upload(pattern(MIB)).await, bob.upload(pattern(MIB + 1)).await);

    for _ in 0..2 {
        assert_eq!(alice.get(paths::download(&too_much)).await.error(), too_large());
    }
    ours.holds_nothing().await;
    let asked = theirs.requests("federation_download").await;
    assert!(*alice.get(paths::download(&fits)).await.bytes() == pattern(MIB));

    assert!(asked <= 1, "it was asked again: {asked}");
}

#[tokio::test]
async fn what_turns_out_too_large_aborts_who_reads_and_is_not_kept() {
    let (ours, _theirs, alice, bob) = pair("limits.max_remote_size = '1MiB'", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(2 * MIB));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let reading = alice.get(paths::download(&mxc)).open().await;
    assert_eq!(reading.status(), 200);

    upload.send(&bytes[1000..]).await;

    let stump = reading.aborted().await;
    assert!(stump.len() <= MIB && bytes.starts_with(&stump));
    ours.holds_nothing().await;
    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(alice.get(paths::download(&mxc)).await.error(), too_large());
}

#[tokio::test]
async fn servers_that_are_denied_are_not_asked() {
    for config in ["federation.deny_servers = ['theirs.localhost']", "federation.allow_servers = ['*.example.org']"] {
        let (ours, theirs, alice, bob) = pair(config, "").await;
        let mxc = bob.upload(pattern(10)).await;

        let download = alice.get(paths::download(&mxc)).await;
        let thumbnail = alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;

        assert_eq!(download.error(), (403, "M_FORBIDDEN".to_owned()), "{config}");
        assert_eq!(thumbnail.error(), (403, "M_FORBIDDEN".to_owned()), "{config}");
        for endpoint in ["federation_download", "federation_thumbnail", "legacy_download", "other"] {
            assert_eq!(theirs.requests(endpoint).await, 0, "{endpoint}");
        }
        let id = alice.upload("ours").await.media_id;
        let asked = ask(&theirs, &ours, &format!("/_matrix/federation/v1/media/download/{id}")).await;
        assert_eq!(asked.error(), (403, "M_FORBIDDEN".to_owned()), "{config}");
        assert_eq!(theirs.requests("other").await, 0, "not even for its keys");
    }
}

#[tokio::test]
async fn servers_that_are_allowed_are_asked() {
    let (_ours, _theirs, alice, bob) = pair("federation.allow_servers = ['their?.LOCALHOST']", "").await;
    let mxc = bob.upload("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_server_that_denies_us_is_a_bad_gateway() {
    let (_ours, _theirs, alice, bob) = pair("", "federation.deny_servers = ['ours.*']").await;
    let mxc = bob.upload("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.error(), (502, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn too_many_fetches_from_one_server_are_limited_and_what_is_kept_is_not() {
    for (ours, theirs) in [
        ("limits.rates.fetch_server = { per_second = 1, burst = 1 }", ""),
        ("", "limits.rates.serve_server = { per_second = 1, burst = 1 }"),
    ] {
        let (_ours, _theirs, alice, bob) = pair(ours, theirs).await;
        let mut uploaded = Vec::new();
        for number in 0..12 {
            uploaded.push(bob.upload(format!("number {number}")).await);
        }
        let kept = alice.get(paths::download(&uploaded[0])).await;
        assert_eq!(kept.bytes(), "number 0");

        let asking = uploaded.iter().map(|mxc| Waiting::new(alice.get(paths::download(mxc)).into_future()));
        let asking = asking.collect::<Vec<_>>();
        let mut limited = 0;
        for answer in asking {
            let answer = answer.await;
            if answer.status() == 429 {
                limited += 1;
                assert_eq!(answer.error().1, "M_LIMIT_EXCEEDED");
                assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
            } else {
                assert_eq!(answer.status(), 200);
            }
        }

        assert!(limited > 0, "{ours}{theirs}");
        assert_eq!(alice.get(paths::download(&uploaded[0])).await.status(), 200);
    }
}
