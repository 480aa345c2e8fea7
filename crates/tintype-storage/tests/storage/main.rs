//! The storage, on real databases and real files. What is about records is tested twice, once on each
//! engine; what is about blobs, in a folder and in a bucket.

#![expect(clippy::duplicate_mod, reason = "the same tests on two engines, and on two stores")]

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

mod cached;
mod files;
mod objects;
mod presigned;
mod shared_folder;

/// The tests of blobs, in a folder.
#[path = "."]
mod blobs_in_files {
    #[path = "in_files.rs"]
    mod support;

    mod blobs;
    mod growing;
    mod verifying;
}

/// The tests of blobs, in a bucket.
#[path = "."]
mod blobs_in_objects {
    #[path = "in_objects.rs"]
    pub mod support;

    mod blobs;
    mod growing;
    mod verifying;
}
