//! Whether a table arrived as it was sent.
//!
//! Each row is hashed, column by column, and the hashes are added up: that does not depend on the order in which the
//! databases give them, and every change of a row, a row too many and a row too few gives another sum.

use std::{collections::HashSet, fmt};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection};
use tintype_domain::ContentHash;

use super::{
    MoveError,
    tables::{Cell, Table},
};
use crate::blobs::Location;

/// What a table holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Content {
    rows: u64,
    sum: [u64; 4],
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sum.iter().try_for_each(|part| write!(formatter, "{part:016x}"))
    }
}

impl Content {
    fn add(&mut self, row: &[Cell]) {
        let mut bytes = Vec::with_capacity(256);
        for cell in row {
            let (kind, value) = match cell {
                Cell::Integer(value) => (b'i', value.map(|value| value.to_be_bytes().to_vec())),
                Cell::Text(value) => (b't', value.as_ref().map(|value| value.clone().into_bytes())),
                Cell::Bytes(value) => (b'b', value.clone()),
            };
            bytes.push(kind);
            if let Some(value) = value {
                bytes.extend((value.len() as u64 + 1).to_be_bytes());
                bytes.extend(value);
            } else {
                bytes.extend(0_u64.to_be_bytes());
            }
        }
        let hash = ContentHash::of(&bytes);
        for (sum, part) in self.sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let part = part.try_into().expect("a chunk has 8 bytes");
            *sum = sum.wrapping_add(u64::from_be_bytes(part));
        }
        self.rows += 1;
    }
}

/// Compares a table, and returns how many rows it has.
pub(super) async fn compare(
    table: &Table,
    source: &mut SqliteConnection,
    target: &mut PgConnection,
) -> Result<u64, MoveError> {
    let bodies = if table.name == "blobs" { moved_bodies(target).await? } else { HashSet::new() };
    let mut sent = Content::default();
    {
        let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(source);
        while let Some(row) = rows.try_next().await? {
            let mut cells = table.cells_of_sqlite(&row)?;
            if table.name == "blobs" {
                without_moved_body(table, &mut cells, &bodies);
            }
            sent.add(&cells);
        }
    }
    let mut arrived = Content::default();
    let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(target);
    while let Some(row) = rows.try_next().await? {
        let mut cells = table.cells_of_postgres(&row)?;
        if table.name == "blobs" {
            without_location(table, &mut cells, &bodies);
        }
        arrived.add(&cells);
    }
    if sent == arrived {
        return Ok(sent.rows);
    }
    Err(MoveError::Differs {
        table: table.name.clone(),
        source_rows: sent.rows,
        source_sum: sent.to_string(),
        target_rows: arrived.rows,
        target_sum: arrived.to_string(),
    })
}

/// The blobs whose bodies went to the blob store.
async fn moved_bodies(target: &mut PgConnection) -> Result<HashSet<i64>, MoveError> {
    let moved: Vec<(i64,)> = sqlx::query_as("SELECT blob_id FROM unfinished_move_bodies").fetch_all(target).await?;
    Ok(moved.into_iter().map(|(id,)| id).collect())
}

/// A body that was moved is compared by its hash, which is a column.
fn without_moved_body(table: &Table, cells: &mut [Cell], bodies: &HashSet<i64>) {
    if is_moved(table, cells, bodies) {
        let body = &mut cells[table.index_of("body")];
        let hash = body.bytes().map(|bytes| ContentHash::of(&bytes).as_bytes().to_vec());
        *body = Cell::Bytes(hash);
    }
}

/// The location that a body was moved to stands for the hash that is its name.
fn without_location(table: &Table, cells: &mut [Cell], bodies: &HashSet<i64>) {
    if is_moved(table, cells, bodies) {
        let location = std::mem::replace(&mut cells[table.index_of("location")], Cell::Text(None)).text();
        let location = location.as_deref().and_then(Location::parse);
        cells[table.index_of("body")] =
            Cell::Bytes(location.map(|location| location.content_hash().as_bytes().to_vec()));
    }
}

fn is_moved(table: &Table, cells: &[Cell], bodies: &HashSet<i64>) -> bool {
    cells[table.index_of("id")].integer().is_some_and(|id| bodies.contains(&id))
}
