//! Whatever another server says of itself, it is refused or can be said again in the plainest form and means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype_federation::XMatrix;

fuzz_target!(|input: &[u8]| {
    check(input);
    check(&[b"X-Matrix ", input].concat());
    // The part that is hard to guess is given, so that the rest is tried.
    let signature = format!("X-Matrix sig={},", "A".repeat(86));
    check(&[signature.as_bytes(), input].concat());
    check(&[signature.as_bytes(), b"key=ed25519:1,origin=", input].concat());
});

fn check(value: &[u8]) {
    let Ok(read) = XMatrix::parse(value) else {
        return;
    };
    let version = read.key.strip_prefix("ed25519:").expect("there is no other algorithm");
    assert!(!version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    assert!(!read.origin.as_str().contains(['"', '\\', ',', ' ']));
    let destination = read.destination.as_ref().map(|name| format!(r#",destination="{name}""#)).unwrap_or_default();
    let plain = format!(
        r#"X-Matrix origin="{}"{destination},key="{}",sig="{}""#,
        read.origin,
        read.key,
        ruma_common::serde::Base64::<ruma_common::serde::base64::Standard, _>::new(read.signature.to_vec()),
    );
    assert_eq!(XMatrix::parse(plain.as_bytes()), Ok(read));
}
