//! Chance that can be repeated (`SplitMix64`).

use std::time::Duration;

/// Dice of one run: the same seed and number throw the same.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of the run of this number in the series of this seed.
    pub fn new(seed: u64, run: u64) -> Self {
        Self(seed ^ run.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.number() % below
    }

    /// From `from` up to and without `to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    /// An index below `length`.
    ///
    /// # Panics
    /// If there is none.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    /// Yes, with so much of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// So many milliseconds at most.
    pub fn milliseconds(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }
}
