//! Balancers: the rules by which callers choose among the instances of a service.

use std::num::NonZeroU32;

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

/// Choice of a caller among the instances of a service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Balancer {
    /// Each equally likely.
    Random,
    /// In turn.
    RoundRobin,
    /// The candidate with the fewest of this caller's requests in flight.
    LeastRequest {
        /// The candidates.
        choices: Choices,
    },
    /// The one of two distinct random ones with the lower `estimate * (pending + 1)`, where the estimate is a peak-
    /// sensitive moving average of its latency. (Linkerd's balancer: decay 10 s, start 30 ms.)
    PeakEwma {
        /// Time constant with which a slow sample is forgotten.
        decay: Span,
        /// Estimate of an instance without a sample.
        start: Span,
    },
    /// The instance whose point follows the request's key on a ring. (Envoy's `RING_HASH`.)
    RingHash {
        /// Points on the ring: at least this many, shared by the instances. Envoy's default: [`RING_MIN`].
        min_size: u32,
        /// At most this many. Envoy's default: [`RING_MAX`].
        max_size: u32,
        /// Keys of the requests.
        keys: Keys,
    },
    /// The instance that holds the place of the request's key in a table. (Envoy's `MAGLEV`.)
    Maglev {
        /// Places of the table, a prime. Envoy's default: [`MAGLEV_SIZE`].
        table_size: u32,
        /// Keys of the requests.
        keys: Keys,
    },
    /// The candidate with the fewest requests on a [board](crate::board) that all callers read.
    LeastLoaded {
        /// The candidates.
        choices: Choices,
        /// Time between two rounds of the board.
        refresh: Span,
    },
    /// A random one for each connection, which carries one request at a time; requests follow the connection that was
    /// used last.
    Connection {
        /// Time after which an idle connection is closed. (Go's `http.DefaultTransport`: 90 s.)
        idle: Span,
        /// Idle connections that a caller keeps to a service. (Go's `MaxIdleConns`: 100.)
        max_idle: u32,
    },
}

impl Balancer {
    /// The keys by which it hashes requests, if it does.
    pub fn keys(&self) -> Option<Keys> {
        match self {
            Balancer::RingHash { keys, .. } | Balancer::Maglev { keys, .. } => Some(*keys),
            _ => None,
        }
    }
}

/// Envoy's default for [`Balancer::RingHash::min_size`](Balancer::RingHash).
pub const RING_MIN: u32 = 1024;
/// Envoy's default for [`Balancer::RingHash::max_size`](Balancer::RingHash), and the largest that it allows.
pub const RING_MAX: u32 = 8 << 20;
/// Envoy's default for [`Balancer::Maglev::table_size`](Balancer::Maglev).
pub const MAGLEV_SIZE: u32 = 65_537;
/// The largest table that Envoy allows.
pub const MAGLEV_MAX: u32 = 5_000_011;

/// Keys by which a hashing balancer chooses: those of users or sessions.
///
/// A request has one key from its entry into the mesh on. All calls made for it have the same key at every service with
/// the same `Keys`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    /// Number of different keys, from which one is drawn for each request; `None`: each request has its own.
    pub count: Option<NonZeroU32>,
    /// The key of rank r is drawn with probability proportional to r^-skew (Zipf); 0: all alike.
    pub skew: f64,
}

/// Number of instances that a caller considers before it chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choices {
    /// This many random ones, possibly one of them twice; the first wins a tie. (Envoy's `LEAST_REQUEST`: two.)
    Replaced(u32),
    /// This many random ones, each once; the first wins a tie.
    Distinct(u32),
    /// All instances, with a random draw among equals. ("Join the shortest queue", by the caller's own requests.)
    All,
}

/// Maximum number of instances that a caller draws before it chooses, unless it considers all.
pub const CHOICES_MAX: u32 = 64;

/// Most idle connections of a caller to a service.
pub const IDLE_MAX: u32 = 100_000;

impl Default for Balancer {
    /// Envoy's default.
    fn default() -> Self {
        Balancer::LeastRequest { choices: Choices::Replaced(2) }
    }
}
