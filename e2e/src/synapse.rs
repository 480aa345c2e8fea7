//! A real Synapse on a free port, with SQLite and without limits on how fast tests may be.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::{certificates::Authority, folder::Folder, port, process::Process, tools};

/// The server name of every homeserver that does not federate.
pub const SERVER_NAME: &str = "tintype.test";

/// The token of the registered application service, which owns `@_bridge_.*`.
pub const APPSERVICE_TOKEN: &str = "application-service-token-of-the-suites";

const SIGNING_KEY: &str = "signing.key";

const REGISTRATION: &str = "tintype.yaml";

const REGISTRATION_SECRET: &str = "registration-secret-of-the-suites";

/// Who serves media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRepository {
    /// Synapse itself.
    BuiltIn,
    /// Somebody else: the media repository is off, and Synapse knows no media path.
    Elsewhere,
}

/// What the old media endpoints, which ask for no token, still answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldEndpoints {
    /// Everything, as before MSC3916.
    Open,
    /// Nothing that was uploaded or fetched since the server's start: the default.
    Frozen,
}

/// How a server takes part in federation, on loopback.
#[derive(Clone, Copy, Debug)]
pub struct Federation<'a> {
    /// Who has issued the certificates of all that take part.
    pub authority: &'a Authority,
    /// The port of the server name, `localhost:PORT`, where other servers connect with TLS. A Synapse whose media
    /// repository is elsewhere leaves it to a proxy, which divides what comes there between the two.
    pub port: u16,
    /// Whether it has the freeze of MSC3916.
    pub old_endpoints: OldEndpoints,
}

impl Federation<'_> {
    /// The name of the server.
    pub fn server_name(self) -> String {
        format!("localhost:{}", self.port)
    }
}

/// How a homeserver with a Tintype in front of it is set up.
#[derive(Clone, Copy, Debug)]
pub struct Linked<'a> {
    /// The port it listens on, which Tintype knows before it is there.
    pub port: u16,
    /// The registration of Tintype as an application service, a YAML file.
    pub registration: &'a str,
    /// Whose profiles a user may look at.
    pub profiles: Profiles,
    /// Whether it refuses redactions that the sender may not make.
    pub redactions: Redactions,
}

/// Whose profiles a user may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profiles {
    /// Everybody's: the default.
    OfEverybody,
    /// Those of users who are in a room together.
    OfThoseWhoShareARoom,
}

/// What a homeserver does with redactions that its users may not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redactions {
    /// It refuses them, as every homeserver should.
    Checked,
    /// It sends them, and leaves it to others to look closely.
    Unchecked,
}

/// A running homeserver. Anybody may register; guests may come in.
#[derive(Debug)]
pub struct Synapse {
    process: Process,
    folder: Folder,
    server_name: String,
    url: String,
    http: reqwest::Client,
}

/// An account and one of its access tokens.
#[derive(Clone, Debug)]
pub struct User {
    /// `@localpart:SERVER_NAME`.
    pub user_id: String,
    /// The part before the colon, for clients that ask for a user name.
    pub localpart: String,
    /// What it logs in with.
    pub password: String,
    /// The token it got when it was registered.
    pub token: String,
}

impl Synapse {
    /// Starts a homeserver for [`SERVER_NAME`] that no other server can reach, and waits until it answers.
    pub async fn start(media: MediaRepository) -> Self {
        let port = port::free();
        Self::start_configured(SERVER_NAME.to_owned(), port, configuration(port, media), None).await
    }

    /// Starts a homeserver that other servers can reach, and waits until it answers clients.
    pub async fn start_federating(media: MediaRepository, federation: Federation<'_>) -> Self {
        let port = port::free();
        let configuration = federating(configuration(port, media), media, federation);
        Self::start_configured(federation.server_name(), port, configuration, None).await
    }

    /// Starts a homeserver whose media is Tintype's, which hears of all events as an application service, and waits
    /// until it answers. With `federation` other servers can reach it through Tintype.
    pub async fn start_linked(linked: &Linked<'_>, federation: Option<Federation<'_>>) -> Self {
        let (port, media) = (linked.port, MediaRepository::Elsewhere);
        let mut configuration = configuration(port, media);
        let server_name = federation.map_or_else(|| SERVER_NAME.to_owned(), Federation::server_name);
        if let Some(federation) = federation {
            configuration = federating(configuration, media, federation);
        }
        if linked.profiles == Profiles::OfThoseWhoShareARoom {
            configuration["require_auth_for_profile_requests"] = true.into();
            configuration["limit_profile_requests_to_users_who_share_rooms"] = true.into();
        }
        if linked.redactions == Redactions::Unchecked {
            configuration["modules"] = json!([{ "module": "unchecked_redactions.UncheckedRedactions", "config": {} }]);
        }
        Self::start_configured(server_name, port, configuration, Some(linked.registration)).await
    }

    async fn start_configured(
        server_name: String,
        port: u16,
        mut configuration: Value,
        registration: Option<&str>,
    ) -> Self {
        let folder = Folder::new("synapse");
        configuration["server_name"] = server_name.as_str().into();
        if let Some(registration) = registration {
            let files = configuration["app_service_config_files"].as_array_mut();
            files.expect("there is a list of registrations").push(REGISTRATION.into());
            fs::write(folder.path().join(REGISTRATION), registration).expect("a file can be written");
        }
        for (name, content) in [
            // JSON is YAML.
            ("homeserver.yaml", configuration.to_string()),
            ("appservice.yaml", appservice(&server_name).to_string()),
            // Any seed of 32 bytes will do, but no two servers may have the same. The rest of it are zeroes.
            (SIGNING_KEY, format!("ed25519 test {port:A<43}\n")),
        ] {
            fs::write(folder.path().join(name), content).expect("a file can be written");
        }

        let mut process = Process::start(
            "synapse",
            tools::synapse_python(),
            ["-m", "synapse.app.homeserver", "-c", "homeserver.yaml"],
            [("PYTHONPATH", tools::workspace().join("e2e/synapse").into()), ("PYTHONDONTWRITEBYTECODE", "1".into())],
            folder.path(),
        );
        let url = format!("http://127.0.0.1:{port}");
        let http = http_client();
        process
            .wait_until(async || {
                let versions = http.get(format!("{url}/_matrix/client/versions"));
                versions.send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        Self { process, folder, server_name, url, http }
    }

    /// The base URL of its client API, past any proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of its client API, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// The server name: what follows the colon in its users' IDs.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The key that it signs its requests with, in its own format.
    pub fn signing_key_file(&self) -> PathBuf {
        self.folder.path().join(SIGNING_KEY)
    }

    /// Registers an account and logs it in.
    pub async fn register(&self, localpart: &str) -> User {
        let password = format!("password of {localpart}");
        let body = json!({
            "auth": { "type": "m.login.dummy" },
            "username": localpart,
            "password": password,
        });
        let account = self.post("/_matrix/client/v3/register", None, &body).await;
        user(&account, localpart, password)
    }

    /// Registers a guest.
    pub async fn register_guest(&self) -> User {
        let guest = self.post("/_matrix/client/v3/register?kind=guest", None, &json!({})).await;
        user(&guest, "", String::new())
    }

    /// Registers `@_bridge_NAME:SERVER_NAME` for the application service. The token is the service's.
    pub async fn register_bridged(&self, name: &str) -> User {
        let localpart = format!("_bridge_{name}");
        let body = json!({
            "type": "m.login.application_service",
            "username": localpart,
            "inhibit_login": true,
        });
        let account = self.post("/_matrix/client/v3/register", Some(APPSERVICE_TOKEN), &body).await;
        User {
            user_id: text(&account, "user_id"),
            localpart,
            password: String::new(),
            token: APPSERVICE_TOKEN.to_owned(),
        }
    }

    /// A token of `user`'s that was good until some time ago, so that the server asks for a soft logout.
    pub async fn expired_token(&self, user: &User) -> String {
        let admin = self.admin().await;
        let path = format!("/_synapse/admin/v1/users/{}/login", user.user_id);
        let body = json!({ "valid_until_ms": 1 });
        text(&self.post(&path, Some(&admin.token), &body).await, "access_token")
    }

    /// Ends the session of `user`'s token.
    pub async fn log_out(&self, user: &User) {
        self.post("/_matrix/client/v3/logout", Some(&user.token), &json!({})).await;
    }

    /// Ends the homeserver.
    pub async fn stop(mut self) {
        self.process.stop().await;
    }

    // Over the API accounts are plain ones; Synapse's own command makes administrators.
    async fn admin(&self) -> User {
        let (localpart, password) = ("administrator", "password of the administrator");
        let mut command = Command::new(tools::synapse_python());
        command
            .args(["-m", "synapse._scripts.register_new_matrix_user", "--admin", "--exists-ok"])
            .args(["-c", "homeserver.yaml", "-u", localpart, "-p", password, &self.url])
            .current_dir(self.folder.path());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("the command does not panic")
            .expect("the command can be started");
        assert!(output.status.success(), "no administrator: {output:?}");
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": localpart },
            "password": password,
        });
        let login = self.post("/_matrix/client/v3/login", None, &body).await;
        user(&login, localpart, password.to_owned())
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Value {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("Synapse answers");
        let status = answer.status();
        let body = answer.text().await.expect("an answer has a body");
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).expect("Synapse answers with JSON")
    }
}

/// An HTTP client that follows no redirect, uses no proxy from the environment and keeps no connection.
pub fn http_client() -> reqwest::Client {
    // The workspace's reqwest brings no cryptography of its own, and wants some even for plain HTTP. A second
    // installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        // A kept connection would belong to the runtime of one test, and the client may outlive it.
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("the client can be built")
}

fn user(account: &Value, localpart: &str, password: String) -> User {
    User {
        user_id: text(account, "user_id"),
        localpart: localpart.to_owned(),
        password,
        token: text(account, "access_token"),
    }
}

fn text(object: &Value, key: &str) -> String {
    let value = object[key].as_str();
    value.unwrap_or_else(|| panic!("no {key} in {object}")).to_owned()
}

fn configuration(port: u16, media: MediaRepository) -> Value {
    let resources: &[&str] = match media {
        MediaRepository::BuiltIn => &["client", "media"],
        MediaRepository::Elsewhere => &["client"],
    };
    let no_limit = json!({ "per_second": 10_000, "burst_count": 10_000 });
    json!({
        "pid_file": "synapse.pid",
        "listeners": [listener(port, resources)],
        "database": { "name": "sqlite3", "args": { "database": "homeserver.db" } },
        "enable_media_repo": media == MediaRepository::BuiltIn,
        "media_store_path": "media",
        "signing_key_path": SIGNING_KEY,
        "app_service_config_files": ["appservice.yaml"],
        "registration_shared_secret": REGISTRATION_SECRET,
        "macaroon_secret_key": "macaroon-secret-of-the-suites",
        "form_secret": "form-secret-of-the-suites",
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "allow_guest_access": true,
        // Hashing passwords well would take longer than everything else.
        "bcrypt_rounds": 4,
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "report_stats": false,
        "presence": { "enabled": false },
        "rc_message": no_limit,
        "rc_registration": no_limit,
        "rc_admin_redaction": no_limit,
        "rc_room_creation": no_limit,
        "rc_profile": no_limit,
        "rc_joins": { "local": no_limit, "remote": no_limit },
        "rc_joins_per_room": no_limit,
        "rc_invites": { "per_room": no_limit, "per_user": no_limit, "per_issuer": no_limit },
        "rc_login": { "address": no_limit, "account": no_limit, "failed_attempts": no_limit },
    })
}

fn listener(port: u16, resources: &[&str]) -> Value {
    json!({
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "x_forwarded": true,
        "resources": [{ "names": resources }],
    })
}

fn federating(mut configuration: Value, media: MediaRepository, federation: Federation<'_>) -> Value {
    let Federation { authority, port, old_endpoints } = federation;
    match media {
        MediaRepository::BuiltIn => {
            let mut with_tls = listener(port, &["federation", "media"]);
            with_tls["tls"] = true.into();
            configuration["listeners"].as_array_mut().expect("there is a list of listeners").push(with_tls);
            configuration["tls_certificate_path"] = json!(authority.chain_file());
            configuration["tls_private_key_path"] = json!(authority.private_key_file());
        }
        MediaRepository::Elsewhere => {
            let names = &mut configuration["listeners"][0]["resources"][0]["names"];
            names.as_array_mut().expect("a listener has resources").push("federation".into());
        }
    }
    configuration["federation_custom_ca_list"] = json!([authority.certificate_file()]);
    // The defaults keep it away from loopback.
    configuration["federation_ip_range_blacklist"] = json!([]);
    configuration["ip_range_blacklist"] = json!([]);
    configuration["enable_authenticated_media"] = (old_endpoints == OldEndpoints::Frozen).into();
    configuration
}

fn appservice(server_name: &str) -> Value {
    json!({
        "id": "bridge",
        // It wants no events.
        "url": null,
        "as_token": APPSERVICE_TOKEN,
        "hs_token": "homeserver-token-of-the-suites",
        "sender_localpart": "_bridge_bot",
        "rate_limited": false,
        "namespaces": {
            "users": [{ "exclusive": true, "regex": format!("@_bridge_.*:{server_name}") }],
        },
    })
}
