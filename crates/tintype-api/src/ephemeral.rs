//! The names of MSC4425, and who may use which: the stable ones only with `[proposals] stable`.

use serde_json::{Map, Value};
use tintype_domain::{Lifetime, Timestamp};
use tintype_http::query::Query;
use tintype_repository::UploadKind;

use crate::error::MatrixError;

/// The parameter, and the key in the answers to other servers, until the proposal is accepted.
const UNSTABLE: &str = "org.matrix.msc4425.ephemeral";

/// The same afterwards.
const STABLE: &str = "ephemeral";

/// A field of ours in answers to uploads: until when the media lives at most, in milliseconds since the Unix epoch.
const EXPIRES_AT: &str = "io.github.tintype.ephemeral_expires_at";

/// A field of ours in answers to `create`: how long the media will live at most after its upload, in milliseconds.
const MAX_AGE: &str = "io.github.tintype.ephemeral_max_age_ms";

/// Which names of a proposal are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposalNames {
    /// The unstable ones.
    Unstable,
    /// The stable ones too.
    Stable,
}

impl ProposalNames {
    /// What the query says that the media is to be.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for what is neither `true` nor `false`.
    pub(crate) fn kind_asked(self, query: &Query<'_>) -> Result<UploadKind, MatrixError> {
        let unstable = query.bool(UNSTABLE)?;
        let stable = match self {
            Self::Stable => query.bool(STABLE)?,
            Self::Unstable => None,
        };
        let asked = unstable == Some(true) || stable == Some(true);
        Ok(if asked { UploadKind::Ephemeral } else { UploadKind::Kept })
    }

    /// What other servers are told of media with this lifetime: nothing of what is kept.
    pub(crate) fn metadata(self, lifetime: Lifetime) -> Map<String, Value> {
        let mut metadata = Map::new();
        if lifetime.is_ephemeral() {
            metadata.insert(UNSTABLE.to_owned(), true.into());
            if self == Self::Stable {
                metadata.insert(STABLE.to_owned(), true.into());
            }
        }
        metadata
    }
}

/// Whether the query says anything of ephemeral media, under whatever name.
pub(crate) fn says_ephemeral(query: &Query<'_>) -> bool {
    [UNSTABLE, STABLE].iter().any(|name| query.get(name).is_some())
}

/// Tells the uploader until when the media lives, if it ends.
pub(crate) fn describe_end(answer: &mut Value, lifetime: Lifetime) {
    if let Lifetime::Ephemeral { expires_at } = lifetime
        && expires_at != Timestamp::NEVER
    {
        answer[EXPIRES_AT] = expires_at.as_millis().into();
    }
}

/// Tells who reserves a URI how long its media will live.
pub(crate) fn describe_max_age(answer: &mut Value, kind: UploadKind, max_age: Option<std::time::Duration>) {
    if let (UploadKind::Ephemeral, Some(max_age)) = (kind, max_age) {
        answer[MAX_AGE] = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX).into();
    }
}
