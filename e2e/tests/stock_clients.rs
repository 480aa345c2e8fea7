//! Clients as people run them, with Tintype as the only server they know: everything they do goes through it, and they
//! get to know what they would at Synapse itself.

use e2e::{
    conversation::{Sdk, conversation},
    picture, port,
    synapse::{MediaRepository, SERVER_NAME, Synapse},
    tintype::Tintype,
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

static SYNAPSE: OnceCell<Synapse> = OnceCell::const_new();

/// At a Synapse that keeps its media itself.
async fn conversation_at_synapse(sdk: Sdk, name: &str) -> Map<String, Value> {
    let synapse = SYNAPSE.get_or_init(|| Synapse::start(MediaRepository::BuiltIn)).await;
    conversation_at(synapse.url(), synapse, sdk, name).await
}

/// At a Tintype that passes on to a Synapse everything that is not media.
async fn conversation_through_tintype(sdk: Sdk, name: &str) -> Map<String, Value> {
    let synapse = Synapse::start(MediaRepository::Elsewhere).await;
    let server = format!("name = \"{SERVER_NAME}\"\nhomeserver = \"{}\"\npass_through = true\n", synapse.url());
    let tintype = Tintype::start_linked(port::free(), None, &server, "").await;
    conversation_at(&format!("http://{}", tintype.address()), &synapse, sdk, name).await
}

async fn conversation_at(base_url: &str, synapse: &Synapse, sdk: Sdk, name: &str) -> Map<String, Value> {
    let alice = synapse.register(&format!("alice_{name}")).await;
    let bob = synapse.register(&format!("bob_{name}")).await;
    conversation(sdk, base_url, &alice, &bob).await
}

/// What Alice and Bob get to know when nothing stands in their way.
fn all_goes_well(name: &str) -> Value {
    let [alice, bob] = ["alice", "bob"].map(|who| format!("@{who}_{name}:{SERVER_NAME}"));
    let here = json!({ "status": 200, "errcode": null });
    let unknown_token = json!({ "status": 401, "errcode": "M_UNKNOWN_TOKEN" });
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
