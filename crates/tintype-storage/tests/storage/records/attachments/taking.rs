//! Who takes media, and what a request finds that was sent before.

use super::*;

#[tokio::test]
async fn what_is_being_attached_belongs_to_nobody_else_and_then_to_its_event() {
    let database = Database::with(&["one", "two"]).await;

    let id = database.begun(send("1", &["one", "two"])).await;
    assert_eq!(database.audience("one").await, Audience::Attaching);
    let concluded = database.conclude(id, became("$one")).await;

    assert_eq!(concluded, Concluded::Attached(vec![mxc("one"), mxc("two")]));
    assert_eq!(database.audience("two").await, Audience::Event(event("$one")));
    assert_eq!(database.records.media_of_event(&event("$one")).await.unwrap(), [mxc("one"), mxc("two")]);
    assert_eq!(database.records.find_linked_event(&event("$one")).await.unwrap(), Some(linked()));
}

#[tokio::test]
async fn a_profile_has_its_media_without_an_event() {
    let database = Database::with(&["one"]).await;
    let begin = BeginAttachment {
        path: "/_matrix/client/v3/profile/@alice:example.org/avatar_url".to_owned(),
        target: AttachmentTarget::Profile(alice()),
        ..send("", &["one"])
    };

    let id = database.begun(begin).await;
    database.conclude(id, AttachmentOutcome::Profile(alice())).await;

    assert_eq!(database.audience("one").await, Audience::Profile(alice()));
}

#[tokio::test]
async fn of_two_requests_at_once_exactly_one_has_the_media() {
    let database = Database::with(&["one", "two", "three"]).await;

    let (first, second) =
        tokio::join!(database.begin(send("1", &["one", "two"])), database.begin(send("2", &["two", "three"])));

    let begun = |outcome: &BeginOutcome| matches!(outcome, BeginOutcome::Begun { attempt: Attempt::First, .. });
    assert!(begun(&first) != begun(&second), "{first:?} {second:?}");
    let loser = if begun(&first) { second } else { first };
    assert_eq!(loser, BeginOutcome::Taken(mxc("two")));
}

#[tokio::test]
async fn of_many_requests_at_once_exactly_one_has_the_media() {
    let database = Database::with(&["one"]).await;
    let requests = (0..50).map(|txn| {
        let records = database.records.clone();
        tokio::spawn(async move { records.begin_attachment(send(&txn.to_string(), &["one"])).await.unwrap() })
    });

    let mut begun = 0;
    for request in requests.collect::<Vec<_>>() {
        match request.await.unwrap() {
            BeginOutcome::Begun { .. } => begun += 1,
            other => assert_eq!(other, BeginOutcome::Taken(mxc("one"))),
        }
    }

    assert_eq!(begun, 1);
}

#[tokio::test]
async fn if_one_cannot_be_attached_none_is() {
    let database = Database::with(&["one", "taken"]).await;
    database.begun(send("1", &["taken"])).await;

    let refused = database.begin(send("2", &["one", "taken"])).await;

    assert_eq!(refused, BeginOutcome::Taken(mxc("taken")));
    assert_eq!(database.audience("one").await, Audience::Uploader);
}

#[tokio::test]
async fn only_own_restricted_media_of_the_own_server_that_lives_can_be_attached() {
    let database = Database::with(&["over"]).await;
    database.insert("unrestricted", alice(), NewAudience::Everyone).await;
    database.insert("bobs", bob(), NewAudience::Uploader { unattached_until: UNTIL }).await;

    for id in ["unrestricted", "bobs", "unknown"] {
        assert_eq!(database.begin(send("1", &[id])).await, BeginOutcome::NotTheirs(mxc(id)), "{id}");
    }
    let late = BeginAttachment { now: UNTIL, ..send("1", &["over"]) };
    assert_eq!(database.begin(late).await, BeginOutcome::NotTheirs(mxc("over")));
    let elsewhere = Mxc::from_parts("elsewhere.example", "over").unwrap();
    let remote = BeginAttachment { media: [elsewhere.clone()].into(), ..send("1", &[]) };
    assert_eq!(database.begin(remote).await, BeginOutcome::NotTheirs(elsewhere));
}

#[tokio::test]
async fn media_that_is_reserved_can_be_attached_before_it_is_uploaded_until_that_is_too_late() {
    let database = Database::new().await;
    for (id, expires_at) in [("soon", UNTIL), ("never", NOW)] {
        let reservation = InsertReservation {
            mxc: mxc(id),
            creator: alice(),
            created_at: Timestamp(1),
            expires_at,
            max_pending: 100,
            kind: MediaKind::Restricted { unattached_until: UNTIL },
        };
        assert_eq!(database.records.reserve(reservation).await.unwrap(), ReserveOutcome::Reserved);
    }

    database.begun(send("1", &["soon"])).await;

    assert_eq!(database.begin(send("2", &["never"])).await, BeginOutcome::NotTheirs(mxc("never")));
}

#[tokio::test]
async fn what_was_refused_is_free_for_the_next_request() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;

    let concluded = database.conclude(id, AttachmentOutcome::Free).await;

    assert_eq!(concluded, Concluded::Freed(vec![mxc("one")]));
    assert_eq!(database.audience("one").await, Audience::Uploader);
    // Of the same transaction, too, whatever it brings now.
    database.begun(BeginAttachment { body: ContentHash::of(b"{}"), ..send("1", &["one"]) }).await;
}

#[tokio::test]
async fn what_is_unknown_can_only_be_attached_by_a_retry() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;

    assert_eq!(database.conclude(id, UNKNOWN).await, Concluded::Unknown);

    assert_eq!(database.audience("one").await, Audience::Attaching);
    assert_eq!(database.begin(send("2", &["one"])).await, BeginOutcome::Taken(mxc("one")));
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Begun { id, attempt: Attempt::Again });
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Forwarding);
    database.conclude(id, became("$one")).await;
    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
}

#[tokio::test]
async fn a_finished_transaction_answers_its_retries_for_a_day() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;
    let end = NOW + ANSWERS_RETRIES;

    let just_before = BeginAttachment { now: end - Duration::from_millis(1), ..send("1", &["one"]) };
    assert_eq!(database.begin(just_before).await, BeginOutcome::Finished { event_id: event("$one") });

    assert_eq!(
        database.begin(BeginAttachment { now: end, ..send("1", &["one"]) }).await,
        BeginOutcome::Taken(mxc("one"))
    );
}

#[tokio::test]
async fn a_transaction_cannot_be_used_for_something_else() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(send("1", &["one"])).await;
    let others = || {
        let body = ContentHash::of(b"another");
        [send("1", &["two"]), send("1", &["one", "two"]), BeginAttachment { body, ..send("1", &["one"]) }]
    };

    for other in others() {
        assert_eq!(database.begin(other).await, BeginOutcome::OtherRequest, "while it is forwarded");
    }
    database.conclude(id, UNKNOWN).await;
    for other in others() {
        assert_eq!(database.begin(other).await, BeginOutcome::OtherRequest, "while it is unknown");
    }
    let BeginOutcome::Begun { .. } = database.begin(send("1", &["one"])).await else {
        panic!("the retry is forwarded")
    };
    database.conclude(id, became("$one")).await;
    for other in others() {
        assert_eq!(database.begin(other).await, BeginOutcome::OtherRequest, "when it is finished");
    }
    assert_eq!(database.audience("two").await, Audience::Uploader);
}

#[tokio::test]
async fn a_transaction_is_one_of_its_device_and_path() {
    let database = Database::with(&["one", "two", "three", "four"]).await;
    database.begun(send("1", &["one"])).await;

    database.begun(BeginAttachment { device: Some("TABLET".to_owned()), ..send("1", &["two"]) }).await;
    database.begun(BeginAttachment { device: None, ..send("1", &["three"]) }).await;
    database.begun(send("2", &["four"])).await;
}

#[tokio::test]
async fn a_state_event_may_be_sent_to_the_same_path_with_other_media() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(set_avatar(&["one"])).await;
    database.conclude(id, became("$one")).await;

    let second = database.begun(set_avatar(&["two"])).await;
    // The homeserver knows such an event already.
    database.conclude(second, became("$one")).await;

    assert_eq!(database.records.media_of_event(&event("$one")).await.unwrap(), [mxc("one"), mxc("two")]);
    assert_eq!(database.begin(set_avatar(&["one"])).await, BeginOutcome::Finished { event_id: event("$one") });
}

#[tokio::test]
async fn a_message_without_a_transaction_is_another_one_each_time() {
    let database = Database::with(&["one"]).await;
    let post = || {
        let AttachmentTarget::Transaction { room_id, event_type } = send("1", &[]).target else { unreachable!() };
        let target = AttachmentTarget::Message { room_id, event_type };
        BeginAttachment { method: "POST".to_owned(), target, ..send("1", &["one"]) }
    };
    let id = database.begun(post()).await;
    database.conclude(id, became("$one")).await;

    assert_eq!(database.begin(post()).await, BeginOutcome::Taken(mxc("one")));
}
