//! Ephemeral media (MSC4425): media that its owner can delete.
//!
//! A server that does not know the parameter ignores it, and the media would stay for ever. So the server is asked
//! first: by the flag in `/_matrix/client/versions`, or else by deleting media of a random ID, which a server that
//! knows the endpoint refuses in its own words.
//!
//! The proposal is not accepted yet, so its unstable names are sent. The stable parameter is sent beside the unstable
//! one only to a server that says `org.matrix.msc4425.stable`, or that knows nothing but the stable endpoint: to any
//! other it would promise something that the specification does not have.

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use tintype_domain::{MediaId, Mxc, OsRandomness};

use crate::{Client, Error, client::json, exchange::send};

/// The parameter until the proposal is accepted.
const UNSTABLE_PARAMETER: &str = "org.matrix.msc4425.ephemeral";
/// The parameter from then on.
const STABLE_PARAMETER: &str = "ephemeral";

/// The flag for the unstable names. The proposal names none; this one follows what is usual.
const UNSTABLE_FLAG: &str = "org.matrix.msc4425";
/// The flag for the stable names.
const STABLE_FLAG: &str = "org.matrix.msc4425.stable";

/// How long media is to be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// As long as the server likes. Its owner cannot delete it.
    #[default]
    Kept,
    /// Until it is [deleted](Client::delete), or the server ends it. A server without ephemeral media is not sent
    /// anything: that fails with [`Error::NoEphemeralMedia`].
    Ephemeral,
    /// The same where the server has ephemeral media; where it has not, or does not say, it is uploaded all the same,
    /// and may be kept for ever.
    EphemeralOrKept,
}

/// Whether a server has ephemeral media, and under which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EphemeralSupport {
    /// It does not have it.
    Unsupported,
    /// Under the unstable names.
    Unstable,
    /// Under the stable names; perhaps under the unstable ones too.
    Stable,
}

#[derive(Deserialize)]
struct Whoami {
    user_id: String,
}

impl Client {
    /// Whether the server has ephemeral media (MSC4425). The server is asked once; only an answer is remembered.
    ///
    /// `/_matrix/client/versions` says it by a flag. Without the flag, media that cannot be there is deleted: a random
    /// ID on the user's own server.
    ///
    /// # Errors
    /// If the server cannot be asked, or its answer says neither.
    pub async fn ephemeral_support(&self) -> Result<EphemeralSupport, Error> {
        let known = self.shared.ephemeral_support.get_or_try_init(async || {
            let features = self.unstable_features().await?;
            let has = |flag| features.get(flag).is_some_and(|on| *on);
            match (has(STABLE_FLAG), has(UNSTABLE_FLAG)) {
                (true, _) => Ok(EphemeralSupport::Stable),
                (false, true) => Ok(EphemeralSupport::Unstable),
                (false, false) => self.try_to_delete().await,
            }
        });
        known.await.copied()
    }

    async fn try_to_delete(&self) -> Result<EphemeralSupport, Error> {
        let nothing = Mxc::from_parts(&self.own_server().await?, MediaId::random(&OsRandomness).as_str());
        let nothing = nothing.map_err(|error| Error::Answer(format!("user_id: {error}")))?;
        let answered = self.ask_to_delete(&nothing).await?;
        Ok(answered.map_or(EphemeralSupport::Unsupported, |(support, _)| support))
    }

    async fn own_server(&self) -> Result<String, Error> {
        let idle = self.shared.idle;
        let request = self.request(Method::GET, ["_matrix", "client", "v3", "account", "whoami"]);
        let Whoami { user_id } = json(send(request, idle).await?, idle).await?;
        let server = user_id.split_once(':').map(|(_, server)| server.to_owned());
        server.ok_or_else(|| Error::Answer("user_id: it has no server name".to_owned()))
    }
}

impl Lifetime {
    /// Adds the parameters to a request that makes media.
    ///
    /// # Errors
    /// If the server has no ephemeral media, or it cannot be found out, and that matters.
    pub(crate) async fn put_on(self, request: RequestBuilder, client: &Client) -> Result<RequestBuilder, Error> {
        if self == Self::Kept {
            return Ok(request);
        }
        let support = match client.ephemeral_support().await {
            // Who takes it as it comes needs no answer. If the server is gone, the upload says so.
            Err(_) if self == Self::EphemeralOrKept => EphemeralSupport::Unsupported,
            support => support?,
        };
        match support {
            EphemeralSupport::Unsupported if self == Self::Ephemeral => Err(Error::NoEphemeralMedia),
            EphemeralSupport::Stable => Ok(request.query(&[(UNSTABLE_PARAMETER, "true"), (STABLE_PARAMETER, "true")])),
            EphemeralSupport::Unsupported | EphemeralSupport::Unstable => {
                Ok(request.query(&[(UNSTABLE_PARAMETER, "true")]))
            }
        }
    }
}
