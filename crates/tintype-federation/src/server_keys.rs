//! `GET /_matrix/key/v2/server`: the document in which a server publishes its keys.

use std::time::Duration;

use ruma_common::CanonicalJsonValue;
use serde_json::{Value, json};
use tintype_domain::{ServerName, Timestamp};

use crate::SigningKey;

/// How long others may rely on the document without asking again. The specification caps it at seven days.
const VALIDITY: Duration = Duration::from_hours(24);

/// The signed document (server-server API, "Publishing Keys").
///
/// # Errors
/// A text, if it cannot be signed.
pub fn server_keys(server_name: &ServerName, key: &SigningKey, now: Timestamp) -> Result<Value, String> {
    let document = json!({
        "server_name": server_name.as_str(),
        "valid_until_ts": (now + VALIDITY).as_millis(),
        "verify_keys": { key.id(): { "key": key.public_key() } },
        "old_verify_keys": {},
    });
    let CanonicalJsonValue::Object(mut object) =
        CanonicalJsonValue::try_from(document).map_err(|error| error.to_string())?
    else {
        return Err("the document is not an object".to_owned());
    };
    key.sign(server_name, &mut object)?;
    serde_json::to_value(&object).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_signed_by_the_key_that_it_publishes() {
        let key = SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
        let name = <&ServerName>::try_from("localhost:8448").unwrap();

        let document = server_keys(name, &key, Timestamp(1_000)).unwrap();

        let public = ruma_common::serde::Base64::parse(document["verify_keys"]["ed25519:1"]["key"].as_str().unwrap());
        let keys = [("localhost:8448".to_owned(), [("ed25519:1".to_owned(), public.unwrap())].into())].into();
        let CanonicalJsonValue::Object(object) = CanonicalJsonValue::try_from(document.clone()).unwrap() else {
            panic!()
        };
        ruma_signatures::verify_json(&keys, &object).unwrap();
        assert_eq!(document["valid_until_ts"], 86_401_000);
    }
}
