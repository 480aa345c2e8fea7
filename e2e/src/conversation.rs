//! An encrypted conversation of two people with the SDK of their applications; the programs are in `e2e/clients/`.
//!
//! What they say is the same wherever it goes well, so that a server can be compared with another one.

use std::{ffi::OsString, path::PathBuf};

use serde_json::{Map, Value};

use crate::{dialogue::Dialogue, folder::Folder, picture, synapse::User, tools};

/// What applications are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// matrix-js-sdk, on which Element Web is built.
    JavaScript,
    /// matrix-rust-sdk, on which Element X and Fractal are built.
    Rust,
}

/// Lets `alice` and `bob`, who has never logged in before, talk at `base_url` until the first of them has logged out,
/// and returns what each got to know.
///
/// Fails when a step is not over in time. Their polls of `/sync` are answered far later if nothing happens, so that is
/// also when an event does not reach a client that waits for it.
pub async fn conversation(sdk: Sdk, base_url: &str, alice: &User, bob: &User) -> Map<String, Value> {
    let (program, script) = match sdk {
        Sdk::JavaScript => (tools::node(), Some("js/conversation.mjs")),
        Sdk::Rust => (tools::rust_client(), None),
    };
    lead(program, script, base_url, &[alice, bob]).await
}

/// Lets `alice` send `bob` an encrypted picture with matrix-js-sdk, that is linked to its message (MSC3911), and redact
/// it, and returns what each of them and a `stranger`, who is in no room of theirs, got at each step.
pub async fn linked_picture(base_url: &str, alice: &User, bob: &User, stranger: &User) -> Map<String, Value> {
    lead(tools::node(), Some("js/linked_picture.mjs"), base_url, &[alice, bob, stranger]).await
}

async fn lead(program: PathBuf, script: Option<&str>, base_url: &str, people: &[&User]) -> Map<String, Value> {
    let folder = Folder::new("conversation");
    let photograph = picture::write_photograph(folder.path());
    let script = script.map(|script| tools::workspace().join("e2e/clients").join(script));
    let accounts = people.iter().flat_map(|user| [&user.localpart, &user.password]);
    let arguments = script
        .map(OsString::from)
        .into_iter()
        .chain([base_url.into(), photograph.into()])
        .chain(accounts.map(OsString::from));
    let environment = [("CLIENT_PACKAGES", tools::client_packages().into())];
    let mut dialogue = Dialogue::start("conversation", program, arguments, environment, folder.path());
    let mut known = Map::new();
    loop {
        let Value::Object(step) = dialogue.hear().await else { panic!("each line is an object") };
        if step.contains_key("over") {
            return known;
        }
        known.extend(step);
    }
}
