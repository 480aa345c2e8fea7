//! A blob as it is on the disk: sealed with AES-256-GCM, with a key of its own that seals nothing else.
//!
//! So it can be known whether what is read is what was written, and who loses the key loses the blob.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use foyer::{Code, Error, ErrorKind};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tintype_domain::Randomness;
use zeroize::Zeroizing;

/// What seals one blob. It is in memory only, and overwritten when it goes.
pub(super) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub(super) fn random(randomness: &dyn Randomness) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        randomness.fill(&mut *key);
        Self(key)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*self.0).ok()?))
    }

    /// A nonce must not be used twice with a key, for different bytes: this key is for one blob, and that never changes.
    fn nonce() -> Nonce {
        Nonce::assume_unique_for_key([0; 12])
    }

    fn seal(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(bytes.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(bytes);
        self.cipher()?.seal_in_place_append_tag(Self::nonce(), Aad::empty(), &mut sealed).ok()?;
        Some(sealed)
    }

    fn open(&self, mut sealed: Vec<u8>) -> Option<Bytes> {
        let length = self.cipher()?.open_in_place(Self::nonce(), Aad::empty(), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed.into())
    }
}

/// A blob in the cache: open in memory, sealed on the disk, and when it has come from there until it is first read.
pub(super) struct Cached(Mutex<State>);

enum State {
    Open(Bytes, Arc<Key>),
    Sealed(Vec<u8>),
    Damaged,
}

impl Cached {
    pub(super) fn new(bytes: Bytes, key: Arc<Key>) -> Self {
        Self(Mutex::new(State::Open(bytes, key)))
    }

    /// Its bytes; none if they are not what was sealed with this key.
    pub(super) fn bytes(&self, key: &Arc<Key>) -> Option<Bytes> {
        let mut state = self.state();
        if let State::Sealed(sealed) = &mut *state {
            let bytes = key.open(std::mem::take(sealed));
            *state = bytes.map_or(State::Damaged, |bytes| State::Open(bytes, Arc::clone(key)));
        }
        match &*state {
            State::Open(bytes, _) => Some(bytes.clone()),
            State::Sealed(_) | State::Damaged => None,
        }
    }

    /// Its length, more or less.
    pub(super) fn len(&self) -> usize {
        match &*self.state() {
            State::Open(bytes, _) => bytes.len(),
            State::Sealed(sealed) => sealed.len(),
            State::Damaged => 0,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Code for Cached {
    fn encode(&self, writer: &mut impl Write) -> Result<(), Error> {
        let sealed = match &*self.state() {
            State::Open(bytes, key) => key.seal(bytes),
            State::Sealed(sealed) => Some(sealed.clone()),
            State::Damaged => None,
        };
        let sealed = sealed.ok_or_else(|| Error::new(ErrorKind::External, "it cannot be sealed"))?;
        writer.write_all(&(sealed.len() as u64).to_le_bytes()).map_err(Error::io_error)?;
        writer.write_all(&sealed).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self, Error> {
        let mut length = [0; 8];
        reader.read_exact(&mut length).map_err(Error::io_error)?;
        let length = u64::from_le_bytes(length);
        let mut sealed = Vec::new();
        reader.take(length).read_to_end(&mut sealed).map_err(Error::io_error)?;
        if sealed.len() as u64 != length {
            return Err(Error::new(ErrorKind::External, "it is cut off"));
        }
        Ok(Self(Mutex::new(State::Sealed(sealed))))
    }

    fn estimated_size(&self) -> usize {
        self.len() + AES_256_GCM.tag_len() + 8
    }
}

#[cfg(test)]
mod tests {
    use tintype_domain::OsRandomness;

    use super::*;

    const BYTES: &[u8] = b"bytes that nobody else is to see";

    fn key() -> Arc<Key> {
        Arc::new(Key::random(&OsRandomness))
    }

    fn on_disk(key: &Arc<Key>) -> Vec<u8> {
        let mut written = Vec::new();
        Cached::new(Bytes::from_static(BYTES), Arc::clone(key)).encode(&mut written).unwrap();
        written
    }

    #[test]
    fn what_was_written_is_read_with_its_key_and_written_again_as_it_was() {
        let key = key();

        let written = on_disk(&key);
        let read = Cached::decode(&mut &*written).unwrap();

        assert_eq!(read.estimated_size() - AES_256_GCM.tag_len(), written.len());
        assert_eq!(read.bytes(&key).unwrap(), BYTES);
        let mut again = Vec::new();
        read.encode(&mut again).unwrap();
        assert_eq!(again, written);
        assert_eq!(read.estimated_size(), written.len());
    }

    #[test]
    fn nothing_can_be_read_on_the_disk_or_with_another_key_or_after_a_byte_was_changed() {
        let key = key();
        let mut written = on_disk(&key);
        assert!(!written.windows(8).any(|window| BYTES.windows(8).any(|bytes| bytes == window)));

        assert!(Cached::decode(&mut &*written).unwrap().bytes(&self::key()).is_none());
        written[12] ^= 1;
        assert!(Cached::decode(&mut &*written).unwrap().bytes(&key).is_none());
        assert!(Cached::decode(&mut &written[..20]).is_err());
    }
}
