//! Endpoints for users with an access token.

pub(crate) mod avatar_url;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod create_room;
pub(crate) mod delete;
pub(crate) mod download;
pub(crate) mod put;
pub(crate) mod resume;
pub(crate) mod rooms;
pub(crate) mod thumbnail;
pub(crate) mod upload;
