//! Whatever a server or a notary publishes as keys, it is refused or holds for seven days at most; and no signature
//! makes keys out of something else.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use libfuzzer_sys::fuzz_target;
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use tintype_domain::{ServerName, Timestamp};
use tintype_federation::{KeyDocument, SigningKey, documents_of_notary};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const NAME: &str = "a.example";
static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").expect("the specification's key")
});

fuzz_target!(|input: &[u8]| {
    let server = <&ServerName>::try_from(NAME).expect("a name");
    check(KeyDocument::verify(input, server, NOW).ok());
    let _ = documents_of_notary(input, server);

    // What is unsigned gets no further, so it is signed with a key that it lists.
    let Ok(mut document) = serde_json::from_slice::<CanonicalJsonObject>(input) else {
        return;
    };
    document.insert("server_name".to_owned(), CanonicalJsonValue::String(NAME.to_owned()));
    if let Some(CanonicalJsonValue::Object(keys)) = document.get_mut("verify_keys") {
        let key = [("key".to_owned(), CanonicalJsonValue::String(KEY.public_key()))];
        keys.insert(KEY.id(), CanonicalJsonValue::Object(key.into()));
    }
    if KEY.sign(server, &mut document).is_err() {
        return;
    }
    let signed = serde_json::to_vec(&document).expect("an object can be written");
    check(KeyDocument::verify(&signed, server, NOW).ok());
    let answer = [b"{\"server_keys\":[", &signed[..], b"]}"].concat();
    if let Ok(documents) = documents_of_notary(&answer, server) {
        assert_eq!(documents, [document]);
    }
});

fn check(document: Option<KeyDocument>) {
    let Some(document) = document else {
        return;
    };
    let valid_until = document.valid_until();
    assert!(valid_until > NOW && valid_until <= NOW + Duration::from_hours(7 * 24));
    assert!(document.key("").is_none());
}
