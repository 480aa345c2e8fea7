//! No query string panics, and an encoded one reads back as what was encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tintype_http::query::{MAX_PAIRS, Query, QueryError};

fuzz_target!(|input: (&str, Vec<(&str, &str)>)| {
    let (text, pairs) = input;

    if let Ok(query) = Query::parse(Some(text)) {
        for name in text.split(['&', '=']) {
            let _ = (query.u32(name), query.bool(name), query.duration_ms(name), query.required(name));
        }
    }

    let encoded: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let encoded = encoded.join("&");
    match Query::parse(Some(&encoded)) {
        Ok(query) => {
            for (name, _) in &pairs {
                let expected = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| *value);
                assert!(query.all(name).eq(expected));
            }
        }
        Err(error) => assert!(error == QueryError::TooMany && pairs.len() > MAX_PAIRS),
    }
});

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%20", "+")
}
