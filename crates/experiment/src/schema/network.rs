//! The network between the machines, and the control plane's use of it.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::model::Placement;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::problem::Reporter;
use crate::section::{At, Field, Named, schema_of, section};
use crate::tree::{Node, Value};
use crate::values::{Bandwidth, ByteSize, Fraction, Whole};

section! {
    /// The network between the machines.
    struct Network in "the network" {
        /// One-way latency of messages between nodes, unless `zones` gives another.
        or latency: Dist = "0.25ms";
        /// One-way latency of messages between instances of one node.
        or local: Dist = "20us";
        /// Share of the attempts of messages between nodes that are lost. The transport (TCP) retries after 200 ms or
        /// the round trip, whichever is longer, doubles this delay up to 120 s, and gives up after 15 retries.
        or loss: Fraction = "0%";
        /// Share of the messages between nodes that are never delivered.
        or drop: Fraction = "0%";
        /// One-way latencies between zones, row = from: a CSV file in ms, or a map of maps. A missing pair has the
        /// latency of the opposite direction.
        optional zones: At<Zones>;
        /// Standard deviation of the latencies between zones, as a share of each (normal).
        or jitter: At<Fraction> = "0%";
        /// Bandwidth of each link [default: no limit].
        optional bandwidth: Bandwidth;
        /// Bytes that may wait for a link with a `bandwidth`; a message beyond them is lost.
        optional queue: At<ByteSize>;
    }
}

/// Latencies between zones: in a file, or in place.
#[derive(Clone, Debug)]
pub(crate) enum Zones {
    File(String),
    Here(Named<Named<Dist>>),
}

impl Field for Zones {
    const NAME: &'static str = "Zones";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, .. } => Some(Zones::File(text.clone())),
            _ => Named::decode(node, reporter).map(Zones::Here),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let here = schema_of::<Named<Named<Dist>>>(generator);
        json_schema!({
            "description": "A CSV file (first row and first column: zones; one-way milliseconds), or the same as a map of maps of distributions.",
            "anyOf": [{ "type": "string", "examples": ["latencies.csv"] }, here]
        })
    }
}

section! {
    /// Settings of the control plane.
    struct Control in "the control" {
        /// Placement of instances on nodes.
        or placement: Placement = "spread";
        /// Time between two heartbeats of a node.
        or heartbeat: At<Span> = "1s";
        /// Number of missed heartbeats after which a node is declared dead.
        or missed: Whole<1, 1_000_000> = "3";
        /// Delay after which a step without acknowledgement is resent; it then doubles.
        or resend: At<Span> = "500ms";
        /// Maximum of this delay.
        or resend_cap: At<Span> = "5s";
        /// Time for which changes of the ready instances are collected before they are sent to callers (Istio: 100ms).
        or debounce: Span = "100ms";
        /// Time between two rounds in which an autoscaler, or the coordinator for a rollout, asks the nodes for
        /// measurements (metrics-server: 15s).
        or metrics: At<Span> = "15s";
    }
}
