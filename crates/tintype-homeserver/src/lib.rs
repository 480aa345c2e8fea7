//! The homeserver beside which media is served: whose access token is this?
//!
//! The one question asked so far is `GET /_matrix/client/v3/account/whoami` (client-server API), which every homeserver
//! answers, whatever stands behind its accounts. What the homeserver refuses is passed on to the client
//! unchanged, since only it knows about soft logout, locked accounts and consent; when it cannot answer, nobody is let in.
//! Nothing is cached here: how long an answer is believed is a rule, and rules live in the repository.

mod appservice;
mod connector;
mod forward;
mod questions;
mod whoami;

pub use appservice::APPSERVICE_ID;
pub use forward::{ForwardError, ForwardedBody, keep_end_to_end};
pub use questions::QuestionError;
pub use whoami::{Asker, Credentials, Homeserver, HomeserverError, Masquerade, Refusal, http_client};
