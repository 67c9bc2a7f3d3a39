//! Limits on the requests at an instance: a number, a word, or in full.

use meshsim_actor::Span;
use meshsim_mesh::serving::gradient::Gradient;
use meshsim_mesh::serving::limit::Limit;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Fraction, Whole, text};
use crate::problem::{Reporter, shortened};
use crate::section::{At, Field, by_key, schema_of, section};
use crate::tree::{Node, Value};
use crate::units;

section! {
    /// Envoy's gradient controller: the limit follows the latency. The defaults are Envoy's.
    struct GradientOf in "`gradient`" {
        /// Share of the latencies that are at most the one that stands for them.
        or sample_aggregate_percentile: Fraction = "50%";
        /// The limit never exceeds this.
        or max_concurrency_limit: Whole<1, 1_000_000> = "1000";
        /// Time between two changes of the limit; at least 1 ms.
        or concurrency_update_interval: At<Span> = "100ms";
        /// Time between two measurements of the latency of an idle instance; at least 1 ms.
        or min_rtt_interval: At<Span> = "60s";
        /// Requests of a measurement.
        or min_rtt_request_count: Whole<1, 1_000_000> = "50";
        /// The interval is longer by a random part of this share.
        or jitter: Fraction = "15%";
        /// Limit during a measurement, and at least.
        or min_concurrency: Whole<1, 1_000_000> = "3";
        /// Share by which latencies may exceed that of an idle instance.
        or buffer: Fraction = "25%";
    }
}
section! {
    /// A limit that follows the latency.
    struct Adaptive in "`limit`" {
        /// The controller.
        required gradient: GradientOf;
    }
}
by_key! {
    /// A limit with its figures.
    enum LimitInFull in "`limit`" {
        "gradient" => Adaptive,
    }
}

/// Shortest interval of the controller.
const SHORTEST: Span = Span::from_millis(1);

impl GradientOf {
    fn limit(&self, reporter: &mut Reporter) -> Option<Limit> {
        let (update, min_rtt_interval) = (self.concurrency_update_interval, self.min_rtt_interval);
        if let Some(short) = [update, min_rtt_interval].into_iter().find(|it| it.value < SHORTEST) {
            reporter
                .report(short.place, format!("an interval of {} is too short", short.value))
                .help(format!("at least {SHORTEST}"));
            return None;
        }
        Some(Limit::Gradient(Gradient {
            quantile: self.sample_aggregate_percentile.0,
            max_limit: self.max_concurrency_limit.0 as u32,
            update: update.value,
            min_rtt_interval: min_rtt_interval.value,
            min_rtt_requests: self.min_rtt_request_count.0 as u32,
            jitter: self.jitter.0,
            min_limit: self.min_concurrency.0 as u32,
            buffer: self.buffer.0,
        }))
    }
}

impl Field for Limit {
    const NAME: &'static str = "InstanceLimit";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            let LimitInFull::Adaptive(it) = LimitInFull::decode(node, reporter)?;
            return it.gradient.limit(reporter);
        }
        let word = text(node, "a limit", reporter)?;
        if word == "gradient" {
            return GradientOf::decode(&Node::scalar("", node.place), reporter)?.limit(reporter);
        }
        match units::whole(word, 1, 1_000_000) {
            Ok(limit) => Some(Limit::Fixed(limit as u32)),
            Err(error) => {
                reporter
                    .report(node.place, format!("invalid limit `{}`", shortened(word)))
                    .help(format!("{}; or `gradient`", error.help));
                None
            }
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = schema_of::<LimitInFull>(generator);
        json_schema!({
            "description": "Requests at an instance at once: a number, or a limit that follows the latency.",
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 1_000_000 }, { "const": "gradient" }, full]
        })
    }
}
