//! What there is to know of a reserved URI.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Receiving, Sending};

use super::{Kind, Who};

/// How long a reservation can be used.
pub(super) const EXPIRES_AFTER: Duration = Duration::from_hours(24);

/// A reserved URI.
pub(super) struct Slot {
    pub(super) mxc: Mxc,
    pub(super) creator: usize,
    /// Since the start of the test.
    pub(super) expires_at: Duration,
    pub(super) state: State,
    /// Downloads of what arrives, and how much of it they have read.
    pub(super) followers: Vec<(Receiving, usize)>,
}

/// Where an upload stands.
pub(super) enum State {
    Reserved,
    Arriving(Box<Arriving>),
    Interrupted(Part),
    Stored(Vec<u8>),
}

pub(super) struct Arriving {
    pub(super) sending: Sending,
    pub(super) kind: Kind,
    pub(super) part: Part,
    /// All that the sender would send.
    pub(super) planned: Vec<u8>,
}

/// What has arrived of an upload, and how long it is to become if that was said.
#[derive(Clone, Default)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    pub(super) length: Option<usize>,
}

/// How the server looks upon a request for this slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does not know it (any more).
    NotFound,
    /// It is somebody else's.
    Forbidden,
    /// It has its content.
    Stored,
    /// A plain upload is arriving.
    Arriving,
    /// A resumable upload is arriving, which gives way to whoever continues it.
    Resumable,
    /// It waits for its upload, or for the rest of it.
    Open,
    /// It is expired, but its upload is still arriving: then it may be either.
    Twilight,
}

impl Slot {
    pub(super) fn is_expired(&self, now: Duration) -> bool {
        now >= self.expires_at
    }

    /// Whether it counts for the limit of its creator.
    pub(super) fn is_pending(&self, now: Duration) -> bool {
        !self.is_expired(now) && !matches!(self.state, State::Stored(_))
    }

    pub(super) fn verdict(&self, who: Who, now: Duration) -> Verdict {
        let is_arriving = matches!(self.state, State::Arriving(_));
        match &self.state {
            State::Stored(_) if who == Who::Creator => Verdict::Stored,
            State::Stored(_) => Verdict::Forbidden,
            _ if self.is_expired(now) && is_arriving => Verdict::Twilight,
            _ if self.is_expired(now) => Verdict::NotFound,
            _ if who == Who::Stranger => Verdict::Forbidden,
            State::Arriving(arriving) if arriving.kind.resumable => Verdict::Resumable,
            State::Arriving(_) => Verdict::Arriving,
            State::Reserved | State::Interrupted(_) => Verdict::Open,
        }
    }

    /// What has arrived.
    pub(super) fn part(&self) -> Part {
        match &self.state {
            State::Arriving(arriving) => arriving.part.clone(),
            State::Interrupted(part) => part.clone(),
            State::Reserved | State::Stored(_) => Part::default(),
        }
    }
}
