//! What holds on one node holds on several: nodes on one database, which hand requests to each other.

mod hostile;
mod nodes;
mod rates;
mod resumable;
mod streaming;
mod thumbnails;
