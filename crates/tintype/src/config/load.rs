//! From a file and the environment to a checked [`Config`], or to everything that is wrong with them.
//!
//! The tree is read again and again, each time without the value that was refused before, until all of it can be read;
//! then the values are checked against each other. So one run finds every error.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::error::{ConfigError, ConfigErrors, Place};
use super::report::Report;
use super::source::{self, Node, NodeDeserializer, Tree, Unknown};
use super::{Config, notes, schema, server};

/// Loads a file, if there is one, and the environment.
pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigErrors> {
    let Some(path) = path else {
        return from_tree(Node::table(String::new(), Place::Default), environment);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => from_text(path, &text, environment),
        Err(error) => Err(about_file(&Arc::from(path), None, format!("cannot read the file: {error}"))),
    }
}

/// Loads the text of a file and the environment.
pub fn from_text(
    path: &Path,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigErrors> {
    let path = Arc::from(path);
    let root = source::parse(&path, text)
        .map_err(|error| about_file(&path, Some(error.line), format!("not TOML: {}", error.message)))?;
    from_tree(root, environment)
}

fn about_file(path: &Arc<Path>, line: Option<usize>, message: String) -> ConfigErrors {
    ConfigErrors::new(vec![ConfigError { place: Place::file(path, line), key: String::new(), message }])
}

fn from_tree(mut root: Node, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigErrors> {
    let problems = source::overlay(&mut root, environment).into_iter();
    let mut errors: Vec<ConfigError> =
        problems.map(|(place, message)| ConfigError { place, key: String::new(), message }).collect();
    let notes = notes::notes(&root);

    let mut refused = Vec::new();
    let mut config = loop {
        let refusal = match Config::deserialize(NodeDeserializer(&root)) {
            Ok(config) => break config,
            Err(refusal) => refusal,
        };
        let key = refusal.key.unwrap_or_default();
        let message = match refusal.unknown {
            Some(unknown) => format!("unknown key{}", suggestion(&unknown)),
            None if key == "server" => format!("{}; each server begins with \"[[server]]\"", refusal.message),
            None => refusal.message,
        };
        // What was refused before is missing now; that has been said.
        let is_said = refusal.missing.is_some_and(|name| refused.contains(&format!("{key}.{name}")));
        if !is_said {
            errors.push(ConfigError { place: root.closest(&key).place.clone(), key: key.clone(), message });
        }
        if !root.refuse(&key) {
            // Only the whole can have been refused, and what is left of it has no use.
            return Err(ConfigErrors::new(errors));
        }
        refused.push(key);
    };

    let mut report = Report::new(config.data_dir.clone(), refused);
    let server_keys = server_keys(&root, &config);
    complete(&mut config, &server_keys, &mut report);
    check(&config, &server_keys, &mut report);
    errors.extend(report.into_findings().into_iter().map(|finding| {
        let place = root.closest(&finding.key).place.clone();
        ConfigError { place, key: finding.key, message: finding.message }
    }));
    config.notes = notes;
    config.notes.extend(config.blobs.notes());
    config.notes.extend(notes::of_values(&root, &config));
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(errors)) }
}

/// The keys of the servers that could be read: those that could not keep their index.
fn server_keys(root: &Node, config: &Config) -> Vec<String> {
    let written = root.find("server").map(|server| {
        let readable = server.children().filter(|child| !matches!(child.tree, Tree::Refused));
        readable.map(|child| child.key.clone()).collect::<Vec<_>>()
    });
    let written = written.filter(|keys| keys.len() == config.server.len());
    written.unwrap_or_else(|| (0..config.server.len()).map(|index| format!("server[{index}]")).collect())
}

/// Fills what follows from other values, and reads the files of secrets.
fn complete(config: &mut Config, server_keys: &[String], report: &mut Report) {
    config.database.read_secrets(report);
    config.blobs.read_secrets(report);
    config.cluster.read_secrets(report);
    for (server, key) in config.server.iter_mut().zip(server_keys) {
        server.fill_hosts();
        server.read_secrets(key, report);
    }
}

fn check(config: &Config, server_keys: &[String], report: &mut Report) {
    config.http.check(report);
    config.telemetry.check(&config.http, report);
    config.database.check(report);
    config.blobs.check(report);
    config.cluster.check(&config.database.url, report);
    config.authentication.check(report);
    config.limits.check(report);
    config.thumbnails.check(report);
    config.ephemeral.check(report);
    config.linked.check(report);
    config.federation.check(&config.server, report);
    config.remote_cache.check(report);
    let servers: Vec<_> = server_keys.iter().cloned().zip(&config.server).collect();
    for (key, server) in &servers {
        server.check(key, report);
    }
    server::check_together(&servers, report);
}

/// What an unknown key may have been meant to be: a similar one in its section, or the same one in another.
fn suggestion(unknown: &Unknown) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(known, &unknown.name.to_ascii_lowercase());
    let similar = unknown.known.iter().map(|known| (distance(known), *known)).min();
    if let Some((distance, known)) = similar
        && distance <= 1 + unknown.name.len() / 4
    {
        return format!("; did you mean {known}?");
    }
    let elsewhere = schema::keys().into_iter().find(|key| key.name == unknown.name);
    match elsewhere {
        Some(key) if key.section.is_empty() => format!("; {} stands before the first section", key.name),
        Some(key) if key.section == "server" => format!("; {} belongs into a [[server]]", key.name),
        Some(key) => format!("; {} belongs into [{}]", key.name, key.section),
        None => String::new(),
    }
}
