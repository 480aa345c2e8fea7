//! The tables that both databases have, and their rows.

use sqlx::{AssertSqlSafe, PgConnection, Row as _, SqliteConnection, postgres::PgRow, sqlite::SqliteRow};

use super::MoveError;

/// Tables that others refer to come first.
const FIRST: [&str; 2] = ["blobs", "media"];

/// A table of the source.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns of its primary key, in their order.
    key: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
}

impl Kind {
    fn of_sqlite(name: &str) -> Option<Self> {
        match name {
            "INTEGER" => Some(Self::Integer),
            "TEXT" => Some(Self::Text),
            "BLOB" => Some(Self::Bytes),
            _ => None,
        }
    }

    fn of_postgres(name: &str) -> Option<Self> {
        match name {
            "bigint" => Some(Self::Integer),
            "text" => Some(Self::Text),
            "bytea" => Some(Self::Bytes),
            _ => None,
        }
    }

    fn array(self) -> &'static str {
        match self {
            Self::Integer => "BIGINT[]",
            Self::Text => "TEXT[]",
            Self::Bytes => "BYTEA[]",
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Cell {
    /// How many bytes it takes, roughly.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integer(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { *value } else { None }
    }

    pub(super) fn text(&self) -> Option<String> {
        if let Self::Text(value) = self { value.clone() } else { None }
    }

    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        if let Self::Bytes(value) = self { value.clone() } else { None }
    }
}

/// The tables of the source, in an order in which they can be filled. The target has a place for each of their columns.
pub(super) async fn of_both(source: &mut SqliteConnection, target: &mut PgConnection) -> Result<Vec<Table>, MoveError> {
    let places: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT)
         FROM information_schema.columns WHERE table_schema = current_schema()",
    )
    .fetch_all(target)
    .await?;
    let names: Vec<(String,)> = sqlx::query_as(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
         AND name <> '_sqlx_migrations' ORDER BY name",
    )
    .fetch_all(&mut *source)
    .await?;
    let mut tables = Vec::new();
    for (name,) in names {
        let described: Vec<(String, String, i64)> = sqlx::query_as("SELECT name, type, pk FROM pragma_table_info($1)")
            .bind(&name)
            .fetch_all(&mut *source)
            .await?;
        let mut key: Vec<_> = described.iter().filter(|(.., place)| *place > 0).collect();
        key.sort_by_key(|(.., place)| *place);
        let key = key.into_iter().map(|(column, ..)| column.clone()).collect();
        let mut columns = Vec::new();
        for (column, kind, _) in &described {
            let kind = Kind::of_sqlite(kind);
            let place = places.iter().find(|(of, named, _)| *of == name && named == column);
            match (kind, place.and_then(|(.., place)| Kind::of_postgres(place))) {
                (Some(kind), Some(place)) if kind == place => columns.push(Column { name: column.clone(), kind }),
                _ => return Err(MoveError::NoPlace { what: format!("{name}.{column}") }),
            }
        }
        tables.push(Table { name, columns, key });
    }
    tables.sort_by_key(|table| FIRST.iter().position(|first| *first == table.name).unwrap_or(FIRST.len()));
    Ok(tables)
}

impl Table {
    /// Where this column is.
    pub(super) fn index_of(&self, column: &str) -> usize {
        self.columns.iter().position(|known| known.name == column).expect("the schema has this column")
    }

    fn column_list(&self) -> String {
        self.columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ")
    }

    /// All rows but the first ones.
    pub(super) fn select_from(&self, skipped: u64) -> String {
        let key = self.key.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        let (columns, name) = (self.column_list(), &self.name);
        format!("SELECT {columns} FROM \"{name}\" ORDER BY {key} LIMIT -1 OFFSET {skipped}")
    }

    /// All rows, in any order.
    pub(super) fn select(&self) -> String {
        format!("SELECT {} FROM \"{}\"", self.column_list(), self.name)
    }

    /// Inserts rows that are given as one array for each column.
    pub(super) fn insert(&self) -> String {
        let arrays: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("CAST(${} AS {})", index + 1, column.kind.array()))
            .collect();
        let (columns, name) = (self.column_list(), &self.name);
        format!("INSERT INTO \"{name}\" ({columns}) SELECT * FROM UNNEST({})", arrays.join(", "))
    }

    /// Which rows are more than what a migration puts there.
    pub(super) fn rows_that_are_content(&self) -> &'static str {
        if self.name == "remote_usage" { " WHERE bytes <> 0 OR responses <> 0" } else { "" }
    }

    pub(super) fn cells_of_sqlite(&self, row: &SqliteRow) -> Result<Vec<Cell>, sqlx::Error> {
        let cell = |(index, column): (usize, &Column)| {
            Ok(match column.kind {
                Kind::Integer => Cell::Integer(row.try_get(index)?),
                // PostgreSQL has no NUL in a text (see `sql`).
                Kind::Text => Cell::Text(row.try_get::<Option<String>, _>(index)?.map(without_nul)),
                Kind::Bytes => Cell::Bytes(row.try_get(index)?),
            })
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    pub(super) fn cells_of_postgres(&self, row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
        let cell = |(index, column): (usize, &Column)| {
            Ok(match column.kind {
                Kind::Integer => Cell::Integer(row.try_get(index)?),
                Kind::Text => Cell::Text(row.try_get(index)?),
                Kind::Bytes => Cell::Bytes(row.try_get(index)?),
            })
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    /// Numbers that the source gave out are not given out again.
    pub(super) async fn go_on_counting(
        &self,
        source: &mut SqliteConnection,
        target: &mut PgConnection,
    ) -> Result<(), MoveError> {
        let (sequence,): (Option<String>,) = if self.columns.iter().any(|column| column.name == "id") {
            sqlx::query_as("SELECT pg_get_serial_sequence(quote_ident($1), 'id')")
                .bind(&self.name)
                .fetch_one(&mut *target)
                .await?
        } else {
            (None,)
        };
        let Some(sequence) = sequence else { return Ok(()) };
        let largest = format!("SELECT COALESCE(MAX(id), 0) FROM \"{}\"", self.name);
        let (mut last,): (i64,) = sqlx::query_as(AssertSqlSafe(largest)).fetch_one(&mut *source).await?;
        // Where it counts on after a deletion.
        let counted: Option<(i64,)> = sqlx::query_as("SELECT seq FROM sqlite_sequence WHERE name = $1")
            .bind(&self.name)
            .fetch_optional(source)
            .await?;
        last = last.max(counted.map_or(0, |(counted,)| counted));
        if last > 0 {
            sqlx::query("SELECT setval(CAST($1 AS regclass), $2)").bind(sequence).bind(last).execute(target).await?;
        }
        Ok(())
    }
}

/// As `sql` gives it to PostgreSQL.
fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}
