//! Balancers: a word, or in full.

use meshsim_actor::Span;
use meshsim_mesh::model::{Balancer, CHOICES_MAX, Choices};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::text;
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

by_key! {
    /// A balancer with its figures.
    enum BalancerInFull in "a balancer" {
        "least_request" => LeastOf,
        "p2c_peak_ewma" => Ewma,
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

impl Field for Balancer {
    const NAME: &'static str = "Balancer";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        const WORDS: [&str; 4] = ["random", "round_robin", "least_request", "p2c_peak_ewma"];
        let ewma = |PeakEwma { decay, start }| Balancer::PeakEwma { decay, start };
        if let Value::Map(_) = node.value {
            return match BalancerInFull::decode(node, reporter)? {
                BalancerInFull::LeastOf(it) => {
                    it.least_request.choices(reporter).map(|choices| Balancer::LeastRequest { choices })
                }
                BalancerInFull::Ewma(it) => Some(ewma(it.p2c_peak_ewma)),
            };
        }
        match text(node, "a balancer", reporter)? {
            "random" => Some(Balancer::Random),
            "round_robin" => Some(Balancer::RoundRobin),
            "least_request" => Some(Balancer::default()),
            "p2c_peak_ewma" => PeakEwma::decode(&Node::scalar("", node.place), reporter).map(ewma),
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
            "anyOf": [{ "enum": ["random", "round_robin", "least_request", "p2c_peak_ewma"] }, full]
        })
    }
}
