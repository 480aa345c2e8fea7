//! A person with a client that syncs all the time, in one of two ways.
//!
//! The polls of both are answered after ten minutes if nothing happens. Whoever runs this has less patience, so it
//! only ends well if each event answers a poll at once.

use std::{future::ready, pin::pin, time::Duration};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use matrix_sdk::{
    Client, SlidingSyncList, SlidingSyncMode,
    config::SyncSettings,
    event_handler::{EventHandlerContext, SyncEvent},
    ruma::{OwnedUserId, UserId},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::JoinHandle};

const POLL_TIMEOUT: Duration = Duration::from_mins(10);

/// What somebody logs in with.
pub struct Account {
    pub user: String,
    pub password: String,
}

/// A logged in client. Dropping it ends its sync.
pub struct Person {
    pub client: Client,
    pub user_id: OwnedUserId,
    sync: JoinHandle<()>,
}

impl Person {
    /// Logs in, syncs for the first time, which publishes the keys of the new device, and goes on syncing.
    pub async fn log_in(base_url: &str, account: &Account) -> Result<Self> {
        let client = session(base_url, account).await?;
        client.sync_once(SyncSettings::new()).await.context("the first sync")?;
        let syncing = client.clone();
        Self::new(client, async move {
            let end = syncing.sync(SyncSettings::new().timeout(POLL_TIMEOUT)).await;
            // After a logout it is the right one. Otherwise what is waited for does not come.
            eprintln!("the sync has ended: {end:?}");
        })
    }

    /// Logs in likewise, with the sliding sync of MSC4186.
    pub async fn log_in_sliding(base_url: &str, account: &Account) -> Result<Self> {
        let client = session(base_url, account).await?;
        let rooms = SlidingSyncList::builder("rooms")
            .sync_mode(SlidingSyncMode::new_selective().add_range(0..=9))
            .timeline_limit(1);
        let sliding = client.sliding_sync("rooms")?.with_all_extensions().poll_timeout(POLL_TIMEOUT);
        let sliding = sliding.add_list(rooms).build().await?;
        sliding.sync_once().await.context("the first sync")?;
        Self::new(client, async move {
            let mut updates = pin!(sliding.sync());
            while let Some(update) = updates.next().await {
                if let Err(end) = update {
                    eprintln!("the sync has ended: {end:?}");
                }
            }
        })
    }

    fn new(client: Client, sync: impl Future<Output = ()> + Send + 'static) -> Result<Self> {
        let user_id = client.user_id().context("the user is logged in")?.to_owned();
        Ok(Self { client, user_id, sync: tokio::spawn(sync) })
    }

    /// The next event of a kind that `wanted` makes something of. To be called before what causes the event.
    pub fn hears<Event, Context, Found, Wanted>(
        &self,
        wanted: Wanted,
    ) -> impl Future<Output = Found> + use<Event, Context, Found, Wanted>
    where
        Wanted: Fn(Event, Context) -> Option<Found> + Clone + Send + Sync + 'static,
        Event: SyncEvent + DeserializeOwned + Send + 'static,
        Context: EventHandlerContext + Send + 'static,
        Found: Send + 'static,
    {
        let (found, mut next) = mpsc::unbounded_channel();
        let handler = self.client.add_event_handler(move |event: Event, context: Context| {
            if let Some(event) = wanted(event, context) {
                // Nobody waits for a second one.
                let _ = found.send(event);
            }
            ready(())
        });
        let guard = self.client.event_handler_drop_guard(handler);
        async move {
            let event = next.recv().await.expect("the handler is there until the guard is dropped");
            drop(guard);
            event
        }
    }

    /// Whether it is this user.
    pub fn is(&self, user_id: &UserId) -> bool {
        self.user_id == user_id
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.sync.abort();
    }
}

/// A session of a user that syncs nothing.
pub async fn session(base_url: &str, account: &Account) -> Result<Client> {
    let client = Client::builder().homeserver_url(base_url).build().await?;
    client.matrix_auth().login_username(&account.user, &account.password).send().await.context("logging in")?;
    client.encryption().wait_for_e2ee_initialization_tasks().await;
    Ok(client)
}
