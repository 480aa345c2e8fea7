//! What chance decides of a request that attaches.

use std::time::Duration;

pub use e2e::dice::Dice;
use e2e::fickle::{Fate, Hears, Moment};

/// What becomes of a request that attaches.
pub fn fate_of(dice: &mut Dice) -> Fate {
    if dice.percent(15) {
        return Fate::CALM;
    }
    let arrives = dice.percent(65);
    let answer = match dice.below(7) {
        0 | 1 => Hears::Nothing,
        #[expect(clippy::cast_precision_loss, reason = "a hundredth")]
        2 | 3 => Hears::Part(dice.below(100) as f64 / 100.0),
        4 => Hears::InternalError,
        5 if !arrives => Hears::Refusal,
        _ => Hears::Answer,
    };
    let kill = match dice.below(8) {
        0 => Some(Moment::Arrived),
        1 => Some(Moment::Answered),
        2 => Some(Moment::Passed),
        _ => None,
    };
    let before = if dice.percent(30) { dice.milliseconds(150) } else { Duration::ZERO };
    let after = if dice.percent(30) { dice.milliseconds(150) } else { Duration::ZERO };
    Fate { arrives, answer, before, after, kill, questions_fail: dice.percent(10) }
}
