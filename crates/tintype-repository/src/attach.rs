//! Attaching restricted media to an event or a profile, with the request that sends the event or sets the profile
//! (MSC3911).
//!
//! The request is written down and its media taken, then it is forwarded, then what became of it is written down. From the
//! first of these on it is a task of its own: it ends even if the client has gone. What is not concluded, whatever
//! happened to it, is unknown: it is never repeated from here, and its media is nobody else's until it is known.

mod turns;
mod unresolved;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use tintype_domain::{
    Audience, ContentHash, EventId, Mxc, OwnedEventId, OwnedRoomId, Requester, RoomId, Timestamp, User, UserId,
};
use tintype_homeserver::{Asker, Credentials, Homeserver, QuestionError};
use tintype_storage::records::{
    AttachmentOutcome, AttachmentTarget, Attempt, BeginAttachment, BeginOutcome, ConcludeAttachment, Concluded, Link,
    LinkedEvent, RecordsError, hash_of_content,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

pub(crate) use self::{
    turns::{Turn, Turns},
    unresolved::sweep,
};
use crate::{Access, Caller, Repository, StorageError};

/// How long the homeserver is asked for the visibility at a new event, while its readers wait.
const VISIBILITY_WITHIN: Duration = Duration::from_secs(2);

/// How long a request waits for the same one on another node, which waits for the homeserver.
const OTHER_NODE_WITHIN: Duration = Duration::from_mins(1);

/// How often it looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The type of the event that says who may see the history of a room.
const VISIBILITY: &str = "m.room.history_visibility";

/// A request that attaches media, as the client sent it.
#[derive(Debug, Clone)]
pub struct AttachRequest {
    /// The method.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// The media.
    pub media: BTreeSet<Mxc>,
    /// Of the body.
    pub body: ContentHash,
    /// Of the event's content; none where it is no object.
    pub content: Option<ContentHash>,
    /// What the media is attached to.
    pub target: AttachmentTarget,
}

/// What the homeserver made of a request that was forwarded.
#[derive(Debug)]
pub struct Forwarded<A> {
    /// What became of the request.
    pub verdict: Verdict,
    /// What the client is answered.
    pub answer: A,
}

/// What became of a request that was forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an event.
    Sent(OwnedEventId),
    /// The profile is set.
    ProfileSet,
    /// There is a new room.
    RoomCreated(OwnedRoomId),
    /// Nothing came of it this time: the homeserver refuses the request, or was not reached.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// How a request that attaches media ended.
#[derive(Debug)]
pub enum Attached<A> {
    /// It was forwarded, and this is the answer to it.
    Answered(A),
    /// It was forwarded before, and this is the event that came of it.
    Before(OwnedEventId),
}

/// Why a request that attaches media was not forwarded, or its answer is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// More media than one event may have.
    #[error("an event can have at most {limit} pieces of media attached")]
    TooMany {
        /// How many it may have.
        limit: usize,
    },
    /// There is no such media of the user's that can be attached. Whether there is other media is not said.
    #[error("{0} is no restricted media of yours")]
    NotTheirs(Mxc),
    /// The user's media is attached already, or being attached.
    #[error("{0} is attached already")]
    Taken(Mxc),
    /// The transaction was used for something else.
    #[error("this transaction ID was used with other media or another body")]
    OtherRequest,
    /// The same request is being forwarded.
    #[error("the same request is still under way")]
    UnderWay,
    /// The homeserver cannot be asked what has to be known before.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// The user's server has no homeserver to forward anything to.
    #[error("there is no homeserver here")]
    NoHomeserver,
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<RecordsError> for AttachError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(error.into())
    }
}

impl Repository {
    /// Attaches media with a request that `forward` forwards to the homeserver. Nothing is forwarded if the media cannot be
    /// attached; what was begun ends even if the caller does not wait for it.
    ///
    /// The same request, sent again, waits for the one that is under way; is answered by the event that came of it; or is
    /// forwarded again, if nobody knows what became of it.
    ///
    /// # Errors
    /// An [`AttachError`].
    pub async fn attach<A, F>(
        &self,
        caller: &Caller,
        request: AttachRequest,
        forward: F,
    ) -> Result<Attached<A>, AttachError>
    where
        A: Send + 'static,
        F: Future<Output = Forwarded<A>> + Send + 'static,
    {
        let limit = self.0.rules.linked.max_attachments;
        if request.media.len() > limit {
            return Err(AttachError::TooMany { limit });
        }
        let (user, access) = sender(caller)?;
        let turn = self.0.turns.take(&user, &request).await;
        let sender = Sender { caller: caller.clone(), user, access };
        let repository = self.clone();
        let (answer, answered) = oneshot::channel();
        self.0.background.finish(async move {
            // The client may have gone.
            let _ = answer.send(repository.attach_now(sender, request, turn, forward).await);
        });
        answered.await.unwrap_or_else(|_| Err(RecordsError::Closed.into()))
    }

    /// Of what a request is about to show, the media that has to be attached for it: restricted media of the caller's
    /// server. Everything else is none of our business.
    ///
    /// # Errors
    /// [`AttachError::Storage`].
    pub async fn restricted_among(
        &self,
        caller: &Caller,
        media: impl IntoIterator<Item = Mxc>,
    ) -> Result<BTreeSet<Mxc>, AttachError> {
        let (user, _) = sender(caller)?;
        let mut restricted = BTreeSet::new();
        for mxc in media {
            let ours = mxc.server_name == user.user_id.server_name();
            if ours && self.0.records.find_link(&mxc).await?.is_some() {
                restricted.insert(mxc);
            }
        }
        Ok(restricted)
    }

    /// Whether this is restricted media of the caller's own.
    ///
    /// # Errors
    /// [`AttachError::Storage`].
    pub async fn is_own_restricted(&self, caller: &Caller, mxc: &Mxc) -> Result<bool, AttachError> {
        let (user, _) = sender(caller)?;
        Ok(self.0.records.find_link(mxc).await?.is_some_and(|link| link.uploader == user.user_id))
    }

    /// Whether a user's profile shows this media of theirs already, so that there is nothing to attach.
    ///
    /// # Errors
    /// [`AttachError::Storage`], and [`AttachError::Question`] if the homeserver does not say what the profile shows.
    pub async fn is_in_profile(&self, caller: &Caller, user_id: &UserId, mxc: &Mxc) -> Result<bool, AttachError> {
        let (user, access) = sender(caller)?;
        let link = self.0.records.find_link(mxc).await?;
        let attached =
            |link: Link| link.uploader == user.user_id && link.audience == Audience::Profile(user_id.to_owned());
        if !link.is_some_and(attached) {
            return Ok(false);
        }
        let homeserver = self.0.homeserver(user.user_id.server_name()).ok_or(AttachError::NoHomeserver)?;
        let asker = Asker { address: caller.address, user_agent: access.user_agent.as_deref() };
        let profile = match homeserver.profile(&access.credentials, Some(&asker), user_id).await {
            Ok(profile) => profile,
            Err(QuestionError::Hidden) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        Ok(profile.get("avatar_url").and_then(|url| url.as_str()) == Some(&mxc.to_string()))
    }
}

fn sender(caller: &Caller) -> Result<(Arc<User>, Arc<Access>), AttachError> {
    match (&caller.requester, &caller.access) {
        (Requester::User(user), Some(access)) => Ok((user.clone(), access.clone())),
        _ => Err(AttachError::NoHomeserver),
    }
}

/// Who sends a request that attaches media.
struct Sender {
    caller: Caller,
    user: Arc<User>,
    access: Arc<Access>,
}

impl Sender {
    fn asker(&self) -> Asker<'_> {
        Asker { address: self.caller.address, user_agent: self.access.user_agent.as_deref() }
    }
}

/// A request that is written down and whose media is taken. Dropped without a conclusion it is unknown what became of it.
struct Attachment {
    repository: Repository,
    id: i64,
    attempt: Attempt,
    /// None once it is concluded.
    turn: Option<Turn>,
}

impl Repository {
    async fn attach_now<A>(
        &self,
        sender: Sender,
        request: AttachRequest,
        turn: Turn,
        forward: impl Future<Output = Forwarded<A>> + Send,
    ) -> Result<Attached<A>, AttachError> {
        let begin = BeginAttachment {
            tenant: sender.user.user_id.server_name().to_owned(),
            user: sender.user.user_id.clone(),
            device: sender.user.device_id.clone(),
            method: request.method.clone(),
            path: request.path.clone(),
            media: request.media.clone(),
            body: request.body,
            target: request.target.clone(),
            content: request.content,
            now: self.0.clock.now(),
        };
        let (id, attempt) = match self.begin_attachment(begin).await? {
            BeginOutcome::Begun { id, attempt } => (id, attempt),
            BeginOutcome::Finished { event_id } => return self.finished(&sender, &request, event_id).await,
            BeginOutcome::Forwarding => return Err(AttachError::UnderWay),
            BeginOutcome::OtherRequest => return Err(AttachError::OtherRequest),
            BeginOutcome::NotTheirs(mxc) => return Err(AttachError::NotTheirs(mxc)),
            BeginOutcome::Taken(mxc) => return Err(AttachError::Taken(mxc)),
        };
        let attachment = Attachment { repository: self.clone(), id, attempt, turn: Some(turn) };
        let Forwarded { verdict, answer } = tokio::select! {
            biased;
            forwarded = forward => forwarded,
            // Nobody is there any more to hear the answer; whoever asks again after the next start is told.
            () = self.0.background.closing() => return Err(RecordsError::Closed.into()),
        };
        let outcome = self.outcome(&sender, &request, attachment.attempt, verdict).await;
        // If this fails the client does not hear of the event: it asks again, and is answered with it.
        attachment.conclude(outcome).await?;
        Ok(Attached::Answered(answer))
    }

    /// Writes a request down. Where another node forwards the same one it is waited for: turns are taken on one node.
    async fn begin_attachment(&self, mut begin: BeginAttachment) -> Result<BeginOutcome, RecordsError> {
        let waits_until = Instant::now() + OTHER_NODE_WITHIN;
        loop {
            let outcome = self.0.records.begin_attachment(begin.clone()).await?;
            if !matches!(outcome, BeginOutcome::Forwarding) || Instant::now() >= waits_until {
                return Ok(outcome);
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => begin.now = self.0.clock.now(),
                () = self.0.background.closing() => return Err(RecordsError::Closed),
            }
        }
    }

    /// A retry of a request that ended well. A state event may have been replaced since, and is then not set again by
    /// saying that it is.
    async fn finished<A>(
        &self,
        sender: &Sender,
        request: &AttachRequest,
        event_id: OwnedEventId,
    ) -> Result<Attached<A>, AttachError> {
        if let AttachmentTarget::State { room_id, event_type, state_key } = &request.target {
            let homeserver = self.0.homeserver(sender.user.user_id.server_name()).ok_or(AttachError::NoHomeserver)?;
            let (credentials, asker) = (&sender.access.credentials, sender.asker());
            let current = homeserver.state_event(credentials, Some(&asker), room_id, event_type, state_key).await;
            let is_current = match current {
                Ok(event) => event.get("event_id").and_then(|id| id.as_str()) == Some(event_id.as_str()),
                Err(QuestionError::Hidden) => false,
                Err(error) => return Err(error.into()),
            };
            if !is_current {
                let first = request.media.first().cloned();
                return Err(first.map_or(AttachError::OtherRequest, AttachError::Taken));
            }
        }
        Ok(Attached::Before(event_id))
    }

    /// What is written down of a request that was answered so.
    async fn outcome(
        &self,
        sender: &Sender,
        request: &AttachRequest,
        attempt: Attempt,
        verdict: Verdict,
    ) -> AttachmentOutcome {
        let unknown = AttachmentOutcome::Unknown { room_id: None };
        match (verdict, &request.target) {
            (Verdict::Sent(event_id), target) => {
                let known = LinkedEvent {
                    sender: Some(sender.user.user_id.clone()),
                    ..match target {
                        AttachmentTarget::Transaction { room_id, event_type }
                        | AttachmentTarget::Message { room_id, event_type } => LinkedEvent {
                            room_id: Some(room_id.clone()),
                            event_type: Some(event_type.clone()),
                            ..LinkedEvent::default()
                        },
                        AttachmentTarget::State { room_id, event_type, state_key } => LinkedEvent {
                            room_id: Some(room_id.clone()),
                            event_type: Some(event_type.clone()),
                            state_key: Some(state_key.clone()),
                            ..LinkedEvent::default()
                        },
                        AttachmentTarget::Profile(_) | AttachmentTarget::NewRoom => return unknown,
                    }
                };
                self.event(sender, event_id, known).await
            }
            (Verdict::ProfileSet, AttachmentTarget::Profile(user)) => AttachmentOutcome::Profile(user.clone()),
            (Verdict::RoomCreated(room_id), AttachmentTarget::NewRoom) => {
                match self.new_avatar(sender, request, &room_id).await {
                    Some(event_id) => self.event(sender, event_id, avatar_of(&room_id, &sender.user.user_id)).await,
                    None => AttachmentOutcome::Unknown { room_id: Some(room_id) },
                }
            }
            // That a retry comes to nothing does not say what became of what it repeats: the token may have ended since, or
            // the membership.
            (Verdict::Refused, _) if attempt == Attempt::First => AttachmentOutcome::Free,
            _ => unknown,
        }
    }

    async fn event(&self, sender: &Sender, event_id: OwnedEventId, known: LinkedEvent) -> AttachmentOutcome {
        let asked = async {
            let homeserver = self.0.homeserver(sender.user.user_id.server_name())?;
            let room_id = known.room_id.as_deref()?;
            visibility_at(homeserver, &sender.access.credentials, Some(&sender.asker()), room_id, &event_id).await
        };
        // What is not known now is asked for later.
        let visibility = timeout(VISIBILITY_WITHIN, asked).await.ok().flatten();
        let removal_due = self.0.clock.now() + self.0.rules.linked.redaction_grace;
        AttachmentOutcome::Event { event_id, event: LinkedEvent { visibility, ..known }, removal_due }
    }

    /// The event that sets the avatar of a room that was just created, if it is the one that the request asked for.
    async fn new_avatar(&self, sender: &Sender, request: &AttachRequest, room_id: &RoomId) -> Option<OwnedEventId> {
        let homeserver = self.0.homeserver(sender.user.user_id.server_name())?;
        let (credentials, asker) = (&sender.access.credentials, sender.asker());
        let answer = homeserver.state_event(credentials, Some(&asker), room_id, "m.room.avatar", "").await;
        let event =
            answer.inspect_err(|error| tracing::info!(%error, "the avatar of a new room is asked for later")).ok()?;
        let is_theirs = event.get("sender")?.as_str()? == sender.user.user_id.as_str();
        let is_asked_for = Some(hash_of_content(event.get("content")?.as_object()?)) == request.content;
        (is_theirs && is_asked_for).then(|| event.get("event_id")?.as_str()?.try_into().ok()).flatten()
    }
}

/// What is known of the event that sets the avatar of a room.
fn avatar_of(room_id: &RoomId, sender: &UserId) -> LinkedEvent {
    LinkedEvent {
        room_id: Some(room_id.to_owned()),
        sender: Some(sender.to_owned()),
        event_type: Some("m.room.avatar".to_owned()),
        state_key: Some(String::new()),
        ..LinkedEvent::default()
    }
}

/// The history visibility at an event; none if the homeserver does not say.
async fn visibility_at(
    homeserver: &Homeserver,
    credentials: &Credentials,
    asker: Option<&Asker<'_>>,
    room_id: &RoomId,
    event_id: &EventId,
) -> Option<String> {
    let context = homeserver.context(credentials, asker, room_id, event_id, &[VISIBILITY, "m.room.member"]).await;
    let context =
        context.inspect_err(|error| tracing::info!(%error, "the visibility at an event is asked for later")).ok()?;
    let state = context.get("state")?.as_array()?;
    let Some(event) = state.iter().find(|event| event["type"] == VISIBILITY && event["state_key"] == "") else {
        // Client-server API, "Room history visibility": the default.
        return Some("shared".to_owned());
    };
    Some(match event["content"]["history_visibility"].as_str() {
        Some(known @ ("world_readable" | "shared" | "invited" | "joined")) => known.to_owned(),
        // Whatever it means, it is not less than that.
        _ => "joined".to_owned(),
    })
}

impl Attachment {
    async fn conclude(mut self, outcome: AttachmentOutcome) -> Result<(), RecordsError> {
        let now = self.repository.0.clock.now();
        conclude(&self.repository, self.id, outcome, now).await?;
        self.turn = None;
        Ok(())
    }
}

async fn conclude(
    repository: &Repository,
    id: i64,
    outcome: AttachmentOutcome,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let inner = &repository.0;
    let concluded = inner.records.conclude_attachment(ConcludeAttachment { id, outcome, now }).await?;
    inner.metrics.attachment_ended(&concluded);
    match concluded {
        Concluded::Attached(media) | Concluded::Freed(media) => {
            for mxc in &media {
                inner.call(mxc);
            }
        }
        Concluded::Unknown => tracing::info!(id, "it is unknown what became of a request that attaches media"),
        Concluded::Over => {}
    }
    Ok(())
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let (repository, id) = (self.repository.clone(), self.id);
        self.repository.0.background.finish(async move {
            let now = repository.0.clock.now();
            let unknown = AttachmentOutcome::Unknown { room_id: None };
            if let Err(error) = conclude(&repository, id, unknown, now).await {
                tracing::warn!(%error, id, "a request that attaches media stays under way until the next start");
            }
            drop(turn);
        });
    }
}
