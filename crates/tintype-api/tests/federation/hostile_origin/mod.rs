//! A server that answers our questions for media with whatever harms: each time the client gets an error or a download
//! that is cut, nothing is kept, and the next good answer counts.

mod elsewhere;
mod http;
mod labels;
mod legacy;
mod multipart;
mod slow;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tintype_domain::Mxc;
use tintype_testing::{Client, Peer, Script, TestServer, paths};

/// What our server asks for with a signature, and without one where that is not known.
const DOWNLOAD: &str = "/_matrix/federation/v1/media/download/";
const THUMBNAIL: &str = "/_matrix/federation/v1/media/thumbnail/";
const LEGACY: &str = "/_matrix/media/v3/download/";

/// The header of an answer in two parts.
const MIXED: &str = "Content-Type: multipart/mixed; boundary=bound\r\n";

/// Such an answer up to the head of its second part.
const FIRST: &str = "--bound\r\nContent-Type: application/json\r\n\r\n{}\r\n--bound\r\n";

/// What ends it.
const LAST: &str = "\r\n--bound--\r\n";

/// Longer than everything is remembered that a server says in bad faith, but that media is too large.
const MEMORY: Duration = Duration::from_mins(2);

/// An answer in two parts, the second of them with these header lines and these bytes.
fn two_parts(head: &str, media: impl AsRef<[u8]>) -> Vec<u8> {
    [FIRST.as_bytes(), head.as_bytes(), b"\r\n", media.as_ref(), LAST.as_bytes()].concat()
}

/// A good answer.
fn good() -> Script {
    Script::response(200, MIXED, two_parts("Content-Type: text/plain\r\n", "good"))
}

/// A server of ours, one of its users, and another server.
struct Scene {
    ours: TestServer,
    alice: Client,
    peer: Peer,
    cases: AtomicUsize,
}

/// What became of a download.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole(Vec<u8>),
    Refused(u16, String),
    /// Cut after so many bytes.
    Aborted(usize),
}

impl Outcome {
    /// Whether too much came: the client was told, or cut before it had more than so many bytes.
    fn is_of_too_much(&self, limit: usize) -> bool {
        *self == too_large() || matches!(self, Self::Aborted(length) if *length <= limit)
    }
}

fn bad_gateway() -> Outcome {
    Outcome::Refused(502, "M_UNKNOWN".to_owned())
}

fn too_large() -> Outcome {
    Outcome::Refused(502, "M_TOO_LARGE".to_owned())
}

impl Scene {
    async fn new(config: &str) -> Self {
        Self::beside(Peer::start("theirs").await, config).await
    }

    async fn beside(peer: Peer, config: &str) -> Self {
        // What is kept is seen at the old endpoint, which fetches nothing if it is asked not to.
        let ours = TestServer::federating("ours", &format!("legacy.freeze = 'never'\n{config}")).await;
        let alice = ours.user("alice").await;
        Self { ours, alice, peer, cases: AtomicUsize::new(0) }
    }

    async fn download(&self, mxc: &Mxc) -> Outcome {
        let Some(answer) = self.alice.get(paths::download(mxc)).open_or_end().await else {
            return Outcome::Aborted(0);
        };
        match answer.status() {
            200 => answer
                .outcome()
                .await
                .map_or_else(|cut| Outcome::Aborted(cut.len()), |body| Outcome::Whole(body.to_vec())),
            status => {
                let error =
                    serde_json::from_slice::<serde_json::Value>(&answer.whole().await).expect("an error is JSON");
                Outcome::Refused(status, error["errcode"].as_str().expect("a Matrix error has a code").to_owned())
            }
        }
    }

    /// Lets the peer give each of these answers for media of its own.
    async fn outcomes(&self, cases: &[(&str, Script)]) -> Vec<(Mxc, String, Outcome)> {
        let mut outcomes = Vec::new();
        for (name, script) in cases {
            let mxc = self.peer.mxc(&format!("case{}_", self.cases.fetch_add(1, Ordering::Relaxed)));
            self.peer.says(&format!("{DOWNLOAD}{}", mxc.media_id), script.clone());
            outcomes.push((mxc.clone(), (*name).to_owned(), self.download(&mxc).await));
        }
        outcomes
    }

    /// Each of these answers is refused before anything of it is passed on.
    async fn refuses(&self, cases: &[(&str, Script)]) {
        let outcomes = self.outcomes(cases).await;
        for (_, name, outcome) in &outcomes {
            assert_eq!(*outcome, bad_gateway(), "{name}");
        }
        self.forgets(&outcomes).await;
    }

    /// Each of these answers is refused, or cut if something of it was passed on already: whichever comes first.
    async fn refuses_or_cuts(&self, cases: &[(&str, Script)]) {
        let outcomes = self.outcomes(cases).await;
        for (_, name, outcome) in &outcomes {
            assert!(matches!(outcome, Outcome::Refused(502, _) | Outcome::Aborted(_)), "{name}: {outcome:?}");
        }
        self.forgets(&outcomes).await;
    }

    /// Nothing of this is kept; when its memory is over, good answers are fetched, and kept.
    async fn forgets(&self, outcomes: &[(Mxc, String, Outcome)]) {
        for (mxc, name, _) in outcomes {
            self.keeps_nothing_of(mxc, name).await;
        }
        self.ours.holds_nothing().await;
        self.ours.advance(MEMORY);
        self.peer.says(DOWNLOAD, good());
        for (mxc, name, _) in outcomes {
            assert_eq!(self.download(mxc).await, Outcome::Whole(b"good".to_vec()), "{name}");
            let kept = self.alice.get(format!("{}?allow_remote=false", paths::legacy_download(mxc))).await;
            assert_eq!(kept.status(), 200, "{name}");
        }
    }

    /// Each of these answers gives these bytes.
    async fn takes(&self, media: &[u8], cases: &[(&str, Script)]) {
        for (_, name, outcome) in self.outcomes(cases).await {
            assert_eq!(outcome, Outcome::Whole(media.to_vec()), "{name}");
        }
    }

    async fn keeps_nothing_of(&self, mxc: &Mxc, name: &str) {
        let kept = self.alice.get(format!("{}?allow_remote=false", paths::legacy_download(mxc))).await;
        assert_eq!(kept.status(), 404, "{name}");
    }
}
