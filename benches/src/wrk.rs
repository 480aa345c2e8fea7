//! wrk, for the small downloads: nothing else on one machine asks as fast for as little CPU time.
//!
//! It reads 8 KiB at a time, so for larger bodies it would measure itself; those are left to [`crate::load`].

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::server::{Server, Stored};

/// What wrk reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Requests answered per second.
    pub per_second: f64,
    /// Requests answered altogether.
    pub requests: f64,
}

/// Downloads one medium again and again on 64 connections from two threads.
///
/// # Errors
/// When wrk cannot be run, or any answer was not 2xx or broke off.
pub fn download(wrk: &Path, server: &Server, stored: &Stored, window: Duration) -> Result<Measured> {
    let mut command = Command::new(wrk);
    command.args(["-t2", "-c64", &format!("-d{}s", window.as_secs())]);
    if let Some(token) = &server.token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.arg(format!("http://{}{}", server.address, stored.path)).output().context("starting wrk")?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(output: &str) -> Result<Measured> {
    ensure!(!output.contains("Non-2xx"), "not every answer was 2xx:\n{output}");
    ensure!(!output.contains("Socket errors"), "connections broke:\n{output}");
    let per_second = output
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
        .with_context(|| format!("what wrk said:\n{output}"))?;
    let requests = output
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .with_context(|| format!("what wrk said:\n{output}"))?;
    Ok(Measured { per_second, requests })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 2s test @ http://127.0.0.1:80/\n  2 threads and 64 connections\n  \
        161236 requests in 2.10s, 1.57GB read\nRequests/sec:  76780.12\nTransfer/sec:    766.98MB\n";

    #[test]
    fn the_rate_and_the_count_are_read() {
        assert_eq!(parse(GOOD).unwrap(), Measured { per_second: 76_780.12, requests: 161_236.0 });
    }

    #[test]
    fn refused_requests_are_not_counted_as_served() {
        assert!(parse(&format!("{GOOD}  Non-2xx or 3xx responses: 12\n")).is_err());
    }
}
