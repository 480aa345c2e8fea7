//! What a correct file means.

use std::fs;
use std::path::{Path, PathBuf};

use tintype_domain::{Mxc, Timestamp};

use super::super::{Config, FreezeAt, Limit, ListenAddress, LogFormat, Proposal, Rate, RemoteThumbnails};
use super::file;

/// The example of the interface's description, with what this version refuses taken out.
const EXAMPLE: &str = r#"
data_dir = "tintype-data"

[http]
listen = ["127.0.0.1:8090"]            # also "unix:/run/tintype.sock"
trusted_proxies = ["127.0.0.0/8"]      # whose X-Forwarded-For is believed

[telemetry]
listen = "127.0.0.1:9090"              # /metrics, /health (alive), /ready (database and blobs answer)

[database]
url = "sqlite:tintype.db"              # or "postgres://user@host/database"

[blobs]
url = "file:media"                     # or "s3://bucket/prefix"

[[server]]                             # one for each Matrix server name served here
name = "example.org"                   # may carry a port
hosts = ["matrix.example.org"]         # base-URL hosts of its clients; default: the name; with one server any Host
admins = ["@root:example.org"]         # standalone: `tintype token --admin`
homeserver = "http://127.0.0.1:8008"   # absent: this server owns the name (as in the standalone profile)
signing_key_file = "example.org.signing.key"   # Synapse, Dendrite and matrix-media-repo formats

[limits]
max_upload_size = "100MiB"
max_remote_size = "100MiB"
max_user_bytes = "never"
max_user_media = "never"
max_pending_uploads = 5                # per user
unused_expires_after = "24h"           # MSC2246
max_wait = "60s"                       # cap on timeout_ms
max_waiting_downloads = 10000          # then waiting downloads are answered early

[limits.rates]                         # per user; per address where there is no user
create = { per_second = 20, burst = 200 }
upload = { per_second = 20, burst = 200 }
download = { per_second = 200, burst = 2000 }
ephemeral = { per_second = 5, burst = 50 }

[ephemeral]
max_age = "7d"                         # server-side lifetime of ephemeral media; never under 1 day; "never" turns it off

[legacy]
freeze = "now"                         # a time, "now" (all media from the first start on) or "never"

[federation]
allow_addresses = []                   # exceptions to the address filter, e.g. ["127.0.0.0/8"] in tests
extra_ca_files = []
request_timeout = "30s"
idle_timeout = "30s"
fetch_timeout = "15m"
nameservers = []
key_servers = []
allow_servers = []
deny_servers = []
remote_thumbnails = "origin"

[remote_cache]
max_size = "10GiB"
max_age = "30d"
"#;

#[test]
fn the_example_of_the_interface_is_the_default_but_for_its_server() {
    let config = file(EXAMPLE).unwrap();

    let server = config.server[0].clone();
    assert_eq!(server.name, "example.org");
    assert_eq!(server.hosts, ["matrix.example.org"]);
    assert_eq!(server.admins, ["@root:example.org"]);
    assert_eq!(server.homeserver.unwrap().as_str(), "http://127.0.0.1:8008/");
    let expected = Config { server: config.server.clone(), notes: config.notes.clone(), ..Config::standalone() };
    assert_eq!(config, expected);
}

#[test]
fn an_empty_file_is_the_standalone_profile() {
    assert_eq!(file("").unwrap(), Config::standalone());
    assert_eq!(Config::load(None, std::iter::empty()).unwrap(), Config::standalone());
}

#[test]
fn the_standalone_profile_owns_localhost() {
    let config = Config::standalone();
    assert!(config.is_standalone());
    assert_eq!(config.server[0].name, "localhost");
    assert_eq!(config.server[0].hosts, ["localhost"]);
    assert_eq!(config.http.listen, ["127.0.0.1:8090".parse::<ListenAddress>().unwrap()]);
}

#[test]
fn relative_paths_start_at_the_data_folder() {
    let text = r#"
        data_dir = "/var/lib/tintype"
        [database]
        url = "sqlite:/fast/tintype.db"
        [[server]]
        name = "example.org:8448"
        [[server]]
        name = "b.example"
        signing_key_file = "b.key"
        [[server]]
        name = "c.example"
        homeserver = "https://c.example/base"
    "#;
    let config = file(text).unwrap();

    assert_eq!(config.blobs_path(), Path::new("/var/lib/tintype/media"));
    assert_eq!(config.database_path().as_deref(), Some(Path::new("/fast/tintype.db")));
    let keys: Vec<Option<PathBuf>> = config.server.iter().map(|server| config.signing_key_path(server)).collect();
    let expected = ["/var/lib/tintype/example.org_8448.signing.key", "/var/lib/tintype/b.key"];
    assert_eq!(keys, [Some(expected[0].into()), Some(expected[1].into()), None]);
}

#[test]
fn values_have_their_types() {
    let text = r#"
        [http]
        listen = ["[::1]:80", "unix:/run/tintype.sock"]
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [telemetry]
        log = "info,tintype_storage=debug"
        log_format = "json"
        request_log = false
        [limits]
        max_upload_size = 1000
        max_user_bytes = "1GB"
        max_user_media = 12
        limit_info_uri = "https://example.org/quota"
        [limits.rates]
        upload = { per_second = 1, burst = 2 }
        [legacy]
        freeze = 2024-09-01T00:00:00Z
        exceptions = ["mxc://example.org/icon"]
        [federation]
        nameservers = ["192.0.2.1:53", "[2001:db8::1]:53"]
        key_servers = ["keys.example"]
        allow_servers = ["*.example.org"]
        deny_servers = ["Evil.example:8448"]
        remote_thumbnails = "local"
        [remote_cache]
        max_size = "never"
        max_age = "1d"
    "#;
    let config = file(text).unwrap();

    assert_eq!(config.http.listen[1], ListenAddress::Unix("/run/tintype.sock".into()));
    let proxies: Vec<String> = config.http.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    assert!(!config.telemetry.request_log);
    assert_eq!(config.limits.max_upload_size.bytes(), 1000);
    assert_eq!(config.limits.max_user_bytes.value().unwrap().bytes(), 1_000_000_000);
    assert_eq!(config.limits.max_user_media, Limit::At(12));
    assert_eq!(config.limits.rates.upload, Rate::new(1, 2));
    assert_eq!(config.limits.rates.download, Rate::new(200, 2000));
    assert_eq!(config.legacy.freeze, FreezeAt::At(Timestamp(1_725_148_800_000)));
    assert_eq!(config.legacy.exceptions, [Mxc::parse("mxc://example.org/icon").unwrap()]);
    assert_eq!(config.federation.nameservers[1].to_string(), "[2001:db8::1]:53");
    assert_eq!(config.federation.key_servers, ["keys.example"]);
    assert_eq!(config.federation.allow_servers[0].to_string(), "*.example.org");
    assert_eq!(config.federation.deny_servers[0].to_string(), "evil.example:8448");
    assert_eq!(config.federation.remote_thumbnails, RemoteThumbnails::Local);
    assert_eq!(config.remote_cache.max_size, Limit::Never);
    assert_eq!(config.remote_cache.max_age.value().unwrap().to_string(), "24h");
}

#[test]
fn hosts_are_compared_in_lower_case_and_default_to_the_name() {
    let text =
        "[[server]]\nname = \"a.example:8448\"\n[[server]]\nname = \"b.example\"\nhosts = [\"Matrix.B.Example\"]";
    let config = file(text).unwrap();
    assert_eq!(config.server[0].hosts, ["a.example:8448"]);
    assert_eq!(config.server[1].hosts, ["matrix.b.example"]);
}

#[test]
fn stable_names_are_on_by_default_only_where_no_homeserver_is() {
    let stable = |text: &str| {
        let config = file(text).unwrap();
        [Proposal::Msc3911, Proposal::Msc4425].map(|proposal| config.stable_proposal(proposal))
    };
    let homeserver = "[[server]]\nname = \"a.example\"\nhomeserver = \"http://a.example\"";
    assert_eq!(stable(""), [true, true]);
    assert_eq!(stable("[proposals]\nstable = []"), [false, false]);
    assert_eq!(stable(homeserver), [false, false]);
    assert_eq!(stable(&format!("{homeserver}\n[proposals]\nstable = [\"msc4425\"]")), [false, true]);
}

#[test]
fn a_secret_is_read_from_its_file_without_the_line_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hunter2\n").unwrap();
    let text = format!(
        "data_dir = {:?}\n[[server]]\nname = \"a.example\"\nhomeserver = \"http://a.example\"\n\
         appservice_token_file = \"token\"\nhomeserver_token = \"hunter3\"",
        folder.path()
    );
    let config = file(&text).unwrap();

    let server = &config.server[0];
    assert_eq!(server.appservice_token.as_ref().unwrap().expose(), "hunter2");
    assert_eq!(server.homeserver_token.as_ref().unwrap().expose(), "hunter3");
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn keys_without_effect_are_noted_only_where_they_are_set() {
    let text = "[limits]\nmax_upload_size = 1\nmax_remote_size = 1\n[ephemeral]\nmax_age = \"9d\"\n\
                [blobs]\nregion = \"x\"";
    let config = file(text).unwrap();
    let expected = ["blobs.region has no effect: the url is a folder's"];
    assert_eq!(config.notes(), expected);
    assert!(file("").unwrap().notes().is_empty());
}

#[test]
fn with_postgresql_no_body_is_kept_in_the_database() {
    let config = file("[database]\nurl = \"postgres://t@h/d\"\n[blobs]\ninline_size = \"1KiB\"").unwrap();
    assert_eq!(config.inline_size(), 0);
    let note = "has no effect with PostgreSQL, where no body is kept in the database: blobs.inline_size";
    assert_eq!(config.notes(), [note]);
    assert_eq!(file("").unwrap().inline_size(), 64 * 1024);
    let notes = file("[database]\nmax_connections = 3").unwrap().notes().to_owned();
    assert_eq!(notes, ["has no effect with SQLite: database.max_connections"]);
}

#[test]
fn a_file_is_read_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tintype.toml");
    fs::write(&path, "data_dir = \"elsewhere\"").unwrap();
    let config = Config::load(Some(&path), std::iter::empty()).unwrap();
    assert_eq!(config.data_dir, Path::new("elsewhere"));
}
