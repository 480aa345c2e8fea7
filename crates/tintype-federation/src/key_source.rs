//! Keys of other servers, asked of them and of notaries (server-server API, "Retrieving server keys").

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;
use tintype_domain::{ServerName, Timestamp};
use tokio::time::timeout;

use crate::{KeyFetchError, KeySource, MAX_DOCUMENT, MAX_NOTARY_ANSWER, Outbound, OutboundError};

/// How long a server may take to begin its answer, and then to end it. Somebody is waiting for it who wants media.
const PATIENCE: Duration = Duration::from_secs(15);

impl KeySource for Outbound {
    fn own(&self, server: &ServerName) -> BoxFuture<'static, Result<Bytes, KeyFetchError>> {
        let (outbound, server) = (self.clone(), server.to_owned());
        Box::pin(async move {
            let asked = outbound.get(&server, "/_matrix/key/v2/server", HeaderMap::new(), PATIENCE).await;
            read(asked?, MAX_DOCUMENT).await
        })
    }

    fn of_notary(
        &self,
        notary: &ServerName,
        server: &ServerName,
        minimum_valid_until: Timestamp,
    ) -> BoxFuture<'static, Result<Bytes, KeyFetchError>> {
        let (outbound, notary) = (self.clone(), notary.to_owned());
        // No key ID: all keys of the server.
        let question = json!({
            "server_keys": { server.as_str(): { "": { "minimum_valid_until_ts": minimum_valid_until.as_millis() } } }
        });
        Box::pin(async move {
            let asked = outbound.post_json(&notary, "/_matrix/key/v2/query", &question, PATIENCE).await;
            read(asked?, MAX_NOTARY_ANSWER).await
        })
    }
}

async fn read(response: Response<Incoming>, limit: usize) -> Result<Bytes, KeyFetchError> {
    if response.status() != StatusCode::OK {
        return Err(KeyFetchError::Status(response.status().as_u16()));
    }
    let mut incoming = response.into_body();
    let whole = async {
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| KeyFetchError::Connection(Arc::new(error)))?;
            if let Ok(bytes) = frame.into_data() {
                if body.len() + bytes.len() > limit {
                    return Err(KeyFetchError::TooLong);
                }
                body.extend_from_slice(&bytes);
            }
        }
        Ok(body.freeze())
    };
    timeout(PATIENCE, whole).await.unwrap_or_else(|_| Err(OutboundError::TimedOut.into()))
}

impl From<OutboundError> for KeyFetchError {
    fn from(error: OutboundError) -> Self {
        Self::Connection(Arc::new(error))
    }
}
