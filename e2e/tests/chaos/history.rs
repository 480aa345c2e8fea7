//! What was done to one piece of media, and whether what was answered can be true.
//!
//! A history is judged when all is over, with nothing but what its clients saw. Two events are in an order only where one had
//! ended before the other one began.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::plan::{Content, Kind, Target};

/// All that was done to a piece of media.
#[derive(Debug)]
pub struct History {
    pub story: u32,
    pub kind: Kind,
    pub uri: Option<String>,
    pub events: Vec<Event>,
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the beginning of the run.
    pub began: Duration,
    pub ended: Duration,
    pub to: Target,
    pub deed: Deed,
    pub found: Found,
    pub time: Time,
}

/// When it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// While things broke.
    Chaos,
    /// Afterwards, when all was up again.
    Quiet,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Upload(Content),
    Create,
    Put(Content),
    /// To begin, or to go on with, an upload that can be gone on with.
    Part(Content),
    /// How far that is.
    Progress,
    Read,
    Delete,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was done, says the answer.
    Done,
    /// These bytes, all of them.
    Whole(Content),
    /// The first ones of these bytes; then the connection broke.
    Beginning(Option<Content>),
    /// Bytes that nobody uploaded.
    Foreign(String),
    Refused(Refusal),
    /// It did not arrive.
    NotSent,
    /// Nobody knows.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub errcode: String,
    /// `Upload-Complete: ?1`
    pub is_stored: bool,
    /// Whether it says when to come again.
    pub is_for_now: bool,
}

impl History {
    /// What cannot be true of it; empty if it is all right.
    pub fn verdict(&self) -> Vec<String> {
        let known = Known::of(&self.events);
        let mut wrong = Vec::new();
        for event in &self.events {
            if let Err(what) = self.judge(event, &known) {
                wrong.push(format!("{what}: {event}"));
            }
        }
        if known.acknowledged.len() > 1 {
            wrong.push(format!("won more than once: {:?}", known.acknowledged));
        }
        if known.whole.len() > 1 {
            wrong.push(format!("is not the same for all: {:?}", known.whole));
        }
        if let Some(refused) = known.whole.intersection(&known.refused).next() {
            wrong.push(format!("was refused, and is there: {refused:?}"));
        }
        wrong.extend(self.is_not_one_in_the_end());
        wrong
    }

    fn judge(&self, event: &Event, known: &Known) -> Result<(), &'static str> {
        let is_gone = known.gone_at.is_some_and(|gone| gone < event.began);
        let may_be_gone = known.deleting_since.is_some_and(|since| since < event.ended);
        // Another server may be asked again for what it has given before.
        let is_stored = !self.is_remote() && known.stored_at.is_some_and(|stored| stored < event.began);
        match (&event.deed, &event.found) {
            (_, Found::Refused(refusal)) => self.judge_refusal(event, refusal, (is_gone, may_be_gone, is_stored)),
            (_, Found::NotSent | Found::Lost) if event.time == Time::Quiet => Err("no answer when all was up"),
            (_, Found::Beginning(_)) if event.time == Time::Quiet => Err("broken off when all was up"),
            (Deed::Read, Found::Foreign(_)) => Err("bytes that nobody uploaded"),
            (Deed::Read, Found::Whole(_) | Found::Beginning(_)) if is_gone => Err("readable after its deletion"),
            (Deed::Put(_) | Deed::Part(_), Found::Done) if is_gone => Err("taken after its deletion"),
            (Deed::Read, Found::Whole(content)) if !known.acknowledged.is_empty() => {
                let is_theirs = known.acknowledged.contains(content);
                if is_theirs { Ok(()) } else { Err("other bytes than were acknowledged") }
            }
            _ => Ok(()),
        }
    }

    fn judge_refusal(
        &self,
        event: &Event,
        refusal: &Refusal,
        (is_gone, may_be_gone, is_stored): (bool, bool, bool),
    ) -> Result<(), &'static str> {
        let Refusal { status, errcode, .. } = refusal;
        match (event.deed, status, errcode.as_str()) {
            (_, 500..=599, _) if event.time == Time::Quiet && *status != 504 => Err("an error when all was up"),
            (Deed::Read, 504, "M_NOT_YET_UPLOADED") if is_gone => Err("waited for though it is gone"),
            (Deed::Read, 504, "M_NOT_YET_UPLOADED") if is_stored && !may_be_gone => Err("stored, and not there"),
            (_, 503, "M_UNKNOWN") if refusal.is_for_now => Ok(()),
            (Deed::Read, 502, "M_UNKNOWN") if self.is_remote() => Ok(()),
            (Deed::Read | Deed::Put(_) | Deed::Part(_) | Deed::Progress, 404, "M_NOT_FOUND") if may_be_gone => Ok(()),
            (Deed::Delete, 404, "M_NOT_FOUND") if is_gone || self.was_deleted_beside(event) => Ok(()),
            (Deed::Put(_) | Deed::Part(_) | Deed::Progress, 409, "M_CANNOT_OVERWRITE_MEDIA")
                if refusal.is_stored || self.was_sent_beside(event) =>
            {
                Ok(())
            }
            // Of a part: another request goes on with it, or it is at another offset.
            (Deed::Read, 504, "M_NOT_YET_UPLOADED") | (Deed::Part(_), 409, "M_UNKNOWN") => Ok(()),
            _ => Err("not an answer that it may have"),
        }
    }

    fn is_remote(&self) -> bool {
        matches!(self.kind, Kind::Remote(_))
    }

    fn was_deleted_beside(&self, event: &Event) -> bool {
        let mut others = self.events.iter().filter(|other| other.deed == Deed::Delete && other.began < event.began);
        others.any(|other| other.found != Found::NotSent)
    }

    fn was_sent_beside(&self, event: &Event) -> bool {
        let is_upload = |other: &Event| matches!(other.deed, Deed::Put(_) | Deed::Part(_));
        self.events.iter().any(|other| {
            is_upload(other)
                && !std::ptr::eq(other, event)
                && other.found != Found::NotSent
                && other.began < event.ended
        })
    }

    /// In the end all nodes say the same.
    fn is_not_one_in_the_end(&self) -> Option<String> {
        let quiet = self.events.iter().filter(|event| event.time == Time::Quiet && event.deed == Deed::Read);
        let found = quiet.map(|event| format!("{:?}", event.found)).collect::<BTreeSet<_>>();
        (found.len() > 1).then(|| format!("in the end nodes do not agree: {found:?}"))
    }

    /// Whether it is known to be stored, or may have been deleted.
    pub fn is_settled(&self) -> bool {
        let known = Known::of(&self.events);
        known.stored_at.is_some() || known.deleting_since.is_some()
    }

    /// What it was stored with, as somebody was told.
    pub fn acknowledged(&self) -> BTreeSet<Content> {
        Known::of(&self.events).acknowledged
    }

    /// Whether it counts as stored, so that how many there were can be told.
    pub fn is_acknowledged(&self) -> bool {
        !Known::of(&self.events).acknowledged.is_empty()
    }
}

/// What is certain.
#[derive(Debug, Default)]
struct Known {
    acknowledged: BTreeSet<Content>,
    whole: BTreeSet<Content>,
    refused: BTreeSet<Content>,
    /// Somebody knew that it is there.
    stored_at: Option<Duration>,
    /// Nobody can have deleted it before.
    deleting_since: Option<Duration>,
    /// Somebody knew that it is gone.
    gone_at: Option<Duration>,
}

impl Known {
    fn of(events: &[Event]) -> Self {
        let mut known = Self::default();
        let earlier = |old: Option<Duration>, new: Duration| Some(old.map_or(new, |old| old.min(new)));
        for Event { began, ended, deed, found, .. } in events {
            match (*deed, found) {
                (Deed::Upload(content) | Deed::Put(content) | Deed::Part(content), Found::Done) => {
                    known.acknowledged.insert(content);
                    known.stored_at = earlier(known.stored_at, *ended);
                }
                (Deed::Put(content), Found::Refused(refusal)) if refusal.status < 500 => {
                    known.refused.insert(content);
                    if refusal.is_stored {
                        known.stored_at = earlier(known.stored_at, *ended);
                    }
                }
                (Deed::Progress, Found::Refused(refusal)) if refusal.is_stored => {
                    known.stored_at = earlier(known.stored_at, *ended);
                }
                (Deed::Read, Found::Whole(content)) => {
                    known.whole.insert(*content);
                    known.stored_at = earlier(known.stored_at, *ended);
                }
                (Deed::Read, Found::Refused(refusal)) if refusal.status == 404 => {
                    known.gone_at = earlier(known.gone_at, *ended);
                }
                (Deed::Delete, found) => {
                    if *found != Found::NotSent {
                        known.deleting_since = earlier(known.deleting_since, *began);
                    }
                    let is_gone = *found == Found::Done || matches!(found, Found::Refused(Refusal { status: 404, .. }));
                    if is_gone {
                        known.gone_at = earlier(known.gone_at, *ended);
                    }
                }
                _ => {}
            }
        }
        known
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { began, ended, to, deed, found, .. } = self;
        write!(f, "{:6}–{:6} ms {to:?} {deed:?} → {found:?}", began.as_millis(), ended.as_millis())
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "story {} {:?} {}", self.story, self.kind, self.uri.as_deref().unwrap_or("without a name"))?;
        let mut events = self.events.iter().collect::<Vec<_>>();
        events.sort_by_key(|event| event.began);
        events.into_iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Content = Content { of: 7, number: 0, length: 20 };
    const OTHER: Content = Content { of: 7, number: 1, length: 20 };

    fn event(began: u64, ended: u64, deed: Deed, found: Found) -> Event {
        let time = if began >= 1_000 { Time::Quiet } else { Time::Chaos };
        let (began, ended) = (Duration::from_millis(began), Duration::from_millis(ended));
        Event { began, ended, to: Target::Any, deed, found, time }
    }

    fn refused(status: u16, errcode: &str) -> Found {
        let errcode = errcode.to_owned();
        Found::Refused(Refusal { status, errcode, is_stored: false, is_for_now: status == 503 })
    }

    fn is_right(kind: Kind, events: Vec<Event>) -> bool {
        History { story: 7, kind, uri: None, events }.verdict().is_empty()
    }

    #[test]
    fn what_was_acknowledged_has_to_be_there_from_then_on() {
        let put = event(0, 10, Deed::Put(ONE), Found::Done);
        let read =
            |began, found| is_right(Kind::Asynchronous, vec![put.clone(), event(began, began + 20, Deed::Read, found)]);

        assert!(read(20, Found::Whole(ONE)));
        assert!(read(20, refused(503, "M_UNKNOWN")));
        assert!(read(5, refused(504, "M_NOT_YET_UPLOADED")));
        assert!(!read(20, refused(504, "M_NOT_YET_UPLOADED")));
        assert!(!read(20, refused(404, "M_NOT_FOUND")));
        assert!(!read(20, refused(500, "M_UNKNOWN")));
        assert!(!read(20, Found::Whole(OTHER)));
        assert!(!read(1_000, refused(503, "M_UNKNOWN")));
        assert!(!read(1_000, Found::Lost));
    }

    #[test]
    fn what_was_deleted_is_read_by_nobody_who_comes_afterwards() {
        let events = |deleted: Found, began, found| {
            let mut events = vec![event(0, 10, Deed::Upload(ONE), Found::Done), event(50, 60, Deed::Delete, deleted)];
            events.push(event(began, began + 20, Deed::Read, found));
            is_right(Kind::Ephemeral, events)
        };

        assert!(events(Found::Done, 55, Found::Whole(ONE)));
        assert!(events(Found::Done, 70, refused(404, "M_NOT_FOUND")));
        assert!(!events(Found::Done, 70, Found::Whole(ONE)));
        assert!(!events(Found::Done, 70, Found::Beginning(Some(ONE))));
        assert!(events(Found::Lost, 70, Found::Whole(ONE)));
        assert!(events(Found::Lost, 70, refused(404, "M_NOT_FOUND")));
        assert!(!events(Found::NotSent, 70, refused(404, "M_NOT_FOUND")));
        assert!(!events(refused(404, "M_NOT_FOUND"), 70, refused(404, "M_NOT_FOUND")));
    }

    #[test]
    fn a_reservation_is_won_once() {
        let puts = |first, second| {
            let puts = vec![event(0, 30, Deed::Put(ONE), first), event(5, 40, Deed::Put(OTHER), second)];
            is_right(Kind::Asynchronous, puts)
        };

        assert!(puts(Found::Done, refused(409, "M_CANNOT_OVERWRITE_MEDIA")));
        assert!(puts(Found::Done, Found::Lost));
        assert!(!puts(Found::Done, Found::Done));
    }

    #[test]
    fn what_nobody_was_told_is_there_for_all_or_for_nobody() {
        let ends = |first, second| {
            let put = event(0, 30, Deed::Put(ONE), Found::Lost);
            let reads = [event(1_000, 1_010, Deed::Read, first), event(1_000, 1_010, Deed::Read, second)];
            is_right(Kind::Asynchronous, [vec![put], reads.to_vec()].concat())
        };
        let nothing = || refused(504, "M_NOT_YET_UPLOADED");

        assert!(ends(Found::Whole(ONE), Found::Whole(ONE)));
        assert!(ends(nothing(), nothing()));
        assert!(!ends(nothing(), Found::Whole(ONE)));
        assert!(!ends(Found::Foreign("20 bytes".to_owned()), Found::Foreign("20 bytes".to_owned())));
    }

    #[test]
    fn what_was_refused_is_not_there() {
        let events = |refusal| {
            let put = event(0, 30, Deed::Put(ONE), Found::Done);
            let other = event(5, 20, Deed::Put(OTHER), refusal);
            is_right(Kind::Asynchronous, vec![put, other, event(40, 50, Deed::Read, Found::Whole(OTHER))])
        };

        assert!(!events(refused(409, "M_CANNOT_OVERWRITE_MEDIA")));
    }
}
