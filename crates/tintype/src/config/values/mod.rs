//! The values a key can have: sizes, durations, addresses, URLs, secrets.
//!
//! Each is parsed once, while the file is read, so that an error names the key and the line and nothing later has to
//! ask whether a text is well formed. Each shows itself in the notation it is written in.

mod byte_size;
mod duration;
mod freeze_at;
mod limit;
pub(super) mod listed;
mod listen_address;
pub(super) mod network;
pub(super) mod path;
mod postgres_url;
mod rate;
mod secret;
mod storage_url;
pub(super) mod web_url;

pub use byte_size::{ByteSize, ParseByteSizeError};
pub use duration::{Duration, ParseDurationError};
pub use freeze_at::{FreezeAt, ParseFreezeAtError};
pub use limit::Limit;
pub use listen_address::{ListenAddress, ParseListenAddressError};
pub use postgres_url::PostgresUrl;
pub use rate::Rate;
pub use secret::Secret;
pub use storage_url::{BlobsUrl, DatabaseUrl, ParseStorageUrlError};

/// Implements `Deserialize` through `FromStr`, `Serialize` through `Display`, and a schema of a string with a pattern.
macro_rules! text_value {
    ($type:ty, $name:literal, $pattern:literal, $examples:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "examples": $examples })
            }
        }
    };
}
use text_value;
