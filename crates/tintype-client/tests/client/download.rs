//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`, whole or in spite of what breaks.

use std::time::Duration;

use futures_util::{FutureExt as _, TryStreamExt as _};
use tintype_client::{Download, Error, ErrorCode, MediaRequest, Retry};
use tintype_testing::pattern;
use tokio::io::AsyncReadExt as _;

use crate::{
    peer::{Act, Peer},
    relay::Cut,
    server::{SOON, Server, mxc},
    told::Told,
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

/// What a peer has.
const TEXT: &str = "0123456789";

/// An answer with the first `sent` bytes of [`TEXT`], and then a closed connection.
fn broken(headers: &str, sent: usize) -> Act {
    let length = TEXT.len();
    Act::raw(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{}", &TEXT[..sent]))
}

/// An answer with the rest of [`TEXT`].
fn rest(headers: &str, from: usize) -> Act {
    let headers = format!("{headers}Content-Range: bytes {from}-{}/{}\r\n", TEXT.len() - 1, TEXT.len());
    Act::answer("206 Partial Content", &headers, &TEXT[from..])
}

async fn read(request: MediaRequest) -> Result<String, Error> {
    let bytes = request.await?.bytes(LONG).await?;
    Ok(String::from_utf8(bytes.to_vec()).expect("a peer sends text"))
}

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_was() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.upload(pattern(LONG)).await.unwrap();
    let told = Told::default();
    for at in [500_000, 600_000, 700_000] {
        server.relay.cut(Cut::Downwards(at));
    }

    let download = alice.download(&mxc).on_event(told.listener()).await.unwrap();
    let bytes = download.bytes(LONG).await.unwrap();

    assert!(bytes == pattern(LONG));
    assert!(server.relay.has_cut());
    let resumed = told.resumed();
    assert!(resumed.len() == 3 && resumed.is_sorted() && resumed[0] > 400_000, "{resumed:?}");
}

#[tokio::test]
async fn a_download_that_is_cut_for_good_is_an_error_and_no_short_file() {
    let server = Server::start().await;
    let alice = server.builder("alice").await.retry(Retry::NEVER).build().unwrap();
    let mxc = alice.upload(pattern(LONG)).await.unwrap();
    server.relay.cut(Cut::Downwards(LONG - 1));
    let mut received = Vec::new();

    let error = alice.download(&mxc).await.unwrap().copy_to(&mut received).await.unwrap_err();

    assert!(matches!(error, Error::Transport(_)) && error.is_transient(), "{error:?}");
    assert!(received.len() < LONG);
}

#[tokio::test]
async fn every_way_of_ending_too_early_is_an_error() {
    let head = "HTTP/1.1 200 OK\r\n";
    for answer in [
        format!("{head}Content-Length: 10\r\n\r\n012345678"),
        format!("{head}Content-Length: 10\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n01"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n"),
    ] {
        let peer = Peer::start([Act::raw(answer.clone())]).await;
        let client = peer.builder().retry(Retry::NEVER).build().unwrap();
        let error = read(client.download(&mxc())).await.unwrap_err();
        assert!(matches!(error, Error::Transport(_)), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_not_taken() {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let peer = Peer::start([Act::raw(format!("{version} 200 OK\r\nConnection: close\r\n\r\n{TEXT}"))]).await;
        let error = read(peer.client().download(&mxc())).await.unwrap_err();
        assert!(matches!(error, Error::NoEnd), "{error:?}");
    }
}

#[tokio::test]
async fn the_rest_is_asked_for_with_the_tag_of_the_beginning() {
    let peer = Peer::start([broken("ETag: \"one\"\r\n", 4), rest("ETag: \"one\"\r\n", 4)]).await;

    assert_eq!(read(peer.client().download(&mxc())).await.unwrap(), TEXT);

    let [first, second] = &peer.asked()[..] else { panic!("{:?}", peer.asked()) };
    assert_eq!(first.line, "GET /_matrix/client/v1/media/download/example.org/abc HTTP/1.1");
    assert_eq!((first.header("authorization"), first.header("range")), ("Bearer token", ""));
    assert_eq!((second.header("range"), second.header("if-range")), ("bytes=4-", "\"one\""));
}

#[tokio::test]
async fn without_a_strong_tag_the_rest_is_asked_for_all_the_same() {
    for tag in ["", "ETag: W/\"one\"\r\n"] {
        let peer = Peer::start([broken(tag, 4), rest(tag, 4)]).await;
        assert_eq!(read(peer.client().download(&mxc())).await.unwrap(), TEXT);
        assert_eq!((peer.asked()[1].header("range"), peer.asked()[1].header("if-range")), ("bytes=4-", ""));
    }
}

#[tokio::test]
async fn where_the_whole_comes_again_the_beginning_is_compared_and_left_out() {
    let whole = |headers: &str, text: &str| Act::answer("200 OK", headers, text);
    let other_tag = "ETag: \"two\"\r\n";

    let same = Peer::start([broken("ETag: \"one\"\r\n", 4), whole(other_tag, TEXT)]).await;
    assert_eq!(read(same.client().download(&mxc())).await.unwrap(), TEXT);

    for other in ["0124456789", "012", "x"] {
        let peer = Peer::start([broken("ETag: \"one\"\r\n", 4), whole(other_tag, other)]).await;
        let error = read(peer.client().download(&mxc())).await.unwrap_err();
        assert!(matches!(error, Error::Changed), "{other}: {error:?}");
    }
}

#[tokio::test]
async fn a_beginning_that_breaks_while_it_comes_again_comes_a_third_time() {
    let peer = Peer::start([broken("", 6), broken("", 3), broken("", 8), rest("", 8)]).await;

    assert_eq!(read(peer.client().download(&mxc())).await.unwrap(), TEXT);

    let ranges = peer.asked().iter().map(|asked| asked.header("range").to_owned()).collect::<Vec<_>>();
    assert_eq!(ranges, ["", "bytes=6-", "bytes=6-", "bytes=8-"]);
}

#[tokio::test]
async fn a_rest_that_is_of_something_else_is_not_appended() {
    let part = |headers: &str| Act::answer("206 Partial Content", headers, "456789");
    for (second, changed) in [
        (part("Content-Range: bytes 4-9/10\r\nETag: \"two\"\r\n"), true),
        (part("Content-Range: bytes 4-9/11\r\n"), true),
        (Act::answer("416 Range Not Satisfiable", "Content-Range: bytes */4\r\n", ""), true),
        (Act::answer("416 Range Not Satisfiable", "", ""), true),
        (part("Content-Range: bytes 3-8/10\r\n"), false),
        (part(""), false),
    ] {
        let peer = Peer::start([broken("ETag: \"one\"\r\n", 4), second.clone()]).await;
        let error = read(peer.client().download(&mxc())).await.unwrap_err();
        assert_eq!(matches!(error, Error::Changed), changed, "{second:?}: {error:?}");
        assert_eq!(matches!(error, Error::Answer(_)), !changed, "{second:?}: {error:?}");
    }
}

#[tokio::test]
async fn media_whose_length_nobody_knows_yet_is_followed_to_its_end() {
    let beginning = Act::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n");
    let so_far = Act::answer("206 Partial Content", "Content-Range: bytes 4-6/*\r\n", "456");
    let more = Act::answer("206 Partial Content", "Content-Range: bytes 7-9/*\r\n", "789");
    let end = Act::answer("416 Range Not Satisfiable", "Content-Range: bytes */10\r\n", "");
    let peer = Peer::start([beginning, so_far, more, end]).await;

    let mut download = peer.client().download(&mxc()).await.unwrap();
    let mut text = Vec::new();
    download.copy_to(&mut text).await.unwrap();

    assert_eq!(text, TEXT.as_bytes());
    assert_eq!((download.length(), download.position()), (Some(10), 10));
    assert_eq!(download.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn it_is_given_up_after_so_many_failures_in_a_row_and_only_then() {
    // Each answer but the last brings one byte: with progress there may be any number of failures.
    let mut acts = (0..9).map(|at| if at == 0 { broken("", 1) } else { broken_rest(at) }).collect::<Vec<_>>();
    acts.push(rest("", 9));
    let lucky = Peer::start(acts).await;
    assert_eq!(read(lucky.client().download(&mxc())).await.unwrap(), TEXT);
    assert!(lucky.asked().len() > SOON.attempts as usize + 1);

    let unlucky = Peer::start([broken("", 1)]).await;
    let error = read(unlucky.client().download(&mxc())).await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    assert_eq!(unlucky.asked().len(), 1 + SOON.attempts as usize);
}

/// An answer with one more byte of [`TEXT`], and then a closed connection.
fn broken_rest(at: usize) -> Act {
    let headers = format!("Content-Range: bytes {at}-9/10\r\nContent-Length: {}\r\n", 10 - at);
    Act::raw(format!("HTTP/1.1 206 Partial Content\r\n{headers}\r\n{}", &TEXT[at..=at]))
}

#[tokio::test]
async fn a_refusal_in_the_middle_ends_it_unless_it_may_pass() {
    let busy = Act::refuse("503 Service Unavailable", "Retry-After: 0\r\n", "M_UNKNOWN");
    let patient = Peer::start([broken("", 4), busy, rest("", 4)]).await;
    assert_eq!(read(patient.client().download(&mxc())).await.unwrap(), TEXT);

    let gone = Peer::start([broken("", 4), Act::refuse("404 Not Found", "", "M_NOT_FOUND")]).await;
    let error = read(gone.client().download(&mxc())).await.unwrap_err();
    assert_eq!(error.errcode(), Some(&ErrorCode::NOT_FOUND));
}

#[tokio::test]
async fn a_connection_that_falls_silent_counts_as_broken() {
    let peer = Peer::start([broken("", 4).and_hang(), rest("", 4)]).await;
    let client = peer.builder().idle_timeout(Duration::from_millis(500)).build().unwrap();

    assert_eq!(read(client.download(&mxc())).await.unwrap(), TEXT);
}

#[tokio::test]
async fn a_download_goes_on_from_an_earlier_process() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.upload(pattern(LONG)).await.unwrap();
    let etag = alice.download(&mxc).await.unwrap().etag().map(str::to_owned);
    assert!(etag.is_some());

    let rest = alice.download(&mxc).continue_from(LONG as u64 - 5, etag).await.unwrap();
    assert_eq!((rest.position(), rest.length()), (LONG as u64 - 5, Some(LONG as u64)));
    assert!(rest.bytes(5).await.unwrap() == pattern(LONG)[LONG - 5..]);

    let nothing = alice.download(&mxc).continue_from(LONG as u64, None).await.unwrap();
    assert_eq!(nothing.bytes(0).await.unwrap(), "");

    let other = alice.download(&mxc).continue_from(5, Some("\"of something else\"".to_owned())).await.unwrap_err();
    assert!(matches!(other, Error::Changed), "{other:?}");
}

#[tokio::test]
async fn no_more_is_kept_in_memory_than_the_caller_allows() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.upload(pattern(LONG)).await.unwrap();

    let error = alice.download(&mxc).await.unwrap().bytes(LONG - 1).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");

    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    let peer = Peer::start([Act::raw(chunked), Act::raw(chunked)]).await;
    let error = peer.client().download(&mxc).await.unwrap().bytes(9).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { limit: 9 }), "{error:?}");
    assert_eq!(peer.client().download(&mxc).await.unwrap().bytes(10).await.unwrap(), TEXT);
}

#[tokio::test]
async fn the_bytes_come_as_a_stream_or_as_a_reader_too() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.upload(pattern(LONG)).await.unwrap();

    let pieces: Vec<_> = alice.download(&mxc).await.unwrap().into_stream().try_collect().await.unwrap();
    let mut read = Vec::new();
    alice.download(&mxc).await.unwrap().into_reader().read_to_end(&mut read).await.unwrap();

    assert!(pieces.concat() == pattern(LONG));
    assert!(read == pattern(LONG));
}

#[tokio::test]
async fn a_reader_tells_what_broke() {
    let peer = Peer::start([broken("", 4)]).await;
    let client = peer.builder().retry(Retry::NEVER).build().unwrap();

    let mut reader = client.download(&mxc()).await.unwrap().into_reader();
    let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();

    assert!(matches!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(Error::Transport(_))), "{error:?}");
}

#[tokio::test]
async fn asking_for_the_next_bytes_can_be_given_up_at_any_time() {
    let peer = Peer::start([broken("", 4), broken("", 6), rest("", 6)]).await;
    let mut download = peer.client().download(&mxc()).await.unwrap();

    let mut text = Vec::new();
    while let Some(piece) = impatiently(&mut download).await.unwrap() {
        text.extend_from_slice(&piece);
    }

    assert_eq!(text, TEXT.as_bytes());
}

/// The next bytes, after a future that was dropped unless it was ready at once.
async fn impatiently(download: &mut Download) -> Result<Option<bytes::Bytes>, Error> {
    match download.chunk().now_or_never() {
        Some(chunk) => chunk,
        None => download.chunk().await,
    }
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_token() {
    let store = Peer::start([Act::answer("200 OK", "Content-Type: text/plain\r\n", TEXT)]).await;
    let location = format!("Location: {}/bucket/object?signature=1\r\n", store.url());
    let peer = Peer::start([Act::answer("307 Temporary Redirect", &location, "")]).await;

    assert_eq!(read(peer.client().download(&mxc())).await.unwrap(), TEXT);

    assert_eq!(peer.asked()[0].header("authorization"), "Bearer token");
    assert_eq!(store.asked()[0].line, "GET /bucket/object?signature=1 HTTP/1.1");
    assert_eq!(store.asked()[0].header("authorization"), "");
}

#[tokio::test]
async fn a_redirect_without_end_ends() {
    let around = Act::answer("308 Permanent Redirect", "Location: /again\r\n", "");
    let peer = Peer::start(vec![around; 20]).await;

    let error = read(peer.client().download(&mxc())).await.unwrap_err();

    assert!(matches!(error, Error::Transport(_)) && !error.is_transient(), "{error:?}");
    assert!(peer.asked().len() < 10);
}

#[tokio::test]
async fn a_name_is_told_as_it_is() {
    let disposition = "Content-Disposition: attachment; filename*=utf-8''..%2F..%2Fetc%2Fpasswd\r\n";
    let peer = Peer::start([Act::answer("200 OK", disposition, ""), Act::answer("200 OK", "", "")]).await;

    assert_eq!(peer.client().download(&mxc()).await.unwrap().filename(), Some("../../etc/passwd"));
    assert_eq!(peer.client().download(&mxc()).await.unwrap().filename(), None);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    let error = alice.download(&"mxc://localhost/nothing".parse().unwrap()).await.unwrap_err();

    assert_eq!((error.status(), error.errcode()), (Some(404), Some(&ErrorCode::NOT_FOUND)));
}
