//! Uploads to reserved URIs, when the server or its client goes away in the middle: nobody holds a reservation for
//! ever, no stump is taken for the whole, and what was acknowledged of a resumable upload is kept.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    Client, Connection, Installation, Inventory, Random, assert_nothing_unfinished, closes_within, eventually, partial,
    unfinished,
};

const MIB: usize = 1024 * 1024;

/// As many reservations as a test likes.
const MANY: &str = "limits.max_pending_uploads = 1000000";

/// Begins an upload, and returns when the server has the beginning of it.
fn begin(client: &Client, head: &str, uri: &str, bytes: &[u8]) -> Connection {
    let mut upload = client.connect();
    upload.send(head.as_bytes()).unwrap();
    upload.send(bytes).unwrap();
    // What can be read has arrived.
    let mut reader = client.connect();
    reader.send(client.download_head(uri).as_bytes()).unwrap();
    assert_eq!(reader.head().unwrap().status, 200);
    assert!(reader.read(bytes.len()).unwrap() == bytes);
    upload
}

/// Begins a resumable upload of which this is the first half, breaks it off, and returns when the server knows it.
fn interrupt(client: &Client, uri: &str, half: &[u8]) {
    drop(begin(client, &client.resumable_head(uri, 2 * half.len()), uri, half));
    eventually("the upload is interrupted", || client.progress(uri).unwrap() == (204, Some(half.len())));
}

#[test]
fn a_killed_server_gives_every_reservation_back_and_keeps_no_stumps() {
    let installation = Installation::new(MANY);
    let server = installation.start();
    let client = server.client();
    let bodies: Vec<_> = [1000, 60_000, 70_000, 300_000, 2 * MIB].map(|size| Random::new(1).bytes(size)).into();
    let uris: Vec<_> = bodies.iter().map(|_| client.create().unwrap()).collect();
    let mut readers: Vec<_> = bodies.iter().map(|_| client.connect()).collect();
    let uploads: Vec<_> = uris
        .iter()
        .zip(&bodies)
        .map(|(uri, body)| begin(&client, &client.put_head(uri, body.len()), uri, &body[..body.len() / 2]))
        .collect();
    for (reader, uri) in readers.iter_mut().zip(&uris) {
        reader.send(client.download_head(uri).as_bytes()).unwrap();
        assert_eq!(reader.head().unwrap().status, 200);
    }

    server.kill();

    let server = installation.start();
    assert_nothing_unfinished(&installation.media_dir());
    assert_eq!(Inventory::take(&installation.data_dir()).media.len(), 0);
    let client = server.client();
    for ((uri, body), mut reader) in uris.iter().zip(&bodies).zip(readers) {
        assert!(body[..body.len() / 2].starts_with(&reader.read_to_end()));
        assert_eq!(client.progress(uri).unwrap(), (204, Some(0)));
        assert_eq!(client.put(uri, body).unwrap().status, 200);
        client.assert_whole(uri, body);
    }
    drop(uploads);
}

#[test]
fn what_a_resumable_upload_had_brought_survives_a_kill() {
    for size in [1000, 70_000, 2 * MIB] {
        let installation = Installation::new("");
        let server = installation.start();
        let client = server.client();
        let body = Random::new(2).bytes(2 * size);
        let uri = client.create().unwrap();
        interrupt(&client, &uri, &body[..size]);

        server.kill();

        let server = installation.start();
        let client = server.client();
        assert_eq!(client.progress(&uri).unwrap(), (204, Some(size)));
        assert_eq!(client.patch(&uri, size, &body[size..]).unwrap().status, 200);
        client.assert_whole(&uri, &body);
        assert_eq!(Inventory::take(&installation.data_dir()).media.len(), 1);
    }
}

#[test]
fn what_was_under_way_at_a_kill_is_sent_again_from_where_it_was_recorded() {
    let installation = Installation::new("");
    let server = installation.start();
    let client = server.client();
    let body = Random::new(3).bytes(2 * MIB);
    let (begun, continued) = (client.create().unwrap(), client.create().unwrap());
    let first = begin(&client, &client.resumable_head(&begun, body.len()), &begun, &body[..MIB]);
    interrupt(&client, &continued, &body[..MIB]);
    let mut second = client.connect();
    second.send(client.patch_head(&continued, MIB, MIB).as_bytes()).unwrap();
    second.send(&body[MIB..MIB + 300_000]).unwrap();
    let mut reader = client.connect();
    reader.send(client.download_head(&continued).as_bytes()).unwrap();
    reader.head().unwrap();
    assert!(reader.read(MIB + 300_000).unwrap() == body[..MIB + 300_000]);

    server.kill();

    let server = installation.start();
    let client = server.client();
    assert_eq!(client.progress(&begun).unwrap(), (204, Some(0)));
    assert_eq!(client.progress(&continued).unwrap(), (204, Some(MIB)));
    let kept: Vec<_> = partial(&installation.media_dir()).iter().map(|path| path.metadata().unwrap().len()).collect();
    assert_eq!(kept, [MIB as u64], "what was recorded is kept, and nothing else");
    assert_eq!(client.put(&begun, &body).unwrap().status, 200);
    assert_eq!(client.patch(&continued, MIB, &body[MIB..]).unwrap().status, 200);
    for uri in [&begun, &continued] {
        client.assert_whole(uri, &body);
    }
    Inventory::take(&installation.data_dir());
    drop((first, second));
}

#[test]
fn a_lost_file_of_an_interrupted_upload_does_not_stop_the_server() {
    let installation = Installation::new(MANY);
    let server = installation.start();
    let client = server.client();
    let body = Random::new(4).bytes(2 * MIB);
    let [removed, truncated] = [client.create().unwrap(), client.create().unwrap()];
    interrupt(&client, &removed, &body[..MIB]);
    let file = partial(&installation.media_dir()).remove(0);
    interrupt(&client, &truncated, &body[..MIB]);
    let other = partial(&installation.media_dir()).into_iter().find(|path| *path != file).unwrap();
    server.kill();
    std::fs::remove_file(file).unwrap();
    std::fs::File::options().write(true).open(other).unwrap().set_len(1000).unwrap();

    let server = installation.start();

    let client = server.client();
    for uri in [&removed, &truncated] {
        assert_eq!(client.progress(uri).unwrap(), (204, Some(0)));
        assert_eq!(client.put(uri, &body).unwrap().status, 200);
        client.assert_whole(uri, &body);
    }
    assert_nothing_unfinished(&installation.media_dir());
    Inventory::take(&installation.data_dir());
}

#[test]
fn an_upload_that_stops_in_the_middle_is_cut_and_its_uri_is_free() {
    let installation = Installation::new("http.body_idle_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let body = Random::new(5).bytes(2 * MIB);
    let uri = client.create().unwrap();
    let mut upload = begin(&client, &client.put_head(&uri, body.len()), &uri, &body[..MIB]);
    let mut reader = client.connect();
    reader.send(client.download_head(&uri).as_bytes()).unwrap();
    let head = reader.head().unwrap();

    let answer = upload.response().unwrap();

    assert_eq!((answer.status, answer.field("errcode")), (408, "M_UNKNOWN".to_owned()));
    assert!(closes_within(&upload, Duration::from_secs(5)), "the connection stays open");
    assert_eq!(head.length, body.len());
    assert!(reader.read_to_end().len() < body.len());
    eventually("the temporary file is removed", || unfinished(&installation.media_dir()).is_empty());
    assert_eq!(client.put(&uri, &body).unwrap().status, 200);
    client.assert_whole(&uri, &body);
}

#[test]
fn a_resumable_upload_that_stops_in_the_middle_is_kept() {
    let installation = Installation::new("http.body_idle_timeout = \"1s\"");
    let server = installation.start();
    let client = server.client();
    let body = Random::new(6).bytes(2 * MIB);
    let uri = client.create().unwrap();
    let mut upload = begin(&client, &client.resumable_head(&uri, body.len()), &uri, &body[..MIB]);

    assert_eq!(upload.response().unwrap().status, 408);

    assert_eq!(client.progress(&uri).unwrap(), (204, Some(MIB)));
    assert_eq!(client.patch(&uri, MIB, &body[MIB..]).unwrap().status, 200);
    client.assert_whole(&uri, &body);
}

#[test]
fn nobody_waits_for_a_server_that_stops() {
    let installation = Installation::new("");
    let mut server = installation.start();
    let client = server.client();
    let uri = client.create().unwrap();
    let mut waiting = client.connect();
    waiting.send(client.download_head(&uri).as_bytes()).unwrap();
    eventually("the download waits", || server.metric("tintype_downloads_waiting") == 1);

    server.terminate();

    let answer = waiting.response().unwrap();
    assert_eq!((answer.status, answer.field("errcode")), (504, "M_NOT_YET_UPLOADED".to_owned()));
    assert_eq!(server.exit().code(), Some(0));
}

/// Uploads that are begun between two kills, on how many connections, and how often that is done.
const ROUND: usize = 8;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 12;

/// Bytes sent at once: fine enough that a kill can fall between them.
const PIECE: usize = 16 * 1024;

/// What is known of an upload to a reserved URI.
struct Begun {
    uri: String,
    body: Vec<u8>,
    acknowledged: bool,
}

/// Every second upload can be continued; of these, every second one breaks off in the middle and goes on.
fn upload(client: &Client, kind: usize, uri: &str, body: &[u8], sent: &AtomicU64) -> std::io::Result<bool> {
    let mut connection = Connection::open(client.address)?;
    let pass_on = |connection: &mut Connection, bytes: &[u8]| {
        bytes.chunks(PIECE).try_for_each(|piece| {
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            connection.send(piece)
        })
    };
    if kind.is_multiple_of(2) {
        connection.send(client.put_head(uri, body.len()).as_bytes())?;
        pass_on(&mut connection, body)?;
        return Ok(connection.response()?.status == 200);
    }
    connection.send(client.resumable_head(uri, body.len()).as_bytes())?;
    if kind % 4 == 1 {
        pass_on(&mut connection, body)?;
        return Ok(connection.response()?.status == 200);
    }
    pass_on(&mut connection, &body[..body.len() / 2])?;
    let mut progress = client.progress(uri)?;
    // The request before may just be beginning.
    while progress.0 == 409 {
        progress = client.progress(uri)?;
    }
    let (204, Some(offset)) = progress else { panic!("how far an upload is was answered with {progress:?}") };
    let mut connection = Connection::open(client.address)?;
    connection.send(client.patch_head(uri, offset, body.len() - offset).as_bytes())?;
    pass_on(&mut connection, &body[offset..])?;
    Ok(connection.response()?.status == 200)
}

/// Checks what became of an upload, and ends it if it was not acknowledged.
fn finish(client: &Client, Begun { uri, body, acknowledged }: &Begun) {
    let (status, offset) = client.progress(uri).unwrap();
    let offset = offset.unwrap_or_else(|| panic!("{uri} is not known any more: {status}"));
    assert!(offset == body.len() || !acknowledged, "{uri} was acknowledged, and {offset} bytes are there");
    let answer = client.patch(uri, offset, &body[offset..]).unwrap();
    assert_eq!(answer.status, 200, "{uri}: {}", String::from_utf8_lossy(&answer.body));
    client.assert_whole(uri, body);
}

#[test]
fn every_reservation_survives_kills_with_what_was_acknowledged_and_can_be_fulfilled() {
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let installation = Installation::new(MANY);
    let mut all = 0;

    for _ in 0..ROUNDS {
        let server = installation.start();
        assert_nothing_unfinished(&installation.media_dir());
        let client = server.client();
        let begun: Vec<_> = (0..ROUND)
            .map(|_| {
                let size = [1000, 60_000, 300_000, 3 * MIB][usize::try_from(random.below(4)).unwrap()];
                let size = size + usize::try_from(random.below(1000)).unwrap();
                let body = random.bytes(size);
                Mutex::new(Begun { uri: client.create().unwrap(), body, acknowledged: false })
            })
            .collect();
        let total: u64 = begun.iter().map(|begun| begun.lock().unwrap().body.len() as u64).sum();
        let (next, ended, sent) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        let kill_at = random.below(total + total / 4);
        let kill_after = Duration::from_micros(random.below(10_000));
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    while let Some(begun) = begun.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut begun = begun.lock().unwrap();
                        let Begun { uri, body, .. } = &*begun;
                        // The length is as random as anything.
                        match upload(&client, body.len(), uri, body, &sent) {
                            Ok(acknowledged) => begun.acknowledged = acknowledged,
                            Err(_) => break,
                        }
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

        let server = installation.start();
        for begun in &begun {
            finish(&server.client(), &begun.lock().unwrap());
        }
        all += ROUND;
        server.kill();
    }

    let server = installation.start();
    assert_nothing_unfinished(&installation.media_dir());
    assert_eq!(partial(&installation.media_dir()).len(), 0);
    assert_eq!(Inventory::take(&installation.data_dir()).media.len(), all);
    drop(server);
}
