//! How rooms become known: their state is read as a user of ours who is in them.

use std::time::Duration;

use serde_json::json;
use tintype_testing::until;

use super::{ALICE, Pair, member, message};

const BOB: &str = "@bob:example.org";

#[tokio::test]
async fn the_state_of_a_room_is_read_when_it_is_first_heard_of() {
    let pair = Pair::start().await;
    pair.shows_state(ALICE, 200, &json!([member("$m", ALICE, "join"), "nonsense"]));

    pair.sends("1", &[message("$1", ALICE)]).await;

    pair.knows_rooms(1).await;
    assert_eq!(pair.server.metric("tintype_rooms_unknown").await, 0);
    let asked = pair.homeserver.asked();
    let reading = asked.iter().find(|asked| asked.target.contains("/state")).unwrap();
    assert!(reading.target.ends_with("/state?user_id=%40alice%3Aexample.org"), "{}", reading.target);
    assert_eq!(reading.headers["authorization"], "Bearer as-secret");
}

#[tokio::test]
async fn a_room_that_is_known_is_not_read_again() {
    let pair = Pair::start().await;
    pair.shows_state(ALICE, 200, &json!([member("$m", ALICE, "join")]));
    pair.sends("1", &[message("$1", ALICE)]).await;
    pair.knows_rooms(1).await;

    pair.sends("2", &[message("$2", ALICE), member("$b", BOB, "join")]).await;
    pair.sends("3", &[json!({ "type": "m.room.message" })]).await;

    let readings = pair.homeserver.asked().iter().filter(|asked| asked.target.contains("/state")).count();
    assert_eq!(readings, 1);
}

#[tokio::test]
async fn a_member_who_may_not_read_it_is_not_the_only_one_asked() {
    let pair = Pair::start().await;
    let hidden = json!({ "errcode": "M_FORBIDDEN", "error": "You are not in the room" });
    pair.shows_state(BOB, 403, &hidden);
    pair.shows_state(ALICE, 200, &json!([member("$m", ALICE, "join")]));

    pair.sends("1", &[message("$1", ALICE), message("$2", BOB)]).await;

    pair.knows_rooms(1).await;
}

#[tokio::test]
async fn a_homeserver_that_does_not_give_it_is_asked_again_later() {
    let pair = Pair::start().await;
    pair.shows_state(ALICE, 500, &json!({}));
    pair.sends("1", &[message("$1", ALICE)]).await;
    until("it failed", async || pair.server.metric("tintype_room_states_failed_total").await == 1).await;
    until("it is unknown", async || pair.server.metric("tintype_rooms_unknown").await == 1).await;

    pair.shows_state(ALICE, 200, &json!([member("$m", ALICE, "join")]));
    pair.server.advance(Duration::from_secs(2));

    pair.knows_rooms(1).await;
}

#[tokio::test]
async fn what_was_still_to_be_read_is_read_after_a_restart() {
    let pair = Pair::start().await;
    pair.shows_state(ALICE, 500, &json!({}));
    pair.sends("1", &[message("$1", ALICE)]).await;
    until("it failed", async || pair.server.metric("tintype_room_states_failed_total").await == 1).await;
    let pair = Pair { server: pair.server.restart().await, ..pair };

    pair.shows_state(ALICE, 200, &json!([member("$m", ALICE, "join")]));
    pair.server.advance(Duration::from_secs(2));

    pair.knows_rooms(1).await;
}

#[tokio::test]
async fn a_room_that_all_of_ours_have_left_is_known_no_more() {
    let pair = Pair::start().await;
    pair.shows_state(ALICE, 200, &json!([member("$m", ALICE, "join")]));
    pair.sends("1", &[message("$1", ALICE)]).await;
    pair.knows_rooms(1).await;

    pair.sends("2", &[member("$l", ALICE, "leave")]).await;

    pair.knows_rooms(0).await;
}
