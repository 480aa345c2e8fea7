//! Whether the homeserver knows us as its application service, lets us act as its users, and reaches us.

use std::net::Ipv4Addr;

use tintype_homeserver::{Asker, Credentials, Homeserver, HomeserverError, Masquerade};

use super::Outcome;
use crate::config::{Config, ServerConfig};

/// Nothing where there is no application service.
pub(super) async fn outcome(config: &Config, server: &ServerConfig) -> Option<Outcome> {
    let token = server.appservice_token.as_ref()?.expose().to_owned();
    let url = server.homeserver.as_ref()?;
    let homeserver = match Homeserver::new(url, config.authentication.request_timeout.get()) {
        Ok(homeserver) => homeserver.with_appservice_token(Some(token.clone())),
        Err(error) => return Some(Outcome::Failed(error.to_string())),
    };
    let own = Credentials { token, masquerade: Masquerade::default() };
    let sender = match whoami(&homeserver, &own).await {
        Ok(sender) => sender,
        Err(why) => {
            return Some(Outcome::Failed(format!(
                "{url} does not know it ({why}): does the homeserver have the registration, and was it restarted since?"
            )));
        }
    };
    let Some(user) = server.admins.first() else {
        return Some(Outcome::Note(format!(
            "{url} knows it as {sender}; whether it may act as a user was not tried, since there are no admins to try with"
        )));
    };
    let as_user = Masquerade { user_id: Some(user.to_string()), device_id: None };
    match whoami(&homeserver, &Credentials { masquerade: as_user, ..own }).await {
        Ok(who) if who == user.as_str() => {}
        Ok(who) => return Some(Outcome::Failed(format!("acting as {user}, it is {who}"))),
        Err(why) => {
            return Some(Outcome::Failed(format!(
                "{url} does not let it act as {user} ({why}): do its namespaces fit?"
            )));
        }
    }
    Some(match homeserver.ping_appservice().await {
        Ok(()) => Outcome::Ok(format!("{url} knows it as {sender}, lets it act as {user}, and reaches it")),
        // It need not run while it is examined.
        Err(error) => Outcome::Note(format!(
            "{url} knows it as {sender} and lets it act as {user}, but does not reach it: {error}. Does Tintype run, and is \
             the url of the registration right?"
        )),
    })
}

async fn whoami(homeserver: &Homeserver, credentials: &Credentials) -> Result<String, String> {
    let asker = Asker { address: Ipv4Addr::LOCALHOST.into(), user_agent: Some("Tintype doctor") };
    match homeserver.whoami(credentials, &asker).await {
        Ok(user) => Ok(user.user_id.to_string()),
        Err(HomeserverError::Refused(refusal)) => Err(format!("status {}", refusal.status)),
        Err(HomeserverError::Unavailable(why)) => Err(why),
    }
}
