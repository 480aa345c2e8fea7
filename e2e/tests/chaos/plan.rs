//! What is done and what breaks in a run, all of it decided by the seed before anything begins.
//!
//! A run is many stories at once, each of one piece of media: who creates it, who uploads to it, reads it and deletes it, when
//! and at which node. Beside them faults happen. Nothing here depends on what is answered.

use std::time::Duration;

use e2e::dice::Dice;

use crate::faults::{PlannedFault, faults};

/// How many operations a run has, retries not counted.
pub const OPERATIONS: usize = 1000;

/// When the last story begins at the latest, in milliseconds.
const LAST_BEGINS: u64 = 12_500;

/// By when all faults have ended, in milliseconds.
pub const LENGTH: u64 = 14_500;

/// How many nodes there are.
pub const NODES: usize = 3;

/// Users take turns: uploads of one meet in the sum of what that user has.
pub const USERS: usize = 6;

/// How many pieces of media another server has.
pub const REMOTE: usize = 24;

/// Bytes that can be told from all others: by whom they were made, and the how-manieth of theirs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub of: u32,
    pub number: u32,
    pub length: usize,
}

/// All that happens in a run.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub stories: Vec<Story>,
    pub faults: Vec<PlannedFault>,
}

/// What happens to one piece of media.
#[derive(Clone, Debug)]
pub struct Story {
    pub number: u32,
    pub begins: Duration,
    pub kind: Kind,
    pub user: usize,
    pub steps: Vec<Planned>,
}

/// What kind of media it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Uploaded, and kept.
    Upload,
    /// Uploaded, and deleted.
    Ephemeral,
    /// Reserved, then uploaded.
    Asynchronous,
    /// Reserved, uploaded, and deleted at some moment.
    EphemeralAsynchronous,
    /// Reserved, with an upload that breaks off and is gone on with.
    Resumable,
    /// Of this number at another server.
    Remote(usize),
}

/// A step of a story, at so much time after its beginning, or as soon as the media has a name.
#[derive(Clone, Debug)]
pub struct Planned {
    pub after: Duration,
    pub to: Target,
    pub step: Step,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Node(usize),
    /// Whoever is next at the balancer.
    Any,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Step {
    Upload {
        content: Content,
        pace: Pace,
    },
    Create,
    Put {
        content: Content,
        pace: Pace,
        tries: u32,
    },
    /// An upload that can be gone on with; its connection breaks after so many bytes.
    Begin {
        content: Content,
        pace: Pace,
        breaks_after: usize,
    },
    /// Goes on with it, as often as it takes.
    Resume {
        content: Content,
        tries: u32,
    },
    Read {
        patience: Duration,
    },
    Delete {
        tries: u32,
    },
}

/// In how many pieces a body is sent, with a pause before each but the first.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub pieces: usize,
    pub pause: Duration,
}

impl Content {
    /// The bytes. They begin with whose they are, so they are told apart however few there are.
    pub fn bytes(self, seed: u64) -> Vec<u8> {
        let mut dice = Dice::new(seed, u64::from(self.of) << 32 | u64::from(self.number));
        let mut bytes = Vec::with_capacity(self.length + 8);
        bytes.extend_from_slice(&self.of.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        while bytes.len() < self.length {
            bytes.extend_from_slice(&dice.number().to_le_bytes());
        }
        bytes.truncate(self.length);
        bytes
    }
}

impl Plan {
    /// The run of this seed.
    pub fn of(seed: u64) -> Self {
        let mut stories = Vec::new();
        let mut operations = 0;
        while operations < OPERATIONS {
            let number = u32::try_from(stories.len()).expect("they are few");
            let story = Story::of(number, &mut Dice::new(seed, 1 + u64::from(number)));
            operations += story.steps.len();
            stories.push(story);
        }
        Self { seed, stories, faults: faults(&mut Dice::new(seed, 0)) }
    }

    /// How many steps there are.
    pub fn operations(&self) -> usize {
        self.stories.iter().map(|story| story.steps.len()).sum()
    }
}

impl Story {
    fn of(number: u32, dice: &mut Dice) -> Self {
        let begins = dice.milliseconds(LAST_BEGINS);
        let kind = match dice.below(100) {
            0..20 => Kind::Upload,
            20..35 => Kind::Ephemeral,
            35..60 => Kind::Asynchronous,
            60..80 => Kind::EphemeralAsynchronous,
            80..90 => Kind::Resumable,
            _ => Kind::Remote(dice.index(REMOTE)),
        };
        let user = dice.index(USERS);
        let mut story = Self { number, begins, kind, user, steps: Vec::new() };
        story.write(dice);
        story
    }

    fn write(&mut self, dice: &mut Dice) {
        match self.kind {
            Kind::Upload => {
                self.upload(dice);
                self.reads(dice, 4, 3_000);
            }
            Kind::Ephemeral => {
                self.upload(dice);
                self.reads(dice, 3, 2_500);
                self.deletes(dice, 3_000);
            }
            Kind::Asynchronous => {
                self.create(dice);
                self.puts(dice);
                self.reads(dice, 5, 4_000);
            }
            Kind::EphemeralAsynchronous => {
                self.create(dice);
                self.puts(dice);
                self.reads(dice, 4, 3_500);
                self.deletes(dice, 4_000);
            }
            Kind::Resumable => {
                self.create(dice);
                let content = self.content(0, dice.between(20_000, 400_000));
                let breaks_after = dice.index(content.length);
                let begin = Step::Begin { content, pace: pace(dice), breaks_after };
                self.step(dice, 500, begin);
                self.step(dice, 3_000, Step::Resume { content, tries: 6 });
                self.reads(dice, 3, 4_000);
            }
            Kind::Remote(_) => {
                // Many at once, at all nodes: of these requests one asks the other server.
                let together = dice.milliseconds(1_000);
                for _ in 0..dice.between(2, 5) {
                    let step = Step::Read { patience: patience(dice) };
                    self.steps.push(Planned { after: together, to: target(dice), step });
                }
                self.reads(dice, 2, 3_000);
            }
        }
    }

    fn step(&mut self, dice: &mut Dice, within: u64, step: Step) {
        self.steps.push(Planned { after: dice.milliseconds(within), to: target(dice), step });
    }

    fn create(&mut self, dice: &mut Dice) {
        self.steps.push(Planned { after: Duration::ZERO, to: target(dice), step: Step::Create });
    }

    fn upload(&mut self, dice: &mut Dice) {
        // The same bytes as others, so that what is deleted here is kept there.
        let content = if dice.percent(25) {
            let number = u32::try_from(dice.below(6)).expect("it is small");
            Content { of: u32::MAX, number, length: 10_000 * (1 + number as usize) }
        } else {
            self.content(0, length(dice))
        };
        let step = Step::Upload { content, pace: pace(dice) };
        self.steps.push(Planned { after: Duration::ZERO, to: target(dice), step });
    }

    /// One `PUT`, or two at once; or two one after the other, of which the second may come too late.
    fn puts(&mut self, dice: &mut Dice) {
        let (count, together) = match dice.below(10) {
            0..5 => (1, false),
            5..9 => (2, true),
            _ => (2, false),
        };
        let at = dice.milliseconds(2_500);
        for number in 0..count {
            let step = Step::Put { content: self.content(number * 100, length(dice)), pace: pace(dice), tries: 4 };
            let after = if together { at } else { dice.milliseconds(2_500) };
            self.steps.push(Planned { after, to: target(dice), step });
        }
    }

    fn reads(&mut self, dice: &mut Dice, count: u64, within: u64) {
        for _ in 0..=dice.below(count + 1) {
            let step = Step::Read { patience: patience(dice) };
            self.step(dice, within, step);
        }
    }

    fn deletes(&mut self, dice: &mut Dice, within: u64) {
        self.step(dice, within, Step::Delete { tries: 4 });
        // After it, most of the time.
        self.reads(dice, 2, within + 2_500);
    }

    fn content(&self, number: u32, length: u64) -> Content {
        Content { of: self.number, number, length: usize::try_from(length).expect("it fits into memory") }
    }
}

fn target(dice: &mut Dice) -> Target {
    match dice.index(NODES + 1) {
        NODES => Target::Any,
        node => Target::Node(node),
    }
}

/// Few bytes, many, and sometimes so many that they are a while on their way.
fn length(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0..8 => dice.between(16, 5_000),
        8..18 => dice.between(20_000, 200_000),
        _ => dice.between(500_000, 3_000_000),
    }
}

fn pace(dice: &mut Dice) -> Pace {
    match dice.below(10) {
        0..5 => Pace { pieces: 1, pause: Duration::ZERO },
        5..9 => Pace { pieces: 4, pause: dice.milliseconds(150) },
        _ => Pace { pieces: 10, pause: dice.milliseconds(350) },
    }
}

fn patience(dice: &mut Dice) -> Duration {
    match dice.below(4) {
        0 => Duration::ZERO,
        1 => dice.milliseconds(1_000),
        _ => dice.milliseconds(6_000),
    }
}
