//! Being the homeserver's application service.

use serde_json::json;

use crate::{
    Homeserver, QuestionError,
    whoami::{chain, read},
};

/// The `id` of our registration with a homeserver.
pub const APPSERVICE_ID: &str = "tintype";

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

impl Homeserver {
    /// Whether it can be spoken to as its application service.
    pub fn has_appservice(&self) -> bool {
        self.appservice_token.is_some()
    }

    /// Has the homeserver ask us whether we are there: `POST /_matrix/client/v1/appservice/{id}/ping`. A homeserver that
    /// could not send events before does so after that.
    ///
    /// # Errors
    /// [`QuestionError::Unavailable`] if it does not reach us, or is not reached, with its own words.
    pub async fn ping_appservice(&self) -> Result<(), QuestionError> {
        let unavailable = |error: &dyn std::error::Error| QuestionError::Unavailable(chain(error));
        let path = format!("v1/appservice/{APPSERVICE_ID}/ping");
        let url = self.client_api.join(&path).map_err(|error| unavailable(&error))?;
        let request = self.client.post(url).json(&json!({ "transaction_id": "tintype" }));
        let request = request.bearer_auth(self.appservice_token.as_deref().unwrap_or_default());
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let body = read(response, MAX_ANSWER).await.map_err(|error| QuestionError::Unavailable(error.to_string()))?;
        let words = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let words = words["error"].as_str().unwrap_or("no reason given");
        Err(QuestionError::Unavailable(format!("it answered with status {status}: {words}")))
    }
}
