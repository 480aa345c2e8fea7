//! Chance that can be repeated (SplitMix64), and what it decides.

use std::time::Duration;

use e2e::fickle::{Fate, Hears, Moment};

/// The dice of one run.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, run: u64) -> Self {
        Self(seed ^ run.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// Less than `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Yes, with so much of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn milliseconds(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }

    /// What becomes of a request that attaches.
    pub fn fate(&mut self) -> Fate {
        if self.percent(15) {
            return Fate::CALM;
        }
        let arrives = self.percent(65);
        let answer = match self.below(7) {
            0 | 1 => Hears::Nothing,
            #[expect(clippy::cast_precision_loss, reason = "a hundredth")]
            2 | 3 => Hears::Part(self.below(100) as f64 / 100.0),
            4 => Hears::InternalError,
            5 if !arrives => Hears::Refusal,
            _ => Hears::Answer,
        };
        let kill = match self.below(8) {
            0 => Some(Moment::Arrived),
            1 => Some(Moment::Answered),
            2 => Some(Moment::Passed),
            _ => None,
        };
        let before = if self.percent(30) { self.milliseconds(150) } else { Duration::ZERO };
        let after = if self.percent(30) { self.milliseconds(150) } else { Duration::ZERO };
        Fate { arrives, answer, before, after, kill, questions_fail: self.percent(10) }
    }
}
