//! Who may see restricted media (MSC3911).
//!
//! Every path that gives bytes asks here, before it waits for anything and before the first byte: downloads, thumbnails,
//! and what other servers ask for. What is not restricted is not asked about.

use tintype_domain::{Audience, Mxc, OwnedUserId, Requester, Timestamp};
use tintype_storage::records::{Link, MediaRecord};

use crate::{Caller, OpenError, Repository};

/// What decides who may see a piece of restricted media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restriction {
    /// Whom it is for.
    pub(crate) audience: Audience,
    /// Who uploaded it; none for what another server sent.
    pub(crate) uploader: Option<OwnedUserId>,
    /// Since when the event that it is attached to is redacted, if it is.
    pub(crate) redacted_at: Option<Timestamp>,
}

impl Restriction {
    /// That of stored media; none if it is for everybody.
    pub(crate) fn of(record: &MediaRecord) -> Option<Self> {
        let MediaRecord { audience, uploader, redacted_at, .. } = record;
        audience.is_restricted().then(|| Self {
            audience: audience.clone(),
            uploader: uploader.clone(),
            redacted_at: *redacted_at,
        })
    }
}

impl From<Link> for Restriction {
    fn from(link: Link) -> Self {
        let Link { uploader, audience, redacted_at } = link;
        Self { audience, uploader: Some(uploader), redacted_at }
    }
}

/// What becomes of somebody who asks for restricted media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// They may see it.
    Admitted,
    /// It is not known: it is being attached, or what decides has not come yet. That is waited for.
    Undetermined,
}

impl Repository {
    /// Whether the caller may see this restricted media.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] for those who come without a token and for what is redacted, [`OpenError::NotVisible`] for
    /// those who may not see it.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        restriction: &Restriction,
    ) -> Result<Admission, OpenError> {
        if caller.requester == Requester::Anonymous || restriction.redacted_at.is_some() {
            return Err(OpenError::NotFound);
        }
        if let Requester::Server(server) = &caller.requester {
            return self.origin_admits(server, mxc, &restriction.audience).await;
        }
        let user = caller.requester.user().map(|user| &user.user_id);
        if user.is_some() && user == restriction.uploader.as_ref() {
            return Ok(Admission::Admitted);
        }
        match restriction.audience {
            Audience::Everyone => Ok(Admission::Admitted),
            Audience::Attaching => Ok(Admission::Undetermined),
            Audience::Uploader | Audience::Event(_) | Audience::Profile(_) | Audience::Nobody => {
                Err(OpenError::NotVisible)
            }
        }
    }
}
