//! Whether media that is for everybody is taken at all: `[linked] block_unrestricted` (MSC3911).

use tintype_domain::User;
use tintype_homeserver::{Asker, Credentials, Masquerade};

use crate::{AuthenticateError, Caller, Repository, UploadKind};

/// Why media is not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UnrestrictedError {
    /// It would be for everybody.
    #[error("media that is for everybody is not taken here: upload it as restricted media, and attach it")]
    Blocked,
    /// It cannot be found out whether an application service asks.
    #[error(transparent)]
    Authenticate(#[from] AuthenticateError),
}

impl Repository {
    /// Whether everybody may upload media that is for everybody.
    pub fn takes_unrestricted(&self) -> bool {
        !self.0.rules.linked.block_unrestricted
    }

    /// Whether this user may make media of this kind. Ephemeral media is short-lived and goes into no events;
    /// administrators make login icons and the like; and application services know of no restricted media.
    ///
    /// # Errors
    /// An [`UnrestrictedError`] if not.
    pub(crate) async fn check_kind(
        &self,
        caller: &Caller,
        user: &User,
        kind: UploadKind,
    ) -> Result<(), UnrestrictedError> {
        let allowed = kind != UploadKind::Kept
            || self.takes_unrestricted()
            || user.admin
            || self.is_application_service(caller, user).await?;
        if allowed { Ok(()) } else { Err(UnrestrictedError::Blocked) }
    }

    /// Whether the token is that of an application service. A user's belongs to a device, and the homeserver names it; that
    /// of an application service belongs to none, unless it acts as one. Then the homeserver is asked whose token it is
    /// without that: anybody can put a `device_id` into a query.
    async fn is_application_service(&self, caller: &Caller, user: &User) -> Result<bool, AuthenticateError> {
        let acts_as_device = |credentials: &Credentials| credentials.masquerade.device_id.is_some();
        match &caller.access {
            _ if user.device_id.is_none() => Ok(true),
            Some(access) if acts_as_device(&access.credentials) => {
                let token = access.credentials.token.clone();
                let bare = Credentials { token, masquerade: Masquerade::default() };
                let asker = Asker { address: caller.address, user_agent: access.user_agent.as_deref() };
                let owner = self.authenticate(&access.server, &bare, &asker, caller.hop).await?;
                Ok(owner.device_id.is_none())
            }
            _ => Ok(false),
        }
    }
}
