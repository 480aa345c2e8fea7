//! An Ed25519 signing key, in the file format of Synapse: `ed25519 VERSION SEED`, the seed in unpadded base64.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
    prelude::BASE64_STANDARD_NO_PAD,
};
use ruma_common::CanonicalJsonObject;
use ruma_signatures::Ed25519KeyPair;
use tintype_domain::{Randomness, ServerName};

/// A PKCS#8 document with an Ed25519 seed (RFC 8410 §7) up to the seed.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Reads the seed as other implementations do: the unused bits of its last character may be set, as they are in the
/// test vectors of the specification.
const SEED: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read or written.
    #[error("the signing key file failed: {0}")]
    Io(#[from] io::Error),
    /// The file is not of the form `ed25519 VERSION SEED`.
    #[error("the signing key file is not of the form `ed25519 VERSION SEED`")]
    Malformed,
}

/// A server's signing key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads the key from a file, or makes one and writes it there, readable by its owner only.
    ///
    /// # Errors
    /// [`SigningKeyError`] if the file cannot be read or written, or holds no key.
    pub fn load_or_create(path: &Path, randomness: &dyn Randomness) -> Result<Self, SigningKeyError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = generate(randomness);
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                Self::parse(&text)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Parses the first key of a file.
    ///
    /// # Errors
    /// [`SigningKeyError::Malformed`] if it is none.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        let line = text.lines().find(|line| !line.trim().is_empty()).ok_or(SigningKeyError::Malformed)?;
        let [algorithm, version, seed] =
            line.split_whitespace().collect::<Vec<_>>().try_into().map_err(|_| SigningKeyError::Malformed)?;
        let is_version = version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let seed = SEED.decode(seed.trim_end_matches('=')).map_err(|_| SigningKeyError::Malformed)?;
        if algorithm != "ed25519" || !is_version || seed.len() != 32 {
            return Err(SigningKeyError::Malformed);
        }
        let document = [&PKCS8_HEAD[..], &seed].concat();
        let pair = Ed25519KeyPair::from_der(&document, version.to_owned()).map_err(|_| SigningKeyError::Malformed)?;
        Ok(Self { pair })
    }

    /// The key's ID: `ed25519:VERSION`.
    pub fn id(&self) -> String {
        format!("ed25519:{}", self.pair.version())
    }

    /// The public key in unpadded base64.
    pub fn public_key(&self) -> String {
        BASE64_STANDARD_NO_PAD.encode(self.pair.public_key())
    }

    /// Adds this server's signature to a JSON object (appendices, "Signing JSON").
    ///
    /// # Errors
    /// A text that says what about the object cannot be signed.
    pub fn sign(&self, server_name: &ServerName, object: &mut CanonicalJsonObject) -> Result<(), String> {
        ruma_signatures::sign_json(server_name.as_str(), &self.pair, object).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id()).finish()
    }
}

fn generate(randomness: &dyn Randomness) -> String {
    let (mut seed, mut version) = ([0; 32], [0; 3]);
    randomness.fill(&mut seed);
    randomness.fill(&mut version);
    let [a, b, c] = version;
    format!("ed25519 t_{a:02x}{b:02x}{c:02x} {}\n", BASE64_STANDARD_NO_PAD.encode(seed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;
    use tintype_domain::OsRandomness;

    use super::*;

    /// The seed of the specification's test vectors (appendices, "Cryptographic Test Vectors").
    const SPECIFICATION: &str = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

    #[test]
    fn the_test_vector_of_the_specification_is_signed_as_it_says() {
        let key = SigningKey::parse(SPECIFICATION).unwrap();
        let mut object = CanonicalJsonObject::new();

        key.sign(<&ServerName>::try_from("domain").unwrap(), &mut object).unwrap();

        let signed = serde_json::to_value(&object).unwrap();
        assert_eq!(key.public_key(), "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI");
        assert_eq!(
            signed["signatures"]["domain"]["ed25519:1"],
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
        );
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("localhost.signing.key");

        let made = SigningKey::load_or_create(&path, &OsRandomness).unwrap();
        let read = SigningKey::load_or_create(&path, &OsRandomness).unwrap();

        assert_eq!((made.id(), made.public_key()), (read.id(), read.public_key()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "ed25519",
            "ed25519 1",
            "rsa 1 AAAA",
            "ed25519 1 AAAA",
            "ed25519 a:b YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
        ] {
            assert!(matches!(SigningKey::parse(text), Err(SigningKeyError::Malformed)), "{text}");
        }
    }
}
