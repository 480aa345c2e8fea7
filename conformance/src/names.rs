//! How the proposal's things are called before and after it is accepted.

use tintype_domain::Mxc;

/// Under which names a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Those of the section "Unstable prefix".
    Unstable,
    /// Those that will be in the specification.
    Stable,
}

impl Names {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unstable => "unstable",
            Self::Stable => "stable",
        }
    }

    /// The parameter, and the key in the JSON part.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Unstable => "org.matrix.msc4425.ephemeral",
            Self::Stable => "ephemeral",
        }
    }

    /// Where media is deleted.
    pub(crate) fn delete(self, mxc: &Mxc) -> String {
        let Mxc { server_name, media_id } = mxc;
        match self {
            Self::Unstable => format!("/_matrix/client/unstable/org.matrix.msc4425/{server_name}/{media_id}"),
            Self::Stable => format!("/_matrix/client/v1/media/{server_name}/{media_id}"),
        }
    }
}
