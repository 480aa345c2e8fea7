//! nginx with the files of `deploy/nginx/`, as an administrator would include them.

use std::fs;

use crate::{certificates::Authority, folder::Folder, port, process::Process, tools};

/// How nginx passes requests on to the media server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// With `deploy/nginx/tintype.conf` as it is.
    Snippet,
    /// With that and `deploy/nginx/tintype-linked.conf`: requests that send events go through the media server.
    Linked,
    /// With a bare `proxy_pass`, everything else left at nginx's defaults.
    Defaults,
}

/// A running nginx on a free port.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    folder: Folder,
    port: u16,
}

impl Nginx {
    /// Starts nginx in front of a media server at `media` and a homeserver at `homeserver`, each `HOST:PORT`.
    pub async fn start(passing: Passing, media: &str, homeserver: &str) -> Self {
        Self::start_listening(passing, media, homeserver, "").await
    }

    /// Starts nginx likewise, with the snippet, and lets other servers in on `port` too, with TLS.
    pub async fn start_federating(authority: &Authority, port: u16, media: &str, homeserver: &str) -> Self {
        let listen = format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};",
            authority.chain_file().display(),
            authority.private_key_file().display(),
        );
        Self::start_listening(Passing::Snippet, media, homeserver, &listen).await
    }

    async fn start_listening(passing: Passing, media: &str, homeserver: &str, further: &str) -> Self {
        let folder = Folder::new("nginx");
        let deploy = tools::workspace().join("deploy/nginx");
        let upstream =
            fs::read_to_string(deploy.join("tintype-upstream.conf")).expect("the upstream's snippet is there");
        assert!(upstream.contains("127.0.0.1:8090"), "the default address has changed");
        fs::write(folder.path().join("tintype-upstream.conf"), upstream.replace("127.0.0.1:8090", media))
            .expect("a file can be written");
        let media_locations = match passing {
            Passing::Snippet => format!("include {};", deploy.join("tintype.conf").display()),
            Passing::Linked => ["tintype.conf", "tintype-linked.conf"]
                .map(|file| format!("include {};", deploy.join(file).display()))
                .concat(),
            Passing::Defaults => "location /_matrix/ { proxy_pass http://tintype; }".to_owned(),
        };

        let port = port::free();
        let configuration = format!(
            "daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    # The request line as it came, and the server it went to.
    log_format passed '$upstream_addr $request';
    access_log access.log passed;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include tintype-upstream.conf;
    server {{
        listen 127.0.0.1:{port};
        {further}
        {media_locations}
        location / {{ proxy_pass http://{homeserver}; }}
    }}
}}
"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).expect("a file can be written");
        let mut process = Process::start(
            "nginx",
            // Debian's place for it is not on everybody's path.
            if fs::exists("/usr/sbin/nginx").unwrap_or(false) { "/usr/sbin/nginx" } else { "nginx" },
            ["-e", "stderr", "-p", ".", "-c", "nginx.conf"],
            [],
            folder.path(),
        );
        process.wait_for_port(port).await;
        Self { process, folder, port }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The base URL of everything behind it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends nginx and returns what it passed on, a line `ADDRESS METHOD TARGET VERSION` for each request.
    pub async fn stop(mut self) -> Vec<String> {
        self.process.stop().await;
        let log = fs::read_to_string(self.folder.path().join("access.log"));
        log.expect("nginx keeps a log").lines().map(str::to_owned).collect()
    }
}
