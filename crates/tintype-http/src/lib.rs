//! HTTP semantics without Matrix: what a request's headers, path and query mean, and how the
//! answer's headers are spelled.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness. That is
//! what lets each module be tested against the tables of its RFC and fuzzed on its own. What comes
//! from the network is never trusted: no input panics, none can make an answer larger than the
//! representation, and none can put a byte into a header that does not belong there.

pub mod bearer;
pub mod byteranges;
pub mod conditional;
pub mod disposition;
pub mod forwarded;
pub mod path;
mod percent;
pub mod query;
pub mod range;
pub mod resumable;
