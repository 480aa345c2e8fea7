//! The two ends of an asynchronous upload, each a real client in a process of its own: a bridge (mautrix) that reserves
//! a URI and sends when it is told to, and a viewer (matrix-js-sdk) that reports what it has.

use std::{ffi::OsString, fs, path::PathBuf};

use serde_json::Value;

use crate::{
    dialogue::Dialogue,
    folder::Folder,
    synapse::{APPSERVICE_TOKEN, SERVER_NAME, User},
    tools,
};

/// What bridges here upload: larger than what Tintype keeps in its database, and not the same anywhere.
pub fn recording() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// What a bridge knows of a body before it sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// It is announced.
    Announced,
    /// It is not known: the body goes in chunks.
    Unknown,
}

/// A bridge that uploads [`recording`]. Dropping it is its death.
#[derive(Debug)]
pub struct Bridge {
    dialogue: Dialogue,
    content_uri: String,
    _folder: Folder,
}

impl Bridge {
    /// Starts a bridge whose user `_bridge_GHOST` reserves a URI and begins to upload to it, without a byte yet.
    pub async fn reserve(base_url: &str, ghost: &str, length: Length) -> Self {
        Self::start(base_url, ghost, length, None).await
    }

    /// Starts a bridge that uploads to a URI that this user reserved before.
    pub async fn resume(base_url: &str, ghost: &str, content_uri: &str) -> Self {
        Self::start(base_url, ghost, Length::Announced, Some(content_uri)).await
    }

    async fn start(base_url: &str, ghost: &str, length: Length, content_uri: Option<&str>) -> Self {
        let folder = Folder::new("bridge");
        let file = folder.path().join("recording.mp4");
        fs::write(&file, recording()).expect("a file can be written");
        let mut arguments: Vec<OsString> =
            vec![script("python/mautrix_asynchronous_upload.py").into(), base_url.into()];
        arguments.push(format!("@_bridge_bot:{SERVER_NAME}").into());
        arguments.push(format!("@_bridge_{ghost}:{SERVER_NAME}").into());
        arguments.push(APPSERVICE_TOKEN.into());
        arguments.push(file.into());
        arguments.push(if length == Length::Announced { "announced".into() } else { "unknown".into() });
        arguments.extend(content_uri.map(OsString::from));
        let environment = [("PYTHONDONTWRITEBYTECODE", "1".into())];
        let mut dialogue = Dialogue::start("mautrix", tools::client_python(), arguments, environment, folder.path());
        let first = dialogue.hear().await;
        let content_uri = first["content_uri"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
        Self { dialogue, content_uri, _folder: folder }
    }

    /// The URI that it has reserved.
    pub fn content_uri(&self) -> &str {
        &self.content_uri
    }

    /// Sends so many more bytes of the recording.
    pub async fn send(&mut self, bytes: usize) {
        self.dialogue.say(&bytes.to_string());
        let sent = self.dialogue.hear().await;
        assert!(sent["sent"].is_u64(), "{sent}");
    }

    /// Sends what is left of the recording and returns the status of the answer.
    pub async fn finish(mut self) -> u64 {
        self.send(0).await;
        let answer = self.dialogue.hear().await;
        answer["status"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }
}

/// A viewer who downloads a piece of media, from the moment it exists.
#[derive(Debug)]
pub struct Viewer {
    dialogue: Dialogue,
    folder: Folder,
}

/// How a download ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The client took it for whole; these are its bytes.
    Whole(Vec<u8>),
    /// The client reported an error.
    Error,
}

impl Viewer {
    /// Starts a client of `user`'s that asks for `content_uri` with its token.
    pub fn download(base_url: &str, user: &User, content_uri: &str) -> Self {
        let folder = Folder::new("viewer");
        let arguments = [script("js/download.mjs").into()]
            .into_iter()
            .chain([base_url, &user.user_id, &user.token, content_uri, FILE].map(OsString::from));
        let environment = [("CLIENT_PACKAGES", tools::client_packages().into())];
        Self { dialogue: Dialogue::start("js-sdk", tools::node(), arguments, environment, folder.path()), folder }
    }

    /// The head of the answer: `status`, `content_type`, `content_length`.
    pub async fn head(&mut self) -> Value {
        let head = self.dialogue.hear().await;
        assert!(head["status"].is_u64(), "{head}");
        head
    }

    /// Waits for the next piece of the body and returns how many bytes there are now.
    pub async fn received(&mut self) -> u64 {
        let piece = self.dialogue.hear().await;
        piece["received"].as_u64().unwrap_or_else(|| panic!("{piece}"))
    }

    /// Waits for the end.
    pub async fn end(mut self) -> End {
        loop {
            let said = self.dialogue.hear().await;
            if said["complete"] == true {
                return End::Whole(fs::read(self.folder.path().join(FILE)).expect("the client has written it"));
            }
            if said["error"].is_string() {
                return End::Error;
            }
        }
    }
}

const FILE: &str = "download";

fn script(name: &str) -> PathBuf {
    tools::workspace().join("e2e/clients").join(name)
}
