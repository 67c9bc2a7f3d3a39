//! Balancers: a word, or in full.

use std::num::NonZeroU32;

use meshsim_actor::Span;
use meshsim_mesh::model::{Balancer, CHOICES_MAX, Choices, IDLE_MAX, Keys, MAGLEV_MAX, RING_MAX};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Real, Whole, text};
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::section::{At, Field, by_key, schema_of, section};
use crate::tree::{Node, Value};
use crate::units;

section! {
    /// Linkerd's balancer: the one of two instances with the lower peak-sensitive average of latency, times its load.
    struct PeakEwma in "p2c_peak_ewma" {
        /// Time constant with which a slow sample is forgotten.
        or decay: Span = "10s";
        /// Estimate of an instance without a sample.
        or start: Span = "30ms";
    }
}

/// A number, or `all`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HowMany(Option<u32>);

impl Field for HowMany {
    const NAME: &'static str = "HowMany";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if text(node, "a number of choices", reporter)? == "all" {
            return Some(HowMany(None));
        }
        match units::whole(text(node, "a number of choices", reporter)?, 1, u64::from(CHOICES_MAX)) {
            Ok(count) => Some(HowMany(Some(count as u32))),
            Err(error) => {
                let message = format!("invalid number of choices `{}`", shortened(text(node, "", reporter)?));
                reporter.report(node.place, message).help(format!("{}; or `all`", error.help));
                None
            }
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many instances are drawn, or `all`.",
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": CHOICES_MAX }, { "const": "all" }]
        })
    }
}

section! {
    /// The least busy one of some random instances, or of all.
    struct LeastRequest in "least_request" {
        /// Number of candidates that are drawn; or `all`, with a random choice among equals.
        or choices: HowMany = "2";
        /// Each is drawn at most once; without it, perhaps twice (as in Envoy).
        optional distinct: At<bool>;
    }
}

impl LeastRequest {
    fn choices(&self, reporter: &mut Reporter) -> Option<Choices> {
        match (self.choices.0, self.distinct) {
            (None, None) => Some(Choices::All),
            (None, Some(distinct)) => {
                reporter
                    .report(distinct.place, "`distinct` is not allowed with `choices: all`")
                    .help("leave it out, or draw some: `{ choices: 2, distinct: true }`");
                None
            }
            (Some(count), Some(At { value: true, .. })) => Some(Choices::Distinct(count)),
            (Some(count), _) => Some(Choices::Replaced(count)),
        }
    }
}

section! {
    /// The least loaded one of some random instances, or of all, by a board that may be old.
    struct LeastLoaded in "least_loaded" {
        /// Number of candidates that are drawn; or `all`, with a random choice among equals.
        or choices: HowMany = "all";
        /// Each is drawn at most once; without it, perhaps twice.
        optional distinct: At<bool>;
        /// Time between two rounds of the board.
        or refresh: At<Span> = "1s";
    }
}

impl LeastLoaded {
    fn balancer(&self, reporter: &mut Reporter) -> Option<Balancer> {
        if self.refresh.value < REFRESH_MIN {
            reporter
                .report(self.refresh.place, format!("a `refresh` of {} is too short", self.refresh.value))
                .help(format!("{REFRESH_MIN} or more: each round is a message from each node and one to each caller"));
            return None;
        }
        let choices = LeastRequest { choices: self.choices, distinct: self.distinct }.choices(reporter)?;
        Some(Balancer::LeastLoaded { choices, refresh: self.refresh.value })
    }
}

/// Shortest time between two rounds of a load board.
const REFRESH_MIN: Span = Span::from_millis(1);

section! {
    /// Keys of requests, as of users or sessions.
    struct KeysOf in "keys" {
        /// Number of different keys, from which one is drawn for each request [default: each request has its own].
        optional count: Whole<1, { u32::MAX as u64 }>;
        /// The key of rank r is drawn with a probability proportional to r^-skew (Zipf); 0: all alike.
        or skew: Real<20, true> = "0";
    }
}

impl KeysOf {
    fn keys(&self) -> Keys {
        let count = self.count.and_then(|count| NonZeroU32::new(count.0 as u32));
        Keys { count, skew: self.skew.0 }
    }
}

section! {
    /// Points of instances on a ring of hashes; the defaults are Envoy's.
    struct RingHash in "ring_hash" {
        /// Points on the ring, at least.
        or min_size: Whole<1, { RING_MAX as u64 }> = "1024";
        /// Points on the ring, at most.
        or max_size: At<Whole<1, { RING_MAX as u64 }>> = "8388608";
        /// Keys that are hashed. A request keeps its key on its whole way.
        or keys: KeysOf = "";
    }
}

impl RingHash {
    fn balancer(&self, reporter: &mut Reporter) -> Option<Balancer> {
        let (min, max) = (self.min_size.0, self.max_size.value.0);
        if min > max {
            reporter
                .report(self.max_size.place, format!("`max_size` ({max}) is below `min_size` ({min})"))
                .help("swap them");
            return None;
        }
        Some(Balancer::RingHash { min_size: min as u32, max_size: max as u32, keys: self.keys.keys() })
    }
}

section! {
    /// Google's hash table; the default is Envoy's.
    struct MaglevTable in "maglev" {
        /// Places of the table: a prime, a hundred times as many as instances or more.
        or table_size: At<Whole<2, { MAGLEV_MAX as u64 }>> = "65537";
        /// Keys that are hashed. A request keeps its key on its whole way.
        or keys: KeysOf = "";
    }
}

impl MaglevTable {
    fn balancer(&self, reporter: &mut Reporter) -> Option<Balancer> {
        let size = self.table_size.value.0 as u32;
        if !is_prime(size) {
            let above = (size..=MAGLEV_MAX).find(|n| is_prime(*n)).unwrap_or(MAGLEV_MAX);
            reporter
                .report(self.table_size.place, format!("a Maglev table of {size} places: the size must be a prime"))
                .help(format!("the next prime is {above}"));
            return None;
        }
        Some(Balancer::Maglev { table_size: size, keys: self.keys.keys() })
    }
}

/// For numbers up to [`MAGLEV_MAX`]: some two thousand divisions at most.
fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

section! {
    /// Connections that a caller keeps to a service; the defaults are those of Go's `http.DefaultTransport`.
    struct ByConnection in "connection" {
        /// Time after which an idle connection is closed.
        or idle: Span = "90s";
        /// Idle connections of a caller; the one that was used longest ago is closed.
        or max_idle: Whole<1, { IDLE_MAX as u64 }> = "100";
    }
}

by_key! {
    /// A balancer with its figures.
    enum BalancerInFull in "a balancer" {
        "least_request" => LeastOf,
        "p2c_peak_ewma" => Ewma,
        "ring_hash" => RingOf,
        "maglev" => MaglevOf,
        "least_loaded" => LeastLoadedOf,
        "connection" => ConnectionOf,
    }
}
section! {
    /// The instance whose point on a ring follows the request's key.
    struct RingOf in "a balancer" {
        /// The ring.
        required ring_hash: RingHash;
    }
}
section! {
    /// A random instance for each connection, which its requests follow.
    struct ConnectionOf in "a balancer" {
        /// Its connections.
        required connection: ByConnection;
    }
}
section! {
    /// The candidate with the fewest requests on a board that all callers read.
    struct LeastLoadedOf in "a balancer" {
        /// The candidates and the board.
        required least_loaded: LeastLoaded;
    }
}
section! {
    /// The instance at the place of the request's key in a table.
    struct MaglevOf in "a balancer" {
        /// The table.
        required maglev: MaglevTable;
    }
}
section! {
    /// The candidate with the fewest of this caller's requests in flight.
    struct LeastOf in "a balancer" {
        /// The candidates.
        required least_request: LeastRequest;
    }
}
section! {
    /// The one of two distinct random instances with the lower `estimate * (pending + 1)`.
    struct Ewma in "a balancer" {
        /// Its figures.
        required p2c_peak_ewma: PeakEwma;
    }
}

/// The balancers by name.
const WORDS: [&str; 8] =
    ["random", "round_robin", "least_request", "p2c_peak_ewma", "ring_hash", "maglev", "least_loaded", "connection"];

impl Field for Balancer {
    const NAME: &'static str = "Balancer";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let by_connection = |it: ByConnection| Balancer::Connection { idle: it.idle, max_idle: it.max_idle.0 as u32 };
        let ewma = |PeakEwma { decay, start }| Balancer::PeakEwma { decay, start };
        if let Value::Map(_) = node.value {
            return match BalancerInFull::decode(node, reporter)? {
                BalancerInFull::LeastOf(it) => {
                    it.least_request.choices(reporter).map(|choices| Balancer::LeastRequest { choices })
                }
                BalancerInFull::Ewma(it) => Some(ewma(it.p2c_peak_ewma)),
                BalancerInFull::RingOf(it) => it.ring_hash.balancer(reporter),
                BalancerInFull::MaglevOf(it) => it.maglev.balancer(reporter),
                BalancerInFull::LeastLoadedOf(it) => it.least_loaded.balancer(reporter),
                BalancerInFull::ConnectionOf(it) => Some(by_connection(it.connection)),
            };
        }
        let defaults = Node::scalar("", node.place);
        match text(node, "a balancer", reporter)? {
            "random" => Some(Balancer::Random),
            "round_robin" => Some(Balancer::RoundRobin),
            "least_request" => Some(Balancer::default()),
            "p2c_peak_ewma" => PeakEwma::decode(&defaults, reporter).map(ewma),
            "ring_hash" => RingHash::decode(&defaults, reporter)?.balancer(reporter),
            "maglev" => MaglevTable::decode(&defaults, reporter)?.balancer(reporter),
            "least_loaded" => LeastLoaded::decode(&defaults, reporter)?.balancer(reporter),
            "connection" => ByConnection::decode(&defaults, reporter).map(by_connection),
            other => {
                reporter
                    .report(node.place, format!("unknown balancer `{}`", shortened(other)))
                    .label(nearest(other, WORDS).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("write {}", one_of(WORDS)));
                None
            }
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = schema_of::<BalancerInFull>(generator);
        json_schema!({
            "description": "How callers choose among the instances of a service.",
            "anyOf": [{ "enum": WORDS }, full]
        })
    }
}
