//! `timeout_ms`: how long a download or a thumbnail waits for media that was promised (MSC2246; v1.7).

use std::time::Duration;

use tintype_http::query::Query;

use crate::{edge::Head, error::MatrixError, naming::Naming};

/// Without `timeout_ms` (client-server API, "Content repository").
const DEFAULT: Duration = Duration::from_secs(20);

/// How long a client wants to wait, and by which name it said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) time: Duration,
    naming: Naming,
}

impl Patience {
    /// What the query says.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` if it is not a number of milliseconds.
    pub(crate) fn asked(query: Option<&str>) -> Result<Self, MatrixError> {
        if query.is_none() {
            return Ok(Self { time: DEFAULT, naming: Naming::Stable });
        }
        let query = Query::parse(query)?;
        if let Some(time) = query.duration_ms("timeout_ms")? {
            return Ok(Self { time, naming: Naming::Stable });
        }
        let unstable = query.duration_ms("fi.mau.msc2246.timeout_ms")?;
        let naming = if unstable.is_some() { Naming::Unstable } else { Naming::Stable };
        Ok(Self { time: unstable.unwrap_or(DEFAULT), naming })
    }

    /// How long the client of this request wants to wait; what the node has waited that handed it on is taken off.
    ///
    /// # Errors
    /// As [`Patience::asked`].
    pub(crate) fn of(head: &Head) -> Result<Self, MatrixError> {
        let asked = Self::asked(head.request.uri().query())?;
        let left = head.trace.relayed.and_then(|relayed| relayed.patience);
        Ok(Self { time: left.unwrap_or(asked.time), ..asked })
    }

    /// The refusal under the names that the client uses.
    pub(crate) fn refusal(self, error: MatrixError) -> MatrixError {
        self.naming.of(error)
    }
}
