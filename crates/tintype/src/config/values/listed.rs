//! Lists of texts that are parsed: each entry by itself, so that an error names the entry.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serializer, de};
use tintype_domain::{Mxc, OwnedServerName, OwnedUserId, ServerName, ServerPattern};

/// What can be an entry.
pub trait Listed: Sized {
    /// Parses an entry; else says what to write instead.
    fn read(text: &str) -> Result<Self, String>;
}

impl Listed for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is not an IP address with a port; write one such as \"192.0.2.1:53\" or \"[::1]:8448\"")
        })
    }
}

impl Listed for OwnedServerName {
    fn read(text: &str) -> Result<Self, String> {
        ServerName::parse(text)
            .map_err(|_| format!("{text:?} is not a server name; write a host, with or without a port, and no scheme"))
    }
}

impl Listed for OwnedUserId {
    fn read(text: &str) -> Result<Self, String> {
        Self::try_from(text).map_err(|_| format!("{text:?} is not a user ID; write one such as \"@root:example.org\""))
    }
}

impl Listed for ServerPattern {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is not a pattern of server names; write one such as \"example.org\" or \"*.example.org\"")
        })
    }
}

impl Listed for Mxc {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{text:?}: {error}"))
    }
}

struct Entry<T>(T);

impl<'de, T: Listed> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::read(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Reads a list.
pub fn deserialize<'de, D: Deserializer<'de>, T: Listed>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::<Entry<T>>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|Entry(entry)| entry).collect())
}

/// Writes a list as it was read.
pub fn serialize<S: Serializer, T: fmt::Display>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}
