//! Who may see restricted media (MSC3911).
//!
//! Every path that gives bytes asks here, before it waits for anything and before the first byte: downloads, thumbnails,
//! copies, and what other servers ask for. What is not restricted is not asked about. Whether a user may see an event or a
//! profile only their homeserver knows, and it is asked with their own token. Its "no" hides the media, its silence
//! leaves it undecided: neither ever shows anything.

mod events;
mod invitations;
mod levels;
mod location;
mod sights;

use tintype_domain::{Audience, ContentHash, Mxc, OwnedUserId, Requester, Timestamp, User, UserId};
use tintype_homeserver::{Asker, Credentials, Homeserver, QuestionError};
use tintype_storage::records::{Link, MediaRecord};

pub(crate) use self::sights::Sights;
use self::sights::{Shown, Sight};
use crate::{Accounts, Caller, MediaServer, OpenError, Repository, authenticate};

/// Media whose event was redacted, and whose bytes are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactedMedia {
    /// It is not there.
    Hidden,
    /// It is asked for, by somebody who may be allowed to see it (`allow_redacted_media`).
    Wanted,
}

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

/// A user of a homeserver that is to be asked.
struct Viewer<'a> {
    user: &'a User,
    server: &'a MediaServer,
    homeserver: &'a Homeserver,
    credentials: &'a Credentials,
    asker: Asker<'a>,
    /// Tells the token, and as whom it is used.
    token: ContentHash,
}

impl Repository {
    /// Forgets all that homeservers showed to anybody: somebody may not see any more what they saw before. From when this
    /// returns every judgement asks anew.
    pub fn forget_visibility(&self) {
        self.0.visibility_changed();
    }

    /// Whether the caller may see this restricted media.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] for those who come without a token and for what is redacted, [`OpenError::NotVisible`] for
    /// those who may not see it, [`OpenError::Undecided`] and [`OpenError::TokenRefused`] where the homeserver does not
    /// say, and [`OpenError::RedactedForOthers`] for those who may see the event and not what was redacted of it.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        restriction: &Restriction,
        redacted: RedactedMedia,
    ) -> Result<Admission, OpenError> {
        let judged = Box::pin(self.judge(caller, mxc, restriction, redacted)).await;
        match &judged {
            Ok(Admission::Admitted) => self.0.metrics.judged_visible(),
            Ok(Admission::Undetermined) => {}
            Err(OpenError::Undecided(why)) => {
                tracing::warn!(media = %mxc, why, "it cannot be decided who may see linked media");
                self.0.metrics.judged_undecided();
            }
            Err(OpenError::Storage(_)) => self.0.metrics.judged_undecided(),
            Err(_) => self.0.metrics.judged_hidden(),
        }
        judged
    }

    async fn judge(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        restriction: &Restriction,
        redacted: RedactedMedia,
    ) -> Result<Admission, OpenError> {
        let Restriction { audience, uploader, redacted_at } = restriction;
        let user = match &caller.requester {
            Requester::User(user) => user,
            Requester::Anonymous => return Err(OpenError::NotFound),
            Requester::Server(_) if redacted_at.is_some() => return Err(OpenError::NotFound),
            Requester::Server(server) => return self.origin_admits(server, mxc, audience).await,
        };
        let is_uploader = uploader.as_ref() == Some(&user.user_id);
        match audience {
            Audience::Everyone => Ok(Admission::Admitted),
            Audience::Uploader | Audience::Attaching if is_uploader => Ok(Admission::Admitted),
            Audience::Attaching => Ok(Admission::Undetermined),
            Audience::Uploader | Audience::Nobody => Err(OpenError::NotVisible),
            Audience::Event(event_id) => {
                let event = self.0.records.find_linked_event(event_id).await?;
                let mut event = event.unwrap_or_default();
                event.redacted_at = event.redacted_at.or(*redacted_at);
                let Some(viewer) = self.viewer(caller, user)? else {
                    // There is no homeserver: nobody else can be told that they may see an event.
                    return if event.redacted_at.is_some() {
                        Err(OpenError::NotFound)
                    } else if is_uploader {
                        Ok(Admission::Admitted)
                    } else {
                        Err(OpenError::NotVisible)
                    };
                };
                self.judge_event(&viewer, mxc, event_id, event, redacted).await
            }
            Audience::Profile(profile) => match self.viewer(caller, user)? {
                Some(viewer) => self.judge_profile(&viewer, profile).await,
                None if is_uploader => Ok(Admission::Admitted),
                None => Err(OpenError::NotVisible),
            },
        }
    }

    async fn judge_profile(&self, viewer: &Viewer<'_>, profile: &UserId) -> Result<Admission, OpenError> {
        let question = async {
            let Viewer { homeserver, credentials, asker, .. } = viewer;
            homeserver.profile(credentials, Some(asker), profile).await?;
            Ok(Shown::AsItIs)
        };
        let shown = self.see(viewer, Sight::Profile(profile.to_owned()), question).await;
        self.answered(viewer, shown).await.map(|_| Admission::Admitted)
    }

    /// The caller, where they have a homeserver.
    fn viewer<'a>(&'a self, caller: &'a Caller, user: &'a User) -> Result<Option<Viewer<'a>>, OpenError> {
        let access = caller.access.as_deref().ok_or(OpenError::NotVisible)?;
        let server = self.0.servers.iter().find(|server| server.name == access.server);
        let server = server.ok_or(OpenError::NotVisible)?;
        let Accounts::Homeserver(homeserver) = &server.accounts else { return Ok(None) };
        let asker = Asker { address: caller.address, user_agent: access.user_agent.as_deref() };
        let credentials = &access.credentials;
        let token = authenticate::key(&server.name, credentials);
        Ok(Some(Viewer { user, server, homeserver, credentials, asker, token }))
    }

    /// How the viewer's homeserver shows them this: as a moment ago, or as the question brings.
    async fn see(
        &self,
        viewer: &Viewer<'_>,
        sight: Sight,
        question: impl Future<Output = Result<Shown, QuestionError>>,
    ) -> Result<Shown, QuestionError> {
        if self.0.is_deaf() {
            self.0.sights.forget();
        }
        self.0.sights.see(&*self.0.clock, viewer.token, sight, question).await
    }

    /// An answer of the viewer's homeserver, or what its lack means. Of a token that it does not accept nothing is believed
    /// any more.
    async fn answered<T>(&self, viewer: &Viewer<'_>, answer: Result<T, QuestionError>) -> Result<T, OpenError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(QuestionError::Hidden) => Err(OpenError::NotVisible),
            Err(QuestionError::Unavailable(why)) => Err(OpenError::Undecided(why)),
            Err(QuestionError::Refused(refusal)) => {
                self.0.tokens.invalidate(&viewer.token).await;
                Err(OpenError::TokenRefused(refusal))
            }
        }
    }
}
