//! Uploads to a reserved URI that are continued where they were interrupted (draft-ietf-httpbis-resumable-upload).

mod cancel;
mod ends;
mod interrupted;
mod lengths;
mod parts;
mod readers;
mod state;

use tintype_domain::Mxc;
use tintype_testing::{Client, Response, Sending, TestServer, paths};

/// A server, two users, and a reservation of the first.
async fn reserved(config: &str) -> (TestServer, Client, Client, Mxc) {
    let server = TestServer::unlimited(config).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.create().await;
    (server, alice, bob, mxc)
}

/// How far the upload is, as the answer says; -1 if it does not.
fn offset(answer: &Response) -> i64 {
    answer.header("upload-offset").parse().unwrap_or(-1)
}

/// Asks how far the upload is, and checks that it is not complete.
async fn offset_of(user: &Client, mxc: &Mxc) -> i64 {
    let answer = user.head(paths::put(mxc)).await;
    assert_eq!((answer.status(), answer.header("upload-complete")), (204, "?0"), "{answer:?}");
    offset(&answer)
}

/// A resumable upload of `length` bytes under way, of which these have arrived.
async fn arriving(user: &Client, mxc: &Mxc, length: usize, bytes: &[u8]) -> Sending {
    let mut upload = user.put(mxc).complete().feed(length).await;
    upload.send(bytes).await;
    // What can be read has arrived.
    assert!(user.get(paths::download(mxc)).open().await.bytes(bytes.len()).await == bytes);
    upload
}

/// A resumable upload of `length` bytes that broke off after these, and the server knows it.
async fn interrupted(user: &Client, mxc: &Mxc, length: usize, bytes: &[u8]) {
    arriving(user, mxc, length, bytes).await.break_off();
    assert_eq!(offset_of(user, mxc).await, i64::try_from(bytes.len()).expect("a test sends less"));
}

/// Checks that the upload is over, and what it became.
async fn is_stored(answer: &Response, user: &Client, mxc: &Mxc, bytes: &[u8]) {
    assert_eq!((answer.status(), answer.header("upload-complete")), (200, "?1"), "{answer:?}");
    assert_eq!(answer.json(), serde_json::json!({}));
    assert!(*user.get(paths::download(mxc)).await.bytes() == bytes, "what was stored is not what was sent");
}

/// Checks that nothing is left of what was sent, and that the URI is still reserved.
async fn is_free(server: &TestServer, user: &Client, mxc: &Mxc) {
    assert_eq!(offset_of(user, mxc).await, 0);
    server.holds_nothing().await;
    assert_eq!(user.put(mxc).body("again").await.status(), 200);
    assert_eq!(user.get(paths::download(mxc)).await.bytes(), "again");
}
