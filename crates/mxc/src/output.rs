//! Results on standard output, errors and notes on standard error.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::Value;
use tintype_client::Error;

use crate::failure;

/// The exit code for a server without ephemeral or restricted media: a script may want to go another way then.
const NO_SUCH_MEDIA: u8 = 3;

/// In which form results and errors are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A line for people and for `$(…)`.
    Text,
    /// An object for programs.
    Json,
}

impl Output {
    /// Prints the result: the text alone, or the whole object.
    pub fn result(self, text: &str, object: &Value) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        let printed = match self {
            Self::Text => writeln!(stdout, "{text}"),
            Self::Json => writeln!(stdout, "{object}"),
        };
        printed.and_then(|()| stdout.flush()).context("printing the result")
    }

    /// Tells a person something beside the result.
    pub fn note(self, note: &str) {
        if self == Self::Text {
            // Nobody may be reading.
            let _ = writeln!(io::stderr(), "mxc: {}", failure::printable(note));
        }
    }

    /// Prints the error; gives the exit code.
    pub fn failed(self, error: &anyhow::Error) -> ExitCode {
        let _ = match self {
            Self::Text => writeln!(io::stderr(), "mxc: {}", failure::line(error)),
            Self::Json => writeln!(io::stderr(), "{}", failure::object(error)),
        };
        match error.downcast_ref() {
            Some(Error::NoEphemeralMedia | Error::NoRestrictedMedia) => ExitCode::from(NO_SUCH_MEDIA),
            _ => ExitCode::FAILURE,
        }
    }
}
