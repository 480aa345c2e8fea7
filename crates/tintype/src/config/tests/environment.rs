//! What the environment changes.

use std::path::Path;

use super::super::{Config, Limit, LogFormat, Rate};
use super::{environment, errors, file_and_environment};

#[test]
fn a_variable_replaces_the_value_of_the_file() {
    let text = "data_dir = \"a\"\n[limits]\nmax_upload_size = \"1MiB\"\nmax_user_media = 7";
    let config = file_and_environment(text, &[("TINTYPE__LIMITS__MAX_UPLOAD_SIZE", "2MiB")]).unwrap();
    assert_eq!(config.limits.max_upload_size.bytes(), 2 << 20);
    assert_eq!(config.limits.max_user_media, Limit::At(7));
    assert_eq!(config.data_dir, Path::new("a"));
}

#[test]
fn variables_apply_to_the_standalone_profile() {
    let variables = [
        ("TINTYPE__DATA_DIR", "/data"),
        ("TINTYPE__HTTP__LISTEN", r#"["127.0.0.1:0", "[::1]:0"]"#),
        ("TINTYPE__TELEMETRY__LISTEN", "[::1]:9"),
        ("TINTYPE__TELEMETRY__LOG_FORMAT", "json"),
        ("TINTYPE__TELEMETRY__REQUEST_LOG", "false"),
        ("TINTYPE__THUMBNAILS__THREADS", "2"),
        ("TINTYPE__LIMITS__RATES__UPLOAD", "{ per_second = 1, burst = 2 }"),
        ("TINTYPE__LEGACY__FREEZE", "2024-09-01T00:00:00Z"),
        ("HOME", "/root"),
        ("TINTYPE_LOG", "ignored"),
    ];
    let config = environment(&variables).unwrap();

    assert_eq!(config.data_dir, Path::new("/data"));
    assert_eq!(config.http.listen.len(), 2);
    assert_eq!(config.telemetry.listen.to_string(), "[::1]:9");
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    assert!(!config.telemetry.request_log);
    assert_eq!(config.thumbnails.threads, 2);
    assert_eq!(config.limits.rates.upload, Rate::new(1, 2));
    assert_eq!(config.legacy.freeze.to_string(), "2024-09-01T00:00:00.000Z");
    assert_eq!(config.server, Config::standalone().server);
}

#[test]
fn a_list_of_one_needs_no_brackets() {
    let variables = [("TINTYPE__HTTP__LISTEN", "unix:/run/t.sock"), ("TINTYPE__PROPOSALS__STABLE", "msc4425")];
    let config = environment(&variables).unwrap();
    assert_eq!(config.http.listen, ["unix:/run/t.sock".parse().unwrap()]);
    assert_eq!(config.proposals.stable.unwrap().len(), 1);
}

#[test]
fn a_part_of_a_rate_can_be_changed_where_the_file_has_the_rest() {
    let text = "[limits.rates]\nupload = { per_second = 3, burst = 4 }";
    let config = file_and_environment(text, &[("TINTYPE__LIMITS__RATES__UPLOAD__BURST", "9")]).unwrap();
    assert_eq!(config.limits.rates.upload, Rate::new(3, 9));
}

#[test]
fn a_text_that_looks_like_a_number_stays_a_text() {
    let variables = [("TINTYPE__DATA_DIR", "0777"), ("TINTYPE__BLOBS__SECRET_ACCESS_KEY", "12345")];
    let config = environment(&variables).unwrap();
    assert_eq!(config.data_dir, Path::new("0777"));
    assert_eq!(config.blobs.secret_access_key.unwrap().expose(), "12345");
}

#[test]
fn the_only_server_can_be_set_or_changed() {
    let list = environment(&[("TINTYPE__SERVER", r#"[{ name = "a.example" }, { name = "b.example" }]"#)]).unwrap();
    assert_eq!(list.server.len(), 2);

    let table = environment(&[("TINTYPE__SERVER", r#"{ name = "a.example" }"#)]).unwrap();
    assert_eq!(table.server[0].name, "a.example");

    let standalone = environment(&[("TINTYPE__SERVER__HOMESERVER", "http://127.0.0.1:8008")]).unwrap();
    assert_eq!(standalone.server[0].name, "localhost");
    assert!(!standalone.is_standalone());

    let text = "[[server]]\nname = \"a.example\"\nhomeserver = \"http://a.example\"";
    let variables = [("TINTYPE__SERVER__NAME", "b.example"), ("TINTYPE__SERVER__ADMINS", "@root:b.example")];
    let changed = file_and_environment(text, &variables).unwrap();
    assert_eq!(changed.server[0].name, "b.example");
    assert_eq!(changed.server[0].hosts, ["b.example"]);
    assert!(changed.server[0].homeserver.is_some());
}

#[test]
fn one_of_several_servers_cannot_be_changed() {
    let text = "[[server]]\nname = \"a.example\"\n[[server]]\nname = \"b.example\"";
    let loaded = file_and_environment(text, &[("TINTYPE__SERVER__NAME", "c.example")]);
    let expected =
        "environment TINTYPE__SERVER__NAME: there is more than one [[server]] in the file; change them there";
    assert_eq!(errors(loaded), [expected]);
}

#[test]
fn an_error_names_the_variable() {
    let variables = [
        ("TINTYPE__HTTP__LISTEN", r#"["127.0.0.1:0", 7]"#),
        ("TINTYPE__HTTP__LISTNE", "x"),
        ("TINTYPE__LIMITS__MAX_PENDING_UPLOADS", "many"),
        ("TINTYPE__", "x"),
        ("TINTYPE__SERVER__ADMINS", "@root:example.org"),
    ];
    let expected = [
        "environment TINTYPE__: a name such as TINTYPE__SECTION__KEY is needed",
        "environment TINTYPE__HTTP__LISTEN: http.listen[1]: expected a string, found 7",
        "environment TINTYPE__HTTP__LISTNE: http.listne: unknown key; did you mean listen?",
        "environment TINTYPE__LIMITS__MAX_PENDING_UPLOADS: limits.max_pending_uploads: expected a whole number that is \
         not negative, found \"many\"",
        "environment TINTYPE__SERVER__ADMINS: server[0].admins[0]: @root:example.org is not a user of localhost",
    ];
    assert_eq!(errors(environment(&variables)), expected);
}
