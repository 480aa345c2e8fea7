//! What happens at the same moment: two uploads to one URI, and downloads beside the end of an upload.
//!
//! Requests go over connections that are kept, without an HTTP library between: what is measured is the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tintype_domain::Mxc;
use tintype_testing::{Client, Connection, Response, TestServer, paths};
use tokio::{
    sync::{Barrier, Mutex},
    task::{JoinSet, yield_now},
    time::sleep,
};

/// How many pairs of uploads are raced, and on how many lanes at once.
const RACES: usize = 1000;
const LANES: usize = 8;

/// How many downloads are raced against the end of their upload, and how many of them at once.
const DOWNLOADS: usize = 10_000;
const AT_ONCE: usize = 20;

/// How long a download may take to hear of the end of its upload.
const PROMPTLY: Duration = Duration::from_millis(50);

/// How many rounds the machine may hold up.
const HELD_UP: usize = 3;

fn put(user: &Client, mxc: &Mxc, length: usize) -> String {
    let (path, token) = (paths::put(mxc), user.token());
    format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn get(user: &Client, mxc: &Mxc) -> String {
    let (path, token) = (paths::download(mxc), user.token());
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// Gives way to others, more or less often: a tiny offset in time.
async fn a_moment(seed: usize) {
    for _ in 0..scattered(seed) % 61 {
        yield_now().await;
    }
}

/// A number that says little about the one it is made of.
fn scattered(seed: usize) -> usize {
    seed.wrapping_mul(2_654_435_761) >> 8
}

async fn upload(connection: &mut Connection, head: String, body: Vec<u8>, seed: usize) -> Response {
    connection.send(head).await;
    a_moment(seed).await;
    connection.send(body).await;
    connection.response().await
}

/// Races two uploads to a new URI, over two connections. The one wins, the other is refused, and what is stored is the
/// winner's.
async fn race(user: &Client, connections: &mut [Connection; 2], seed: usize) {
    let mxc = user.create().await;
    // Most lie beside their record, some in files.
    let length = if seed.is_multiple_of(10) { 70_000 } else { 100 + seed % 100 };
    let bodies = [vec![b'a'; length], vec![b'b'; length]];
    let [first, second] = connections;

    let (first, second) = tokio::join!(
        upload(first, put(user, &mxc, length), bodies[0].clone(), seed),
        upload(second, put(user, &mxc, length), bodies[1].clone(), seed + RACES),
    );

    let (winner, loser) = if first.status() == 200 { (&bodies[0], second) } else { (&bodies[1], first) };
    assert_eq!(loser.error(), (409, "M_CANNOT_OVERWRITE_MEDIA".to_owned()), "race {seed}");
    let stored = user.get(paths::download(&mxc)).await;
    assert!(stored.bytes() == winner, "race {seed}: what is stored is not what was acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_once_exactly_one_wins() {
    let server = TestServer::unlimited("").await;
    let alice = server.user("alice").await;
    let mut lanes = JoinSet::new();

    for lane in 0..LANES {
        let (alice, mut connections) = (alice.clone(), [server.connect().await, server.connect().await]);
        lanes.spawn(async move {
            for seed in (lane..RACES).step_by(LANES) {
                race(&alice, &mut connections, seed).await;
            }
        });
    }

    while let Some(lane) = lanes.join_next().await {
        lane.expect("each race has one winner");
    }
    assert_eq!(server.metric("tintype_uploads_total").await, RACES as u64);
    assert_eq!(server.metric("tintype_reservations_pending").await, 0);
}

/// Continues an upload over a connection that is closed afterwards; the status, unless another request took its place.
async fn go_on(mut connection: Connection, head: String, rest: Vec<u8>, seed: usize) -> Option<u16> {
    connection.send(head).await;
    a_moment(seed).await;
    connection.send(rest).await;
    connection.head_or_end().await.map(|(status, _)| status.as_u16())
}

fn patch(user: &Client, mxc: &Mxc, offset: usize, length: usize) -> String {
    let headers = "Content-Type: application/partial-upload\r\nUpload-Complete: ?1";
    put(user, mxc, length).replacen("PUT", "PATCH", 1).replacen(
        "\r\n",
        &format!("\r\n{headers}\r\nUpload-Offset: {offset}\r\n"),
        1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_continuations_at_once_never_mix_their_bytes() {
    const START: usize = 1000;
    const REST: usize = 40_000;
    let server = TestServer::unlimited("").await;
    let alice = server.user("alice").await;

    for seed in 0..200 {
        let mxc = alice.create().await;
        assert_eq!(alice.put(&mxc).incomplete().body(vec![b'-'; START]).await.status(), 201);
        let head = patch(&alice, &mxc, START, REST);
        let statuses = tokio::join!(
            go_on(server.connect().await, head.clone(), vec![b'a'; REST], seed),
            go_on(server.connect().await, head, vec![b'b'; REST], seed + 7),
        );

        // Both may have given way to each other: then it goes on with what is there.
        let asked = alice.head(paths::put(&mxc)).await;
        let offset: usize = asked.header("upload-offset").parse().expect("the upload is somewhere");
        if asked.header("upload-complete") == "?0" {
            assert!(
                !matches!(statuses, (Some(200), _) | (_, Some(200))),
                "round {seed}: {statuses:?}, and at {offset}"
            );
            let left = START + REST - offset;
            assert_eq!(alice.patch(&mxc, offset).complete().body(vec![b'-'; left]).await.status(), 200);
        }
        let stored = alice.get(paths::download(&mxc)).await;
        assert_eq!(stored.bytes().len(), START + REST);
        let of_both = stored.bytes()[START..offset].windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(of_both, 0, "round {seed}: the bytes of both are in it");
    }
}

/// Downloads that are raced against the end of their upload, and who uploads.
struct Race {
    alice: Client,
    sender: Connection,
    readers: Vec<Connection>,
}

/// What a reader asks for and has to get.
struct Expected {
    request: String,
    body: Vec<u8>,
}

/// Downloads, and says when that was asked for and when the answer was there.
async fn read(connection: &mut Connection, expected: &Expected) -> (Instant, Instant) {
    let asked = Instant::now();
    connection.send(&expected.request).await;
    let answer = connection.response().await;
    let answered = Instant::now();
    assert_eq!((answer.status(), &answer.bytes()[..]), (200, &expected.body[..]));
    (asked, answered)
}

impl Race {
    async fn new(server: &TestServer) -> Self {
        let mut readers = Vec::new();
        for _ in 0..AT_ONCE {
            readers.push(server.connect().await);
        }
        Self { alice: server.user("alice").await, sender: server.connect().await, readers }
    }

    /// Uploads, and has all readers download that at about the same time. Returns how long after the end of the upload
    /// the last of them had its answer; of those who asked only then, how long after that.
    async fn run(&mut self, round: usize) -> Duration {
        let mxc = self.alice.create().await;
        let body = format!("round {round}").into_bytes();
        let (most, last) = body.split_at(body.len() - 1);
        let expected = Arc::new(Expected { request: get(&self.alice, &mxc), body: body.clone() });
        let begin = Arc::new(Barrier::new(AT_ONCE + 1));
        let mut reading = JoinSet::new();
        for (number, mut connection) in self.readers.drain(..).enumerate() {
            let (expected, begin) = (Arc::clone(&expected), Arc::clone(&begin));
            let seed = round * AT_ONCE + number;
            reading.spawn(async move {
                begin.wait().await;
                // Before, during and after the upload: the moment is what is random here.
                sleep(Duration::from_millis(scattered(seed) as u64 % 6)).await;
                a_moment(seed).await;
                let times = read(&mut connection, &expected).await;
                (connection, times)
            });
        }

        self.sender.send(put(&self.alice, &mxc, body.len())).await;
        begin.wait().await;
        a_moment(round + 1).await;
        self.sender.send(most).await;
        a_moment(round + 2).await;
        self.sender.send(last).await;
        assert_eq!(self.sender.response().await.status(), 200);
        let stored = Instant::now();

        let mut slowest = Duration::ZERO;
        while let Some(reader) = reading.join_next().await {
            let (connection, (asked, answered)) = reader.expect("the download is whole");
            self.readers.push(connection);
            slowest = slowest.max(answered.saturating_duration_since(stored.max(asked)));
        }
        slowest
    }
}

/// Races downloads against the end of their upload, and checks that each was answered promptly after it.
async fn nobody_sleeps_through_the_end(config: &str) {
    // Each of these takes all the cores there are, and the time that it takes is what is tested.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let server = TestServer::unlimited(config).await;
    let mut race = Race::new(&server).await;
    let mut slowest = Duration::ZERO;
    let mut held_up = 0;

    for round in 0..DOWNLOADS / AT_ONCE {
        let mut late = race.run(round).await;
        if late > PROMPTLY && held_up < HELD_UP {
            // The machine may have been busy elsewhere: then it is not late again. A wake-up that is lost never comes,
            // and one that is left to a timer is late each time.
            held_up += 1;
            late = race.run(round).await;
        }
        slowest = slowest.max(late);
    }

    println!("the slowest of {DOWNLOADS} was answered {slowest:?} after the end of its upload ({held_up} held up)");
    assert!(slowest <= PROMPTLY, "a download was answered {slowest:?} after the end of its upload");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_download_that_streams_sleeps_through_the_end_of_its_upload() {
    nobody_sleeps_through_the_end("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_download_that_waits_sleeps_through_the_end_of_its_upload() {
    nobody_sleeps_through_the_end("async.stream = false").await;
}
