//! What a homeserver asks of its application service (application service API). Each of our servers is one to its own
//! homeserver, whose token says which of them is meant, whatever the host.

mod ping;
mod queries;
mod transactions;

use std::sync::Arc;

use axum::{
    Router,
    http::{Request, StatusCode},
    routing::{get, post, put},
};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tintype_domain::ContentHash;
use tintype_http::{bearer::bearer_token, query::Query};
use tintype_repository::ReceiveError;

use crate::{Api, Tenant, error::MatrixError, upload_body::UploadBody};

/// The token with which a homeserver speaks to us (`hs_token`). It is kept, compared and shown as a hash only.
#[derive(Clone, Copy)]
pub struct HomeserverToken(ContentHash);

impl HomeserverToken {
    /// What is kept of a token.
    pub fn of(token: &str) -> Self {
        Self(ContentHash::of(token.as_bytes()))
    }

    /// Whether it is this one. How long it takes says nothing about either.
    fn is(&self, token: &str) -> bool {
        let other = ContentHash::of(token.as_bytes());
        let pairs = self.0.as_bytes().iter().zip(other.as_bytes());
        pairs.fold(0, |difference, (own, other)| difference | (own ^ other)) == 0
    }
}

impl std::fmt::Debug for HomeserverToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hidden>")
    }
}

pub(crate) fn router() -> Router<Arc<Api>> {
    // Without the prefix: what homeservers that are older than version 1.0 of the API ask.
    ["/_matrix/app/v1", ""]
        .into_iter()
        .fold(Router::new(), |router, prefix| {
            router
                .route(&format!("{prefix}/transactions/{{id}}"), put(transactions::put))
                .route(&format!("{prefix}/users/{{id}}"), get(queries::get))
                .route(&format!("{prefix}/rooms/{{alias}}"), get(queries::get))
        })
        .route("/_matrix/app/v1/ping", post(ping::post))
}

impl Api {
    /// The server of ours whose homeserver makes the request.
    ///
    /// # Errors
    /// 401 without a token, 403 with one that is no homeserver's (application service API, "Authorization").
    fn homeserver<B>(&self, request: &Request<B>) -> Result<&Tenant, MatrixError> {
        let query = Query::parse(request.uri().query())?;
        let token = bearer_token(request.headers())?.or_else(|| query.get("access_token"));
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(MatrixError::new(
                StatusCode::UNAUTHORIZED,
                "M_MISSING_TOKEN",
                "The homeserver's token is needed",
            ));
        };
        let known = |tenant: &&Tenant| tenant.homeserver_token.is_some_and(|known| known.is(token));
        // All of them are compared, so that it does not tell which one came close.
        let found = self.parts.tenants.iter().filter(known).fold(None, |found, tenant| found.or(Some(tenant)));
        found.ok_or_else(|| MatrixError::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", "This is no homeserver's token"))
    }
}

/// A body that is an object, `at_most` bytes of it.
async fn object(body: &mut UploadBody, at_most: usize) -> Result<Map<String, Value>, MatrixError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(ReceiveError::from)?;
        if bytes.len() + chunk.len() > at_most {
            let error = format!("the body is larger than {at_most} bytes");
            return Err(MatrixError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error));
        }
        bytes.extend_from_slice(&chunk);
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", "the body is not an object")),
        Err(error) => {
            let error = format!("the body is not JSON: {error}");
            Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", error))
        }
    }
}
