//! Which paths lead to the homeserver, and to nothing there that is not for strangers.
//!
//! The homeserver gets the path as it came, and reads it in its own way, as may a proxy in front of it: decode it, once or
//! twice, merge slashes, resolve dots. So a path is passed on only if it may be in each of these readings. What no client
//! sends, a path that two of them understand differently, is then not found.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// How often a path may be encoded. Clients encode once.
const MAX_ENCODINGS: usize = 6;

/// Whether a request for this path is passed on to the homeserver, where those that begin with one of these prefixes are.
pub(crate) fn leads_to_homeserver(path: &str, prefixes: &[String]) -> bool {
    let begins = |path: &str| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()));
    let Some(readings) = readings(path) else { return false };
    begins(path)
        && readings.iter().all(|reading| {
            let literal = reading.to_ascii_lowercase();
            let tidied = tidied(reading);
            begins(&format!("/{}/", tidied.join("/")))
                && !is_kept_here(&literal.split('/').skip(1).collect::<Vec<_>>())
                && !is_kept_here(&tidied.iter().map(|segment| segment.to_ascii_lowercase()).collect::<Vec<_>>())
        })
}

/// The segments of a path as the homeserver will understand them.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    Some(tidied(readings(path)?.last()?))
}

/// A path as it is, decoded, decoded again, and so on to what nothing can be decoded of. Nothing if there is no end to it.
fn readings(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut readings = vec![Cow::Borrowed(path)];
    for _ in 0..MAX_ENCODINGS {
        let last = readings.last().expect("there is one from the beginning");
        let decoded = percent_decode(last.as_bytes()).decode_utf8_lossy();
        if decoded == *last {
            return Some(readings);
        }
        let decoded = decoded.into_owned();
        readings.push(decoded.into());
    }
    None
}

/// The segments of a path for somebody who tidies it up: without parameters, empty segments, and what follows a NUL, with
/// dots resolved.
fn tidied(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']) {
        let segment = segment.split([';', '\0']).next().unwrap_or_default();
        match segment.trim_matches(|c: char| c.is_whitespace() || c.is_control()) {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment.to_owned()),
        }
    }
    segments
}

/// Whether requests to this path (its segments, in lower case) never go to the homeserver: its administration and its
/// interface for application services, which are not for strangers, and all media, which is ours.
///
/// Previews of URLs are media endpoints that only homeservers have.
fn is_kept_here(segments: &[impl AsRef<str>]) -> bool {
    let segments = segments.iter().map(AsRef::as_ref).collect::<Vec<_>>();
    let but_previews = |rest: &[&str]| rest != ["preview_url"];
    match &segments[..] {
        ["_matrix", "app", ..]
        | ["_matrix", "client", "unstable", "org.matrix.msc4425" | "org.matrix.msc3911", ..]
        | ["_matrix", "federation", _, "media", ..]
        | ["_matrix", "federation", "unstable", _, "media", ..]
        | ["_matrix", "media"] => true,
        ["_synapse", administration, ..] => administration.starts_with("admin"),
        ["_matrix", "media", _, rest @ ..]
        | ["_matrix", "client", "unstable", _, "media", rest @ ..]
        | ["_matrix", "client", _, "media", rest @ ..] => but_previews(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passes(path: &str) -> bool {
        passes_below(path, &["/_matrix/", "/_synapse/client/"])
    }

    fn passes_below(path: &str, prefixes: &[&str]) -> bool {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect::<Vec<_>>();
        leads_to_homeserver(path, &prefixes)
    }

    #[test]
    fn what_clients_and_servers_ask_of_a_homeserver_is_passed_on() {
        for path in [
            "/_matrix/client/v3/sync",
            "/_matrix/client/v3/login",
            "/_matrix/client/r0/rooms/!a:b/send/m.room.message/1",
            "/_matrix/client/v3/rooms/%21a%3Ab/state/m.room.name/",
            "/_matrix/client/v3/rooms/!a:b/state/m.room.name//",
            "/_matrix/client/v3/rooms/!a:b/state/org.example.path/a%2Fb%2F..%2Fc",
            "/_matrix/client/v3/rooms/!a:b/state/org.example.path/..",
            "/_matrix/client/v3/rooms/!a:b/state/org.example/%2525",
            "/_matrix/client/v3/rooms/!a:b/state/org.example/a;b",
            "/_matrix/client/v3/directory/room/%23media:b",
            "/_matrix/client/v3/profile/@app:b",
            "/_matrix/client/v3/user/@u:b/account_data/_synapse%2Fadmin",
            "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata",
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
            "/_matrix/federation/v1/send/123",
            "/_matrix/federation/v2/invite/!a:b/$c",
            "/_matrix/key/v2/server",
            "/_matrix/key/v2/query/b/",
            "/_matrix/static/client/login/",
            "/_synapse/client/pick_username/account_details",
            "/_matrix/media/v3/preview_url",
            "/_matrix/media/r0/preview_url",
            "/_matrix/client/v1/media/preview_url",
            "/_matrix/client/unstable/org.matrix.msc3916/media/preview_url",
        ] {
            assert!(passes(path), "{path}");
        }
    }

    #[test]
    fn what_is_outside_of_the_prefixes_is_not() {
        for path in [
            "",
            "/",
            "*",
            "/_matrix",
            "/_Matrix/client/v3/sync",
            "/%5Fmatrix/client/v3/sync",
            "//_matrix/client/v3/sync",
            "/./_matrix/client/v3/sync",
            "/_synapse/metrics",
            "/_synapse/mas/query_user",
            "/_synapse/replication/x",
            "/health",
            "/_matrix/../metrics",
            "/_matrix/..",
            "/_matrix/client/..%2f..%2fmetrics",
            "/_matrix/client/%252e%252e/%252e%252e/metrics",
            "/_synapse/client/../metrics",
            "/_synapse/client/..;/metrics",
            "/_synapse/client/%2e%2e/metrics",
            "/_synapse/client/..\\metrics",
        ] {
            assert!(!passes(path), "{path}");
        }
    }

    /// Each way to write the path that somebody could read it in.
    fn disguises(path: &str) -> Vec<String> {
        let (first, rest) = path[1..].split_once('/').expect("the path has two segments");
        let encoded = |text: &str| {
            text.bytes().fold(String::new(), |encoded, byte| encoded + percent_encoding::percent_encode_byte(byte))
        };
        let twice = encoded(rest).replace('%', "%25");
        vec![
            path.to_owned(),
            path.to_ascii_uppercase().replace("/_MATRIX/", "/_matrix/").replace("/_SYNAPSE/", "/_synapse/"),
            format!("/{first}//{rest}"),
            format!("/{first}/./{rest}"),
            format!("/{first}/%2e/{rest}"),
            format!("/{first}/%2E%2f{rest}"),
            format!("/{first}/client/../{rest}"),
            format!("/{first}/client/%2e%2e/{rest}"),
            format!("/{first}/client/.%2E/{rest}"),
            format!("/{first}/client/..;x=y/{rest}"),
            format!("/{first}/client/..%3b/{rest}"),
            format!("/{first}/client/v3/..%2f..%2f{rest}"),
            format!("/{first}/client/%252e%252e%252f{rest}"),
            format!("/{first}/client/..%5c{rest}"),
            format!("/{first}/client/..\\{rest}"),
            format!("/{first}/;x/{rest}"),
            format!("/{first}/;/{rest}"),
            format!("/{first}/%20/{rest}"),
            format!("/{first}/%00/{rest}"),
            format!("/{first}/{}", encoded(rest)),
            format!("/{first}/{twice}"),
            format!("/{first}/{}", twice.replace('%', "%25")),
            format!("/{first}%2f{rest}"),
            format!("/{first}/{}", rest.replace('/', "%2f")),
            format!("/{first}/{}", rest.replace('/', "//")),
            format!("/{first}/{}", rest.replace('/', "\\")),
            format!("/{first}/{}", rest.replace('/', ";x=y/")),
            format!("/{first}/{}", rest.replace('/', "%00/")),
            format!("/{first}/{}", rest.replace('/', "/%2e/")),
        ]
    }

    #[test]
    fn administration_application_services_and_media_are_not_however_they_are_written() {
        for path in [
            "/_matrix/app/v1/transactions/1",
            "/_matrix/app/v1/ping",
            "/_matrix/app/x",
            "/_synapse/admin/v1/users/@a:b",
            "/_synapse/admin/v2/users",
            "/_synapse/admin_of/x",
            "/_matrix/media/v3/upload",
            "/_matrix/media/v3/download/b/c",
            "/_matrix/media/v1/create",
            "/_matrix/media/unstable/fi.mau.msc2246/create",
            "/_matrix/media/v9/anything",
            "/_matrix/media/v3/preview_url/x",
            "/_matrix/client/v1/media/download/b/c",
            "/_matrix/client/v1/media/anything",
            "/_matrix/client/v1/media/preview_url/../config",
            "/_matrix/client/unstable/org.matrix.msc3916/media/download/b/c",
            "/_matrix/client/unstable/org.matrix.msc3911/media/upload",
            "/_matrix/client/unstable/org.matrix.msc4425/b/c",
            "/_matrix/federation/v1/media/download/c",
            "/_matrix/federation/unstable/org.matrix.msc3916.v2/media/download/c",
        ] {
            for disguise in disguises(path) {
                assert!(!passes_below(&disguise, &["/"]), "{disguise}");
                assert!(!passes_below(&disguise, &["/_matrix/", "/_synapse/", "/_synapse/admin/"]), "{disguise}");
            }
        }
    }

    #[test]
    fn a_path_without_an_end_to_its_encodings_is_not_passed_on() {
        let encoded = format!("/_matrix/client/v3/%{}41", "25".repeat(MAX_ENCODINGS));
        assert!(!passes(&encoded));
    }

    /// Segments with what a reader may tidy away between them, and any of their bytes encoded, up to three times over.
    fn disguised(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
        let between =
            || prop_oneof![3 => Just(""), 1 => Just("./"), 1 => Just("/"), 1 => Just("x/../"), 1 => Just(";a=b/")];
        let written = segments.iter().map(move |segment| (between(), prop::collection::vec(0..4_u8, segment.len())));
        written.collect::<Vec<_>>().prop_map(move |written| {
            let mut path = String::new();
            for (segment, (between, encodings)) in segments.iter().zip(written) {
                path += "/";
                path += between;
                for (byte, encodings) in segment.bytes().zip(encodings) {
                    let percents = "25".repeat(usize::from(encodings.saturating_sub(1)));
                    match encodings {
                        0 => path.push(char::from(byte)),
                        _ => path.extend(["%", &percents, &format!("{byte:02x}")]),
                    }
                }
            }
            path
        })
    }

    proptest! {
        #[test]
        fn no_disguise_leads_to_the_administration(path in disguised(&["_synapse", "admin", "v1", "users"])) {
            prop_assert!(!passes_below(&path, &["/"]), "{}", path);
        }

        #[test]
        fn no_disguise_leads_to_the_homeservers_media(path in disguised(&["_matrix", "client", "v1", "media", "config"])) {
            prop_assert!(!passes_below(&path, &["/"]), "{}", path);
        }

        #[test]
        fn no_path_makes_it_panic(path in ".*") {
            let _ = passes_below(&path, &["/"]);
            let _ = segments(&path);
        }
    }
}
