//! Endpoints for users with an access token.

mod config;
mod download;
mod thumbnail;
mod upload;
