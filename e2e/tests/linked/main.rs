//! Who sees media that belongs to an event: each cell of the table of who has seen what of a room, with a real Synapse
//! behind Tintype.
//!
//! Each test asks the homeserver itself whether it shows that user the event, and only then Tintype for the media: where
//! the first is not as expected the fault is one of the suite.

mod attaching;
mod avatars;
mod messages;
mod nginx;
mod profiles;
mod redactions;
mod room;

use e2e::{
    front_door::{FrontDoor, Setting},
    synapse::Profiles,
};
use tokio::sync::OnceCell;

/// One homeserver and one Tintype for the whole suite.
async fn front_door() -> &'static FrontDoor {
    static FRONT_DOOR: OnceCell<FrontDoor> = OnceCell::const_new();
    let setting = Setting { profiles: Profiles::OfThoseWhoShareARoom, ..Setting::default() };
    FRONT_DOOR.get_or_init(|| FrontDoor::start(setting)).await
}
