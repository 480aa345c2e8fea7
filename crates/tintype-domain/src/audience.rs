//! Who may see media (MSC3911).

use ruma_common::{OwnedEventId, OwnedUserId};

/// Who may see a piece of media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Everybody with an account: media that is not restricted.
    Everyone,
    /// Whoever uploaded it: restricted media that is attached to nothing yet.
    Uploader,
    /// Whoever uploaded it, until it is known whether the event that it was sent with exists: others wait for that.
    Attaching,
    /// Those who may see this event.
    Event(OwnedEventId),
    /// Those who may see this user's profile.
    Profile(OwnedUserId),
    /// Nobody: its origin restricts it in a way that is not understood here.
    Nobody,
}

impl Audience {
    /// Whether it is less than everybody.
    pub fn is_restricted(&self) -> bool {
        *self != Self::Everyone
    }
}
