//! Media that is read while it is still uploaded.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tintype_client::{Client, Download, Error, Mxc, Resumable, Retry, Source};
use tintype_testing::{pattern, until};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{relay::Cut, server::Server};

/// More than any buffer on the way.
const HALF: usize = 1_500_000;

/// Never reached in a test that passes.
const LONG_ENOUGH: Duration = Duration::from_mins(1);

/// A plain upload whose bytes come when the test sends them. It ends when it is closed.
struct Slow {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    put: JoinHandle<Result<(), Error>>,
}

impl Slow {
    fn start(client: &Client, mxc: &Mxc, length: Option<usize>) -> Self {
        let (pieces, receiver) = mpsc::channel(4);
        let mut source = Source::stream(received(receiver));
        if let Some(length) = length {
            source = source.with_length(length as u64);
        }
        let put = client.put(mxc, source).resumable(Resumable::Never);
        Self { pieces, put: tokio::spawn(put.into_future()) }
    }

    async fn send(&self, bytes: &[u8]) {
        self.pieces.send(Ok(Bytes::copy_from_slice(bytes))).await.expect("it is being sent");
    }

    async fn end(self) -> Result<(), Error> {
        drop(self.pieces);
        self.put.await.expect("it does not panic")
    }

    async fn break_off(self) {
        self.pieces.send(Err(io::Error::other("the camera is gone"))).await.expect("it is being sent");
        self.put.await.expect("it does not panic").expect_err("it is not whole");
    }
}

fn received(receiver: mpsc::Receiver<io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
}

/// Uploads as soon as the server has noticed that the earlier request is over.
async fn put_again(client: &Client, mxc: &Mxc, bytes: &[u8]) {
    until("the reservation is free", async || {
        client.put(mxc, bytes.to_vec()).resumable(Resumable::Never).await.is_ok()
    })
    .await;
}

/// Reads up to this position.
async fn read_to(download: &mut Download, position: usize, read: &mut BytesMut) -> Result<(), Error> {
    while read.len() < position {
        read.extend_from_slice(&download.chunk().await?.expect("there is more"));
    }
    Ok(())
}

#[tokio::test]
async fn the_first_half_is_read_before_the_second_is_sent() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let whole = pattern(2 * HALF);

    for length in [Some(whole.len()), None] {
        let mxc = alice.create().await.unwrap().mxc;
        let slow = Slow::start(&alice, &mxc, length);
        slow.send(&whole[..HALF]).await;
        let mut read = BytesMut::new();
        let mut download = bob.download(&mxc).wait(LONG_ENOUGH).await.unwrap();
        // What a connection holds back is less than this.
        read_to(&mut download, HALF - 256 * 1024, &mut read).await.unwrap();
        assert_eq!(download.length(), length.map(|length| length as u64));

        slow.send(&whole[HALF..]).await;
        slow.end().await.unwrap();

        read_to(&mut download, whole.len(), &mut read).await.unwrap();
        assert_eq!(download.chunk().await.unwrap(), None);
        assert!(read == whole);
    }
}

#[tokio::test]
async fn a_reader_who_is_cut_off_reads_on_while_it_still_arrives() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let whole = pattern(2 * HALF);

    for length in [Some(whole.len()), None] {
        let bob = server.client("bob").await;
        let mxc = alice.create().await.unwrap().mxc;
        let slow = Slow::start(&alice, &mxc, length);
        slow.send(&whole[..HALF]).await;
        server.relay.cut(Cut::Downwards(HALF / 2));
        let mut read = BytesMut::new();
        let mut download = bob.download(&mxc).wait(LONG_ENOUGH).await.unwrap();
        read_to(&mut download, HALF - 256 * 1024, &mut read).await.unwrap();
        assert!(server.relay.has_cut());

        slow.send(&whole[HALF..]).await;
        slow.end().await.unwrap();

        read_to(&mut download, whole.len(), &mut read).await.unwrap();
        assert_eq!(download.chunk().await.unwrap(), None);
        assert!(read == whole);
    }
}

#[tokio::test]
async fn a_reader_who_is_cut_off_reads_on_after_it_was_stored() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let bob = server.builder("bob").await.retry(Retry::NEVER).build().unwrap();
    let whole = pattern(2 * HALF);
    let mxc = alice.create().await.unwrap().mxc;
    let slow = Slow::start(&alice, &mxc, None);
    slow.send(&whole[..HALF]).await;
    server.relay.cut(Cut::Downwards(HALF / 2));
    let mut read = BytesMut::new();
    let mut download = bob.download(&mxc).wait(LONG_ENOUGH).await.unwrap();
    let arriving = download.etag().unwrap().to_owned();
    let error = read_to(&mut download, HALF, &mut read).await.unwrap_err();

    slow.send(&whole[HALF..]).await;
    slow.end().await.unwrap();
    read_to(&mut download, whole.len(), &mut read).await.unwrap();

    assert!(error.is_transient(), "{error:?}");
    assert_eq!(download.chunk().await.unwrap(), None);
    assert_ne!(download.etag(), Some(arriving.as_str()));
    assert!(read == whole);
}

#[tokio::test]
async fn a_reader_does_not_notice_that_the_sender_had_to_begin_again() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let whole = pattern(2 * HALF);
    let mxc = alice.create().await.unwrap().mxc;
    let slow = Slow::start(&alice, &mxc, Some(whole.len()));
    slow.send(&whole[..HALF]).await;
    let mut read = BytesMut::new();
    let mut download = bob.download(&mxc).wait(LONG_ENOUGH).await.unwrap();
    read_to(&mut download, HALF / 2, &mut read).await.unwrap();

    slow.break_off().await;
    let (rest, ()) = tokio::join!(read_to(&mut download, whole.len(), &mut read), put_again(&alice, &mxc, &whole));

    rest.unwrap();
    assert!(read == whole);
}

#[tokio::test]
async fn a_reader_is_not_given_the_rest_of_something_else() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let whole = pattern(2 * HALF);
    let mxc = alice.create().await.unwrap().mxc;
    let slow = Slow::start(&alice, &mxc, Some(whole.len()));
    slow.send(&whole[..HALF]).await;
    let mut read = BytesMut::new();
    let mut download = bob.download(&mxc).wait(LONG_ENOUGH).await.unwrap();
    read_to(&mut download, HALF / 2, &mut read).await.unwrap();

    slow.break_off().await;
    let other = vec![7; whole.len()];
    let (rest, ()) = tokio::join!(read_to(&mut download, whole.len(), &mut read), put_again(&alice, &mxc, &other));

    assert!(matches!(rest.unwrap_err(), Error::Changed));
}
