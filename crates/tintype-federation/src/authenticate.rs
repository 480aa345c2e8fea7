//! Who sent a request (server-server API, "Request Authentication").

use ruma_signatures::to_canonical_json_string_for_signing;
use tintype_domain::{OwnedServerName, ServerName};

use crate::{KeyError, ServerKeys, XMatrix, XMatrixError, xmatrix::request_object};

/// How many `Authorization` headers a request may have: one for each key of the sender.
const MAX_HEADERS: usize = 10;

/// What of a request without a body is signed, and by whom it says it is.
#[derive(Debug, Clone)]
pub struct SignedRequest<'a> {
    /// The method, as it came.
    pub method: &'a str,
    /// Path and query, exactly as they came.
    pub target: &'a str,
    /// The values of all `Authorization` headers.
    pub authorization: Vec<&'a [u8]>,
    /// Our names.
    pub names: &'a [OwnedServerName],
    /// Which of our names the request was sent to, by its `Host`: for senders that do not sign that.
    pub host: &'a ServerName,
}

/// Two servers that a signature has proved to talk to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Who sent the request.
    pub origin: OwnedServerName,
    /// Which of our names it was sent to.
    pub destination: OwnedServerName,
}

/// Why it is not known who sent a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// There is no `Authorization` header of this scheme.
    #[error("the request has no X-Matrix authorization")]
    Missing,
    /// A header cannot be read.
    #[error("the X-Matrix authorization is malformed: {0}")]
    Malformed(#[from] XMatrixError),
    /// There are more headers than are read.
    #[error("the request has more than {MAX_HEADERS} Authorization headers")]
    TooMany,
    /// The headers name different servers.
    #[error("the X-Matrix authorizations name different servers")]
    Contradictory,
    /// The request is for a server that we are not.
    #[error("the request is for {0}, which is not served here")]
    OtherDestination(OwnedServerName),
    /// The request claims to come from ourselves: we send none to ourselves.
    #[error("the request claims to come from {0}, which is served here")]
    Ourselves(OwnedServerName),
    /// The sender has no such key.
    #[error("the request is signed with {key_id}, which is no key of {origin}")]
    UnknownKey {
        /// Who it says it is.
        origin: OwnedServerName,
        /// The ID of the key.
        key_id: String,
    },
    /// The signature is not one of this request.
    #[error("the signature by {key_id} of {origin} is wrong")]
    BadSignature {
        /// Who it says it is.
        origin: OwnedServerName,
        /// The ID of the key.
        key_id: String,
    },
    /// The sender's keys cannot be had.
    #[error(transparent)]
    Unavailable(KeyError),
}

/// Finds out who sent a request. One signature that is right is enough.
///
/// Keys are only asked for once everything that can be known without them is right.
///
/// # Errors
/// [`AuthenticationError`]; with several signatures, what is wrong with the first one.
pub async fn authenticate(
    keys: &ServerKeys,
    request: &SignedRequest<'_>,
) -> Result<Authenticated, AuthenticationError> {
    let credentials = credentials(request)?;
    let first = credentials.first().ok_or(AuthenticationError::Missing)?;
    let origin = first.origin.clone();
    if credentials.iter().any(|other| other.origin != origin || other.destination != first.destination) {
        return Err(AuthenticationError::Contradictory);
    }
    let destination = first.destination.clone().unwrap_or_else(|| request.host.to_owned());
    if !request.names.contains(&destination) {
        return Err(AuthenticationError::OtherDestination(destination));
    }
    if request.names.contains(&origin) {
        return Err(AuthenticationError::Ourselves(origin));
    }
    let signed = request_object(&origin, &destination, request.method, request.target);
    // An object of strings can always be written.
    let signed = to_canonical_json_string_for_signing(&signed).unwrap_or_default();
    let mut failure = None;
    for XMatrix { key: key_id, signature, .. } in credentials {
        let error = match keys.key(&origin, &key_id).await {
            Ok(key) if key.verifies(signed.as_bytes(), &signature) => return Ok(Authenticated { origin, destination }),
            Ok(_) => AuthenticationError::BadSignature { origin: origin.clone(), key_id },
            Err(KeyError::Unknown { server, key_id }) => AuthenticationError::UnknownKey { origin: server, key_id },
            Err(error) => AuthenticationError::Unavailable(error),
        };
        failure.get_or_insert(error);
    }
    Err(failure.unwrap_or(AuthenticationError::Missing))
}

/// What the headers of our scheme say. Those of other schemes are not ours to judge.
fn credentials(request: &SignedRequest<'_>) -> Result<Vec<XMatrix>, AuthenticationError> {
    if request.authorization.len() > MAX_HEADERS {
        return Err(AuthenticationError::TooMany);
    }
    let read = request.authorization.iter().map(|value| XMatrix::parse(value));
    let ours = read.filter(|read| !matches!(read, Err(XMatrixError::OtherScheme)));
    Ok(ours.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
