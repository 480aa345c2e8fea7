//! A value, its key, and the place where it was written.

use std::collections::BTreeMap;

use super::super::error::Place;

/// A value of the configuration before it has a type.
#[derive(Debug, Clone)]
pub struct Node {
    /// The dotted key, such as `server[0].name`; empty for the whole.
    pub key: String,
    /// Where it was written.
    pub place: Place,
    /// The value itself.
    pub tree: Tree,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Tree {
    /// Keys and their values.
    Table(BTreeMap<String, Node>),
    /// A list.
    List(Vec<Node>),
    /// Anything else.
    Scalar(Scalar),
    /// Was refused: stays in its list, so that the others keep their index, but is read no more.
    Refused,
}

/// A single value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A text, or a date in its notation.
    Text(String),
    /// A value of another type.
    Typed(TypedScalar),
    /// The same from the environment, where `12345` may be meant as a text too.
    TypedOrText(TypedScalar, String),
}

/// A single value that is not a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TypedScalar {
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
}

impl Node {
    /// An empty table.
    pub fn table(key: String, place: Place) -> Self {
        Self { key, place, tree: Tree::Table(BTreeMap::new()) }
    }

    /// The dotted key of this node's entry `name`.
    pub fn child_key(&self, name: &str) -> String {
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let name = if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { format!("{name:?}") };
        if self.key.is_empty() { name } else { format!("{}.{name}", self.key) }
    }

    /// The dotted key of this node's element `index`.
    pub fn element_key(&self, index: usize) -> String {
        format!("{}[{index}]", self.key)
    }

    /// The nodes directly below this one.
    pub fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.tree {
            Tree::Table(entries) => Box::new(entries.values()),
            Tree::List(elements) => Box::new(elements.iter()),
            Tree::Scalar(_) | Tree::Refused => Box::new(std::iter::empty()),
        }
    }

    /// The node with exactly this key.
    pub fn find(&self, key: &str) -> Option<&Self> {
        if self.key == key {
            return Some(self);
        }
        self.children().find_map(|child| child.find(key))
    }

    /// The node with this key, or the closest one around it.
    pub fn closest(&self, key: &str) -> &Self {
        let mut key = key;
        loop {
            if let Some(node) = self.find(key) {
                return node;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => return self,
            }
        }
    }

    /// Takes away the node with this key, or the closest one around it that exists. Answers whether there was one below
    /// the root, so that each call that answers yes leaves less to read.
    pub fn refuse(&mut self, key: &str) -> bool {
        let key = self.closest(key).key.clone();
        if key.is_empty() {
            return false;
        }
        self.refuse_exactly(&key)
    }

    fn refuse_exactly(&mut self, key: &str) -> bool {
        if self.key == key {
            return !matches!(std::mem::replace(&mut self.tree, Tree::Refused), Tree::Refused);
        }
        match &mut self.tree {
            Tree::Table(entries) => entries.values_mut().any(|child| child.refuse_exactly(key)),
            Tree::List(elements) => elements.iter_mut().any(|child| child.refuse_exactly(key)),
            Tree::Scalar(_) | Tree::Refused => false,
        }
    }
}
