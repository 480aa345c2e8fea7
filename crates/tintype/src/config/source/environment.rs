//! `TINTYPE__SECTION__KEY=value`, laid over the file.
//!
//! The value is TOML, so lists and tables can be given; what is not TOML is a text, so that `info` and `24h` need no
//! quotes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::super::STANDALONE_NAME;
use super::super::error::Place;
use super::file::parse_value;
use super::node::{Node, Scalar, Tree};

const PREFIX: &str = "TINTYPE__";
const SEPARATOR: &str = "__";
const SERVER: &str = "server";

/// Lays every `TINTYPE__…` variable over the tree. Answers what could not be laid, as places and messages.
pub fn overlay(root: &mut Node, variables: impl Iterator<Item = (String, String)>) -> Vec<(Place, String)> {
    let mut variables: Vec<(Vec<String>, String, String)> = variables
        .filter_map(|(variable, value)| {
            let segments = variable.strip_prefix(PREFIX)?.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
            Some((segments, variable, value))
        })
        .collect();
    // Whole sections before their keys, whatever order the environment has.
    variables.sort_by(|a, b| a.0.len().cmp(&b.0.len()).then_with(|| a.cmp(b)));

    let mut problems = Vec::new();
    for (segments, variable, value) in variables {
        let place = Place::Environment(Arc::from(variable));
        if let Err(message) = lay(root, &segments, &place, &value) {
            problems.push((place, message));
        }
    }
    problems
}

fn lay(root: &mut Node, segments: &[String], place: &Place, value: &str) -> Result<(), String> {
    let Some((last, sections)) = segments.split_last().filter(|_| segments.iter().all(|part| !part.is_empty())) else {
        return Err("a name such as TINTYPE__SECTION__KEY is needed".into());
    };
    let servers = root.find(SERVER).map_or(0, |server| server.children().count());
    if segments[0] == SERVER && servers > 1 {
        return Err("there is more than one [[server]] in the file; change them there".into());
    }
    let mut node = root;
    for section in sections {
        let is_server = node.key.is_empty() && section == SERVER;
        let key = node.child_key(section);
        node = entries(node).entry(section.clone()).or_insert_with(|| Node::table(key, place.clone()));
        if is_server {
            node = only_server(node, place);
        }
    }
    let key = node.child_key(last);
    let laid = match parse_value(key.clone(), place.clone(), value) {
        Node { tree: Tree::Table(_), .. } if key == SERVER => {
            // One table for the list of servers. Its keys have the index that they would have in the list.
            let servers = Node { key, place: place.clone(), tree: Tree::Refused };
            let server = parse_value(servers.element_key(0), place.clone(), value);
            Node { tree: Tree::List(vec![server]), ..servers }
        }
        laid => laid,
    };
    match entries(node).entry(last.clone()) {
        Entry::Vacant(vacant) => {
            vacant.insert(laid);
        }
        Entry::Occupied(mut occupied) => merge(occupied.get_mut(), laid),
    }
    Ok(())
}

/// The entries of a node, which becomes a table if it is none.
fn entries(node: &mut Node) -> &mut BTreeMap<String, Node> {
    if !matches!(node.tree, Tree::Table(_)) {
        node.tree = Tree::Table(BTreeMap::new());
    }
    let Tree::Table(entries) = &mut node.tree else { unreachable!("it was just made a table") };
    entries
}

/// The single element of `server`. Where there is none, the one that the defaults have.
fn only_server<'a>(node: &'a mut Node, place: &Place) -> &'a mut Node {
    if !matches!(&node.tree, Tree::List(servers) if servers.len() == 1) {
        let mut server = Node::table(node.element_key(0), place.clone());
        let name = Tree::Scalar(Scalar::Text(STANDALONE_NAME.to_owned()));
        let name = Node { key: server.child_key("name"), place: place.clone(), tree: name };
        entries(&mut server).insert("name".to_owned(), name);
        node.tree = Tree::List(vec![server]);
    }
    let Tree::List(servers) = &mut node.tree else { unreachable!("it was just made a list") };
    &mut servers[0]
}

/// Puts `over` in the place of `under`; a table over a table leaves the keys that it does not name.
fn merge(under: &mut Node, over: Node) {
    match (&mut under.tree, over.tree) {
        (Tree::Table(under), Tree::Table(over)) => {
            for (name, node) in over {
                match under.entry(name) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(node);
                    }
                    Entry::Occupied(mut occupied) => merge(occupied.get_mut(), node),
                }
            }
        }
        (_, tree) => *under = Node { tree, key: over.key, place: over.place },
    }
}
