use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use tintype_domain::OsRandomness;

use super::*;
use crate::MixedEncoder;

const CONTENT_TYPE: &[u8] = b"multipart/mixed; boundary=bound";

/// What an answer came to, without regard to the pieces in which its bytes were given.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    metadata: Option<Map<String, Value>>,
    media: Option<MediaHead>,
    data: Vec<u8>,
    ended: bool,
}

/// Decodes a whole body that comes in these pieces.
fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Read, Result<(), MixedError>) {
    let mut decoder = MixedDecoder::new(CONTENT_TYPE).unwrap();
    let mut read = Read::default();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        if let Err(error) = take(&mut decoder, &mut read) {
            return (read, Err(error));
        }
    }
    decoder.finish();
    let outcome = take(&mut decoder, &mut read);
    assert_eq!(outcome.is_ok(), read.ended);
    assert_eq!(decoder.next_event(), outcome.clone().map(|()| None));
    (read, outcome)
}

fn take(decoder: &mut MixedDecoder, read: &mut Read) -> Result<(), MixedError> {
    while let Some(event) = decoder.next_event()? {
        match event {
            MixedEvent::Metadata(metadata) => assert_eq!(read.metadata.replace(metadata), None),
            MixedEvent::Media(media) => assert_eq!(read.media.replace(media), None),
            MixedEvent::Data(bytes) => {
                assert!(read.media.is_some() && !bytes.is_empty());
                read.data.extend_from_slice(&bytes);
            }
            MixedEvent::End => assert!(!std::mem::replace(&mut read.ended, true)),
        }
    }
    Ok(())
}

/// Decodes a whole body, at once and byte by byte: both have to come to the same.
fn read(body: &[u8]) -> Result<Read, MixedError> {
    let (at_once, outcome) = read_pieces([body]);
    let (by_byte, outcome_by_byte) = read_pieces(body.chunks(1));
    // How much of wrong media was given before it was known to be wrong depends on the pieces.
    assert_eq!(outcome.is_ok(), outcome_by_byte.is_ok());
    if outcome.is_ok() {
        assert_eq!(at_once, by_byte);
    }
    outcome.map(|()| at_once)
}

const JSON: &str = "--bound\r\nContent-Type: application/json\r\n\r\n{}\r\n";

fn error(body: &str) -> MixedError {
    read(body.as_bytes()).unwrap_err()
}

#[test]
fn two_parts_are_read_with_what_they_say() {
    let read = read(
        b"--bound\r\nContent-Type: application/json\r\n\r\n{\"a\":[1]}\r\n--bound\r\ncontent-type:image/png \r\n\
          CONTENT-DISPOSITION: inline; filename=\"\xc3\xbc.png\"\r\nX-Other: y\r\nContent-Length: 5\r\n\r\nbytes\
          \r\n--bound--\r\n",
    )
    .unwrap();

    assert_eq!(read.metadata, json!({"a": [1]}).as_object().cloned());
    let media = MediaHead {
        content_type: Some(b"image/png".to_vec()),
        content_disposition: Some("inline; filename=\"\u{fc}.png\"".into()),
        content_length: Some(5),
        location: None,
    };
    assert_eq!(read.media, Some(media));
    assert_eq!(read.data, b"bytes");
}

#[test]
fn an_answer_may_end_with_any_delimiter_and_begin_with_anything() {
    let media = "--bound\r\n\r\nbytes\r\n--bound";
    for (before, after) in [
        ("", "--"),
        ("", "--\r\n"),
        ("", "-- \r\nand more\r\n--bound\r\nand more"),
        ("", ""),
        ("", "\r\n"),
        ("", "\n"),
        ("", " \t\r\n"),
        ("", " "),
        ("\r\n", "--"),
        ("\r\n\r\n", ""),
        ("This is a multipart message.\r\n--boun\r\n--bounds--\r\n\n--bound\r\n", "--"),
        ("\r", "--"),
    ] {
        let body = format!("{before}{JSON}{media}{after}");
        let outcome = read(body.as_bytes());
        if before == "\r" {
            assert_eq!(outcome, Err(MixedError::TooFewParts), "the first delimiter is not at the beginning of a line");
            continue;
        }
        assert_eq!(outcome.unwrap().data, b"bytes", "{body:?}");
    }
}

#[test]
fn delimiters_may_have_spaces_and_header_lines_a_bare_lf() {
    let body =
        b"--bound \t\r\nContent-Type: application/json\n\n{}\r\n--bound\nContent-Type: a/b\n\nbytes\r\n--bound--";

    let read = read(body).unwrap();

    assert_eq!(read.media.unwrap().content_type, Some(b"a/b".to_vec()));
    assert_eq!(read.data, b"bytes");
}

#[test]
fn what_looks_like_a_delimiter_belongs_to_the_media() {
    for data in [
        "\n--bound\n",
        "\n--bound--\n",
        "x--bound\r\n",
        "\r--bound\r\n",
        "\r\n-bound\r\n",
        "\r\n--boun",
        "\r\n--bound-",
        "\r\n--bound-x",
        "\r\n--boundary\r\n",
        "\r\n--Bound\r\n",
        "\r\n --bound\r\n",
        "\r\n\r\n--\r\n--boun\r",
        "\r\r\n",
        "\r\n",
        "",
        "--boun",
    ] {
        let body = format!("{JSON}--bound\r\nContent-Length: {}\r\n\r\n{data}\r\n--bound--\r\n", data.len());
        assert_eq!(read(body.as_bytes()).unwrap().data, data.as_bytes(), "{data:?}");
    }
}

#[test]
fn a_location_is_given_and_the_rest_of_its_part_is_not() {
    for body in ["\r\n--bound--", "ignored\r\n\r\n--bound", "--bound--", "--bound"] {
        let body = format!("{JSON}--bound\r\nLocation: https://cdn.example.org/a\r\nContent-Length: 9\r\n\r\n{body}");

        let read = read(body.as_bytes()).unwrap();

        assert_eq!(read.media.unwrap().location.as_deref(), Some("https://cdn.example.org/a"));
        assert_eq!(read.data, b"");
    }
}

#[test]
fn an_answer_that_ends_early_is_refused() {
    let whole = format!("{JSON}--bound\r\nContent-Type: a/b\r\n\r\nbytes\r\n--bound");
    for length in 0..whole.len() {
        let (_, outcome) = read_pieces([&whole.as_bytes()[..length]]);
        assert!(matches!(outcome, Err(MixedError::Truncated | MixedError::TooFewParts)), "{length}");
    }
    assert!(read(whole.as_bytes()).is_ok());
    assert_eq!(error(&format!("{whole}-")), MixedError::Truncated);
}

#[test]
fn a_body_that_breaks_off_never_ends() {
    let mut decoder = MixedDecoder::new(CONTENT_TYPE).unwrap();
    decoder.push(Bytes::from(format!("{JSON}--bound\r\n\r\nbytes\r\n--bound\r\n")));
    let mut read = Read::default();

    take(&mut decoder, &mut read).unwrap();

    assert!(!read.ended);
    decoder.finish();
    take(&mut decoder, &mut read).unwrap();
    assert!(read.ended);
}

#[test]
fn one_part_and_three_parts_are_refused() {
    assert_eq!(error("--bound--"), MixedError::TooFewParts);
    assert_eq!(error(&format!("{JSON}--bound--")), MixedError::TooFewParts);
    assert_eq!(error(&format!("{JSON}--bound")), MixedError::Truncated);
    assert_eq!(error(&format!("{JSON}--bound ")), MixedError::TooFewParts);
    for third in ["\r\n\r\nx", "\r\n--bound--", "\r\nContent-Type: a/b\r\n\r\nx\r\n--bound--", "\r\n\r\n"] {
        let body = format!("{JSON}--bound\r\n\r\nbytes\r\n--bound{third}");
        assert_eq!(error(&body), MixedError::TooManyParts, "{third:?}");
    }
    assert_eq!(error("no boundary at all"), MixedError::Truncated);
}

#[test]
fn metadata_has_to_be_a_json_object_of_bounded_length() {
    for (head, json) in [
        ("Content-Type: application/json\r\n", "[]"),
        ("Content-Type: application/json\r\n", "null"),
        ("Content-Type: application/json\r\n", "{"),
        ("Content-Type: application/json\r\n", "{} {}"),
        ("Content-Type: application/json\r\n", ""),
        ("Content-Type: text/plain\r\n", "{}"),
        ("Content-Type: application/jsonx\r\n", "{}"),
    ] {
        let body = format!("--bound\r\n{head}\r\n{json}\r\n--bound\r\n\r\n\r\n--bound--");
        assert_eq!(error(&body), MixedError::Metadata, "{body:?}");
    }
    for head in ["", "content-type: Application/JSON; charset=utf-8\r\n"] {
        let body = format!("--bound\r\n{head}\r\n{{}}\r\n--bound\r\n\r\n\r\n--bound--");
        assert!(read(body.as_bytes()).is_ok(), "{body:?}");
    }
    let longest = format!("{{{}}}", " ".repeat(MAX_METADATA - 2));
    let body = |json: &str| format!("--bound\r\n\r\n{json}\r\n--bound\r\n\r\n\r\n--bound--");
    assert!(read(body(&longest).as_bytes()).is_ok());
    assert_eq!(error(&body(&format!("{longest} "))), MixedError::MetadataTooLong);
}

#[test]
fn what_is_skipped_is_bounded() {
    let most = "x".repeat(MAX_PADDING - 2);
    let answer = format!("{JSON}--bound\r\n\r\n\r\n--bound--");

    assert!(read(format!("{most}\r\n{answer}").as_bytes()).is_ok());
    assert_eq!(error(&format!("{most}xxx\r\n{answer}")), MixedError::PaddingTooLong);
    assert!(read(format!("{answer}{most}xx").as_bytes()).is_ok());
    assert_eq!(error(&format!("{answer}{most}xxx")), MixedError::PaddingTooLong);
    let elsewhere = format!("{JSON}--bound\r\nLocation: a\r\n\r\n");
    assert!(read(format!("{elsewhere}{most}xx\r\n--bound--").as_bytes()).is_ok());
    assert_eq!(error(&format!("{elsewhere}{most}xxx\r\n--bound--")), MixedError::PaddingTooLong);
    assert_eq!(error(&format!("--bound{}", " ".repeat(MAX_HEAD + 1))), MixedError::Delimiter);
}

#[test]
fn a_length_that_lies_is_refused() {
    let body = |length: &str| format!("{JSON}--bound\r\nContent-Length: {length}\r\n\r\nbytes\r\n--bound--");

    assert!(read(body("5").as_bytes()).is_ok());
    assert_eq!(error(&body("6")), MixedError::Length { stated: 6, had: 5 });
    assert!(matches!(error(&body("4")), MixedError::Length { stated: 4, .. }));
    assert!(matches!(error(&body("0")), MixedError::Length { stated: 0, .. }));
    for length in ["", "-1", "+5", "5 5", "0x5", "18446744073709551616"] {
        assert_eq!(error(&body(length)), MixedError::Header, "{length}");
    }
}

#[test]
fn malformed_and_repeated_and_endless_headers_and_packed_parts_are_refused() {
    for head in ["no colon", ": no name", "a b: c", "a : b", " a: b", "a: b\r\n c", "a: b\rc", "a: b\0", "--bound--"] {
        let body = format!("{JSON}--bound\r\n{head}\r\n\r\n\r\n--bound--");
        assert_eq!(error(&body), MixedError::Header, "{head:?}");
    }
    for name in ["Content-Type", "Content-Disposition", "Content-Length", "Location"] {
        let body = format!("{JSON}--bound\r\n{name}: 1\r\n{name}: 1\r\n\r\n\r\n--bound--");
        assert_eq!(error(&body), MixedError::RepeatedHeader(name));
    }
    for header in ["Content-Encoding: gzip", "content-encoding:br", "Content-Transfer-Encoding: base64"] {
        let body = format!("{JSON}--bound\r\n{header}\r\n\r\n\r\n--bound--");
        assert_eq!(error(&body), MixedError::Encoded, "{header}");
    }
    for header in ["Content-Encoding: Identity", "Content-Transfer-Encoding: Binary", "Content-Transfer-Encoding: 8bit"]
    {
        assert!(read(format!("{JSON}--bound\r\n{header}\r\n\r\n\r\n--bound--").as_bytes()).is_ok(), "{header}");
    }
    let fits = "x".repeat(MAX_HEAD - "a: \r\n\r\n".len());
    assert!(read(format!("{JSON}--bound\r\na: {fits}\r\n\r\n\r\n--bound--").as_bytes()).is_ok());
    assert_eq!(error(&format!("{JSON}--bound\r\na: {fits}x\r\n\r\n\r\n--bound--")), MixedError::HeadTooLong);
    assert_eq!(error(&format!("{JSON}--bound\r\na: {fits}xxxxxx")), MixedError::HeadTooLong);
    assert_eq!(error("--boundary\r\n"), MixedError::Truncated);
    assert_eq!(error("--bound x\r\n"), MixedError::Delimiter);
}

#[test]
fn media_is_given_as_soon_as_it_is_certain_and_without_copies() {
    let mut decoder = MixedDecoder::new(CONTENT_TYPE).unwrap();
    decoder.push(Bytes::from(format!("{JSON}--bound\r\n\r\n")));
    take(&mut decoder, &mut Read::default()).unwrap();
    let piece = Bytes::from("first \r\n--bo second\r\n--bound");

    decoder.push(piece.clone());

    let Ok(Some(MixedEvent::Data(data))) = decoder.next_event() else { panic!() };
    assert_eq!(data, "first \r\n--bo second");
    assert_eq!(data.as_ptr(), piece.as_ptr());
    assert_eq!(decoder.next_event(), Ok(None));
}

/// Media made of what a delimiter is made of.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    let pieces = ["\r", "\n", "\r\n", "-", "--", "bound", "boun", "\r\n--bound", "\r\n--boun", "x", "\0"];
    vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

fn cut<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = body;
    let mut pieces = Vec::new();
    for &cut in cuts {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #[test]
    fn the_pieces_in_which_an_answer_comes_do_not_matter(
        data in tricky(), end in prop::sample::select(vec!["", "\r\n--bound", "\r\n--bound--", "\r\n--bound\r\n"]),
        cuts in vec(0..12_usize, 0..40),
    ) {
        let body = [JSON.as_bytes(), b"--bound\r\n\r\n", &data, end.as_bytes()].concat();

        let (at_once, outcome) = read_pieces([&body[..]]);
        let (in_pieces, outcome_in_pieces) = read_pieces(cut(&body, &cuts));

        prop_assert_eq!(&outcome, &outcome_in_pieces);
        prop_assert_eq!(at_once, in_pieces);
    }

    #[test]
    fn nothing_panics(body in vec(any::<u8>(), 0..200), content_type in vec(any::<u8>(), 0..80)) {
        let _ = read(&body);
        let _ = MixedDecoder::new(&content_type);
    }

    #[test]
    fn what_the_encoder_makes_is_read_as_it_was(
        data in vec(any::<u8>(), 0..400), key in ".{0,8}", value in ".{0,8}", states_length in any::<bool>(),
        content_type in option::of("[!-~]([ -~]{0,20}[!-~])?"), cuts in vec(0..80_usize, 0..20),
    ) {
        let encoder = MixedEncoder::new(&OsRandomness);
        let metadata = json!({ key: value }).as_object().unwrap().clone();
        let media = MediaHead {
            content_type: content_type.map(String::into_bytes),
            content_disposition: None,
            content_length: states_length.then_some(data.len() as u64),
            location: None,
        };

        let body = [&encoder.head(&metadata, &media)[..], &data, &encoder.tail()].concat();
        let mut decoder = MixedDecoder::new(encoder.content_type().as_bytes()).unwrap();
        let mut read = Read::default();
        for piece in cut(&body, &cuts) {
            decoder.push(Bytes::copy_from_slice(piece));
            take(&mut decoder, &mut read).unwrap();
        }

        prop_assert_eq!(read, Read { metadata: Some(metadata), media: Some(media), data, ended: true });
    }
}
