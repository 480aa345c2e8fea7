//! The checks against a real server, and against ones that do not do what the proposal says.

use std::{net::SocketAddr, ops::ControlFlow, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use tintype_conformance::{ALL, Day, Names, OwnServer, Report, Target, Tokens, run};
use tintype_domain::{OsRandomness, ServerName};
use tintype_federation::SigningKey;
use tintype_testing::{
    TestServer, port,
    tls::{Certificate, authority_pem},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::rustls::crypto::ring;

const DAY: Duration = Duration::from_hours(24);

/// What is asked of a server in these tests, all of which have two users and a guest.
async fn target(server: &TestServer, url: String) -> Target {
    Target {
        server: url.parse().expect("a server has a URL"),
        federation: Some(url_of(server).parse().expect("a server has a URL")),
        tokens: Tokens {
            first: server.user("alice").await.token().to_owned(),
            second: Some(server.user("bob").await.token().to_owned()),
            guest: Some(server.guest("guest").await.token().to_owned()),
        },
        authorities: vec![authority_pem().into_bytes()],
    }
}

fn url_of(server: &TestServer) -> String {
    format!("https://{}", server.name())
}

fn own_server() -> OwnServer {
    let certificate = Certificate::of(&["conformance.localhost"]);
    let port = port::free();
    OwnServer {
        name: ServerName::parse(format!("conformance.localhost:{port}")).expect("this is a server name"),
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        certificate: certificate.chain_pem.into_bytes(),
        private_key: certificate.key_pem.into_bytes(),
        signing_key: SigningKey::random(&OsRandomness).expect("a key can be made"),
    }
}

async fn checked(server: &TestServer, names: &[Names], day: Day) -> Report {
    run(target(server, url_of(server)).await, Some(own_server()), names, day).await.expect("the program can begin")
}

/// A proxy in front of a server that does something else with requests than what the server would do.
async fn liar(server: &TestServer, lie: Lie) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let host = server.name().host().to_owned();
    // A second installation is refused, which is fine.
    let _ = ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .tls_certs_merge(
            reqwest::Certificate::from_pem_bundle(authority_pem().as_bytes()).expect("this is a certificate"),
        )
        .resolve(&host, SocketAddr::from(([127, 0, 0, 1], 0)))
        .no_proxy()
        .build()
        .expect("the client can be made");
    let router = Router::new().fallback(forward).with_state((http, url_of(server), lie));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.expect("the proxy serves") });
    (url, tasks)
}

type Lie = fn(Request) -> ControlFlow<Response, Request>;

async fn forward(State((http, url, lie)): State<(reqwest::Client, String, Lie)>, request: Request) -> Response {
    let request = match lie(request) {
        ControlFlow::Continue(request) => request,
        ControlFlow::Break(answer) => return answer,
    };
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    let body = to_bytes(body, usize::MAX).await.expect("the body comes whole");
    let request = http.request(head.method, format!("{url}{}", head.uri)).headers(head.headers).body(body);
    let answer = request.send().await.expect("the server answers");
    let mut response = Response::builder().status(answer.status());
    *response.headers_mut().expect("the answer has a status") = answer.headers().clone();
    let body = answer.bytes().await.expect("the answer comes whole");
    response.body(Body::from(body)).expect("the answer is valid")
}

#[tokio::test]
async fn tintype_does_what_the_proposal_says() {
    let server = TestServer::federating("ours", "proposals.stable = ['msc4425']").await;

    let report = checked(&server, &[Names::Unstable, Names::Stable], Day::NotAwaited).await;

    assert_eq!(report.failed(), Vec::<&str>::new(), "{:#}", report.json());
    assert_eq!(report.skipped(), ["day-media", "day-thumbnail"].repeat(2));
    assert_eq!(report.lines().len(), 2 * ALL.len());
}

#[tokio::test]
async fn tintype_keeps_nothing_for_longer_than_a_day() {
    let server = std::sync::Arc::new(TestServer::federating("ours", "").await);
    let passing = std::sync::Arc::clone(&server);

    let report =
        checked(&server, &[Names::Unstable], Day::Awaited(Box::pin(async move { passing.advance(DAY) }))).await;

    assert_eq!(report.failed(), Vec::<&str>::new(), "{:#}", report.json());
    assert_eq!(report.skipped(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_server_that_keeps_copies_for_longer_than_that_is_found_out() {
    let server = TestServer::federating("ours", "").await;

    // The program's day passes, and the server's does not.
    let report = checked(&server, &[Names::Unstable], Day::Awaited(Box::pin(async {}))).await;

    assert_eq!(report.failed(), ["day-media", "day-thumbnail"]);
}

#[tokio::test]
async fn a_server_that_says_so_and_deletes_nothing_is_found_out() {
    let server = TestServer::federating("ours", "").await;
    let (url, _tasks) = liar(&server, |request| match *request.method() {
        http::Method::DELETE => ControlFlow::Break("{}".into_response()),
        _ => ControlFlow::Continue(request),
    })
    .await;

    let report =
        run(target(&server, url).await, Some(own_server()), &[Names::Unstable], Day::NotAwaited).await.unwrap();

    let failed = report.failed();
    for check in [
        "create-flag",
        "default-kept",
        "false-kept",
        "gone-download",
        "gone-head",
        "gone-range",
        "gone-thumbnail",
        "delete-again",
        "delete-unknown",
        "delete-remote",
        "delete-kept",
        "delete-anothers",
        "delete-without-token",
        "delete-guest",
        "gone-for-servers",
        "id-used-once",
    ] {
        assert!(failed.contains(&check), "{check} did not fail");
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_flag_is_found_out() {
    let server = TestServer::federating("ours", "proposals.stable = []").await;

    let report = checked(&server, &[Names::Stable], Day::NotAwaited).await;

    let failed = report.failed();
    for check in ["upload-flag", "create-flag", "delete-own", "told-download", "told-thumbnail", "delete-kept"] {
        assert!(failed.contains(&check), "{check} did not fail");
    }
}

#[tokio::test]
async fn without_a_server_of_its_own_the_program_says_what_it_could_not_check() {
    let server = TestServer::federating("ours", "").await;

    let report = run(target(&server, url_of(&server)).await, None, &[Names::Unstable], Day::NotAwaited).await.unwrap();

    assert_eq!(report.failed(), Vec::<&str>::new());
    assert_eq!(report.skipped().len(), 11);
}

#[tokio::test]
async fn where_nothing_can_be_uploaded_nothing_is_checked() {
    let server = TestServer::federating("ours", "").await;
    let mut target = target(&server, url_of(&server)).await;
    target.tokens.first = "nobody's".to_owned();

    let error = run(target, None, &[Names::Unstable], Day::NotAwaited).await.unwrap_err().to_string();

    assert!(error.ends_with("the upload answered 401 (M_UNKNOWN_TOKEN) and no content_uri"), "{error}");
}

#[test]
fn every_check_has_its_row_in_the_book() {
    let page = include_str!("../../docs/src/msc4425-conformance.md");

    for check in ALL {
        assert!(page.contains(&format!("| `{}` |", check.name)), "{}", check.name);
    }
}
