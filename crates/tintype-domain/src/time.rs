//! Time that is passed in, so that tests can move it.

use std::{
    fmt,
    future::Future,
    ops::{Add, Sub},
    pin::Pin,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::sleep};

/// Milliseconds since the Unix epoch, as Matrix counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// A time that never comes.
    pub const NEVER: Self = Self(i64::MAX);

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Resolves when a clock shows some time.
pub type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time, and when a time has come.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Resolves when the clock shows `time` or a later one.
    fn reaches(&self, time: Timestamp) -> Alarm;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// The time that is left is measured once, when this is called: setting the clock does not change it any more.
    fn reaches(&self, time: Timestamp) -> Alarm {
        let left = time.since(self.now());
        Box::pin(async move { sleep(left).await })
    }
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = *now + by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn reaches(&self, time: Timestamp) -> Alarm {
        let mut shown = self.0.subscribe();
        Box::pin(async move {
            // A clock that is gone shows no later time.
            if shown.wait_for(|now| *now >= time).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    const START: Timestamp = Timestamp(1_000);

    /// Whether it is over now, without waiting.
    async fn is_over(alarm: &mut Alarm) -> bool {
        std::future::poll_fn(|context| Poll::Ready(alarm.as_mut().poll(context).is_ready())).await
    }

    #[test]
    fn times_beyond_the_end_of_time_never_come() {
        assert_eq!(START + Duration::MAX, Timestamp::NEVER);
        assert_eq!(Timestamp::NEVER + Duration::from_secs(1), Timestamp::NEVER);
        assert_eq!(START.since(Timestamp::NEVER), Duration::ZERO);
        assert_eq!(Timestamp(i64::MAX).since(Timestamp(i64::MIN)), Duration::from_millis(i64::MAX.unsigned_abs()));
    }

    #[tokio::test]
    async fn a_clock_that_is_moved_wakes_who_waits_for_its_time_and_nobody_else() {
        let clock = ManualClock::new(START);
        let (mut sooner, mut later) = (clock.reaches(Timestamp(1_500)), clock.reaches(Timestamp(1_501)));
        assert!(!is_over(&mut sooner).await);

        clock.advance(Duration::from_millis(500));

        assert_eq!(clock.now(), Timestamp(1_500));
        assert!(is_over(&mut sooner).await);
        assert!(!is_over(&mut later).await);
    }

    #[tokio::test]
    async fn who_waits_already_is_woken() {
        let clock = ManualClock::new(START);
        let alarm = tokio::spawn(clock.reaches(Timestamp(1_500)));
        tokio::task::yield_now().await;

        clock.advance(Duration::from_millis(499));
        tokio::task::yield_now().await;
        assert!(!alarm.is_finished());
        clock.advance(Duration::from_millis(1));

        alarm.await.unwrap();
    }

    #[tokio::test]
    async fn a_time_that_has_come_is_not_waited_for() {
        let (manual, system) = (ManualClock::new(START), SystemClock);

        assert!(is_over(&mut manual.reaches(START)).await);
        assert!(is_over(&mut manual.reaches(Timestamp(0))).await);
        system.reaches(Timestamp(0)).await;
        system.reaches(system.now()).await;
    }

    #[tokio::test]
    async fn the_machines_clock_shows_the_time_when_it_wakes() {
        let clock = SystemClock;
        let time = clock.now() + Duration::from_millis(20);

        clock.reaches(time).await;

        assert!(clock.now() >= time);
    }

    #[tokio::test]
    async fn a_clock_that_is_gone_wakes_nobody() {
        let clock = ManualClock::new(START);
        let mut alarm = pin!(clock.reaches(Timestamp::NEVER));
        drop(clock);

        assert!(!is_over(&mut alarm).await);
    }
}
