//! The server, those who use it, and what the model knows of both.

use std::time::Duration;

use http::Method;
use tintype_testing::{Client, Response, TestServer, paths, until};

use super::{
    End, Kind, Offset, Step, Who,
    model::{Arriving, EXPIRES_AFTER, Part, Slot, State, Verdict},
};

/// How many URIs a user may have reserved.
const PENDING: usize = 3;

const CONFIG: &str = "\
limits.max_pending_uploads = 3
limits.rates.create = { per_second = 1000000, burst = 1000000 }
limits.rates.upload = { per_second = 1000000, burst = 1000000 }
";

/// No number of them is a day: nothing happens just when a reservation expires.
const HOURS: Duration = Duration::from_hours(13);

pub(super) struct World {
    /// Absent only while it is restarted.
    server: Option<TestServer>,
    users: [Client; 2],
    slots: Vec<Slot>,
    /// Since the start.
    now: Duration,
    /// How many uploads were begun: each has bytes of its own.
    attempts: usize,
}

impl World {
    pub(super) async fn begin() -> Self {
        let server = TestServer::with(CONFIG).await;
        let users = [server.user("alice").await, server.user("bob").await];
        Self { server: Some(server), users, slots: Vec::new(), now: Duration::ZERO, attempts: 0 }
    }

    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Create { user } => self.create(user).await,
            Step::Wait => self.wait(HOURS).await,
            Step::Restart => self.restart().await,
            // Everything else is about a URI.
            _ if self.slots.is_empty() => {}
            Step::Put { who, slot, length } => self.put(who, self.at(slot), length).await,
            Step::Begin { who, slot, kind, length } => self.start(who, self.at(slot), kind, length).await,
            Step::Feed { slot, length } => self.feed(self.arriving(slot), length).await,
            Step::Finish { slot } => self.finish(self.arriving(slot)).await,
            Step::BreakOff { slot } => self.break_off(self.arriving(slot)).await,
            Step::Ask { who, slot } => self.ask(who, self.at(slot)).await,
            Step::Continue { who, slot, at, end, length } => self.go_on(who, self.at(slot), at, end, length).await,
            Step::Cancel { who, slot } => self.cancel(who, self.at(slot)).await,
            Step::Download { who, slot } => self.download(who, self.at(slot)).await,
            Step::Follow { who, slot } => self.follow(who, self.arriving(slot)).await,
        }
    }

    /// Checks what is left when everything has ended.
    pub(super) async fn end(mut self) {
        self.break_off_all().await;
        // What has expired counts until the next sweep.
        self.wait(Duration::from_mins(1)).await;
        let pending = self.slots.iter().filter(|slot| slot.is_pending(self.now)).count() as u64;
        let counted = async || self.server().metric("tintype_reservations_pending").await;
        until("what is pending is counted rightly", async || counted().await == pending).await;
        self.wait(EXPIRES_AFTER * 2).await;
        for slot in 0..self.slots.len() {
            self.download(Who::Stranger, slot).await;
            self.ask(Who::Creator, slot).await;
        }
        let server = self.server();
        until("nothing unfinished is left", async || {
            // The next sweep comes a minute after the last one, whenever that was.
            server.advance(Duration::from_mins(1));
            server.partial_uploads().is_empty()
        })
        .await;
    }

    async fn create(&mut self, user: usize) {
        let of_user = self.slots.iter().filter(|slot| slot.creator == user);
        let pending = of_user.filter(|slot| slot.is_pending(self.now)).count();
        let answer = self.users[user].post(paths::CREATE).await;
        if pending >= PENDING {
            assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
            return;
        }
        self.slots.push(Slot {
            mxc: answer.mxc(),
            creator: user,
            expires_at: self.now + EXPIRES_AFTER,
            state: State::Reserved,
            followers: Vec::new(),
        });
    }

    async fn put(&mut self, who: Who, at: usize, length: usize) {
        let bytes = self.content(length);
        let answer = self.users[self.user(who, at)].put(&self.slots[at].mxc).body(bytes.clone()).await;
        match self.verdict(who, at) {
            Verdict::Open => {
                assert_eq!(answer.status(), 200, "{answer:?}");
                self.drop_part(at).await;
                self.slots[at].state = State::Stored(bytes);
            }
            verdict => is_refused(&answer, verdict),
        }
    }

    async fn start(&mut self, who: Who, at: usize, kind: Kind, length: usize) {
        let planned = self.content(length + 1);
        let request = self.users[self.user(who, at)].put(&self.slots[at].mxc);
        let request = if kind.resumable { request.complete() } else { request };
        let sending =
            if kind.says_its_length { request.feed(planned.len()).await } else { request.feed_chunked().await };
        match self.verdict(who, at) {
            Verdict::Open => {
                self.drop_part(at).await;
                let length = kind.says_its_length.then_some(planned.len());
                let part = Part { bytes: Vec::new(), length };
                self.slots[at].state = State::Arriving(Box::new(Arriving { sending, kind, part, planned }));
            }
            verdict => is_refused(&sending.response().await, verdict),
        }
    }

    async fn feed(&mut self, at: usize, length: usize) {
        let State::Arriving(arriving) = &mut self.slots[at].state else { return };
        let sent = arriving.part.bytes.len();
        let end = (sent + length).min(arriving.planned.len() - 1);
        let piece = arriving.planned[sent..end].to_vec();
        arriving.sending.send(&piece).await;
        arriving.part.bytes.extend_from_slice(&piece);
        let slot = &mut self.slots[at];
        let bytes = slot.part().bytes;
        if bytes.is_empty() {
            return;
        }
        // Whoever reads has it, and so the server has it.
        let mut reader = self.users[0].get(paths::download(&slot.mxc)).open().await;
        assert!(reader.bytes(bytes.len()).await == bytes, "what arrives is not what is sent");
        for (follower, read) in &mut slot.followers {
            assert!(follower.bytes(bytes.len() - *read).await == bytes[*read..]);
            *read = bytes.len();
        }
    }

    async fn finish(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if !matches!(slot.state, State::Arriving(_)) {
            return;
        }
        let State::Arriving(mut arriving) = std::mem::replace(&mut slot.state, State::Reserved) else { return };
        let sent = arriving.part.bytes.len();
        arriving.sending.send(&arriving.planned[sent..]).await;
        let answer = arriving.sending.finish().await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.header("upload-complete"), if arriving.kind.resumable { "?1" } else { "" });
        self.store(at, arriving.planned).await;
    }

    async fn break_off(&mut self, at: usize) {
        let now = self.now;
        let slot = &mut self.slots[at];
        if !matches!(slot.state, State::Arriving(_)) {
            return;
        }
        let State::Arriving(arriving) = std::mem::replace(&mut slot.state, State::Reserved) else { return };
        arriving.sending.break_off();
        if arriving.kind.resumable && !slot.is_expired(now) {
            slot.state = State::Interrupted(arriving.part);
        } else if arriving.kind.resumable {
            // How long readers of what cannot go on any more are held is the server's choice.
            slot.followers.clear();
        } else {
            self.abort_followers(at).await;
        }
        let (path, creator) = (paths::put(&self.slots[at].mxc), self.slots[at].creator);
        let asked = async || self.users[creator].head(path.as_str()).await;
        until("the server knows that it broke off", async || asked().await.status() != 409).await;
        self.ask(Who::Creator, at).await;
    }

    async fn ask(&mut self, who: Who, at: usize) {
        let answer = self.users[self.user(who, at)].get(paths::put(&self.slots[at].mxc)).await;
        match self.verdict(who, at) {
            Verdict::Open => is_at(&answer, self.slots[at].part().bytes.len(), "?0"),
            Verdict::Resumable => {
                self.cut(at).await;
                is_at(&answer, self.slots[at].part().bytes.len(), "?0");
            }
            Verdict::Stored => {
                let State::Stored(bytes) = &self.slots[at].state else { unreachable!("it is stored") };
                is_at(&answer, bytes.len(), "?1");
            }
            Verdict::Twilight => self.cut_if_gone(at).await,
            verdict => is_refused(&answer, verdict),
        }
    }

    async fn go_on(&mut self, who: Who, at: usize, offset: Offset, end: End, length: usize) {
        let part = self.slots[at].part();
        let sent = part.bytes.len();
        let most = part.length.map_or(length, |whole| whole - sent);
        let rest = self.content(if end == End::Here { most } else { length.min(most) });
        let wrong = usize::from(offset == Offset::Wrong);
        let request = self.users[self.user(who, at)].patch(&self.slots[at].mxc, sent + wrong);
        let request = if end == End::Here { request.complete() } else { request.incomplete() };
        let answer = request.body(rest.clone()).await;
        match self.verdict(who, at) {
            Verdict::Open => {}
            Verdict::Resumable => self.cut(at).await,
            Verdict::Twilight => return self.cut_if_gone(at).await,
            verdict => return is_refused(&answer, verdict),
        }
        if offset == Offset::Wrong {
            assert_eq!(answer.status(), 409, "{answer:?}");
            assert_eq!(answer.header("upload-offset"), sent.to_string());
            return;
        }
        let bytes = [part.bytes, rest].concat();
        match end {
            End::Here => {
                assert_eq!((answer.status(), answer.header("upload-complete")), (200, "?1"), "{answer:?}");
                self.store(at, bytes).await;
            }
            End::Later => {
                is_at(&answer, bytes.len(), "?0");
                self.slots[at].state = State::Interrupted(Part { bytes, length: part.length });
            }
        }
    }

    async fn cancel(&mut self, who: Who, at: usize) {
        let answer = self.users[self.user(who, at)].request(Method::DELETE, paths::put(&self.slots[at].mxc)).await;
        match self.verdict(who, at) {
            Verdict::Open | Verdict::Resumable => {
                assert_eq!(answer.status(), 204, "{answer:?}");
                self.drop_part(at).await;
            }
            Verdict::Twilight => self.cut_if_gone(at).await,
            verdict => is_refused(&answer, verdict),
        }
    }

    async fn download(&mut self, who: Who, at: usize) {
        let slot = &self.slots[at];
        let mut answer = self.users[self.user(who, at)].get(paths::download(&slot.mxc) + "?timeout_ms=0").open().await;
        match &slot.state {
            State::Stored(bytes) => {
                assert_eq!(answer.status(), 200);
                assert!(answer.whole().await == bytes, "what is stored is not what was sent");
            }
            State::Arriving(arriving) if arriving.part.bytes.is_empty() => assert_eq!(answer.status(), 504),
            State::Arriving(arriving) => {
                assert_eq!(answer.status(), 200);
                let bytes = &arriving.part.bytes;
                assert!(answer.bytes(bytes.len()).await == bytes, "what arrives is not what is sent");
            }
            _ if slot.is_expired(self.now) => {
                // Whoever held the beginning of it for its readers may hear of it a moment later.
                let (path, user) = (paths::download(&slot.mxc) + "?timeout_ms=0", &self.users[self.user(who, at)]);
                until("it is expired", async || user.get(path.as_str()).open().await.status() == 404).await;
            }
            State::Reserved => assert_eq!(answer.status(), 504),
            // What has arrived may be shown at once, or the rest be waited for.
            State::Interrupted(_) => assert!(matches!(answer.status(), 200 | 504)),
        }
    }

    async fn follow(&mut self, who: Who, at: usize) {
        let user = self.user(who, at);
        let slot = &mut self.slots[at];
        if matches!(&slot.state, State::Arriving(arriving) if !arriving.part.bytes.is_empty()) {
            let follower = self.users[user].get(paths::download(&slot.mxc)).open().await;
            assert_eq!(follower.status(), 200);
            slot.followers.push((follower, 0));
        }
    }

    async fn wait(&mut self, time: Duration) {
        self.server().advance(time);
        self.now += time;
        for at in 0..self.slots.len() {
            // Nobody is held so long.
            if matches!(self.slots[at].state, State::Interrupted(_)) {
                self.abort_followers(at).await;
            }
        }
    }

    async fn restart(&mut self) {
        self.break_off_all().await;
        for slot in &mut self.slots {
            slot.followers.clear();
        }
        let server = self.server.take().expect("it runs");
        self.server = Some(server.restart().await);
    }

    async fn break_off_all(&mut self) {
        for at in 0..self.slots.len() {
            self.break_off(at).await;
        }
    }

    /// An upload is there: those who followed it have it all.
    async fn store(&mut self, at: usize, bytes: Vec<u8>) {
        for (follower, read) in self.slots[at].followers.drain(..) {
            assert!(follower.whole().await == bytes[read..], "a follower did not read what was sent");
        }
        self.slots[at].state = State::Stored(bytes);
    }

    /// What has arrived is dropped: those who followed it are aborted.
    async fn drop_part(&mut self, at: usize) {
        self.slots[at].state = State::Reserved;
        self.abort_followers(at).await;
    }

    /// The request that brings a resumable upload gave way to another.
    async fn cut(&mut self, at: usize) {
        let state = std::mem::replace(&mut self.slots[at].state, State::Reserved);
        let State::Arriving(arriving) = state else { unreachable!("it arrives") };
        let answer = arriving.sending.answer_or_end().await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status() >= 400), "{answer:?}");
        self.slots[at].state = State::Interrupted(arriving.part);
    }

    /// What arrives for an expired reservation was asked about, which may have ended it: the test ends it in any case.
    async fn cut_if_gone(&mut self, at: usize) {
        let state = std::mem::replace(&mut self.slots[at].state, State::Reserved);
        drop(state);
        self.slots[at].followers.clear();
        let (path, creator) = (paths::put(&self.slots[at].mxc), self.slots[at].creator);
        until("it is expired", async || self.users[creator].head(path.as_str()).await.status() == 404).await;
    }

    async fn abort_followers(&mut self, at: usize) {
        for (follower, _) in self.slots[at].followers.drain(..) {
            follower.aborted().await;
        }
    }

    fn verdict(&self, who: Who, at: usize) -> Verdict {
        self.slots[at].verdict(who, self.now)
    }

    fn user(&self, who: Who, at: usize) -> usize {
        let creator = self.slots[at].creator;
        if who == Who::Creator { creator } else { 1 - creator }
    }

    /// One of the latest slots: of the others most are stored, and nothing happens to them any more.
    fn at(&self, slot: usize) -> usize {
        self.slots.len() - 1 - slot % self.slots.len().min(2 * PENDING)
    }

    /// A slot whose upload is arriving, if there is one.
    fn arriving(&self, slot: usize) -> usize {
        let arriving = |at: &usize| matches!(self.slots[*at].state, State::Arriving(_));
        let arriving: Vec<_> = (0..self.slots.len()).filter(arriving).collect();
        if arriving.is_empty() { self.at(slot) } else { arriving[slot % arriving.len()] }
    }

    fn server(&self) -> &TestServer {
        self.server.as_ref().expect("it runs")
    }

    /// Bytes that no other upload has.
    fn content(&mut self, length: usize) -> Vec<u8> {
        self.attempts += 1;
        let mut bytes = tintype_testing::pattern(length);
        for (byte, mark) in bytes.iter_mut().zip(self.attempts.to_le_bytes()) {
            *byte = mark;
        }
        bytes
    }
}

/// Checks that an upload is so far.
fn is_at(answer: &Response, offset: usize, complete: &str) {
    assert_eq!((answer.status(), answer.header("upload-complete")), (204, complete), "{answer:?}");
    assert_eq!(answer.header("upload-offset"), offset.to_string());
}

/// Checks a refusal.
fn is_refused(answer: &Response, verdict: Verdict) {
    let expected: &[u16] = match verdict {
        Verdict::NotFound => &[404],
        Verdict::Forbidden => &[403],
        // A resumable upload gives way to a question, but not to a second PUT.
        Verdict::Stored | Verdict::Arriving | Verdict::Resumable => &[409],
        Verdict::Twilight => &[403, 404, 409],
        Verdict::Open => panic!("this was not to be refused: {answer:?}"),
    };
    assert!(expected.contains(&answer.status()), "{verdict:?}: {answer:?}");
}
