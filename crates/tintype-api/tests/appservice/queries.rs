//! `GET /_matrix/app/v1/users/{userId}` and `GET /_matrix/app/v1/rooms/{roomAlias}`

use super::Pair;

const PATHS: [&str; 4] = [
    "/_matrix/app/v1/users/%40bob%3Aexample.org",
    "/_matrix/app/v1/rooms/%23room%3Aexample.org",
    "/users/%40bob%3Aexample.org",
    "/rooms/%23room%3Aexample.org",
];

#[tokio::test]
async fn there_are_no_users_and_no_rooms() {
    let pair = Pair::start().await;

    for path in PATHS {
        assert_eq!(pair.speaks().get(path).await.error(), (404, "M_NOT_FOUND".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn only_the_homeserver_is_told_so() {
    let pair = Pair::start().await;

    for path in PATHS {
        let answer = pair.server.anonymous().get(path).await;
        assert_eq!(answer.error(), (401, "M_MISSING_TOKEN".to_owned()), "{path}");
    }
}
