//! `tintype serve`

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;
use tintype_testing::{FakeHomeserver, paths, pattern, tls::Certificate};

use crate::installation::Installation;

#[tokio::test]
async fn it_ends_in_order_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let installation = Installation::with("");
        let serving = installation.serve().await;
        let (status, text) = serving.stop(signal);
        assert!(status.success(), "{status}: {text}");
    }
}

#[tokio::test]
async fn whoever_tries_it_is_told_how() {
    let serving = Installation::with("").serve().await;

    let (_, text) = serving.stop(Signal::TERM);

    for command in ["token alice", "/_matrix/media/v3/upload", "/_matrix/client/v1/media/download/"] {
        assert!(text.contains(command), "{command} is missing in {text}");
    }
}

#[tokio::test]
async fn a_machine_that_trusts_no_authorities_is_good_enough_to_start_on() {
    let homeserver = FakeHomeserver::start().await;
    let installation = Installation::with(&homeserver.config());
    let serving = installation.serve_without_authorities().await;

    let client = serving.client().with_token("nobodys");
    let status = client.get("/_matrix/client/v1/media/config").await.status();
    let (_, text) = serving.stop(Signal::TERM);

    // The homeserver, which speaks without TLS, was asked.
    assert_eq!((status, homeserver.asked().len()), (401, 1));
    assert_eq!(text.matches("no certificates of authorities").count(), 1, "{text}");
}

/// An installation that listens with TLS alone, on a free port.
fn with_tls() -> Installation {
    let installation = Installation::empty();
    let path = |name| installation.path().join(name).display().to_string();
    let (chain, key) = (path("chain.pem"), path("key.pem"));
    installation.write(
        "tintype.toml",
        &format!(
            "telemetry.listen = '127.0.0.1:0'
             http.listen = []
             http.tls_listen = ['127.0.0.1:0']
             http.tls_certificate_file = '{chain}'
             http.tls_private_key_file = '{key}'"
        ),
    );
    installation
}

#[tokio::test]
async fn where_there_is_only_tls_whoever_tries_it_is_told_so() {
    let installation = with_tls();
    let certificate = Certificate::of(&["localhost"]);
    installation.write("chain.pem", &certificate.chain_pem);
    installation.write("key.pem", &certificate.key_pem);

    let serving = installation.serve().await;
    let address = serving.address().unwrap();
    let (_, text) = serving.stop(Signal::TERM);

    assert!(text.contains(&format!("Tintype serves the media of localhost at https://{address}\n")), "{text}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let installation = with_tls();
    let certificate = Certificate::of(&["localhost"]);

    let missing = installation.run(&["serve"]);
    installation.write("chain.pem", &certificate.chain_pem);
    installation.write("key.pem", &Certificate::of(&["localhost"]).key_pem);
    let mismatched = installation.run(&["serve"]);

    assert_eq!((missing.code, mismatched.code), (Some(1), Some(1)));
    assert!(missing.stderr.contains("cannot read") && missing.stderr.contains("chain.pem"), "{missing:?}");
    assert!(mismatched.stderr.contains("key.pem cannot be used"), "{mismatched:?}");
}

#[tokio::test]
async fn each_request_is_a_line_and_never_shows_a_token() {
    let installation = Installation::with("");
    let serving = installation.serve().await;
    let token = installation.run(&["token", "alice"]).stdout.trim().to_owned();
    let alice = serving.client().with_token(&token);
    let mxc = alice.upload(pattern(100_000)).await;

    alice.get(paths::download(&mxc)).await;
    serving.client().get(format!("{}?access_token={token}", paths::download(&mxc))).await;
    serving.client().get(format!("{}?access_token=made_up_token", paths::CONFIG)).await;
    serving.client().with_token("another_made_up_token").get(paths::CONFIG).await;
    let (_, text) = serving.stop(Signal::TERM);

    assert!(!text.contains(&token), "{text}");
    assert!(!text.contains("made_up_token"), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.contains("tintype::request")).collect();
    assert_eq!(lines.len(), 5, "{text}");
    for downloaded in &lines[1..=2] {
        for part in
            [&*paths::download(&mxc), "GET", "status=200", "bytes=100000", "ms=", "@alice:localhost", "127.0.0.1"]
        {
            assert!(downloaded.contains(part), "{part} is missing in {downloaded}");
        }
    }
    assert!(lines[3].contains("status=401") && !lines[3].contains("requester"), "{}", lines[3]);
}

#[tokio::test]
async fn lines_can_be_json() {
    let installation = Installation::with("telemetry.log_format = 'json'");
    let serving = installation.serve().await;
    serving.client().get(paths::CONFIG).await;

    let (_, text) = serving.stop(Signal::TERM);

    let line = text.lines().find(|line| line.contains("tintype::request")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["method"], &line["status"], &line["path"]), (&"GET".into(), &401.into(), &paths::CONFIG.into()));
}

#[tokio::test]
async fn the_lines_of_requests_can_be_turned_off() {
    let installation = Installation::with("telemetry.request_log = false");
    let serving = installation.serve().await;
    serving.client().get(paths::CONFIG).await;

    let (_, text) = serving.stop(Signal::TERM);

    assert!(!text.contains(paths::CONFIG), "{text}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let installation = Installation::empty();
    installation.write("tintype.toml", &format!("http.listen = ['{address}']\ntelemetry.listen = '127.0.0.1:0'"));

    let ran = installation.run(&["serve"]);

    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&address), "{}", ran.stderr);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_says_why_it_does_not_start() {
    let installation = Installation::with("");
    let _serving = installation.serve().await;

    let ran = installation.run(&["serve"]);

    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("used by another tintype process"), "{}", ran.stderr);
}

#[test]
fn a_configuration_with_errors_is_not_served() {
    let ran = Installation::with("limits.max_upload_size = 'lots'").run(&["serve"]);

    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("limits.max_upload_size"), "{}", ran.stderr);
}
