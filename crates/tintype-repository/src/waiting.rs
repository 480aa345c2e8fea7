//! Who waits for media that was promised, and who wakes them.
//!
//! A request enters first and looks afterwards, or has looked before it entered and is told if anything has
//! happened since: so no wake-up is lost between looking and waiting. There is room for so many, and for so many of one
//! user; who has waited longest makes room for who comes, so that waiting never takes what downloads of finished media
//! need.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tintype_domain::Mxc;
use tintype_http::forwarded::rate_key;
use tokio::sync::Notify;

use crate::Caller;

/// How many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingLimits {
    /// In all.
    pub total: usize,
    /// Of one user; of one address where there is no user.
    pub per_user: usize,
}

/// All who wait.
pub(crate) struct WaitingRoom {
    limits: WaitingLimits,
    hasher: RandomState,
    places: Mutex<Places>,
    waiting: Gauge,
    ended_early: Counter,
}

#[derive(Default)]
struct Places {
    /// By their number: the longest waiting comes first.
    all: BTreeMap<u64, Arc<Place>>,
    by_media: HashMap<Mxc, BTreeSet<u64>>,
    by_user: HashMap<u64, BTreeSet<u64>>,
    next: u64,
    /// How often anybody was woken.
    calls: u64,
    closed: bool,
}

struct Place {
    mxc: Mxc,
    user: u64,
    wanted: Wanted,
    bell: Notify,
    early: AtomicBool,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// Something to begin with.
    Beginning,
}

/// What had happened at some moment, as far as those who wait need to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

/// A request that waits, until this is dropped.
pub(crate) struct Waiter<'a> {
    room: &'a WaitingRoom,
    number: u64,
    place: Arc<Place>,
}

/// Why a waiter was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something has changed: look again.
    Look,
    /// Its place is needed.
    Early,
}

impl WaitingRoom {
    /// An empty one.
    pub(crate) fn new(limits: WaitingLimits, waiting: Gauge, ended_early: Counter) -> Self {
        Self { limits, hasher: RandomState::new(), places: Mutex::default(), waiting, ended_early }
    }

    /// The present: take it before looking, and bring it to [`WaitingRoom::enter`].
    pub(crate) fn now(&self) -> Moment {
        Moment(self.places().calls)
    }

    /// Begins to wait for `mxc`, having looked at `looked`. Whoever has waited too long for the room that there is has
    /// to leave.
    pub(crate) fn enter(&self, mxc: &Mxc, wanted: Wanted, caller: &Caller, looked: Moment) -> Waiter<'_> {
        let user = match caller.requester.user() {
            Some(user) => self.hasher.hash_one(user.user_id.as_bytes()),
            None => self.hasher.hash_one(rate_key(caller.address)),
        };
        let place =
            Arc::new(Place { mxc: mxc.clone(), user, wanted, bell: Notify::new(), early: AtomicBool::new(false) });
        let mut places = self.places();
        let number = places.next;
        places.next += 1;
        if places.calls != looked.0 {
            place.bell.notify_one();
        }
        places.all.insert(number, Arc::clone(&place));
        places.by_media.entry(mxc.clone()).or_default().insert(number);
        let of_user = places.by_user.entry(user).or_default();
        of_user.insert(number);
        let leaves = if of_user.len() > self.limits.per_user {
            of_user.first().copied()
        } else if places.all.len() > self.limits.total {
            places.all.first_key_value().map(|(number, _)| *number)
        } else if places.closed {
            Some(number)
        } else {
            None
        };
        if let Some(place) = leaves.and_then(|number| places.remove(number)) {
            self.send_away(&place);
        }
        self.count(&places);
        drop(places);
        Waiter { room: self, number, place }
    }

    /// There is a beginning of `mxc`: wakes those to whom that is enough.
    pub(crate) fn call_for_beginning(&self, mxc: &Mxc) {
        self.call_those(mxc, |wanted| wanted == Wanted::Beginning);
    }

    /// Wakes everybody who waits for `mxc`.
    pub(crate) fn call(&self, mxc: &Mxc) {
        self.call_those(mxc, |_| true);
    }

    /// Wakes everybody: it is not known what has happened.
    pub(crate) fn call_everybody(&self) {
        let mut places = self.places();
        places.calls += 1;
        for place in places.all.values() {
            place.bell.notify_one();
        }
    }

    fn call_those(&self, mxc: &Mxc, called: impl Fn(Wanted) -> bool) {
        let mut places = self.places();
        places.calls += 1;
        let numbers = places.by_media.get(mxc).into_iter().flatten();
        for place in numbers.filter_map(|number| places.all.get(number)).filter(|place| called(place.wanted)) {
            place.bell.notify_one();
        }
    }

    /// Answers everybody who waits, or will come, early: the server is stopping.
    pub(crate) fn close(&self) {
        let mut places = self.places();
        places.closed = true;
        for place in std::mem::take(&mut places.all).into_values() {
            self.send_away(&place);
        }
        places.by_media.clear();
        places.by_user.clear();
        self.count(&places);
    }

    fn send_away(&self, place: &Place) {
        place.early.store(true, Ordering::Release);
        place.bell.notify_one();
        self.ended_early.inc();
    }

    fn count(&self, places: &Places) {
        self.waiting.set(i64::try_from(places.all.len()).unwrap_or(i64::MAX));
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Every change under this lock is whole before anything in it could panic.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn remove(&mut self, number: u64) -> Option<Arc<Place>> {
        let place = self.all.remove(&number)?;
        remove_from(&mut self.by_media, &place.mxc, number);
        remove_from(&mut self.by_user, &place.user, number);
        Some(place)
    }
}

fn remove_from<K: Eq + std::hash::Hash>(numbers: &mut HashMap<K, BTreeSet<u64>>, key: &K, number: u64) {
    if let Some(set) = numbers.get_mut(key) {
        set.remove(&number);
        if set.is_empty() {
            numbers.remove(key);
        }
    }
}

impl Waiter<'_> {
    /// Waits until it is called, and says why.
    pub(crate) async fn called(&self) -> Woken {
        self.place.bell.notified().await;
        if self.place.early.load(Ordering::Acquire) { Woken::Early } else { Woken::Look }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut places = self.room.places();
        places.remove(self.number);
        self.room.count(&places);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tintype_domain::Requester;

    use super::*;
    use crate::Hop;

    const LIMITS: WaitingLimits = WaitingLimits { total: 3, per_user: 2 };

    fn room() -> WaitingRoom {
        WaitingRoom::new(LIMITS, Gauge::default(), Counter::default())
    }

    fn mxc(id: &str) -> Mxc {
        format!("mxc://localhost/{id}").parse().unwrap()
    }

    fn from(address: u8) -> Caller {
        Caller {
            requester: Requester::Anonymous,
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, address)),
            access: None,
            hop: Hop::First,
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_the_media_is_called_and_nobody_else() {
        let room = room();
        let one = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());
        let other = room.enter(&mxc("other"), Wanted::Whole, &from(2), room.now());

        room.call(&mxc("one"));

        assert_eq!(one.called().await, Woken::Look);
        assert!(futures_util::FutureExt::now_or_never(other.called()).is_none());
    }

    #[tokio::test]
    async fn a_beginning_is_not_told_to_those_who_wait_for_the_whole() {
        let room = room();
        let whole = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());
        let beginning = room.enter(&mxc("one"), Wanted::Beginning, &from(2), room.now());

        room.call_for_beginning(&mxc("one"));

        assert_eq!(beginning.called().await, Woken::Look);
        assert!(futures_util::FutureExt::now_or_never(whole.called()).is_none());
    }

    #[tokio::test]
    async fn what_happened_between_looking_and_entering_is_not_missed() {
        let room = room();
        let looked = room.now();
        room.call(&mxc("one"));

        let waiter = room.enter(&mxc("one"), Wanted::Whole, &from(1), looked);

        assert_eq!(waiter.called().await, Woken::Look);
    }

    #[tokio::test]
    async fn the_longest_waiting_of_an_address_makes_room_for_its_next() {
        let room = room();
        let other = room.enter(&mxc("one"), Wanted::Whole, &from(2), room.now());
        let first = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());
        let second = room.enter(&mxc("two"), Wanted::Whole, &from(1), room.now());
        let third = room.enter(&mxc("three"), Wanted::Whole, &from(1), room.now());

        assert_eq!(first.called().await, Woken::Early);
        for waits in [other, second, third] {
            assert!(futures_util::FutureExt::now_or_never(waits.called()).is_none());
        }
    }

    #[tokio::test]
    async fn the_longest_waiting_of_all_makes_room_when_there_is_none() {
        let room = room();
        let waiters: Vec<_> =
            (1..=4).map(|address| room.enter(&mxc("one"), Wanted::Whole, &from(address), room.now())).collect();

        assert_eq!(waiters[0].called().await, Woken::Early);
        assert_eq!(room.waiting.get(), 3);
        assert_eq!(room.ended_early.get(), 1);
    }

    #[tokio::test]
    async fn who_leaves_makes_room() {
        let room = room();
        drop(room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now()));
        drop(room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now()));

        let places = room.places();

        assert!(places.all.is_empty() && places.by_media.is_empty() && places.by_user.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_when_the_server_stops() {
        let room = room();
        let before = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());

        room.close();

        let after = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());
        assert_eq!(before.called().await, Woken::Early);
        assert_eq!(after.called().await, Woken::Early);
        assert_eq!(room.waiting.get(), 0);
    }

    #[tokio::test]
    async fn whoever_was_called_before_listening_hears_it() {
        let room = room();
        let waiter = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());

        room.call(&mxc("one"));
        room.call(&mxc("one"));

        assert_eq!(waiter.called().await, Woken::Look);
        assert!(futures_util::FutureExt::now_or_never(waiter.called()).is_none());
    }

    #[tokio::test]
    async fn a_wait_that_was_ended_early_stays_so_and_leaves_nothing() {
        let room = room();
        let first = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());
        let _second = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());
        let _third = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());

        room.call(&mxc("one"));
        assert_eq!(first.called().await, Woken::Early);
        drop(first);

        let places = room.places();
        assert_eq!((places.all.len(), places.by_media[&mxc("one")].len()), (2, 2));
        assert_eq!(room.waiting.get(), 2);
    }

    #[tokio::test]
    async fn where_there_is_no_room_at_all_nobody_waits() {
        for limits in [WaitingLimits { total: 0, per_user: 2 }, WaitingLimits { total: 3, per_user: 0 }] {
            let room = WaitingRoom::new(limits, Gauge::default(), Counter::default());

            let waiter = room.enter(&mxc("one"), Wanted::Whole, &from(1), room.now());

            assert_eq!(waiter.called().await, Woken::Early);
            assert_eq!(room.waiting.get(), 0);
        }
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_are_one_user() {
        let room = room();
        let from = |address: &str| Caller {
            requester: Requester::Anonymous,
            address: address.parse().unwrap(),
            access: None,
            hop: Hop::First,
        };
        let first = room.enter(&mxc("one"), Wanted::Whole, &from("2001:db8::1"), room.now());
        let _second = room.enter(&mxc("one"), Wanted::Whole, &from("2001:db8::2"), room.now());
        let _third = room.enter(&mxc("one"), Wanted::Whole, &from("2001:db8::ffff:3"), room.now());

        assert_eq!(first.called().await, Woken::Early);
    }
}
