//! The storage, on real databases and real files. What is about records is tested twice, once on each engine.

#![expect(clippy::duplicate_mod, reason = "the same tests on two engines")]

/// The tests of records, and what only SQLite has to show.
#[path = "."]
mod sqlite {
    macro_rules! sqlite_only {
        ($($item:item)*) => { $($item)* };
    }

    #[path = "on_sqlite.rs"]
    mod support;

    #[path = "records/mod.rs"]
    mod records;
}

/// The tests of records.
#[path = "."]
mod postgres {
    macro_rules! sqlite_only {
        ($($item:item)*) => {};
    }

    #[path = "on_postgres.rs"]
    mod support;

    #[path = "records/mod.rs"]
    mod records;
}

mod blobs;
mod growing;
