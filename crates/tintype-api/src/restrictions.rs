//! The names of MSC3911, and who may use which: the stable ones only with `[proposals] stable`.

use serde_json::{Map, Value, json};
use tintype_domain::Audience;
use tintype_http::query::Query;
use tintype_repository::UploadKind;

use crate::{Api, ProposalNames, ephemeral::says_ephemeral, error::MatrixError};

/// The key in the answers to other servers until the proposal is accepted.
const UNSTABLE: &str = "org.matrix.msc3911.restrictions";

/// The same afterwards.
const STABLE: &str = "restrictions";

/// Which endpoint makes media: what it makes can only be said at one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Those of the specification: media for everybody, or what the query says.
    Plain,
    /// Those of the proposal: restricted media.
    Restricted,
}

impl Maker {
    /// What the media is to be.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for what says neither yes nor no, and where restricted media is to be ephemeral: media that
    /// goes into events is not to vanish.
    pub(crate) fn kind(self, api: &Api, query: &Query<'_>) -> Result<UploadKind, MatrixError> {
        match self {
            Self::Plain => api.parts.msc4425.kind_asked(query),
            Self::Restricted if says_ephemeral(query) => {
                Err(MatrixError::invalid_param("Restricted media cannot be ephemeral"))
            }
            Self::Restricted => Ok(UploadKind::Restricted),
        }
    }
}

/// Adds whom media is for to what other servers are told of it: nothing of what is for everybody.
pub(crate) fn describe(names: ProposalNames, audience: &Audience, metadata: &mut Map<String, Value>) {
    let restrictions = match audience {
        Audience::Everyone => return,
        Audience::Event(event_id) => json!({ "event_id": event_id.as_str() }),
        Audience::Profile(user_id) => json!({ "profile_user_id": user_id.as_str() }),
        // No other server is given such media; to whoever was, it would be for nobody.
        Audience::Uploader | Audience::Attaching | Audience::Nobody => json!({}),
    };
    if names == ProposalNames::Stable {
        metadata.insert(STABLE.to_owned(), restrictions.clone());
    }
    metadata.insert(UNSTABLE.to_owned(), restrictions);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(names: ProposalNames, audience: &Audience) -> Value {
        let mut metadata = Map::new();
        describe(names, audience, &mut metadata);
        metadata.into()
    }

    #[test]
    fn other_servers_are_told_whom_media_is_for_under_the_names_that_are_served() {
        for (audience, restrictions) in [
            (Audience::Event("$event".try_into().unwrap()), json!({ "event_id": "$event" })),
            (Audience::Profile("@a:b.example".try_into().unwrap()), json!({ "profile_user_id": "@a:b.example" })),
            (Audience::Uploader, json!({})),
            (Audience::Attaching, json!({})),
            (Audience::Nobody, json!({})),
        ] {
            assert_eq!(described(ProposalNames::Unstable, &audience), json!({ UNSTABLE: restrictions }));
            assert_eq!(
                described(ProposalNames::Stable, &audience),
                json!({ UNSTABLE: restrictions, STABLE: restrictions })
            );
        }
    }

    #[test]
    fn of_media_for_everybody_nothing_is_said() {
        for names in [ProposalNames::Unstable, ProposalNames::Stable] {
            assert_eq!(described(names, &Audience::Everyone), json!({}));
        }
    }
}
