//! Takes an answer apart while it arrives.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use serde_json::{Map, Value};

use super::{
    MixedError,
    boundary::boundary,
    delimiter::{Delimiter, Found},
    head::{HeadReader, MAX_HEAD, MediaHead},
};

/// The longest first part, in bytes.
pub const MAX_METADATA: usize = 64 * 1024;

/// How many bytes are skipped at most before the first part, after the second one, and beside a `Location`, each.
pub const MAX_PADDING: usize = 64 * 1024;

/// What an answer consists of, in the order in which it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MixedEvent {
    /// The whole first part.
    Metadata(Map<String, Value>),
    /// The head of the second part.
    Media(MediaHead),
    /// Some bytes of the second part, never none. There are none at all beside a `Location`.
    Data(Bytes),
    /// Both parts were whole.
    End,
}

/// Decodes one answer.
///
/// Push what arrives and take events until there is none, again and again; say when the HTTP body is complete, and take
/// what is left. Whoever takes all events before pushing more bounds what is held here: to one piece, one head
/// ([`MAX_HEAD`]) and the first part ([`MAX_METADATA`]).
pub struct MixedDecoder {
    pieces: VecDeque<Bytes>,
    delimiter: Delimiter,
    state: State,
    is_complete: bool,
}

enum State {
    /// Before the first delimiter.
    Preamble { skipped: usize },
    /// On the line of the delimiter before a part.
    Line { part: Part, read: usize },
    /// In the header lines of a part.
    Head { part: Part, head: HeadReader },
    /// In the first part.
    Metadata { json: Vec<u8> },
    /// In the second part, which brings the media.
    Media { stated: Option<u64>, had: u64 },
    /// In the second part, which says that the media is elsewhere.
    Elsewhere { skipped: usize },
    /// On the line of a delimiter after the second part that is not the last one: the answer has to end here.
    LastLine { read: usize },
    /// Behind that line.
    AfterLastLine,
    /// After the last delimiter, when its event has been given.
    Epilogue { skipped: usize },
    /// There is nothing more to say.
    Failed(MixedError),
}

#[derive(Clone, Copy)]
enum Part {
    Metadata,
    Media,
}

impl MixedDecoder {
    /// A decoder for an answer with this `Content-Type`.
    ///
    /// # Errors
    /// [`MixedError::OtherType`] or [`MixedError::Boundary`].
    pub fn new(content_type: &[u8]) -> Result<Self, MixedError> {
        Ok(Self {
            pieces: VecDeque::new(),
            delimiter: Delimiter::new(&boundary(content_type)?),
            state: State::Preamble { skipped: 0 },
            is_complete: false,
        })
    }

    /// Takes the next bytes of the HTTP body.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pieces.push_back(bytes);
        }
    }

    /// Takes that the HTTP body is complete: what was pushed is all of it, not what came before it broke off.
    ///
    /// What is left to give comes after that: a delimiter without the closing dashes ends an answer only here, since
    /// some servers leave them out.
    pub fn finish(&mut self) {
        self.is_complete = true;
    }

    /// The next event, or `None` if more bytes are needed. After [`finish`](Self::finish), `None` comes only after
    /// [`MixedEvent::End`].
    ///
    /// # Errors
    /// [`MixedError`]; from then on it stays the same.
    pub fn next_event(&mut self) -> Result<Option<MixedEvent>, MixedError> {
        let event = self.advance();
        if let Err(error) = &event {
            self.state = State::Failed(error.clone());
            self.pieces.clear();
        }
        event
    }

    fn advance(&mut self) -> Result<Option<MixedEvent>, MixedError> {
        while let Some(mut piece) = self.pieces.pop_front() {
            let event = self.step(&mut piece)?;
            if !piece.is_empty() {
                self.pieces.push_front(piece);
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        match &self.state {
            State::Failed(error) => Err(error.clone()),
            _ if self.is_complete => self.end(),
            _ => Ok(None),
        }
    }

    /// Takes some bytes from `piece`, or ends a state; either happens at least once.
    fn step(&mut self, piece: &mut Bytes) -> Result<Option<MixedEvent>, MixedError> {
        match &mut self.state {
            State::Preamble { skipped } => match self.delimiter.find(piece) {
                Found::Data(bytes) => skip(skipped, bytes.len())?,
                Found::Open => self.state = State::Line { part: Part::Metadata, read: 0 },
                Found::Close => return Err(MixedError::TooFewParts),
                Found::Nothing => {}
            },
            State::Line { part, read } => {
                if rest_of_line(piece, read)? {
                    self.state = State::Head { part: *part, head: HeadReader::default() };
                }
            }
            State::Head { part, head } => {
                let Some(head) = head.read(piece)? else {
                    return Ok(None);
                };
                self.delimiter.begin_part();
                match *part {
                    Part::Metadata => {
                        check_metadata_type(&head)?;
                        self.state = State::Metadata { json: Vec::new() };
                    }
                    Part::Media => {
                        self.state = match head.location {
                            Some(_) => State::Elsewhere { skipped: 0 },
                            None => State::Media { stated: head.content_length, had: 0 },
                        };
                        return Ok(Some(MixedEvent::Media(head)));
                    }
                }
            }
            State::Metadata { json } => match self.delimiter.find(piece) {
                Found::Data(bytes) if json.len() + bytes.len() > MAX_METADATA => {
                    return Err(MixedError::MetadataTooLong);
                }
                Found::Data(bytes) => json.extend_from_slice(&bytes),
                Found::Open => {
                    let metadata = serde_json::from_slice(json).map_err(|_| MixedError::Metadata)?;
                    self.state = State::Line { part: Part::Media, read: 0 };
                    return Ok(Some(MixedEvent::Metadata(metadata)));
                }
                Found::Close => return Err(MixedError::TooFewParts),
                Found::Nothing => {}
            },
            State::Media { stated, had } => match self.delimiter.find(piece) {
                Found::Data(bytes) => {
                    *had += bytes.len() as u64;
                    if let Some(stated) = stated.filter(|stated| *stated < *had) {
                        return Err(MixedError::Length { stated, had: *had });
                    }
                    return Ok(Some(MixedEvent::Data(bytes)));
                }
                Found::Nothing => {}
                found => {
                    check_length(*stated, *had)?;
                    return Ok(self.after_media(&found));
                }
            },
            State::Elsewhere { skipped } => match self.delimiter.find(piece) {
                Found::Data(bytes) => skip(skipped, bytes.len())?,
                Found::Nothing => {}
                found => return Ok(self.after_media(&found)),
            },
            State::LastLine { read } => {
                if rest_of_line(piece, read)? {
                    self.state = State::AfterLastLine;
                }
            }
            State::AfterLastLine => return Err(MixedError::TooManyParts),
            State::Epilogue { skipped } => {
                skip(skipped, piece.len())?;
                piece.clear();
            }
            State::Failed(error) => return Err(error.clone()),
        }
        Ok(None)
    }

    fn after_media(&mut self, found: &Found) -> Option<MixedEvent> {
        if *found == Found::Close {
            self.state = State::Epilogue { skipped: 0 };
            return Some(MixedEvent::End);
        }
        self.state = State::LastLine { read: 0 };
        None
    }

    /// What the end of the body means.
    fn end(&mut self) -> Result<Option<MixedEvent>, MixedError> {
        match &self.state {
            State::Epilogue { .. } => return Ok(None),
            State::LastLine { .. } | State::AfterLastLine => {}
            State::Media { stated, had } if self.delimiter.is_undecided() => check_length(*stated, *had)?,
            State::Elsewhere { .. } if self.delimiter.is_undecided() => {}
            State::Line { part: Part::Media, .. } => return Err(MixedError::TooFewParts),
            _ => return Err(MixedError::Truncated),
        }
        self.state = State::Epilogue { skipped: 0 };
        Ok(Some(MixedEvent::End))
    }
}

/// Takes the rest of a delimiter's line, which may have spaces and tabs. Returns whether it ended.
fn rest_of_line(piece: &mut Bytes, read: &mut usize) -> Result<bool, MixedError> {
    while piece.has_remaining() {
        *read += 1;
        match piece.get_u8() {
            b'\n' => return Ok(true),
            b' ' | b'\t' | b'\r' if *read <= MAX_HEAD => {}
            _ => return Err(MixedError::Delimiter),
        }
    }
    Ok(false)
}

fn skip(skipped: &mut usize, bytes: usize) -> Result<(), MixedError> {
    *skipped += bytes;
    if *skipped > MAX_PADDING { Err(MixedError::PaddingTooLong) } else { Ok(()) }
}

/// The first part has to be `application/json`; a part without a type is taken for it.
fn check_metadata_type(head: &MediaHead) -> Result<(), MixedError> {
    let Some(content_type) = &head.content_type else {
        return Ok(());
    };
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") { Ok(()) } else { Err(MixedError::Metadata) }
}

fn check_length(stated: Option<u64>, had: u64) -> Result<(), MixedError> {
    match stated {
        Some(stated) if stated != had => Err(MixedError::Length { stated, had }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
