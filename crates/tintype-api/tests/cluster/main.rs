//! What holds on one node holds on several: nodes on one database, which hand requests to each other.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

mod fetching;
mod hostile;
mod killed;
mod limits;
mod node;
mod nodes;
mod rates;
mod resumable;
mod serving;
mod streaming;
mod thumbnails;
mod waiting;
