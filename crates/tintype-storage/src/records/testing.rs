//! Databases for the unit tests of records, one module for each engine: the tests are there once, and run on both.

/// A file.
pub(super) mod sqlite {
    use tempfile::TempDir;

    use crate::records::Records;

    /// What has to live as long as the records.
    pub(in crate::records) type Home = TempDir;

    /// Records with nothing in them.
    pub(in crate::records) async fn records() -> (Records, Home) {
        let folder = TempDir::new().unwrap();
        (Records::open_sqlite(&folder.path().join("records.db")).await.unwrap(), folder)
    }
}

/// A database of the PostgreSQL that all tests of this process share.
pub(super) mod postgres {
    use tintype_services::{Database, Postgres};

    use crate::records::Records;

    /// What has to live as long as the records.
    pub(in crate::records) type Home = Database;

    /// Records with nothing in them.
    pub(in crate::records) async fn records() -> (Records, Home) {
        let database = Postgres::shared().database();
        (Records::open_postgres(&database.url()).await.unwrap(), database)
    }
}

/// The tests in a file, once for each engine. They open what they need with `engine::records()`.
macro_rules! on_both_engines {
    ($file:literal) => {
        #[cfg(test)]
        #[path = "."]
        mod on_sqlite {
            use super::*;
            use crate::records::testing::sqlite as engine;

            #[path = $file]
            mod tests;
        }

        #[cfg(test)]
        #[path = "."]
        mod on_postgres {
            use super::*;
            use crate::records::testing::postgres as engine;

            #[path = $file]
            mod tests;
        }
    };
}

pub(super) use on_both_engines;
