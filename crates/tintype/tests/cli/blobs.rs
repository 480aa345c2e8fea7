//! `tintype blobs move`

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use axum::http::Method;
use serde_json::Value;
use tintype_domain::{Mxc, OsRandomness, Timestamp};
use tintype_services::{Bucket, SeaweedFs};
use tintype_storage::{
    blobs::{self, Addressing, Blobs, BucketCredentials, Location, Objects},
    records::{Damage, NoteDamage, Records},
};
use tintype_testing::{Client, paths, until};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::installation::{Installation, Ran, Serving};

/// By when the sweep has come, which is each minute, and once more.
const SWEPT_WITHIN: Duration = Duration::from_mins(3);

/// More than lies beside its record, and different for each number.
fn bytes(number: usize) -> Vec<u8> {
    (0..200_000 + number).map(|n| (n ^ (n >> 8) ^ number).to_le_bytes()[0]).collect()
}

fn client(installation: &Installation, serving: &Serving) -> Client {
    let ran = installation.run(&["token", "alice"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serving.client().with_token(ran.stdout.trim_end())
}

/// The configuration of a server on these stores.
fn configuration(bucket: &Bucket, url: &str, fallback: &str) -> String {
    let Bucket { endpoint, access_key_id, secret_access_key, .. } = bucket;
    let fallback = if fallback.is_empty() { String::new() } else { format!("fallback = '{fallback}'\n") };
    format!(
        "http.listen = ['127.0.0.1:0']\ntelemetry.listen = '127.0.0.1:0'\n\
         limits.rates.upload = {{ per_second = 100000, burst = 100000 }}\n\
         limits.rates.ephemeral = {{ per_second = 100000, burst = 100000 }}\n\
         [blobs]\nurl = '{url}'\n{fallback}endpoint = '{endpoint}'\naccess_key_id = '{access_key_id}'\n\
         secret_access_key = '{secret_access_key}'\npath_style = true\n"
    )
}

/// The files of blobs in a folder, with what they are called.
fn blobs_in(folder: &Path) -> Vec<Location> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("it is read").path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    below(folder, &mut found);
    let name = |path: &PathBuf| Location::parse(path.file_name()?.to_str()?);
    found.iter().filter_map(name).collect()
}

fn in_bucket(bucket: &Bucket, installation: &Installation) -> Blobs {
    let bucket = blobs::Bucket {
        name: bucket.name.clone(),
        prefix: String::new(),
        public_endpoint: None,
        endpoint: bucket.endpoint.clone(),
        region: "us-east-1".to_owned(),
        credentials: BucketCredentials::Key {
            id: bucket.access_key_id.to_owned(),
            secret: bucket.secret_access_key.to_owned(),
        },
        addressing: Addressing::Path,
    };
    let scratch = installation.path().join("scratch-of-the-test");
    Objects::open(&bucket, &scratch, Arc::new(OsRandomness)).expect("the bucket opens").into()
}

async fn is_there(store: &Blobs, location: &Location) -> bool {
    let opened = async { store.read(location).await?.stream(0..1).await };
    opened.await.is_ok()
}

async fn reads(client: &Client, mxc: &Mxc, number: usize) -> bool {
    let answer = client.get(paths::download(mxc)).await;
    answer.status() == 200 && answer.bytes()[..] == bytes(number)
}

fn report(ran: &Ran) -> Value {
    let line = ran.stdout.lines().last().unwrap_or_else(|| panic!("it says nothing: {ran:?}"));
    serde_json::from_str(line).expect("it is JSON")
}

#[tokio::test]
async fn blobs_go_to_a_bucket_while_the_server_serves_and_what_is_deleted_meanwhile_is_left_nowhere() {
    let bucket = SeaweedFs::shared().bucket();
    let s3 = format!("s3://{}", bucket.name);
    let installation = Installation::with("");
    installation.write("tintype.toml", &configuration(&bucket, "file:media", ""));
    let media = installation.path().join("tintype-data/media");
    let serving = installation.serve().await;
    let alice = client(&installation, &serving);
    let (mut kept, mut deleted) = (Vec::new(), Vec::new());
    for number in 0..150 {
        let path = if number % 3 == 0 { paths::EPHEMERAL_UPLOAD } else { paths::UPLOAD };
        let mxc = alice.post(path).body(bytes(number)).await.mxc();
        if number % 3 == 0 { &mut deleted } else { &mut kept }.push((number, mxc));
    }
    let before = blobs_in(&media);
    assert_eq!(before.len(), 150);
    // The server does not know the new store yet: nothing may move.
    installation.write("tintype.toml", &configuration(&bucket, &s3, "file:media"));
    let refused = installation.run(&["blobs", "move"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("start it with the new configuration"), "{refused:?}");
    drop(serving);
    let serving = installation.serve().await;
    let alice = client(&installation, &serving);

    // Killed as soon as something was moved.
    let mut moving = installation.command(&["blobs", "move", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(moving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    moving.kill().unwrap();
    moving.wait().unwrap();
    let left = blobs_in(&media).len();
    assert!(left > 0 && left < 150, "{left} are left after: {line}");
    for (number, mxc) in kept.iter().chain(&deleted) {
        assert!(reads(&alice, mxc, *number).await, "{number}");
    }

    // Moved on, while a third is deleted and more comes.
    let mut moving = installation.command(&["blobs", "move", "--from", "file:media", "--to", &s3, "--json"]);
    let moving = spawn_blocking(move || moving.output().expect("the program starts"));
    let meanwhile = async {
        let fresh = alice.post(paths::UPLOAD).body(bytes(1000)).await.mxc();
        for (_, mxc) in &deleted {
            let answer = alice.request(Method::DELETE, paths::delete(mxc)).await;
            assert_eq!(answer.status(), 200);
        }
        fresh
    };
    let (ran, fresh) = tokio::join!(moving, meanwhile);
    let ran = Ran::from(ran.unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!((&report(&ran)["finished"], &report(&ran)["damaged"]), (&true.into(), &Value::Array(Vec::new())));

    kept.push((1000, fresh));
    for (number, mxc) in &kept {
        assert!(reads(&alice, mxc, *number).await, "{number}");
    }
    until("nothing is left in the folder", async || blobs_in(&media).is_empty()).await;
    let store = in_bucket(&bucket, &installation);
    let hashes = kept.iter().map(|(number, _)| tintype_domain::ContentHash::of(&bytes(*number))).collect::<Vec<_>>();
    let looking = async {
        for location in &before {
            let is_kept = hashes.contains(&location.content_hash());
            while is_there(&store, location).await != is_kept {
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    // What the store refuses to remove is removed by the sweep after that.
    timeout(SWEPT_WITHIN, looking).await.expect("the bucket has what is kept, and nothing else");

    // And without the old store.
    drop(serving);
    installation.write("tintype.toml", &configuration(&bucket, &s3, ""));
    let serving = installation.serve().await;
    let alice = client(&installation, &serving);
    for (number, mxc) in &kept {
        assert!(reads(&alice, mxc, *number).await, "{number}");
    }
}

#[tokio::test]
async fn blobs_go_back_from_a_bucket_to_a_folder() {
    let bucket = SeaweedFs::shared().bucket();
    let s3 = format!("s3://{}", bucket.name);
    let installation = Installation::with("");
    installation.write("tintype.toml", &configuration(&bucket, &s3, ""));
    let serving = installation.serve().await;
    let alice = client(&installation, &serving);
    let mut kept = Vec::new();
    for number in 0..10 {
        kept.push((number, alice.post(paths::UPLOAD).body(bytes(number)).await.mxc()));
    }
    drop(serving);
    installation.write("tintype.toml", &configuration(&bucket, "file:media", &s3));
    let serving = installation.serve().await;
    let alice = client(&installation, &serving);
    for (number, mxc) in &kept {
        assert!(reads(&alice, mxc, *number).await, "{number}");
    }

    let ran = installation.run(&["blobs", "move"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("10 blobs, 1 MiB, were moved to file:media\n"), "{ran:?}");
    let moved = blobs_in(&installation.path().join("tintype-data/media"));
    assert_eq!(moved.len(), 10);
    let store = in_bucket(&bucket, &installation);
    for location in &moved {
        assert!(!is_there(&store, location).await);
    }
    for (number, mxc) in &kept {
        assert!(reads(&alice, mxc, *number).await, "{number}");
    }
}

#[tokio::test]
async fn what_was_found_to_be_damaged_is_listed() {
    let installation = Installation::with("[blobs]\nscrub = '1h'\n");
    let serving = installation.serve().await;
    let mxc = client(&installation, &serving).post(paths::UPLOAD).body(bytes(0)).await.mxc();
    let ran = installation.run(&["blobs", "check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "no media is known to be damaged\n"), "{ran:?}");
    drop(serving);
    let records = Records::open_sqlite(&installation.path().join("tintype-data/tintype.db")).await.unwrap();
    let blob = records.kept_blobs(0, 1).await.unwrap().remove(0);
    let note = NoteDamage { blob, damage: Damage::Missing, now: Timestamp(7) };
    records.note_damage(note).await.unwrap();
    records.close().await;

    let ran = installation.run(&["blobs", "check", "--json"]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    let listed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&listed[0]["damage"], &listed[0]["media"][0], &listed[0]["found_at"]),
        (&"missing".into(), &mxc.to_string().into(), &7.into())
    );
    let doctor = installation.run(&["doctor"]);
    assert!(doctor.stdout.contains("FAIL  damages: the bytes of 1 blobs are damaged or missing"), "{doctor:?}");
}

#[test]
fn without_a_fallback_nothing_is_moved() {
    let installation = Installation::with("");

    let ran = installation.run(&["blobs", "move", "--from", "file:media", "--to", "file:elsewhere"]);

    assert!(ran.code == Some(1) && ran.stderr.contains("[blobs] has no fallback"), "{ran:?}");
}
