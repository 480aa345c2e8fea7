//! `tintype appservice registration`, and what the server does with the tokens.

use std::{fs, os::unix::fs::PermissionsExt as _};

use axum::http::Method;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::installation::{Installation, Ran};

const SERVER: &str = "[[server]]\nname = 'matrix-1.example.org:8448'\nhomeserver = 'http://127.0.0.1:1'\n";

const TOKENS: &str = "appservice_token = 'as \"secret\"'\nhomeserver_token = 'hs-secret'\n";

const REGISTRATION: [&str; 2] = ["appservice", "registration"];

fn registration(installation: &Installation, more: &[&str]) -> Ran {
    installation.run(&[&REGISTRATION[..], more].concat())
}

/// What stands behind a key of the registration, without its quotes.
fn value<'a>(document: &'a str, key: &str) -> &'a str {
    let line = document.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {key} in {document}")).trim_matches('"')
}

#[test]
fn the_registration_has_the_tokens_of_the_configuration_and_claims_nothing() {
    let installation = Installation::empty();
    installation.write("tintype.toml", &format!("{SERVER}{TOKENS}"));

    let ran = registration(&installation, &[]);

    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let expected = r#"# Tintype, the media server of matrix-1.example.org:8448. Whoever has as_token can act as each of its users.
id: "tintype"
url: "http://127.0.0.1:8090"
as_token: "as \"secret\""
hs_token: "hs-secret"
sender_localpart: "tintype"
rate_limited: false
receive_ephemeral: false
namespaces:
  users:
    - regex: "@.*:matrix-1\\.example\\.org:8448"
      exclusive: false
  aliases: []
  rooms: []
"#;
    assert_eq!(ran.stdout, expected);
}

#[test]
fn without_tokens_new_ones_are_made_and_it_is_said_where_they_belong() {
    let installation = Installation::empty();
    installation.write("tintype.toml", SERVER);

    let (first, second) = (registration(&installation, &[]), registration(&installation, &[]));

    assert_eq!(first.code, Some(0), "{first:?}");
    let (appservice, homeserver) = (value(&first.stdout, "as_token"), value(&first.stdout, "hs_token"));
    assert!(appservice.len() > 40 && homeserver.len() > 40 && appservice != homeserver, "{first:?}");
    assert_ne!(appservice, value(&second.stdout, "as_token"));
    assert!(first.stderr.contains(&format!("appservice_token = \"{appservice}\"")), "{first:?}");
    assert!(first.stderr.contains(&format!("homeserver_token = \"{homeserver}\"")), "{first:?}");
}

#[test]
fn the_homeserver_may_reach_it_elsewhere() {
    let installation = Installation::empty();
    installation.write("tintype.toml", &format!("http.listen = ['0.0.0.0:8091']\n{SERVER}{TOKENS}"));

    let own = registration(&installation, &[]);
    let other = registration(&installation, &["--url", "https://media.example.org/"]);

    assert_eq!(value(&own.stdout, "url"), "http://127.0.0.1:8091");
    assert_eq!(value(&other.stdout, "url"), "https://media.example.org");
}

#[test]
fn a_file_is_written_for_its_owner_alone_and_none_is_overwritten() {
    let installation = Installation::empty();
    installation.write("tintype.toml", &format!("{SERVER}{TOKENS}"));

    let first = registration(&installation, &["--output", "tintype.yaml"]);
    let second = registration(&installation, &["--output", "tintype.yaml"]);

    assert_eq!((first.code, first.stdout.as_str()), (Some(0), ""), "{first:?}");
    let path = installation.path().join("tintype.yaml");
    assert_eq!(value(&fs::read_to_string(&path).unwrap(), "hs_token"), "hs-secret");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(second.code, Some(1), "{second:?}");
}

#[test]
fn of_several_servers_one_has_to_be_named() {
    let installation = Installation::empty();
    let two = "[[server]]\nname = 'two.example'\nhomeserver = 'http://127.0.0.1:2'\n[[server]]\nname = 'own.example'\n";
    installation.write("tintype.toml", &format!("{SERVER}{TOKENS}{two}"));

    let unnamed = registration(&installation, &[]);
    let named = registration(&installation, &["--server", "matrix-1.example.org:8448"]);
    let owned = registration(&installation, &["--server", "own.example"]);
    let unknown = registration(&installation, &["--server", "three.example"]);

    assert_eq!(value(&named.stdout, "hs_token"), "hs-secret");
    for (ran, why) in [(unnamed, "--server"), (owned, "no homeserver"), (unknown, "not served")] {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains(why), "{ran:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_the_database_does_not_take_is_not_acknowledged_and_counts_when_it_is_repeated() {
    let installation = Installation::with(&format!("{SERVER}{TOKENS}"));
    let serving = installation.serve().await;
    let options = SqliteConnectOptions::new().filename(installation.path().join("tintype-data/tintype.db"));
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let homeserver = serving.client().with_token("hs-secret");
    let send = || {
        let body = r#"{"events":[{"event_id":"$1","room_id":"!r:x","sender":"@a:x","type":"m.x","content":{}}]}"#;
        homeserver.request(Method::PUT, "/_matrix/app/v1/transactions/1").body(body)
    };

    sqlx::query("ALTER TABLE rooms RENAME TO lost_rooms").execute(&mut database).await.unwrap();
    let refused = send().await;
    sqlx::query("ALTER TABLE lost_rooms RENAME TO rooms").execute(&mut database).await.unwrap();
    let taken = send().await;

    assert_eq!((refused.status(), taken.status()), (500, 200));
    let (position,): (i64,) = sqlx::query_as("SELECT position FROM streams").fetch_one(&mut database).await.unwrap();
    assert_eq!(position, 1);
}
