//! What homeservers showed to whom a moment ago.
//!
//! A picture is asked for several times at once: as a thumbnail, whole, in ranges, and once more by the next who scrolls
//! past it. Only what was shown is remembered, and only for seconds.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use tintype_domain::{Clock, ContentHash, OwnedEventId, OwnedUserId, Timestamp};
use tintype_homeserver::QuestionError;

/// How long it is believed that somebody may see something. Whatever the stream of events tells ends it sooner; what it
/// does not tell, a homeserver's own rules, is believed no longer than this.
const BELIEVED_FOR: Duration = Duration::from_secs(5);

/// Answers remembered at once.
const REMEMBERED: u64 = 100_000;

/// What a homeserver was asked whether somebody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    Event(OwnedEventId),
    Profile(OwnedUserId),
}

/// How a homeserver showed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    AsItIs,
    Redacted,
}

/// All that was shown.
pub(crate) struct Sights {
    /// How often everything was forgotten. It is part of each key: what was asked before is not believed afterwards, even
    /// if its answer comes only then.
    epoch: AtomicU64,
    /// By the token that showed it, and until when it is believed.
    shown: Cache<(u64, ContentHash, Sight), (Timestamp, Shown)>,
}

impl Default for Sights {
    fn default() -> Self {
        // Until when they count the key says; by the machine's clock they only leave the memory.
        let shown = Cache::builder().max_capacity(REMEMBERED).time_to_live(10 * BELIEVED_FOR).build();
        Self { epoch: AtomicU64::new(0), shown }
    }
}

impl Sights {
    /// Forgets everything, what is being asked at this moment included.
    pub(crate) fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.shown.invalidate_all();
    }

    /// What was shown to whoever has this token, or what the question brings, which is asked once for all who want to know
    /// at the same time. A refusal is not remembered.
    pub(super) async fn see(
        &self,
        clock: &dyn Clock,
        token: ContentHash,
        sight: Sight,
        question: impl Future<Output = Result<Shown, QuestionError>>,
    ) -> Result<Shown, QuestionError> {
        let key = (self.epoch.load(Ordering::Acquire), token, sight);
        if let Some((until, shown)) = self.shown.get(&key).await {
            if clock.now() < until {
                return Ok(shown);
            }
            self.shown.invalidate(&key).await;
        }
        let asking = async {
            let asked_at = clock.now();
            let shown = question.await?;
            Ok((asked_at + BELIEVED_FOR, shown))
        };
        let seen = Box::pin(self.shown.try_get_with(key, asking)).await;
        seen.map(|(_, shown)| shown).map_err(|error: Arc<QuestionError>| (*error).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tintype_domain::ManualClock;
    use tokio::sync::oneshot;

    use super::*;

    struct World {
        sights: Sights,
        clock: ManualClock,
        asked: Cell<u32>,
    }

    impl World {
        fn new() -> Self {
            Self { sights: Sights::default(), clock: ManualClock::new(Timestamp(0)), asked: Cell::new(0) }
        }

        async fn see(&self, token: &str, answer: Result<Shown, QuestionError>) -> Result<Shown, QuestionError> {
            let question = async {
                self.asked.set(self.asked.get() + 1);
                answer
            };
            self.sights.see(&self.clock, ContentHash::of(token.as_bytes()), sight(), question).await
        }
    }

    fn sight() -> Sight {
        Sight::Event("$event".try_into().expect("it is an event's ID"))
    }

    #[tokio::test]
    async fn what_was_shown_is_believed_for_five_seconds_and_no_longer() {
        let world = World::new();
        world.see("alice", Ok(Shown::AsItIs)).await.unwrap();

        world.clock.advance(Duration::from_millis(4_999));
        world.see("alice", Err(QuestionError::Hidden)).await.unwrap();
        world.clock.advance(Duration::from_millis(1));
        let later = world.see("alice", Err(QuestionError::Hidden)).await;

        assert!(matches!(later, Err(QuestionError::Hidden)));
        assert_eq!(world.asked.get(), 2);
    }

    #[tokio::test]
    async fn neither_refusals_nor_what_was_shown_to_another_token_is_believed() {
        let world = World::new();

        assert!(world.see("alice", Err(QuestionError::Hidden)).await.is_err());
        assert_eq!(world.see("alice", Ok(Shown::Redacted)).await.unwrap(), Shown::Redacted);
        assert!(world.see("bob", Err(QuestionError::Hidden)).await.is_err());
    }

    #[tokio::test]
    async fn what_is_forgotten_is_asked_again() {
        let world = World::new();
        world.see("alice", Ok(Shown::AsItIs)).await.unwrap();

        world.sights.forget();

        assert!(world.see("alice", Err(QuestionError::Hidden)).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_was_under_way_when_all_was_forgotten_is_not_believed_afterwards() {
        let world = World::new();
        let (answers, answer) = oneshot::channel();
        let question = async { answer.await.map_err(|_| QuestionError::Hidden) };
        let token = ContentHash::of(b"alice");
        let seeing = world.sights.see(&world.clock, token, sight(), question);
        let forgetting = async {
            world.sights.forget();
            answers.send(Shown::AsItIs).unwrap();
        };

        let (seen, ()) = tokio::join!(seeing, forgetting);
        let afterwards = world.see("alice", Err(QuestionError::Hidden)).await;

        assert_eq!(seen.unwrap(), Shown::AsItIs);
        assert!(afterwards.is_err());
    }

    #[tokio::test]
    async fn one_question_is_asked_for_all_who_want_to_know_at_once() {
        let world = World::new();

        let (one, other) = tokio::join!(world.see("alice", Ok(Shown::AsItIs)), world.see("alice", Ok(Shown::AsItIs)));

        assert_eq!((one.unwrap(), other.unwrap()), (Shown::AsItIs, Shown::AsItIs));
        assert_eq!(world.asked.get(), 1);
    }
}
