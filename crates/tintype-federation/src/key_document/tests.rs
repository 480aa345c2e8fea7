use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::keys::fake::{DAY, NOW, document, name, sign, signing_key, unsigned};

fn verify(document: &serde_json::Value) -> Result<KeyDocument, KeyDocumentError> {
    KeyDocument::verify(document.to_string().as_bytes(), &name("a.example"), NOW)
}

#[test]
fn the_document_that_we_publish_is_verified() {
    let key = signing_key("1", 1);
    let published = crate::server_keys(&name("a.example"), &key, NOW).unwrap();

    let read = verify(&published).unwrap();

    assert_eq!(read.valid_until(), NOW + DAY);
    assert_eq!(read.key("ed25519:1").map(|key| key.0), decode_base64(&key.public_key()));
    assert_eq!(read.key("ed25519:2"), None);
}

#[test]
fn a_document_counts_for_seven_days_at_most() {
    let document = document("a.example", &signing_key("1", 1), NOW + 30 * DAY);

    assert_eq!(verify(&document).unwrap().valid_until(), NOW + 7 * DAY);
}

#[test]
fn one_of_the_listed_keys_has_to_have_signed_and_each_that_has_has_to_be_right() {
    let (one, two) = (signing_key("1", 1), signing_key("2", 2));
    let both = unsigned("a.example", &[&one, &two], NOW + DAY);
    let by_one = sign(both.clone(), "a.example", &one);

    assert!(verify(&by_one).unwrap().key("ed25519:2").is_some());
    assert!(verify(&sign(by_one.clone(), "a.example", &two)).is_ok());
    assert!(verify(&sign(by_one.clone(), "a.example", &signing_key("unlisted", 3))).is_ok());
    let wrong = KeyDocumentError::BadSignature { key_id: "ed25519:2".to_owned() };
    assert_eq!(verify(&sign(by_one, "a.example", &signing_key("2", 3))).unwrap_err(), wrong);
    for unsigned in
        [both.clone(), sign(both.clone(), "b.example", &one), sign(both, "a.example", &signing_key("unlisted", 1))]
    {
        assert_eq!(verify(&unsigned).unwrap_err(), KeyDocumentError::NotSigned, "{unsigned}");
    }
}

#[test]
fn a_changed_document_is_refused() {
    let mut changed = document("a.example", &signing_key("1", 1), NOW + DAY);
    changed["verify_keys"]["ed25519:2"] = json!({ "key": signing_key("2", 2).public_key() });

    assert_eq!(verify(&changed).unwrap_err(), KeyDocumentError::BadSignature { key_id: "ed25519:1".to_owned() });
}

#[test]
fn a_document_that_is_not_what_it_has_to_be_is_refused() {
    let key = signing_key("1", 1);
    let whole = unsigned("a.example", &[&key], NOW + DAY);
    let with = |field: &str, value: serde_json::Value| {
        let mut changed = whole.clone();
        changed[field] = value;
        sign(changed, "a.example", &key)
    };
    let many: serde_json::Map<_, _> =
        (0..=100).map(|n| (format!("ed25519:{n}"), json!({ "key": key.public_key() }))).collect();
    for (document, expected) in [
        (with("server_name", json!(null)), KeyDocumentError::Field("server_name")),
        (with("server_name", json!("A.example")), KeyDocumentError::OtherServer("A.example".to_owned())),
        (with("valid_until_ts", json!("1")), KeyDocumentError::Field("valid_until_ts")),
        (with("valid_until_ts", json!(NOW.0)), KeyDocumentError::Expired),
        (with("valid_until_ts", json!(-1)), KeyDocumentError::Expired),
        (with("verify_keys", json!([])), KeyDocumentError::Field("verify_keys")),
        (with("verify_keys", json!({ "ed25519:1": "x" })), KeyDocumentError::Field("verify_keys")),
        (with("verify_keys", json!({ "ed25519:1": { "key": "AAAA" } })), KeyDocumentError::Field("verify_keys")),
        (with("verify_keys", json!({})), KeyDocumentError::NotSigned),
        (with("verify_keys", json!(many)), KeyDocumentError::TooManyKeys),
        (with("x", json!("x".repeat(MAX_DOCUMENT))), KeyDocumentError::TooLong),
    ] {
        assert_eq!(verify(&document).unwrap_err(), expected);
    }
    // Keys of algorithms that are not known are nobody's business.
    assert!(verify(&with("verify_keys", json!({ "ed25519:1": { "key": key.public_key() }, "x:1": 5 }))).is_ok());
}

#[test]
fn what_is_not_canonical_json_is_refused_even_where_it_would_not_matter() {
    let signed = document("a.example", &signing_key("1", 1), NOW + DAY).to_string();
    for member in [
        r#""x":1.0"#,
        r#""x":1e3"#,
        r#""x":-0"#,
        r#""x":9007199254740992"#,
        r#""x":18446744073709551616"#,
        r#""unsigned":{"a":1,"a":1}"#,
        r#""server_name":"a.example""#,
        "\"x\":\"\\ud800\"",
        "\"x\":\"\n\"",
    ] {
        let document = signed.replacen('{', &format!("{{{member},"), 1);
        let outcome = KeyDocument::verify(document.as_bytes(), &name("a.example"), NOW);
        assert!(matches!(outcome, Err(KeyDocumentError::NotCanonical(_))), "{member}");
    }
    let not_signed = signed.replacen('{', r#"{"unsigned":{"a":9007199254740991,"b":[null,true,"\u00fc"]},"#, 1);
    assert!(KeyDocument::verify(not_signed.as_bytes(), &name("a.example"), NOW).is_ok());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for text in ["", "[]", "null", "{}x", "\u{feff}{}", &deep] {
        let outcome = KeyDocument::verify(text.as_bytes(), &name("a.example"), NOW);
        assert!(matches!(outcome, Err(KeyDocumentError::NotCanonical(_))), "{text:.9}");
    }
}

proptest! {
    #[test]
    fn no_changed_byte_panics_or_adds_a_key(at in 0..1000_usize, byte in any::<u8>(), junk in vec(any::<u8>(), 0..99)) {
        let mut text = document("a.example", &signing_key("1", 1), NOW + DAY).to_string().into_bytes();
        let original = KeyDocument::verify(&text, &name("a.example"), NOW).unwrap();
        let at = at % text.len();
        text[at] = byte;

        if let Ok(read) = KeyDocument::verify(&text, &name("a.example"), NOW) {
            prop_assert_eq!(read.keys, original.keys);
        }
        let _ = KeyDocument::verify(&junk, &name("a.example"), NOW);
        let _ = documents_of_notary(&junk, &name("a.example"));
    }
}
