//! Whatever several users do with reserved URIs, in whatever order, the server does what a small model says.
//!
//! The steps are made up; the server, its storage and the connections are real, and only its clock is the test's. Each
//! step says what the server has to answer, and where an upload stands after it. A failure is shrunk to the fewest
//! steps that still fail.

mod model;
mod world;

use proptest::{collection::vec, prelude::*, test_runner::Config};
use tokio::runtime::Runtime;

use self::world::World;

/// What somebody does. Slots are counted round: there are always enough of them.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Reserves a URI.
    Create { user: usize },
    /// Uploads all at once.
    Put { who: Who, slot: usize, length: usize },
    /// Begins to upload.
    Begin { who: Who, slot: usize, kind: Kind, length: usize },
    /// Sends more of an upload that was begun, but not its last byte.
    Feed { slot: usize, length: usize },
    /// Sends the rest.
    Finish { slot: usize },
    /// Closes the sender's connection.
    BreakOff { slot: usize },
    /// Asks how far an upload is.
    Ask { who: Who, slot: usize },
    /// Continues an upload in one request.
    Continue { who: Who, slot: usize, at: Offset, end: End, length: usize },
    /// Cancels an upload.
    Cancel { who: Who, slot: usize },
    /// Downloads what is there.
    Download { who: Who, slot: usize },
    /// Begins a download that reads what arrives.
    Follow { who: Who, slot: usize },
    /// Lets hours pass.
    Wait,
    /// Stops the server and starts it again.
    Restart,
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Who reserved the URI.
    Creator,
    /// The other user.
    Stranger,
}

/// How an upload is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    resumable: bool,
    says_its_length: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offset {
    Right,
    Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..6_usize;
    let who = prop_oneof![5 => Just(Who::Creator), 1 => Just(Who::Stranger)];
    // Around the size up to which media lies beside its record, and the blocks in which files are written.
    let length = prop_oneof![3 => 1..100_usize, 1 => 65_000..66_000_usize, 1 => 262_000..263_000_usize];
    let kind = any::<(bool, bool)>().prop_map(|(resumable, says_its_length)| Kind { resumable, says_its_length });
    let at = prop_oneof![4 => Just(Offset::Right), 1 => Just(Offset::Wrong)];
    let end = prop_oneof![Just(End::Here), Just(End::Later)];
    let whose = (who, slot.clone());
    prop_oneof![
        4 => (0..2_usize).prop_map(|user| Step::Create { user }),
        1 => (whose.clone(), length.clone()).prop_map(|((who, slot), length)| Step::Put { who, slot, length }),
        8 => (whose.clone(), kind, length.clone())
            .prop_map(|((who, slot), kind, length)| Step::Begin { who, slot, kind, length }),
        8 => (slot.clone(), length.clone()).prop_map(|(slot, length)| Step::Feed { slot, length }),
        3 => slot.clone().prop_map(|slot| Step::Finish { slot }),
        4 => slot.prop_map(|slot| Step::BreakOff { slot }),
        3 => whose.clone().prop_map(|(who, slot)| Step::Ask { who, slot }),
        5 => (whose.clone(), at, end, length)
            .prop_map(|((who, slot), at, end, length)| Step::Continue { who, slot, at, end, length }),
        1 => whose.clone().prop_map(|(who, slot)| Step::Cancel { who, slot }),
        3 => whose.clone().prop_map(|(who, slot)| Step::Download { who, slot }),
        5 => whose.prop_map(|(who, slot)| Step::Follow { who, slot }),
        2 => Just(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() })]

    #[test]
    fn whatever_is_done_the_server_does_what_the_model_says(steps in vec(step(), 1..80)) {
        let runtime = Runtime::new().expect("there is room for a runtime");
        runtime.block_on(async {
            let mut world = World::begin().await;
            for step in steps {
                world.step(step).await;
            }
            world.end().await;
        });
    }
}
