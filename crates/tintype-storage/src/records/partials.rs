//! What is kept of interrupted uploads, beside their reservations: the names of its files, how long they are, and whose.

use super::{
    Records, RecordsError, Statement,
    sql::{Connection, query, query_as},
};
use crate::blobs::PartialName;

impl Records {
    /// Reservations that hold bytes of an upload: their files, and how many bytes of each.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn partials(&self) -> Result<Vec<(PartialName, u64)>, RecordsError> {
        let rows: Vec<(String, i64)> =
            query_as("SELECT partial, partial_size FROM reservations WHERE partial IS NOT NULL")
                .fetch_all(&self.readers)
                .await?;
        let parsed = |(name, size): (String, i64)| {
            let inconsistent = || RecordsError::Inconsistent(format!("a partial upload, {name}"));
            let size = u64::try_from(size).map_err(|_| inconsistent())?;
            Ok((PartialName::parse(&name).ok_or_else(inconsistent)?, size))
        };
        rows.into_iter().map(parsed).collect()
    }

    /// Forgets the bytes of an upload whose file is lost.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn forget_partial(&self, name: PartialName) -> Result<(), RecordsError> {
        self.write(ForgetPartial(name)).await
    }

    /// Makes the bytes of an upload this node's: they lie here, since before it was started anew. False if somebody began the
    /// upload anew meanwhile, or another node has it that is alive.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn adopt_partial(&self, name: PartialName) -> Result<bool, RecordsError> {
        match self.me() {
            Some(node) => self.write(AdoptPartial { name, node }).await,
            None => Ok(true),
        }
    }
}

struct AdoptPartial {
    name: PartialName,
    node: i64,
}

impl Statement for AdoptPartial {
    type Output = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, RecordsError> {
        let adopted = query(
            "UPDATE reservations SET node = $2 WHERE partial = $1
             AND (node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = reservations.node))",
        )
        .bind(self.name.as_str())
        .bind(self.node)
        .execute(connection)
        .await?;
        Ok(adopted.rows_affected() > 0)
    }
}

struct ForgetPartial(PartialName);

impl Statement for ForgetPartial {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query(
            "UPDATE reservations SET partial = NULL, partial_size = NULL, length = NULL, content_type = NULL,
             filename = NULL WHERE partial = $1",
        )
        .bind(self.0.as_str())
        .execute(connection)
        .await?;
        Ok(())
    }
}
