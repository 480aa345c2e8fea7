//! One run: media is uploaded and attached, and what breaks is chance.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use e2e::{
    fickle::{Fate, Hears},
    person::{Answer, Person, answer, transaction},
};
use reqwest::{RequestBuilder, StatusCode};
use tokio::time;

use crate::{
    dice::{Dice, fate_of},
    stage::{Events, Stage},
};

/// What has not healed by then never will.
const PATIENCE: Duration = Duration::from_mins(1);

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A run that is over, except for what the homeserver has yet to tell.
pub struct Run {
    number: u64,
    media: String,
    standing: Standing,
    seen: Seen,
    /// Requests that the client gave up before they had come to the homeserver's door: they may come yet.
    late: u32,
    /// Whether the stream had to say what the client was never told.
    is_healed: bool,
    story: Vec<String>,
}

/// What can be said of the media from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It can be attached: what was tried was refused by the homeserver, or nothing was tried.
    Free,
    /// It was sent on, and nobody has said what came of it: it can be attached to nothing else.
    Unknown,
    /// Tintype was killed or the client gave up at a moment that nobody knows: either of the two.
    Open,
    /// The client was told an event, or it was seen to be.
    Attached { event: String, room: Room },
}

/// One of the two rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Here,
    Elsewhere,
}

/// How the media is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    Avatar,
}

/// Who has seen the media at any moment of the run.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    here: bool,
    elsewhere: bool,
    by_mallory: bool,
}

/// How an attempt ended.
#[derive(Debug)]
struct Outcome {
    answer: Option<Answer>,
    /// How often it got as far as the homeserver's door.
    sent: u32,
    was_killed: bool,
}

impl Run {
    pub async fn play(stage: &mut Stage, number: u64, mut dice: Dice) -> Self {
        let media = stage.alice.upload().await;
        let mut run = Self {
            number,
            media,
            standing: Standing::Free,
            seen: Seen::default(),
            late: 0,
            is_healed: false,
            story: Vec::new(),
        };
        let kind = if dice.percent(25) { Kind::Avatar } else { Kind::Message };
        let name = transaction();
        let fate = fate_of(&mut dice);
        run.attempt(stage, (kind, &name), fate, &mut dice).await;
        for _ in 0..dice.below(4) {
            match dice.below(4) {
                0 => run.attempt_elsewhere(stage).await,
                1 => {
                    let fate = fate_of(&mut dice);
                    run.attempt(stage, (kind, &name), fate, &mut dice).await;
                }
                2 if kind == Kind::Message => run.attempt_with_other_media(stage, &name).await,
                _ => run.attempt(stage, (kind, &name), Fate::CALM, &mut dice).await,
            }
        }
        stage.fickle.is_idle().await;
        run.look(stage).await;
        run
    }

    /// What must hold when Tintype has heard everything.
    pub async fn is_well(&mut self, stage: &Stage, events: &Events) {
        let [here, elsewhere] = events.with(&self.media);
        let here = here.first().map(|event| ((*event).to_owned(), Room::Here));
        let found = here.or_else(|| elsewhere.first().map(|event| ((*event).to_owned(), Room::Elsewhere)));
        match (found, &self.standing) {
            // Whether the client was told or not: what the homeserver has is attached.
            (Some((event, room)), standing) => {
                let attached = Standing::Attached { event, room };
                let was_told = matches!(standing, Standing::Attached { .. });
                self.check(!was_told || *standing == attached, format_args!("the client was told {attached:?}"));
                self.is_healed = !was_told;
                self.standing = attached;
                let (member, other) = match room {
                    Room::Here => (&stage.here.member, &stage.elsewhere.member),
                    Room::Elsewhere => (&stage.elsewhere.member, &stage.here.member),
                };
                self.is_healed_for(member).await;
                self.check(look(other, &self.media).await == Some(StatusCode::FORBIDDEN), "not for the other room");
            }
            (None, Standing::Attached { .. }) => self.check(false, "the client was told an event that there is"),
            (None, _) => {}
        }
        self.check(look(&stage.mallory, &self.media).await != Some(StatusCode::OK), "it is not for everybody");
        self.check(look(&stage.alice, &self.media).await == Some(StatusCode::OK), "its uploader has it");
        // Once more, to something else.
        self.attempt_elsewhere(stage).await;
        self.look(stage).await;
    }

    /// What must hold of all that was ever seen, and of all events that there are at the end.
    pub fn was_right(&self, events: &Events) {
        let [here, elsewhere] = events.with(&self.media);
        let Seen { here: seen_here, elsewhere: seen_elsewhere, by_mallory } = self.seen;
        self.check(!by_mallory, "who is in no room sees nothing");
        self.check(!seen_here || !here.is_empty(), "seen here only with an event here");
        self.check(!seen_elsewhere || !elsewhere.is_empty(), "seen elsewhere only with an event there");
        self.check(here.len() + elsewhere.len() <= 1, "it is in one event at most");
    }

    async fn is_healed_for(&self, member: &Person) {
        let healing = time::timeout(PATIENCE, async {
            while look(member, &self.media).await != Some(StatusCode::OK) {
                time::sleep(ASK_AGAIN_AFTER).await;
            }
        });
        self.check(healing.await.is_ok(), "what the homeserver has is seen by its members");
    }

    /// An attempt that breaks as `fate` says, while others try to see the media.
    async fn attempt(&mut self, stage: &mut Stage, (kind, name): (Kind, &str), fate: Fate, dice: &mut Dice) {
        let is_calm = fate == Fate::CALM;
        let (killed_after, gives_up_after) = match dice.below(8) {
            0 if !is_calm => (Some(dice.milliseconds(80)), None),
            1 if !is_calm => (None, Some(dice.milliseconds(80))),
            _ => (None, None),
        };
        // Who gives up would not notice that.
        let fate = Fate { kill: fate.kill.filter(|_| gives_up_after.is_none()), ..fate };
        self.tell(format_args!("{kind:?} {fate:?}, killed {killed_after:?}, given up {gives_up_after:?}"));
        stage.fickle.decide(fate, stage.door.tintype.killer());
        let outcome = {
            let request = request(&stage.alice, kind, &stage.here.room, name, &self.media);
            let attempt = under(stage, request, killed_after, gives_up_after);
            tokio::pin!(attempt);
            loop {
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    () = self.seen.look_once(stage, &self.media) => {}
                }
            }
        };
        if outcome.was_killed {
            stage.start_again().await;
        }
        stage.calm();
        self.tell(format_args!("{outcome:?}"));
        self.check(outcome.sent <= 1 + self.late, "nothing is sent twice");
        self.late += u32::from(gives_up_after.is_some() && outcome.sent == 0);
        self.standing = self.after(&outcome, fate, gives_up_after.is_some());
        self.look(stage).await;
    }

    /// What can be said after an attempt.
    fn after(&self, Outcome { answer, sent, was_killed }: &Outcome, fate: Fate, gave_up: bool) -> Standing {
        let is_sure = !was_killed && !gave_up;
        let told = answer.as_ref().filter(|answer| answer.status == StatusCode::OK);
        let event = told.map(|told| told.json["event_id"].as_str().expect("an event has an ID").to_owned());
        let attached = event.map(|event| Standing::Attached { event, room: Room::Here });
        match (&self.standing, attached) {
            (Standing::Attached { room: Room::Elsewhere, .. }, attached) => {
                self.check(attached.is_none() && *sent <= self.late, "what is attached elsewhere is refused");
                self.standing.clone()
            }
            (Standing::Attached { .. }, None) => {
                self.check(!is_sure || fate.questions_fail, "what is attached answers retries");
                self.standing.clone()
            }
            (Standing::Attached { .. }, Some(attached)) => {
                self.check(self.standing == attached, "a retry names the same event");
                attached
            }
            (_, Some(attached)) => attached,
            (standing, None) => {
                self.check(!is_sure || fate != Fate::CALM, format_args!("a retry heals what is {standing:?}"));
                let was_refused = *sent > 0 && fate.answer == Hears::Refusal;
                match standing {
                    // What was sent before may have arrived.
                    Standing::Unknown => Standing::Unknown,
                    Standing::Free if is_sure && (was_refused || *sent == 0) => Standing::Free,
                    _ if *sent > 0 && !was_refused => Standing::Unknown,
                    _ => Standing::Open,
                }
            }
        }
    }

    /// The same media in another room, undisturbed.
    async fn attempt_elsewhere(&mut self, stage: &Stage) {
        stage.calm();
        let answer = stage.alice.try_to_send(&stage.elsewhere.room, &transaction(), &self.media).await;
        self.tell(format_args!("elsewhere: {} {}", answer.status, answer.json));
        let is_attached = answer.status == StatusCode::OK;
        self.check(is_attached || answer.status == StatusCode::BAD_REQUEST, "it is attached or refused");
        match (&self.standing, is_attached) {
            (Standing::Free, false) => self.check(false, "what is free can be attached"),
            (Standing::Unknown | Standing::Attached { .. }, true) => {
                self.check(false, "it is attached to nothing else");
            }
            (Standing::Open, false) => self.standing = Standing::Unknown,
            _ => {}
        }
        self.check(is_attached || stage.fickle.sent() <= self.late, "what is refused is not sent");
        if is_attached {
            let event = answer.json["event_id"].as_str().expect("an event has an ID").to_owned();
            self.standing = Standing::Attached { event, room: Room::Elsewhere };
        }
    }

    /// The same transaction with other media, undisturbed: it takes nothing from the first one.
    async fn attempt_with_other_media(&mut self, stage: &Stage, name: &str) {
        // Elsewhere it is another transaction that has it.
        let is_journalled = match self.standing {
            Standing::Unknown => true,
            Standing::Attached { room, .. } => room == Room::Here,
            Standing::Free | Standing::Open => false,
        };
        if !is_journalled {
            return;
        }
        stage.calm();
        let other = stage.alice.upload().await;
        let answer = stage.alice.try_to_send(&stage.here.room, name, &other).await;
        self.tell(format_args!("other media: {} {}", answer.status, answer.json));
        self.check(answer.status == StatusCode::BAD_REQUEST, "a transaction has its media");
    }

    async fn look(&mut self, stage: &Stage) {
        self.seen.look_once(stage, &self.media).await;
    }

    fn tell(&mut self, what: fmt::Arguments<'_>) {
        self.story.push(what.to_string());
    }

    #[track_caller]
    fn check(&self, holds: bool, what: impl fmt::Display) {
        assert!(
            holds,
            "run {}: not so: {what}\n{}\n{:?} {:?}",
            self.number,
            self.story.join("\n"),
            self.standing,
            self.seen
        );
    }
}

impl Seen {
    /// Everybody who is not the uploader tries once.
    async fn look_once(&mut self, stage: &Stage, media: &str) {
        for (person, has_seen) in [
            (&stage.mallory, &mut self.by_mallory),
            (&stage.elsewhere.member, &mut self.elsewhere),
            (&stage.here.member, &mut self.here),
        ] {
            *has_seen |= look(person, media).await == Some(StatusCode::OK);
        }
    }
}

/// The status of the answer to one look, without waiting for an attachment that is under way. While Tintype is down there
/// is none.
async fn look(person: &Person, media: &str) -> Option<StatusCode> {
    answer(person.downloading(media, "?timeout_ms=20")).await.ok().map(|answer| answer.status)
}

/// How the runs ended, for whoever reads the output.
pub fn summary(runs: &[Run]) -> String {
    let mut kinds = BTreeMap::new();
    for run in runs {
        let kind = match run.standing {
            Standing::Attached { .. } if run.is_healed => "attached by the stream",
            Standing::Attached { .. } => "attached",
            Standing::Unknown => "unknown",
            Standing::Open => "open",
            Standing::Free => "free",
        };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    let mut summary = format!("{} runs:", runs.len());
    for (kind, count) in kinds {
        let _ = write!(summary, " {count} {kind}");
    }
    summary
}

/// Sends a request, kills Tintype or gives up meanwhile, and says what came of it.
async fn under(
    stage: &Stage,
    request: RequestBuilder,
    killed_after: Option<Duration>,
    gives_up_after: Option<Duration>,
) -> Outcome {
    let killer = stage.door.tintype.killer();
    let killing = async {
        match killed_after {
            Some(delay) => {
                time::sleep(delay).await;
                killer.kill();
            }
            None => std::future::pending().await,
        }
    };
    let heard = async {
        match gives_up_after {
            Some(patience) => time::timeout(patience, answer(request)).await.ok().and_then(Result::ok),
            None => answer(request).await.ok(),
        }
    };
    tokio::pin!(heard, killing);
    let (answer, was_killed) = tokio::select! {
        heard = &mut heard => (heard, false),
        () = &mut killing => (heard.await, true),
    };
    // Whoever gave up does not wait for what goes on without them.
    if gives_up_after.is_none() {
        stage.fickle.is_idle().await;
    }
    let was_killed = was_killed || stage.fickle.has_killed();
    Outcome { answer, sent: stage.fickle.sent(), was_killed }
}

fn request(alice: &Person, kind: Kind, room: &str, name: &str, media: &str) -> RequestBuilder {
    match kind {
        Kind::Message => alice.sending(room, name, media),
        Kind::Avatar => alice.setting_room_avatar(room, media),
    }
}
