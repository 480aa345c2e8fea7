//! Several server names in one process: the host that was asked decides whose clients they are.

use http::Method;
use tintype_testing::{Client, TestServer, paths};

const TWO: &str = "
[[server]]
name = 'one.example'
hosts = ['matrix.one.example', 'media.one.example:8443']
[[server]]
name = 'two.example'
";

async fn two() -> (TestServer, Client, Client) {
    let server = TestServer::with(TWO).await;
    let alice = server.user("@alice:one.example").await.at_host("matrix.one.example");
    let bob = server.user("@bob:two.example").await.at_host("two.example");
    (server, alice, bob)
}

#[tokio::test]
async fn an_upload_belongs_to_the_server_whose_host_was_asked() {
    let (_server, alice, bob) = two().await;

    assert_eq!(alice.upload("hello").await.server_name, "one.example");
    assert_eq!(bob.upload("hello").await.server_name, "two.example");
}

#[tokio::test]
async fn a_host_is_the_same_in_capitals_and_with_any_port() {
    let (_server, alice, _) = two().await;

    for host in ["MATRIX.One.Example", "matrix.one.example:443", "matrix.one.example:8008", "media.one.example:8443"] {
        assert_eq!(alice.at_host(host).get(paths::CONFIG).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_host_with_a_port_is_no_other_port() {
    let (_server, alice, _) = two().await;

    for host in ["media.one.example", "media.one.example:443"] {
        assert_eq!(alice.at_host(host).get(paths::CONFIG).await.status(), 404, "{host}");
    }
}

#[tokio::test]
async fn an_unknown_host_is_not_served() {
    let (_server, alice, _) = two().await;

    // The name of a server whose clients come by another host is unknown, too.
    for host in ["elsewhere.example", "one.example", "localhost", "127.0.0.1", "two.example.org", ""] {
        let answer = alice.at_host(host).get(paths::CONFIG).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()), "{host}");
    }
}

#[tokio::test]
async fn a_user_of_one_server_is_nobody_at_the_other() {
    let (_server, alice, bob) = two().await;
    let mxc = bob.upload("hello").await;

    let alice_at_two = alice.at_host("two.example");

    assert_eq!(alice_at_two.get(paths::CONFIG).await.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(alice_at_two.post(paths::UPLOAD).body("hello").await.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(alice_at_two.get(paths::download(&mxc)).await.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn a_reservation_belongs_to_the_server_whose_host_was_asked() {
    let (_server, alice, bob) = two().await;

    let (one, two) = (alice.create().await, bob.create().await);

    assert_eq!((one.server_name.as_str(), two.server_name.as_str()), ("one.example", "two.example"));
    assert_eq!(alice.put(&one).body("hello").await.status(), 200);
    assert_eq!(bob.get(paths::download(&one)).await.bytes(), "hello");
}

#[tokio::test]
async fn the_reservations_of_another_server_are_out_of_reach() {
    let (_server, alice, bob) = two().await;
    let mxc = bob.create().await;
    let elsewhere = format!("/_matrix/media/v3/upload/one.example/{}", mxc.media_id);

    assert_eq!(alice.at_host("two.example").post(paths::CREATE).await.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(alice.at_host("two.example").put(&mxc).body("hello").await.error(), (403, "M_FORBIDDEN".to_owned()));
    assert!(matches!(alice.put(&mxc).body("hello").await.status(), 403 | 404));
    assert_eq!(alice.request(Method::PUT, elsewhere).body("hello").await.error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(bob.put(&mxc).body("bob's").await.status(), 200);
}

#[tokio::test]
async fn media_goes_by_its_own_server_name() {
    let (_server, alice, bob) = two().await;
    let mxc = bob.upload("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    let elsewhere = paths::download(&mxc).replace("two.example", "one.example");
    assert_eq!(alice.get(elsewhere).await.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_target_in_absolute_form_names_the_host() {
    let (server, alice, _) = two().await;
    let mut connection = server.connect().await;

    // RFC 9112, section 3.2.2: the Host header is ignored then.
    let target = format!("http://matrix.one.example{}", paths::CONFIG);
    let authorization = format!("Authorization: Bearer {}", alice.token());
    connection.send(format!("GET {target} HTTP/1.1\r\nHost: two.example\r\n{authorization}\r\n\r\n")).await;

    assert_eq!(connection.response().await.status(), 200);
}

#[tokio::test]
async fn the_documents_of_a_server_go_by_the_host_too() {
    let (server, _, _) = two().await;
    let key = "/_matrix/key/v2/server";

    let one = server.anonymous().at_host("matrix.one.example").get(key).await.json();
    let two = server.anonymous().at_host("two.example").get(key).await.json();

    assert_eq!((&one["server_name"], &two["server_name"]), (&"one.example".into(), &"two.example".into()));
    assert_ne!(one["verify_keys"], two["verify_keys"]);
}

#[tokio::test]
async fn a_single_server_takes_any_host() {
    let server = TestServer::with("[[server]]\nname = 'one.example'\nhosts = ['matrix.one.example']").await;
    let alice = server.user("alice").await;

    for host in ["one.example", "elsewhere.example", "10.0.0.1:8090"] {
        assert_eq!(alice.at_host(host).get(paths::CONFIG).await.status(), 200, "{host}");
    }
}
