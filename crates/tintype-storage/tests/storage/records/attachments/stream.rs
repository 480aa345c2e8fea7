//! What the stream of the application service says of requests of which nobody knew what became.

use super::*;

#[tokio::test]
async fn an_event_of_the_stream_ends_the_unknown_request_that_sent_it() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(send("1", &["one", "two"])).await;
    database.conclude(id, UNKNOWN).await;

    assert_eq!(database.heal(seen("$one")).await, [mxc("one"), mxc("two")]);

    assert_eq!(database.audience("two").await, Audience::Event(event("$one")));
    assert_eq!(database.records.find_linked_event(&event("$one")).await.unwrap(), Some(linked()));
    assert_eq!(database.begin(send("1", &["one", "two"])).await, BeginOutcome::Finished { event_id: event("$one") });
    assert_eq!(database.heal(seen("$one")).await, [], "the same again");
}

#[tokio::test]
async fn a_transaction_of_the_stream_ends_it_too_and_says_where_the_event_was() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;

    assert_eq!(database.brings("example.org", seen("$one")).await, [mxc("one")]);

    assert_eq!(database.position("$one").await, Some(1));
}

#[tokio::test]
async fn where_an_event_was_is_known_whether_it_came_before_its_answer_or_after() {
    let database = Database::with(&["one", "two"]).await;
    let before = database.begun(send("1", &["one"])).await;
    database.brings("example.org", seen("$one")).await;
    database.conclude(before, became("$one")).await;

    let after = database.begun(set_avatar(&["two"])).await;
    database.conclude(after, became("$two")).await;
    database.brings("example.org", StreamEvent { event_type: "m.room.avatar".to_owned(), ..seen("$two") }).await;

    assert_eq!((database.position("$one").await, database.position("$two").await), (Some(1), Some(2)));
}

#[tokio::test]
async fn the_stream_of_another_server_does_not_say_where_an_event_was() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.brings("other.example", seen("$one")).await;

    database.conclude(id, became("$one")).await;

    assert_eq!(database.position("$one").await, None);
}

#[tokio::test]
async fn an_event_that_differs_in_anything_ends_nothing() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;
    let other_content = json!({ "msgtype": "m.image", "body": "dog.png" }).as_object().unwrap().clone();

    for other in [
        StreamEvent { room_id: RoomId::parse("!other:example.org").unwrap(), ..seen("$one") },
        StreamEvent { sender: bob(), ..seen("$one") },
        StreamEvent { event_type: "m.sticker".to_owned(), ..seen("$one") },
        StreamEvent { state_key: Some(String::new()), ..seen("$one") },
        StreamEvent { content: other_content, ..seen("$one") },
    ] {
        assert_eq!(database.heal(other.clone()).await, [], "{other:?}");
    }

    assert_eq!(database.audience("one").await, Audience::Attaching);
}

#[tokio::test]
async fn an_event_that_was_seen_while_its_request_was_under_way_ends_it_when_the_answer_is_lost() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;

    assert_eq!(database.heal(seen("$one")).await, []);
    assert_eq!(database.audience("one").await, Audience::Attaching);
    let concluded = database.conclude(id, UNKNOWN).await;

    assert_eq!(concluded, Concluded::Attached(vec![mxc("one")]));
    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
}

#[tokio::test]
async fn one_event_ends_one_request() {
    let database = Database::with(&["one", "two"]).await;
    for (txn, media) in [("1", "one"), ("2", "two")] {
        let id = database.begun(send(txn, &[media])).await;
        database.conclude(id, UNKNOWN).await;
    }

    assert_eq!(database.heal(seen("$one")).await, [mxc("one")]);
    assert_eq!(database.heal(seen("$one")).await, []);
    assert_eq!(database.heal(seen("$two")).await, [mxc("two")]);
}

#[tokio::test]
async fn the_avatar_of_a_new_room_is_found_without_knowing_the_room() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(create_room(&["one"])).await;
    database.conclude(id, UNKNOWN).await;
    let avatar = StreamEvent {
        event_type: "m.room.avatar".to_owned(),
        state_key: Some(String::new()),
        room_id: RoomId::parse("!new:example.org").unwrap(),
        ..seen("$avatar")
    };

    assert_eq!(database.heal(avatar).await, [mxc("one")]);

    let known = database.records.find_linked_event(&event("$avatar")).await.unwrap().unwrap();
    assert_eq!(known.room_id, Some(RoomId::parse("!new:example.org").unwrap()));
    assert_eq!(known.state_key.as_deref(), Some(""));
}
