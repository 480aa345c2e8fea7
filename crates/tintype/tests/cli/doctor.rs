//! `tintype doctor`

use std::fs;

use tintype_testing::FakeHomeserver;

use crate::installation::{Installation, Ran};

/// The line about `what`.
fn line<'a>(ran: &'a Ran, what: &str) -> &'a str {
    ran.stdout.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("nothing on {what} in {ran:?}"))
}

async fn doctor(installation: Installation) -> Ran {
    // The homeserver of these tests lives on this thread's runtime.
    tokio::task::spawn_blocking(move || installation.run(&["doctor"])).await.expect("it ends")
}

#[test]
fn a_sound_installation_has_a_line_for_each_part() {
    let ran = Installation::empty().run(&["doctor"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    for what in ["database", "blobs", "signing key of localhost"] {
        assert!(line(&ran, what).starts_with("ok "), "{ran:?}");
    }
}

#[tokio::test]
async fn a_running_server_can_be_examined() {
    let installation = Installation::with("");
    let _serving = installation.serve().await;

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn a_key_that_the_running_server_does_not_publish_is_found() {
    let installation = Installation::with("");
    let serving = installation.serve().await;
    let address = serving.address().unwrap();
    installation.write("tintype.toml", &format!("http.listen = ['{address}']\ntelemetry.listen = '127.0.0.1:0'"));

    let published = installation.run(&["doctor"]);
    fs::remove_file(installation.path().join("tintype-data/localhost.signing.key")).unwrap();
    let lost = installation.run(&["doctor"]);

    assert_eq!(published.code, Some(0), "{published:?}");
    assert!(line(&published, "published key").contains("shows ed25519:"), "{published:?}");
    assert_eq!(lost.code, Some(1), "{lost:?}");
    assert!(line(&lost, "published key").starts_with("FAIL "), "{lost:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_found_and_the_rest_is_still_tried() {
    let installation = Installation::empty();
    fs::create_dir(installation.path().join("tintype-data")).unwrap();
    installation.write("tintype-data/media", "this is a file");

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "blobs").starts_with("FAIL "), "{ran:?}");
    assert!(line(&ran, "database").starts_with("ok "), "{ran:?}");
    assert!(line(&ran, "signing key").starts_with("ok "), "{ran:?}");
}

#[test]
fn a_file_that_is_no_database_is_found() {
    let installation = Installation::empty();
    fs::create_dir(installation.path().join("tintype-data")).unwrap();
    installation.write("tintype-data/tintype.db", &"this is no database ".repeat(1000));

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "database").starts_with("FAIL "), "{ran:?}");
}

#[tokio::test]
async fn a_homeserver_that_refuses_an_unknown_token_is_sound() {
    let homeserver = FakeHomeserver::start().await;

    let ran = doctor(Installation::with(&homeserver.config())).await;

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(line(&ran, "homeserver of example.org").starts_with("ok "), "{ran:?}");
}

#[tokio::test]
async fn a_homeserver_that_answers_anything_else_is_found() {
    for (status, body) in [
        (200, r#"{"user_id":"@anybody:example.org"}"#),
        (200, "<html>Welcome</html>"),
        (403, r#"{"errcode":"M_FORBIDDEN","error":"No"}"#),
        (404, r#"{"errcode":"M_UNRECOGNIZED","error":"?"}"#),
        (502, "Bad gateway"),
    ] {
        let homeserver = FakeHomeserver::start().await;
        homeserver.always_answers(status, &[], body);
        let ran = doctor(Installation::with(&homeserver.config())).await;
        assert_eq!(ran.code, Some(1), "{status} {body}: {ran:?}");
        assert!(line(&ran, "homeserver of example.org").starts_with("FAIL "), "{ran:?}");
        assert!(line(&ran, "database").starts_with("ok "), "{ran:?}");
    }
}

#[tokio::test]
async fn a_homeserver_that_is_down_is_found() {
    let homeserver = FakeHomeserver::start().await;
    let config = homeserver.config();
    homeserver.stop().await;

    let ran = doctor(Installation::with(&config)).await;

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "homeserver of example.org").starts_with("FAIL "), "{ran:?}");
}
