//! From the configuration to the parts, in the order of the journey of a request.

use std::{
    collections::BTreeMap, fs, io, num::NonZeroUsize, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tintype_api::{
    Endpoints, HomeserverToken, HttpMetrics, Ownership, PassThrough, ProposalNames, QueryAccessToken, RelayParts,
    RequestLog, Tenant,
};
use tintype_domain::{Clock, OwnedServerName, Randomness};
use tintype_federation::{
    AddressFilter, Federation, FederationParts, FetchTimes, Outbound, OutboundParts, Peers, Ports, SigningKey,
};
use tintype_homeserver::Homeserver;
use tintype_repository::{
    Accounts, Cdn, Cluster, EphemeralRules, Fate, Freeze, LinkedRules, Local, MediaServer, Membership, Parts, Rates,
    RedirectRules, Redirected, RemoteRules, RemoteThumbnails, Repository, Rules, ScrubRules, ThumbnailRules,
    WaitingLimits,
};
use tintype_storage::{
    blobs::{Blobs, BlobsError, Cache, CacheSettings, DiskCache, Files, Moving, Objects},
    records::{PostgresDatabase, Quota, Records},
};
use tintype_thumbnails::Limits;

use tokio::runtime::Handle;

use crate::config::{
    self, ByteSize, Config, DatabaseUrl, Duration as ConfigDuration, FreezeAt, Limit, PostgresUrl, Proposal, Rate,
    Redirect,
};

/// Creates the folder so that only its owner can look into it: small media is in the database's file.
pub(crate) fn create_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens the records, and brings them up to date: what each command does that needs them.
///
/// # Errors
/// What stands in the way, for the operator.
pub async fn records(config: &Config) -> anyhow::Result<Records> {
    let path = match &config.database.url {
        DatabaseUrl::Sqlite(path) => config.resolve(path),
        DatabaseUrl::Postgres(url) => {
            let records = Records::open_postgres(postgres(config, url)).await;
            return records.with_context(|| format!("the database {url} cannot be opened"));
        }
    };
    if let Some(folder) = path.parent() {
        create_private(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    }
    Records::open_sqlite(&path).await.with_context(|| format!("the database {} cannot be opened", path.display()))
}

/// How the database is connected to.
pub(crate) fn postgres(config: &Config, url: &PostgresUrl) -> PostgresDatabase {
    PostgresDatabase {
        url: url.expose_in(&config.data_dir).expose().to_owned(),
        password: config.database.password.as_ref().map(|password| password.expose().to_owned()),
        max_connections: config.database.max_connections,
    }
}

/// How long it may take to connect to one address of another server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to other servers, on this runtime.
pub(crate) fn outbound(config: &Config, clock: Arc<dyn Clock>, runtime: Handle) -> anyhow::Result<Outbound> {
    let federation = &config.federation;
    let mut extra_roots = Vec::new();
    for path in &federation.extra_ca_files {
        let path = config.resolve(path);
        let certificates = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        extra_roots.extend(certificates.with_context(|| format!("the certificates in {}", path.display()))?);
    }
    let parts = OutboundParts {
        filter: AddressFilter::new(federation.allow_addresses.clone()),
        extra_roots,
        nameservers: federation.nameservers.clone(),
        ports: Ports::default(),
        connect_timeout: CONNECT_TIMEOUT.min(federation.request_timeout.get()),
        clock,
        runtime,
    };
    Outbound::new(parts).context("connections to other servers")
}

/// Other servers: how they are reached, and who we are to them.
pub(crate) fn federation(
    config: &Config,
    clock: Arc<dyn Clock>,
    randomness: &dyn Randomness,
    runtime: Handle,
) -> anyhow::Result<Federation> {
    let federation = &config.federation;
    Ok(Federation::new(FederationParts {
        outbound: outbound(config, Arc::clone(&clock), runtime)?,
        key_servers: federation.key_servers.clone(),
        peers: Peers::new(federation.allow_servers.clone(), federation.deny_servers.clone()),
        signing_keys: signing_keys(config, randomness)?,
        times: FetchTimes {
            answer: federation.request_timeout.get(),
            idle: federation.idle_timeout.get(),
            total: federation.fetch_timeout.get(),
        },
        clock,
    }))
}

/// Opens the blobs, for a process that serves them.
pub(crate) fn blobs(config: &Config, randomness: &Arc<dyn Randomness>) -> anyhow::Result<Blobs> {
    let path = config.blobs_path();
    // Several nodes have one folder; a single one has it for itself. A scratch folder is always one node's.
    let opened = if config.cluster.is_on() && config.blobs.bucket().is_none() {
        let opened = Files::open_among_others(&path, randomness).map(Blobs::from);
        opened.and_then(|blobs| with_fallback(config, blobs, randomness))
    } else {
        blobs_alone(config, randomness)
    };
    opened.with_context(|| match config.blobs.url.folder() {
        Some(_) => format!("the media folder {} cannot be opened", path.display()),
        None => format!("{} with the scratch folder {} cannot be opened", config.blobs.url, path.display()),
    })
}

/// The blobs, if no server has them.
pub(crate) fn blobs_alone(config: &Config, randomness: &Arc<dyn Randomness>) -> Result<Blobs, BlobsError> {
    let path = config.blobs_path();
    let blobs = match config.blobs.bucket() {
        Some(bucket) => Objects::open(&bucket, &path, Arc::clone(randomness))?.into(),
        None => Files::open(&path, Arc::clone(randomness))?.into(),
    };
    with_fallback(config, blobs, randomness)
}

/// With the store that some of the blobs still are in, if there is one.
fn with_fallback(config: &Config, blobs: Blobs, randomness: &Arc<dyn Randomness>) -> Result<Blobs, BlobsError> {
    let Some(url) = &config.blobs.fallback else { return Ok(blobs) };
    Ok(match (config.blobs.bucket_of(url), url.folder()) {
        (None, Some(folder)) => {
            Moving::new(Files::open_among_others(&config.resolve(folder), randomness)?, blobs).into()
        }
        // The scratch folder of a bucket is the one that media arrives in, where both are buckets.
        (Some(bucket), _) if config.blobs.bucket().is_some() => {
            Moving::new(Objects::open_shared(&bucket, &config.blobs_path(), Arc::clone(randomness))?, blobs).into()
        }
        (Some(bucket), _) => {
            let scratch = config.resolve(&config.blobs.scratch);
            Moving::new(Objects::open(&bucket, &scratch, Arc::clone(randomness))?, blobs).into()
        }
        (None, None) => blobs,
    })
}

/// The blobs beside a server that may be running: for diagnosis.
pub(crate) fn blobs_beside(config: &Config, randomness: Arc<dyn Randomness>) -> Result<Blobs, BlobsError> {
    let path = config.blobs_path();
    Ok(match config.blobs.bucket() {
        Some(bucket) => Objects::open_shared(&bucket, &path, randomness)?.into(),
        None => Files::open_shared(&path, randomness)?.into(),
    })
}

/// Both stores of a move, beside servers that may be running and have to know both; none where nothing is to be moved.
pub(crate) fn moving_beside(config: &Config, randomness: &Arc<dyn Randomness>) -> Result<Option<Moving>, BlobsError> {
    let Some(url) = &config.blobs.fallback else { return Ok(None) };
    let scratch = config.resolve(&config.blobs.scratch);
    let objects = |bucket| Objects::open_beside(&bucket, &scratch, Arc::clone(randomness));
    let new: Blobs = match config.blobs.bucket() {
        Some(bucket) => objects(bucket)?.into(),
        None => Files::open_beside(&config.blobs_path(), randomness)?.into(),
    };
    let old: Blobs = match (config.blobs.bucket_of(url), url.folder()) {
        (Some(bucket), _) => objects(bucket)?.into(),
        // A server that has it for itself does not know the new store.
        (None, folder) => {
            let folder = config.resolve(folder.unwrap_or(Path::new("")));
            Files::open_among_others(&folder, randomness)?.into()
        }
    };
    Ok(Some(Moving::new(old, new)))
}

/// The blobs, with a cache in front of a store that is far away.
async fn near(config: &Config, blobs: Blobs, randomness: Arc<dyn Randomness>) -> anyhow::Result<Blobs> {
    let cache = &config.blobs.cache;
    let Blobs::Objects(objects) = blobs else { return Ok(blobs) };
    if !cache.is_on() {
        return Ok(objects.into());
    }
    let folder = config.resolve(&cache.folder);
    let disk = cache.disk.value().map(|size| DiskCache { folder: folder.clone(), size: size.bytes() });
    let settings = CacheSettings { memory: cache.memory.bytes(), disk, max_blob: cache.max_object.bytes() };
    let cache = Box::pin(Cache::open(settings, randomness)).await;
    let cache = cache.with_context(|| format!("the cache of blobs in {} cannot be opened", folder.display()))?;
    Ok(objects.cached(cache).into())
}

/// Opens the repository: everything but HTTP.
pub(crate) async fn repository(
    config: &Config,
    federation: Federation,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
) -> anyhow::Result<Repository> {
    let blobs = near(config, blobs(config, &randomness)?, Arc::clone(&randomness)).await?;
    let records = Box::pin(records(config)).await?;
    let cluster = if records.has_nodes() {
        Some(Box::pin(Cluster::join(&records, membership(config), Arc::clone(&randomness))).await?)
    } else {
        None
    };
    let servers = config.server.iter().map(|server| {
        let accounts = match &server.homeserver {
            Some(url) => {
                let homeserver = Homeserver::new(url, config.authentication.request_timeout.get())?;
                let token = server.appservice_token.as_ref().map(|token| token.expose().to_owned());
                Accounts::Homeserver(Arc::new(homeserver.with_appservice_token(token)))
            }
            None => Accounts::Local(Local),
        };
        Ok(MediaServer {
            name: server.name.clone(),
            accounts,
            admins: Arc::new(server.admins.iter().cloned().collect()),
        })
    });
    let servers = servers.collect::<anyhow::Result<Vec<_>>>()?;
    let parts = Parts { records, blobs, servers, federation, rules: rules(config), clock, randomness, cluster };
    Ok(Repository::open_all(parts).await?)
}

/// How this server takes part among those that share its database.
fn membership(config: &Config) -> Membership {
    let cluster = &config.cluster;
    Membership {
        advertise: cluster.advertise.as_ref().filter(|_| cluster.is_on()).map(|url| url.origin().ascii_serialization()),
        secret: cluster.secret.as_ref().map(|secret| secret.expose().as_bytes().to_vec()).unwrap_or_default(),
    }
}

/// The endpoints.
pub(crate) fn api(
    config: &Config,
    repository: Repository,
    federation: Federation,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    metrics: HttpMetrics,
    request_log: Option<RequestLog>,
) -> Endpoints {
    let tenants = config
        .server
        .iter()
        .map(|server| Tenant {
            server_name: server.name.clone(),
            hosts: server.hosts.clone(),
            ownership: if server.owns_name() { Ownership::Ours } else { Ownership::Homeservers },
            homeserver: repository.homeserver(&server.name),
            pass_through: if server.pass_through {
                PassThrough::Below(server.pass_through_prefixes.clone())
            } else {
                PassThrough::Off
            },
            homeserver_token: server.homeserver_token.as_ref().map(|token| HomeserverToken::of(token.expose())),
        })
        .collect();
    let names = |proposal| {
        if config.stable_proposal(proposal) { ProposalNames::Stable } else { ProposalNames::Unstable }
    };
    let relay_key = repository.cluster().and_then(|cluster| cluster.key("relay"));
    let parts = tintype_api::Parts {
        repository,
        tenants,
        federation,
        msc4425: names(Proposal::Msc4425),
        msc3911: names(Proposal::Msc3911),
        trusted_proxies: config.http.trusted_proxies.clone(),
        query_access_token: if config.authentication.query_access_token {
            QueryAccessToken::Accepted
        } else {
            QueryAccessToken::Refused
        },
        body_idle_timeout: config.http.body_idle_timeout.get(),
        relay: relay_key.map(|key| RelayParts { key, randomness: Arc::clone(&randomness) }),
        request_log,
        clock,
        randomness,
    };
    Endpoints::new(parts, metrics)
}

/// The keys of our servers. Of those that own their name here they are made, where there are none yet; of those that have
/// a homeserver only some are known here.
fn signing_keys(config: &Config, randomness: &dyn Randomness) -> anyhow::Result<BTreeMap<OwnedServerName, SigningKey>> {
    let mut keys = BTreeMap::new();
    for server in &config.server {
        if let Some(path) = config.signing_key_path(server) {
            let key = if server.owns_name() {
                SigningKey::load_or_create(&path, randomness)
            } else {
                SigningKey::load(&path)
            };
            let key = key.with_context(|| format!("the signing key {} of {}", path.display(), server.name))?;
            keys.insert(server.name.clone(), key);
        }
    }
    Ok(keys)
}

fn rules(config: &Config) -> Rules {
    let (limits, thumbnails) = (&config.limits, &config.thumbnails);
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let rate = |rate: Rate| tintype_repository::Rate { per_second: rate.per_second, burst: rate.burst };
    Rules {
        scrub: ScrubRules { every: config.blobs.scrub_every(), bytes_per_second: config.blobs.scrub_rate.bytes() },
        max_upload_size: limits.max_upload_size.bytes(),
        inline_size: usize::try_from(config.inline_size()).unwrap_or(usize::MAX),
        gathered_size: usize::try_from(config.gathered_size()).unwrap_or(usize::MAX),
        quota: Quota {
            bytes: limits.max_user_bytes.value().map_or(u64::MAX, ByteSize::bytes),
            media: match limits.max_user_media {
                Limit::At(media) => media,
                Limit::Never => u64::MAX,
            },
        },
        max_pending_uploads: limits.max_pending_uploads,
        unused_expires_after: limits.unused_expires_after.value().map(ConfigDuration::get),
        max_wait: limits.max_wait.get(),
        waiting: WaitingLimits {
            // The rest of the connections is for what need not be waited for.
            total: count(limits.max_waiting_downloads).min(config.http.max_connections.get() / 4 * 3),
            per_user: count(limits.max_waiting_per_user),
        },
        stream: config.asynchronous.stream,
        limit_info_uri: limits.limit_info_uri.as_ref().map(ToString::to_string),
        rates: Rates {
            create: rate(limits.rates.create),
            upload: rate(limits.rates.upload),
            download: rate(limits.rates.download),
            thumbnail: rate(limits.rates.thumbnail),
            authenticate: rate(limits.rates.authenticate),
            serve_server: rate(limits.rates.serve_server),
            fetch_server: rate(limits.rates.fetch_server),
            ephemeral: rate(limits.rates.ephemeral),
        },
        freeze: match config.legacy.freeze {
            FreezeAt::Never => Freeze::Never,
            FreezeAt::Now => Freeze::FromFirstStart,
            FreezeAt::At(time) => Freeze::From(time),
        },
        freeze_exceptions: config.legacy.exceptions.iter().cloned().collect(),
        remote: RemoteRules {
            max_size: limits.max_remote_size.bytes(),
            thumbnails: match config.federation.remote_thumbnails {
                config::RemoteThumbnails::Origin => RemoteThumbnails::FromOrigin,
                config::RemoteThumbnails::Local => RemoteThumbnails::MadeHere,
            },
            answer_time: config.federation.request_timeout.get(),
            cache_bytes: config.remote_cache.max_size.value().map(ByteSize::bytes),
            cache_age: config.remote_cache.max_age.value().map(ConfigDuration::get),
        },
        ephemeral: EphemeralRules {
            max_age: config.ephemeral.max_age.value().map(ConfigDuration::get),
            quota: Quota {
                bytes: config.ephemeral.max_user_bytes.value().map_or(u64::MAX, ByteSize::bytes),
                media: match config.ephemeral.max_user_media {
                    Limit::At(media) => media,
                    Limit::Never => u64::MAX,
                },
            },
        },
        linked: linked(config),
        thumbnails: ThumbnailRules {
            threads: NonZeroUsize::new(thumbnails.threads),
            queue: thumbnails.queue,
            limits: Limits {
                max_pixels: thumbnails.max_pixels.get(),
                max_source_bytes: thumbnails.max_source_size.bytes(),
                max_memory: thumbnails.max_memory.bytes(),
            },
            max_sizes: u32::try_from(thumbnails.max_sizes_per_media.get()).unwrap_or(u32::MAX),
        },
        redirect: redirects(config),
        token_cache_time: config.authentication.cache_time.get(),
        cache_bytes: config.cache.memory.bytes(),
        cache_time: config.cache.time.get(),
    }
}

/// Who is sent elsewhere for media, and where.
fn redirects(config: &Config) -> RedirectRules {
    let blobs = &config.blobs;
    let cdn = match (&blobs.cdn.base_url, &blobs.cdn.secret) {
        (Some(url), Some(secret)) => Some(Cdn::new(url.as_str(), secret.expose().as_bytes())),
        _ => None,
    };
    RedirectRules {
        redirected: match blobs.redirect {
            // Whoever is sent elsewhere looks into one store only.
            _ if blobs.fallback.is_some() => Redirected::Never,
            Redirect::Never => Redirected::Never,
            Redirect::Clients => Redirected::Clients,
            Redirect::Federation => Redirected::Federation,
            Redirect::Always => Redirected::Always,
        },
        min_size: blobs.redirect_min_size.bytes(),
        expires: blobs.redirect_expires.get(),
        cdn,
    }
}

fn linked(config: &Config) -> LinkedRules {
    let linked = &config.linked;
    let fate = |fate| match fate {
        config::Fate::Keep => Fate::Kept,
        config::Fate::Delete => Fate::Deleted,
    };
    LinkedRules {
        unattached_after: linked.unattached_after.get(),
        max_attachments: usize::try_from(linked.max_attachments).unwrap_or(usize::MAX),
        block_unrestricted: linked.block_unrestricted,
        unswept_users: linked.unswept_users.iter().cloned().collect(),
        redaction_grace: linked.redaction_grace.get(),
        unlinked_redaction: fate(linked.unlinked_redaction),
        abandoned_rooms: fate(linked.abandoned_rooms),
        left_rooms_grace: linked.left_rooms_grace.get(),
    }
}
