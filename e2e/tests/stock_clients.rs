//! Clients as people run them, with Tintype as the only server they know: everything they do goes through it, and they
//! get to know what they would at Synapse itself.

use e2e::{
    conversation::{Sdk, conversation, linked_picture},
    front_door::{FrontDoor, Setting},
    picture,
    synapse::{MediaRepository, SERVER_NAME, Synapse},
};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

#[tokio::test]
async fn matrix_js_sdk_works_through_tintype_as_at_synapse() {
    let at_synapse = conversation_at_synapse(Sdk::JavaScript, "js").await;
    let through_tintype = conversation_through_tintype(Sdk::JavaScript, "js").await;

    assert_eq!(Value::from(at_synapse.clone()), all_goes_well("js"));
    assert_eq!(through_tintype, at_synapse);
}

#[tokio::test]
async fn matrix_rust_sdk_works_through_tintype_as_at_synapse() {
    let at_synapse = conversation_at_synapse(Sdk::Rust, "rust").await;
    let through_tintype = conversation_through_tintype(Sdk::Rust, "rust").await;

    let mut expected = all_goes_well("rust");
    // The newer way to sync, of Element X.
    expected["tablet"] = message("And this?");
    assert_eq!(Value::from(at_synapse.clone()), expected);
    assert_eq!(through_tintype, at_synapse);
}

/// The SDK knows nothing of MSC3911: the application sends the event with a function for requests of any kind.
#[tokio::test]
async fn a_picture_sent_with_matrix_js_sdk_is_for_those_who_see_its_message() {
    let door = FrontDoor::start(Setting::default()).await;
    let (alice, bob) = (door.synapse.register("alice").await, door.synapse.register("bob").await);
    let stranger = door.synapse.register("stranger").await;

    let known = linked_picture(&door.url(), &alice, &bob, &stranger).await;

    let here = answer(200, None);
    let not_for_you = answer(403, Some("M_UNAUTHORIZED"));
    let gone = answer(404, Some("M_NOT_FOUND"));
    let expected = json!({
        "uploaded": { "alice": here, "bob": not_for_you, "stranger": not_for_you },
        "shown": {
            "is_the_event": true,
            "filename": picture::NAME,
            "is_the_same": true,
            "cache_control": "private, no-cache",
        },
        "sent": { "alice": here, "bob": here, "stranger": not_for_you },
        "sent_again": answer(400, Some("M_INVALID_PARAM")),
        "redacted": { "alice": gone, "bob": gone, "stranger": gone },
    });
    assert_eq!(Value::from(known), expected);
}

static SYNAPSE: OnceCell<Synapse> = OnceCell::const_new();

/// At a Synapse that keeps its media itself.
async fn conversation_at_synapse(sdk: Sdk, name: &str) -> Map<String, Value> {
    let synapse = SYNAPSE.get_or_init(|| Synapse::start(MediaRepository::BuiltIn)).await;
    conversation_at(synapse.url(), synapse, sdk, name).await
}

/// At a Tintype that passes on to a Synapse everything that is not media.
async fn conversation_through_tintype(sdk: Sdk, name: &str) -> Map<String, Value> {
    let door = FrontDoor::start(Setting::default()).await;
    conversation_at(&door.url(), &door.synapse, sdk, name).await
}

async fn conversation_at(base_url: &str, synapse: &Synapse, sdk: Sdk, name: &str) -> Map<String, Value> {
    let alice = synapse.register(&format!("alice_{name}")).await;
    let bob = synapse.register(&format!("bob_{name}")).await;
    conversation(sdk, base_url, &alice, &bob).await
}

/// What Alice and Bob get to know when nothing stands in their way.
fn all_goes_well(name: &str) -> Value {
    let [alice, bob] = ["alice", "bob"].map(|who| format!("@{who}_{name}:{SERVER_NAME}"));
    let here = answer(200, None);
    let unknown_token = answer(401, Some("M_UNKNOWN_TOKEN"));
    json!({
        "invited_by": alice,
        "question": message("Do you see this?"),
        "answer": message("I do."),
        "attachment": { "filename": picture::NAME, "is_stored_in_clear": false, "is_the_same": true },
        "read_by": [bob],
        "typing": bob,
        "ping": { "from": bob, "content": { "text": "Are you there?" } },
        "other_device": { "before": here, "deleted": unknown_token },
        "session": { "before": here, "logged_out": unknown_token },
    })
}

fn message(body: &str) -> Value {
    json!({ "type": "m.room.message", "sent_as": "m.room.encrypted", "body": body })
}

fn answer(status: u16, errcode: Option<&str>) -> Value {
    json!({ "status": status, "errcode": errcode })
}
