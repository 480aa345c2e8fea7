//! From a file and the environment to a tree of values that know where each of them was written.
//!
//! serde stops at the first error and forgets positions. An operator wants every error, each with its line. So the file
//! becomes a [`Node`] tree with places, the environment is laid over it, and a deserializer over the tree tells which
//! node it refused; the loader takes that node away and tries again until nothing is refused.

mod deserialize;
mod environment;
mod file;
mod node;

pub(super) use deserialize::{NodeDeserializer, Unknown};
pub(super) use environment::overlay;
pub(super) use file::parse;
pub(super) use node::{Node, Tree};
