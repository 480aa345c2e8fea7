//! Decrypting what is received (client-server API, "Sending encrypted attachments").
//!
//! AES-CTR alone does not tell whether somebody has changed a byte; only the hash does, and it is known at the end. So
//! nothing is given out before the end: in memory ([`bytes`](EncryptedDownload::bytes)), in a file that gets its name
//! at the end ([`save`](EncryptedDownload::save)), or in one that never has a name
//! ([`into_file`](EncryptedDownload::into_file)). Except for the first, the memory it takes is that of one piece.

use std::{fs::File, io::SeekFrom, path::Path};

use bytes::{Bytes, BytesMut};
use ctr::cipher::StreamCipher as _;
use tempfile::NamedTempFile;
use tintype_domain::{ContentHash, ContentHasher};
use tokio::io::{AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{Download, EncryptedFile, Error, encrypted_file::Cipher};

/// Encrypted media on its way here. What can be had of it is verified.
#[must_use = "nothing is received before it is asked for"]
pub struct EncryptedDownload {
    download: Download,
    cipher: Cipher,
    hasher: ContentHasher,
    expected: ContentHash,
}

/// What becomes of a file that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and that is an error.
    Keep,
    /// It is replaced.
    Replace,
}

impl Download {
    /// Decrypts it. To be called before anything of it was read.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the file is another one, or if the beginning is missing.
    pub fn decrypt(self, file: &EncryptedFile) -> Result<EncryptedDownload, Error> {
        if self.mxc() != file.mxc() {
            return Err(Error::Invalid("the key is that of other media"));
        }
        if self.position() != 0 {
            return Err(Error::Invalid("what is decrypted is read from its beginning"));
        }
        let (cipher, expected) = (file.cipher(), *file.hash());
        Ok(EncryptedDownload { download: self, cipher, hasher: ContentHasher::default(), expected })
    }
}

impl EncryptedDownload {
    /// The length in bytes, if it is known: it is the same before and after.
    pub fn length(&self) -> Option<u64> {
        self.download.length()
    }

    /// How much was received, in bytes.
    pub fn position(&self) -> u64 {
        self.download.position()
    }

    /// All of it, in memory.
    ///
    /// # Errors
    /// [`Error::WrongHash`] if it is not what was encrypted; [`Error::TooLong`] if there is more than `limit`.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let encrypted = self.download.bytes(limit).await?;
        self.hasher.update(&encrypted);
        verify(self.hasher, &self.expected)?;
        let mut bytes = encrypted.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        self.cipher.apply_keystream(&mut bytes);
        Ok(bytes.freeze())
    }

    /// Writes it into a file, which gets its name when everything is there and verified; gives its length. Before that
    /// it is a temporary file in the same folder, which is removed if anything goes wrong.
    ///
    /// # Errors
    /// [`Error::WrongHash`] if it is not what was encrypted; [`Error::Sink`] if the file cannot be written, or exists
    /// and is to be kept.
    pub async fn save(mut self, path: impl AsRef<Path>, existing: Existing) -> Result<u64, Error> {
        let path = path.as_ref();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = NamedTempFile::new_in(folder).map_err(Error::Sink)?;
        let mut file = tokio::fs::File::from_std(temporary.reopen().map_err(Error::Sink)?);
        let length = self.copy_unverified_to(&mut file).await?;
        let renamed = match existing {
            Existing::Keep => temporary.persist_noclobber(path),
            Existing::Replace => temporary.persist(path),
        };
        renamed.map(|_| length).map_err(|error| Error::Sink(error.error))
    }

    /// Writes it into a temporary file without a name, which is gone when it is closed; gives the file, to be read from
    /// its beginning.
    ///
    /// # Errors
    /// [`Error::WrongHash`] if it is not what was encrypted; [`Error::Sink`] if the file cannot be written.
    pub async fn into_file(mut self) -> Result<File, Error> {
        let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(Error::Sink)?);
        self.copy_unverified_to(&mut file).await?;
        file.seek(SeekFrom::Start(0)).await.map_err(Error::Sink)?;
        Ok(file.into_std().await)
    }

    /// Writes it to where nobody reads it yet; gives its length. **Until this succeeds nothing of what is written is
    /// verified**, and it must be thrown away if this fails. [`save`](Self::save) does all that.
    ///
    /// # Errors
    /// [`Error::WrongHash`] if it is not what was encrypted; [`Error::Sink`] if it cannot be written.
    pub async fn copy_unverified_to(&mut self, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        while let Some(piece) = self.download.chunk().await? {
            self.hasher.update(&piece);
            let mut piece = piece.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            self.cipher.apply_keystream(&mut piece);
            sink.write_all(&piece).await.map_err(Error::Sink)?;
        }
        sink.flush().await.map_err(Error::Sink)?;
        verify(self.hasher.clone(), &self.expected)?;
        Ok(self.position())
    }
}

fn verify(hasher: ContentHasher, expected: &ContentHash) -> Result<(), Error> {
    if hasher.finish() == *expected { Ok(()) } else { Err(Error::WrongHash) }
}

impl std::fmt::Debug for EncryptedDownload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedDownload").field("download", &self.download).finish_non_exhaustive()
    }
}
