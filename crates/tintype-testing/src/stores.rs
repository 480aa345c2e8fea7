//! Where the server under test keeps its records and bytes: in its folder, or in a database and a bucket of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tintype_services::{Bucket, Database, Postgres, SeaweedFs};
use tintype_storage::records::Records;
use tokio::sync::OnceCell;

use crate::{Profile, port};

/// The folders below that of the blobs in which nothing is that has a record.
const WORKING: [&str; 4] = ["tmp", "partial", "pending", "lock"];

/// What nodes of one installation know each other by.
const SECRET: &str = "a secret that all nodes of this test have";

/// How many connections a node has to the database: few, since there are many nodes.
const CONNECTIONS: &str = "4";

/// What an installation leaves when its server has ended. It goes when this is dropped.
pub struct Installation {
    pub(crate) profile: Profile,
    pub(crate) folder: TempDir,
    pub(crate) database: Option<Database>,
    pub(crate) bucket: Option<Bucket>,
}

impl Installation {
    pub(crate) async fn new(folder: TempDir, profile: Profile) -> Self {
        let database = if profile == Profile::Embedded { None } else { Some(Box::pin(database()).await) };
        let bucket = profile.has_bucket().then(|| SeaweedFs::shared().folder_in_bucket());
        Self { profile, folder, database, bucket }
    }

    /// What the configuration of a node has to say of it, as variables of the environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        let mut set = |name: &str, value: &str| variables.push((format!("TINTYPE__{name}"), value.to_owned()));
        if let Some(database) = &self.database {
            set("DATABASE__URL", &database.url());
            set("DATABASE__MAX_CONNECTIONS", CONNECTIONS);
        }
        if let Some(bucket) = &self.bucket {
            set("BLOBS__URL", &format!("s3://{}/{}", bucket.name, bucket.prefix));
            set("BLOBS__ENDPOINT", &bucket.endpoint);
            set("BLOBS__REGION", "us-east-1");
            set("BLOBS__PATH_STYLE", "true");
            set("BLOBS__ACCESS_KEY_ID", bucket.access_key_id);
            set("BLOBS__SECRET_ACCESS_KEY", bucket.secret_access_key);
        }
        if self.profile.nodes() > 1 {
            let address = format!("127.0.0.1:{}", port::free());
            set("CLUSTER__LISTEN", &address);
            set("CLUSTER__ADVERTISE", &format!("http://{address}"));
            set("CLUSTER__SECRET", SECRET);
        }
        variables
    }
}

/// A database that is up to date.
async fn database() -> Database {
    static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
    let made = async {
        let database = Postgres::shared().database();
        let opening = Box::pin(Records::open_postgres(database.url()));
        let records = opening.await.expect("the database can be brought up to date");
        records.close().await;
        database
    };
    let template = TEMPLATE.get_or_init(|| made).await;
    Postgres::shared().copy_of(template)
}

/// The blobs in a folder that have their name.
pub(crate) fn blobs_below(root: &Path) -> Vec<PathBuf> {
    let working = WORKING.map(|name| root.join(name));
    files_below(root).into_iter().filter(|path| !working.iter().any(|other| path.starts_with(other))).collect()
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
