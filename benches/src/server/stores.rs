//! What several nodes keep things in: a PostgreSQL and a SeaweedFS of their own, with what goes to them counted on the way.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tintype_services::{Bucket, Postgres, SeaweedFs};

use crate::tally::{Protocol, Tally};

/// A database and a bucket, empty at first.
#[derive(Debug)]
pub struct Stores {
    to_database: Tally,
    to_store: Tally,
    bucket: Bucket,
    // They end with this.
    _postgres: Postgres,
    _store: SeaweedFs,
}

impl Stores {
    /// Starts both.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> Result<Self> {
        let (postgres, store) = (Postgres::start(), SeaweedFs::start());
        let bucket = store.bucket();
        let port = bucket.endpoint.rsplit(':').next().context("an endpoint has a port")?.parse()?;
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let to_database = Tally::to(at(postgres.port()), Protocol::Postgres)?;
        let to_store = Tally::to(at(port), Protocol::Http)?;
        Ok(Self { to_database, to_store, bucket, _postgres: postgres, _store: store })
    }

    /// Statements that were executed so far.
    pub fn statements(&self) -> u64 {
        self.to_database.count()
    }

    /// Requests to the store so far.
    pub fn requests(&self) -> u64 {
        self.to_store.count()
    }

    /// How nodes are told of them.
    pub(super) fn configuration(&self) -> String {
        let Bucket { name, access_key_id, secret_access_key, .. } = &self.bucket;
        format!(
            "
[database]
url = \"postgres://postgres@{}/postgres?sslmode=disable\"

[blobs]
url = \"s3://{name}/media\"
endpoint = \"http://{}\"
access_key_id = \"{access_key_id}\"
secret_access_key = \"{secret_access_key}\"
path_style = true
",
            self.to_database.address(),
            self.to_store.address(),
        )
    }
}
