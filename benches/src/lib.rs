//! Measures Tintype beside nginx, Synapse and libvips, in one run on one machine.
//!
//! A figure on its own says little: another disk or another neighbour on the host moves it by half. So every
//! figure here is taken next to a server that people already run, with the same client, minutes apart, and what
//! is judged is the ratio. `README.md` says how each figure is measured and where a comparison is unfair.

pub mod asynchronous;
pub mod connection;
pub mod figures;
pub mod link;
pub mod load;
pub mod pictures;
pub mod process;
pub mod report;
pub mod server;
pub mod tally;
pub mod wrk;
