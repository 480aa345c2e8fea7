//! A person with a client that syncs all the time.
//!
//! The polls of its sync are answered after ten minutes if nothing happens. Whoever runs this has less patience, so it
//! only ends well if each event answers a poll at once.

use std::{future::ready, time::Duration};

use anyhow::{Context as _, Result};
use matrix_sdk::{
    Client,
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
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        client.sync_once(SyncSettings::new()).await.context("the first sync")?;
        let user_id = client.user_id().context("the user is logged in")?.to_owned();
        let syncing = client.clone();
        let sync = tokio::spawn(async move {
            // It only ends with an error: after a logout with the right one. Whatever is waited for does not come then.
            let end = syncing.sync(SyncSettings::new().timeout(POLL_TIMEOUT)).await;
            eprintln!("the sync has ended: {end:?}");
        });
        Ok(Self { client, user_id, sync })
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
    Ok(client)
}
