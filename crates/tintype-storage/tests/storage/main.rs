//! The storage, on real databases and real files.

mod attachments;
mod blobs;
mod copies;
mod deletions;
mod growing;
mod media_requests;
mod records;
mod remote;
mod reservations;
mod rooms;
mod support;
mod unattached;
