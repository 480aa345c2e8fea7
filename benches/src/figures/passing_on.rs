//! What a request costs more that Tintype passes on to its homeserver: the same request to the homeserver itself and through
//! Tintype, in turn, one at a time, each on a connection that stays open.
//!
//! The homeserver is nginx with a static file, which shows the cost of passing on alone, and Synapse, which shows what
//! it is beside a real answer.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use crate::connection::Connection;
use crate::report::{Report, Target, Unit};
use crate::server::{Kind, Server};

const LOGIN: &str = "/_matrix/client/v3/login";
const VERSIONS: &str = "/_matrix/client/versions";

/// Of the answer of nginx, in bytes: a sync in which little has happened.
const LENGTH: usize = 2 * 1024;

const TIMES: usize = 1000;
const BOUND: f64 = 0.001;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for homeserver in bench.start(&[Kind::Nginx, Kind::Synapse])? {
        if homeserver.kind == Kind::Nginx {
            homeserver.answer(VERSIONS, br#"{"versions":["v1.11"]}"#)?;
            homeserver.answer(LOGIN, &[b'x'; LENGTH])?;
        }
        let tintype = Server::start_in_front_of(&homeserver, &bench.programs)?;
        let mut exchanges = [&homeserver, &tintype].map(Exchanges::to);
        // Also fills caches and opens connections.
        for _ in 0..TIMES / 10 {
            exchanges.iter_mut().try_for_each(|server| server.exchange().map(drop))?;
        }
        for server in &mut exchanges {
            server.measured.clear();
        }
        for _ in 0..TIMES * bench.runs {
            for server in &mut exchanges {
                let seconds = server.exchange()?;
                server.measured.push(seconds);
            }
        }
        let [direct, through] = &exchanges;
        let name = homeserver.kind.name();
        let (direct_median, through_median) = (direct.percentile(50), through.percentile(50));
        let what = format!("what passing a request on to {name} costs more, median");
        report.bound(&what, Unit::Time, BOUND, Some(through_median - direct_median), ("", None));
        let what = format!("a request that is passed on to {name}, median");
        report.compare(&what, Unit::Time, Target::Reference, Some(through_median), (name, Some(direct_median)));
        report.note(format!(
            "The 99th percentile of a request to {name} is {:.2} ms, and {:.2} ms through Tintype.",
            direct.percentile(99) * 1e3,
            through.percentile(99) * 1e3,
        ));
    }
    Ok(())
}

/// Requests to one server.
struct Exchanges {
    connection: Option<Connection>,
    server: std::net::SocketAddr,
    request: Vec<u8>,
    measured: Vec<f64>,
}

impl Exchanges {
    fn to(server: &Server) -> Self {
        Self { connection: None, server: server.address, request: server.get(LOGIN, ""), measured: Vec::new() }
    }

    /// Seconds from a request to the end of its answer.
    fn exchange(&mut self) -> Result<f64> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.server)?),
        };
        let began = Instant::now();
        connection.send(&self.request)?;
        let head = connection.expect_status(200)?;
        connection.discard(head)?;
        let taken = began.elapsed().as_secs_f64();
        if head.closes {
            self.connection = None;
        }
        Ok(taken)
    }

    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.measured.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
    }
}
