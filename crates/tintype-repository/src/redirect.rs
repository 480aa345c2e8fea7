//! Where bytes are read from that do not have to come through here: the object store, or a CDN.
//!
//! Whoever follows such a URL is not asked who they are, and cannot be cut off. So it is given only for media that anybody
//! with an account may see and that nobody can take back at once: never for what is ephemeral, restricted or still
//! arriving. What is in the database is not anywhere else.

use std::time::Duration;

use tintype_domain::{Audience, Lifetime};
use tintype_storage::blobs::PresignedHeaders;
use url::Url;

use crate::{Cdn, Content, Repository};

/// Who is sent elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirected {
    /// Nobody.
    Never,
    /// Users.
    Clients,
    /// Other servers.
    Federation,
    /// Both.
    Always,
}

/// Who asks for media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A user, or somebody without a token.
    Client,
    /// Another server.
    Server,
}

/// Who is sent where, and for what.
#[derive(Debug, Clone)]
pub struct RedirectRules {
    /// Who.
    pub redirected: Redirected,
    /// The size of the smallest media that is worth it, in bytes.
    pub min_size: u64,
    /// How long a URL holds, at most, in whole seconds.
    pub expires: Duration,
    /// The CDN; without it they are sent to the store.
    pub cdn: Option<Cdn>,
}

impl RedirectRules {
    /// Nobody is sent anywhere.
    pub fn never() -> Self {
        Self { redirected: Redirected::Never, min_size: 0, expires: Duration::ZERO, cdn: None }
    }

    fn sends(&self, asker: Asker) -> bool {
        match self.redirected {
            Redirected::Never => false,
            Redirected::Clients => asker == Asker::Client,
            Redirected::Federation => asker == Asker::Server,
            Redirected::Always => true,
        }
    }
}

/// Another place for the bytes of some media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// Where they are. Nobody is asked for a token there.
    pub url: Url,
    /// For how long the same URL may be used again: there is still time enough after that to begin with it.
    pub reusable_for: Duration,
}

impl Repository {
    /// Where else the asker may read media of `size` bytes, which is answered with these headers there; none if it has to
    /// come from here.
    pub async fn redirection(
        &self,
        asker: Asker,
        (lifetime, audience): (Lifetime, &Audience),
        content: &Content,
        size: u64,
        headers: PresignedHeaders,
    ) -> Option<Redirection> {
        let rules = &self.0.rules.redirect;
        let may_leave = *audience == Audience::Everyone && !lifetime.is_ephemeral();
        if !rules.sends(asker) || !may_leave || size < rules.min_size {
            return None;
        }
        // Only what is whole, and not guarded by a life that may end.
        let Content::Blob(blob) = content else { return None };
        let url = match &rules.cdn {
            Some(cdn) => cdn.url(&blob.location()?, size, &headers, rules.expires, self.0.clock.now()),
            None => match Box::pin(blob.presigned(headers, rules.expires)).await {
                Ok(url) => url?,
                Err(error) => {
                    tracing::warn!(%error, "no URL of the store could be made; the media is served from here");
                    return None;
                }
            },
        };
        let url = Url::parse(&url).ok()?;
        self.0.metrics.redirected(asker);
        Some(Redirection { url, reusable_for: rules.expires / 4 })
    }
}
