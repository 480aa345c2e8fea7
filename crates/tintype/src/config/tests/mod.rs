//! Tests of loading as a whole, and of the documents that describe the configuration.

mod documents;
mod environment;
mod errors;
mod loading;

use std::path::Path;

use super::{Config, ConfigErrors, load};

const FILE: &str = "tintype.toml";

/// Loads a file of this text, without an environment.
fn file(text: &str) -> Result<Config, ConfigErrors> {
    file_and_environment(text, &[])
}

/// Loads a file of this text and these variables.
fn file_and_environment(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    load::from_text(Path::new(FILE), text, owned(variables))
}

/// Loads these variables alone.
fn environment(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(None, owned(variables))
}

fn owned(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// The errors of what must not load, one a line.
fn errors(loaded: Result<Config, ConfigErrors>) -> Vec<String> {
    let errors = loaded.expect_err("this configuration is wrong");
    errors.iter().map(ToString::to_string).collect()
}
