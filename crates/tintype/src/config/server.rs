//! `[[server]]`: the Matrix server names that are served here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use tintype_domain::{OwnedServerName, OwnedUserId, ServerName};
use url::Url;

use super::report::Report;
use super::values::{Secret, listed, path, web_url};

/// A Matrix server name that is served here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The server name: what follows the colon in its users' IDs. It may carry a port.
    #[serde(deserialize_with = "server_name")]
    #[schemars(with = "String")]
    pub name: OwnedServerName,
    /// Hosts of the base URLs that its clients use. Default: the name. With one server, any host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Users of this server who may administer it.
    #[serde(default, deserialize_with = "listed::deserialize")]
    #[schemars(with = "Vec<String>")]
    pub admins: Vec<OwnedUserId>,
    /// The base URL of its homeserver. Without it this server owns the name.
    #[serde(default, deserialize_with = "web_url::base")]
    #[schemars(with = "Option<String>")]
    pub homeserver: Option<Url>,
    /// Its signing key: a file of Synapse, Dendrite or matrix-media-repo. Without a homeserver it is created if need be.
    #[serde(default, deserialize_with = "path::optional")]
    pub signing_key_file: Option<PathBuf>,
    /// The token with which Tintype speaks to the homeserver (`as_token` of the registration).
    #[serde(default)]
    pub appservice_token: Option<Secret>,
    /// A file that holds `appservice_token`.
    #[serde(default, deserialize_with = "path::optional")]
    pub appservice_token_file: Option<PathBuf>,
    /// The token with which the homeserver speaks to Tintype (`hs_token` of the registration).
    #[serde(default)]
    pub homeserver_token: Option<Secret>,
    /// A file that holds `homeserver_token`.
    #[serde(default, deserialize_with = "path::optional")]
    pub homeserver_token_file: Option<PathBuf>,
    /// Whether requests that are not about media are passed on to the homeserver, so that this is all that clients and
    /// other servers talk to.
    #[serde(default)]
    pub pass_through: bool,
    /// What the paths begin with that are passed on. Those of the homeserver's administration (`/_synapse/admin`), of its
    /// application services (`/_matrix/app/`) and of media never are.
    #[serde(default = "pass_through_prefixes")]
    pub pass_through_prefixes: Vec<String>,
}

impl ServerConfig {
    /// A server name that this server owns, with everything else as the file's defaults have it.
    pub fn owned(name: OwnedServerName) -> Self {
        let mut server = Self {
            name,
            hosts: Vec::new(),
            admins: Vec::new(),
            homeserver: None,
            signing_key_file: None,
            appservice_token: None,
            appservice_token_file: None,
            homeserver_token: None,
            homeserver_token_file: None,
            pass_through: false,
            pass_through_prefixes: pass_through_prefixes(),
        };
        server.fill_hosts();
        server
    }

    /// Whether this server owns the name, because no homeserver does.
    pub fn owns_name(&self) -> bool {
        self.homeserver.is_none()
    }

    /// Hosts in lower case, as they are compared; the name where none is given.
    pub(super) fn fill_hosts(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
        if self.hosts.is_empty() {
            self.hosts.push(self.name.as_str().to_ascii_lowercase());
        }
    }

    pub(super) fn read_secrets(&mut self, key: &str, report: &mut Report) {
        let file = self.appservice_token_file.as_deref();
        report.read_secret(&format!("{key}.appservice_token"), &mut self.appservice_token, file);
        let file = self.homeserver_token_file.as_deref();
        report.read_secret(&format!("{key}.homeserver_token"), &mut self.homeserver_token, file);
    }

    pub(super) fn check(&self, key: &str, report: &mut Report) {
        for (index, host) in self.hosts.iter().enumerate() {
            if ServerName::parse(host).is_err() {
                let message = format!("{host:?} is not a host name, with or without a port");
                report.error(&format!("{key}.hosts[{index}]"), message);
            }
        }
        for (index, admin) in self.admins.iter().enumerate() {
            if admin.server_name() != self.name {
                let message = format!("{admin} is not a user of {}", self.name);
                report.error(&format!("{key}.admins[{index}]"), message);
            }
        }
        let has_appservice_token = self.appservice_token.is_some() || self.appservice_token_file.is_some();
        let has_homeserver_token = self.homeserver_token.is_some() || self.homeserver_token_file.is_some();
        for (name, is_set) in [("appservice_token", has_appservice_token), ("homeserver_token", has_homeserver_token)] {
            if is_set && self.owns_name() {
                report.error(&format!("{key}.{name}"), "needs a homeserver");
            }
        }
        match (has_appservice_token, has_homeserver_token) {
            (true, false) if !self.owns_name() => {
                report.error(&format!("{key}.homeserver_token"), "is missing; appservice_token needs it");
            }
            (false, true) if !self.owns_name() => {
                report.error(&format!("{key}.appservice_token"), "is missing; homeserver_token needs it");
            }
            _ => {}
        }
        if self.pass_through && self.owns_name() {
            report.error(&format!("{key}.pass_through"), "needs a homeserver");
        }
        for (index, prefix) in self.pass_through_prefixes.iter().enumerate() {
            if let Err(why) = check_prefix(prefix) {
                report.error(&format!("{key}.pass_through_prefixes[{index}]"), format!("{prefix:?} {why}"));
            }
        }
    }
}

/// What a homeserver has for clients and for other servers.
fn pass_through_prefixes() -> Vec<String> {
    ["/_matrix/", "/_synapse/client/"].map(str::to_owned).into()
}

fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    let is_tidy = |path: &str| !path.split('/').any(|segment| segment.is_empty() || [".", ".."].contains(&segment));
    let inner = prefix.strip_prefix('/').ok_or("is not the beginning of a path: it needs a slash before it")?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if !inner.is_empty() && !is_tidy(inner) || !inner.bytes().all(plain) {
        return Err(
            "is not the beginning of a path as it is sent: letters, digits, \"-\", \".\", \"_\", \"~\" and single slashes",
        );
    }
    if inner == "_matrix/app" || inner.starts_with("_matrix/app/") || inner.starts_with("_synapse/admin") {
        return Err("is never passed on: it is not for strangers");
    }
    Ok(())
}

/// What no server can say alone: that names, hosts and key files are not taken twice. Each server comes with its key.
pub(super) fn check_together(servers: &[(String, &ServerConfig)], report: &mut Report) {
    if servers.is_empty() {
        report.error("server", "at least one [[server]] is needed");
    }
    for (index, (key, server)) in servers.iter().enumerate() {
        let earlier = servers.iter().take(index);
        let same_name = |other: &ServerConfig| other.name.as_str().eq_ignore_ascii_case(server.name.as_str());
        if let Some((other, _)) = earlier.clone().find(|(_, other)| same_name(other)) {
            report.error(&format!("{key}.name"), format!("{} is already the name of {other}", server.name));
            continue;
        }
        for (host_index, host) in server.hosts.iter().enumerate() {
            let host_key = format!("{key}.hosts[{host_index}]");
            if server.hosts.iter().take(host_index).any(|other| other == host) {
                report.error(&host_key, format!("{host} is in the list twice"));
            } else if let Some((other, _)) = earlier.clone().find(|(_, other)| other.hosts.contains(host)) {
                report.error(&host_key, format!("{host} is already a host of {other}"));
            }
        }
        // By its token it is told which homeserver speaks.
        let tokens = [
            ("appservice_token", (|server| server.appservice_token.as_ref()) as fn(&ServerConfig) -> Option<&Secret>),
            ("homeserver_token", |server| server.homeserver_token.as_ref()),
        ];
        for (name, token) in tokens {
            let same = |other: &ServerConfig| token(other).is_some() && token(other) == token(server);
            if let Some((other, _)) = earlier.clone().find(|(_, other)| same(other)) {
                report.error(&format!("{key}.{name}"), format!("is already that of {other}; each server has its own"));
            }
        }
        // An owned name's key file is created if need be; two names would then race for it.
        let shares_key = |other: &ServerConfig| {
            other.signing_key_file.is_some()
                && other.signing_key_file == server.signing_key_file
                && (other.owns_name() || server.owns_name())
        };
        if let Some((other, _)) = earlier.clone().find(|(_, other)| shares_key(other)) {
            report.error(&format!("{key}.signing_key_file"), format!("is already the file of {other}"));
        }
    }
}

fn server_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OwnedServerName, D::Error> {
    let text = String::deserialize(deserializer)?;
    ServerName::parse(&text).map_err(|_| {
        de::Error::custom(format!("{text:?} is not a server name; write a host, with or without a port, and no scheme"))
    })
}
