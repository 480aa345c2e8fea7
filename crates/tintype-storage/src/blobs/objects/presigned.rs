//! URLs with which anybody can read one object for a while, without going through this server.

use std::time::Duration;

use opendal::{OperationContext, Operator, options::ReadOptions};

use super::{Object, error::blobs_error, key};
use crate::blobs::BlobsError;

/// What the store says of an object to whoever reads it with a presigned URL. Each is a whole value of its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedHeaders {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`.
    pub content_disposition: String,
    /// `Cache-Control`.
    pub cache_control: String,
}

/// The bucket under the name that readers elsewhere know it by: the host is part of what is signed.
pub(super) fn presigner(service: opendal::services::S3, context: OperationContext) -> Result<Operator, BlobsError> {
    let operator = Operator::new(service).map_err(|error| blobs_error(&error, None))?;
    Ok(operator.with_context(context))
}

impl Object {
    /// A URL for `GET` that holds for `expires`, to the second. The store is not asked, nor whether the object is there.
    ///
    /// # Errors
    /// [`BlobsError`] if nobody is there to sign it.
    pub(in crate::blobs) async fn presigned(
        &self,
        headers: PresignedHeaders,
        expires: Duration,
    ) -> Result<String, BlobsError> {
        let options = ReadOptions {
            override_content_type: Some(headers.content_type),
            override_content_disposition: Some(headers.content_disposition),
            override_cache_control: Some(headers.cache_control),
            ..ReadOptions::default()
        };
        let signed = self.objects.0.presigner.presign_read_options(&key(&self.location), expires, options).await;
        let signed = signed.map_err(|error| blobs_error(&error, None))?;
        // Whoever follows a redirect adds no header to it.
        if let Some(name) = signed.header().keys().find(|name| *name != http::header::HOST) {
            return Err(BlobsError::Store(format!("it wants {name} beside the URL")));
        }
        Ok(signed.uri().to_string())
    }
}
