//! One, two and three nodes on one machine, on PostgreSQL and SeaweedFS: what a request costs the nodes in CPU time, and the
//! database and the store in statements and requests. More nodes must not make a request dearer.
//!
//! Nodes, database, store and load share the cores, so requests a second say nothing here and are not shown; CPU time of the
//! nodes' processes does not depend on who else runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bench, Medians};
use crate::connection::Connection;
use crate::load::{self, Until, float, noise, on_threads};
use crate::report::{Report, Target, Unit};
use crate::server::{Kind, Server, Stores};

const LENGTH: u64 = 10 * 1024;
/// Connections to all nodes together.
const CONNECTIONS: usize = 12;
/// How much more a request may cost with more nodes.
const FLAT: f64 = 1.1;
/// How long nodes are watched that nobody asks for anything: what they do then is not done for requests.
const IDLE: Duration = Duration::from_secs(3);

/// Bodies are numbered, beside those of other figures.
static SERIAL: AtomicU64 = AtomicU64::new(1 << 60);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// One piece of media, again and again.
    Cached,
    /// Each piece of media once.
    Uncached,
    Upload,
}

const LOADS: [(Load, &str, Option<f64>, Option<f64>); 3] = [
    (Load::Cached, "cached 10 KiB download", Some(0.0), Some(0.0)),
    (Load::Uncached, "uncached 10 KiB download", Some(1.0), Some(1.0)),
    (Load::Upload, "10 KiB upload", Some(4.0), None),
];

/// What one request cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Seconds of CPU time of all nodes.
    cpu: f64,
    statements: f64,
    store_requests: f64,
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let requests = if bench.runs == 1 { 2_000 } else { 6_000 };
    let mut all = Vec::new();
    for nodes in 1..=3 {
        let mut cluster = Cluster::start(bench, nodes)?;
        let (statements, store_requests) = cluster.idle()?;
        report.note(format!(
            "With nothing to do, {nodes} nodes execute {statements:.1} statements a second and make {store_requests:.1} requests to the store."
        ));
        let mut costs = Vec::new();
        for (load, ..) in LOADS {
            costs.push((0..bench.runs).map(|_| cluster.cost(load, requests)).collect::<Result<Vec<_>>>()?);
        }
        all.push(costs);
    }
    for (index, (_, what, most_statements, most_requests)) in LOADS.into_iter().enumerate() {
        let of = |nodes: usize, quantity: fn(&Cost) -> f64| median(&all[nodes - 1][index], quantity);
        for nodes in 1..=3 {
            let plural = if nodes == 1 { "node" } else { "nodes" };
            let (name, cpu) = (format!("{what}, CPU time, {nodes} {plural}"), of(nodes, |cost| cost.cpu));
            let target = if nodes == 1 { Target::Reference } else { Target::AtMost(FLAT) };
            report.compare(&name, Unit::ShortTime, target, cpu, ("1 node", of(1, |cost| cost.cpu)));
        }
        for nodes in [1, 3] {
            let plural = if nodes == 1 { "node" } else { "nodes" };
            let counts = [
                ("statements", of(nodes, |cost| cost.statements), most_statements),
                ("requests to the store", of(nodes, |cost| cost.store_requests), most_requests),
            ];
            for (counted, count, most) in counts {
                report.at_most(&format!("{what}, {counted}, {nodes} {plural}"), count, most);
            }
        }
    }
    Ok(())
}

fn median(costs: &[Cost], quantity: fn(&Cost) -> f64) -> Option<f64> {
    Medians(costs.iter().map(|cost| (Kind::Tintype, quantity(cost))).collect()).of(Kind::Tintype)
}

/// Nodes, and what they keep things in.
struct Cluster {
    nodes: Vec<Server>,
    stores: Stores,
}

/// What was counted up to a moment.
#[derive(Debug, Clone, Copy)]
struct Count {
    cpu: Duration,
    statements: u64,
    store_requests: u64,
    at: Instant,
}

impl Cluster {
    fn start(bench: &Bench, count: usize) -> Result<Self> {
        let stores = Stores::start()?;
        let mut nodes: Vec<Server> = Vec::new();
        for _ in 0..count {
            let mut node = Server::start_node(&bench.programs, &stores)?;
            // A token is one of all nodes.
            node.token = match nodes.first() {
                None => node.log_in("bench")?,
                Some(first) => first.token.clone(),
            };
            nodes.push(node);
        }
        Ok(Self { nodes, stores })
    }

    fn cost(&mut self, load: Load, requests: usize) -> Result<Cost> {
        let each = requests / self.nodes.len();
        let connections = CONNECTIONS / self.nodes.len();
        let paths = self.prepare(load, each)?;
        let idle = self.idle()?;
        let before = self.count()?;
        on_threads(self.nodes.len(), |number| -> Result<()> {
            let node = &self.nodes[number];
            match &paths {
                Some(paths) => ask(node, &paths[number], connections),
                None => load::upload(node, LENGTH, connections, Until::Uploaded(each as u64)).map(drop),
            }
        })?;
        let after = self.count()?;
        let elapsed = after.at.duration_since(before.at).as_secs_f64();
        let made = float((each * self.nodes.len()) as u64);
        let counted = |before: u64, after: u64, idle: f64| ((float(after - before) - idle * elapsed) / made).max(0.0);
        Ok(Cost {
            cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64() / made,
            statements: counted(before.statements, after.statements, idle.0),
            store_requests: counted(before.store_requests, after.store_requests, idle.1),
        })
    }

    /// What each node is asked for, in order.
    fn prepare(&mut self, load: Load, each: usize) -> Result<Option<Vec<Vec<String>>>> {
        let nodes = self.nodes.len();
        let paths: Vec<Vec<String>> = match load {
            Load::Upload => return Ok(None),
            Load::Cached => vec![vec![self.stored(1)?.remove(0); each]; nodes],
            Load::Uncached => {
                let paths = self.stored(each * nodes)?;
                // What a node has received it may remember.
                for node in &mut self.nodes {
                    node.start_again()?;
                }
                paths.chunks(each).map(<[String]>::to_vec).collect::<Vec<_>>()
            }
        };
        // The token is looked up, and a medium that is asked for again is remembered by all threads of a node.
        let known = match load {
            Load::Cached => paths[0][0].clone(),
            Load::Uncached | Load::Upload => self.stored(1)?.remove(0),
        };
        for node in &self.nodes {
            ask(node, &vec![known.clone(); 20 * CONNECTIONS], CONNECTIONS)?;
        }
        Ok(Some(paths))
    }

    /// Uploads so many bodies, no two of them alike, and returns the paths of their downloads.
    fn stored(&self, count: usize) -> Result<Vec<String>> {
        let paths = on_threads(CONNECTIONS.min(count), |thread| {
            let mut body = noise(usize::try_from(LENGTH)?);
            (thread..count)
                .step_by(CONNECTIONS)
                .map(|_| {
                    body[..8].copy_from_slice(&SERIAL.fetch_add(1, Ordering::Relaxed).to_le_bytes());
                    Ok(self.nodes[0].store(&body, "application/octet-stream")?.path)
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(paths.concat())
    }

    /// What is counted in a second when nobody asks for anything: statements, and requests to the store.
    fn idle(&self) -> Result<(f64, f64)> {
        let before = self.count()?;
        std::thread::sleep(IDLE);
        let after = self.count()?;
        let elapsed = after.at.duration_since(before.at).as_secs_f64();
        let rate = |before: u64, after: u64| float(after - before) / elapsed;
        Ok((rate(before.statements, after.statements), rate(before.store_requests, after.store_requests)))
    }

    fn count(&self) -> Result<Count> {
        let mut cpu = Duration::ZERO;
        for node in &self.nodes {
            cpu += node.process().usage()?.cpu;
        }
        let (statements, store_requests) = (self.stores.statements(), self.stores.requests());
        Ok(Count { cpu, statements, store_requests, at: Instant::now() })
    }
}

/// Asks a node for these, on so many connections.
fn ask(node: &Server, paths: &[String], connections: usize) -> Result<()> {
    on_threads(connections, |thread| {
        let mut connection = Connection::open(node.address)?;
        for path in paths.iter().skip(thread).step_by(connections) {
            connection.send(&node.get(path, ""))?;
            let head = connection.expect_status(200)?;
            connection.discard(head)?;
            if head.closes {
                connection = Connection::open(node.address)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}
