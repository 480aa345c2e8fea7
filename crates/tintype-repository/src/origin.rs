//! May another server see what media of ours is attached to? (MSC3911: the origin decides, before it gives anything away.)
//!
//! What is asked is whether any user of that server could have been shown the event: by the history visibility at the
//! event (client-server API, "Room history visibility"), and by when that server had users in the room, which the stream
//! of the application service tells. Whoever is refused may come too early: the event reaches other servers before its
//! position reaches us. So what is not known yet is waited for; what stays unknown is not shown.

use tintype_domain::{Audience, EventId, Mxc, Requester, ServerName};
use tintype_storage::records::{LinkedEvent, Presence, RecordsError};

use crate::{Caller, Inner, OpenError, Repository, visibility::Admission};

/// What becomes of a server that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One of its users may see it.
    Allowed,
    /// None may, as far as everything is known.
    Refused,
    /// It depends on what is not known, which is said.
    Undecided(&'static str),
}

/// The history visibility at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

/// Whether an event is a state event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    State,
    Message,
    Unknown,
}

/// All that decides.
struct Case<'a> {
    /// None if it is not known.
    visibility: Option<Visibility>,
    kind: Kind,
    /// Where in the stream the event was; none if it has not come yet.
    position: Option<i64>,
    presence: &'a Presence,
}

impl Visibility {
    fn parse(text: &str) -> Self {
        match text {
            "world_readable" => Self::WorldReadable,
            "shared" => Self::Shared,
            "invited" => Self::Invited,
            // Whatever it means, it is not less than that.
            _ => Self::Joined,
        }
    }
}

impl<'a> Case<'a> {
    fn of(event: &LinkedEvent, presence: &'a Presence) -> Self {
        Self {
            visibility: event.visibility.as_deref().map(Visibility::parse),
            kind: match (&event.state_key, &event.event_type) {
                (Some(_), _) => Kind::State,
                (None, Some(_)) => Kind::Message,
                (None, None) => Kind::Unknown,
            },
            position: event.position,
            presence,
        }
    }

    /// The rule. What allows is looked for first: it holds whatever else is not known.
    fn verdict(&self) -> Verdict {
        let Self { visibility, kind, position, presence } = self;
        let in_the_room_now = presence.is_joined() || presence.is_invited();
        let at_the_event = |position: i64| {
            presence.was_joined_at(position)
                || *visibility == Some(Visibility::Shared) && presence.was_joined_since(position)
                || *visibility == Some(Visibility::Invited) && presence.was_invited_at(position)
        };
        if *visibility == Some(Visibility::WorldReadable)
            || *kind == Kind::State && in_the_room_now
            || position.is_some_and(at_the_event)
        {
            Verdict::Allowed
        } else if visibility.is_none() {
            Verdict::Undecided("the history visibility at the event is not known")
        } else if position.is_none() {
            Verdict::Undecided("the event has not come from the homeserver yet")
        } else if !presence.room_is_known {
            Verdict::Undecided("it is not known who is in the room")
        } else if *kind == Kind::Unknown {
            Verdict::Undecided("it is not known whether it is a state event")
        } else {
            Verdict::Refused
        }
    }
}

impl Repository {
    /// Whether a server may be given media of ours that is for this audience.
    ///
    /// # Errors
    /// [`OpenError::NotVisible`] if not, or if the records fail. That is written into the log.
    pub(crate) async fn origin_admits(
        &self,
        server: &ServerName,
        mxc: &Mxc,
        audience: &Audience,
    ) -> Result<Admission, OpenError> {
        match audience {
            // Whoever the profile is of may be in a room with any of its users.
            Audience::Everyone | Audience::Profile(_) => Ok(Admission::Admitted),
            Audience::Attaching => Ok(Admission::Undetermined),
            Audience::Uploader | Audience::Nobody => {
                self.0.refuse(server, mxc, "it is attached to nothing");
                Err(OpenError::NotVisible)
            }
            Audience::Event(event_id) => match self.0.judge(server, mxc, event_id).await? {
                Verdict::Allowed => Ok(Admission::Admitted),
                Verdict::Undecided(_) => Ok(Admission::Undetermined),
                Verdict::Refused => {
                    self.0.refuse(server, mxc, "none of its users could see the event");
                    Err(OpenError::NotVisible)
                }
            },
        }
    }
}

impl Repository {
    /// What is missing was waited for in vain: the caller is refused, and if it is a server, that is written into the log.
    pub(crate) async fn stays_undetermined(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        audience: &Audience,
    ) -> Result<(), RecordsError> {
        let Requester::Server(server) = &caller.requester else { return Ok(()) };
        let why = match audience {
            Audience::Event(event_id) => match self.0.judge(server, mxc, event_id).await? {
                Verdict::Undecided(why) => why,
                Verdict::Allowed | Verdict::Refused => "it was not known in time whether it could see the event",
            },
            _ => "it is still being attached",
        };
        self.0.refuse(server, mxc, why);
        Ok(())
    }
}

impl Inner {
    async fn judge(&self, server: &ServerName, mxc: &Mxc, event_id: &EventId) -> Result<Verdict, RecordsError> {
        let Some(event) = self.records.find_linked_event(event_id).await? else {
            return Ok(Verdict::Undecided("nothing is known of the event"));
        };
        let Some(room_id) = &event.room_id else {
            return Ok(Verdict::Undecided("the room of the event is not known"));
        };
        let presence = self.records.presence(&mxc.server_name, room_id, server).await?;
        Ok(Case::of(&event, &presence).verdict())
    }

    /// The one line for an operator who is asked why a picture does not show elsewhere.
    fn refuse(&self, server: &ServerName, mxc: &Mxc, why: &str) {
        self.metrics.server_refused();
        tracing::info!(%server, media = %mxc, why, "linked media was not given to another server");
    }
}

#[cfg(test)]
mod tests {
    use tintype_storage::records::Interval;

    use super::{Kind::*, Verdict::*, Visibility::*, *};

    /// Where the event is.
    const EVENT: i64 = 100;

    fn interval(from: i64, until: Option<i64>) -> Vec<Interval> {
        vec![Interval { from, until }]
    }

    /// A server of whose users one was joined then, and one invited then.
    fn presence(joined: Vec<Interval>, invited: Vec<Interval>) -> Presence {
        Presence { room_is_known: true, joined, invited }
    }

    fn never() -> Presence {
        presence(Vec::new(), Vec::new())
    }

    fn verdict(visibility: impl Into<Option<Visibility>>, kind: Kind, presence: &Presence) -> Verdict {
        Case { visibility: visibility.into(), kind, position: Some(EVENT), presence }.verdict()
    }

    /// The verdicts on a message and on a state event, for each visibility.
    fn verdicts(presence: &Presence) -> [(Verdict, Verdict); 4] {
        [WorldReadable, Shared, Invited, Joined]
            .map(|visibility| (verdict(visibility, Message, presence), verdict(visibility, State, presence)))
    }

    #[test]
    fn a_server_sees_what_its_users_could_be_shown() {
        let (yes, no) = (Allowed, Refused);
        let joined = |from, until| presence(interval(from, until), Vec::new());
        let invited = |from, until| presence(Vec::new(), interval(from, until));
        for (case, presence, [world_readable, shared, invited, joined]) in [
            ("never there", never(), [(yes, yes), (no, no), (no, no), (no, no)]),
            ("joined at it, and still", joined(1, None), [(yes, yes), (yes, yes), (yes, yes), (yes, yes)]),
            ("joined with it", joined(EVENT, None), [(yes, yes), (yes, yes), (yes, yes), (yes, yes)]),
            ("left with it", joined(1, Some(EVENT)), [(yes, yes), (yes, yes), (yes, yes), (yes, yes)]),
            ("joined at it, and left", joined(1, Some(200)), [(yes, yes), (yes, yes), (yes, yes), (yes, yes)]),
            ("joined after it, and still", joined(101, None), [(yes, yes), (yes, yes), (no, yes), (no, yes)]),
            ("joined after it, and left", joined(101, Some(200)), [(yes, yes), (yes, yes), (no, no), (no, no)]),
            ("left before it", joined(1, Some(99)), [(yes, yes), (no, no), (no, no), (no, no)]),
            ("invited at it, and still", invited(1, None), [(yes, yes), (no, yes), (yes, yes), (no, yes)]),
            ("invited with it", invited(EVENT, None), [(yes, yes), (no, yes), (yes, yes), (no, yes)]),
            ("invited at it, and not any more", invited(1, Some(200)), [(yes, yes), (no, no), (yes, yes), (no, no)]),
            ("invited after it, and still", invited(101, None), [(yes, yes), (no, yes), (no, yes), (no, yes)]),
            ("invited after it, and not any more", invited(101, Some(200)), [(yes, yes), (no, no), (no, no), (no, no)]),
            ("invited before it", invited(1, Some(99)), [(yes, yes), (no, no), (no, no), (no, no)]),
            (
                "invited at it, joined after it, and left",
                super::Presence { joined: interval(150, Some(200)), ..invited(1, Some(149)) },
                [(yes, yes), (yes, yes), (yes, yes), (no, no)],
            ),
            (
                "left before it, and back after it",
                super::Presence { joined: [interval(1, Some(99)), interval(101, None)].concat(), ..never() },
                [(yes, yes), (yes, yes), (no, yes), (no, yes)],
            ),
        ] {
            assert_eq!(verdicts(&presence), [world_readable, shared, invited, joined], "{case}");
        }
    }

    #[test]
    fn what_is_known_to_allow_is_enough() {
        let unknown_room = |presence| super::Presence { room_is_known: false, ..presence };
        let joined = unknown_room(presence(interval(1, Some(200)), Vec::new()));
        let now = unknown_room(presence(interval(150, None), Vec::new()));

        assert_eq!(verdict(None, Unknown, &joined), Allowed);
        assert_eq!(verdict(Shared, Message, &now), Allowed);
        let elsewhere = Case { visibility: None, kind: State, position: None, presence: &now };
        assert_eq!(elsewhere.verdict(), Allowed);
        let world_readable =
            Case { visibility: Some(WorldReadable), kind: Unknown, position: None, presence: &unknown_room(never()) };
        assert_eq!(world_readable.verdict(), Allowed);
    }

    #[test]
    fn what_is_missing_is_waited_for() {
        let later = presence(interval(101, None), Vec::new());
        let undecided = |verdict: Verdict| matches!(verdict, Undecided(_));

        assert!(undecided(verdict(None, Message, &never())), "without the visibility");
        assert!(undecided(verdict(None, Message, &later)), "without the visibility, and joined later");
        assert!(undecided(verdict(Invited, Unknown, &later)), "a message or a state event");
        for presence in [never(), later] {
            for visibility in [Shared, Invited, Joined] {
                let case = Case { visibility: Some(visibility), kind: Message, position: None, presence: &presence };
                assert!(undecided(case.verdict()), "without its position, {visibility:?}");
            }
        }
        for visibility in [Shared, Invited, Joined] {
            for kind in [Message, State] {
                let unknown = Presence { room_is_known: false, ..never() };
                assert!(undecided(verdict(visibility, kind, &unknown)), "in an unknown room, {visibility:?}");
            }
        }
    }

    #[test]
    fn a_visibility_that_is_not_understood_is_the_strictest() {
        for text in ["joined", "", "Shared", "org.example.friends"] {
            assert_eq!(Visibility::parse(text), Joined, "{text}");
        }
        for (text, visibility) in [("world_readable", WorldReadable), ("shared", Shared), ("invited", Invited)] {
            assert_eq!(Visibility::parse(text), visibility);
        }
    }

    #[test]
    fn an_event_with_a_state_key_is_a_state_event() {
        let presence = never();
        let kind = |state_key: Option<&str>, event_type: Option<&str>| {
            let event = LinkedEvent {
                state_key: state_key.map(str::to_owned),
                event_type: event_type.map(str::to_owned),
                ..LinkedEvent::default()
            };
            Case::of(&event, &presence).kind
        };

        assert_eq!(kind(Some(""), Some("m.room.avatar")), State);
        assert_eq!(kind(None, Some("m.room.message")), Message);
        assert_eq!(kind(None, None), Unknown);
    }
}
