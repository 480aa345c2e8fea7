//! A file that opens encrypted media: an `EncryptedFile` of the client-server API in JSON, or an object that holds one
//! as `file`, as `mxc upload --encrypt --json` prints it and events have it.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::Context as _;
use serde_json::Value;
use tintype_client::EncryptedFile;

use crate::failure::printable;

/// The longest that is read, in bytes. They take some hundred.
const LONGEST: u64 = 64 * 1024;

/// Reads it; `-` is standard input.
pub fn read(path: &Path) -> anyhow::Result<EncryptedFile> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(LONGEST).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text))
    };
    read.with_context(|| format!("reading the key from {}", shown(path)))?;
    parse(&text).with_context(|| format!("{} holds no EncryptedFile", shown(path)))
}

fn parse(text: &str) -> serde_json::Result<EncryptedFile> {
    let mut object: Value = serde_json::from_str(text)?;
    let file = object.get_mut("file").map(Value::take);
    serde_json::from_value(file.unwrap_or(object))
}

/// The file's name in messages.
pub fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"url":"mxc://example.org/abc","v":"v2","iv":"AAECAwQFBgcAAAAAAAAAAA",
        "key":{"kty":"oct","alg":"A256CTR","ext":true,"key_ops":["encrypt","decrypt"],
        "k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
        "hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}}"#;

    #[test]
    fn it_is_read_bare_and_out_of_an_event() {
        for text in [FILE, &format!(r#"{{"body":"a.png","file":{FILE}}}"#)] {
            assert_eq!(parse(text).unwrap().mxc().to_string(), "mxc://example.org/abc");
        }
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for text in ["", "[]", "{}", r#"{"file":7}"#, &FILE.replace("v2", "v1"), &FILE.replace("A256CTR", "A128CTR")] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
