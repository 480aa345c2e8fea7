//! Thumbnails of pictures that the tests make themselves, looked at pixel by pixel.

#![expect(clippy::unwrap_used, reason = "a picture that cannot be made or read is a failed test")]

mod animation;
mod colors;
mod hostile;
mod orientation;
mod pool;
mod quality;
mod sizes;
mod sources;
