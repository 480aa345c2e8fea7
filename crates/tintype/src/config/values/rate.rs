//! How often something may be done.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rate: so many a second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Rate {
    /// How many a second, in the long run.
    pub per_second: NonZeroU32,
    /// How many at once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate of `per_second` with bursts of `burst`. Zero, which no rate can be, becomes one.
    pub(in crate::config) const fn new(per_second: u32, burst: u32) -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            match NonZeroU32::new(number) {
                Some(number) => number,
                None => NonZeroU32::MIN,
            }
        }
        Self { per_second: at_least_one(per_second), burst: at_least_one(burst) }
    }
}
