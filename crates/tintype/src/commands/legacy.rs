//! `tintype legacy report`: what a freeze of the old endpoints would break.
//!
//! Only the day of a request is known, and how old its media was, by steps. Where these do not tell whether the media was
//! there before the freeze, the request counts as broken: the report says too much rather than too little.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, process::ExitCode};

use serde::Serialize;
use tintype_domain::{Clock as _, SystemClock, Timestamp};
use tintype_storage::records::{MediaAge, MediaEndpoint, MediaRequestOutcome, MediaRequests};

use super::{ConfigFile, block_on};
use crate::wiring;

const DAY: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print how many requests for media used the old endpoints lately, and which clients a freeze would break.
    Report(Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many days, today (UTC) included.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=90))]
    days: u8,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Report(arguments) = command;
    let config = arguments.file.load()?;
    let today = SystemClock.now().as_millis().div_euclid(DAY);
    let first = today - i64::from(arguments.days) + 1;
    let requests = block_on(async {
        let records = wiring::records(&config).await?;
        let requests = records.media_requests_since(first).await?;
        records.close().await;
        Ok(requests)
    })?;
    let report = Report::of(&requests, first, today);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}

/// What the last days tell.
#[derive(Debug, Serialize)]
struct Report {
    /// The first day. The freeze that is supposed began with it.
    from: String,
    /// The last day.
    to: String,
    all: Sums,
    clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
struct Client {
    client: String,
    #[serde(flatten)]
    sums: Sums,
}

/// Numbers of requests for media.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
struct Sums {
    /// All of them.
    requests: u64,
    /// Those on the old endpoints.
    old: u64,
    /// Those that the freeze has refused.
    frozen: u64,
    /// Those that a freeze since the first day would have refused, at most.
    broken_since: u64,
    /// Those that a freeze of all media would have refused.
    broken_all: u64,
}

impl Report {
    fn of(requests: &[MediaRequests], first: i64, last: i64) -> Self {
        let mut all = Sums::default();
        let mut clients: BTreeMap<&str, Sums> = BTreeMap::new();
        for counted in requests {
            all.add(counted, first);
            clients.entry(&counted.client).or_default().add(counted, first);
        }
        let mut clients: Vec<_> =
            clients.into_iter().map(|(client, sums)| Client { client: client.to_owned(), sums }).collect();
        clients
            .sort_by_key(|Client { sums, .. }| Reverse((sums.broken_since, sums.broken_all, sums.old, sums.requests)));
        Self { from: date(first), to: date(last), all, clients }
    }

    fn table(&self) -> String {
        let Self { from, to, all, clients } = self;
        if all.requests == 0 {
            return format!("No requests for media are recorded from {from} to {to} (UTC).\n");
        }
        let name_of = |client: &Client| if client.client.is_empty() { "?".to_owned() } else { client.client.clone() };
        let rows = clients.iter().map(|client| (name_of(client), client.sums));
        let rows: Vec<_> = std::iter::once(("all".to_owned(), *all)).chain(rows).collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max("client".len());
        let since = format!("frozen {from}");
        let mut table = format!(
            "Requests for media from {from} to {to} (UTC), and how many a freeze would have broken at most\n\n\
             {:width$}  {:>12}  {:>19}  {:>12}  {since:>19}  {:>19}\n",
            "client", "requests", "old endpoints", "refused now", "frozen \"now\"",
        );
        for (name, sums) in rows {
            let of_all = |part| format!("{part}  {:>5}%", percent(part, sums.requests));
            writeln!(
                table,
                "{name:width$}  {:>12}  {:>19}  {:>12}  {:>19}  {:>19}",
                sums.requests,
                of_all(sums.old),
                sums.frozen,
                of_all(sums.broken_since),
                of_all(sums.broken_all),
            )
            .expect("writing to a String cannot fail");
        }
        writeln!(
            table,
            "\nfrozen {from}: legacy.freeze = \"{from}T00:00:00Z\" from that day on; media from before is spared.\n\
             frozen \"now\": legacy.freeze = \"now\", which spares no media."
        )
        .expect("writing to a String cannot fail");
        table
    }
}

impl Sums {
    /// Adds requests; the freeze that is supposed began with the day `freeze`.
    fn add(&mut self, counted: &MediaRequests, freeze: i64) {
        let MediaRequests { day, endpoint, outcome, age, requests, client: _ } = counted;
        self.requests += requests;
        if *endpoint == MediaEndpoint::New {
            return;
        }
        self.old += requests;
        match outcome {
            MediaRequestOutcome::Frozen => self.frozen += requests,
            MediaRequestOutcome::Other => {}
            MediaRequestOutcome::Served => {
                self.broken_all += requests;
                // Days from the freeze to the end of that day: younger media came after the freeze.
                if least_days(*age) < day - freeze + 1 {
                    self.broken_since += requests;
                }
            }
        }
    }
}

/// How many days old the media was at least.
fn least_days(age: MediaAge) -> i64 {
    match age {
        MediaAge::Day | MediaAge::Unknown => 0,
        MediaAge::Week => 1,
        MediaAge::Month => 7,
        MediaAge::Older => 30,
    }
}

/// A share in percent, with one digit after the point.
fn percent(part: u64, whole: u64) -> String {
    let permille = (u128::from(part) * 1000 + u128::from(whole) / 2).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{}", permille / 10, permille % 10)
}

/// The date of a day, such as `2026-01-31`.
fn date(day: i64) -> String {
    let moment = std::time::UNIX_EPOCH + Timestamp(day * DAY).since(Timestamp(0));
    let mut text = humantime::format_rfc3339_seconds(moment).to_string();
    text.truncate("2026-01-31".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: i64 = 20_000;

    fn old(day: i64, age: MediaAge, requests: u64) -> MediaRequests {
        MediaRequests {
            day,
            endpoint: MediaEndpoint::Old,
            client: "Element".to_owned(),
            outcome: MediaRequestOutcome::Served,
            age,
            requests,
        }
    }

    fn broken_since(day: i64, age: MediaAge) -> bool {
        Report::of(&[old(day, age, 1)], FIRST, FIRST + 89).all.broken_since == 1
    }

    #[test]
    fn media_that_is_older_than_the_freeze_is_spared() {
        assert!(broken_since(FIRST, MediaAge::Day));
        assert!(!broken_since(FIRST, MediaAge::Week));
        assert!(broken_since(FIRST + 1, MediaAge::Week));
        assert!(!broken_since(FIRST + 6, MediaAge::Month));
        assert!(broken_since(FIRST + 7, MediaAge::Month));
        assert!(!broken_since(FIRST + 29, MediaAge::Older));
        assert!(broken_since(FIRST + 30, MediaAge::Older));
        assert!(broken_since(FIRST, MediaAge::Unknown));
    }

    #[test]
    fn only_what_the_old_endpoints_served_can_break() {
        let new = MediaRequests { endpoint: MediaEndpoint::New, ..old(FIRST, MediaAge::Day, 5) };
        let frozen = MediaRequests { outcome: MediaRequestOutcome::Frozen, ..old(FIRST, MediaAge::Day, 2) };
        let other = MediaRequests { outcome: MediaRequestOutcome::Other, ..old(FIRST, MediaAge::Unknown, 1) };

        let report = Report::of(&[new, frozen, other, old(FIRST, MediaAge::Older, 3)], FIRST, FIRST);

        let expected = Sums { requests: 11, old: 6, frozen: 2, broken_since: 0, broken_all: 3 };
        assert_eq!(report.all, expected);
    }

    #[test]
    fn the_clients_that_break_most_come_first() {
        let of =
            |client: &str, requests| MediaRequests { client: client.to_owned(), ..old(FIRST, MediaAge::Day, requests) };

        let report = Report::of(&[of("a", 1), of("b", 3), of("c", 2)], FIRST, FIRST);

        let names: Vec<_> = report.clients.iter().map(|client| client.client.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn shares_are_rounded_to_a_tenth_of_a_percent() {
        assert_eq!(percent(1, 3), "33.3");
        assert_eq!(percent(2, 3), "66.7");
        assert_eq!(percent(5, 5), "100.0");
        assert_eq!(percent(0, 0), "0.0");
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(20_454), "2026-01-01");
    }
}
