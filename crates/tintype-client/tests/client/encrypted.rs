//! Encrypted attachments.

use std::{
    io::{self, Cursor, Read as _},
    pin::Pin,
    task::{Context, Poll},
};

use serde_json::json;
use tempfile::TempDir;
use tintype_client::{EncryptedFile, Error, Existing, Source};
use tintype_testing::{paths, pattern};
use tokio::io::AsyncWrite;

use crate::{
    peer::{Act, Peer},
    relay::Cut,
    server::{Server, mxc},
    told::Told,
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

/// 32 bytes of zeros encrypted with the key 00 01 … 1f and the counter from 00 01 … 07 00 …, computed with OpenSSL and
/// with Python's `cryptography`.
const CIPHERTEXT: [u8; 32] = [
    0x15, 0xa7, 0x77, 0x48, 0xec, 0x64, 0x3a, 0x1a, 0x2a, 0x35, 0x12, 0x61, 0x46, 0x43, 0x09, 0xa7, 0xdf, 0x5b, 0x15,
    0x3a, 0xfc, 0x0e, 0x60, 0x02, 0x19, 0x2a, 0xb6, 0x4d, 0xbd, 0xfa, 0x34, 0xc2,
];

/// The same as another client would say it.
fn file_of_another_client() -> EncryptedFile {
    let file = json!({
        "url": "mxc://example.org/abc",
        "v": "v2",
        "key": {
            "alg": "A256CTR", "ext": true, "key_ops": ["encrypt", "decrypt"], "kty": "oct",
            "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        },
        "iv": "AAECAwQFBgcAAAAAAAAAAA",
        "hashes": { "sha256": "tSHuF0gfMRf8113oSzCI3pamweYQ8/3lGUdNnb3SYUM" },
        "mimetype": "left over from old clients",
    });
    serde_json::from_value(file).expect("it is an EncryptedFile")
}

fn answer(bytes: &[u8]) -> Act {
    let length = bytes.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    Act::raw([head.as_bytes(), bytes].concat())
}

#[tokio::test]
async fn what_another_client_encrypted_is_decrypted() {
    let peer = Peer::start([answer(&CIPHERTEXT)]).await;
    let file = file_of_another_client();

    let download = peer.client().download(file.mxc()).await.unwrap().decrypt(&file).unwrap();

    assert_eq!(download.bytes(32).await.unwrap(), [0_u8; 32].as_slice());
}

#[tokio::test]
async fn what_is_encrypted_is_opened_by_its_file_alone() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let on_disk = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(on_disk.path(), pattern(LONG)).unwrap();

    for source in [
        Source::from(pattern(LONG)),
        Source::file(on_disk.path()).await.unwrap(),
        Source::reader(Cursor::new(pattern(LONG))),
    ] {
        let file = alice.upload_encrypted(source).await.unwrap();
        // It goes to Bob in an event.
        let file: EncryptedFile = serde_json::from_str(&serde_json::to_string(&file).unwrap()).unwrap();
        let download = bob.download(file.mxc()).await.unwrap().decrypt(&file).unwrap();
        assert_eq!(download.length(), Some(LONG as u64));
        assert!(download.bytes(LONG).await.unwrap() == pattern(LONG));
    }
}

#[tokio::test]
async fn nothing_is_something_to_encrypt_too() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    let file = alice.upload_encrypted("").await.unwrap();

    let download = alice.download(file.mxc()).await.unwrap().decrypt(&file).unwrap();
    assert_eq!(download.bytes(0).await.unwrap(), "");
}

#[tokio::test]
async fn the_server_learns_neither_content_nor_type_nor_name() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    let file = alice.upload_encrypted(pattern(LONG)).await.unwrap();

    let stored = server.tintype.user("bob").await.get(paths::download(file.mxc())).await;
    assert_eq!(stored.header("content-type"), "application/octet-stream");
    assert_eq!(stored.header("content-disposition"), "attachment");
    let same = stored.bytes().iter().zip(pattern(LONG)).filter(|(one, other)| **one == *other).count();
    // One in 256, by chance.
    assert!(stored.bytes().len() == LONG && same < LONG / 200, "{same}");
}

#[tokio::test]
async fn the_file_is_as_the_specification_says() {
    let peer = Peer::start([Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/abc"}"#)]).await;

    let file = peer.client().upload_encrypted("hello").await.unwrap();

    assert!(!format!("{file:?}").contains("key"), "{file:?}");
    let json = serde_json::to_value(&file).unwrap();
    assert_eq!((&json["v"], &json["url"]), (&json!("v2"), &json!("mxc://example.org/abc")));
    let key = &json["key"];
    assert_eq!((&key["kty"], &key["alg"], &key["ext"]), (&json!("oct"), &json!("A256CTR"), &json!(true)));
    assert_eq!(key["key_ops"], json!(["encrypt", "decrypt"]));
    assert_eq!(key["k"].as_str().unwrap().len(), 43);
    // 16 bytes without padding, of which the last eight are zero.
    let iv = json["iv"].as_str().unwrap();
    assert!(iv.len() == 22 && iv.ends_with("AAAAAAAAAA"), "{iv}");
    assert_eq!(json["hashes"]["sha256"].as_str().unwrap().len(), 43);
}

#[tokio::test]
async fn no_two_uploads_share_a_key() {
    let uploaded = || Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/abc"}"#);
    let peer = Peer::start([uploaded(), uploaded()]).await;

    let one = serde_json::to_value(peer.client().upload_encrypted("hello").await.unwrap()).unwrap();
    let other = serde_json::to_value(peer.client().upload_encrypted("hello").await.unwrap()).unwrap();

    assert_ne!(one["key"]["k"], other["key"]["k"]);
    assert_ne!(one["iv"], other["iv"]);
    assert_ne!(peer.asked()[0].body, peer.asked()[1].body);
}

#[tokio::test]
async fn a_reservation_is_given_encrypted_content() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.create().await.unwrap().mxc;

    let (source, encryption) = Source::from(pattern(LONG)).encrypted();
    alice.put(&mxc, source).await.unwrap();
    let file = encryption.finish(mxc).unwrap();

    let download = alice.download(file.mxc()).await.unwrap().decrypt(&file).unwrap();
    assert!(download.bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn what_was_not_sent_to_its_end_has_no_file() {
    let (source, encryption) = Source::from("hello").encrypted();
    drop(source);

    assert!(matches!(encryption.finish(mxc()).unwrap_err(), Error::Invalid(_)));
}

#[tokio::test]
async fn of_what_somebody_changed_nothing_is_given_out() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.txt");
    let file = file_of_another_client();
    let mut changed = CIPHERTEXT;
    changed[31] ^= 1;
    let peer = Peer::start([&changed[..], &changed, &changed, &CIPHERTEXT[..31], &[]].map(answer)).await;
    let ask = async || peer.client().download(file.mxc()).await.unwrap().decrypt(&file).unwrap();

    let errors = [
        ask().await.bytes(100).await.map(drop).unwrap_err(),
        ask().await.into_file().await.map(drop).unwrap_err(),
        ask().await.save(&path, Existing::Keep).await.map(drop).unwrap_err(),
        ask().await.save(&path, Existing::Keep).await.map(drop).unwrap_err(),
        ask().await.save(&path, Existing::Keep).await.map(drop).unwrap_err(),
    ];

    for error in errors {
        assert!(matches!(error, Error::WrongHash), "{error:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn it_is_saved_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.txt");
    let file = file_of_another_client();
    let peer = Peer::start([(); 3].map(|()| answer(&CIPHERTEXT))).await;
    let ask = async || peer.client().download(file.mxc()).await.unwrap().decrypt(&file).unwrap();

    assert_eq!(ask().await.save(&path, Existing::Keep).await.unwrap(), 32);
    assert_eq!(std::fs::read(&path).unwrap(), [0; 32]);
    std::fs::write(&path, "mine").unwrap();
    let kept = ask().await.save(&path, Existing::Keep).await.unwrap_err();
    assert!(matches!(kept, Error::Sink(_)), "{kept:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    ask().await.save(&path, Existing::Replace).await.unwrap();

    assert_eq!(std::fs::read(&path).unwrap(), [0; 32]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_and_is_verified_as_a_whole() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let told = Told::default();
    let file = alice.upload_encrypted(pattern(LONG)).await.unwrap();
    for at in [1_000_000, 600_000] {
        server.relay.cut(Cut::Downwards(at));
    }

    let download = alice.download(file.mxc()).on_event(told.listener()).await.unwrap().decrypt(&file).unwrap();
    let mut plain = Vec::new();
    download.into_file().await.unwrap().read_to_end(&mut plain).unwrap();

    assert_eq!(told.resumed().len(), 2);
    assert!(plain == pattern(LONG));
}

#[tokio::test]
async fn a_key_opens_only_its_own_media_from_its_beginning() {
    let peer = Peer::start([answer(&CIPHERTEXT), answer(&CIPHERTEXT)]).await;
    let file = file_of_another_client();

    let other = peer.client().download(&"mxc://example.org/other".parse().unwrap()).await.unwrap();
    assert!(matches!(other.decrypt(&file).unwrap_err(), Error::Invalid(_)));
    let mut begun = peer.client().download(file.mxc()).await.unwrap();
    begun.chunk().await.unwrap();
    assert!(matches!(begun.decrypt(&file).unwrap_err(), Error::Invalid(_)));
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_to_be_the_reason() {
    struct Full;

    impl AsyncWrite for Full {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let peer = Peer::start([answer(&CIPHERTEXT)]).await;
    let file = file_of_another_client();

    let mut download = peer.client().download(file.mxc()).await.unwrap().decrypt(&file).unwrap();

    assert!(matches!(download.copy_unverified_to(&mut Full).await.unwrap_err(), Error::Sink(_)));
}

#[test]
fn files_that_cannot_be_decrypted_with_are_refused() {
    let whole = serde_json::to_value(file_of_another_client()).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut file = whole.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value::<EncryptedFile>(file).map_err(|error| error.to_string())
    };

    for (pointer, value, reason) in [
        ("/v", json!("v1"), "v is not v2"),
        ("/url", json!("https://example.org"), "url is no MXC URI"),
        ("/key/alg", json!("A128CTR"), "A256CTR"),
        ("/key/kty", json!("RSA"), "A256CTR"),
        ("/key/key_ops", json!(["encrypt"]), "for decrypting"),
        ("/key/k", json!("AAEC"), "A256CTR"),
        ("/iv", json!("AAEC"), "iv is not 16 bytes"),
        ("/hashes/sha256", json!("!"), "hashes.sha256"),
        ("/hashes", json!({}), "sha256"),
    ] {
        let refused = with(pointer, value).unwrap_err();
        assert!(refused.contains(reason), "{pointer}: {refused}");
    }
    // Others pad their base64.
    assert!(with("/iv", json!("AAECAwQFBgcAAAAAAAAAAA==")).is_ok());
}
