//! The server as a process, when things go wrong around it: it is killed, its disk is full, its clients stall, its files
//! are damaged. Every fault comes from outside; nothing in the server is replaced.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

mod asynchronous;
mod damaged_blobs;
mod deletions;
mod endless_media;
mod full_disk;
mod idle_connections;
mod kill;
mod many_connections;
mod stalled_download;
mod stalled_upload;
mod stopping;
