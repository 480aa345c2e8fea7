//! What breaks in a run.

use std::{collections::BTreeMap, time::Duration};

use e2e::dice::Dice;

use crate::plan::{LENGTH, NODES};

/// Something that breaks.
#[derive(Clone, Copy, Debug)]
pub struct PlannedFault {
    pub at: Duration,
    pub lasts: Duration,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A node is killed, and is started again.
    Killed(usize),
    /// A node is stopped, and goes on.
    Paused(usize),
    /// PostgreSQL is stopped, and is started again.
    NoDatabase,
    /// `SeaweedFS` likewise.
    NoStore,
    /// All connections of a way are cut, and for a while there are no others.
    Cut(WayOf),
    /// Nothing comes through on a way, in either direction.
    Silent(WayOf),
}

/// The ways that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WayOf {
    /// From this node to PostgreSQL.
    Database(usize),
    /// From this node to the object store.
    Store(usize),
    /// From the other nodes to this one.
    Node(usize),
}

/// One after the other, and never two at the same thing.
pub fn faults(dice: &mut Dice) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    let mut busy_until: BTreeMap<Thing, u64> = BTreeMap::new();
    if dice.percent(60) {
        // Longer than death.
        let (node, at) = (dice.index(NODES), dice.between(300, 2_500));
        let lasts = dice.between(11_000, LENGTH - at);
        // It hangs; or it goes on, and does not know what the others say of it.
        let fault = if dice.percent(60) { Fault::Paused(node) } else { Fault::Silent(WayOf::Database(node)) };
        busy_until.insert(thing(fault), at + lasts);
        faults.push(planned(at, lasts, fault));
    }
    let mut at = dice.between(300, 1_500);
    while at < LENGTH {
        let (fault, lasts) = fault(dice);
        let lasts = lasts.min(LENGTH - at);
        let free_at = busy_until.entry(thing(fault)).or_default();
        if at >= *free_at {
            *free_at = at + lasts + 300;
            faults.push(planned(at, lasts, fault));
        }
        at += dice.between(300, 1_400);
    }
    faults
}

fn fault(dice: &mut Dice) -> (Fault, u64) {
    let node = dice.index(NODES);
    match dice.below(100) {
        0..20 => (Fault::Killed(node), dice.between(0, 2_000)),
        20..35 => (Fault::Paused(node), dice.between(50, 2_500)),
        35..42 => (Fault::Paused(node), dice.between(3_000, 6_000)),
        42..50 => (Fault::NoDatabase, dice.between(0, 1_500)),
        50..52 => (Fault::NoDatabase, dice.between(5_500, 6_500)),
        52..62 => (Fault::NoStore, dice.between(0, 3_000)),
        62..82 => (Fault::Cut(way(dice)), if dice.percent(50) { 0 } else { dice.between(100, 4_500) }),
        _ => (Fault::Silent(way(dice)), dice.between(100, 4_500)),
    }
}

fn way(dice: &mut Dice) -> WayOf {
    let node = dice.index(NODES);
    match dice.below(3) {
        0 => WayOf::Database(node),
        1 => WayOf::Store(node),
        _ => WayOf::Node(node),
    }
}

fn planned(at: u64, lasts: u64, fault: Fault) -> PlannedFault {
    PlannedFault { at: Duration::from_millis(at), lasts: Duration::from_millis(lasts), fault }
}

/// What a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Node(usize),
    Database,
    Store,
    Way(WayOf),
}

fn thing(fault: Fault) -> Thing {
    match fault {
        Fault::Killed(node) | Fault::Paused(node) => Thing::Node(node),
        Fault::NoDatabase => Thing::Database,
        Fault::NoStore => Thing::Store,
        Fault::Cut(way) | Fault::Silent(way) => Thing::Way(way),
    }
}
