//! What is sent: bytes in memory, a stream that can be read once, or a file that can be read again from any point.
//!
//! Only what can be read again can be sent by a resumable upload, which may have to go back to what the server has
//! really kept. Nothing is held in memory but the piece on its way.

use std::{
    fmt,
    io::{self, SeekFrom},
    path::Path,
    sync::{Arc, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _},
    sync::Mutex,
};
use tokio_util::io::ReaderStream;

/// How much is read at once, in bytes.
pub(crate) const PIECE: usize = 128 * 1024;

/// Pieces of what is sent, in order.
pub(crate) type Pieces = stream::BoxStream<'static, io::Result<Bytes>>;

/// The bytes to send.
pub struct Source {
    kind: Kind,
    length: Option<u64>,
}

enum Kind {
    Memory(Bytes),
    // Only ever taken out: the lock makes a source shareable, as the futures that hold it have to be.
    Once(std::sync::Mutex<Pieces>),
    Again(Arc<Mutex<Seekable>>),
}

impl Source {
    /// What a reader gives, to its end. It can be read only once; its length is unknown unless it is given by
    /// [`with_length`](Self::with_length).
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::stream(ReaderStream::with_capacity(reader, PIECE))
    }

    /// What a stream gives, to its end. It can be read only once.
    pub fn stream<S, B>(stream: S) -> Self
    where
        S: Stream<Item = io::Result<B>> + Send + 'static,
        B: Into<Bytes> + 'static,
    {
        Self { kind: Kind::Once(std::sync::Mutex::new(stream.map_ok(Into::into).boxed())), length: None }
    }

    /// The first `length` bytes of something that can be read again from any point.
    pub fn seekable(reader: impl AsyncRead + AsyncSeek + Send + Unpin + 'static, length: u64) -> Self {
        let seekable = Seekable { reader: Box::new(reader), position: None };
        Self { kind: Kind::Again(Arc::new(Mutex::new(seekable))), length: Some(length) }
    }

    /// A file, with the length that it has now. What is no ordinary file (a pipe, a device) is read once, to its end.
    ///
    /// # Errors
    /// If it cannot be opened, or is a folder.
    pub async fn file(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path).await?;
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else if metadata.is_file() {
            Ok(Self::seekable(file, metadata.len()))
        } else {
            Ok(Self::reader(file))
        }
    }

    /// The same, announced with this length in bytes. The upload fails if it is not the true one.
    #[must_use]
    pub fn with_length(self, length: u64) -> Self {
        Self { length: Some(length), ..self }
    }

    /// The length in bytes, if it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether it can be read more than once, as resumable uploads need it.
    pub fn can_be_read_again(&self) -> bool {
        !matches!(self.kind, Kind::Once(_))
    }

    /// All of it.
    pub(crate) fn into_pieces(self) -> Pieces {
        match self.kind {
            Kind::Once(pieces) => pieces.into_inner().unwrap_or_else(PoisonError::into_inner),
            Kind::Memory(bytes) => memory(bytes),
            Kind::Again(seekable) => seekable_from(seekable, 0, self.length.unwrap_or(u64::MAX)),
        }
    }

    /// What follows the first `offset` bytes; `None` if it cannot be read again.
    pub(crate) fn pieces_from(&self, offset: u64) -> Option<Pieces> {
        match &self.kind {
            Kind::Once(_) => None,
            Kind::Memory(bytes) => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Some(memory(bytes.slice(offset..)))
            }
            Kind::Again(seekable) => {
                let remaining = self.length.unwrap_or(u64::MAX).saturating_sub(offset);
                Some(seekable_from(Arc::clone(seekable), offset, remaining))
            }
        }
    }
}

fn memory(bytes: Bytes) -> Pieces {
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

fn seekable_from(seekable: Arc<Mutex<Seekable>>, offset: u64, remaining: u64) -> Pieces {
    stream::try_unfold((seekable, offset, remaining), async |(seekable, offset, remaining)| {
        let piece = seekable.lock().await.read_at(offset, remaining).await?;
        let length = piece.len() as u64;
        Ok((length > 0).then(|| (piece, (seekable, offset + length, remaining - length))))
    })
    .boxed()
}

trait ReadSeek: AsyncRead + AsyncSeek + Send + Unpin {}

impl<T: AsyncRead + AsyncSeek + Send + Unpin> ReadSeek for T {}

/// A reader that several requests share, one after the other. The one before may be given up in the middle of a read,
/// so each says where it reads, and whoever finds the position unknown seeks first.
struct Seekable {
    reader: Box<dyn ReadSeek>,
    position: Option<u64>,
}

impl Seekable {
    async fn read_at(&mut self, offset: u64, at_most: u64) -> io::Result<Bytes> {
        if self.position.take() != Some(offset) {
            self.reader.seek(SeekFrom::Start(offset)).await?;
        }
        let mut piece = BytesMut::with_capacity(usize::try_from(at_most).unwrap_or(PIECE).min(PIECE));
        if piece.capacity() > 0 {
            (&mut self.reader).take(at_most).read_buf(&mut piece).await?;
        }
        self.position = Some(offset + piece.len() as u64);
        Ok(piece.freeze())
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self { length: Some(bytes.len() as u64), kind: Kind::Memory(bytes) }
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static [u8]> for Source {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<&'static str> for Source {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    async fn read(pieces: Pieces) -> Vec<u8> {
        pieces.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap()
    }

    fn long() -> Vec<u8> {
        (0..251).cycle().take(2 * PIECE + 5).collect()
    }

    #[tokio::test]
    async fn what_can_be_read_again_is_read_from_any_point() {
        for source in [Source::from(long()), Source::seekable(Cursor::new(long()), long().len() as u64)] {
            for offset in [0, 3, PIECE, PIECE + 1, long().len(), 0] {
                let pieces = source.pieces_from(offset as u64).unwrap();
                assert!(read(pieces).await == long()[offset..], "from {offset}");
            }
            assert!(read(source.into_pieces()).await == long());
        }
    }

    #[tokio::test]
    async fn a_reader_given_up_in_the_middle_does_not_disturb_the_next() {
        let source = Source::seekable(Cursor::new(long()), long().len() as u64);
        let mut given_up = source.pieces_from(0).unwrap();
        given_up.next().await.unwrap().unwrap();
        let mut second = source.pieces_from(7).unwrap();
        second.next().await.unwrap().unwrap();

        given_up.next().await.unwrap().unwrap();

        let rest = read(second).await;
        assert!(rest == long()[long().len() - rest.len()..]);
    }

    #[tokio::test]
    async fn of_something_seekable_only_the_given_length_is_read() {
        let source = Source::seekable(Cursor::new(long()), 10);

        assert_eq!(read(source.pieces_from(4).unwrap()).await, &long()[4..10]);
        assert_eq!(read(source.into_pieces()).await, &long()[..10]);
    }

    #[tokio::test]
    async fn a_stream_is_read_once_and_has_no_length_unless_it_is_given() {
        let stream = || stream::iter(["ab", "c"].map(|text| Ok(text.as_bytes())));

        let source = Source::stream(stream());
        assert_eq!((source.length(), source.can_be_read_again()), (None, false));
        assert!(source.pieces_from(0).is_none());
        assert_eq!(read(source.into_pieces()).await, b"abc");
        assert_eq!(Source::stream(stream()).with_length(3).length(), Some(3));
    }

    #[tokio::test]
    async fn a_folder_is_no_source() {
        assert!(Source::file(std::env::temp_dir()).await.is_err());
    }
}
