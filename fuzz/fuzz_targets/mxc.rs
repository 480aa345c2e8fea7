//! What parses as an MXC URI prints as it was written, and its media ID is safe in a path, a file name and SQL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype_domain::{MediaId, Mxc};

fuzz_target!(|text: &str| {
    for uri in [text.to_owned(), format!("mxc://{text}")] {
        let Ok(mxc) = uri.parse::<Mxc>() else {
            continue;
        };
        assert_eq!(mxc.to_string(), uri);
        assert_eq!(mxc.to_string().parse().as_ref(), Ok(&mxc));
        assert_safe(mxc.media_id.as_str());
        let server_name = mxc.server_name.as_str();
        assert!(
            server_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte)),
            "{server_name}"
        );
    }
    if let Ok(media_id) = MediaId::parse(text) {
        assert_eq!(media_id.as_str(), text);
        assert_safe(media_id.as_str());
    }
});

fn assert_safe(media_id: &str) {
    assert!((1..=255).contains(&media_id.len()));
    assert!(media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
}
