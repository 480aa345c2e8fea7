//! The words that every crate of Tintype shares: MXC URIs, requesters, content hashes, time and randomness.
//!
//! Each type is parsed once, at the edge, and is valid from then on. Nothing here does I/O; time and randomness are
//! passed in as [`Clock`] and [`Randomness`], so that tests decide what time it is and which IDs come next.

mod audience;
mod hash;
mod lifetime;
mod mxc;
mod randomness;
mod requester;
mod server_pattern;
mod time;

pub use audience::Audience;
pub use hash::{ContentHash, ContentHasher, ParseContentHashError};
pub use lifetime::Lifetime;
pub use mxc::{MediaId, Mxc, ParseMxcError};
pub use randomness::{OsRandomness, Randomness};
pub use requester::{Requester, User};
pub use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
pub use server_pattern::{ParseServerPatternError, ServerPattern};
pub use time::{Alarm, Clock, ManualClock, SystemClock, Timestamp};
