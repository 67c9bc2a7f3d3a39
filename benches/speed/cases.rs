//! The cases of the benchmark: workloads, sizes, contenders.

use std::fs::File;

use meshsim_actor::{Dist, Span};
use meshsim_benches::{SEED, Work, bare, broadcast, idle, mm1, phold, ping_pong};
use meshsim_trace::{Header, Writer};

use crate::mesh;
use crate::peers::{desque, nexosim, simcore};

/// A workload of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Workload and size.
    pub(crate) name: &'static str,
    /// Unit of work.
    pub(crate) unit: &'static str,
    pub(crate) workload: Workload,
    /// Actors.
    pub(crate) size: u32,
    /// Units of work in a round of meshsim; slower contenders do less.
    pub(crate) work: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    Phold,
    PingPong,
    Broadcast,
    /// Broadcast over links whose latency varies.
    Jitter,
    Mm1,
    /// No events; only memory counts. The time between heartbeats, if there are any.
    Idle(Option<Span>),
    /// Nodes of a mesh without instances, with their coordinator.
    Nodes,
}

const fn case(name: &'static str, unit: &'static str, workload: Workload, size: u32, work: u64) -> Case {
    Case { name, unit, workload, size, work }
}

pub(crate) const CASES: &[Case] = &[
    case("PHOLD 1,000", "event", Workload::Phold, 1_000, 4_000_000),
    case("PHOLD 100,000", "event", Workload::Phold, 100_000, 4_000_000),
    case("PHOLD 1,000,000", "event", Workload::Phold, 1_000_000, 4_000_000),
    case("ping-pong 1,000 pairs", "message", Workload::PingPong, 2_000, 4_000_000),
    case("broadcast 50", "message", Workload::Broadcast, 51, 4_000_000),
    case("broadcast 1,000", "message", Workload::Broadcast, 1_001, 4_000_000),
    case("broadcast 10,000", "message", Workload::Broadcast, 10_001, 4_000_000),
    case("broadcast 10,000, jitter", "message", Workload::Jitter, 10_001, 4_000_000),
    case("M/M/1", "request", Workload::Mm1, 2, 10_000_000),
    case("idle 1,000,000", "actor", Workload::Idle(None), 1_000_000, 0),
    case("idle 1,000,000, heartbeat", "actor", Workload::Idle(Some(Span::from_secs(2))), 1_000_000, 0),
    case("idle 1,000,000, mesh", "node", Workload::Nodes, 1_000_000, 0),
];

/// Program that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Meshsim,
    /// meshsim, with the full trace written to a file.
    Traced,
    Bare,
    Nexosim,
    Desque,
    Simcore,
}

impl Contender {
    pub(crate) const ALL: [(&'static str, Contender); 6] = [
        ("meshsim", Contender::Meshsim),
        ("meshsim, full trace", Contender::Traced),
        ("bare ladder loop", Contender::Bare),
        ("nexosim", Contender::Nexosim),
        ("desque", Contender::Desque),
        ("simcore", Contender::Simcore),
    ];

    /// Divisor of its work, so that a round takes no minutes.
    pub(crate) fn share(self) -> u64 {
        match self {
            Contender::Meshsim | Contender::Traced | Contender::Bare => 1,
            Contender::Desque | Contender::Simcore => 4,
            Contender::Nexosim => 10,
        }
    }
}

impl Case {
    /// The prepared work; `None` if this contender does not take part.
    pub(crate) fn prepare(&self, contender: Contender, size: u32) -> Option<Box<dyn Work>> {
        let constant = Dist::Constant(broadcast::LATENCY);
        let half = Span::from_micros(500);
        let jitter = Dist::Exponential { at_least: half, mean: half };
        let (on, off) = (trace, ());
        Some(match (self.workload, contender) {
            (Workload::Phold, Contender::Meshsim) => Box::new(phold::prepare(size, off)),
            (Workload::Phold, Contender::Traced) => Box::new(phold::prepare(size, on())),
            (Workload::Phold, Contender::Bare) => Box::new(bare::phold(size)),
            (Workload::Phold, Contender::Nexosim) => Box::new(nexosim::phold(size)),
            (Workload::Phold, Contender::Desque) => Box::new(desque::phold(size)),
            (Workload::Phold, Contender::Simcore) => Box::new(simcore::phold(size)),
            (Workload::PingPong, Contender::Meshsim) => Box::new(ping_pong::prepare(size / 2, off)),
            (Workload::PingPong, Contender::Traced) => Box::new(ping_pong::prepare(size / 2, on())),
            (Workload::PingPong, Contender::Bare) => Box::new(bare::ping_pong(size / 2)),
            (Workload::PingPong, Contender::Nexosim) => Box::new(nexosim::ping_pong(size / 2)),
            (Workload::PingPong, Contender::Desque) => Box::new(desque::ping_pong(size / 2)),
            (Workload::PingPong, Contender::Simcore) => Box::new(simcore::ping_pong(size / 2)),
            (Workload::Broadcast, Contender::Meshsim) => Box::new(broadcast::prepare(size - 1, constant, off)),
            (Workload::Broadcast, Contender::Traced) => Box::new(broadcast::prepare(size - 1, constant, on())),
            (Workload::Broadcast, Contender::Bare) => Box::new(bare::broadcast(size - 1)),
            (Workload::Broadcast, Contender::Nexosim) => Box::new(nexosim::broadcast(size - 1)),
            (Workload::Broadcast, Contender::Desque) => Box::new(desque::broadcast(size - 1)),
            (Workload::Broadcast, Contender::Simcore) => Box::new(simcore::broadcast(size - 1)),
            (Workload::Jitter, Contender::Meshsim) => Box::new(broadcast::prepare(size - 1, jitter, off)),
            (Workload::Jitter, Contender::Traced) => Box::new(broadcast::prepare(size - 1, jitter, on())),
            (Workload::Mm1, Contender::Meshsim) => Box::new(mm1::prepare(off)),
            (Workload::Mm1, Contender::Traced) => Box::new(mm1::prepare(on())),
            (Workload::Mm1, Contender::Bare) => Box::new(bare::mm1()),
            (Workload::Mm1, Contender::Nexosim) => Box::new(nexosim::mm1()),
            (Workload::Mm1, Contender::Desque) => Box::new(desque::mm1()),
            (Workload::Mm1, Contender::Simcore) => Box::new(simcore::mm1()),
            (Workload::Idle(every), Contender::Meshsim) => Box::new(idle::prepare(size, every)),
            (Workload::Nodes, Contender::Meshsim) => Box::new(mesh::idle_nodes(size)),
            (Workload::Jitter | Workload::Idle(_) | Workload::Nodes, _) => return None,
        })
    }
}

/// A trace on disk, as `meshsim run --trace` writes it. The file is removed with the process.
fn trace() -> Writer<File> {
    let path = std::env::temp_dir().join(format!("meshsim-bench-{}", std::process::id()));
    let file = File::create(&path).expect("the folder for temporary files can be written to");
    std::fs::remove_file(&path).expect("what was just made can be removed");
    Writer::new(file, &Header { seed: SEED, ..Header::default() })
}
