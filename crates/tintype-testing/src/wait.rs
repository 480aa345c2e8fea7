//! Waiting for what happens soon, but not at once: never a fixed time, always until it is seen.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take. It is never reached in a test that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `seen` is true.
///
/// # Panics
/// If it is still not after half a minute; `what` says what was waited for.
pub async fn until(what: &str, mut seen: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !seen().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(PAUSE).await;
    }
}
