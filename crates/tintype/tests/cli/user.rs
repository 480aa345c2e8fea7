//! `tintype user erase`

use serde_json::{Value, json};
use tintype_testing::{Client, paths, until};

use crate::installation::{Installation, Ran, Serving};

/// More than lies beside its record.
const LARGE: usize = 300_000;

fn token(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.trim_end()
}

fn report(ran: &Ran) -> Value {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("it is JSON")
}

fn client(installation: &Installation, serving: &Serving, name: &str) -> Client {
    serving.client().with_token(token(&installation.run(&["token", name])))
}

fn files(installation: &Installation) -> usize {
    fn below(folder: &std::path::Path) -> usize {
        let entries =
            std::fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("it is read").path());
        entries.map(|path| if path.is_dir() { below(&path) } else { usize::from(!path.ends_with("lock")) }).sum()
    }
    below(&installation.path().join("tintype-data/media"))
}

async fn upload(client: &Client, body: impl Into<bytes::Bytes>) -> tintype_domain::Mxc {
    client.post(paths::UPLOAD).body(body).await.mxc()
}

#[tokio::test]
async fn a_running_server_gives_nothing_more_of_what_a_user_uploaded() {
    let installation = Installation::with("");
    let serving = installation.serve().await;
    let (alice, bob) = (client(&installation, &serving, "alice"), client(&installation, &serving, "bob"));
    let small = upload(&alice, "small").await;
    let large = upload(&alice, vec![7; LARGE]).await;
    let same = upload(&bob, "small").await;
    let reserved = alice.post(paths::CREATE).await.mxc();
    for mxc in [&small, &large] {
        assert_eq!(bob.get(paths::download(mxc)).await.status(), 200, "it is remembered from now on");
    }

    let ran = installation.run(&["user", "erase", "@alice:localhost", "--json"]);

    let expected = json!({
        "user_id": "@alice:localhost", "media": 2, "bytes": LARGE + 5, "ephemeral": 0, "restricted": 0, "reserved": 1,
        "shared": 1, "shared_bytes": 5,
    });
    assert_eq!(report(&ran), expected);
    for mxc in [&small, &large, &reserved] {
        for who in [&alice, &bob] {
            assert_eq!(who.get(paths::download(mxc)).await.error().0, 404, "{mxc}");
        }
    }
    assert_eq!(bob.get(paths::download(&same)).await.bytes()[..], b"small"[..]);
    until("the file is removed", async || files(&installation) == 0).await;
}

#[tokio::test]
async fn without_a_server_the_command_does_it_itself() {
    let installation = Installation::with("");
    let serving = installation.serve().await;
    let (alice, bob) = (client(&installation, &serving, "alice"), client(&installation, &serving, "bob"));
    let (small, large) = (upload(&alice, "small").await, upload(&alice, vec![7; LARGE]).await);
    let kept = upload(&bob, vec![8; LARGE]).await;
    drop(serving);

    let ran = installation.run(&["user", "erase", "@alice:localhost", "--json"]);

    assert_eq!((&report(&ran)["media"], &report(&ran)["bytes"]), (&json!(2), &json!(LARGE + 5)));
    assert_eq!(files(&installation), 1, "the other's file stays");
    let serving = installation.serve().await;
    let bob = client(&installation, &serving, "bob");
    for mxc in [&small, &large] {
        assert_eq!(bob.get(paths::download(mxc)).await.error().0, 404, "{mxc}");
    }
    assert_eq!(bob.get(paths::download(&kept)).await.bytes().len(), LARGE);
}

#[tokio::test]
async fn who_uploads_again_can_be_erased_again() {
    let installation = Installation::with("");
    let serving = installation.serve().await;
    let alice = client(&installation, &serving, "alice");
    upload(&alice, "first").await;
    let first = installation.run(&["user", "erase", "@alice:localhost", "--json"]);
    upload(&alice, "and second").await;

    let second = installation.run(&["user", "erase", "@alice:localhost", "--json"]);

    assert_eq!((&report(&first)["bytes"], &report(&second)["bytes"]), (&json!(5), &json!(10)));
}

#[test]
fn the_report_is_readable() {
    let ran = Installation::empty().run(&["user", "erase", "@nobody:localhost"]);

    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.starts_with("Erased @nobody:localhost\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("pieces of media"), "{}", ran.stdout);
}

#[test]
fn who_has_no_media_here_cannot_be_erased() {
    for user in ["alice", "@alice", "@alice:elsewhere.example", ""] {
        let ran = Installation::empty().run(&["user", "erase", user]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{user:?}");
    }
}
