//! What holds for every input, not only for those that somebody thought of.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use tintype_http::bearer::bearer_token;
use tintype_http::byteranges::{Boundary, MultipartByteranges};
use tintype_http::conditional::{self, ETag, Precondition};
use tintype_http::disposition::{self, ContentDisposition, Disposition};
use tintype_http::forwarded::{client_address, rate_key};
use tintype_http::path::decode_segment;
use tintype_http::query::Query;
use tintype_http::range::{ByteRange, MAX_RANGES, Ranges};

fn ranges_of(ranges: Ranges) -> Vec<ByteRange> {
    match ranges {
        Ranges::Whole | Ranges::Unsatisfiable => Vec::new(),
        Ranges::One(range) => vec![range],
        Ranges::Many(ranges) => ranges,
    }
}

/// Range values that are mostly well-formed, so that the interesting half of the parser is reached.
fn range_value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just(String::new()),
        (0_u64..300).prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string())
    ];
    let spec = prop_oneof![8 => (number.clone(), number).prop_map(|(a, b)| format!("{a}-{b}")), 1 => "[0-9, -]{0,6}"];
    vec(spec, 0..20).prop_map(|specs| format!("bytes={}", specs.join(",")))
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, any::<u64>()]
}

fn any_disposition() -> impl Strategy<Value = Disposition> {
    prop_oneof![Just(Disposition::Inline), Just(Disposition::Attachment)]
}

fn address() -> impl Strategy<Value = IpAddr> {
    let nearby = (0_u8..4).prop_map(|last| IpAddr::from([10, 0, 0, last]));
    prop_oneof![nearby, any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn header(name: &'static str, value: &[u8]) -> HeaderMap {
    let value = HeaderValue::from_bytes(value).into_iter();
    value.map(|value| (http::HeaderName::from_static(name), value)).collect()
}

proptest! {
    #[test]
    fn ranges_lie_inside_apart_from_one_another_and_are_few(value in range_value(), length in length()) {
        let ranges = ranges_of(Ranges::parse(value.as_bytes(), length));

        prop_assert!(ranges.len() <= MAX_RANGES);
        for (at, range) in ranges.iter().enumerate() {
            prop_assert!(range.start() < range.end() && range.end() <= length);
            for other in &ranges[at + 1..] {
                prop_assert!(range.end() < other.start() || other.end() < range.start());
            }
        }
        let total: u128 = ranges.iter().map(|range| u128::from(range.length())).sum();
        prop_assert!(total <= u128::from(length));
    }

    #[test]
    fn every_byte_asked_for_is_sent_and_no_other(
        asked in vec((0_u64..40, 0_u64..40), 1..=MAX_RANGES),
        length in 0_u64..40,
    ) {
        let asked: Vec<_> = asked.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        let specs: Vec<_> = asked.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let sent = ranges_of(Ranges::parse(format!("bytes={}", specs.join(",")).as_bytes(), length));

        for byte in 0..40 {
            let was_asked = byte < length && asked.iter().any(|(first, last)| (*first..=*last).contains(&byte));
            let is_sent = sent.iter().any(|range| (range.start()..range.end()).contains(&byte));
            prop_assert_eq!(was_asked, is_sent, "byte {}", byte);
        }
    }

    #[test]
    fn any_bytes_can_stand_in_a_range_header(value in vec(any::<u8>(), 0..60), length in length()) {
        Ranges::parse(&value, length);
    }

    #[test]
    fn a_multipart_body_is_as_long_as_it_says(
        random: [u8; 16],
        content_type in vec(any::<u8>(), 0..30),
        value in range_value(),
        length in length(),
    ) {
        let ranges = ranges_of(Ranges::parse(value.as_bytes(), length));
        let bytes: u64 = ranges.iter().map(|range| range.length()).sum();
        let count = ranges.len();

        let frame = MultipartByteranges::new(Boundary::from_random(random), &content_type, ranges, length);

        let heads: u64 = (0..count).map(|part| frame.part_head(part).len() as u64).sum();
        prop_assert_eq!(frame.content_length(), bytes.saturating_add(heads + frame.tail().len() as u64));
        for part in 0..count {
            let head = frame.part_head(part);
            let blank = head.windows(4).position(|window| window == b"\r\n\r\n");
            prop_assert_eq!(blank, Some(head.len() - 4), "the head ends once");
        }
    }

    #[test]
    fn conditions_on_any_bytes_are_judged_and_our_own_tag_is_recognised(
        opaque in "[!#-~]{0,20}",
        noise in "[ -~]{0,30}",
    ) {
        let tag = ETag::new(&opaque).unwrap();
        let own = tag.header_value();
        let _ = conditional::evaluate(&header("if-none-match", noise.as_bytes()), &tag);

        let listed = [b"\"x\" , W/", own.as_bytes(), b",\"y\""].concat();

        prop_assert_eq!(conditional::evaluate(&header("if-none-match", &listed), &tag), Precondition::NotModified);
        prop_assert_eq!(conditional::evaluate(&header("if-match", own.as_bytes()), &tag), Precondition::Proceed);
        prop_assert!(conditional::range_applies(&header("if-range", own.as_bytes()), &tag));
    }

    #[test]
    fn a_name_that_is_written_is_read_back(disposition in any_disposition(), name in any::<String>()) {
        let value = disposition::format(disposition, Some(&name));

        let filename = (!name.is_empty()).then_some(name);
        prop_assert!(value.to_str().is_ok());
        prop_assert_eq!(disposition::parse(value.as_bytes()), ContentDisposition { disposition, filename });
    }

    #[test]
    fn a_written_value_holds_nothing_that_could_be_misread(disposition in any_disposition(), name in "[\\x00-\\x7f\"\\\\;=%'/\u{202e}🐈]{1,20}") {
        let value = disposition::format(disposition, Some(&name));

        let text = value.to_str().unwrap();
        let (_, parameter) = text.split_once("; ").unwrap();
        let (_, spelled) = parameter.split_once('=').unwrap();
        let inner = spelled.trim_start_matches('"').trim_end_matches('"');
        prop_assert!(inner.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\;,/=<>".contains(&byte)), "{}", text);
    }

    #[test]
    fn a_disposition_from_any_bytes_survives_being_passed_on(value in vec(any::<u8>(), 0..80)) {
        let value = [b"inline; filename=", value.as_slice()].concat();
        let read = disposition::parse(&value);

        let passed_on = disposition::format(read.disposition, read.filename.as_deref());

        prop_assert_eq!(disposition::parse(passed_on.as_bytes()), read);
    }

    #[test]
    fn any_text_can_be_asked_as_a_query(text in "[a-c=&+%0-9é]{0,60}") {
        if let Ok(query) = Query::parse(Some(&text)) {
            let _ = (query.u32("a"), query.bool("a"), query.duration_ms("a"), query.required("a"));
        }
    }

    #[test]
    fn an_encoded_query_is_read_back(pairs in vec((any::<String>(), any::<String>()), 0..20)) {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%20", "+");
        let encoded: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let encoded = encoded.join("&");

        let query = Query::parse(Some(&encoded)).unwrap();

        for (name, _) in &pairs {
            let expected: Vec<_> = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
            prop_assert_eq!(query.all(name).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_encoded_segment_is_read_back(text in any::<String>()) {
        let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();

        let decoded = decode_segment(&encoded);

        prop_assert_eq!(decoded.as_deref(), Ok(text.as_str()));
    }

    #[test]
    fn any_text_can_stand_in_a_path(text in "[%0-9a-fA-Fé/]{0,40}") {
        let _ = decode_segment(&text);
    }

    #[test]
    fn the_client_is_a_trusted_proxy_only_if_all_are(peer in address(), chain in vec(address(), 0..6)) {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/30".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
        let line: Vec<_> = chain.iter().map(ToString::to_string).collect();
        let headers = header("x-forwarded-for", line.join(", ").as_bytes());

        let client = client_address(peer, &headers, &trusted);

        let all: Vec<_> = chain.iter().chain([&peer]).collect();
        let nearest_stranger = all.iter().rev().find(|address| !is_trusted(address)).copied();
        prop_assert_eq!(client, nearest_stranger.unwrap_or(all[0]).to_canonical());
    }

    #[test]
    fn any_bytes_can_be_forwarded(value in vec(any::<u8>(), 0..60)) {
        let trusted: Vec<IpNet> = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];

        client_address(IpAddr::from([10, 0, 0, 1]), &header("x-forwarded-for", &value), &trusted);
    }

    #[test]
    fn a_rate_key_is_its_own_key(address in address()) {
        prop_assert_eq!(rate_key(rate_key(address)), rate_key(address));
    }

    #[test]
    fn a_bearer_token_comes_back_as_sent(token in "[!-~]{1,60}") {
        let headers = header("authorization", format!("Bearer {token}").as_bytes());

        prop_assert_eq!(bearer_token(&headers), Ok(Some(token.as_str())));
    }
}
