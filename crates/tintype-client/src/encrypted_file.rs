//! `EncryptedFile` (client-server API, "Sending encrypted attachments"): where encrypted media is, and what opens it.
//!
//! It travels in encrypted events. Only version `v2` is read and written. What another client wrote is taken if it can
//! be decrypted with: base64 with or without padding, and any initialisation vector of the right length.

use std::fmt;

use aes::Aes256;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ctr::{Ctr128BE, cipher::KeyIvInit as _};
use serde::{Deserialize, Serialize};
use tintype_domain::{ContentHash, Mxc, OsRandomness, Randomness as _};
use zeroize::Zeroizing;

const UNPADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, UNPADDED);
/// Keys in JSON are URL-safe (RFC 7518, section 6.4.1).
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, UNPADDED);

const VERSION: &str = "v2";
const ALGORITHM: &str = "A256CTR";
const KEY_TYPE: &str = "oct";

/// The stream of bytes that media is mixed with. A counter of 128 bits and one of 64 are the same here, since the lower
/// half begins at zero.
pub(crate) type Cipher = Ctr128BE<Aes256>;

/// Where encrypted media is, and what opens it. In JSON it is the `file` of an event.
///
/// Whoever has it can read the media. The key is wiped from memory when it is dropped, and is not printed by `Debug`;
/// it stands in the JSON, which is the caller's to keep.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
pub struct EncryptedFile {
    mxc: Mxc,
    key: AttachmentKey,
    sha256: ContentHash,
}

/// The key and where its counter begins.
#[derive(Clone)]
pub(crate) struct AttachmentKey {
    key: Zeroizing<[u8; 32]>,
    iv: [u8; 16],
}

/// Why JSON is no `EncryptedFile` that can be decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptedFileError {
    /// `url` is no MXC URI.
    #[error("url is no MXC URI")]
    Url,
    /// A version other than `v2`. What `v1` of old clients means is not specified.
    #[error("v is not v2")]
    Version,
    /// The key is none for AES-256-CTR, or not for decrypting.
    #[error("key is no A256CTR key for decrypting")]
    Key,
    /// `iv` is not 16 bytes in base64.
    #[error("iv is not 16 bytes in base64")]
    Iv,
    /// `hashes` has no SHA-256 in base64.
    #[error("hashes.sha256 is not 32 bytes in base64")]
    Hash,
}

impl EncryptedFile {
    pub(crate) fn new(mxc: Mxc, key: AttachmentKey, sha256: ContentHash) -> Self {
        Self { mxc, key, sha256 }
    }

    /// Where the encrypted bytes are.
    pub fn mxc(&self) -> &Mxc {
        &self.mxc
    }

    /// The SHA-256 of the encrypted bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        self.sha256.as_bytes()
    }

    pub(crate) fn hash(&self) -> &ContentHash {
        &self.sha256
    }

    pub(crate) fn cipher(&self) -> Cipher {
        self.key.cipher()
    }
}

impl AttachmentKey {
    /// A key that nobody else has, and a counter with room to count: its lower 64 bits are zero.
    pub(crate) fn random() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        let mut iv = [0; 16];
        OsRandomness.fill(&mut *key);
        OsRandomness.fill(&mut iv[..8]);
        Self { key, iv }
    }

    /// This key, with the counter's upper half.
    #[cfg(test)]
    pub(crate) fn of(key: [u8; 32], upper: [u8; 8]) -> Self {
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&upper);
        Self { key: Zeroizing::new(key), iv }
    }

    pub(crate) fn cipher(&self) -> Cipher {
        Cipher::new((&*self.key).into(), (&self.iv).into())
    }
}

#[derive(Serialize, Deserialize)]
struct Json {
    url: String,
    key: JsonWebKey,
    iv: String,
    hashes: Hashes,
    v: String,
}

#[derive(Serialize, Deserialize)]
struct JsonWebKey {
    kty: String,
    key_ops: Vec<String>,
    alg: String,
    k: Zeroizing<String>,
    #[serde(default)]
    ext: bool,
}

#[derive(Serialize, Deserialize)]
struct Hashes {
    sha256: String,
}

impl From<EncryptedFile> for Json {
    fn from(file: EncryptedFile) -> Self {
        let key = JsonWebKey {
            kty: KEY_TYPE.to_owned(),
            key_ops: vec!["encrypt".to_owned(), "decrypt".to_owned()],
            alg: ALGORITHM.to_owned(),
            k: Zeroizing::new(BASE64URL.encode(file.key.key.as_slice())),
            ext: true,
        };
        Self {
            url: file.mxc.to_string(),
            key,
            iv: BASE64.encode(file.key.iv),
            hashes: Hashes { sha256: BASE64.encode(file.sha256.as_bytes()) },
            v: VERSION.to_owned(),
        }
    }
}

impl TryFrom<Json> for EncryptedFile {
    type Error = EncryptedFileError;

    fn try_from(json: Json) -> Result<Self, EncryptedFileError> {
        let Json { url, key: web_key, iv, hashes, v } = json;
        if v != VERSION {
            return Err(EncryptedFileError::Version);
        }
        let decrypts = web_key.key_ops.iter().any(|operation| operation == "decrypt");
        if web_key.kty != KEY_TYPE || web_key.alg != ALGORITHM || !decrypts {
            return Err(EncryptedFileError::Key);
        }
        let mut key = Zeroizing::new([0; 32]);
        let decoded = Zeroizing::new(BASE64URL.decode(&*web_key.k).map_err(|_| EncryptedFileError::Key)?);
        if decoded.len() != key.len() {
            return Err(EncryptedFileError::Key);
        }
        key.copy_from_slice(&decoded);
        let iv = BASE64.decode(iv).ok().and_then(|iv| iv.try_into().ok()).ok_or(EncryptedFileError::Iv)?;
        let sha256 = BASE64.decode(hashes.sha256).map_err(|_| EncryptedFileError::Hash)?;
        let sha256 = ContentHash::try_from(&sha256[..]).map_err(|_| EncryptedFileError::Hash)?;
        let mxc = url.parse().map_err(|_| EncryptedFileError::Url)?;
        Ok(Self { mxc, key: AttachmentKey { key, iv }, sha256 })
    }
}

impl fmt::Debug for EncryptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedFile").field("mxc", &self.mxc).finish_non_exhaustive()
    }
}
