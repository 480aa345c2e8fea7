//! What the server under test is made of.
//!
//! The same tests run on each of them: a promise that holds on one node holds on several.

use std::env;

/// The variable that chooses: `embedded`, which is the default, `postgres`, `shared` or `cluster`.
const VARIABLE: &str = "TINTYPE_TEST_PROFILE";

/// What the server under test is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One node, with SQLite and files.
    Embedded,
    /// One node, with PostgreSQL and files.
    Postgres,
    /// One node, with PostgreSQL and a bucket of S3.
    Shared,
    /// Three nodes behind a balancer, with one PostgreSQL and one bucket of S3.
    Cluster,
}

impl Profile {
    /// The one that the environment asks for.
    ///
    /// # Panics
    /// If it asks for one that there is not.
    pub fn asked_for() -> Self {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("embedded") => Self::Embedded,
            Ok("postgres") => Self::Postgres,
            Ok("shared") => Self::Shared,
            Ok("cluster") => Self::Cluster,
            Ok(other) => panic!("{VARIABLE} is {other:?}, and there is no such profile"),
        }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(self) -> usize {
        match self {
            Self::Embedded | Self::Postgres | Self::Shared => 1,
            Self::Cluster => 3,
        }
    }

    /// Whether the bytes are in a bucket.
    pub(crate) fn has_bucket(self) -> bool {
        matches!(self, Self::Shared | Self::Cluster)
    }
}

/// Ends the test here unless the server is one node with SQLite and files, and says so on a line that
/// `cargo xtask test` counts.
#[macro_export]
macro_rules! embedded_only {
    ($reason:literal) => {
        if !$crate::is_embedded($reason) {
            return;
        }
    };
}

/// What [`embedded_only!`] asks.
#[doc(hidden)]
pub fn is_embedded(reason: &str) -> bool {
    let is_embedded = Profile::asked_for() == Profile::Embedded;
    if !is_embedded {
        say("only on one embedded node", reason);
    }
    is_embedded
}

/// Writes a line past the capture of what tests print.
pub(crate) fn say(what: &str, reason: &str) {
    use std::io::Write as _;

    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stdout(), "\n{what}: {test}: {reason}");
}
