//! The one home of the HTTP client: how connections are made, kept and followed.
//!
//! There is no time limit on a request as a whole, since media may be of any size: what is limited is the time in which
//! nothing moves, and that is watched by `exchange` (sending) and `download` (receiving).

use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};

use crate::Error;

/// How long connecting may take, with name lookup and TLS.
const CONNECT: Duration = Duration::from_secs(20);

/// How long an unused connection is kept: less than servers keep theirs, so that a request, which may not be one that
/// can be repeated, does not meet a connection that the other side is just closing.
const KEEP: Duration = Duration::from_secs(10);

/// How many redirects are followed. One is usual: from the server to its object store (MSC3860).
const REDIRECTS: usize = 5;

/// Through which proxy requests go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proxy {
    /// The one that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name, if any.
    #[default]
    Environment,
    /// None.
    Direct,
}

/// A client that sends bytes as they are and follows redirects where they may lead.
pub(crate) fn http_client(user_agent: &str, proxy: Proxy) -> Result<reqwest::Client, Error> {
    // Fails only if a provider is installed already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(KEEP)
        .redirect(Policy::custom(follow))
        .referer(false)
        // Ranges, lengths and entity tags are those of the bytes on the way: nothing may unpack them. Another crate of
        // the same program can turn these features on.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    let builder = match proxy {
        Proxy::Environment => builder,
        Proxy::Direct => builder.no_proxy(),
    };
    Ok(builder.build()?)
}

/// Clients must expect 307 and 308 on downloads (MSC3916). The token does not go with them to another host; nothing
/// goes from TLS to a connection that anybody can read or change.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if !matches!(attempt.status().as_u16(), 307 | 308) {
        attempt.stop()
    } else if attempt.previous().len() > REDIRECTS {
        attempt.error("too many redirects")
    } else if from_tls && attempt.url().scheme() != "https" {
        attempt.error("a redirect leads from HTTPS to HTTP")
    } else {
        attempt.follow()
    }
}
