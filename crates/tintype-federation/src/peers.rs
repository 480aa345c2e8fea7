//! Which servers are spoken with: a list of those that are, a list of those that are not.

use tintype_domain::{ServerName, ServerPattern};

/// Patterns of servers.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    allow: Vec<ServerPattern>,
    deny: Vec<ServerPattern>,
}

impl Peers {
    /// Those in `allow`, or all where it is empty, without those in `deny`.
    pub fn new(allow: Vec<ServerPattern>, deny: Vec<ServerPattern>) -> Self {
        Self { allow, deny }
    }

    /// Whether this server is spoken with.
    pub fn include(&self, server: &ServerName) -> bool {
        let listed = |patterns: &[ServerPattern]| patterns.iter().any(|pattern| pattern.matches(server));
        (self.allow.is_empty() || listed(&self.allow)) && !listed(&self.deny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn included(allow: &[&str], deny: &[&str], server: &str) -> bool {
        let parsed = |patterns: &[&str]| patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        Peers::new(parsed(allow), parsed(deny)).include(<&ServerName>::try_from(server).unwrap())
    }

    #[test]
    fn without_lists_everybody_is_spoken_with() {
        assert!(included(&[], &[], "example.org"));
    }

    #[test]
    fn with_a_list_only_those_on_it_are_spoken_with_and_a_denial_counts_more() {
        assert!(included(&["*.example.org"], &[], "a.example.org"));
        assert!(!included(&["*.example.org"], &[], "example.org"));
        assert!(!included(&["*.example.org"], &["a.*"], "A.example.org:8448"));
    }
}
