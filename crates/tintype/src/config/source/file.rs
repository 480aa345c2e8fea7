//! A TOML file as a tree, each value with its line.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike, Value};

use super::super::error::Place;
use super::node::{Node, Scalar, Tree, TypedScalar};

/// What is not TOML, and on which line.
#[derive(Debug)]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong; quotes nothing of the file, which may hold secrets.
    pub message: String,
}

/// Reads TOML.
pub fn parse(path: &Arc<Path>, text: &str) -> Result<Node, SyntaxError> {
    let lines = Lines { path, text };
    let document = Document::parse(text).map_err(|error| SyntaxError {
        line: lines.number(error.span().as_ref()).unwrap_or(1),
        message: error.message().trim().replace('\n', "; "),
    })?;
    let root = Node::table(String::new(), Place::file(path, None));
    Ok(lines.table(root, document.as_table()))
}

/// Reads a value that stands alone, as in an environment variable.
pub fn parse_value(key: String, place: Place, text: &str) -> Node {
    let Ok(value) = text.parse::<Value>() else {
        return Node { key, place, tree: Tree::Scalar(Scalar::Text(text.to_owned())) };
    };
    let mut node = Placed::Everywhere(&place).value(key, &value);
    if let Tree::Scalar(Scalar::Typed(typed)) = node.tree {
        node.tree = Tree::Scalar(Scalar::TypedOrText(typed, text.to_owned()));
    }
    node
}

struct Lines<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
}

impl Lines<'_> {
    fn number(&self, span: Option<&Range<usize>>) -> Option<usize> {
        let before = self.text.get(..span?.start)?;
        Some(before.matches('\n').count() + 1)
    }

    fn table(&self, node: Node, table: &dyn TableLike) -> Node {
        Placed::ByLine(self).table(node, table)
    }
}

/// Where the values of a document are said to stand.
#[derive(Clone, Copy)]
enum Placed<'a> {
    /// Each on its own line.
    ByLine(&'a Lines<'a>),
    /// All in the same place.
    Everywhere(&'a Place),
}

impl Placed<'_> {
    fn place(self, span: Option<&Range<usize>>) -> Place {
        match self {
            Self::ByLine(lines) => Place::file(lines.path, lines.number(span)),
            Self::Everywhere(place) => place.clone(),
        }
    }

    fn table(self, mut node: Node, table: &dyn TableLike) -> Node {
        let entries = table.iter().map(|(name, item)| {
            let name_span = table.key(name).and_then(toml_edit::Key::span);
            let place = self.place(name_span.or_else(|| item.span()).as_ref());
            let key = node.child_key(name);
            (name.to_owned(), Node { place, ..self.item(key, item) })
        });
        let entries = entries.collect();
        node.tree = Tree::Table(entries);
        node
    }

    fn item(self, key: String, item: &Item) -> Node {
        let place = self.place(item.span().as_ref());
        match item {
            Item::None => Node { key, place, tree: Tree::Refused },
            Item::Value(value) => self.value(key, value),
            Item::Table(table) => self.table(Node::table(key, place), table),
            Item::ArrayOfTables(tables) => {
                let node = Node { key, place, tree: Tree::Refused };
                let elements = tables.iter().enumerate().map(|(index, table)| {
                    let place = self.place(table.span().as_ref());
                    self.table(Node::table(node.element_key(index), place), table)
                });
                let elements = elements.collect();
                Node { tree: Tree::List(elements), ..node }
            }
        }
    }

    fn value(self, key: String, value: &Value) -> Node {
        let place = self.place(value.span().as_ref());
        let tree = match value {
            Value::String(text) => Tree::Scalar(Scalar::Text(text.value().clone())),
            Value::Datetime(time) => Tree::Scalar(Scalar::Text(time.value().to_string())),
            Value::Integer(number) => Tree::Scalar(Scalar::Typed(TypedScalar::Integer(*number.value()))),
            Value::Float(number) => Tree::Scalar(Scalar::Typed(TypedScalar::Float(*number.value()))),
            Value::Boolean(truth) => Tree::Scalar(Scalar::Typed(TypedScalar::Boolean(*truth.value()))),
            Value::InlineTable(table) => return self.table(Node::table(key, place), table),
            Value::Array(values) => {
                let node = Node { key, place, tree: Tree::Refused };
                let elements = values.iter().enumerate();
                let elements = elements.map(|(index, value)| self.value(node.element_key(index), value)).collect();
                return Node { tree: Tree::List(elements), ..node };
            }
        };
        Node { key, place, tree }
    }
}
