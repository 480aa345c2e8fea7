//! Deleting ephemeral media (MSC4425): `kill -9` at any moment of it, and storage that refuses to remove.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::support::{Client, Installation, Inventory, Random, assert_nothing_unfinished, blobs, eventually};

/// Kills, and the pieces of media that are deleted around each.
const KILLS: usize = 100;
const ROUND: usize = 8;

/// Deletes that run at once.
const AT_ONCE: usize = 4;

/// The smallest body that has a file of its own, and what is kept in the database.
const LARGE: usize = 100 * 1024;
const SMALL: usize = 1024;

/// What is known of a piece of ephemeral media when the server was killed.
struct Piece {
    content_uri: String,
    body: Vec<u8>,
    state: AtomicUsize,
}

/// The states of a [`Piece`].
const UNTOUCHED: usize = 0;
const ASKED: usize = 1;
const ANSWERED: usize = 2;

impl Piece {
    fn new(client: &Client, body: Vec<u8>) -> Self {
        let content_uri = client.upload_ephemeral(&body).expect("the server runs");
        Self { content_uri, body, state: AtomicUsize::new(UNTOUCHED) }
    }

    fn delete(&self, client: &Client) {
        self.state.store(ASKED, Ordering::SeqCst);
        // The server may be gone.
        if let Ok(answer) = client.delete(&self.content_uri) {
            assert_eq!(answer.status, 200, "{}", self.content_uri);
            self.state.store(ANSWERED, Ordering::SeqCst);
        }
    }

    /// Asserts that it is whole or gone, whichever its state allows, and returns whether it is whole.
    fn is_whole(&self, client: &Client) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        if state == UNTOUCHED {
            client.assert_whole(&self.content_uri, &self.body);
            return true;
        }
        let response = client.download(&self.content_uri).expect("the server runs");
        if response.status == 404 {
            return false;
        }
        assert_eq!((response.status, state), (200, ASKED), "{} was deleted", self.content_uri);
        assert!(response.body == self.body, "{} is not what was uploaded", self.content_uri);
        true
    }
}

/// Waits until there are so many files of blobs.
fn wait_for_files(media_dir: &Path, files: usize) {
    eventually("only the files that are needed are left", || blobs(media_dir).len() == files);
}

#[test]
fn every_acknowledged_delete_survives_kills_and_nothing_else_is_lost() {
    let mut random = Random::new(Random::seed());
    let installation = Installation::new("");
    let server = installation.start();
    // What shares its bytes with media that is deleted in every round.
    let shared = random.bytes(LARGE);
    let kept = server.client().upload("kept", &shared).unwrap().content_uri();
    server.kill();
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut answered, mut unanswered, mut gone) = (0, 0, 0);

    for _ in 0..KILLS {
        let server = installation.start();
        let client = server.client();
        client.assert_whole(&kept, &shared);
        // What the last kill left: whole or gone. What is whole is deleted in this round.
        let known = pieces.iter().filter(|piece| piece.state.load(Ordering::SeqCst) == ANSWERED).count();
        let before = pieces.len();
        pieces.retain(|piece| piece.is_whole(&client));
        gone += before - known - pieces.len();
        let survivors = pieces.iter().filter(|piece| piece.body.len() >= LARGE && piece.body != shared).count();
        wait_for_files(&installation.media_dir(), 1 + survivors);
        while pieces.len() < ROUND {
            let body = match random.below(4) {
                0 => shared.clone(),
                1 => random.bytes(SMALL),
                _ => random.bytes(LARGE),
            };
            pieces.push(Piece::new(&client, body));
        }
        for piece in &pieces {
            piece.state.store(UNTOUCHED, Ordering::SeqCst);
        }
        let asked = 1 + usize::try_from(random.below(ROUND as u64)).expect("it is less than a round");
        let later = Duration::from_micros(random.below(3_000));
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::SeqCst)) {
                        piece.delete(&client);
                    }
                });
            }
            // The moment of the kill is what is random here: after so many were asked for, and a little more, so that it
            // falls among them on a machine of any speed.
            while next.load(Ordering::SeqCst) < asked {
                thread::yield_now();
            }
            thread::sleep(later);
            server.kill();
        });
        let states = pieces.iter().map(|piece| piece.state.load(Ordering::SeqCst));
        let in_this_round = states.filter(|&state| state == ANSWERED).count();
        answered += in_this_round;
        unanswered += pieces.len() - in_this_round;
        // What the kill left is consistent before anything repairs it.
        Inventory::take(&installation.data_dir());
    }

    println!("{KILLS} kills, {answered} deletes answered, {unanswered} not, {gone} of these done all the same");
    assert!(answered >= KILLS / 2 && unanswered >= KILLS / 2, "kills fell among the deletes");
    let mut server = installation.start();
    let client = server.client();
    client.assert_whole(&kept, &shared);
    pieces.retain(|piece| piece.is_whole(&client));
    for piece in &pieces {
        assert_eq!(client.delete(&piece.content_uri).unwrap().status, 200);
    }
    wait_for_files(&installation.media_dir(), 1);
    server.terminate();
    server.exit();
    assert_nothing_unfinished(&installation.media_dir());
    assert_eq!(Inventory::take(&installation.data_dir()).media.len(), 1);
}

#[test]
fn what_storage_refuses_to_remove_is_unreadable_and_goes_when_it_can() {
    let installation = Installation::new("");
    let media_dir = installation.media_dir();
    let server = installation.start();
    let body = Random::new(Random::seed()).bytes(LARGE);
    let content_uri = server.client().upload_ephemeral(&body).unwrap();
    let file = blobs(&media_dir).pop().expect("it is in a file");
    // A folder that is not empty cannot be removed as a file, not even by root.
    let aside = media_dir.join("tmp/aside");
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    fs::rename(&aside, file.join("bytes")).unwrap();

    assert_eq!(server.client().delete(&content_uri).unwrap().status, 200);

    assert_eq!(server.client().download(&content_uri).unwrap().status, 404);
    eventually("it is counted", || server.metric("tintype_removals_pending") == 1);
    server.kill();
    assert_eq!(Inventory::take(&installation.data_dir()).removals.len(), 1);

    let server = installation.start();
    server.wait_for_log(&["a file could not be removed"]);
    eventually("it is counted", || server.metric("tintype_removals_pending") == 1);
    assert_eq!(server.client().download(&content_uri).unwrap().status, 404);
    assert_eq!(server.client().delete(&content_uri).unwrap().status, 404);
    server.kill();

    fs::rename(file.join("bytes"), &aside).unwrap();
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    let mut server = installation.start();
    assert_eq!(server.client().download(&content_uri).unwrap().status, 404);
    wait_for_files(&media_dir, 0);
    eventually("nothing is owed", || server.metric("tintype_removals_pending") == 0);
    server.terminate();
    server.exit();
    assert_eq!(Inventory::take(&installation.data_dir()).removals.len(), 0);
}
