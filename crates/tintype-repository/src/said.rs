//! What other servers say of who may see their media (MSC3911), while it is still coming.
//!
//! The newest word counts for everything that is kept of a piece of media, from when it is heard: a stricter one is not put
//! off until the response is whole, and what is still coming with another word is given up. Words about one piece of media
//! are taken one after the other, so that there is a newest one.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use tintype_domain::{Audience, Mxc};
use tintype_storage::records::RecordsError;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Repository;

/// The words under which something is coming.
#[derive(Default)]
pub(crate) struct Words(Mutex<HashMap<Mxc, Word>>);

struct Word {
    audience: Audience,
    /// Cancelled when something else is said; gone when nothing is coming under it any more.
    overruled: Weak<CancellationToken>,
}

impl Words {
    /// Another node was told this: what comes here under another word is given up.
    pub(crate) async fn overrule(&self, mxc: &Mxc, audience: &Audience) {
        let words = self.0.lock().await;
        if let Some(Word { audience: before, overruled }) = words.get(mxc)
            && before != audience
            && let Some(overruled) = overruled.upgrade()
        {
            overruled.cancel();
        }
    }
}

impl Repository {
    /// The origin says whom its media is for, with a response of which nothing was given to anybody yet. What is kept is
    /// restricted at once; whoever reads it without restriction reads it to its end, and whoever reads it under another one
    /// is cut. What is returned is held until the response is recorded, which is not to be kept once it is cancelled.
    pub(crate) async fn said(&self, mxc: &Mxc, audience: &Audience) -> Result<Arc<CancellationToken>, RecordsError> {
        let mut words = self.0.words.0.lock().await;
        words.retain(|_, word| word.overruled.strong_count() > 0);
        if let Some(Word { audience: before, overruled }) = words.get(mxc)
            && let Some(overruled) = overruled.upgrade()
        {
            if before == audience {
                return Ok(overruled);
            }
            // Before the records are changed: what comes under it is recorded before that, or looks at this and goes.
            overruled.cancel();
        }
        if audience.is_restricted() {
            let changed = self.0.records.restrict_remote(mxc.clone(), audience.clone()).await?;
            if !changed.is_empty() {
                tracing::info!(media = %mxc, "its server restricts media that it did not restrict before, or otherwise");
                self.0.cut(mxc);
                for key in &changed {
                    self.0.forget(key).await;
                }
            }
        }
        self.0.overruled_elsewhere(mxc, audience);
        let overruled = Arc::new(CancellationToken::new());
        words.insert(mxc.clone(), Word { audience: audience.clone(), overruled: Arc::downgrade(&overruled) });
        Ok(overruled)
    }
}
