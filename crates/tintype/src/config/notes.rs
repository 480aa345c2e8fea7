//! Keys that are accepted although this version has no use for them yet.
//!
//! A file can thus be written for a later version too. What an operator would be misled by (a store that is not used, a
//! port that stays closed) is an error instead.

use super::{Config, DatabaseConfig, DatabaseUrl, source::Node};

/// Keys without effect, with what they are for.
const WITHOUT_EFFECT: [(&str, &str); 1] = [("proposals.stable", "proposals that are not accepted yet")];

/// A line for each key that was set without effect.
pub fn notes(root: &Node) -> Vec<String> {
    let mut notes = Vec::new();
    collect(root, &mut notes);
    notes
}

/// A line for each key that was set without effect because of another one's value.
pub fn of_values(root: &Node, config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let on_postgres = matches!(config.database.url, DatabaseUrl::Postgres(_));
    if on_postgres && root.find("blobs.inline_size").is_some() {
        notes
            .push("has no effect with PostgreSQL, where no body is kept in the database: blobs.inline_size".to_owned());
    }
    // The default file says how many there are by default.
    let asks_for_connections = config.database.max_connections != DatabaseConfig::default().max_connections;
    for (key, is_meant) in [
        ("database.password", true),
        ("database.password_file", true),
        ("database.max_connections", asks_for_connections),
    ] {
        if !on_postgres && is_meant && root.find(key).is_some() {
            notes.push(format!("has no effect with SQLite: {key}"));
        }
    }
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
