//! Where the server listens: a TCP address, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::text_value;

/// A TCP address, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `127.0.0.1:8090` or `[::1]:8090`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/run/tintype.sock`; the path is absolute.
    Unix(PathBuf),
}

/// Why a text is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseListenAddressError {
    /// Neither an IP address with a port nor `unix:`.
    #[error(
        "{0:?} is not an address to listen on; write an IP address and a port, such as \"127.0.0.1:8090\" or \
         \"[::1]:8090\", or \"unix:/run/tintype.sock\""
    )]
    Malformed(String),
    /// The socket's path does not begin with `/`.
    #[error("the path of a Unix socket must be absolute, such as \"unix:/run/tintype.sock\", not {0:?}")]
    Relative(String),
    /// The system's `sockaddr_un` holds at most 107 bytes of path.
    #[error("the path of a Unix socket can have at most {MAX_SOCKET_PATH} bytes: {0:?}")]
    TooLong(String),
}

/// Linux's `sockaddr_un.sun_path` has 108 bytes, one of them for the end.
const MAX_SOCKET_PATH: usize = 107;

impl ListenAddress {
    /// Whether the system chooses the port, so that two equal addresses do not collide.
    pub(in crate::config) fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl FromStr for ListenAddress {
    type Err = ParseListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map(Self::Tcp);
            return address.map_err(|_| ParseListenAddressError::Malformed(text.to_owned()));
        };
        if !path.starts_with('/') {
            return Err(ParseListenAddressError::Relative(text.to_owned()));
        }
        if path.len() > MAX_SOCKET_PATH {
            return Err(ParseListenAddressError::TooLong(text.to_owned()));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

text_value!(
    ListenAddress,
    "ListenAddress",
    r"^(unix:/.+|[0-9.]+:[0-9]+|\[.+\]:[0-9]+)$",
    ["127.0.0.1:8090", "[::1]:8090", "unix:/run/tintype.sock"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_addresses_and_unix_sockets_are_read_and_shown() {
        for text in ["127.0.0.1:8090", "[::1]:0", "0.0.0.0:80", "unix:/run/tintype.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn host_names_missing_ports_and_bad_paths_are_refused() {
        for text in ["", "localhost:8090", "127.0.0.1", ":8090", "8090", "unix:", "unix:run/x", "tcp:1.2.3.4:5"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
        let long = format!("unix:/{}", "x".repeat(MAX_SOCKET_PATH));
        assert_eq!(long.parse::<ListenAddress>(), Err(ParseListenAddressError::TooLong(long)));
    }
}
