//! Where a Matrix server name leads (server-server API, "Resolving server names").
//!
//! There are two questions. Who is the server: which `Host` do we ask for, and whose certificate must it show? That
//! depends on the name and the `.well-known` file alone, and is known without DNS for a server that we speak to
//! already. And where is it: which hosts and ports, in which order? That takes SRV records, and is asked for each
//! connection.

use std::{fmt, sync::Arc};

use tintype_domain::{OsRandomness, OwnedServerName, ServerName};

use crate::{
    OutboundError, Ports,
    connector::{Host, Target},
    resolver::{Resolver, in_order},
    well_known::WellKnowns,
};

/// The step of the specification by which a server name was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// 1: the server name is an IP address.
    Address,
    /// 2: the server name has a port.
    Port,
    /// 3.1: the host delegates to an IP address.
    DelegatedAddress,
    /// 3.2: the host delegates to a host with a port.
    DelegatedPort,
    /// 3.3: the host delegates to a host with SRV records.
    DelegatedService,
    /// 3.4: the host delegates to a host with SRV records of the deprecated name.
    DelegatedDeprecatedService,
    /// 3.5: the host delegates to a host.
    DelegatedHost,
    /// 4: the host has SRV records.
    Service,
    /// 5: the host has SRV records of the deprecated name.
    DeprecatedService,
    /// 6: there is nothing but the host.
    Host,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "1",
            Self::Port => "2",
            Self::DelegatedAddress => "3.1",
            Self::DelegatedPort => "3.2",
            Self::DelegatedService => "3.3",
            Self::DelegatedDeprecatedService => "3.4",
            Self::DelegatedHost => "3.5",
            Self::Service => "4",
            Self::DeprecatedService => "5",
            Self::Host => "6",
        })
    }
}

/// Who a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The server name, or the one that it delegates to. It is the `Host` of requests, as it stands.
    pub name: OwnedServerName,
    /// The host of that name, which the certificate must be for.
    pub host: Host,
    /// What the `.well-known` file said, if it was asked for: `Err` with what is wrong with it.
    pub delegation: Option<Result<OwnedServerName, String>>,
}

impl Identity {
    /// Who a server is that delegates to nobody, or that somebody else delegates to.
    pub fn undelegated(name: OwnedServerName) -> Self {
        Self { host: Host::parse(name.host()), name, delegation: None }
    }
}

/// Resolves Matrix server names.
pub struct Discovery {
    resolver: Arc<Resolver>,
    well_knowns: Arc<WellKnowns>,
    ports: Ports,
}

impl Discovery {
    /// Discovery by these means.
    pub fn new(resolver: Arc<Resolver>, well_knowns: Arc<WellKnowns>, ports: Ports) -> Self {
        Self { resolver, well_knowns, ports }
    }

    /// Who a server is.
    pub async fn identity(&self, server: &ServerName) -> Result<Identity, OutboundError> {
        // `u16` parses `+8448` too, and so does the server name.
        if server.as_str().contains('+') {
            return Err(OutboundError::ServerName);
        }
        let literal = Identity::undelegated(server.to_owned());
        if server.port().is_some() || matches!(literal.host, Host::Address(_)) {
            return Ok(literal);
        }
        let delegation = self.well_knowns.of(server.host()).await?.delegated;
        let name = delegation.clone().unwrap_or_else(|_| server.to_owned());
        Ok(Identity { delegation: Some(delegation), ..Identity::undelegated(name) })
    }

    /// Where a server is, in the order in which the places are to be tried, and the step that says so.
    pub async fn targets(&self, identity: &Identity) -> Result<(Step, Vec<Target>), OutboundError> {
        let is_delegated = matches!(identity.delegation, Some(Ok(_)));
        let at = |port| vec![Target { host: identity.host.clone(), port }];
        let host = match (&identity.host, identity.name.port()) {
            (Host::Address(_), port) => {
                let step = if is_delegated { Step::DelegatedAddress } else { Step::Address };
                return Ok((step, at(port.unwrap_or(self.ports.federation))));
            }
            (Host::Name(_), Some(port)) => {
                return Ok((if is_delegated { Step::DelegatedPort } else { Step::Port }, at(port)));
            }
            (Host::Name(host), None) => host,
        };
        let (service, deprecated, nothing) = if is_delegated {
            (Step::DelegatedService, Step::DelegatedDeprecatedService, Step::DelegatedHost)
        } else {
            (Step::Service, Step::DeprecatedService, Step::Host)
        };
        for (step, label) in [(service, "_matrix-fed"), (deprecated, "_matrix")] {
            if let Some(targets) = self.services(&format!("{label}._tcp.{host}")).await? {
                return Ok((step, targets));
            }
        }
        Ok((nothing, at(self.ports.federation)))
    }

    /// Where a name's SRV records lead; none if it has none.
    async fn services(&self, name: &str) -> Result<Option<Vec<Target>>, OutboundError> {
        let services = match self.resolver.services(name).await {
            Ok(services) => services,
            // Name servers that do not know of SRV are common, and what follows is no less safe.
            Err(error) => {
                tracing::debug!(name, %error, "no SRV records");
                return Ok(None);
            }
        };
        if services.is_empty() {
            return Ok(None);
        }
        let targets: Vec<_> = in_order(services, &OsRandomness)
            .into_iter()
            .filter(|service| !service.host.is_empty())
            .map(|service| Target { host: Host::Name(service.host), port: service.port })
            .collect();
        // A target of `.` says that there is no such service (RFC 2782).
        if targets.is_empty() {
            return Err(OutboundError::Dns { name: name.to_owned(), reason: "there is no such service".to_owned() });
        }
        Ok(Some(targets))
    }
}
