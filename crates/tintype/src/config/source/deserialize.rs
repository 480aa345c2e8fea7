//! Reads types from the tree, and says which node an error is about.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::super::error::Place;
use super::node::{Node, Scalar, Tree, TypedScalar};

/// Why a node cannot be what the configuration wants.
#[derive(Debug)]
pub struct Refusal {
    /// The key of the innermost node that was refused; absent only until the error has left that node.
    pub key: Option<String>,
    /// What an operator reads.
    pub message: String,
    /// Set when the key is not one that exists.
    pub unknown: Option<Unknown>,
    /// Set when an entry is missing that must be there.
    pub missing: Option<&'static str>,
}

/// A key that does not exist.
#[derive(Debug)]
pub struct Unknown {
    /// What was written.
    pub name: String,
    /// The keys that exist there.
    pub known: &'static [&'static str],
}

impl Refusal {
    fn new(message: String) -> Self {
        Self { key: None, message, unknown: None, missing: None }
    }

    fn at(mut self, key: &str) -> Self {
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", in_words(expected), found_in_words(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let expected: Vec<String> = expected.iter().map(|known| format!("{known:?}")).collect();
        Self::new(format!("expected {}, found {variant:?}", expected.join(" or ")))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let unknown = Unknown { name: name.to_owned(), known };
        Self { unknown: Some(unknown), ..Self::new("unknown key".into()) }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { missing: Some(name), ..Self::new(format!("{name} is missing")) }
    }
}

/// serde names Rust's types; an operator wants what to write.
fn in_words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    if expected.starts_with("struct ") {
        return "a table".into();
    }
    if expected.starts_with("enum ") {
        return "a string".into();
    }
    match expected.as_str() {
        "u64" | "u32" | "usize" => "a whole number that is not negative".into(),
        "a nonzero u64" | "a nonzero u32" | "a nonzero usize" => "a whole number of at least 1".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        _ => expected,
    }
}

fn found_in_words(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// Reads a type from a node.
#[derive(Clone, Copy)]
pub struct NodeDeserializer<'a>(pub &'a Node);

impl<'a> NodeDeserializer<'a> {
    fn in_place<T>(self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.map_err(|refusal| refusal.at(&self.0.key))
    }

    /// From the environment a list of one can be written without its brackets.
    fn is_bare_element(self) -> bool {
        matches!(self.0.place, Place::Environment(_)) && !matches!(self.0.tree, Tree::List(_) | Tree::Refused)
    }

    fn visit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.0.tree {
            Tree::Table(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
            Tree::List(nodes) => visitor.visit_seq(Elements(nodes.iter())),
            Tree::Scalar(Scalar::Text(text)) => visitor.visit_str(text),
            Tree::Scalar(Scalar::Typed(typed) | Scalar::TypedOrText(typed, _)) => match *typed {
                TypedScalar::Integer(number) => visitor.visit_i64(number),
                TypedScalar::Float(number) => visitor.visit_f64(number),
                TypedScalar::Boolean(truth) => visitor.visit_bool(truth),
            },
            Tree::Refused => visitor.visit_unit(),
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.in_place(self.visit(visitor))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.0.tree {
            Tree::Scalar(Scalar::TypedOrText(_, text)) => self.in_place(visitor.visit_str(text)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.is_bare_element() {
            return self.in_place(visitor.visit_seq(Elements(std::iter::once(self.0))));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.in_place(visitor.visit_some(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        self.in_place(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match &self.0.tree {
            Tree::Scalar(Scalar::Text(text) | Scalar::TypedOrText(_, text)) => {
                let text: StrDeserializer<'_, Refusal> = text.as_str().into_deserializer();
                self.in_place(visitor.visit_enum(text))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// The elements of a list that were not refused.
struct Elements<'a, I>(I)
where
    I: Iterator<Item = &'a Node>;

impl<'de, I: Iterator<Item = &'de Node>> SeqAccess<'de> for Elements<'de, I> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let node = self.0.find(|node| !matches!(node.tree, Tree::Refused));
        let element = node.map(|node| seed.deserialize(NodeDeserializer(node)).map_err(|error| error.at(&node.key)));
        element.transpose()
    }
}

/// The entries of a table that were not refused.
struct Entries<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Node>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((name, node)) = self.rest.find(|(_, node)| !matches!(node.tree, Tree::Refused)) else {
            return Ok(None);
        };
        self.value = Some(node);
        let name: StrDeserializer<'_, Refusal> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.at(&node.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let node = self.value.take().expect("serde asks for a value only after its key");
        seed.deserialize(NodeDeserializer(node)).map_err(|error| error.at(&node.key))
    }
}
