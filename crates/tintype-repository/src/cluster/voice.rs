//! What this node tells the others: gathered while the last words are being committed, and told together.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tintype_storage::records::LONGEST_TOLD;
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Shared, word::Word};

/// How often a node tells itself that it hears.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long what could not be told waits to be told again.
const RETRY: Duration = Duration::from_millis(200);

/// Words that wait to be told.
#[derive(Default)]
pub(super) struct Voice {
    waiting: Mutex<Waiting>,
    wanted: Notify,
    /// How many words have been told.
    told: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    /// How many words there have been so far.
    said: u64,
}

impl Voice {
    /// Has this told soon.
    pub(super) fn say(&self, word: &Word) {
        let mut line = word.line();
        if line.len() > LONGEST_TOLD / 2 {
            line = Word::Unknown.line();
        }
        let mut waiting = self.waiting();
        waiting.said += 1;
        waiting.lines.push_back(line);
        drop(waiting);
        self.wanted.notify_one();
    }

    /// Resolves when all that was said before is committed.
    pub(super) async fn told(&self) {
        let said = self.waiting().said;
        // Its sender lives as long as this.
        let _ = self.told.subscribe().wait_for(|told| *told >= said).await;
    }

    /// As many of the waiting lines as can be told at once, and how many they are.
    fn next(&self, speaker: &str) -> Option<(String, u64)> {
        let waiting = self.waiting();
        let mut text = speaker.to_owned();
        let mut count = 0;
        for line in &waiting.lines {
            if text.len() + 1 + line.len() > LONGEST_TOLD {
                break;
            }
            text.push('\n');
            text.push_str(line);
            count += 1;
        }
        (count > 0).then_some((text, count))
    }

    fn were_told(&self, count: u64) {
        let mut waiting = self.waiting();
        for _ in 0..count {
            waiting.lines.pop_front();
        }
        drop(waiting);
        self.told.send_modify(|told| *told += count);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change under this lock is whole before anything in it could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what is said, until the node leaves; then whatever is left of it.
pub(super) fn speak(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let mut beat = interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shared.voice.wanted.notified() => {}
                _ = beat.tick() => shared.voice.say(&Word::Beat(shared.hearing.now())),
                () = shared.closing.cancelled() => break,
            }
            while let Some((text, count)) = shared.voice.next(&shared.node().to_string()) {
                match shared.records.tell_nodes(&text).await {
                    Ok(()) => shared.voice.were_told(count),
                    Err(error) => {
                        tracing::warn!(%error, "the other nodes could not be told something; it is tried again");
                        if shared.closing.run_until_cancelled(sleep(RETRY)).await.is_none() {
                            break;
                        }
                    }
                }
            }
        }
        // Nobody waits any longer than this node is here: the others forget what they remember when they miss it.
        shared.voice.told.send_replace(u64::MAX);
    });
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_is_told_at_once_fits() {
        let voice = Voice::default();
        for _ in 0..1000 {
            voice.say(&Word::Changed("mxc://example.org/abcdefghijklmnopqrstuvwx".parse().unwrap()));
        }

        let (mut times, mut all) = (0, 0);
        while let Some((text, count)) = voice.next("node") {
            assert!(text.len() <= LONGEST_TOLD);
            assert_eq!(text.lines().count() as u64, count + 1);
            voice.were_told(count);
            (times, all) = (times + 1, all + count);
        }

        assert_eq!(all, 1000);
        assert!(times < 10, "{times}");
    }

    #[test]
    fn who_waits_is_released_by_the_commit_of_what_was_said_before() {
        let voice = Voice::default();
        assert!(voice.told().now_or_never().is_some(), "nothing was said");
        voice.say(&Word::Rooms);
        let mut told = Box::pin(voice.told());
        assert!(told.as_mut().now_or_never().is_none());
        voice.say(&Word::Visibility);

        voice.were_told(1);

        assert!(told.now_or_never().is_some());
        assert!(voice.told().now_or_never().is_none());
    }

    #[test]
    fn a_word_that_is_too_long_is_one_that_nobody_understands() {
        let voice = Voice::default();
        let event = format!("${}", "e".repeat(LONGEST_TOLD)).try_into().unwrap();
        voice.say(&Word::Overruled("mxc://a/b".parse().unwrap(), tintype_domain::Audience::Event(event)));

        let (text, _) = voice.next("node").unwrap();

        assert_eq!(Word::parse(text.lines().last().unwrap()), Word::Unknown);
    }
}
