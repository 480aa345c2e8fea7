//! Endpoints for users with an access token.

mod config;
mod create;
mod delete;
mod download;
mod put;
mod resumable;
mod streaming;
mod thumbnail;
mod upload;
mod waiting;
