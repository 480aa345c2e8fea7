//! How many requests for media there were, by day: what `tintype legacy report` reads.
//!
//! Only sums are kept, and no user, address or media. The age of the media at the time of the request is what tells
//! whether a freeze would have refused it, since a freeze spares what was there before.

use sqlx::FromRow;

use super::{Records, RecordsError, Statement, usage::signed};
use crate::records::sql::{Connection, query, query_as};

/// Days that are kept.
const KEPT_DAYS: i64 = 90;

/// Which endpoints a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaEndpoint {
    /// Those under `/_matrix/media`, which ask for no access token.
    Old,
    /// Those that ask for one.
    New,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaRequestOutcome {
    /// The media was sent, or the client was told where to fetch it.
    Served,
    /// The freeze of the old endpoints refused it.
    Frozen,
    /// Anything else, such as media that does not exist.
    Other,
}

/// How old the media was when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaAge {
    /// Less than a day.
    Day,
    /// Less than seven days, but a day.
    Week,
    /// Less than thirty days, but seven.
    Month,
    /// Thirty days or more.
    Older,
    /// Not known: there was no media, or none that has a date.
    Unknown,
}

/// How many requests of one kind there were on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRequests {
    /// The day: days since 1970-01-01, UTC.
    pub day: i64,
    /// The endpoints.
    pub endpoint: MediaEndpoint,
    /// The family of the client's `User-Agent`. Callers keep their number small: each is a row.
    pub client: String,
    /// What became of them.
    pub outcome: MediaRequestOutcome,
    /// How old the media was.
    pub age: MediaAge,
    /// How many.
    pub requests: u64,
}

#[derive(FromRow)]
struct MediaRequestsRow {
    day: i64,
    endpoint: String,
    client: String,
    outcome: String,
    age: String,
    requests: i64,
}

impl Records {
    /// Adds to what is kept of each kind and day, and forgets the days that are more than 90 before the latest of these.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was added.
    pub async fn count_media_requests(&self, requests: Vec<MediaRequests>) -> Result<(), RecordsError> {
        self.write(Count(requests)).await
    }

    /// What is kept of `day` and the days after it, in the order of days.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn media_requests_since(&self, day: i64) -> Result<Vec<MediaRequests>, RecordsError> {
        let rows: Vec<MediaRequestsRow> = query_as(
            "SELECT day, endpoint, client, outcome, age, requests FROM media_requests WHERE day >= $1
             ORDER BY day, endpoint, client, outcome, age",
        )
        .bind(day)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(MediaRequestsRow::into_requests).collect()
    }
}

impl MediaEndpoint {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Old, Self::New];

    /// Its name, in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl MediaRequestOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Served, Self::Frozen, Self::Other];

    /// Its name, in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Frozen => "frozen",
            Self::Other => "other",
        }
    }
}

impl MediaAge {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Older, Self::Unknown];

    /// Its name, in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "1d",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Older => "older",
            Self::Unknown => "",
        }
    }
}

impl MediaRequestsRow {
    fn into_requests(self) -> Result<MediaRequests, RecordsError> {
        let inconsistent = || RecordsError::Inconsistent(format!("requests of day {}", self.day));
        Ok(MediaRequests {
            day: self.day,
            endpoint: MediaEndpoint::ALL
                .into_iter()
                .find(|known| known.as_str() == self.endpoint)
                .ok_or_else(inconsistent)?,
            outcome: MediaRequestOutcome::ALL
                .into_iter()
                .find(|known| known.as_str() == self.outcome)
                .ok_or_else(inconsistent)?,
            age: MediaAge::ALL.into_iter().find(|known| known.as_str() == self.age).ok_or_else(inconsistent)?,
            requests: u64::try_from(self.requests).map_err(|_| inconsistent())?,
            client: self.client,
        })
    }
}

struct Count(Vec<MediaRequests>);

impl Statement for Count {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        for counted in &self.0 {
            query(
                "INSERT INTO media_requests (day, endpoint, client, outcome, age, requests)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (day, endpoint, client, outcome, age)
                 DO UPDATE SET requests = media_requests.requests + $6",
            )
            .bind(counted.day)
            .bind(counted.endpoint.as_str())
            .bind(&counted.client)
            .bind(counted.outcome.as_str())
            .bind(counted.age.as_str())
            .bind(signed(counted.requests))
            .execute(&mut *connection)
            .await?;
        }
        if let Some(latest) = self.0.iter().map(|counted| counted.day).max() {
            query("DELETE FROM media_requests WHERE day < $1")
                .bind(latest.saturating_sub(KEPT_DAYS))
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}
