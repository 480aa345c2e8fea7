//! Encrypting what is sent (client-server API, "Sending encrypted attachments").
//!
//! Each piece is encrypted when the connection asks for it, and added to the hash, which is known when the last one is
//! on its way: nothing is held but the piece. For this reason an encrypted source can be read only once.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};
use ctr::cipher::StreamCipher as _;
use futures_util::{TryStreamExt as _, stream};
use tintype_domain::{ContentHash, ContentHasher, Mxc};

use crate::{
    Client, EncryptedFile, Error, Event, Lifetime, Source, Upload,
    encrypted_file::{AttachmentKey, Cipher},
    source::{PIECE, Pieces},
};

/// What an encrypted source was, or will have been, encrypted with.
///
/// ```no_run
/// # async fn example(client: tintype_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use tintype_client::Source;
///
/// let mxc = client.create().await?.mxc;
/// let (source, encryption) = Source::file("film.mp4").await?.encrypted();
/// client.put(&mxc, source).await?;
/// let file = encryption.finish(mxc)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "without it what is sent can never be read"]
pub struct Encryption {
    key: AttachmentKey,
    hash: Arc<OnceLock<ContentHash>>,
}

impl Encryption {
    /// What opens the media, which is at `mxc` now.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the source was not read to its end, and so was not sent.
    pub fn finish(self, mxc: Mxc) -> Result<EncryptedFile, Error> {
        let hash = self.hash.get().ok_or(Error::Invalid("what is encrypted was not sent to its end"))?;
        Ok(EncryptedFile::new(mxc, self.key, *hash))
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryption")
    }
}

impl Source {
    /// The same, encrypted with a new key. It can be read only once, and is as long as before.
    pub fn encrypted(self) -> (Self, Encryption) {
        self.encrypted_with(AttachmentKey::random())
    }

    fn encrypted_with(self, key: AttachmentKey) -> (Self, Encryption) {
        let hash = Arc::new(OnceLock::new());
        let length = self.length();
        let encrypting = Encrypting {
            pieces: self.into_pieces(),
            piece: Bytes::new(),
            cipher: key.cipher(),
            hasher: ContentHasher::default(),
            hash: Arc::clone(&hash),
        };
        let encrypted = Self::stream(stream::try_unfold(encrypting, Encrypting::next));
        let encrypted = match length {
            Some(length) => encrypted.with_length(length),
            None => encrypted,
        };
        (encrypted, Encryption { key, hash })
    }
}

struct Encrypting {
    pieces: Pieces,
    /// What is left of a piece that is long.
    piece: Bytes,
    cipher: Cipher,
    hasher: ContentHasher,
    /// Where the hash is put at the end.
    hash: Arc<OnceLock<ContentHash>>,
}

impl Encrypting {
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        while self.piece.is_empty() {
            let Some(piece) = self.pieces.try_next().await? else {
                // It is empty: the source ends once.
                let _ = self.hash.set(self.hasher.finish());
                return Ok(None);
            };
            self.piece = piece;
        }
        let piece = self.piece.split_to(self.piece.len().min(PIECE));
        let mut piece = piece.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        self.cipher.apply_keystream(&mut piece);
        self.hasher.update(&piece);
        Ok(Some((piece.freeze(), self)))
    }
}

impl Client {
    /// Encrypts media and uploads it; awaiting it gives what opens it. The server learns its length, and neither its
    /// type nor its name: these belong into the encrypted event.
    ///
    /// It is sent once, as with [`upload`](Self::upload). To encrypt what is [`put`](Self::put), see
    /// [`Source::encrypted`].
    pub fn upload_encrypted(&self, source: impl Into<Source>) -> EncryptedUpload {
        let (source, encryption) = source.into().encrypted();
        EncryptedUpload { upload: self.upload(source).content_type("application/octet-stream"), encryption }
    }
}

/// An upload of encrypted media, which is sent when it is awaited.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct EncryptedUpload {
    upload: Upload,
    encryption: Encryption,
}

impl EncryptedUpload {
    /// Media that can be deleted again (MSC4425): the same as [`Lifetime::Ephemeral`].
    pub fn ephemeral(self) -> Self {
        self.lifetime(Lifetime::Ephemeral)
    }

    /// Media that only the user sees until it is attached to an event or a profile (MSC3911): as [`Upload::restricted`].
    pub fn restricted(self) -> Self {
        Self { upload: self.upload.restricted(), ..self }
    }

    /// How long it is to be kept.
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        Self { upload: self.upload.lifetime(lifetime), ..self }
    }

    /// Is told how far it is.
    pub fn on_event(self, listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self { upload: self.upload.on_event(listener), ..self }
    }

    async fn send(self) -> Result<EncryptedFile, Error> {
        let mxc = self.upload.await?;
        self.encryption.finish(mxc)
    }
}

impl IntoFuture for EncryptedUpload {
    type Output = Result<EncryptedFile, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use futures_util::StreamExt as _;

    use super::*;

    fn plain() -> Vec<u8> {
        (0..251).cycle().take(300_007).collect()
    }

    /// The hash that a source has when it is encrypted with the key 00 01 … 1f and the counter from 00 01 … 07 00 ….
    async fn hash_of(source: Source) -> String {
        let key = AttachmentKey::of(std::array::from_fn(|at| at.try_into().unwrap()), [0, 1, 2, 3, 4, 5, 6, 7]);
        let (source, encryption) = source.encrypted_with(key);
        let mut pieces = source.into_pieces();
        while pieces.next().await.transpose().unwrap().is_some() {}
        let file = encryption.finish("mxc://example.org/abc".parse().unwrap()).unwrap();
        serde_json::to_value(file).unwrap()["hashes"]["sha256"].as_str().unwrap().to_owned()
    }

    /// Computed with Python: AES-CTR of `cryptography`, SHA-256 of `hashlib`.
    #[tokio::test]
    async fn however_it_comes_in_pieces_it_is_encrypted_as_others_do_it() {
        let pieces = plain().chunks(1009).map(|piece| Ok(piece.to_vec())).collect::<Vec<_>>();

        for source in
            [plain().into(), Source::reader(Cursor::new(plain())), Source::stream(futures_util::stream::iter(pieces))]
        {
            assert_eq!(hash_of(source).await, "t8dXy5rUPe+r3iAcPU5L/1nn/eCAmZ9SovmEsJ8kRJI");
        }
    }
}
