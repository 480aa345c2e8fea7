//! `cargo xtask test`: every check and every suite, one after the other, and one line at the end.
//!
//! A step that fails does not stop the next one: whoever reads the output learns everything at once. What the suites
//! need is installed first (see `tools`), so that a bare machine is enough.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::tools;

/// How many tests, and checks that count as one each, passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Runs everything. Returns whether all of it passed.
pub fn run() -> Result<bool> {
    let deny = tools::cargo_deny()?;
    tools::for_tests()?;
    let mut tally = Tally::default();
    tally.check("formatting", cargo(["fmt", "--all", "--check"]))?;
    let mut client_in_rust = cargo(["fmt", "--check", "--manifest-path"]);
    client_in_rust.arg(tools::workspace().join("e2e/clients/rust/Cargo.toml"));
    tally.check("formatting of the client in Rust", client_in_rust)?;
    tally.check("licences, duplicates, sources", Command::new(deny).args(["check", "bans", "licenses", "sources"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    tally.check("lints", cargo(clippy))?;
    let mut documentation = cargo(["doc", "--workspace", "--no-deps"]);
    tally.check("documentation", documentation.env("RUSTDOCFLAGS", "--deny warnings"))?;
    // The end-to-end suites start the program that this builds.
    tally.check("build", cargo(["build", "--package", "tintype"]))?;
    println!("--- tests");
    tally.suites(cargo(["test", "--workspace", "--no-fail-fast"]))?;
    println!("--- the endpoints once more, on three nodes behind a balancer, with PostgreSQL and SeaweedFS");
    tally.suites(on_three_nodes())?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// The suite of the endpoints on three nodes. A test waits more than it works there, so more of them run at once than there
/// are cores. It is the workspace's suite of that name, so that it is built with the features that it was built with before.
fn on_three_nodes() -> Command {
    let mut command = cargo(["test", "--workspace", "--test", "api", "--", "--test-threads", "3"]);
    command.env("TINTYPE_TEST_PROFILE", "cluster");
    for (test, reason) in NOT_ON_THREE_NODES {
        println!("--- left out: {test}: {reason}");
        command.args(["--skip", test]);
    }
    command
}

/// Tests that are not run on three nodes, and why. What a test by its nature cannot show there it says itself: see
/// `embedded_only!` of `tintype-testing`.
const NOT_ON_THREE_NODES: [(&str, &str); 31] = [
    ("asynchronous_model::", NOT_SEEN),
    ("attaching::", FLICKERS),
    ("authentication::", FLICKERS),
    ("client::delete::nobody_gets_a_byte", TOO_MANY),
    ("client::resumable::readers::each_step", FLICKERS),
    ("client::streaming::failures::an_upload_that_stops_arriving", BREAKS),
    ("client::streaming::headers::a_second_attempt", BREAKS),
    ("client::streaming::live::a_reader_that_waits", BREAKS),
    ("federation::crowd::", NOT_SEEN),
    ("federation::hostile", ONE_NODE),
    ("federation::kept::", SWEEPS),
    ("federation::old_endpoints::", NOT_SEEN),
    ("federation::ourselves::", NOT_SEEN),
    ("federation::parting::", NOT_SEEN),
    ("federation::re", NOT_SEEN),
    ("federation::s", NOT_SEEN),
    ("federation::t", NOT_SEEN),
    ("front_door::", NOT_SEEN),
    ("legacy::", NOT_SEEN),
    ("lifecycle::", NOT_SEEN),
    ("limits::", NOT_SEEN),
    ("linked::", REMEMBERED),
    ("object_store::", NOT_SEEN),
    ("races::", NOT_SEEN),
    ("restricted::", NOT_SEEN),
    ("serve::", NOT_SEEN),
    ("standalone::", NOT_SEEN),
    ("telemetry::", NOT_SEEN),
    ("tenants::", NOT_SEEN),
    ("tls::", NOT_SEEN),
    ("redirects::", NOT_SEEN),
];

const BREAKS: &str = "it breaks connections, or times them by tens of milliseconds, and a balancer stands between";
const FLICKERS: &str = "a node that does not hear for a moment asks again, and the test counts how often";
const TOO_MANY: &str = "its ten thousand rounds take longer there than all the rest";
const SWEEPS: &str = "one of the nodes sweeps, and one test of them did not see in time that it had";
const NOT_SEEN: &str = "not seen to pass there yet";
const ONE_NODE: &str = "it is about what other servers send, of which one node is told as much as three";
const REMEMBERED: &str =
    "each node remembers for some seconds what a homeserver showed, and the tests do not tell nodes apart yet";

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

impl Tally {
    fn check(&mut self, name: &str, mut command: impl std::borrow::BorrowMut<Command>) -> Result<()> {
        println!("--- {name}");
        let status = command.borrow_mut().status().with_context(|| format!("starting the check of {name}"))?;
        if status.success() {
            self.passed += 1;
        } else {
            println!("--- {name}: FAILED");
            self.failed += 1;
        }
        Ok(())
    }

    /// Runs test suites, shows what they print, and adds up what they say of themselves.
    fn suites(&mut self, mut command: impl std::borrow::BorrowMut<Command>) -> Result<()> {
        let mut suites = command.borrow_mut().stdout(Stdio::piped()).spawn().context("starting the tests")?;
        let output = suites.stdout.take().context("the tests' output")?;
        let before = self.failed;
        for line in BufReader::new(output).lines() {
            let line = line?;
            writeln!(std::io::stdout(), "{line}")?;
            if let Some(suite) = Self::of_result_line(&line) {
                self.passed += suite.passed;
                self.failed += suite.failed;
            }
        }
        // A suite that did not build, or was killed, says nothing of itself.
        if !suites.wait()?.success() && self.failed == before {
            self.failed += 1;
        }
        Ok(())
    }

    /// Parses `test result: ok. 3 passed; 0 failed; …`.
    fn of_result_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let mut counts = counts.split("; ").map(|count| count.split_once(' '));
        let mut next = |what: &str| {
            let (number, name) = counts.next()??;
            (name == what).then(|| number.parse().ok())?
        };
        Some(Self { passed: next("passed")?, failed: next("failed")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_counted_by_its_result_line() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";

        assert_eq!(Tally::of_result_line(line), Some(Tally { passed: 12, failed: 3 }));
        assert_eq!(Tally::of_result_line("test result: none of these"), None);
        assert_eq!(Tally::of_result_line("running 3 tests"), None);
    }
}
