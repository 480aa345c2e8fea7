//! The deprecated endpoints under `/_matrix/media`, which ask for no token: what was stored before the freeze
//! (MSC3916, part 5) is served there, everything newer is not found.

pub(crate) mod download;
pub(crate) mod thumbnail;

use tintype_domain::Requester;
use tintype_repository::Caller;

use crate::edge::Head;

/// Segments before the server name.
const FIXED: usize = 4;

/// Nobody in particular.
fn anonymous(head: &Head) -> Caller {
    Caller { requester: Requester::Anonymous, address: head.trace.address }
}
