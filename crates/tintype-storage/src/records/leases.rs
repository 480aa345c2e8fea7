//! Leases: what one node does for all of them, as long as it is alive.
//!
//! A lease has no time of its own. It is its node's until the node gives it back, leaves or is declared dead, which
//! removes it (see `nodes`); so nothing has to be renewed, and nobody can have lost one without having been declared dead.

use super::{NodeId, Records, RecordsError};
use crate::records::sql::{query, query_as};

/// Whose a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The node's that asked, from now on or from before.
    Taken,
    /// Another node's.
    Held(NodeId),
    /// Not this one's: it was declared dead, and has no row.
    Dead,
}

impl Records {
    /// Takes a lease for a node, if no node that is alive has it.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn take_lease(&self, name: &str, node: NodeId) -> Result<LeaseOutcome, RecordsError> {
        // The update changes nothing, but returns the row that is there.
        let taken = query_as(
            "INSERT INTO leases (name, node) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET node = leases.node RETURNING node",
        )
        .bind(name)
        .bind(node.0)
        .fetch_one(&self.nodes()?.connections)
        .await;
        let (holder,): (i64,) = match taken {
            Err(error)
                if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) =>
            {
                return Ok(LeaseOutcome::Dead);
            }
            taken => taken?,
        };
        Ok(if holder == node.0 { LeaseOutcome::Taken } else { LeaseOutcome::Held(NodeId(holder)) })
    }

    /// Gives a lease back. It is no error if the node does not have it any more.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn release_lease(&self, name: &str, node: NodeId) -> Result<(), RecordsError> {
        query("DELETE FROM leases WHERE name = $1 AND node = $2")
            .bind(name)
            .bind(node.0)
            .execute(&self.nodes()?.connections)
            .await?;
        Ok(())
    }
}
