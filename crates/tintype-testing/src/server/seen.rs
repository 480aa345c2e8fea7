//! What a test can see of a server besides its answers: metrics, and what it keeps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tintype_federation::SigningKey;
use tintype_storage::records::MediaRequests;

use super::TestServer;
use crate::{
    Client, Waiting,
    client::Target,
    stores::{blobs_below, files_below},
    until,
};

/// What each node says of all of them.
const OF_ALL_NODES: [&str; 6] = [
    "tintype_reservations_pending",
    "tintype_removals_pending",
    "tintype_remote_cache_bytes",
    "tintype_redactions_pending",
    "tintype_rooms_known",
    "tintype_rooms_unknown",
];

impl TestServer {
    /// Where metrics and health are; those of the first node, where there are several.
    ///
    /// # Panics
    /// If there is no node.
    pub fn telemetry(&self) -> Client {
        self.telemetries().next().expect("there is a node")
    }

    /// The value of a metric; `name` is all that stands before it in its line, and 0 what is not there. The sum of them,
    /// where there are several nodes, unless each of them says it of all.
    ///
    /// # Panics
    /// If it is not a whole number.
    pub async fn metric(&self, name: &str) -> u64 {
        let of_node = |metrics: &String| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map_or(0, |value| value.parse::<u64>().expect("the metric is a whole number"))
        };
        let texts = self.metrics().await;
        let mut values = texts.iter().map(of_node);
        if OF_ALL_NODES.contains(&name) { values.next().unwrap_or(0) } else { values.sum() }
    }

    /// How many requests to an endpoint, by the name of its label in the metrics, were answered to their end.
    ///
    /// # Panics
    /// If the metrics cannot be read.
    pub async fn requests(&self, endpoint: &str) -> u64 {
        let of_endpoint = format!("tintype_http_requests_total{{endpoint=\"{endpoint}\",");
        let metrics = self.metrics().await;
        let lines = metrics.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with(&of_endpoint));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// The metrics of each node.
    async fn metrics(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for telemetry in self.telemetries() {
            let metrics = telemetry.get("/metrics").await;
            texts.push(std::str::from_utf8(metrics.bytes()).expect("metrics are text").to_owned());
        }
        texts
    }

    fn telemetries(&self) -> impl Iterator<Item = Client> {
        self.nodes.telemetry().map(|address| Client::new(Target::Tcp(address), None))
    }

    /// The requests for media that are recorded: what `tintype legacy report` reads.
    ///
    /// # Panics
    /// If the records cannot be read.
    pub async fn recorded_requests(&self) -> Vec<MediaRequests> {
        let records = self.records().await;
        let rows = records.media_requests_since(0).await.expect("the requests can be read");
        records.close().await;
        rows
    }

    /// The key with which the server signs.
    ///
    /// # Panics
    /// If it has none.
    pub fn signing_key(&self) -> SigningKey {
        let file = self.config().signing_key_path(&self.config().server[0]).expect("the server owns its name");
        SigningKey::load(&file).expect("the server has a signing key")
    }

    /// Makes a request of a download that has to wait for its upload, and sees it wait. What is returned is awaited for
    /// the answer; dropping it closes its connection.
    ///
    /// # Panics
    /// If it is answered at once.
    pub async fn waiting<R>(&self, request: R) -> Waiting<R::Output>
    where
        R: IntoFuture,
        R::IntoFuture: Send + 'static,
        R::Output: Send + 'static,
    {
        let before = self.waiting_downloads().await;
        let waiting = Waiting::new(request.into_future());
        until("the download waits", async || {
            let answered = waiting.is_over();
            let waits = self.waiting_downloads().await > before;
            assert!(waits || !answered, "the download was answered at once");
            waits
        })
        .await;
        waiting
    }

    /// How many downloads wait for their upload.
    pub async fn waiting_downloads(&self) -> u64 {
        self.metric("tintype_downloads_waiting").await
    }

    /// The data folder; that of the first node, where there are several.
    pub fn data_dir(&self) -> &Path {
        &self.config().data_dir
    }

    /// The blobs that lie in files or objects, but for those that are so small that they may be in the database.
    pub fn blobs(&self) -> Vec<PathBuf> {
        let small = self.config().blobs.inline_size.bytes();
        if let Some(bucket) = &self.installation.bucket {
            let large = bucket.objects().into_iter().filter(|object| object.size > small);
            return large.map(|object| object.key.into()).collect();
        }
        let mut blobs = blobs_below(&self.config().blobs_path());
        blobs.retain(|path| fs::metadata(path).is_ok_and(|file| file.len() > small));
        blobs
    }

    /// The files of uploads that can be continued.
    pub fn partial_uploads(&self) -> Vec<PathBuf> {
        self.files_at_work("partial").collect()
    }

    /// Waits until nothing of an interrupted upload is left, and checks that it left no blob either.
    ///
    /// # Panics
    /// If something stays.
    pub async fn holds_nothing(&self) {
        until("nothing is being received", async || {
            ["tmp", "partial", "pending"].iter().all(|folder| self.files_at_work(folder).next().is_none())
        })
        .await;
        assert_eq!(self.blobs(), Vec::<PathBuf>::new());
    }

    /// Waits until an upload lies in a temporary file, at least in part.
    pub async fn is_receiving(&self) {
        until("an upload is being received", async || self.files_at_work("tmp").next().is_some()).await;
    }

    /// What lies in a folder of what is on its way. Nodes with a bucket have such a folder each.
    fn files_at_work(&self, folder: &str) -> impl Iterator<Item = PathBuf> {
        let folders = match &self.installation.bucket {
            Some(_) => self.plan.configs.iter().map(|config| config.data_dir.join("scratch").join(folder)).collect(),
            None => vec![self.config().blobs_path().join(folder)],
        };
        folders.into_iter().flat_map(|folder| files_below(&folder))
    }
}
