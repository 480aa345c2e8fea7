//! Patterns of server names, such as `*.example.org`.

use std::{fmt, str::FromStr};

use ruma_common::ServerName;

/// The longest pattern accepted, in bytes: a server name has 255 at most (appendices, "Server Name").
const MAX_PATTERN: usize = 255;

/// A server name in which `*` stands for any characters, also none, and `?` for one of them.
///
/// As in the access lists of rooms (client-server API, "Server Access Control Lists"), letter case does not count and
/// a pattern without a port says nothing of the port. One with a port means that port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerPattern {
    text: Box<str>,
    has_port: bool,
}

/// Why a text is not a pattern of server names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of servers is a server name in which * stands for any characters and ? for one")]
pub struct ParseServerPatternError;

impl ServerPattern {
    /// Whether the pattern is one of this server.
    pub fn matches(&self, server: &ServerName) -> bool {
        let name = if self.has_port { server.as_str() } else { server.host() };
        let (pattern, name) = (self.text.as_bytes(), name.as_bytes());
        let (mut at, mut in_name) = (0, 0);
        // The last `*` that was passed, and where the name went on after it.
        let mut star = None;
        while in_name < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, in_name));
                    at += 1;
                }
                Some(&wanted) if wanted == b'?' || wanted == name[in_name].to_ascii_lowercase() => {
                    at += 1;
                    in_name += 1;
                }
                _ => match star {
                    // The `*` stands for one character more.
                    Some((of_star, after)) => {
                        star = Some((of_star, after + 1));
                        at = of_star + 1;
                        in_name = after + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&byte| byte == b'*')
    }
}

impl FromStr for ServerPattern {
    type Err = ParseServerPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'*' | b'?');
        if text.is_empty() || text.len() > MAX_PATTERN || !text.bytes().all(allowed) {
            return Err(ParseServerPatternError);
        }
        // The colons of an IPv6 address are within its brackets.
        let after_address = text.rsplit_once(']').map_or(text, |(_, after)| after);
        let has_port = match after_address.split_once(':') {
            None => false,
            Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => true,
            Some(_) => return Err(ParseServerPatternError),
        };
        Ok(Self { text: text.to_ascii_lowercase().into(), has_port })
    }
}

impl fmt::Display for ServerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, server: &str) -> bool {
        pattern.parse::<ServerPattern>().unwrap().matches(<&ServerName>::try_from(server).unwrap())
    }

    #[test]
    fn a_name_is_a_pattern_of_itself_on_any_port_and_in_any_case() {
        assert!(matches("example.org", "example.org"));
        assert!(matches("Example.org", "EXAMPLE.ORG:8448"));
        assert!(matches("[2001:db8::1]", "[2001:DB8::1]:443"));
        assert!(!matches("example.org", "matrix.example.org"));
        assert!(!matches("example.org", "example.org.evil.example"));
        assert!(!matches("example.org", "exampleXorg"));
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        assert!(matches("*", "example.org:1"));
        assert!(matches("*.example.org", "a.example.org"));
        assert!(matches("*.example.org", "a.b.example.org"));
        assert!(!matches("*.example.org", "example.org"));
        assert!(!matches("*.example.org", "example.org.evil"));
        assert!(matches("*.ex*le.*", "a.example.example.org"));
        assert!(matches("evil*", "evil"));
        assert!(matches("s?.example.org", "s1.example.org"));
        assert!(!matches("s?.example.org", "s.example.org"));
        assert!(!matches("s?.example.org", "s12.example.org"));
    }

    #[test]
    fn a_pattern_with_a_port_means_that_port() {
        assert!(matches("localhost:8448", "localhost:8448"));
        assert!(matches("*:8448", "[::1]:8448"));
        assert!(!matches("localhost:8448", "localhost:8449"));
        assert!(!matches("localhost:8448", "localhost"));
    }

    #[test]
    fn what_no_server_name_can_be_is_refused() {
        for text in ["", "https://a.example", "a b", "a/b", "ä.example", "a:", "a:b", "a:*", "::1", &"a".repeat(256)] {
            assert_eq!(text.parse::<ServerPattern>(), Err(ParseServerPatternError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_part_of_a_name_between_stars_is_found(name in "[a-c.]{1,20}", from in 0..20usize, length in 0..20usize) {
            let from = from.min(name.len());
            let part = &name[from..(from + length).min(name.len())];
            let pattern = format!("*{part}*");
            prop_assert_eq!(pattern.parse::<ServerPattern>().unwrap().matches(<&ServerName>::try_from(&*name).unwrap()), true);
        }
    }
}
