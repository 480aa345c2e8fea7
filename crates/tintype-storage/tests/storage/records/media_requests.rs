//! The sums of requests for media, on a real database.

use tintype_storage::records::{MediaAge, MediaEndpoint, MediaRequestOutcome, MediaRequests};

use super::support;

fn requests(day: i64, client: &str, requests: u64) -> MediaRequests {
    MediaRequests {
        day,
        endpoint: MediaEndpoint::Old,
        client: client.to_owned(),
        outcome: MediaRequestOutcome::Served,
        age: MediaAge::Week,
        requests,
    }
}

#[tokio::test]
async fn requests_of_one_kind_and_day_add_up() {
    let (records, folder) = support::records().await;
    let new = MediaRequests { endpoint: MediaEndpoint::New, ..requests(100, "Element", 7) };

    records.count_media_requests(vec![requests(100, "Element", 2), new.clone()]).await.unwrap();
    records.count_media_requests(vec![requests(100, "Element", 3), requests(101, "Element", 1)]).await.unwrap();
    records.close().await;

    let records = folder.open().await;
    let expected = [new, requests(100, "Element", 5), requests(101, "Element", 1)];
    assert_eq!(records.media_requests_since(100).await.unwrap(), expected);
    assert_eq!(records.media_requests_since(101).await.unwrap(), expected[2..]);
}

#[tokio::test]
async fn every_kind_is_read_back_as_it_was_counted() {
    let (records, _folder) = support::records().await;
    let with = |endpoint, outcome, age| MediaRequests { endpoint, outcome, age, ..requests(1, "curl", 1) };
    let (old, new) = (MediaEndpoint::Old, MediaEndpoint::New);
    let kinds = [
        with(new, MediaRequestOutcome::Other, MediaAge::Unknown),
        with(new, MediaRequestOutcome::Served, MediaAge::Day),
        with(old, MediaRequestOutcome::Frozen, MediaAge::Month),
        with(old, MediaRequestOutcome::Served, MediaAge::Week),
        with(old, MediaRequestOutcome::Served, MediaAge::Older),
    ];

    records.count_media_requests(kinds.to_vec()).await.unwrap();

    assert_eq!(records.media_requests_since(0).await.unwrap(), kinds);
}

#[tokio::test]
async fn days_that_are_long_past_are_forgotten() {
    let (records, _folder) = support::records().await;
    records.count_media_requests(vec![requests(9, "a", 1), requests(10, "b", 1)]).await.unwrap();

    records.count_media_requests(vec![requests(100, "c", 1)]).await.unwrap();

    let expected = [requests(10, "b", 1), requests(100, "c", 1)];
    assert_eq!(records.media_requests_since(0).await.unwrap(), expected);
}
