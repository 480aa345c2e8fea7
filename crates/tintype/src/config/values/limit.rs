//! A limit that can be absent: a value, or the word `"never"`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{I64Deserializer, StrDeserializer, U64Deserializer};
use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value, or none at all (`"never"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// The limit.
    At(T),
    /// No limit: it is never reached.
    Never,
}

impl<T> Limit<T> {
    /// The value, if there is a limit.
    pub fn value(self) -> Option<T> {
        match self {
            Self::At(value) => Some(value),
            Self::Never => None,
        }
    }
}

const NEVER: &str = "never";

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(value) => value.fmt(formatter),
            Self::Never => formatter.write_str(NEVER),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for LimitVisitor<T> {
            type Value = Limit<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value, or \"never\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit<T>, E> {
                if text == NEVER {
                    return Ok(Limit::Never);
                }
                let text: StrDeserializer<'_, E> = text.into_deserializer();
                T::deserialize(text).map(Limit::At).map_err(|error| E::custom(format!("{error} (or \"never\")")))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Limit<T>, E> {
                let number: U64Deserializer<E> = number.into_deserializer();
                T::deserialize(number).map(Limit::At)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Limit<T>, E> {
                let number: I64Deserializer<E> = number.into_deserializer();
                T::deserialize(number).map(Limit::At)
            }
        }

        deserializer.deserialize_any(LimitVisitor(PhantomData))
    }
}

impl<T: Serialize> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(value) => value.serialize(serializer),
            Self::Never => serializer.serialize_str(NEVER),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Limit<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Limit_of_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": NEVER }, generator.subschema_for::<T>()] })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ByteSize, Duration};

    #[test]
    fn a_limit_is_a_value_or_never() {
        let size = |value| serde_json::from_value::<Limit<ByteSize>>(value).ok();
        assert_eq!(size(json!("never")), Some(Limit::Never));
        assert_eq!(size(json!("1MiB")), Some(Limit::At(ByteSize::mib(1))));
        assert_eq!(size(json!(7)), Some(Limit::At(ByteSize::from_bytes(7))));
        assert_eq!(size(json!("Never")), None);
        assert_eq!(size(json!(true)), None);
        assert_eq!(serde_json::from_value::<Limit<u64>>(json!(3)).ok(), Some(Limit::At(3)));
        assert!(serde_json::from_value::<Limit<Duration>>(json!(3)).is_err());
    }

    #[test]
    fn an_error_says_that_never_is_possible() {
        let error = serde_json::from_value::<Limit<ByteSize>>(json!("unlimited")).unwrap_err().to_string();
        assert!(error.contains("\"never\""), "{error}");
    }
}
