//! Access tokens of accounts that live here: the standalone profile.

use sqlx::FromRow;
use tintype_domain::{ContentHash, OwnedUserId, Timestamp, User};

use super::{Records, RecordsError, Statement};
use crate::records::sql::{Connection, query, query_as};

/// An access token and the account it belongs to. The token itself is never kept, only its hash.
#[derive(Debug, Clone)]
pub struct TokenRecord {
    /// The SHA-256 of the token.
    pub token_sha256: ContentHash,
    /// Whose it is.
    pub user_id: OwnedUserId,
    /// Its device.
    pub device_id: String,
    /// Whether the account is a guest's.
    pub guest: bool,
    /// Whether the account administers this server's media.
    pub admin: bool,
    /// When the token was made.
    pub created_at: Timestamp,
}

#[derive(FromRow)]
struct TokenRow {
    user_id: String,
    device_id: String,
    guest: i64,
    admin: i64,
}

impl Records {
    /// The user whose token has this hash; none if nobody's has.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_user_of_token(&self, token: &ContentHash) -> Result<Option<User>, RecordsError> {
        let row: Option<TokenRow> =
            query_as("SELECT user_id, device_id, guest, admin FROM access_tokens WHERE token_sha256 = $1")
                .bind(&token.as_bytes()[..])
                .fetch_optional(&self.readers)
                .await?;
        row.map(|row| {
            Ok(User {
                user_id: row
                    .user_id
                    .try_into()
                    .map_err(|_| RecordsError::Inconsistent("the user of an access token".to_owned()))?,
                device_id: Some(row.device_id),
                guest: row.guest != 0,
                admin: row.admin != 0,
            })
        })
        .transpose()
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn insert_token(&self, token: TokenRecord) -> Result<(), RecordsError> {
        self.write(token).await
    }
}

impl Statement for TokenRecord {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query(
            "INSERT INTO access_tokens (token_sha256, user_id, device_id, guest, admin, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&self.token_sha256.as_bytes()[..])
        .bind(self.user_id.as_str())
        .bind(self.device_id.as_str())
        .bind(i64::from(self.guest))
        .bind(i64::from(self.admin))
        .bind(self.created_at.as_millis())
        .execute(connection)
        .await?;
        Ok(())
    }
}
