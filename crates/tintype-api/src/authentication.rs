//! Who asks: from a request's host, token and address to a [`Caller`].

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::http::{HeaderMap, Request, header};
use tintype_domain::{OwnedServerName, Requester, User};
use tintype_homeserver::{Asker, Credentials, Homeserver, Masquerade};
use tintype_http::{bearer::bearer_token, forwarded::client_address, query::Query};
use tintype_repository::{Access, AuthenticateError, Caller};

use crate::{
    Api, HomeserverToken, Peer, QueryAccessToken,
    edge::{Head, Via},
    error::MatrixError,
};

/// A server whose clients come here.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The server's name.
    pub server_name: OwnedServerName,
    /// The hosts of its clients' base URLs, in lower case, with the port if they have one.
    pub hosts: Vec<String>,
    /// Whether it has no homeserver, so that what a homeserver would answer is answered here.
    pub ownership: Ownership,
    /// Its homeserver, to which requests are passed on.
    pub homeserver: Option<Arc<Homeserver>>,
    /// What is passed on to it, beside what has to be.
    pub pass_through: PassThrough,
    /// With what its homeserver shows who it is, when it speaks to us as its application service.
    pub homeserver_token: Option<HomeserverToken>,
}

/// Which requests, of those that are not for us, are passed on to the homeserver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassThrough {
    /// None: a proxy in front sends here only what is for us.
    Off,
    /// Those whose path begins with one of these.
    Below(Vec<String>),
}

/// Who answers for a server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// This program.
    Ours,
    /// A homeserver.
    Homeservers,
}

/// Whether what was known of a token a moment ago is believed.
enum Belief {
    Remembered,
    Anew,
}

impl Api {
    /// The user who makes the request.
    ///
    /// # Errors
    /// 401 without a token or with one that is not known, and whatever the homeserver refuses with.
    pub(crate) async fn user(&self, head: &Head) -> Result<Arc<User>, MatrixError> {
        Ok(self.user_by(head, Belief::Remembered).await?.0)
    }

    async fn user_by(&self, head: &Head, belief: Belief) -> Result<(Arc<User>, Arc<Access>), MatrixError> {
        let Head { request, trace } = head;
        let credentials = self.credentials(request)?;
        let tenant = self.tenant(request)?;
        let asker = Asker {
            address: trace.address,
            user_agent: request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()),
        };
        let (repository, server) = (&self.parts.repository, &tenant.server_name);
        let user = match belief {
            Belief::Remembered => repository.authenticate(server, &credentials, &asker, trace.hop()).await?,
            Belief::Anew => repository.authenticate_anew(server, &credentials, &asker, trace.hop()).await?,
        };
        trace.requester(&user);
        let user_agent = asker.user_agent.map(str::to_owned);
        Ok((user, Arc::new(Access { server: server.clone(), credentials, user_agent })))
    }

    /// The caller, who must be a user.
    ///
    /// # Errors
    /// As [`Api::user`].
    pub(crate) async fn caller(&self, head: &Head) -> Result<Caller, MatrixError> {
        let (user, access) = self.user_by(head, Belief::Remembered).await?;
        Ok(Caller {
            requester: Requester::User(user),
            address: head.trace.address,
            access: Some(access),
            hop: head.trace.hop(),
        })
    }

    /// The caller, who must be a user, and whose token must hold at this moment: for what cannot be taken back.
    ///
    /// # Errors
    /// As [`Api::user`].
    pub(crate) async fn caller_anew(&self, head: &Head) -> Result<Caller, MatrixError> {
        let (user, access) = self.user_by(head, Belief::Anew).await?;
        Ok(Caller {
            requester: Requester::User(user),
            address: head.trace.address,
            access: Some(access),
            hop: head.trace.hop(),
        })
    }

    /// The server whose client makes the request: by the host it was sent to, or the only one there is.
    ///
    /// # Errors
    /// 404 if the host belongs to none.
    pub(crate) fn tenant<B>(&self, request: &Request<B>) -> Result<&Tenant, MatrixError> {
        let tenants = &self.parts.tenants;
        if let [only] = &tenants[..] {
            return Ok(only);
        }
        let host = request.uri().host().map_or_else(
            || request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
            |_| request.uri().authority().map_or("", |authority| authority.as_str()),
        );
        let host = host.to_ascii_lowercase();
        let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let names = [Some(host.as_str()), without_port.map(|(name, _)| name)];
        names
            .into_iter()
            .flatten()
            .find_map(|name| tenants.iter().find(|tenant| tenant.hosts.iter().any(|known| known == name)))
            .ok_or_else(|| AuthenticateError::UnknownServer.into())
    }

    fn credentials<B>(&self, request: &Request<B>) -> Result<Credentials, MatrixError> {
        let query = request.uri().query();
        let token = bearer_token(request.headers())?;
        let in_query = |name| query.is_some_and(|query| query.contains(name));
        // Most requests have nothing of this in their query, and then it is not parsed.
        let may_hold_token = token.is_none() && self.parts.query_access_token == QueryAccessToken::Accepted;
        if token.is_some() && !in_query("user_id") && !in_query("device_id") || !may_hold_token && token.is_none() {
            return Ok(Credentials {
                token: token.ok_or_else(missing_token)?.to_owned(),
                masquerade: Masquerade::default(),
            });
        }
        let query = Query::parse(query)?;
        let token = token.or_else(|| query.get("access_token").filter(|token| !token.is_empty()));
        // What could not stand in a header cannot be asked about either.
        if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(AuthenticateError::UnknownToken.into());
        }
        Ok(Credentials {
            token: token.ok_or_else(missing_token)?.to_owned(),
            masquerade: Masquerade {
                user_id: query.get("user_id").map(str::to_owned),
                device_id: query
                    .get("device_id")
                    .or_else(|| query.get("org.matrix.msc3202.device_id"))
                    .map(str::to_owned),
            },
        })
    }

    /// The client's address: the peer's, or what trusted proxies say of it.
    pub(crate) fn client_address(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        match peer {
            Peer::Address(address) | Peer::Tls(address) => {
                client_address(address, headers, &self.parts.trusted_proxies)
            }
            // Whoever can reach the socket's file is a proxy on this machine.
            Peer::Local => {
                let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
                client_address(loopback, headers, &[loopback.into()])
            }
        }
    }

    /// How a request came, and so whether what it says of itself is believed.
    pub(crate) fn via(&self, peer: Peer) -> Via {
        let is_trusted = |address: IpAddr| self.parts.trusted_proxies.iter().any(|net| net.contains(&address));
        match peer {
            Peer::Local => Via::TrustedProxy,
            Peer::Address(address) | Peer::Tls(address) if is_trusted(address.to_canonical()) => Via::TrustedProxy,
            Peer::Address(_) => Via::Http,
            Peer::Tls(_) => Via::Https,
        }
    }
}

fn missing_token() -> MatrixError {
    MatrixError::new(axum::http::StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "An access token is needed")
}
