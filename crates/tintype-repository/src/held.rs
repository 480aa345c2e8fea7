//! A reservation that one request holds.
//!
//! From the moment that the claim is committed there is a [`Held`], and whatever becomes of the request, the
//! reservation is given back when it is dropped: a reservation that nobody holds and nobody can take would be lost.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_storage::records::{
    Claim, ClaimOutcome, ClaimPartial, Partial, RecordsError, Release, ReleaseOutcome, ReleasePartial, Reservation,
};

use crate::{Caller, FulfilError, Repository, arrivals::Running, receive::uploader};

/// How long to wait before the records are asked again to give a reservation back.
const RETRY: Duration = Duration::from_secs(1);

/// A reservation that one request holds until this is dropped.
pub(crate) struct Held {
    repository: Repository,
    holder: i64,
    /// Its name.
    pub(crate) mxc: Mxc,
    /// What it was like before.
    pub(crate) reservation: Reservation,
    /// Told when it has been given back.
    pub(crate) running: Running,
    /// What is left of the upload, once that is known.
    left: Option<ReleasePartial>,
}

impl Repository {
    /// Takes the reservation for a request of the caller's, if nobody else has it. With [`ClaimPartial::Replace`], what
    /// earlier requests brought is removed.
    pub(crate) async fn hold(&self, caller: &Caller, mxc: &Mxc, partial: ClaimPartial) -> Result<Held, FulfilError> {
        if !self.0.is_ours(mxc) {
            return Err(FulfilError::NotFound);
        }
        let user = uploader(caller)?.user_id.clone();
        let mut random = [0; 8];
        self.0.randomness.fill(&mut random);
        let holder = i64::from_ne_bytes(random);
        let claim = Claim { mxc: mxc.clone(), user, now: self.0.clock.now(), holder, partial };
        let repository = self.clone();
        // In the background: if the request is dropped now, what it has claimed is dropped there, and given back.
        let claimed = self.0.background.finish(async move { repository.claim(claim).await });
        claimed.await.map_err(|_| FulfilError::from(RecordsError::Closed))?
    }

    async fn claim(self, claim: Claim) -> Result<Held, FulfilError> {
        let (mxc, holder) = (claim.mxc.clone(), claim.holder);
        let replaces = matches!(claim.partial, ClaimPartial::Replace(_));
        let resumable = !matches!(claim.partial, ClaimPartial::Replace(None));
        let reservation = match self.0.records.claim(claim).await? {
            ClaimOutcome::Claimed(reservation) => reservation,
            ClaimOutcome::NotFound => return Err(FulfilError::NotFound),
            ClaimOutcome::NotTheCreator => return Err(FulfilError::NotTheCreator),
            ClaimOutcome::Stored { .. } => return Err(FulfilError::AlreadyStored),
            ClaimOutcome::Held => return Err(FulfilError::BeingReceived),
            ClaimOutcome::KeptElsewhere(node) => {
                // It is gone since, and what it kept is nobody's to go on with: the next try finds it so.
                let node = self.living(Some(node)).await?.ok_or(FulfilError::BeingReceived)?;
                return Err(FulfilError::Elsewhere(self.elsewhere(node, None)));
            }
        };
        let held = Held { repository: self, holder, mxc, reservation, running: Running::default(), left: None };
        if resumable {
            held.repository.0.arrivals.begins(&held.mxc, &held.running);
        }
        if replaces {
            // Whoever reads what is replaced reads no further.
            held.repository.0.arrivals.broke_off(&held.mxc);
            if let Some(earlier) = &held.reservation.partial {
                held.repository.discard_partial(&earlier.name).await;
            }
        }
        Ok(held)
    }
}

impl Held {
    /// The repository whose reservation it is.
    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The number by which the records know the request.
    pub(crate) fn holder(&self) -> i64 {
        self.holder
    }

    /// Why the records do not know any more that this request holds it: the reservation is gone, or this node was taken for
    /// dead meanwhile, and another request can have it.
    ///
    /// # Errors
    /// [`RecordsError`] if the records fail.
    pub(crate) async fn lost(&self) -> Result<FulfilError, RecordsError> {
        let records = &self.repository.0.records;
        if records.find_reservation(&self.mxc).await?.is_some_and(|reservation| !reservation.swept) {
            return Ok(RecordsError::TakenForDead.into());
        }
        let is_stored = Box::pin(records.find_media(&self.mxc)).await?.is_some();
        Ok(if is_stored { FulfilError::AlreadyStored } else { FulfilError::NotFound })
    }

    /// Gives the reservation back, with what is left of the upload, and returns when that is committed.
    pub(crate) async fn give_back(mut self, left: Option<Partial>) {
        self.left = Some(ReleasePartial::Set(left));
        let background = self.repository.0.background.clone();
        if let Some(giving_back) = self.giving_back() {
            // It fails only if the server stops, and then the next start gives all of them back.
            let _ = background.finish(giving_back).await;
        }
    }

    /// The record has taken its place: there is nothing to give back.
    pub(crate) fn fulfilled(mut self) {
        self.running.ended.cancel();
        self.left = None;
        self.holder = 0;
    }

    fn giving_back(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        (self.holder != 0).then_some(())?;
        let partial = self.left.take().unwrap_or(ReleasePartial::Keep);
        let release = Release { mxc: self.mxc.clone(), holder: std::mem::take(&mut self.holder), partial };
        let (repository, ended) = (self.repository.clone(), self.running.ended.clone());
        let expires_at = self.reservation.expires_at;
        Some(async move {
            let inner = &repository.0;
            let mxc = release.mxc.clone();
            // Without this nobody could ever use the URI, so it is tried until it succeeds.
            let outcome = loop {
                match inner.records.release(release.clone()).await {
                    Ok(outcome) => break outcome,
                    Err(RecordsError::Closed) => return,
                    Err(_) if inner.background.is_closing() => return,
                    Err(error) => {
                        tracing::warn!(%error, media = %mxc, "a reservation could not be given back; it is tried again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            if outcome == ReleaseOutcome::Lost {
                // Others may have brought the upload since: nobody is to read, or to wait for, what came here.
                inner.arrivals.broke_off(&mxc);
                if let ReleasePartial::Set(Some(lost)) = &release.partial {
                    repository.discard_partial(&lost.name).await;
                }
            }
            // Those who wait go on waiting, unless its time comes while they do.
            if expires_at <= inner.clock.now() + inner.rules.max_wait {
                inner.call(&mxc);
            }
            ended.cancel();
            inner.arrivals.given_back(&mxc);
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(giving_back) = self.giving_back() {
            self.repository.0.background.clone().finish(giving_back);
        }
    }
}
