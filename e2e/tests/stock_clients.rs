//! Clients as people run them, with Tintype as the only server they know: everything they do goes through it, and they
//! see what they would see at Synapse itself.

use e2e::{
    conversation::{Sdk, conversation},
    picture,
    synapse::{MediaRepository, SERVER_NAME, Synapse},
};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

#[tokio::test]
async fn a_conversation_with_matrix_js_sdk_goes_well_at_synapse() {
    let known = conversation_at_synapse(Sdk::JavaScript, "js").await;

    assert_eq!(Value::Object(known), all_goes_well("js"));
}

#[tokio::test]
async fn a_conversation_with_matrix_rust_sdk_goes_well_at_synapse() {
    let known = conversation_at_synapse(Sdk::Rust, "rust").await;

    assert_eq!(Value::Object(known), all_goes_well("rust"));
}

static SYNAPSE: OnceCell<Synapse> = OnceCell::const_new();

async fn conversation_at_synapse(sdk: Sdk, name: &str) -> Map<String, Value> {
    let synapse = SYNAPSE.get_or_init(|| Synapse::start(MediaRepository::BuiltIn)).await;
    let alice = synapse.register(&format!("alice_{name}")).await;
    let bob = synapse.register(&format!("bob_{name}")).await;
    conversation(sdk, synapse.url(), &alice, &bob).await
}

/// What Alice and Bob get to know when nothing stands in their way.
fn all_goes_well(name: &str) -> Value {
    let [alice, bob] = ["alice", "bob"].map(|who| format!("@{who}_{name}:{SERVER_NAME}"));
    let message = |body: &str| json!({ "type": "m.room.message", "sent_as": "m.room.encrypted", "body": body });
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
