//! An Ed25519 signing key, in the file format of Synapse: `ed25519 VERSION SEED`, the seed in unpadded base64.
//!
//! A server that shares the name of its homeserver shares its key, too, or brings one that the homeserver publishes:
//! so the files of Dendrite and matrix-media-repo are read as well.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use ruma_common::CanonicalJsonObject;
use ruma_signatures::Ed25519KeyPair;
use tintype_domain::{Randomness, ServerName};

use crate::encoding::decode_base64;

/// A PKCS#8 document with an Ed25519 seed (RFC 8410 §7) up to the seed.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The lines around a key of Dendrite or matrix-media-repo.
const PEM_BEGIN: &str = "-----BEGIN MATRIX PRIVATE KEY-----";
const PEM_END: &str = "-----END MATRIX PRIVATE KEY-----";

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read or written.
    #[error("the signing key file failed: {0}")]
    Io(#[from] io::Error),
    /// The file is of no form that is known.
    #[error("the signing key file holds neither `ed25519 VERSION SEED` nor a PEM document `MATRIX PRIVATE KEY`")]
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

    /// A new key, which is kept nowhere.
    ///
    /// # Errors
    /// None that is known: what is made can be read.
    pub fn random(randomness: &dyn Randomness) -> Result<Self, SigningKeyError> {
        Self::parse(&generate(randomness))
    }

    /// Reads the key from a file.
    ///
    /// # Errors
    /// [`SigningKeyError`] if the file cannot be read, or holds no key.
    pub fn load(path: &Path) -> Result<Self, SigningKeyError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    /// Parses a key file of Synapse, of Dendrite or of matrix-media-repo: the first key in it is the one that signs.
    ///
    /// # Errors
    /// [`SigningKeyError::Malformed`] if it holds no key.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().ok_or(SigningKeyError::Malformed)?;
        let (version, seed) = if first == PEM_BEGIN { pem(lines)? } else { line(first)? };
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

/// Reads `ed25519 VERSION SEED`.
fn line(line: &str) -> Result<(&str, [u8; 32]), SigningKeyError> {
    let [algorithm, version, seed] =
        line.split_whitespace().collect::<Vec<_>>().try_into().map_err(|_| SigningKeyError::Malformed)?;
    if algorithm != "ed25519" || !is_key_version(version) {
        return Err(SigningKeyError::Malformed);
    }
    Ok((version, decode_base64(seed).ok_or(SigningKeyError::Malformed)?))
}

/// Reads a PEM document behind its first line: headers, one of them the key's ID, and the seed, with or without the
/// public key behind it.
fn pem<'a>(lines: impl Iterator<Item = &'a str>) -> Result<(&'a str, [u8; 32]), SigningKeyError> {
    let (mut version, mut body) = (None, String::new());
    for line in lines {
        if line == PEM_END {
            let seed = decode_base64(&body)
                .or_else(|| decode_base64::<64>(&body).and_then(|pair| pair[..32].try_into().ok()))
                .ok_or(SigningKeyError::Malformed)?;
            return Ok((version.ok_or(SigningKeyError::Malformed)?, seed));
        }
        match line.split_once(':') {
            Some((name, id)) if name.eq_ignore_ascii_case("Key-ID") => {
                let id = id.trim().strip_prefix("ed25519:").filter(|version| is_key_version(version));
                version = Some(id.ok_or(SigningKeyError::Malformed)?);
            }
            Some(_) => {}
            None => body.push_str(line),
        }
    }
    Err(SigningKeyError::Malformed)
}

/// Whether a key may be called this, behind `ed25519:` (appendices, "Signing keys"; the letters, digits and underscore
/// of the server-server API, "Publishing Keys").
pub(crate) fn is_key_version(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
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

    const PUBLIC: &str = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI";

    #[test]
    fn the_first_of_several_keys_signs() {
        let file = format!("\n{SPECIFICATION}\r\ned25519 other AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");

        let key = SigningKey::parse(&file).unwrap();

        assert_eq!((key.id().as_str(), key.public_key().as_str()), ("ed25519:1", PUBLIC));
    }

    #[test]
    fn the_files_of_dendrite_and_matrix_media_repo_are_read() {
        let seed = decode_base64::<32>("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
        let public = decode_base64::<32>(PUBLIC).unwrap();
        for bytes in [seed.to_vec(), [seed, public].concat()] {
            let body = base64::prelude::BASE64_STANDARD.encode(bytes);
            let (begin, end) = body.split_at(20);
            for file in [
                format!("{PEM_BEGIN}\nKey-ID: ed25519:a_1\n\n{body}\n{PEM_END}\n"),
                format!("{PEM_BEGIN}\r\nX: y\r\nkey-id:ed25519:a_1\r\n\r\n{begin}\r\n{end}\r\n{PEM_END}"),
            ] {
                let key = SigningKey::parse(&file).unwrap();
                assert_eq!((key.id().as_str(), key.public_key().as_str()), ("ed25519:a_1", PUBLIC), "{file}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let pem = |inner: &str| format!("{PEM_BEGIN}\n{inner}\n{PEM_END}");
        let (id, seed) = ("Key-ID: ed25519:1\n\n", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0=");
        for text in [
            "",
            PEM_BEGIN,
            &pem(""),
            &pem(seed),
            &pem(id),
            &pem(&format!("{id}AAAA")),
            &pem(&format!("Key-ID: rsa:1\n\n{seed}")),
            &format!("{PEM_BEGIN}\n{id}{seed}"),
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
