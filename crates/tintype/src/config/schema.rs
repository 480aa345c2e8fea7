//! The JSON schema of the configuration, for editors and for the tests that keep the documents true.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// The schema: draft 2020-12, with every type written out where it is used.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// A key that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The section: empty at the top, else such as `http`, `limits.rates` or `server`.
    pub section: String,
    /// The key in its section.
    pub name: String,
    /// Its default; null where it has none.
    pub default: Value,
}

/// Every key that exists, in no particular order.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    collect(&schema(), "", &mut keys);
    keys
}

fn collect(table: &Value, section: &str, keys: &mut Vec<Key>) {
    let properties = table["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        // A list of tables is `server`; a table that requires its keys is a value, such as a rate.
        let inner = if property["items"]["properties"].is_object() { &property["items"] } else { property };
        let is_section = inner["properties"].is_object() && (inner != property || inner["required"].is_null());
        if is_section {
            let section = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            collect(inner, &section, keys);
        } else {
            keys.push(Key { section: section.to_owned(), name: name.clone(), default: property["default"].clone() });
        }
    }
}
