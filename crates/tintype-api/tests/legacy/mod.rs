//! The deprecated endpoints, and the freeze (MSC3916, part 5).

mod download;
mod thumbnail;
mod waiting;
