//! `tintype token NAME`: an access token for a user of a server that has no homeserver.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tintype_domain::{Clock as _, ContentHash, OsRandomness, Randomness as _, SystemClock, UserId};
use tintype_storage::records::TokenRecord;

use super::{ConfigFile, block_on};
use crate::wiring;

/// Bytes of randomness in a token.
const ENTROPY: usize = 24;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The user: a localpart such as `alice`, or a whole ID such as `@alice:localhost`.
    name: String,
    /// Make it a guest's token: guests may look, but not upload.
    #[arg(long)]
    guest: bool,
    /// Make it the token of an administrator of media.
    #[arg(long, conflicts_with = "guest")]
    admin: bool,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    let mut owned = config.server.iter().filter(|server| server.owns_name());
    let user_id = if arguments.name.starts_with('@') {
        let user_id = UserId::parse(&arguments.name).context("this is not a user ID")?;
        if !owned.any(|server| server.name == user_id.server_name()) {
            bail!("{} has its accounts at a homeserver, or is not served here", user_id.server_name());
        }
        user_id
    } else {
        let Some(server) = owned.next() else {
            bail!("the accounts are at the homeserver: log in there for an access token");
        };
        if owned.next().is_some() {
            bail!("several servers have their accounts here: give the whole user ID");
        }
        UserId::parse(format!("@{}:{}", arguments.name, server.name)).context("this is not a localpart")?
    };
    // New accounts have names of today's grammar; readers also take historical ones.
    user_id.validate_strict().context("a new user's localpart is made of a-z, 0-9, and . _ = - / +")?;
    let mut random = [0; ENTROPY];
    OsRandomness.fill(&mut random);
    let token = format!("tt_{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let record = TokenRecord {
        token_sha256: ContentHash::of(token.as_bytes()),
        user_id,
        device_id: BASE64_URL_SAFE_NO_PAD.encode(&random[..6]).to_uppercase(),
        guest: arguments.guest,
        admin: arguments.admin,
        created_at: SystemClock.now(),
    };
    block_on(async {
        let records = wiring::records(&config).await?;
        records.insert_token(record).await?;
        records.close().await;
        Ok(())
    })?;
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}
