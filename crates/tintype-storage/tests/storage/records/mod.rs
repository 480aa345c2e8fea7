//! The records, through their interface: the same tests on every engine.

mod attachments;
mod copies;
mod damages;
mod deletions;
mod media;
mod media_requests;
mod remote;
mod reservations;
mod rooms;
mod unattached;

use super::support;
