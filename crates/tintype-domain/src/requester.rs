//! Who asks.

use std::sync::Arc;

use ruma_common::{OwnedServerName, OwnedUserId};

/// A user whose access token was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's Matrix ID.
    pub user_id: OwnedUserId,
    /// The device that the token belongs to; application services have none.
    pub device_id: Option<String>,
    /// Whether this is a guest account, which may look but not upload.
    pub guest: bool,
    /// Whether the user administers this server's media.
    pub admin: bool,
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requester {
    /// A user with a valid access token.
    User(Arc<User>),
    /// Another Matrix server, whose signature was verified.
    Server(OwnedServerName),
    /// Nobody in particular: the deprecated endpoints without authentication.
    Anonymous,
}

impl Requester {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::User(user) => Some(user),
            Self::Server(_) | Self::Anonymous => None,
        }
    }
}
