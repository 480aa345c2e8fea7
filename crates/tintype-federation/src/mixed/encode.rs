//! What goes before and after the bytes of media in an answer to another server.

use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value};
use tintype_domain::Randomness;
use tintype_http::byteranges::Boundary;
use url::Url;

use super::MediaHead;

/// Frames one answer: its head, the bytes of the media, and its tail; or one body that says where they are.
#[derive(Debug, Clone)]
pub struct MixedEncoder {
    boundary: Boundary,
}

impl MixedEncoder {
    /// An encoder with a boundary that whoever uploaded the media cannot have guessed.
    pub fn new(randomness: &dyn Randomness) -> Self {
        let mut random = [0; 16];
        randomness.fill(&mut random);
        Self { boundary: Boundary::from_random(random) }
    }

    /// The `Content-Type` of the whole answer.
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/mixed; boundary={}", self.boundary))
            .expect("a boundary is hexadecimal digits")
    }

    /// What goes before the bytes of the media. What is no valid header value is left out, so that it cannot end the
    /// head; a location is not written here.
    pub fn head(&self, metadata: &Map<String, Value>, media: &MediaHead) -> Bytes {
        let mut head = self.begin(metadata);
        for (name, value) in
            [("Content-Type", &media.content_type), ("Content-Disposition", &media.content_disposition)]
        {
            if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_bytes(value).ok()) {
                head.extend_from_slice(name.as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
        }
        if let Some(length) = media.content_length {
            head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        Bytes::from(head)
    }

    /// What goes after the bytes of the media.
    pub fn tail(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary))
    }

    /// A whole body that says where the media is.
    pub fn location(&self, metadata: &Map<String, Value>, location: &Url) -> Bytes {
        let mut body = self.begin(metadata);
        body.extend_from_slice(format!("Location: {location}\r\n\r\n").as_bytes());
        body.extend_from_slice(&self.tail());
        Bytes::from(body)
    }

    /// The `Content-Length` of the whole answer, in bytes, if the media has `media_length` bytes after this head.
    pub fn content_length(&self, head: &Bytes, media_length: u64) -> u64 {
        [head.len() as u64, self.tail().len() as u64].into_iter().fold(media_length, u64::saturating_add)
    }

    /// The first part, and the delimiter after it.
    fn begin(&self, metadata: &Map<String, Value>) -> Vec<u8> {
        let boundary = &self.boundary;
        let mut text = String::with_capacity(512);
        // Writing to a string does not fail, and a map of strings and values can always be written as JSON.
        let _ = write!(text, "--{boundary}\r\nContent-Type: application/json\r\n\r\n");
        let _ = write!(text, "{}", Value::Object(metadata.clone()));
        let _ = write!(text, "\r\n--{boundary}\r\n");
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Random bytes that are always the same.
    struct Same;

    impl Randomness for Same {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0xab);
        }
    }

    const BOUNDARY: &str = "abababababababababababababababab";

    #[test]
    fn an_answer_has_two_parts_and_a_closing_boundary_and_is_as_long_as_it_says() {
        let encoder = MixedEncoder::new(&Same);
        let media = MediaHead {
            content_type: Some(b"image/png".to_vec()),
            content_disposition: Some(b"inline; filename=\"a.png\"".to_vec()),
            content_length: Some(5),
            location: None,
        };

        let head = encoder.head(&Map::new(), &media);
        let body = [&head[..], b"bytes", &encoder.tail()].concat();

        let expected = format!(
            "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{BOUNDARY}\r\n\
             Content-Type: image/png\r\nContent-Disposition: inline; filename=\"a.png\"\r\nContent-Length: 5\r\n\r\n\
             bytes\r\n--{BOUNDARY}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(encoder.content_length(&head, 5), expected.len() as u64);
        assert_eq!(encoder.content_type(), format!("multipart/mixed; boundary={BOUNDARY}"));
    }

    #[test]
    fn media_elsewhere_is_a_whole_body() {
        let encoder = MixedEncoder::new(&Same);
        let metadata = json!({"a": 1}).as_object().unwrap().clone();

        let body = encoder.location(&metadata, &Url::parse("https://cdn.example.org/ab?c=d").unwrap());

        let expected = format!(
            "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{\"a\":1}}\r\n--{BOUNDARY}\r\n\
             Location: https://cdn.example.org/ab?c=d\r\n\r\n\r\n--{BOUNDARY}--\r\n"
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn what_would_end_a_header_line_is_left_out() {
        let encoder = MixedEncoder::new(&Same);
        let media = MediaHead { content_type: Some(b"text/plain\r\nX: y".to_vec()), ..MediaHead::default() };

        let head = encoder.head(&Map::new(), &media);

        assert!(head.ends_with(format!("--{BOUNDARY}\r\n\r\n").as_bytes()));
    }
}
