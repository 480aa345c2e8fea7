//! Access tokens that are good no more, and what media answers to them.

use anyhow::{Context as _, Result};
use matrix_sdk::{
    Client, reqwest,
    ruma::{
        MxcUri,
        api::client::uiaa::{AuthData, MatrixUserIdentifier, Password, UserIdentifier},
        events::room::MediaSource,
    },
};
use serde_json::{Value, json};

use crate::person::{Account, Person, session};

/// Logs `person` in once more, deletes the new device, and returns what its token gets of `media` before and after.
pub async fn delete_a_device(base_url: &str, media: &MediaSource, person: &Person, account: &Account) -> Result<Value> {
    let other = session(base_url, account).await?;
    let token = other.access_token().context("it is logged in")?;
    let before = answer(&person.client, media, &token).await?;
    delete_device(&person.client, &other, account).await?;
    Ok(json!({ "before": before, "deleted": answer(&person.client, media, &token).await? }))
}

/// Logs `person` out and returns what the token gets of `media` before and after; `other` asks with it.
pub async fn log_out(media: &MediaSource, person: &Person, other: &Person) -> Result<Value> {
    let token = person.client.access_token().context("they are logged in")?;
    let before = answer(&other.client, media, &token).await?;
    person.client.logout().await.context("logging out")?;
    Ok(json!({ "before": before, "logged_out": answer(&other.client, media, &token).await? }))
}

/// Asks for the bytes of media, as they are stored, with a token.
pub async fn download(client: &Client, media: &MediaSource, token: &str) -> Result<reqwest::Response> {
    let url = client.homeserver().join(&path(uri(media))?)?;
    Ok(client.http_client().get(url).bearer_auth(token).send().await?)
}

/// The status and error code that somebody gets who asks for media with a token.
async fn answer(client: &Client, media: &MediaSource, token: &str) -> Result<Value> {
    let answer = download(client, media, token).await?;
    let status = answer.status();
    let errcode = if status.is_success() {
        Value::Null
    } else {
        let error: Value = serde_json::from_slice(&answer.bytes().await?)?;
        error["errcode"].clone()
    };
    Ok(json!({ "status": status.as_u16(), "errcode": errcode }))
}

/// Deletes the device of `other`, for which the server asks for the password.
async fn delete_device(client: &Client, other: &Client, account: &Account) -> Result<()> {
    let devices = [other.device_id().context("it is logged in")?.to_owned()];
    let refusal = client.delete_devices(&devices, None).await.err().context("no password was asked for")?;
    let session = refusal.as_uiaa_response().context("another refusal")?.session.clone();
    let user = UserIdentifier::Matrix(MatrixUserIdentifier::new(account.user.clone()));
    let mut password = Password::new(user, account.password.clone());
    password.session = session;
    client.delete_devices(&devices, Some(AuthData::Password(password))).await.context("deleting a device")?;
    Ok(())
}

fn path(uri: &MxcUri) -> Result<String> {
    let (server_name, media_id) = uri.parts()?;
    Ok(format!("/_matrix/client/v1/media/download/{server_name}/{media_id}"))
}

fn uri(media: &MediaSource) -> &MxcUri {
    match media {
        MediaSource::Plain(uri) => uri,
        MediaSource::Encrypted(file) => &file.url,
    }
}
