//! What a server keeps its records and bytes in, for tests: PostgreSQL, and SeaweedFS, which speaks S3.
//!
//! [`Postgres::shared`] and [`SeaweedFs::shared`] start one server for the whole test process when the first test asks for
//! it; each test takes a database or a bucket of its own there. A test that stops its server starts one for itself. All
//! of them listen on free ports of the loopback address, keep what they have in a folder that goes with them, and end with
//! the process that started them, however that ends (see `guarded`).

mod counting;
mod guarded;
mod port;
mod postgres;
mod seaweedfs;

pub use self::{
    counting::Proxy,
    postgres::{Database, Postgres},
    seaweedfs::{Bucket, Object, SeaweedFs},
};
