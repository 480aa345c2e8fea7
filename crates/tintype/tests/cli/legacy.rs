//! `tintype legacy report`

use serde_json::json;
use tintype_domain::{Clock as _, SystemClock};
use tintype_storage::records::{MediaAge, MediaEndpoint, MediaRequestOutcome, MediaRequests, Records};

use crate::installation::{Installation, Ran};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Counts requests as a server does that runs on this folder.
async fn count(installation: &Installation, requests: Vec<MediaRequests>) {
    let database = installation.path().join("tintype-data/tintype.db");
    let records = Records::open_sqlite(&database).await.expect("the database can be opened");
    records.count_media_requests(requests).await.expect("requests can be counted");
    records.close().await;
}

fn requests(endpoint: MediaEndpoint, client: &str, requests: u64) -> MediaRequests {
    MediaRequests {
        day: SystemClock.now().as_millis() / DAY,
        endpoint,
        client: client.to_owned(),
        outcome: MediaRequestOutcome::Served,
        age: MediaAge::Day,
        requests,
    }
}

fn stdout(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    &ran.stdout
}

#[tokio::test]
async fn the_report_says_which_clients_a_freeze_would_break_while_the_server_runs() {
    let installation = Installation::with("");
    let _serving = installation.serve().await;
    let (old, new) = (MediaEndpoint::Old, MediaEndpoint::New);
    let counted = vec![requests(old, "Old Client", 30), requests(new, "Old Client", 10), requests(new, "Element", 160)];
    count(&installation, counted).await;

    let ran = installation.run(&["legacy", "report"]);

    let line = |client| stdout(&ran).lines().find(|line| line.starts_with(client)).unwrap().to_owned();
    let words = |client| line(client).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words("all"), ["all", "200", "30", "15.0%", "0", "30", "15.0%", "30", "15.0%"]);
    assert_eq!(words("Old Client")[2..], ["40", "30", "75.0%", "0", "30", "75.0%", "30", "75.0%"]);
    assert_eq!(words("Element"), ["Element", "160", "0", "0.0%", "0", "0", "0.0%", "0", "0.0%"]);
}

#[tokio::test]
async fn the_report_is_there_for_programs_too() {
    let installation = Installation::empty();
    installation.run(&["migrate"]);
    count(&installation, vec![requests(MediaEndpoint::Old, "curl", 3), requests(MediaEndpoint::New, "curl", 1)]).await;

    let ran = installation.run(&["legacy", "report", "--days", "30", "--json"]);

    let report: serde_json::Value = serde_json::from_str(stdout(&ran)).unwrap();
    let sums = json!({ "requests": 4, "old": 3, "frozen": 0, "broken_since": 3, "broken_all": 3 });
    assert_eq!(report["all"], sums);
    assert_eq!(report["clients"][0]["client"], "curl");
    assert_eq!(report["clients"][0]["broken_all"], 3);
    assert!(report["from"].as_str() < report["to"].as_str(), "{report}");
}

#[tokio::test]
async fn days_that_are_not_asked_for_do_not_count() {
    let installation = Installation::empty();
    installation.run(&["migrate"]);
    let long_ago =
        MediaRequests { day: requests(MediaEndpoint::Old, "", 0).day - 10, ..requests(MediaEndpoint::Old, "x", 1) };
    count(&installation, vec![long_ago]).await;

    let week = installation.run(&["legacy", "report"]);
    let month = installation.run(&["legacy", "report", "--days=30"]);

    assert!(stdout(&week).starts_with("No requests for media are recorded"), "{week:?}");
    assert!(stdout(&month).contains("\nall"), "{month:?}");
}

#[test]
fn more_days_than_are_kept_are_a_mistake() {
    for days in ["0", "91", "many"] {
        assert_eq!(Installation::empty().run(&["legacy", "report", "--days", days]).code, Some(2), "{days}");
    }
}
