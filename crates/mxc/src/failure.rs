//! An error in one line.
//!
//! Its text comes from servers and file names, which may hold anything: what could move the cursor or colour the
//! terminal is left out.

use serde_json::{Value, json};
use tintype_client::Error;

/// What was tried, what went wrong, and what was at the bottom of it; not the layers in between.
pub fn line(error: &anyhow::Error) -> String {
    let chain = error.chain().map(ToString::to_string).collect::<Vec<_>>();
    let shown = match &chain[..] {
        [what, why, .., cause] => vec![what, why, cause],
        fewer => fewer.iter().collect(),
    };
    printable(&shown.into_iter().map(String::as_str).collect::<Vec<_>>().join(": "))
}

/// The same for programs.
pub fn object(error: &anyhow::Error) -> Value {
    let refusal = error.downcast_ref::<Error>();
    json!({
        "error": line(error),
        "status": refusal.and_then(Error::status),
        "errcode": refusal.and_then(Error::errcode).map(ToString::to_string),
    })
}

/// The text without control characters, on one line.
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_layers_in_between_are_left_out() {
        let cause =
            anyhow::Error::new(io::Error::other("refused")).context("tcp").context("client").context("no server");

        assert_eq!(line(&cause.context("uploading a.txt")), "uploading a.txt: no server: refused");
        assert_eq!(line(&anyhow::anyhow!("interrupted")), "interrupted");
        assert_eq!(line(&Err::<(), _>(io::Error::other("full")).context("writing").unwrap_err()), "writing: full");
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_printed() {
        let error = anyhow::anyhow!("a\n\u{1b}[31mb\u{9b}2Jc\rd");

        assert_eq!(line(&error), "a  [31mb 2Jc d");
    }
}
