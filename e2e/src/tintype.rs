//! The built server, as an administrator starts it: a configuration file and a command.

use std::{
    fs,
    process::{Command, ExitStatus},
};

use crate::{
    folder::Folder,
    port,
    process::{Killer, Process},
    synapse::{Federation, OldEndpoints, SERVER_NAME, Synapse, http_client},
    tools,
};

const CONFIGURATION: &str = "tintype.toml";

/// A running Tintype, beside a homeserver or alone.
#[derive(Debug)]
pub struct Tintype {
    process: Process,
    port: u16,
    telemetry: u16,
    // How often it was started.
    starts: u32,
    // Dropped last: it holds the log and the media.
    folder: Folder,
}

impl Tintype {
    /// Starts Tintype for the users of the homeserver at `homeserver`, and waits until it is ready.
    pub async fn start(homeserver: &str) -> Self {
        let server = format!("[[server]]\nname = \"{SERVER_NAME}\"\nhomeserver = \"{homeserver}\"\n");
        Self::start_configured("", &server).await
    }

    /// Starts Tintype for the users of a homeserver that federates, and waits until it is ready. It signs with the
    /// homeserver's key; what other servers send to the name has to come through a proxy.
    pub async fn start_federating(synapse: &Synapse, federation: Federation<'_>) -> Self {
        let server = format!(
            r#"[[server]]
name = "{}"
homeserver = "{}"
signing_key_file = "{}"
"#,
            synapse.server_name(),
            synapse.url(),
            synapse.signing_key_file().display(),
        );
        Self::start_configured("", &(server + &federating(federation))).await
    }

    /// Starts Tintype without a homeserver and waits until it is ready. Other servers reach it on the port of its name,
    /// with TLS.
    pub async fn start_alone(federation: Federation<'_>) -> Self {
        let server = format!("[[server]]\nname = \"{}\"\n", federation.server_name());
        Self::start_configured(&tls(federation), &(server + &federating(federation))).await
    }

    /// Starts Tintype on `port` for media that is linked to events, and waits until it is ready. `tables` say which
    /// homeserver's; with `federation` other servers reach both through it.
    pub async fn start_linked(port: u16, federation: Option<Federation<'_>>, tables: &str) -> Self {
        match federation {
            Some(federation) => Self::start_on(port, &tls(federation), &(federating(federation) + tables)).await,
            None => Self::start_on(port, "", tables).await,
        }
    }

    /// What a homeserver has to know of a Tintype on `port` that `server` configures: a file in YAML.
    pub async fn registration(port: u16, server: &str) -> String {
        let folder = Folder::new("registration");
        let configuration = format!("[http]\nlisten = [\"127.0.0.1:{port}\"]\n{server}");
        fs::write(folder.path().join(CONFIGURATION), configuration).expect("a file can be written");
        output(&folder, ["appservice", "registration", "--config", CONFIGURATION]).await
    }

    /// Starts Tintype with more lines in `[http]`, and with further tables.
    async fn start_configured(http: &str, tables: &str) -> Self {
        Self::start_on(port::free(), http, tables).await
    }

    async fn start_on(port: u16, http: &str, tables: &str) -> Self {
        let folder = Folder::new("tintype");
        let telemetry = port::free();
        let configuration = format!(
            r#"data_dir = "data"

[http]
listen = ["127.0.0.1:{port}"]
{http}
[telemetry]
listen = "127.0.0.1:{telemetry}"

[database]
url = "sqlite:tintype.db"

[blobs]
url = "file:media"

{tables}"#
        );
        fs::write(folder.path().join(CONFIGURATION), configuration).expect("a file can be written");
        let mut process = serve(1, &folder);
        wait_until_ready(&mut process, telemetry).await;
        Self { process, port, telemetry, starts: 1, folder }
    }

    /// Who can kill this start of it.
    pub fn killer(&self) -> Killer {
        self.process.killer()
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Tintype::kill`], with the files that it has left, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.starts += 1;
        self.process = serve(self.starts, &self.folder);
        wait_until_ready(&mut self.process, self.telemetry).await;
    }

    /// Makes an account of a server without a homeserver and returns an access token of it.
    pub async fn token(&self, localpart: &str) -> String {
        output(&self.folder, ["token", localpart, "--config", CONFIGURATION]).await.trim().to_owned()
    }

    /// The address it serves media on, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until some download waits for an upload, or reads one that is still arriving.
    pub async fn wait_for_a_download_of_an_upload(&mut self) {
        let metrics = format!("http://127.0.0.1:{}/metrics", self.telemetry);
        let http = http_client();
        self.process
            .wait_until(async || {
                let metrics = http.get(&metrics).send().await.expect("Tintype has metrics");
                let metrics = metrics.text().await.expect("metrics are text");
                ["tintype_downloads_waiting", "tintype_downloads_streaming"].map(|name| gauge(&metrics, name)) != [0, 0]
            })
            .await;
    }

    /// Sends SIGTERM, waits for the end, and returns how it ended.
    pub async fn stop(mut self) -> ExitStatus {
        self.process.stop().await
    }
}

/// What a command of the program prints.
async fn output<const N: usize>(folder: &Folder, arguments: [&str; N]) -> String {
    let mut command = Command::new(tools::tintype());
    command.args(arguments).current_dir(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("running a command does not panic")
        .expect("the command can be started");
    assert!(output.status.success(), "{arguments:?} failed: {output:?}");
    String::from_utf8(output.stdout).expect("what is printed is text")
}

// Each start has a log of its own.
fn serve(start: u32, folder: &Folder) -> Process {
    let name = format!("tintype-{start}");
    Process::start(&name, tools::tintype(), ["serve", "--config", CONFIGURATION], [], folder.path())
}

async fn wait_until_ready(process: &mut Process, telemetry: u16) {
    let http = http_client();
    process
        .wait_until(async || {
            let ready = http.get(format!("http://127.0.0.1:{telemetry}/ready"));
            ready.send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
}

/// The lines in `[http]` with which other servers reach it on the port of its name.
fn tls(federation: Federation<'_>) -> String {
    let Federation { authority, port, .. } = federation;
    format!(
        r#"tls_listen = ["127.0.0.1:{port}"]
tls_certificate_file = "{}"
tls_private_key_file = "{}"
"#,
        authority.chain_file().display(),
        authority.private_key_file().display(),
    )
}

fn federating(federation: Federation<'_>) -> String {
    let freeze = match federation.old_endpoints {
        OldEndpoints::Open => "never",
        OldEndpoints::Frozen => "now",
    };
    // The defaults keep it away from loopback, and from authorities that the system does not know.
    format!(
        r#"
[federation]
allow_addresses = ["127.0.0.0/8", "::1/128"]
extra_ca_files = ["{}"]

[legacy]
freeze = "{freeze}"
"#,
        federation.authority.certificate_file().display()
    )
}

fn gauge(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}
