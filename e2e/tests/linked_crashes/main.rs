//! Crash and retry: whatever becomes of Tintype or of what the homeserver answers, at whatever step of attaching, media
//! belongs to one event at most, is seen by nobody else, and is not lost where the client tries again or where the
//! homeserver says later what has happened.
//!
//! `E2E_CRASH_RUNS=500` is the full number; `E2E_CRASH_SEED` repeats a series. Each run has dice of its own, of the seed
//! and its number, so `E2E_CRASH_FIRST` can begin with the one that failed.

mod dice;
mod run;
mod stage;

use std::env;

use dice::Dice;
use run::Run;
use stage::Stage;

const RUNS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_is_attached_at_most_once_and_never_lost_whatever_breaks() {
    let seed = number("E2E_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let (first, runs) = (number("E2E_CRASH_FIRST").unwrap_or(0), number("E2E_CRASH_RUNS").unwrap_or(RUNS));
    println!("E2E_CRASH_SEED={seed}, {runs} runs");
    let mut stage = Stage::set().await;

    let mut ended = Vec::new();
    for number in first..first + runs {
        let dice = Dice::new(seed, number);
        ended.push(Run::play(&mut stage, number, dice).await);
    }

    // The homeserver has told everything by the time it answers a later event.
    stage.catch_up().await;
    let events = stage.events().await;
    for run in &mut ended {
        run.is_well(&stage, &events).await;
    }
    let events = stage.events().await;
    for run in &ended {
        run.was_right(&events);
    }
    println!("{}", run::summary(&ended));
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
