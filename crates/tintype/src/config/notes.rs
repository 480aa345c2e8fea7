//! Keys that are accepted although this version has no use for them yet.
//!
//! A file can thus be written for a later version too. What an operator would be misled by (a store that is not used, a
//! port that stays closed) is an error instead.

use super::source::Node;

/// Keys without effect, with what they are for.
const WITHOUT_EFFECT: [(&str, &str); 1] = [("proposals.stable", "proposals that are not accepted yet")];

/// A line for each key that was set without effect.
pub fn notes(root: &Node) -> Vec<String> {
    let mut notes = Vec::new();
    collect(root, &mut notes);
    notes
}

fn collect(node: &Node, notes: &mut Vec<String>) {
    // `server[3].name` is the key `server.name`.
    let key = match node.key.split_once("].") {
        Some((_, key)) if node.key.starts_with("server[") => format!("server.{key}"),
        _ => node.key.clone(),
    };
    if let Some((_, purpose)) = WITHOUT_EFFECT.iter().find(|(known, _)| *known == key) {
        notes.push(format!("accepted, has no effect in this version: {} ({purpose})", node.key));
    }
    node.children().for_each(|child| collect(child, notes));
}
