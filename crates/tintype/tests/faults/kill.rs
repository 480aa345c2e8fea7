//! `kill -9` at any moment of many uploads: what was acknowledged is whole, and nothing else is there.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{Client, Connection, Installation, Inventory, Random, assert_nothing_unfinished, eventually};

/// Uploads that are begun, over all kills.
const UPLOADS: usize = 200;

/// Uploads between two kills, and the connections that they come on.
const ROUND: usize = 8;
const CONNECTIONS: usize = 4;

/// Bytes sent at once: fine enough that a kill can fall between them.
const PIECE: usize = 16 * 1024;

/// The bytes of an upload. One in eight has the bytes of another, so that kills also fall into deduplication.
fn body(seed: u64, upload: usize) -> Vec<u8> {
    let original = if upload % 8 == 7 { upload - 3 } else { upload };
    let mut random = Random::new(seed ^ original as u64);
    let length = match random.below(8) {
        0..3 => random.below(16 * 1024),
        3..5 => 64 * 1024 - 2 + random.below(4),
        5..7 => 100 * 1024 + random.below(500 * 1024),
        _ => 1024 * 1024 + random.below(5 * 1024 * 1024),
    };
    random.bytes(usize::try_from(length).unwrap())
}

/// Uploads and returns the URI, counting what was sent. Fails when the server dies.
fn upload(
    client: &Client,
    connection: &mut Connection,
    name: &str,
    body: &[u8],
    sent: &AtomicU64,
) -> io::Result<String> {
    connection.send(client.upload_head(name, body.len()).as_bytes())?;
    for piece in body.chunks(PIECE) {
        connection.send(piece)?;
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    Ok(connection.response()?.content_uri())
}

#[test]
fn every_acknowledged_upload_survives_kills_and_nothing_else_is_left() {
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let installation = Installation::new("");
    let acknowledged = Mutex::new(BTreeMap::new());
    let mut begun_in_all = 0;
    let mut kills = 0;

    while begun_in_all < UPLOADS {
        let server = installation.start();
        let client = server.client();
        let uploads = begun_in_all..UPLOADS.min(begun_in_all + ROUND);
        let bodies: Vec<_> = uploads.clone().map(|upload| body(seed, upload)).collect();
        let total: u64 = bodies.iter().map(|body| body.len() as u64).sum();
        let (begun, ended, sent) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        // Either while bytes are arriving, or when they have arrived and are being synced, named and recorded.
        let kill_at = if random.below(2) == 0 { random.below(total + 1) } else { total };
        let kill_after = Duration::from_micros(random.below(20_000));
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut connection = Connection::open(client.address);
                    // The server may be gone before this begins.
                    while let Ok(connection) = &mut connection {
                        let index = begun.fetch_add(1, Ordering::Relaxed);
                        let Some(body) = bodies.get(index) else { break };
                        let name = format!("upload-{}", uploads.start + index);
                        match upload(&client, connection, &name, body, &sent) {
                            Ok(uri) => acknowledged.lock().unwrap().insert(uri, name),
                            Err(_) => break,
                        };
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
            eventually("the moment of the kill", || {
                sent.load(Ordering::Relaxed) >= kill_at || ended.load(Ordering::Relaxed) == CONNECTIONS
            });
            // The moment of the kill is what is random here.
            thread::sleep(kill_after);
            server.kill();
        });
        begun_in_all += begun.into_inner().min(bodies.len());
        kills += 1;
        if random.below(4) == 0 {
            // While it starts, and perhaps sweeps.
            let mut starting = installation.command().stderr(std::process::Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_micros(random.below(60_000)));
            starting.kill().unwrap();
            starting.wait().unwrap();
            kills += 1;
        }
    }

    let acknowledged = acknowledged.into_inner().unwrap();
    println!("{kills} kills, {} of {begun_in_all} uploads acknowledged", acknowledged.len());
    assert!(kills >= UPLOADS / ROUND);
    let server = installation.start();
    assert_nothing_unfinished(&installation.media_dir());
    let inventory = Inventory::take(&installation.data_dir());
    let listed: BTreeMap<_, _> = inventory.media.into_iter().map(|media| (media.content_uri, media.filename)).collect();
    for (uri, name) in &acknowledged {
        assert_eq!(listed.get(uri), Some(name), "{uri} was acknowledged");
    }
    // A kill between the commit and the answer leaves an upload that its client does not know of: whole, and once.
    let mut names: Vec<_> = listed.values().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), listed.len(), "no upload is listed twice");
    for (uri, name) in &listed {
        let upload = name.strip_prefix("upload-").and_then(|number| number.parse().ok()).expect("it is one of ours");
        server.client().assert_whole(uri, &body(seed, upload));
    }
}
