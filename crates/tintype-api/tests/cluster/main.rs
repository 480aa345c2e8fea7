//! What holds on one node holds on several: nodes on one database, which hand requests to each other.

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
