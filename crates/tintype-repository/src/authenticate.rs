//! Who is this? The user behind an access token.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tintype_domain::{ContentHash, ContentHasher, OwnedServerName, User};
use tintype_homeserver::{Asker, Credentials, Homeserver, HomeserverError, Refusal};
use tintype_storage::records::Records;

use crate::{
    Hop, MediaServer, RateLimited, Repository, StorageError,
    endings::{Moment, TokensOf},
    rates::Action,
};

/// Tokens remembered at once.
const REMEMBERED_TOKENS: u64 = 100_000;

/// Who knows the accounts of a server.
#[derive(Debug, Clone)]
pub enum Accounts {
    /// A homeserver.
    Homeserver(Arc<Homeserver>),
    /// This installation: the standalone profile.
    Local(Local),
}

/// Accounts that live in our own records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

/// Why nobody was recognised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthenticateError {
    /// No account has this token.
    #[error("no account has this access token")]
    UnknownToken,
    /// The homeserver refuses, in its own words.
    #[error("the homeserver refuses the access token")]
    Refused(Refusal),
    /// The account is another server's than the one that was asked.
    #[error("the account belongs to another server")]
    OtherServer,
    /// The server that was asked is not served here.
    #[error("this server is not served here")]
    UnknownServer,
    /// Too many tokens from one address had to be looked up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The homeserver or the records do not answer.
    #[error("the access token cannot be checked: {0}")]
    Unavailable(String),
}

/// What is known of tokens, by a hash: a token itself is never kept.
pub(crate) type Tokens = Cache<ContentHash, Arc<Recognised>>;

/// Who was recognised by a token.
pub(crate) struct Recognised {
    user: Arc<User>,
    /// When it was begun to find out.
    since: Moment,
}

pub(crate) fn tokens(time: Duration) -> Tokens {
    Cache::builder().max_capacity(REMEMBERED_TOKENS).time_to_live(time).build()
}

impl Repository {
    /// The user whose access token this is, on this server.
    ///
    /// What a homeserver answers is believed for [`Rules::token_cache_time`](crate::Rules); refusals are not
    /// remembered. Many requests with a token that is not remembered cause one question.
    ///
    /// # Errors
    /// An [`AuthenticateError`]. Nobody is let in when it is not known who they are.
    pub async fn authenticate(
        &self,
        server: &OwnedServerName,
        credentials: &Credentials,
        asker: &Asker<'_>,
        hop: Hop,
    ) -> Result<Arc<User>, AuthenticateError> {
        let key = key(server, credentials);
        if !self.0.is_deaf()
            && let Some(known) = self.0.tokens.get(&key).await
            && self.0.endings.none_since(known.since, &known.user)
        {
            return Ok(Arc::clone(&known.user));
        }
        self.0.limiters.check_address(Action::Authenticate, asker.address, hop)?;
        if self.0.is_deaf() {
            // What is being asked now may have been asked before something that was not heard.
            self.0.tokens.invalidate(&key).await;
        }
        loop {
            // Boxed: the future of a question to a homeserver is large, and almost no request has one.
            let known = Box::pin(self.recognised(key, server, credentials, asker)).await?;
            if self.0.endings.none_since(known.since, &known.user) {
                return Ok(Arc::clone(&known.user));
            }
            // It is from before a logout, or was under way at that moment: what is true now is found out anew.
            self.0.tokens.invalidate(&key).await;
        }
    }

    async fn recognised(
        &self,
        key: ContentHash,
        server: &OwnedServerName,
        credentials: &Credentials,
        asker: &Asker<'_>,
    ) -> Result<Arc<Recognised>, AuthenticateError> {
        let lookup = async {
            let since = self.0.endings.now();
            let server = self.0.servers.iter().find(|known| known.name == *server);
            let server = server.ok_or(AuthenticateError::UnknownServer)?;
            let user = look_up(server, &self.0.records, credentials, asker).await?;
            Ok(Arc::new(Recognised { user, since }))
        };
        let outcome = self.0.tokens.try_get_with(key, lookup).await;
        outcome.map_err(|error| AuthenticateError::clone(&error))
    }

    /// Forgets whose tokens these are: sessions were ended, and maybe these. What is being found out at this moment is not
    /// believed either. When this returns the other nodes are told.
    pub async fn forget_tokens(&self, tokens: &TokensOf) {
        self.0.sessions_ended(tokens);
        self.0.told().await;
    }

    /// The same, without believing what an earlier answer said: for what cannot be taken back.
    ///
    /// # Errors
    /// As [`Repository::authenticate`].
    pub async fn authenticate_anew(
        &self,
        server: &OwnedServerName,
        credentials: &Credentials,
        asker: &Asker<'_>,
        hop: Hop,
    ) -> Result<Arc<User>, AuthenticateError> {
        self.0.tokens.invalidate(&key(server, credentials)).await;
        self.authenticate(server, credentials, asker, hop).await
    }
}

async fn look_up(
    server: &MediaServer,
    records: &Records,
    credentials: &Credentials,
    asker: &Asker<'_>,
) -> Result<Arc<User>, AuthenticateError> {
    let mut user = match &server.accounts {
        Accounts::Homeserver(homeserver) => {
            homeserver.whoami(credentials, asker).await.map_err(|error| match error {
                HomeserverError::Refused(refusal) => AuthenticateError::Refused(refusal),
                HomeserverError::Unavailable(why) => {
                    tracing::warn!(server = %server.name, why, "the homeserver cannot be asked about access tokens");
                    AuthenticateError::Unavailable("the homeserver does not answer".to_owned())
                }
            })?
        }
        Accounts::Local(Local) => {
            let token = ContentHash::of(credentials.token.as_bytes());
            let user = records.find_user_of_token(&token).await.map_err(|error| {
                tracing::error!(%error, "an access token could not be looked up");
                AuthenticateError::Unavailable(StorageError::from(error).to_string())
            })?;
            user.ok_or(AuthenticateError::UnknownToken)?
        }
    };
    if user.user_id.server_name() != server.name {
        return Err(AuthenticateError::OtherServer);
    }
    user.admin |= server.admins.contains(&user.user_id);
    Ok(Arc::new(user))
}

/// A hash over all that decides the answer, each part with its length, so that no two can be confused.
pub(crate) fn key(server: &OwnedServerName, credentials: &Credentials) -> ContentHash {
    let mut hasher = ContentHasher::default();
    let masquerade = &credentials.masquerade;
    let parts = [
        Some(server.as_str()),
        Some(credentials.token.as_str()),
        masquerade.user_id.as_deref(),
        masquerade.device_id.as_deref(),
    ];
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hasher.update(&length.to_le_bytes());
        hasher.update(part.unwrap_or_default().as_bytes());
    }
    hasher.finish()
}
