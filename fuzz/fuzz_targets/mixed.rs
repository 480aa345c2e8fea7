//! Whatever a server answers with, it means the same in whatever pieces it comes, and never more than it says; and what
//! we answer with is read as it was.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tintype_domain::Randomness;
use tintype_federation::{MediaHead, MixedDecoder, MixedEncoder, MixedError, MixedEvent};

fuzz_target!(|input: &[u8]| {
    // The bytes of the first line are the lengths of the pieces.
    let line_end = input.iter().position(|&byte| byte == b'\n');
    let (cuts, body) = line_end.map_or((&[][..], input), |at| (&input[..at], &input[at + 1..]));
    let _ = MixedDecoder::new(body);

    let content_type = b"multipart/mixed; boundary=b";
    let (at_once, outcome) = read(content_type, body, &[]);
    let (in_pieces, outcome_in_pieces) = read(content_type, body, cuts);
    assert_eq!(outcome.is_ok(), outcome_in_pieces.is_ok());
    if outcome.is_ok() {
        assert_eq!(at_once, in_pieces);
        assert!(at_once.has_metadata && at_once.ended);
        let media = at_once.media.expect("an answer that ends has a second part");
        match (media.location, media.content_length) {
            (Some(_), _) => assert!(at_once.data.is_empty()),
            (None, Some(length)) => assert_eq!(at_once.data.len() as u64, length),
            (None, None) => {}
        }
    }

    let encoder = MixedEncoder::new(&Zeros);
    let media = MediaHead { content_length: Some(body.len() as u64), ..MediaHead::default() };
    let written = [&encoder.head(&serde_json::Map::new(), &media)[..], body, &encoder.tail()].concat();
    let (answer, outcome) = read(encoder.content_type().as_bytes(), &written, cuts);
    // Nobody can know the boundary, except here.
    if !body.windows(32).any(|window| window == [b'0'; 32]) {
        assert_eq!(outcome, Ok(()));
        assert_eq!(answer.data, body);
    }
});

struct Zeros;

impl Randomness for Zeros {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    has_metadata: bool,
    media: Option<MediaHead>,
    data: Vec<u8>,
    ended: bool,
}

fn read(content_type: &[u8], mut body: &[u8], cuts: &[u8]) -> (Answer, Result<(), MixedError>) {
    let mut decoder = MixedDecoder::new(content_type).expect("the boundary is valid");
    let mut answer = Answer::default();
    for cut in cuts {
        let (piece, rest) = body.split_at(body.len().min(usize::from(*cut)));
        body = rest;
        decoder.push(Bytes::copy_from_slice(piece));
        if let Err(error) = take(&mut decoder, &mut answer) {
            return (answer, Err(error));
        }
    }
    decoder.push(Bytes::copy_from_slice(body));
    decoder.finish();
    let outcome = take(&mut decoder, &mut answer);
    (answer, outcome)
}

fn take(decoder: &mut MixedDecoder, answer: &mut Answer) -> Result<(), MixedError> {
    while let Some(event) = decoder.next_event()? {
        assert!(!answer.ended);
        match event {
            MixedEvent::Metadata(_) => assert!(!std::mem::replace(&mut answer.has_metadata, true)),
            MixedEvent::Media(media) => assert!(answer.has_metadata && answer.media.replace(media).is_none()),
            MixedEvent::Data(bytes) => {
                assert!(!bytes.is_empty());
                answer.data.extend_from_slice(&bytes);
                let media = answer.media.as_ref().expect("the head comes first");
                assert!(media.content_length.is_none_or(|length| answer.data.len() as u64 <= length));
            }
            MixedEvent::End => answer.ended = true,
        }
    }
    Ok(())
}
