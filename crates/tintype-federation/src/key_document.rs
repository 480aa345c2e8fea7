//! The document in which another server publishes its keys (server-server API, "Publishing Keys"), read and verified.
//!
//! It is signed, so it has to be canonical JSON: what two readers could understand differently, such as a name that is
//! there twice, is refused.

use std::{fmt, time::Duration};

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use ruma_signatures::SigningKeyAlgorithm;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use tintype_domain::{ServerName, Timestamp};

use crate::{
    encoding::decode_base64,
    xmatrix::{is_key_id, signature_of},
};

/// The longest document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;

/// The longest answer of a notary that is read, in bytes: it may hold several documents.
pub const MAX_NOTARY_ANSWER: usize = 256 * 1024;

/// The most keys a document may list, of each kind.
const MAX_KEYS: usize = 100;

/// How long a document counts at most, whatever it says of itself: so the specification demands.
const LONGEST_VALIDITY: Duration = Duration::from_hours(7 * 24);

/// Why a document proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyDocumentError {
    /// It is longer than is read.
    #[error("the document is too long")]
    TooLong,
    /// It is no object of canonical JSON.
    #[error("the document is not canonical JSON: {0}")]
    NotCanonical(String),
    /// A field is missing or has a value that it cannot have.
    #[error("the document's {0} is missing or not valid")]
    Field(&'static str),
    /// It is the document of another server.
    #[error("the document is the one of {0:?}")]
    OtherServer(String),
    /// It lists more keys than are read.
    #[error("the document lists more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// Its time is over.
    #[error("the document has expired")]
    Expired,
    /// No key that it lists has signed it.
    #[error("none of its keys has signed the document")]
    NotSigned,
    /// A signature by a key that it lists is wrong.
    #[error("the signature by {key_id} is wrong")]
    BadSignature {
        /// The ID of the key.
        key_id: String,
    },
}

/// A public Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyKey([u8; 32]);

/// The keys of a server, as it signed them itself.
#[derive(Debug, Clone)]
pub struct KeyDocument {
    valid_until: Timestamp,
    keys: Box<[(Box<str>, VerifyKey)]>,
}

impl VerifyKey {
    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the key's signature of these bytes.
    pub fn verifies(&self, signed: &[u8], signature: &[u8; 64]) -> bool {
        ruma_signatures::verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, &self.0, signature, signed).is_ok()
    }

    /// Whether this is the key with which a server signed the object under this ID (appendices, "Checking for a
    /// Signature").
    pub(crate) fn has_signed(&self, object: &CanonicalJsonObject, server: &ServerName, id: &str) -> bool {
        let signature = signature_of(object, server, id).and_then(decode_base64);
        let signed = ruma_signatures::to_canonical_json_string_for_signing(object);
        signature.zip(signed.ok()).is_some_and(|(signature, signed)| self.verifies(signed.as_bytes(), &signature))
    }
}

impl KeyDocument {
    /// Reads and verifies the document of a server.
    ///
    /// # Errors
    /// [`KeyDocumentError`]; no panic, whatever the bytes.
    pub fn verify(document: &[u8], server: &ServerName, now: Timestamp) -> Result<Self, KeyDocumentError> {
        if document.len() > MAX_DOCUMENT {
            return Err(KeyDocumentError::TooLong);
        }
        Self::verify_object(&canonical_object(document)?, server, now)
    }

    /// Verifies the document of a server, without the signature of whoever passed it on.
    pub(crate) fn verify_object(
        document: &CanonicalJsonObject,
        server: &ServerName,
        now: Timestamp,
    ) -> Result<Self, KeyDocumentError> {
        let name = document.get("server_name").and_then(CanonicalJsonValue::as_str);
        let name = name.ok_or(KeyDocumentError::Field("server_name"))?;
        if name != server.as_str() {
            return Err(KeyDocumentError::OtherServer(name.to_owned()));
        }
        let valid_until = document.get("valid_until_ts").and_then(CanonicalJsonValue::as_integer);
        let valid_until = Timestamp(valid_until.ok_or(KeyDocumentError::Field("valid_until_ts"))?.into());
        if valid_until <= now {
            return Err(KeyDocumentError::Expired);
        }
        let listed = document.get("verify_keys").and_then(CanonicalJsonValue::as_object);
        let listed = listed.ok_or(KeyDocumentError::Field("verify_keys"))?;
        if listed.len() > MAX_KEYS {
            return Err(KeyDocumentError::TooManyKeys);
        }
        // Keys of other algorithms may come one day.
        let listed = listed.iter().filter(|(id, _)| is_key_id(id));
        let keys = listed.map(|(id, key)| Some((id.as_str().into(), verify_key(key)?)));
        let keys: Box<[(Box<str>, VerifyKey)]> =
            keys.collect::<Option<_>>().ok_or(KeyDocumentError::Field("verify_keys"))?;
        check_signatures(document, server, &keys)?;
        Ok(Self { valid_until: valid_until.min(now + LONGEST_VALIDITY), keys })
    }

    /// When the keys do not count any more.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// The key with which the server may sign requests under this ID. Its old keys are for events only.
    pub fn key(&self, id: &str) -> Option<VerifyKey> {
        self.keys.iter().find(|(listed, _)| **listed == *id).map(|(_, key)| *key)
    }
}

/// The documents of a server in an answer of a notary (`{"server_keys": […]}`), none of them verified.
///
/// # Errors
/// [`KeyDocumentError`] if the answer cannot be read.
pub fn documents_of_notary(answer: &[u8], server: &ServerName) -> Result<Vec<CanonicalJsonObject>, KeyDocumentError> {
    if answer.len() > MAX_NOTARY_ANSWER {
        return Err(KeyDocumentError::TooLong);
    }
    let Some(CanonicalJsonValue::Array(documents)) = canonical_object(answer)?.remove("server_keys") else {
        return Err(KeyDocumentError::Field("server_keys"));
    };
    if documents.len() > MAX_KEYS {
        return Err(KeyDocumentError::TooManyKeys);
    }
    let of_server = documents.into_iter().filter_map(|document| match document {
        CanonicalJsonValue::Object(document) => Some(document),
        _ => None,
    });
    let is_of_server = |document: &CanonicalJsonObject| {
        document.get("server_name").and_then(CanonicalJsonValue::as_str) == Some(server.as_str())
    };
    Ok(of_server.filter(is_of_server).collect())
}

/// With which of its keys a server has signed the object, by what the object says. There are few.
pub(crate) fn signing_key_ids(object: &CanonicalJsonObject, server: &ServerName) -> Vec<String> {
    let signatures = object.get("signatures").and_then(CanonicalJsonValue::as_object);
    let signatures = signatures.and_then(|signatures| signatures.get(server.as_str())?.as_object());
    let ids = signatures.into_iter().flat_map(CanonicalJsonObject::keys);
    ids.filter(|id| is_key_id(id)).take(MAX_KEYS).cloned().collect()
}

/// Each key that the document lists and that has signed it has to be right, and there has to be one.
fn check_signatures(
    document: &CanonicalJsonObject,
    server: &ServerName,
    keys: &[(Box<str>, VerifyKey)],
) -> Result<(), KeyDocumentError> {
    let mut is_signed = false;
    for id in signing_key_ids(document, server) {
        if let Some((_, key)) = keys.iter().find(|(listed, _)| **listed == *id) {
            if !key.has_signed(document, server, &id) {
                return Err(KeyDocumentError::BadSignature { key_id: id });
            }
            is_signed = true;
        }
    }
    if is_signed { Ok(()) } else { Err(KeyDocumentError::NotSigned) }
}

fn verify_key(value: &CanonicalJsonValue) -> Option<VerifyKey> {
    decode_base64(value.as_object()?.get("key")?.as_str()?).map(VerifyKey)
}

fn canonical_object(text: &[u8]) -> Result<CanonicalJsonObject, KeyDocumentError> {
    match serde_json::from_slice(text) {
        Ok(Canonical(CanonicalJsonValue::Object(object))) => Ok(object),
        Ok(_) => Err(KeyDocumentError::NotCanonical("it is no object".to_owned())),
        Err(error) => Err(KeyDocumentError::NotCanonical(error.to_string())),
    }
}

/// A value of which there is one canonical form: no name twice, no fractions, no integers that others cannot hold.
struct Canonical(CanonicalJsonValue);

impl<'de> Deserialize<'de> for Canonical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CanonicalVisitor).map(Self)
    }
}

struct CanonicalVisitor;

impl CanonicalVisitor {
    fn integer<E: de::Error>(value: serde_json::Value) -> Result<CanonicalJsonValue, E> {
        value.try_into().map_err(E::custom)
    }
}

impl<'de> Visitor<'de> for CanonicalVisitor {
    type Value = CanonicalJsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("canonical JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Self::integer(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Self::integer(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Canonical(value)) = values.next_element()? {
            array.push(value);
        }
        Ok(CanonicalJsonValue::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = CanonicalJsonObject::new();
        while let Some((name, Canonical(value))) = entries.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a name is there twice"));
            }
        }
        Ok(CanonicalJsonValue::Object(object))
    }
}

#[cfg(test)]
mod tests;
