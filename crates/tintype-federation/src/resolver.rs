//! DNS: the addresses of a host, and its SRV records.
//!
//! Names are always complete: the search list of the machine is not for names that strangers choose. `/etc/hosts` is
//! asked first, as everything else on the machine does. Nothing is judged here; that is the address filter's work, at the
//! connection.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData, RecordType},
    system_conf::parse_resolv_conf,
};
use tintype_domain::Randomness;
use tokio::time::timeout;

use crate::OutboundError;

/// Where the system says which name servers are asked.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long one name server may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a question may take altogether.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many answers are kept, each for its TTL.
const CACHED_ANSWERS: u64 = 4096;

/// The DNS.
pub struct Resolver {
    hickory: TokioResolver,
}

/// Where one SRV record points (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// The host, without a dot at its end; empty if the service is declared not to exist.
    pub host: String,
}

impl Resolver {
    /// A resolver that asks these name servers, or those of the system if there are none.
    pub fn new(nameservers: &[SocketAddr]) -> Result<Self, OutboundError> {
        let failed = |error: NetError| OutboundError::Dns { name: String::new(), reason: error.to_string() };
        let (config, options) = if nameservers.is_empty() {
            system(Path::new(RESOLV_CONF))
        } else {
            (of_name_servers(nameservers), ResolverOpts::default())
        };
        let mut builder = Hickory::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let options = builder.options_mut();
        options.timeout = ANSWER_TIMEOUT;
        options.cache_size = CACHED_ANSWERS;
        // IPv6 that is half set up is common, and costs a time-out at each address.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self { hickory: builder.build().map_err(failed)? })
    }

    /// The addresses of a host, the IPv4 ones first; at least one.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutboundError> {
        let answer = self.within_time(host, self.hickory.lookup_ip(name(host)?)).await?;
        let addresses = answer.map(|answer| answer.iter().collect::<Vec<_>>()).unwrap_or_default();
        if addresses.is_empty() {
            return Err(OutboundError::Dns { name: host.to_owned(), reason: "it has no address".to_owned() });
        }
        Ok(addresses)
    }

    /// The SRV records of a name, in no order; none if there are none.
    pub async fn services(&self, service: &str) -> Result<Vec<Service>, OutboundError> {
        let answer = self.within_time(service, self.hickory.lookup(name(service)?, RecordType::SRV)).await?;
        let records = answer.iter().flat_map(Lookup::answers);
        Ok(records
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(Service {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            })
            .collect())
    }

    /// The answer, or none if the name or the record does not exist.
    async fn within_time<T>(
        &self,
        name: &str,
        question: impl Future<Output = Result<T, NetError>>,
    ) -> Result<Option<T>, OutboundError> {
        match timeout(QUESTION_TIMEOUT, question).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) if error.is_no_records_found() => Ok(None),
            Ok(Err(error)) => Err(OutboundError::Dns { name: name.to_owned(), reason: error.to_string() }),
            Err(_) => Err(OutboundError::Dns { name: name.to_owned(), reason: "no answer in time".to_owned() }),
        }
    }
}

/// Orders SRV records as they are to be tried (RFC 2782): by priority, and by chance according to their weights within
/// one priority.
pub fn in_order(mut services: Vec<Service>, randomness: &dyn Randomness) -> Vec<Service> {
    services.sort_by_key(|service| (service.priority, service.weight != 0));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let same = services.iter().take_while(|service| service.priority == first.priority);
        let total: u64 = same.clone().map(|service| u64::from(service.weight)).sum();
        let mut bytes = [0; 8];
        randomness.fill(&mut bytes);
        let chosen = u64::from_le_bytes(bytes) % (total + 1);
        let mut running = 0;
        let index = same.enumerate().find_map(|(index, service)| {
            running += u64::from(service.weight);
            (running >= chosen).then_some(index)
        });
        ordered.push(services.remove(index.unwrap_or(0)));
    }
    ordered
}

fn name(host: &str) -> Result<Name, OutboundError> {
    let mut name = Name::from_ascii(host)
        .map_err(|error| OutboundError::Dns { name: host.to_owned(), reason: error.to_string() })?;
    name.set_fqdn(true);
    Ok(name)
}

/// The name servers that a file names, in the form of resolv.conf(5), which also says what holds without any: the one on
/// this machine is asked.
fn system(file: &Path) -> (ResolverConfig, ResolverOpts) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| {
        tracing::warn!(%error, "{} cannot be read", file.display());
        String::new()
    });
    // The rest is about names that are not complete.
    let lines = text.lines().filter(|line| line.starts_with("nameserver") || line.starts_with("options"));
    parse_resolv_conf(lines.collect::<Vec<_>>().join("\n")).unwrap_or_else(|error| {
        tracing::warn!(%error, "the name server on this machine is asked");
        (of_name_servers(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]), ResolverOpts::default())
    })
}

fn of_name_servers(addresses: &[SocketAddr]) -> ResolverConfig {
    ResolverConfig::from_parts(None, Vec::new(), addresses.iter().map(name_server).collect())
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Always the same byte.
    struct Always(u8);

    impl Randomness for Always {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0);
            buffer[0] = self.0;
        }
    }

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service { priority, weight, port: 8448, host: host.to_owned() }
    }

    fn hosts(services: Vec<Service>, randomness: &dyn Randomness) -> Vec<String> {
        in_order(services, randomness).into_iter().map(|service| service.host).collect()
    }

    /// The name servers of a file with this text.
    fn system_servers(text: &str) -> Vec<SocketAddr> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        addresses(&system(file.path()).0)
    }

    fn addresses(config: &ResolverConfig) -> Vec<SocketAddr> {
        let servers = config.name_servers().iter();
        servers.map(|server| SocketAddr::new(server.ip, server.connections[0].port)).collect()
    }

    #[test]
    fn the_systems_name_servers_are_asked() {
        let text = "# a comment\nsearch not..valid\nnameserver 192.0.2.1\noptions timeout:1\nnameserver 2001:db8::1\n";

        assert_eq!(system_servers(text), ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]);
    }

    #[test]
    fn a_system_that_names_no_name_server_means_the_one_on_this_machine() {
        let local: SocketAddr = "127.0.0.1:53".parse().unwrap();

        assert_eq!(system_servers(""), [local]);
        assert_eq!(system_servers("nameserver what\n"), [local]);
        assert_eq!(addresses(&system(Path::new("/nowhere/resolv.conf")).0), [local]);
    }

    #[test]
    fn a_lower_priority_comes_first_whatever_its_weight() {
        let services = vec![service(20, 100, "c"), service(5, 0, "a"), service(10, 1, "b")];

        assert_eq!(hosts(services, &Always(255)), ["a", "b", "c"]);
    }

    #[test]
    fn within_a_priority_the_weight_is_the_chance() {
        let services = || vec![service(1, 10, "light"), service(1, 0, "none"), service(1, 90, "heavy")];

        assert_eq!(hosts(services(), &Always(0)), ["none", "light", "heavy"]);
        assert_eq!(hosts(services(), &Always(1)), ["light", "heavy", "none"]);
        assert_eq!(hosts(services(), &Always(11))[0], "heavy");
        assert_eq!(hosts(services(), &Always(100))[0], "heavy");
    }
}
