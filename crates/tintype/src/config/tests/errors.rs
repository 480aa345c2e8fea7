//! What a wrong file is answered with.

use std::path::Path;

use super::super::Config;
use super::{errors, file};

/// The messages about one key that is written on the first line, in its section's table.
fn error_of(section: &str, line: &str) -> String {
    let found = errors(file(&format!("[{section}]\n{line}")));
    assert_eq!(found.len(), 1, "{found:?}");
    let prefix = format!("tintype.toml:2: {section}.");
    found[0].strip_prefix(&prefix).unwrap_or_else(|| panic!("{:?} does not begin with {prefix:?}", found[0])).to_owned()
}

#[test]
fn every_error_is_found_at_once_with_its_key_and_line() {
    let text = r#"data_dir = 7
[http]
listen = [
    "127.0.0.1:8090",
    "localhost:80",
    "nowhere",
]
max_connections = 0
[limits]
max_upload_size = "100M"
max_uplaod_size = "1MiB"
[limits.rates]
upload = { per_second = 5 }
[[server]]
name = "a.example"
admins = ["@root:b.example", "root"]
[[server]]
hosts = ["b.example"]
homeserver = "ftp://b.example"
[[server]]
name = "a.example"
pass_through = true
[unknown]
"#;
    let expected = [
        "tintype.toml:1: data_dir: expected a string, found 7",
        "tintype.toml:5: http.listen[1]: \"localhost:80\" is not an address to listen on; write an IP address and a \
         port, such as \"127.0.0.1:8090\" or \"[::1]:8090\", or \"unix:/run/tintype.sock\"",
        "tintype.toml:6: http.listen[2]: \"nowhere\" is not an address to listen on; write an IP address and a port, \
         such as \"127.0.0.1:8090\" or \"[::1]:8090\", or \"unix:/run/tintype.sock\"",
        "tintype.toml:8: http.max_connections: expected a whole number of at least 1, found 0",
        "tintype.toml:10: limits.max_upload_size: \"100M\" could mean two sizes; write \"100MiB\" (powers of 1024) or \
         \"100MB\" (powers of 1000)",
        "tintype.toml:11: limits.max_uplaod_size: unknown key; did you mean max_upload_size?",
        "tintype.toml:13: limits.rates.upload: burst is missing",
        "tintype.toml:16: server[0].admins[1]: \"root\" is not a user ID; write one such as \"@root:example.org\"",
        "tintype.toml:17: server[1]: name is missing",
        "tintype.toml:19: server[1].homeserver: \"ftp\" is not \"http\" or \"https\"; write a URL such as \
         \"https://example.org\"",
        "tintype.toml:21: server[2].name: a.example is already the name of server[0]",
        "tintype.toml:22: server[2].pass_through: needs a homeserver",
        "tintype.toml:23: unknown: unknown key",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn a_prefix_that_is_passed_on_is_the_beginning_of_a_path_for_clients() {
    let written = "letters, digits, \"-\", \".\", \"_\", \"~\" and single slashes";
    for (prefix, message) in [
        ("_matrix/", "is not the beginning of a path: it needs a slash before it".to_owned()),
        ("/_matrix//client/", format!("is not the beginning of a path as it is sent: {written}")),
        ("/_matrix/../", format!("is not the beginning of a path as it is sent: {written}")),
        ("/%5fmatrix/", format!("is not the beginning of a path as it is sent: {written}")),
        ("/_synapse/admin/v1/", "is never passed on: it is not for strangers".to_owned()),
        ("/_matrix/app/", "is never passed on: it is not for strangers".to_owned()),
    ] {
        let text = format!(
            "[[server]]\nname = 'a.example'\nhomeserver = 'http://a.example'\npass_through = true\n\
             pass_through_prefixes = ['/', '/.well-known/matrix/', '{prefix}']"
        );

        let expected = format!("tintype.toml:5: server[0].pass_through_prefixes[2]: {prefix:?} {message}");
        assert_eq!(errors(file(&text)), [expected]);
    }
}

#[test]
fn the_errors_show_one_on_a_line() {
    let loaded = file("a = 1\nb = 2").unwrap_err();
    assert_eq!(loaded.to_string(), "tintype.toml:1: a: unknown key\ntintype.toml:2: b: unknown key");
}

#[test]
fn what_is_not_toml_names_the_line_and_quotes_nothing() {
    let found = errors(file("[blobs]\nsecret_access_key = hunter2 hunter3"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("tintype.toml:2: not TOML: ") && !found[0].contains("hunter"), "{found:?}");

    let twice = errors(file("[http]\nlisten = []\nlisten = []"));
    assert!(twice[0].starts_with("tintype.toml:3: not TOML: duplicate key"), "{twice:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let found = errors(Config::load(Some(Path::new("/nonexistent/tintype.toml")), std::iter::empty()));
    assert!(found[0].starts_with("/nonexistent/tintype.toml: cannot read the file: "), "{found:?}");
}

#[test]
fn a_key_in_the_wrong_section_is_told_its_own() {
    assert_eq!(
        error_of("http", "max_upload_size = 1"),
        "max_upload_size: unknown key; max_upload_size belongs into [limits]"
    );
    assert_eq!(error_of("http", "homeserver = 1"), "homeserver: unknown key; homeserver belongs into a [[server]]");
    let data_dir = error_of("http", "data_dir = \"x\"");
    assert_eq!(data_dir, "data_dir: unknown key; data_dir stands before the first section");
    assert_eq!(error_of("http", "quite_different = 1"), "quite_different: unknown key");
}

#[test]
fn a_server_with_one_bracket_is_told_about_two() {
    let found = errors(file("[server]\nname = \"a.example\""));
    assert_eq!(
        found,
        ["tintype.toml:1: server: expected a list, found a table; each server begins with \"[[server]]\""]
    );
}

#[test]
fn a_bucket_is_told_what_it_lacks() {
    let text = "[blobs]\nurl = \"s3://bucket\"\naccess_key_id = \"id\"";
    let expected = [
        "tintype.toml:1: blobs.region: is needed for Amazon's S3; of another service give the endpoint",
        "tintype.toml:1: blobs.secret_access_key: is needed for s3; with credentials = \"machine\" the environment says it",
    ];
    assert_eq!(errors(file(text)), expected);

    let text = "[blobs]\nurl = \"s3://bucket\"\ncredentials = \"machine\"\nsecret_access_key = \"hunter2\"\n\
                endpoint = \"http://127.0.0.1:9000/bucket\"";
    let expected = [
        "tintype.toml:4: blobs.secret_access_key: has no effect with credentials = \"machine\"",
        "tintype.toml:5: blobs.endpoint: has a path; the bucket is named by the url, \"s3://bucket/prefix\"",
        "tintype.toml:1: blobs.path_style: must be true: a bucket cannot be part of an address, only of a host name",
    ];
    let mut found = errors(file(text));
    found.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);

    assert!(file("[blobs]\nurl = \"s3://bucket\"\ncredentials = \"machine\"\nregion = \"eu-central-1\"").is_ok());
}

#[test]
fn a_password_of_the_database_has_one_place() {
    let text = "[database]\nurl = \"postgres://u:hunter2@h/d\"\npassword = \"hunter2\"";
    let found = errors(file(text));
    let expected = "is given together with one in database.url; only one of them is possible";
    assert_eq!(found, [format!("tintype.toml:3: database.password: {expected}")]);
}

#[test]
fn tls_needs_its_files_and_addresses_of_its_own() {
    let text = r#"[http]
listen = ["127.0.0.1:80"]
tls_listen = ["127.0.0.1:80", "127.0.0.1:443", "127.0.0.1:443", "[::1]:0", "[::1]:0"]
tls_certificate_file = "chain.pem"
[telemetry]
listen = "127.0.0.1:443"
"#;
    let expected = [
        "tintype.toml:3: http.tls_listen: needs http.tls_private_key_file",
        "tintype.toml:3: http.tls_listen[0]: 127.0.0.1:80 is also in http.listen",
        "tintype.toml:3: http.tls_listen[2]: 127.0.0.1:443 is in the list twice",
        "tintype.toml:6: telemetry.listen: 127.0.0.1:443 is also in http.tls_listen",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn entries_of_lists_are_refused_one_by_one() {
    let text = r#"[legacy]
exceptions = ["mxc://a.example/b", "https://a.example/b", "mxc://a.example/b/c"]
[federation]
nameservers = ["192.0.2.1", "192.0.2.1:0"]
key_servers = ["https://keys.example"]
allow_servers = ["*.a.example", "*.a.example/", "a.example:*"]
deny_servers = ["evil example"]
"#;
    let expected = [
        "tintype.toml:2: legacy.exceptions[1]: \"https://a.example/b\": an MXC URI begins with mxc://",
        "tintype.toml:2: legacy.exceptions[2]: \"mxc://a.example/b/c\": a media ID has 1 to 255 characters, of A-Z a-z \
         0-9 _ and - only",
        "tintype.toml:4: federation.nameservers[0]: \"192.0.2.1\" is not an IP address with a port; write one such as \
         \"192.0.2.1:53\" or \"[::1]:8448\"",
        "tintype.toml:5: federation.key_servers[0]: \"https://keys.example\" is not a server name; write a host, with or \
         without a port, and no scheme",
        "tintype.toml:6: federation.allow_servers[1]: \"*.a.example/\" is not a pattern of server names; write one such \
         as \"example.org\" or \"*.example.org\"",
        "tintype.toml:6: federation.allow_servers[2]: \"a.example:*\" is not a pattern of server names; write one such \
         as \"example.org\" or \"*.example.org\"",
        "tintype.toml:7: federation.deny_servers[0]: \"evil example\" is not a pattern of server names; write one such \
         as \"example.org\" or \"*.example.org\"",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn a_server_is_no_notary_of_its_own() {
    let text = "[federation]\nkey_servers = [\"keys.example\", \"localhost\"]\nnameservers = [\"192.0.2.1:0\"]";
    let expected = [
        "tintype.toml:2: federation.key_servers[1]: localhost is served here, and knows no keys of others",
        "tintype.toml:3: federation.nameservers[0]: needs a port; DNS has 53",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let refused = [
        ("http", "listen = []"),
        ("http", "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]"),
        ("http", "header_timeout = \"0s\""),
        ("http", "body_idle_timeout = \"0s\""),
        ("http", "write_stall_timeout = \"0s\""),
        ("http", "drain_timeout = 30"),
        ("http", "trusted_proxies = [\"proxy\"]"),
        ("http", "tls_certificate_file = \"\""),
        ("http", "tls_listen = [\"unix:/run/t.sock\"]"),
        ("telemetry", "listen = \"127.0.0.1:8090\""),
        ("telemetry", "log = \"info,=,\""),
        ("telemetry", "log = \"\""),
        ("telemetry", "log_format = \"xml\""),
        ("telemetry", "request_log = \"yes\""),
        ("database", "url = \"tintype.db\""),
        ("blobs", "url = \"media\""),
        ("blobs", "inline_size = \"1025KiB\""),
        ("blobs", "endpoint = \"s3.example.org\""),
        ("blobs", "url = \"s3://bucket/../x\""),
        ("blobs", "credentials = \"guess\""),
        ("blobs", "scratch = \"\""),
        ("cache", "memory = -1"),
        ("cluster", "listen = \"8091\""),
        ("cluster", "advertise = \"http://10.0.0.1:8091\""),
        ("cluster", "secret = \"short\""),
        ("authentication", "request_timeout = \"0s\""),
        ("limits", "max_upload_size = 0"),
        ("limits", "max_upload_size = \"9223372036854775808\""),
        ("limits", "max_remote_size = 0"),
        ("limits", "max_user_media = \"unlimited\""),
        ("limits", "limit_info_uri = \"example.org/quota\""),
        ("limits", "unused_expires_after = \"0s\""),
        ("limits.rates", "upload = { per_second = 0, burst = 1 }"),
        ("limits.rates", "upload = 5"),
        ("thumbnails", "threads = 5000"),
        ("thumbnails", "max_pixels = 0"),
        ("thumbnails", "max_memory = 0"),
        ("thumbnails", "max_source_size = 0"),
        ("thumbnails", "max_sizes_per_media = 0"),
        ("ephemeral", "max_age = \"23h\""),
        ("legacy", "freeze = \"2024-09-01\""),
        ("federation", "request_timeout = \"0s\""),
        ("federation", "idle_timeout = \"0s\""),
        ("federation", "fetch_timeout = \"0s\""),
        ("federation", "remote_thumbnails = \"none\""),
        ("remote_cache", "max_size = 0"),
        ("remote_cache", "max_age = \"0s\""),
        ("federation", "extra_ca_files = [\"\"]"),
        ("proposals", "stable = [\"msc1\"]"),
    ];
    for (section, line) in refused {
        let key = line.split([' ', '=']).next().unwrap();
        let error = error_of(section, line);
        assert!(error.starts_with(key), "[{section}] {line}: {error}");
    }
}

#[test]
fn a_node_needs_all_that_others_know_it_by() {
    let listen = "[cluster]\nlisten = \"127.0.0.1:8091\"\n";
    let rest = "advertise = \"http://10.0.0.1:8091\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    let database = "[database]\nurl = \"postgres://tintype@localhost/tintype\"\n";
    assert!(file(&format!("{listen}{rest}{database}")).is_ok());

    let said = |text: &str, key: &str, what: &str| {
        let found = errors(file(text));
        assert!(
            found.iter().any(|error| error.contains(&format!(" cluster.{key}: {what}"))),
            "{key} {what}: {found:?}"
        );
    };
    said(&format!("{listen}{rest}"), "listen", "needs database.url");
    said(&format!("{listen}{database}"), "advertise", "is missing");
    said(&format!("{listen}{database}"), "secret", "is missing");
    said(&format!("{listen}secret = \"0123456789abcdef0123456789abcde\"\n{database}"), "secret", "is too short");
    said(&format!("{listen}advertise = \"https://10.0.0.1\"\n{database}"), "advertise", "begins with http://");
    said(&format!("{listen}advertise = \"http://10.0.0.1/a\"\n{database}"), "advertise", "has a scheme");
    said(
        &format!("[cluster]\nlisten = \"unix:/run/t.sock\"\n{rest}{database}"),
        "listen",
        "is reached from other machines",
    );
    said(&format!("[cluster]\n{rest}{database}"), "advertise", "needs cluster.listen");
    said(&format!("[cluster]\n{rest}{database}"), "secret", "needs cluster.listen");
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let text = "[blobs]\ninline_size = \"1MiB\"\n[ephemeral]\nmax_age = \"1d\"\n[http]\ndrain_timeout = \"0s\"\n\
                listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n[telemetry]\nlisten = \"127.0.0.1:0\"\n\
                [authentication]\ncache_time = \"0s\"\n[cache]\nmemory = 0\ntime = \"0s\"\n[thumbnails]\nqueue = 0";
    assert!(file(text).is_ok());
    assert!(file("[ephemeral]\nmax_age = \"never\"").is_ok());
}

#[test]
fn servers_that_collide_are_refused() {
    let text = r#"
[[server]]
name = "a.example"
hosts = ["Matrix.a.example", "matrix.A.example"]
signing_key_file = "a.key"
[[server]]
name = "b.example"
hosts = ["matrix.a.example"]
signing_key_file = "a.key"
[[server]]
name = "A.example"
"#;
    let expected = [
        "tintype.toml:4: server[0].hosts[1]: matrix.a.example is in the list twice",
        "tintype.toml:8: server[1].hosts[0]: matrix.a.example is already a host of server[0]",
        "tintype.toml:9: server[1].signing_key_file: is already the file of server[0]",
        "tintype.toml:11: server[2].name: A.example is already the name of server[0]",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn a_server_must_be_able_to_be_what_it_says() {
    let text = r#"
[[server]]
name = "https://a.example"
[[server]]
name = "b.example"
hosts = ["https://b.example", "b.example:8448"]
admins = ["@root:c.example"]
appservice_token = "hunter2"
[[server]]
name = "c.example"
homeserver = "http://root:hunter2@c.example"
[[server]]
name = "d.example"
homeserver = "http://d.example/?x=1"
homeserver_token = 7
"#;
    let expected = [
        "tintype.toml:3: server[0].name: \"https://a.example\" is not a server name; write a host, with or without a \
         port, and no scheme",
        "tintype.toml:6: server[1].hosts[0]: \"https://b.example\" is not a host name, with or without a port",
        "tintype.toml:7: server[1].admins[0]: @root:c.example is not a user of b.example",
        "tintype.toml:8: server[1].appservice_token: needs a homeserver",
        "tintype.toml:11: server[2].homeserver: a URL with a user name or password is not accepted",
        "tintype.toml:14: server[3].homeserver: a base URL has neither \"?\" nor \"#\"",
        "tintype.toml:15: server[3].homeserver_token: expected a string (its value is not shown)",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn an_error_about_a_secret_does_not_quote_it() {
    for value in ["314159", "-314159", "3.14159", "true", "[314159]", "{ x = 314159 }"] {
        let error = error_of("blobs", &format!("secret_access_key = {value}"));
        assert!(error.starts_with("secret_access_key: expected a string") && !error.contains("14159"), "{error}");
    }
}

#[test]
fn no_server_at_all_is_refused() {
    assert_eq!(errors(file("server = []")), ["tintype.toml:1: server: at least one [[server]] is needed"]);
}

#[test]
fn secrets_need_exactly_one_readable_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let text = format!(
        "data_dir = {:?}\n[blobs]\naccess_key_id = \"a\"\naccess_key_id_file = \"x\"\n\
         secret_access_key_file = \"empty\"\n[[server]]\nname = \"a.example\"\nhomeserver = \"http://a.example\"\n\
         homeserver_token_file = \"missing\"\nappservice_token = \"\"",
        folder.path()
    );
    let found = errors(file(&text));
    let keys: Vec<_> = found.iter().map(|error| error.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "tintype.toml:4 blobs.access_key_id_file",
        "tintype.toml:5 blobs.secret_access_key_file",
        "tintype.toml:9 server[0].homeserver_token_file",
        "tintype.toml:10 server[0].appservice_token",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn an_application_service_has_both_tokens_and_each_server_its_own() {
    let text = r#"
[[server]]
name = "a.example"
homeserver = "http://a.example"
appservice_token = "hunter2"
[[server]]
name = "b.example"
homeserver = "http://b.example"
homeserver_token = "hunter3"
[[server]]
name = "c.example"
homeserver = "http://c.example"
appservice_token = "hunter4"
homeserver_token = "hunter3"
"#;
    let expected = [
        "tintype.toml:2: server[0].homeserver_token: is missing; appservice_token needs it",
        "tintype.toml:6: server[1].appservice_token: is missing; homeserver_token needs it",
        "tintype.toml:14: server[2].homeserver_token: is already that of server[1]; each server has its own",
    ];
    assert_eq!(errors(file(text)), expected);
}

#[test]
fn nobody_can_be_redirected_to_a_folder_without_a_cdn() {
    let cdn = "[blobs.cdn]\nbase_url = \"https://cdn.example.org\"\nsecret = \"0123456789abcdef0123456789abcdef\"";

    assert_eq!(
        error_of("blobs", "redirect = \"clients\""),
        "redirect: needs a [blobs.cdn] where media is in a folder: there is nobody else to ask"
    );
    assert_eq!(error_of("blobs", "redirect_expires = \"25h\""), "redirect_expires: has to be between 10s and 24h");
    let config = file(&format!("[blobs]\nredirect = \"always\"\n{cdn}")).unwrap();
    assert!(config.notes().is_empty());
    let notes = file(cdn).unwrap().notes().to_owned();
    assert_eq!(notes, ["blobs.cdn has no effect: blobs.redirect is \"never\""]);
    let plain = format!("[blobs]\nredirect = \"always\"\n{}", cdn.replace("https", "http"));
    let notes = file(&plain).unwrap().notes().to_owned();
    assert_eq!(notes, ["blobs.redirect leads to a URL without https, where browsers and other servers do not go"]);
}

#[test]
fn a_cdn_has_a_url_without_a_path_and_a_secret() {
    let text = "[blobs.cdn]\nbase_url = \"https://example.org/cdn\"\nsecret = \"short\"";
    let expected = [
        "tintype.toml:2: blobs.cdn.base_url: has a path; what is signed begins with the path",
        "tintype.toml:3: blobs.cdn.secret: has to have at least 32 characters",
    ];
    assert_eq!(errors(file(text)), expected);
    let found = errors(file("[blobs.cdn]\nbase_url = \"https://cdn.example.org\""));
    assert_eq!(found, ["tintype.toml:1: blobs.cdn.secret: is needed with blobs.cdn.base_url"]);
}

#[test]
fn a_cache_of_blobs_has_room_for_what_it_is_to_keep() {
    let small = "disk: has to be at least 34MiB for objects of 1MiB";
    assert_eq!(error_of("blobs.cache", "disk = \"33MiB\""), small);
    assert_eq!(error_of("blobs.cache", "memory = \"3MiB\""), "memory: has to have room for four objects of max_object");
    let found = errors(file("[blobs.cache]\nmemory = 0\ndisk = \"1GiB\""));
    assert_eq!(found, ["tintype.toml:3: blobs.cache.disk: has to be \"never\" where blobs.cache.memory is 0"]);
    assert!(file("[blobs.cache]\nmemory = 0").is_ok());
}
