//! `POST /_matrix/app/v1/ping`

use http::Method;
use tintype_testing::until;

use super::{AS_TOKEN, Pair, TOKEN};

const PATH: &str = "/_matrix/app/v1/ping";

#[tokio::test]
async fn a_homeserver_that_knows_the_token_is_answered() {
    let pair = Pair::start().await;

    let answer = pair.speaks().post(PATH).body(r#"{"transaction_id":"x"}"#).await;

    assert_eq!((answer.status(), &answer.bytes()[..]), (200, &b"{}"[..]));
}

#[tokio::test]
async fn nobody_else_is() {
    let pair = Pair::start().await;
    let anonymous = pair.server.anonymous();

    assert_eq!(anonymous.post(PATH).await.error(), (401, "M_MISSING_TOKEN".to_owned()));
    for token in [AS_TOKEN, "hs-secre", "hs-secrets", "HS-SECRET"] {
        let answer = anonymous.with_token(token).post(PATH).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()), "{token}");
    }
}

#[tokio::test]
async fn a_server_without_an_application_service_knows_no_token() {
    let server = tintype_testing::TestServer::start().await;

    let answer = server.anonymous().with_token(TOKEN).post(PATH).await;

    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn the_deprecated_token_in_the_query_is_taken() {
    let pair = Pair::start().await;

    let answer = pair.server.anonymous().post(format!("{PATH}?access_token={TOKEN}")).await;

    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_homeserver_is_asked_to_ping_at_the_start_so_that_it_sends_what_it_could_not() {
    let pair = Pair::start().await;

    let is_ping = |method: &Method, target: &str| {
        method == Method::POST && target == "/_matrix/client/v1/appservice/tintype/ping"
    };
    until("the homeserver is asked", async || {
        pair.homeserver.asked().iter().any(|asked| {
            let authorization = asked.headers.get("authorization").map(http::HeaderValue::as_bytes);
            is_ping(&asked.method, &asked.target) && authorization == Some(b"Bearer as-secret")
        })
    })
    .await;
}
