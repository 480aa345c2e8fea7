//! What is left when all is over: records, objects and files have to agree.

use std::collections::BTreeSet;

use tokio::time::{self, Instant};

use crate::{
    plan::NODES,
    stage::{LOOK_EVERY, Stage},
};

/// By when everything has to agree: a node that was killed is dead after ten seconds, and what it held is free then.
const AGREE_WITHIN: time::Duration = time::Duration::from_secs(25);

/// Queries that find nothing where all is well, and what it would be.
const NOTHING: [(&str, &str); 7] = [
    ("uploads that somebody still brings", "SELECT media_id, node FROM reservations WHERE holder IS NOT NULL"),
    ("bytes that are still to be removed", "SELECT location FROM removals"),
    (
        "blobs whose references are miscounted",
        "SELECT id, refs FROM blobs WHERE refs <> (SELECT COUNT(*) FROM media WHERE blob_id = blobs.id)
             + (SELECT COUNT(*) FROM thumbnails WHERE blob_id = blobs.id)
             + (SELECT COUNT(*) FROM remote_cache WHERE blob_id = blobs.id)",
    ),
    (
        "users whose usage is miscounted",
        "SELECT user_id, media, bytes FROM usage
         WHERE media <> (SELECT COUNT(*) FROM media WHERE uploader = user_id)
            OR bytes <> (SELECT COALESCE(SUM(size), 0) FROM media JOIN blobs ON blobs.id = blob_id
                         WHERE uploader = user_id)",
    ),
    (
        "a sum of remote media that is not one",
        "SELECT responses, bytes FROM remote_usage WHERE responses <> (SELECT COUNT(*) FROM remote_cache)
            OR bytes <> (SELECT COALESCE(SUM(size), 0) FROM remote_cache JOIN blobs ON blobs.id = blob_id)",
    ),
    (
        "media that is recorded and still reserved",
        "SELECT media_id FROM media JOIN reservations USING (server_name, media_id)",
    ),
    (
        "what was deleted and is still there",
        "SELECT media_id FROM media JOIN tombstones USING (server_name, media_id)
         UNION ALL SELECT media_id FROM reservations JOIN tombstones USING (server_name, media_id)",
    ),
];

/// Waits until all agree, and returns what does not in the end.
///
/// An upload that nobody was told of may leave an object: its request can reach the store after it was removed there, and is
/// found by the next scrub. So an object without a record is only wrong where its bytes are of those that were `acknowledged`,
/// by their hashes, and no record has them: it was deleted, and is there.
pub async fn disagreements(stage: &Stage, acknowledged: &BTreeSet<String>) -> Vec<String> {
    let until = Instant::now() + AGREE_WITHIN;
    loop {
        let found = look(stage, acknowledged).await;
        if found.is_empty() || Instant::now() > until {
            return found;
        }
        time::sleep(LOOK_EVERY).await;
    }
}

async fn look(stage: &Stage, acknowledged: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (what, query) in NOTHING {
        let rows = stage.rows(query).await;
        if !rows.is_empty() {
            found.push(format!("{what}: {rows:?}"));
        }
    }
    let nodes = stage.rows("SELECT id FROM nodes").await;
    if nodes.len() != NODES {
        found.push(format!("nodes: {nodes:?}"));
    }
    let objects = stage.objects().await.into_iter().collect::<BTreeSet<_>>();
    let named = stage.rows("SELECT location FROM blobs WHERE location IS NOT NULL").await;
    let named = named.iter().map(|location| key(location)).collect::<BTreeSet<_>>();
    let kept = named.iter().map(|key| hash(key)).collect::<BTreeSet<_>>();
    for object in objects.difference(&named) {
        let hash = hash(object);
        if acknowledged.contains(hash) && !kept.contains(hash) {
            found.push(format!("an object of what was deleted: {object}"));
        }
    }
    for missing in named.difference(&objects) {
        found.push(format!("an object that is missing: {missing}"));
    }
    let kept = stage.rows("SELECT partial FROM reservations WHERE partial IS NOT NULL").await;
    for node in &stage.nodes {
        let node = node.lock().await;
        found.extend(node.unfinished().iter().map(|file| format!("left over: {}", file.display())));
        let lost = node.partial().into_iter().filter(|name| !kept.contains(name));
        found.extend(lost.map(|name| format!("a part of an upload that no record names: {name}")));
    }
    found
}

/// The hash of the bytes of an object, by its key.
fn hash(key: &str) -> &str {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    name.split_once('-').map_or(name, |(hash, _)| hash)
}

/// Where the object of a location is.
fn key(location: &str) -> String {
    format!("media/{}/{}/{location}", &location[..2], &location[2..4])
}
