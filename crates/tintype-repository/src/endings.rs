//! When sessions were ended, so that no answer from before is believed.
//!
//! Tokens are remembered by their hash, and many of them may be of one user; some are just being asked about. So nothing is
//! looked for and removed when sessions end: it is noted that they did, and whoever is about to believe an answer compares.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use moka::sync::Cache;
use tintype_domain::{OwnedServerName, OwnedUserId, User};

/// How much longer than the answers an ending is remembered: no answer takes so long to come.
const MARGIN: Duration = Duration::from_hours(1);

/// Whose tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokensOf {
    /// One user's.
    User(OwnedUserId),
    /// Those of all users of a server.
    Server(OwnedServerName),
}

/// A moment, as this process counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The last ending of each whose tokens may still be remembered.
pub(crate) struct Endings {
    now: AtomicU64,
    /// The last time that it was not known whose sessions had ended.
    everybody: AtomicU64,
    users: Cache<OwnedUserId, Moment>,
    servers: Cache<OwnedServerName, Moment>,
}

impl Endings {
    /// For answers that are remembered for this long.
    pub(crate) fn new(remembered: Duration) -> Self {
        // Not bounded in number: one that was evicted early would bring answers back.
        let time = remembered.saturating_add(MARGIN);
        Self {
            now: AtomicU64::new(0),
            everybody: AtomicU64::new(0),
            users: Cache::builder().time_to_live(time).build(),
            servers: Cache::builder().time_to_live(time).build(),
        }
    }

    /// This moment.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }

    /// Sessions end at this moment.
    pub(crate) fn note(&self, tokens: &TokensOf) {
        // Whoever read the clock before belongs to the time before.
        let moment = Moment(self.now.fetch_add(1, Ordering::SeqCst) + 1);
        match tokens {
            TokensOf::User(user) => self.users.insert(user.clone(), moment),
            TokensOf::Server(server) => self.servers.insert(server.clone(), moment),
        }
    }

    /// Sessions may have ended of which nothing is known.
    pub(crate) fn note_all(&self) {
        let moment = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.everybody.fetch_max(moment, Ordering::SeqCst);
    }

    /// Whether none of this user's sessions was ended since then.
    pub(crate) fn none_since(&self, since: Moment, user: &User) -> bool {
        // Nearly always nothing was ended at all.
        if self.now() == since {
            return true;
        }
        let before = |ending: Option<Moment>| ending.is_none_or(|ending| ending <= since);
        let everybody = Moment(self.everybody.load(Ordering::SeqCst));
        everybody <= since
            && before(self.users.get(&user.user_id))
            && before(self.servers.get(user.user_id.server_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endings() -> Endings {
        Endings::new(Duration::from_mins(1))
    }

    fn user(id: &str) -> User {
        let user_id = OwnedUserId::try_from(id).expect("a test names a user");
        User { user_id, device_id: None, guest: false, admin: false }
    }

    #[test]
    fn an_ending_counts_for_what_was_begun_before_it() {
        let (endings, alice) = (endings(), user("@alice:a"));
        let before = endings.now();

        endings.note(&TokensOf::User(alice.user_id.clone()));

        assert!(!endings.none_since(before, &alice));
        assert!(endings.none_since(endings.now(), &alice));
    }

    #[test]
    fn where_it_is_not_known_whose_sessions_ended_nothing_from_before_is_believed() {
        let (endings, alice) = (endings(), user("@alice:a"));
        let before = endings.now();

        endings.note_all();

        assert!(!endings.none_since(before, &alice));
        assert!(endings.none_since(endings.now(), &alice));
    }

    #[test]
    fn an_ending_is_of_one_user() {
        let endings = endings();
        let before = endings.now();

        endings.note(&TokensOf::User(user("@alice:a").user_id));

        assert!(endings.none_since(before, &user("@bob:a")));
    }

    #[test]
    fn the_end_of_a_servers_sessions_is_that_of_all_its_users() {
        let endings = endings();
        let before = endings.now();

        endings.note(&TokensOf::Server(user("@alice:a").user_id.server_name().to_owned()));

        assert!(!endings.none_since(before, &user("@bob:a")));
        assert!(endings.none_since(before, &user("@bob:b")));
    }
}
