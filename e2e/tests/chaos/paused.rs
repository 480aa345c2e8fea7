//! A node that is paused for longer than it takes to be declared dead: others have what it held, and it finds out.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{self, Instant},
};

use crate::{
    client::{Answer, Outcome, PATIENCE, Request, Sending, ask},
    plan::{Content, NODES, Pace, Target},
    stage::{LOOK_EVERY, Stage},
};

/// A node is dead after ten seconds; the rest is for machines that have much to do.
const SOON: Duration = Duration::from_secs(40);

const FIRST: Content = Content { of: 0, number: 0, length: 100_000 };
const SECOND: Content = Content { of: 0, number: 1, length: 100_000 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_paused_past_its_death_wins_nothing_and_its_sweeps_go_on_elsewhere() {
    let stage = Stage::set(0).await;
    // The one with the most to lose.
    let sweeper = eventually(async || sweeper(&stage).await).await;
    let other = Target::Node((sweeper + 1) % NODES);
    let created = answer(&stage, other, "POST", "/_matrix/media/v1/create", None).await;
    let uri = created.json()["content_uri"].as_str().expect("a URI is made").to_owned();
    let name = uri.strip_prefix("mxc://").expect("it is an MXC URI");
    let path = format!("/_matrix/media/v3/upload/{name}");
    let (first, second) = (FIRST.bytes(0), SECOND.bytes(0));
    let (beginning, rest) = first.split_at(50_000);
    let mut paused = TcpStream::connect(("127.0.0.1", stage.port(Target::Node(sweeper)))).await.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n",
        stage.tokens[0],
        first.len(),
    );
    paused.write_all(head.as_bytes()).await.unwrap();
    paused.write_all(beginning).await.unwrap();
    eventually(async || one(&stage, "SELECT node FROM reservations WHERE holder IS NOT NULL").await).await;

    stage.nodes[sweeper].lock().await.pause();
    let successor = eventually(async || self::sweeper(&stage).await.filter(|node| *node != sweeper)).await;
    let won = answer(&stage, other, "PUT", &path, Some(&second)).await;
    stage.nodes[sweeper].lock().await.go_on();
    let _ = paused.write_all(rest).await;
    let mut late = Vec::new();
    let _ = paused.read_to_end(&mut late).await;

    assert_ne!(successor, sweeper);
    assert_eq!(won.status, 200, "{won:?}");
    assert!(!late.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&late));
    // It enters anew.
    eventually(async || (stage.rows("SELECT id FROM nodes").await.len() == NODES).then_some(())).await;
    for node in 0..NODES {
        let target = format!("/_matrix/client/v1/media/download/{name}");
        let read = answer(&stage, Target::Node(node), "GET", &target, None).await;
        assert_eq!(read.status, 200, "node {node}: {read:?}");
        assert!(read.body == second, "node {node} has other bytes than were acknowledged");
    }
    assert_eq!(one(&stage, "SELECT media_id FROM reservations WHERE holder IS NOT NULL").await, None);
}

/// The node that does what one of them does for all.
async fn sweeper(stage: &Stage) -> Option<usize> {
    let query = "SELECT address FROM leases JOIN nodes ON nodes.id = node WHERE name = 'sweep:due'";
    stage.node_at(&one(stage, query).await?)
}

async fn one(stage: &Stage, query: &str) -> Option<String> {
    stage.rows(query).await.into_iter().next()
}

async fn answer(stage: &Stage, to: Target, method: &str, target: &str, body: Option<&[u8]>) -> Answer {
    let pace = Pace { pieces: 1, pause: Duration::ZERO };
    let body = body.map(|bytes| Sending { bytes, pace, breaks_after: None });
    let request = Request { method, target, token: &stage.tokens[0], headers: "", body };
    match ask(stage.port(to), request, PATIENCE).await {
        Outcome::Answered(answer) => answer,
        outcome => panic!("{method} {target}: {outcome:?}"),
    }
}

async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "it is not so after {SOON:?}");
        time::sleep(LOOK_EVERY).await;
    }
}
