//! A real server, reached through a stretch of network that can be cut.

use std::time::Duration;

use tempfile::TempDir;
use tintype_client::{Client, ClientBuilder, Mxc, Proxy, Retry, Url};
use tintype_testing::TestServer;

use crate::relay::Relay;

/// Tries again soon, so that tests are over soon.
pub const SOON: Retry =
    Retry { attempts: 5, first_pause: Duration::from_millis(5), longest_pause: Duration::from_millis(20) };

/// A server and the way to it.
pub struct Server {
    pub tintype: TestServer,
    pub relay: Relay,
    _folder: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts a server with this configuration.
    pub async fn with(config: &str) -> Self {
        let folder = TempDir::new().expect("there is room for a folder");
        let socket = folder.path().join("http");
        let listen = format!("http.listen = ['127.0.0.1:0', 'unix:{}']\n", socket.display());
        let tintype = TestServer::with(&(listen + config)).await;
        Self { tintype, relay: Relay::start(socket).await, _folder: folder }
    }

    /// The library's client of a user.
    pub async fn client(&self, user: &str) -> Client {
        self.builder(user).await.build().expect("it is a usable client")
    }

    pub async fn builder(&self, user: &str) -> ClientBuilder {
        builder(&self.relay.url(), self.tintype.user(user).await.token())
    }
}

/// The name of what a peer has or is given.
pub fn mxc() -> Mxc {
    "mxc://example.org/abc".parse().expect("it is a URI")
}

/// A client that goes to loopback whatever the environment says.
pub fn builder(url: &str, token: &str) -> ClientBuilder {
    let url: Url = url.parse().expect("it is a URL");
    Client::builder(url).access_token(token).proxy(Proxy::Direct).retry(SOON)
}
