//! Random numbers that can be had again: a failure prints the seed, and the seed repeats the run's choices.

use tintype_domain::{OsRandomness, Randomness as _};

/// Set this variable to the printed seed to repeat a run.
const SEED: &str = "TINTYPE_FAULTS_SEED";

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run, printed. Shown with a test's output if it fails.
    pub fn seed() -> u64 {
        let seed = std::env::var(SEED).map_or_else(
            |_| {
                let mut bytes = [0; 8];
                OsRandomness.fill(&mut bytes);
                u64::from_ne_bytes(bytes)
            },
            |seed| seed.parse().expect("the seed is a number"),
        );
        println!("{SEED}={seed}");
        seed
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// That many bytes, which no compression or accident makes equal to others.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
