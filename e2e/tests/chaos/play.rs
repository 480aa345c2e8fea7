//! Playing a story: each step at its time, and what came of it written down.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};

use crate::{
    client::{Answer, Outcome, PATIENCE, Request, Sending, ask},
    history::{Deed, Event, Found, History, Refusal, Time},
    plan::{Content, Kind, LENGTH, NODES, Pace, Planned, Step, Story, Target},
    stage::Stage,
};

/// Between two tries of the same.
const PAUSE: Duration = Duration::from_millis(300);

/// By when nobody holds a reservation any more who was killed: dead after ten seconds, and a few for being declared so.
const FREE_WITHIN: Duration = Duration::from_secs(15);

/// Nothing is tried again so long after the beginning of a run.
const TRY_UNTIL: Duration = Duration::from_millis(LENGTH + 2_500);

/// A story that is being played.
pub struct Play {
    seed: u64,
    stage: Arc<Stage>,
    began: Instant,
    token: String,
    kind: Kind,
    events: Mutex<Vec<Event>>,
    // Known as soon as somebody was told it.
    uri: watch::Sender<Option<String>>,
}

impl Play {
    /// Plays it from beginning to end.
    pub async fn whole(seed: u64, stage: Arc<Stage>, began: Instant, story: Story) -> Self {
        let uri = match story.kind {
            Kind::Remote(number) => Some(stage.remote[number].0.clone()),
            _ => None,
        };
        let token = stage.tokens[story.user].clone();
        let (uri, events) = (watch::Sender::new(uri), Mutex::default());
        let play = Arc::new(Self { seed, stage, began, token, kind: story.kind, events, uri });
        let mut steps = JoinSet::new();
        for Planned { after, to, step } in story.steps {
            let play = Arc::clone(&play);
            let at = began + story.begins + after;
            steps.spawn(async move {
                time::sleep_until(at).await;
                play.step(to, step).await;
            });
        }
        steps.join_all().await;
        Arc::into_inner(play).expect("all steps are over")
    }

    /// Brings what nobody has brought so far, when all is quiet: that has to succeed, unless it was there already or is gone.
    pub async fn complete(&self, number: u32) {
        let is_reserved = matches!(self.kind, Kind::Asynchronous | Kind::EphemeralAsynchronous | Kind::Resumable);
        let Some(name) = self.named(Time::Quiet).await else { return };
        if !is_reserved || self.history(number).is_settled() {
            return;
        }
        let path = format!("/_matrix/media/v3/upload/{name}");
        let content = Content { of: number, number: 1_000, length: 30_000 };
        let (bytes, pace) = (content.bytes(self.seed), Pace { pieces: 1, pause: Duration::ZERO });
        let until = Instant::now() + FREE_WITHIN;
        loop {
            let body = Sending { bytes: &bytes, pace, breaks_after: None };
            let answer =
                self.ask_at(Target::Any, Deed::Put(content), ("PUT", &path), "", Some(body), Time::Quiet).await;
            let is_held = answer.is_some_and(|answer| answer.status == 409 && !is_stored(&answer));
            if !is_held || Instant::now() > until {
                return;
            }
            time::sleep(PAUSE).await;
        }
    }

    /// Reads it at each node, when all is quiet.
    pub async fn read_everywhere(&self) {
        for node in 0..NODES {
            self.read_once(Target::Node(node), Duration::ZERO, Time::Quiet).await;
        }
    }

    /// What came of it.
    pub fn history(&self, story: u32) -> History {
        let events = self.events.lock().expect("nobody panics with it").clone();
        History { story, kind: self.kind, uri: self.uri.borrow().clone(), events }
    }

    async fn step(&self, to: Target, step: Step) {
        match step {
            Step::Create => self.make(to, Deed::Create, None).await,
            Step::Upload { content, pace } => self.make(to, Deed::Upload(content), Some((content, pace))).await,
            Step::Put { content, pace, tries } => self.put(to, content, pace, tries).await,
            Step::Begin { content, pace, breaks_after } => {
                if let Some(path) = self.upload_path().await {
                    let bytes = content.bytes(self.seed);
                    let body = Sending { bytes: &bytes, pace, breaks_after: Some(breaks_after) };
                    self.ask(to, Deed::Part(content), ("PUT", &path), "Upload-Complete: ?1\r\n", Some(body)).await;
                }
            }
            Step::Resume { content, tries } => self.resume(to, content, tries).await,
            Step::Read { patience } => self.read_once(to, patience, Time::Chaos).await,
            Step::Delete { tries } => self.delete(to, tries).await,
        }
    }

    /// Creates the media, as often as it takes; each time it is another one, and the first that is known counts.
    async fn make(&self, to: Target, deed: Deed, body: Option<(Content, Pace)>) {
        let path = if body.is_some() { "/_matrix/media/v3/upload" } else { "/_matrix/media/v1/create" };
        let is_ephemeral = matches!(self.kind, Kind::Ephemeral | Kind::EphemeralAsynchronous);
        let target = if is_ephemeral { format!("{path}?org.matrix.msc4425.ephemeral=true") } else { path.to_owned() };
        let bytes = body.map(|(content, pace)| (content.bytes(self.seed), pace));
        for number in 0..4 {
            let body = bytes.as_ref().map(|(bytes, pace)| Sending { bytes, pace: *pace, breaks_after: None });
            let answer = self.ask(next(to, number), deed, ("POST", &target), "", body).await;
            let uri = answer.and_then(|answer| answer.json()["content_uri"].as_str().map(ToOwned::to_owned));
            if uri.is_some() {
                self.uri.send_replace(uri);
                return;
            }
            if !self.may_try_again().await {
                return;
            }
        }
    }

    async fn put(&self, to: Target, content: Content, pace: Pace, tries: u32) {
        let Some(path) = self.upload_path().await else { return };
        for number in 0..tries {
            // Other bytes each time: so it is known which of them was taken.
            let content = Content { number: content.number + number, ..content };
            let bytes = content.bytes(self.seed);
            let body = Sending { bytes: &bytes, pace, breaks_after: None };
            let answer = self.ask(next(to, number), Deed::Put(content), ("PUT", &path), "", Some(body)).await;
            if answer.is_some_and(|answer| is_decided(&answer)) || !self.may_try_again().await {
                return;
            }
        }
    }

    async fn resume(&self, to: Target, content: Content, tries: u32) {
        let Some(path) = self.upload_path().await else { return };
        let bytes = content.bytes(self.seed);
        for number in 0..tries {
            let to = next(to, number);
            if let Some(answer) = self.ask(to, Deed::Progress, ("GET", &path), "", None).await {
                if is_stored(&answer) {
                    return;
                }
                let offset = answer.header("Upload-Offset").and_then(|offset| offset.parse::<usize>().ok());
                if let (204, Some(offset)) = (answer.status, offset) {
                    let headers = format!(
                        "Upload-Complete: ?1\r\nUpload-Offset: {offset}\r\n\
                         Content-Type: application/partial-upload\r\n"
                    );
                    let (method, headers) =
                        if offset == 0 { ("PUT", "Upload-Complete: ?1\r\n") } else { ("PATCH", headers.as_str()) };
                    let pace = Pace { pieces: 2, pause: Duration::from_millis(30) };
                    let body = Sending { bytes: &bytes[offset.min(bytes.len())..], pace, breaks_after: None };
                    let answer = self.ask(to, Deed::Part(content), (method, &path), headers, Some(body)).await;
                    if answer.is_some_and(|answer| answer.status == 200) {
                        return;
                    }
                }
            }
            if !self.may_try_again().await {
                return;
            }
        }
    }

    async fn read_once(&self, to: Target, patience: Duration, when: Time) {
        let Some(uri) = self.named(when).await else { return };
        let target = format!("/_matrix/client/v1/media/download/{uri}?timeout_ms={}", patience.as_millis());
        let began = self.began.elapsed();
        let outcome = ask(self.stage.port(to), self.request("GET", &target), patience + PATIENCE).await;
        let found = match outcome {
            Outcome::Answered(answer) if answer.status == 200 => content(self.seed, &answer),
            Outcome::Answered(answer) => refused(&answer),
            Outcome::NotSent => Found::NotSent,
            Outcome::Lost => Found::Lost,
        };
        self.note(Event { began, ended: self.began.elapsed(), to, deed: Deed::Read, found, time: when });
    }

    async fn delete(&self, to: Target, tries: u32) {
        let Some(uri) = self.named(Time::Chaos).await else { return };
        let target = format!("/_matrix/client/unstable/org.matrix.msc4425/{uri}");
        for number in 0..tries {
            let answer = self.ask(next(to, number), Deed::Delete, ("DELETE", &target), "", None).await;
            if answer.is_some_and(|answer| is_decided(&answer)) || !self.may_try_again().await {
                return;
            }
        }
    }

    /// Asks, writes down what came of it, and returns the answer.
    async fn ask(
        &self,
        to: Target,
        deed: Deed,
        to_what: (&str, &str),
        headers: &str,
        body: Option<Sending<'_>>,
    ) -> Option<Answer> {
        self.ask_at(to, deed, to_what, headers, body, Time::Chaos).await
    }

    async fn ask_at(
        &self,
        to: Target,
        deed: Deed,
        (method, target): (&str, &str),
        headers: &str,
        body: Option<Sending<'_>>,
        time: Time,
    ) -> Option<Answer> {
        let began = self.began.elapsed();
        let request = Request { headers, body, ..self.request(method, target) };
        let outcome = ask(self.stage.port(to), request, PATIENCE).await;
        let found = match &outcome {
            Outcome::Answered(answer) if answer.status < 300 && answer.is_whole => Found::Done,
            Outcome::Answered(answer) if answer.is_whole => refused(answer),
            Outcome::Answered(_) | Outcome::Lost => Found::Lost,
            Outcome::NotSent => Found::NotSent,
        };
        self.note(Event { began, ended: self.began.elapsed(), to, deed, found, time });
        match outcome {
            Outcome::Answered(answer) if answer.is_whole => Some(answer),
            _ => None,
        }
    }

    fn request<'a>(&'a self, method: &'a str, target: &'a str) -> Request<'a> {
        Request { method, target, token: &self.token, headers: "", body: None }
    }

    /// `SERVER/ID`, when it is known, or nothing if it is not in the end.
    async fn named(&self, when: Time) -> Option<String> {
        let mut observed = self.uri.subscribe();
        let until = if when == Time::Quiet { Instant::now() } else { self.began + TRY_UNTIL };
        let uri = time::timeout_at(until, observed.wait_for(Option::is_some)).await.ok()?.ok()?.clone()?;
        Some(uri.strip_prefix("mxc://").expect("it is an MXC URI").to_owned())
    }

    async fn upload_path(&self) -> Option<String> {
        Some(format!("/_matrix/media/v3/upload/{}", self.named(Time::Chaos).await?))
    }

    async fn may_try_again(&self) -> bool {
        time::sleep(PAUSE).await;
        self.began.elapsed() < TRY_UNTIL
    }

    fn note(&self, event: Event) {
        self.events.lock().expect("nobody panics with it").push(event);
    }
}

fn refused(answer: &Answer) -> Found {
    Found::Refused(Refusal {
        status: answer.status,
        errcode: answer.json()["errcode"].as_str().unwrap_or_default().to_owned(),
        is_stored: is_stored(answer),
        is_for_now: answer.header("Retry-After").is_some(),
    })
}

fn is_stored(answer: &Answer) -> bool {
    answer.header("Upload-Complete") == Some("?1")
}

/// Whether there is no use in trying again.
fn is_decided(answer: &Answer) -> bool {
    answer.status < 300 || answer.status == 404 || is_stored(answer)
}

/// Another one at each try.
fn next(to: Target, number: u32) -> Target {
    match to {
        Target::Any => Target::Any,
        Target::Node(node) => Target::Node((node + number as usize) % NODES),
    }
}

/// Whose bytes they are.
fn content(seed: u64, answer: &Answer) -> Found {
    let number = |at: usize| Some(u32::from_be_bytes(answer.body.get(at..at + 4)?.try_into().ok()?));
    let length = answer.header("Content-Length").and_then(|length| length.parse().ok());
    let length = length.unwrap_or(answer.body.len()).max(answer.body.len());
    let Some((of, number)) = number(0).zip(number(4)) else { return Found::Beginning(None) };
    // The length of a chunked body that broke off is not known: bytes of any length begin alike.
    let content = Content { of, number, length };
    let bytes = content.bytes(seed);
    if answer.is_whole && bytes == answer.body {
        return Found::Whole(content);
    }
    if !answer.is_whole && bytes.starts_with(&answer.body) {
        return Found::Beginning(Some(content));
    }
    Found::Foreign(format!("{} bytes, like those of {content:?}", answer.body.len()))
}
