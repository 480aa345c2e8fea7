//! How requests end that nobody concludes, and what is asked afterwards.

use super::*;

#[tokio::test]
async fn after_a_crash_nobody_knows_what_became_of_what_was_under_way() {
    let database = Database::with(&["one", "two", "three"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.begun(set_avatar(&["two"])).await;
    let finished = database.begun(send("3", &["three"])).await;
    database.conclude(finished, became("$three")).await;
    let avatar = StreamEvent { event_type: "m.room.avatar".to_owned(), state_key: Some(String::new()), ..seen("$two") };
    database.heal(avatar).await;

    let database = database.after_a_crash().await;

    assert_eq!(database.audience("one").await, Audience::Attaching);
    assert_eq!(database.audience("two").await, Audience::Event(event("$two")), "its event was seen before");
    assert_eq!(database.audience("three").await, Audience::Event(event("$three")));
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Begun { id, attempt: Attempt::Again });
}

#[tokio::test]
async fn a_request_ends_once() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;

    assert_eq!(database.conclude(id, UNKNOWN).await, Concluded::Over);
    assert_eq!(database.conclude(id, AttachmentOutcome::Free).await, Concluded::Over);

    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
}

#[tokio::test]
async fn what_stays_unknown_until_its_time_is_over_is_deleted() {
    let database = Database::with(&["one", "two", "attached"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;
    database.begun(send("2", &["two"])).await;
    let attached = database.begun(send("3", &["attached"])).await;
    database.conclude(attached, became("$one")).await;

    assert_eq!(database.end_unresolved(UNTIL - Duration::from_millis(1)).await, []);
    assert_eq!(database.end_unresolved(UNTIL).await, [mxc("one")]);

    assert!(database.records.find_media(&mxc("one")).await.unwrap().is_none());
    assert!(database.records.find_link(&mxc("one")).await.unwrap().is_none());
    assert!(database.records.find_media(&mxc("two")).await.unwrap().is_some(), "it is under way");
    assert!(database.records.find_media(&mxc("attached")).await.unwrap().is_some());
    // The journal has forgotten it, too.
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::NotTheirs(mxc("one")));
}

#[tokio::test]
async fn what_was_forwarded_a_moment_ago_is_not_deleted_yet() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;
    let end = EndUnresolved { now: UNTIL, settled_before: NOW - Duration::from_millis(1), limit: 100 };

    assert_eq!(database.records.end_unresolved(end).await.unwrap(), []);

    assert_eq!(database.audience("one").await, Audience::Attaching);
}

#[tokio::test]
async fn what_is_finished_is_forgotten_after_a_day_and_stays_attached() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;
    let end = NOW + ANSWERS_RETRIES;

    assert_eq!(database.records.forget_attachments(end - Duration::from_millis(1), 10).await.unwrap(), 0);
    assert_eq!(database.records.forget_attachments(end, 10).await.unwrap(), 1);

    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Taken(mxc("one")));
}

#[tokio::test]
async fn the_visibility_that_is_not_known_is_asked_for_until_it_is() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;
    let id = database.begun(send("2", &["two"])).await;
    let known = LinkedEvent { visibility: Some("joined".to_owned()), ..linked() };
    let outcome = AttachmentOutcome::Event { event_id: event("$two"), event: known, removal_due: LATER };
    database.conclude(id, outcome).await;
    let questions = async |now| database.records.visibility_questions(now, 10).await.unwrap();
    let question = VisibilityQuestion {
        event_id: event("$one"),
        room_id: RoomId::parse("!room:example.org").unwrap(),
        sender: alice(),
    };

    assert_eq!(questions(NOW).await, std::slice::from_ref(&question));
    database.records.learn_visibility(event("$one"), None, NOW).await.unwrap();
    assert_eq!(questions(NOW).await, [], "not at once again");
    assert_eq!(questions(NOW + Duration::from_mins(1)).await, [question]);
    database.records.learn_visibility(event("$one"), Some("shared".to_owned()), NOW).await.unwrap();

    assert_eq!(questions(LATER).await, []);
    let found = database.records.find_linked_event(&event("$one")).await.unwrap().unwrap();
    assert_eq!(found.visibility.as_deref(), Some("shared"));
}

#[tokio::test]
async fn a_question_without_an_answer_is_given_up_at_last() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;

    for _ in 0..=30 {
        database.records.learn_visibility(event("$one"), None, NOW).await.unwrap();
    }

    assert_eq!(database.records.visibility_questions(Timestamp::NEVER, 10).await.unwrap(), []);
    assert_eq!(database.records.find_linked_event(&event("$one")).await.unwrap().unwrap().visibility, None);
}
