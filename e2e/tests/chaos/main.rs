//! Chaos: three nodes on one database and one object store are killed, paused and cut off, and so are those, while a thousand
//! operations of many clients run. In the end every acknowledged byte is there, nothing that was deleted can be read, no
//! reservation was won twice, and nothing is left over.
//!
//! `plan` decides from a seed what is done and what breaks; `play` does it and writes down what was answered; `history` judges
//! that, and `left` what is left. A failure prints its seed and the histories concerned: `TINTYPE_CHAOS_SEED=7` repeats that
//! run alone, with the same operations and faults at the same times.

mod client;
mod faults;
mod history;
mod left;
mod node;
mod paused;
mod plan;
mod play;
mod stage;
mod way;

use std::{collections::BTreeMap, env, fmt::Write as _, sync::Arc};

use history::{Deed, Found, History};
use plan::Plan;
use play::Play;
use stage::Stage;
use tintype_domain::ContentHash;
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

/// The seeds that are run each time.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_what_was_acknowledged_is_there_and_what_was_deleted_is_not() {
    let seeds = match env::var("TINTYPE_CHAOS_SEED") {
        Ok(seed) => vec![seed.parse().unwrap_or_else(|_| panic!("TINTYPE_CHAOS_SEED={seed} is no number"))],
        Err(_) => SEEDS.collect(),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        if let Err(report) = run(seed).await {
            println!("{report}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "TINTYPE_CHAOS_SEED repeats each of these runs: {failed:?}");
}

async fn run(seed: u64) -> Result<(), String> {
    let plan = Plan::of(seed);
    let started = Instant::now();
    let stage = Stage::set(seed).await;
    let set = started.elapsed();

    let plays = everything(&plan, &stage).await;
    stage.is_up().await;
    let played = started.elapsed();
    in_the_end(&plays, End::Completed).await;
    in_the_end(&plays, End::Read).await;
    // What is to be tidied up each minute is so at a start, too.
    stage.start_again().await;
    in_the_end(&plays, End::Read).await;
    let histories = plays.iter().map(|(number, play)| play.history(*number)).collect::<Vec<_>>();
    let acknowledged = histories.iter().flat_map(History::acknowledged);
    let acknowledged = acknowledged.map(|content| ContentHash::of(&content.bytes(seed)).to_string()).collect();
    let mut wrong = left::disagreements(&stage, &acknowledged).await;
    for node in &stage.nodes {
        wrong.append(&mut node.lock().await.complaints);
    }

    println!("TINTYPE_CHAOS_SEED={seed}: {}", summary(&plan, &histories));
    let ended = started.elapsed();
    println!("  up after {set:.1?}, played after {played:.1?}, judged after {ended:.1?}");
    let mut report = String::new();
    for history in &histories {
        let verdict = history.verdict();
        if !verdict.is_empty() {
            let _ = writeln!(report, "{}\n{history}", verdict.join("\n"));
        }
    }
    for what in wrong {
        let _ = writeln!(report, "{what}");
    }
    if report.is_empty() {
        return Ok(());
    }
    for fault in &plan.faults {
        let _ = writeln!(
            report,
            "  {:6}–{:6} ms {:?}",
            fault.at.as_millis(),
            (fault.at + fault.lasts).as_millis(),
            fault.fault
        );
    }
    for node in &stage.nodes {
        node.lock().await.keep();
    }
    Err(format!("TINTYPE_CHAOS_SEED={seed} failed:\n{report}"))
}

/// All stories and all faults of the plan, to their end.
async fn everything(plan: &Plan, stage: &Arc<Stage>) -> Vec<(u32, Arc<Play>)> {
    let began = Instant::now();
    let mut faults = JoinSet::new();
    for fault in plan.faults.clone() {
        let stage = Arc::clone(stage);
        faults.spawn(async move {
            time::sleep_until(began + fault.at).await;
            stage.suffer(fault.fault, fault.lasts).await;
        });
    }
    let mut stories = JoinSet::new();
    for story in plan.stories.clone() {
        let (seed, stage) = (plan.seed, Arc::clone(stage));
        stories.spawn(async move { (story.number, Arc::new(Play::whole(seed, stage, began, story).await)) });
    }
    let looking_after = tokio::spawn({
        let stage = Arc::clone(stage);
        async move { stage.look_after_nodes().await }
    });
    faults.join_all().await;
    let mut plays = stories.join_all().await;
    looking_after.abort();
    plays.sort_by_key(|(number, _)| *number);
    plays
}

/// What is done with all media when all is up again.
#[derive(Clone, Copy)]
enum End {
    /// What is not there yet is brought.
    Completed,
    /// All nodes are asked for it.
    Read,
}

async fn in_the_end(plays: &[(u32, Arc<Play>)], end: End) {
    // A few at once: this is no test of load.
    let mut reading = JoinSet::new();
    for some in plays.chunks(plays.len().div_ceil(8)) {
        let some = some.to_vec();
        reading.spawn(async move {
            for (number, play) in some {
                match end {
                    End::Completed => play.complete(number).await,
                    End::Read => play.read_everywhere().await,
                }
            }
        });
    }
    reading.join_all().await;
}

/// What a run consisted of, for whoever reads the output.
fn summary(plan: &Plan, histories: &[History]) -> String {
    let mut counts = BTreeMap::<_, u32>::new();
    let mut add = |what: String| *counts.entry(what).or_default() += 1;
    for event in histories.iter().flat_map(|history| &history.events) {
        let deed = match event.deed {
            Deed::Upload(_) => "upload",
            Deed::Create => "create",
            Deed::Put(_) => "put",
            Deed::Part(_) => "part",
            Deed::Progress => "progress",
            Deed::Read => "read",
            Deed::Delete => "delete",
        };
        add(match &event.found {
            Found::Done | Found::Whole(_) => format!("{deed} ok"),
            Found::Beginning(_) => format!("{deed} broken off"),
            Found::Foreign(_) => format!("{deed} foreign"),
            Found::Refused(refusal) => format!("{deed} {}", refusal.status),
            Found::NotSent => format!("{deed} not sent"),
            Found::Lost => format!("{deed} lost"),
        });
    }
    let stored = histories.iter().filter(|history| history.is_acknowledged()).count();
    let (operations, faults) = (plan.operations(), plan.faults.len());
    let mut summary = format!("{operations} operations, {faults} faults, {stored} of {} stored;", histories.len());
    for (what, count) in counts {
        let _ = write!(summary, " {what}: {count},");
    }
    summary
}
