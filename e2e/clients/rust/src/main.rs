//! matrix-rust-sdk, as Element X and other applications use it, for the black-box suites.
//!
//! ```text
//! tintype-e2e-rust-client BASE_URL PICTURE USER PASSWORD OTHER_USER PASSWORD
//! ```
//!
//! leads an encrypted conversation of two people. Each line on stdout is one JSON object with what somebody has got to
//! know in one step, and nothing that is another one in the next run; the last is `{"over": true}`.
//! `js/conversation.mjs` is the same conversation with matrix-js-sdk, and says the same, except that it knows no
//! sliding sync. Exits with 1 when a call fails.

// The SDK's futures are nested deeper than the compiler looks by default.
#![recursion_limit = "256"]

mod conversation;
mod person;
mod tokens;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::person::Account;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().with_context(|| format!("no {what}"));
    let base_url = next("base URL")?;
    let picture = PathBuf::from(next("picture")?);
    let mut account = || anyhow::Ok(Account { user: next("user")?, password: next("password")? });
    let (alice, bob) = (account()?, account()?);
    conversation::lead(&base_url, &picture, &alice, &bob).await?;
    say("over", &true.into());
    Ok(())
}

/// Says one thing.
fn say(what: &str, thing: &Value) {
    println!("{}", json!({ what: thing }));
}
