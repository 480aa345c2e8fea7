//! The deprecated endpoints under `/_matrix/media`, which ask for no token: what was stored before the freeze
//! (MSC3916, part 5) is served there, everything newer is not found.

pub(crate) mod download;
pub(crate) mod thumbnail;

use tintype_domain::Requester;
use tintype_http::query::Query;
use tintype_repository::{Caller, FromOrigin};

use crate::{edge::Head, error::MatrixError};

/// Segments before the server name.
const FIXED: usize = 4;

/// Whether media of other servers may be fetched for this request (`allow_remote`, which is true if it is not given).
fn from_origin(query: Option<&str>) -> Result<FromOrigin, MatrixError> {
    let allowed = Query::parse(query)?.bool("allow_remote")?;
    Ok(if allowed == Some(false) { FromOrigin::CachedOnly } else { FromOrigin::Fetched })
}

/// Nobody in particular.
fn anonymous(head: &Head) -> Caller {
    Caller { requester: Requester::Anonymous, address: head.trace.address, access: None, hop: head.trace.hop() }
}
