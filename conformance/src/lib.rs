//! Checks a Matrix server from outside against MSC4425, ephemeral media.
//!
//! The server under test is only asked over HTTP, as its users and other servers ask it; nothing here knows how it is
//! made. What takes another server is one of our own ([`OwnServer`]): it signs requests, and has media to be fetched.

mod checks;
mod downloading;
mod names;
mod origin;
mod report;
mod servers;
mod subject;
mod uploading;

use std::{net::SocketAddr, pin::Pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use reqwest::{Certificate, Url, redirect::Policy};
use tintype_domain::OwnedServerName;
use tintype_federation::SigningKey;
use tokio_rustls::rustls::crypto::ring;

pub use self::{
    checks::{ALL, Check},
    names::Names,
    report::{Line, Outcome, Report},
};
use self::{
    origin::Origin,
    servers::Asker,
    subject::{Sample, Subject},
};

/// How long any answer may take, with its body.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server under test.
pub struct Target {
    /// Where its clients go.
    pub server: Url,
    /// Where other servers go. Without it nothing is checked that takes another server.
    pub federation: Option<Url>,
    /// Its users.
    pub tokens: Tokens,
    /// Certificates of authorities that are trusted beside the system's, in PEM.
    pub authorities: Vec<Vec<u8>>,
}

/// Access tokens of users of the server under test.
pub struct Tokens {
    /// Who uploads and deletes.
    pub first: String,
    /// Who must not delete that.
    pub second: Option<String>,
    /// A guest.
    pub guest: Option<String>,
}

/// The server that this program is, if it is to be one.
pub struct OwnServer {
    /// Its name, under which the server under test finds it.
    pub name: OwnedServerName,
    /// Where it listens, with TLS.
    pub listen: SocketAddr,
    /// The certificates of that name, in PEM.
    pub certificate: Vec<u8>,
    /// Their private key, in PEM.
    pub private_key: Vec<u8>,
    /// What it signs with.
    pub signing_key: SigningKey,
}

/// Whether the rule of one day is checked, and how a day passes.
pub enum Day {
    /// It is not.
    NotAwaited,
    /// It is, when this has come to its end.
    Awaited(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Makes all checks that can be made, under the unstable names, and then under the stable ones if these are asked for.
///
/// # Errors
/// What keeps the program from beginning: certificates that cannot be read, an address that is in use, a server that takes
/// no upload at all. Whatever else the server under test does is in the report.
pub async fn run(target: Target, own: Option<OwnServer>, names: &[Names], day: Day) -> Result<Report> {
    let mut report = Report::default();
    let subject = Subject { http: http_client(&target)?, url: base(&target.server) };
    let origin = match own {
        Some(own) => Some(Origin::start(own).await.context("starting the own server")?),
        None => None,
    };
    if let Err(trouble) = subject.upload("", &Sample::text(), &target.tokens.first).await {
        bail!("nothing can be uploaded with the token, so nothing was checked: {trouble}");
    }
    for names in names {
        uploading::check(&subject, &target.tokens, *names, &mut report).await;
        let asker = match (&origin, &target.federation) {
            (Some(origin), Some(federation)) => Some(Asker { subject: &subject, origin, url: base(federation) }),
            _ => None,
        };
        servers::check(asker.as_ref(), &subject, &target.tokens.first, *names, &mut report).await;
    }
    downloading::check(origin.as_ref(), &subject, &target.tokens.first, names, day, &mut report).await;
    // Last, since a notice would take its time; and only who asked for the media could have got one.
    let told = origin.as_ref().filter(|_| target.federation.is_some());
    for names in names {
        report.add(checks::NO_NOTICE, *names, servers::nobody_is_told(told));
    }
    Ok(report)
}

fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn http_client(target: &Target) -> Result<reqwest::Client> {
    // A second installation is refused, which is fine.
    let _ = ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE);
    let mut certificates = Vec::new();
    for pem in &target.authorities {
        certificates.extend(Certificate::from_pem_bundle(pem).context("reading the certificates of an authority")?);
    }
    builder = builder.tls_certs_merge(certificates);
    // Names below `localhost` are of this machine, whether or not a resolver knows it (RFC 6761).
    for url in [Some(&target.server), target.federation.as_ref()].into_iter().flatten() {
        if let Some(host) = url.host_str().filter(|host| host.ends_with(".localhost")) {
            builder = builder.resolve(host, ([127, 0, 0, 1], 0).into());
        }
    }
    builder.build().context("making an HTTP client")
}
