//! The schema, the default file and the reference chapter say the same.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Config;
use super::super::schema::{Key, keys};
use super::file;

const CHAPTER: &str = include_str!("../../../../../docs/src/configuration.md");

/// The defaults that are not values: what is written in the chapter's column instead.
const NO_VALUE: &str = "none";

/// The lines of the default file that give a key, commented ones too: section and key, and the value.
fn lines_of_default_file() -> Vec<((String, String), String)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in Config::default_file().lines() {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some((name, value)) = line.trim_start_matches("# ").split_once(" = ")
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.push(((section.clone(), name.to_owned()), value.to_owned()));
        }
    }
    keys
}

/// The rows of the chapter's tables by section and key, with what their column of defaults says.
fn rows_of_chapter() -> BTreeMap<(String, String), String> {
    let mut section = String::new();
    let mut rows = BTreeMap::new();
    let tables = CHAPTER.find("## At the top").expect("the tables of keys begin there");
    for line in CHAPTER[tables..].lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.trim_matches(['`', '[', ']']).clone_into(&mut section);
        } else if let Some(row) = line.strip_prefix("| `") {
            let (name, rest) = row.split_once("` | ").expect("a row begins with its key");
            let (default, _) = rest.split_once(" | ").expect("the second column is the default");
            let section = if section == "At the top" { "" } else { &section };
            rows.insert((section.to_owned(), name.to_owned()), default.trim_matches('`').to_owned());
        }
    }
    rows
}

fn sorted(mut keys: Vec<(String, String)>) -> Vec<(String, String)> {
    keys.sort();
    keys
}

fn keys_of_schema() -> Vec<(String, String)> {
    sorted(keys().into_iter().map(|key| (key.section, key.name)).collect())
}

/// A default as it is written in TOML.
fn in_toml(value: &Value) -> String {
    match value {
        Value::Array(elements) => format!("[{}]", elements.iter().map(in_toml).collect::<Vec<_>>().join(", ")),
        Value::Object(_) => format!("{{ per_second = {}, burst = {} }}", value["per_second"], value["burst"]),
        _ => value.to_string(),
    }
}

#[test]
fn the_default_file_is_the_standalone_profile() {
    let config = file(&Config::default_file()).unwrap();
    assert_eq!(config, Config::standalone());
    assert!(config.notes().is_empty());
}

#[test]
fn every_default_in_the_default_file_is_the_real_one_even_where_it_is_a_comment() {
    let defaults: BTreeMap<(String, String), Value> =
        keys().into_iter().map(|Key { section, name, default }| ((section, name), default)).collect();
    let mut compared = 0;
    for (key, value) in lines_of_default_file() {
        let default = &defaults[&key];
        // Examples stand for keys that have no default, or whose default is an empty list.
        if !default.is_null() && *default != Value::Array(Vec::new()) {
            assert_eq!(value, in_toml(default), "{key:?}");
            compared += 1;
        }
    }
    assert!(compared > 40, "only {compared} defaults were compared");
}

#[test]
fn the_default_file_has_every_key_once() {
    let keys = lines_of_default_file().into_iter().map(|(key, _)| key).collect();
    assert_eq!(sorted(keys), keys_of_schema());
}

#[test]
fn the_chapter_has_a_row_for_every_key_and_for_no_other() {
    let rows: Vec<_> = rows_of_chapter().into_keys().collect();
    assert_eq!(rows, keys_of_schema());
}

#[test]
fn the_chapter_gives_the_real_defaults() {
    let rows = rows_of_chapter();
    for key in keys() {
        let row = &rows[&(key.section.clone(), key.name.clone())];
        // Where the default depends on other keys, the chapter says how.
        let described = key.default.is_null() || (key.section == "server" && key.name == "hosts");
        if described {
            assert!(!row.is_empty() && !row.contains('`'), "{}.{}", key.section, key.name);
            assert!(
                key.name == "name" || row == NO_VALUE || row.contains("the "),
                "{}.{}: {row}",
                key.section,
                key.name
            );
        } else {
            assert_eq!(*row, in_toml(&key.default), "{}.{}", key.section, key.name);
        }
    }
}

#[test]
fn the_examples_of_the_chapter_load() {
    let examples: Vec<&str> = CHAPTER.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let loaded = file(example);
        assert!(loaded.is_ok(), "{example}\n{loaded:?}");
    }
}

#[test]
fn the_schema_describes_every_key_and_refuses_others() {
    fn describe(table: &Value, path: &str) {
        assert_eq!(table["additionalProperties"], Value::Bool(false), "{path}");
        for (name, property) in table["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{path}.{name}");
            for inner in [property, &property["items"]] {
                if inner["properties"].is_object() {
                    describe(inner, &format!("{path}.{name}"));
                }
            }
        }
    }
    let schema = Config::schema();
    describe(&schema, "");
    assert_eq!(schema["properties"]["server"]["items"]["required"], serde_json::json!(["name"]));
    assert!(keys().len() > 60);
}
