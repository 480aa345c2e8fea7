//! What came of the checks: a line for each, or JSON.

use std::{error::Error, fmt};

use serde_json::{Value, json};

use crate::{Names, checks::Check};

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server does what the sentence says. The text is a remark, and mostly empty.
    Ok(String),
    /// It does not, and this was seen instead.
    Fail(String),
    /// It was not tried, for this reason.
    Skip(String),
}

/// Why a check did not pass.
#[derive(Debug)]
pub(crate) enum Trouble {
    Fail(String),
    Skip(String),
}

/// What a check comes to; a remark if it passes.
pub(crate) type Verdict<T = String> = Result<T, Trouble>;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Fail(text) | Self::Skip(text)) = self;
        f.write_str(text)
    }
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        // The outermost text names the request and its URL, the innermost the reason.
        let mut reason: &dyn Error = &error;
        while let Some(cause) = reason.source() {
            reason = cause;
        }
        Self::Fail(format!("{error}: {reason}"))
    }
}

pub(crate) fn fail<T>(seen: impl Into<String>) -> Verdict<T> {
    Err(Trouble::Fail(seen.into()))
}

pub(crate) fn skip<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Trouble::Skip(why.into()))
}

/// One check that was made.
#[derive(Debug, Clone)]
pub struct Line {
    /// Which.
    pub check: Check,
    /// Under which names of the proposal.
    pub names: Names,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.outcome {
            Outcome::Ok(remark) => ("ok", remark),
            Outcome::Fail(seen) => ("FAIL", seen),
            Outcome::Skip(why) => ("skip", why),
        };
        write!(f, "{word:<5} {:<8} {:<21} {}", self.names.word(), self.check.name, self.check.sentence)?;
        if text.is_empty() { Ok(()) } else { write!(f, "\n                      {text}") }
    }
}

/// All that were made.
#[derive(Debug, Clone, Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// One line for each check, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        !self.lines.iter().any(|line| matches!(line.outcome, Outcome::Fail(_)))
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        let failed = self.lines.iter().filter(|line| matches!(line.outcome, Outcome::Fail(_)));
        failed.map(|line| line.check.name).collect()
    }

    /// The names of the checks that were not tried.
    pub fn skipped(&self) -> Vec<&'static str> {
        let skipped = self.lines.iter().filter(|line| matches!(line.outcome, Outcome::Skip(_)));
        skipped.map(|line| line.check.name).collect()
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            let (word, text) = match &line.outcome {
                Outcome::Ok(remark) => ("ok", remark),
                Outcome::Fail(seen) => ("fail", seen),
                Outcome::Skip(why) => ("skip", why),
            };
            json!({
                "check": line.check.name,
                "names": line.names.word(),
                "sentence": line.check.sentence,
                "outcome": word,
                "text": text,
            })
        });
        json!({ "proposal": "MSC4425", "good": self.is_good(), "checks": lines.collect::<Vec<_>>() })
    }

    pub(crate) fn add(&mut self, check: Check, names: Names, verdict: Verdict) {
        let outcome = match verdict {
            Ok(remark) => Outcome::Ok(remark),
            Err(Trouble::Fail(seen)) => Outcome::Fail(seen),
            Err(Trouble::Skip(why)) => Outcome::Skip(why),
        };
        self.lines.push(Line { check, names, outcome });
    }
}
