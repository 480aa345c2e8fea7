//! What one installation needs to speak with other servers, put together once.

use std::{collections::BTreeMap, sync::Arc};

use tintype_domain::{Clock, OwnedServerName, ServerName};

use crate::{
    Authenticated, AuthenticationError, FetchTimes, Outbound, Peers, ServerKeys, SignedRequest, SigningKey,
    authenticate,
};

/// What [`Federation`] is made of.
pub struct FederationParts {
    /// Connections to others.
    pub outbound: Outbound,
    /// Who else is asked for the keys of servers that do not answer.
    pub key_servers: Vec<OwnedServerName>,
    /// Which servers are spoken with.
    pub peers: Peers,
    /// The keys of our servers, as far as there are any.
    pub signing_keys: BTreeMap<OwnedServerName, SigningKey>,
    /// How long a fetch may take.
    pub times: FetchTimes,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Speaks with other servers. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct Federation(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) outbound: Outbound,
    pub(crate) keys: ServerKeys,
    pub(crate) peers: Peers,
    pub(crate) signing_keys: BTreeMap<OwnedServerName, SigningKey>,
    pub(crate) times: FetchTimes,
}

impl Federation {
    /// Puts the parts together. Nothing is asked of anybody yet.
    pub fn new(parts: FederationParts) -> Self {
        let FederationParts { outbound, key_servers, peers, signing_keys, times, clock } = parts;
        let keys = ServerKeys::new(Arc::new(outbound.clone()), key_servers, clock);
        Self(Arc::new(Inner { outbound, keys, peers, signing_keys, times }))
    }

    /// The server that signed a request (server-server API, "Request Authentication").
    ///
    /// # Errors
    /// An [`AuthenticationError`].
    pub async fn authenticate(&self, request: &SignedRequest<'_>) -> Result<Authenticated, AuthenticationError> {
        authenticate(&self.0.keys, request).await
    }

    /// The key of one of our servers, if it has one here.
    pub fn signing_key(&self, server: &ServerName) -> Option<&SigningKey> {
        self.0.signing_keys.get(server)
    }

    /// Whether this server is spoken with.
    pub fn is_peer(&self, server: &ServerName) -> bool {
        self.0.peers.include(server)
    }
}
