//! Finds where a part ends, in bytes that come in pieces.
//!
//! A delimiter is CRLF, two dashes and the boundary (RFC 2046 §5.1.1). While the end of a piece could be the beginning
//! of one, that much is held back, and no more; since it is known what it is, only its length has to be kept, and no
//! byte of a part is ever copied.

use bytes::{Buf as _, Bytes};

/// A delimiter, and how much of it the bytes seen last are.
pub(super) struct Delimiter {
    /// CRLF, dashes, boundary, and the two dashes of the last one.
    closing: Bytes,
    /// How many bytes of `closing` have been seen.
    matched: usize,
    /// How many of those belong to what came before the part.
    borrowed: usize,
}

/// What stands next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Bytes of the part, not empty.
    Data(Bytes),
    /// A delimiter; the rest of its line comes next.
    Open,
    /// The last delimiter; the rest of its line comes next.
    Close,
    /// More bytes are needed.
    Nothing,
}

impl Delimiter {
    pub(super) fn new(boundary: &str) -> Self {
        let mut delimiter = Self { closing: Bytes::from(format!("\r\n--{boundary}--")), matched: 0, borrowed: 0 };
        delimiter.begin_part();
        delimiter
    }

    /// At the beginning of the body and of each part, the line end before it counts as the one of the delimiter:
    /// otherwise a part that has only a head, as in the specification's example of a `Location`, would not end.
    pub(super) fn begin_part(&mut self) {
        self.matched = 2;
        self.borrowed = 2;
    }

    /// Whether the bytes so far end with a delimiter of which it is not known yet whether it is the last one.
    pub(super) fn is_undecided(&self) -> bool {
        self.matched == self.open_length()
    }

    /// Takes what is certain from the beginning of `piece`.
    pub(super) fn find(&mut self, piece: &mut Bytes) -> Found {
        while self.matched > 0 {
            let Some(&byte) = piece.first() else {
                return Found::Nothing;
            };
            if self.is_undecided() && matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                self.matched = 0;
                return Found::Open;
            }
            if byte == self.closing[self.matched] {
                piece.advance(1);
                self.matched += 1;
                if self.matched == self.closing.len() {
                    self.matched = 0;
                    return Found::Close;
                }
                continue;
            }
            // It was none. There is no other CR in a delimiter, so none can have begun within it.
            let held = self.closing.slice(self.borrowed..self.matched);
            self.matched = 0;
            self.borrowed = 0;
            if !held.is_empty() {
                return Found::Data(held);
            }
        }
        self.borrowed = 0;
        let certain = self.certain(piece);
        if certain > 0 {
            return Found::Data(piece.split_to(certain));
        }
        if piece.is_empty() {
            return Found::Nothing;
        }
        // It begins with what may be a delimiter.
        piece.advance(1);
        self.matched = 1;
        self.find(piece)
    }

    /// How many bytes at the beginning of `piece` are certainly none of a delimiter.
    fn certain(&self, piece: &[u8]) -> usize {
        let open = &self.closing[..self.open_length()];
        let mut at = 0;
        while let Some(next) = piece[at..].iter().position(|&byte| byte == b'\r') {
            at += next;
            let rest = &piece[at..];
            if rest.starts_with(&open[..open.len().min(rest.len())]) {
                return at;
            }
            at += 1;
        }
        piece.len()
    }

    fn open_length(&self) -> usize {
        self.closing.len() - 2
    }
}
