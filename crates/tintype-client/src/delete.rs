//! `DELETE /_matrix/client/v1/media/{origin}/{mediaId}`, or as long as the proposal is none of the specification
//! `/_matrix/client/unstable/org.matrix.msc4425/{origin}/{mediaId}` (MSC4425): ephemeral media goes.
//!
//! The unstable path is asked first; the stable one where the server does not know it. Deleting twice does no harm, so
//! what fails on the way is tried again: media that nobody deletes stays.

use reqwest::Method;
use tintype_domain::Mxc;
use tokio::time::sleep;

use crate::{Client, EphemeralSupport, Error, ErrorCode, client::refusal, exchange::send, retry::Failures};

const UNSTABLE: &[&str] = &["_matrix", "client", "unstable", "org.matrix.msc4425"];
const STABLE: &[&str] = &["_matrix", "client", "v1", "media"];

/// What the server made of a request to delete.
///
/// A program need not tell them apart: in each case the request was made, and making it again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deletion {
    /// 200: it is deleted.
    Deleted,
    /// 404: it was deleted before, or was never there.
    AlreadyGone,
    /// 403: it is somebody else's, not ephemeral, or not there; the server does not say which.
    NotAllowed,
}

impl Client {
    /// Deletes ephemeral media that is the user's own.
    ///
    /// A request that the connection fails, or that comes while the server is busy, is made again, as often as the
    /// client's [`Retry`](crate::Retry) allows. If the answer to the first was lost, the second gives
    /// [`Deletion::AlreadyGone`].
    ///
    /// # Errors
    /// [`Error::NoEphemeralMedia`] if the server has no such endpoint. A guest is refused with
    /// [`ErrorCode::GUEST_ACCESS_FORBIDDEN`].
    pub async fn delete(&self, mxc: &Mxc) -> Result<Deletion, Error> {
        let answered = self.ask_to_delete(mxc).await?;
        answered.map(|(_, deletion)| deletion).ok_or(Error::NoEphemeralMedia)
    }

    /// Asks under either name; gives the one that the server knows, and its answer. `None` if it knows neither.
    pub(crate) async fn ask_to_delete(&self, mxc: &Mxc) -> Result<Option<(EphemeralSupport, Deletion)>, Error> {
        for (support, path) in [(EphemeralSupport::Unstable, UNSTABLE), (EphemeralSupport::Stable, STABLE)] {
            if let Some(deletion) = self.delete_under(path, mxc).await? {
                return Ok(Some((support, deletion)));
            }
        }
        Ok(None)
    }

    /// Asks until there is an answer; `None` if there is no such endpoint.
    async fn delete_under(&self, path: &[&str], mxc: &Mxc) -> Result<Option<Deletion>, Error> {
        let mut failures = Failures::none(self.shared.retry);
        loop {
            let error = match self.delete_once(path, mxc).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(pause) = failures.pause_after(&error) else { return Err(error) };
            sleep(pause).await;
        }
    }

    async fn delete_once(&self, path: &[&str], mxc: &Mxc) -> Result<Option<Deletion>, Error> {
        let idle = self.shared.idle;
        let response = send(self.media_request(Method::DELETE, path, mxc), idle).await?;
        if response.status().is_success() {
            return Ok(Some(Deletion::Deleted));
        }
        let error = refusal(response, idle).await;
        match (error.status(), error.errcode()) {
            (Some(404), Some(code)) if *code == ErrorCode::NOT_FOUND => Ok(Some(Deletion::AlreadyGone)),
            (Some(403), Some(code)) if *code == ErrorCode::FORBIDDEN => Ok(Some(Deletion::NotAllowed)),
            (_, Some(code)) if *code == ErrorCode::UNRECOGNIZED => Ok(None),
            // A proxy that does not lead there.
            (Some(404 | 405), None) => Ok(None),
            _ => Err(error),
        }
    }
}
