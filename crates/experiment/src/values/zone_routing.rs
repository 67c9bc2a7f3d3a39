//! Preference for instances in the caller's zone: a word, or in full.

use meshsim_mesh::model::ZoneRouting;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Whole, text};
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::schema::INSTANCES_MAX;
use crate::section::{Field, by_key, schema_of, section};
use crate::tree::{Node, Value};

section! {
    /// Envoy's zone aware routing.
    struct Aware in "aware" {
        /// Ready instances below which zones do not matter (Envoy's `min_cluster_size`).
        or min_instances: Whole<0, INSTANCES_MAX> = "6";
    }
}
section! {
    /// As many calls stay in the zone as load all instances alike.
    struct AwareOf in "zone routing" {
        /// Its figures.
        required aware: Aware;
    }
}
by_key! {
    /// Zone routing with its figures.
    enum InFull in "zone routing" {
        "aware" => AwareOf,
    }
}

/// The kinds by name.
const WORDS: [&str; 2] = ["aware", "failover"];

impl Field for ZoneRouting {
    const NAME: &'static str = "ZoneRouting";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let aware = |it: Aware| ZoneRouting::Aware { min_instances: it.min_instances.0 as u32 };
        if let Value::Map(_) = node.value {
            let InFull::AwareOf(it) = InFull::decode(node, reporter)?;
            return Some(aware(it.aware));
        }
        match text(node, "zone routing", reporter)? {
            "aware" => Aware::decode(&Node::scalar("", node.place), reporter).map(aware),
            "failover" => Some(ZoneRouting::Failover),
            other => {
                reporter
                    .report(node.place, format!("unknown zone routing `{}`", shortened(other)))
                    .label(nearest(other, WORDS).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("write {}; without it zones do not matter", one_of(WORDS)));
                None
            }
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = schema_of::<InFull>(generator);
        json_schema!({
            "description": "Preference of callers for instances in their own zone.",
            "anyOf": [{ "enum": WORDS }, full]
        })
    }
}
