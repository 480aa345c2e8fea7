//! `mxc upload --encrypt` and `mxc download --decrypt`

use serde_json::json;
use tintype_testing::{paths, pattern};

use crate::{
    peer::{Act, Peer},
    program::Program,
    server::Server,
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

/// Opens nothing: its hash is that of no bytes.
const KEY: &str = r#"{"url":"mxc://example.org/abc","v":"v2","iv":"AAECAwQFBgcAAAAAAAAAAA",
    "key":{"kty":"oct","alg":"A256CTR","ext":true,"key_ops":["encrypt","decrypt"],
    "k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
    "hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}}"#;

#[tokio::test]
async fn what_one_encrypts_another_decrypts_with_what_was_printed() {
    let server = Server::start().await;
    let (alice, bob) = (Program::of(&server, "alice").await, Program::of(&server, "bob").await);
    alice.write("a.txt", pattern(LONG));

    let key = alice.run(&["upload", "a.txt", "--encrypt"]).await.line().to_owned();
    bob.write("key.json", &key);
    let to_file = bob.run(&["download", "--decrypt", "key.json", "-o", "b.txt"]).await;
    let to_stdout = bob.run(&["download", "--decrypt", "key.json", "-o", "-"]).await;
    let from_stdin = bob.run_with_input(&["download", "--decrypt", "-", "-o", "c.txt"], key.as_bytes()).await;

    assert_eq!((to_file.line(), from_stdin.line()), ("b.txt", "c.txt"));
    assert!(bob.read("b.txt") == pattern(LONG) && bob.read("c.txt") == pattern(LONG));
    assert!(to_stdout.result() == pattern(LONG));
    assert_eq!(bob.files(), ["b.txt", "c.txt", "key.json"]);
}

#[tokio::test]
async fn the_server_is_told_neither_type_nor_name() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    program.write("a.txt", "a");

    let object = program.run(&["upload", "a.txt", "--encrypt", "--json"]).await.object();

    assert_eq!(object["content_uri"], object["file"]["url"]);
    let mxc = object["content_uri"].as_str().unwrap().parse().unwrap();
    let answer = server.tintype.user("bob").await.get(paths::download(&mxc)).await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment");
}

#[tokio::test]
async fn scripts_use_the_object_as_it_was_printed() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    program.write("a.txt", "hello");

    let uploaded = program.run(&["upload", "a.txt", "--encrypt", "--json"]).await.object();
    program.write("key.json", uploaded.to_string());
    let object = program.run(&["download", "--decrypt", "key.json", "-o", "b.txt", "--json"]).await.object();

    assert_eq!(object, json!({ "path": "b.txt", "size": 5, "content_type": null, "filename": null }));
    assert_eq!(program.read("b.txt"), b"hello");
}

#[tokio::test]
async fn of_what_somebody_changed_nothing_is_seen() {
    for output in ["a.txt", "-"] {
        let peer = Peer::start([Act::answer("200 OK", "", "changed")]).await;
        let program = Program::of_peer(&peer);
        program.write("key.json", KEY);

        let ran = program.run(&["download", "--decrypt", "key.json", "-o", output]).await;

        assert!(ran.error().contains("what was received is not what was encrypted"), "{ran:?}");
        assert_eq!(program.files(), ["key.json"]);
    }
}

#[tokio::test]
async fn a_key_file_that_is_none_or_another_is_said_to_be_so() {
    let peer = Peer::start([]).await;
    let program = Program::of_peer(&peer);
    program.write("key.json", KEY);
    program.write("old.json", KEY.replace("v2", "v1"));

    let none = program.run(&["download", "--decrypt", "nothing.json"]).await;
    let old = program.run(&["download", "--decrypt", "old.json"]).await;
    let other = program.run(&["download", "mxc://example.org/other", "--decrypt", "key.json"]).await;

    assert!(none.error().starts_with("reading the key from nothing.json: "), "{none:?}");
    assert!(old.error().starts_with("old.json holds no EncryptedFile: v is not v2"), "{old:?}");
    assert_eq!(other.error(), "key.json opens mxc://example.org/abc, and not mxc://example.org/other");
    assert_eq!(peer.asked().len(), 0);
}
