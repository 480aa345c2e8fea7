//! Media that belongs to an event or a profile (MSC3911).

mod deleting;
mod seeing;
