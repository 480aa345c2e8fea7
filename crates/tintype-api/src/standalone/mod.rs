//! What a homeserver answers, for servers that have none: the standalone profile owns its name, so it publishes a key
//! and says which versions it speaks. With a homeserver these paths are the homeserver's, and answer 404 here.

mod key_server;
mod versions;
mod well_known;
mod whoami;

use std::sync::Arc;

use axum::{Router, routing::get};
use tintype_domain::OwnedServerName;
use tintype_federation::SigningKey;

use crate::{
    Api, Ownership,
    edge::Head,
    error::{MatrixError, unrecognized},
};

pub(crate) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/_matrix/key/v2/server", get(key_server::get))
        .route("/_matrix/key/v2/server/{key_id}", get(key_server::get))
        .route("/_matrix/federation/v1/version", get(versions::federation))
        .route("/_matrix/client/versions", get(versions::client))
        .route("/_matrix/client/v3/account/whoami", get(whoami::get))
        .route("/.well-known/matrix/server", get(well_known::get))
}

impl Api {
    /// The server that the request was sent to, if it owns its name here.
    ///
    /// # Errors
    /// 404 `M_UNRECOGNIZED` if a homeserver answers for it.
    fn owned(&self, head: &Head) -> Result<(&OwnedServerName, &SigningKey), MatrixError> {
        let tenant = self.tenant(&head.request)?;
        let key = Some(tenant)
            .filter(|tenant| tenant.ownership == Ownership::Ours)
            .and_then(|tenant| self.parts.federation.signing_key(&tenant.server_name));
        let key = key.ok_or_else(|| unrecognized(axum::http::StatusCode::NOT_FOUND))?;
        Ok((&tenant.server_name, key))
    }
}
