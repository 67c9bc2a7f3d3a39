//! Targets of faults.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Fraction, Whole, text};
use crate::problem::Reporter;
use crate::section::{At, Field, OneOrMore, schema_of, section};
use crate::tree::{Node, Value};

section! {
    /// Some of the nodes, chosen at random.
    struct SomeNodes in "a choice of nodes" {
        /// Share of all nodes, rounded to whole ones, at least one.
        required nodes: Fraction;
        /// Seed of the choice: the same seed chooses the same nodes, whatever the seed of the run.
        or seed: Whole<0, { u64::MAX }> = "0";
    }
}

/// One fault target or one choice of targets.
#[derive(Clone, Debug)]
pub(crate) enum FaultTarget {
    Named(String),
    Some(SomeNodes),
}

impl Field for FaultTarget {
    const NAME: &'static str = "Place";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match &node.value {
            Value::Map(_) => SomeNodes::decode(node, reporter).map(FaultTarget::Some),
            _ => text(node, "a place", reporter).map(|name| FaultTarget::Named(name.trim().to_owned())),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let some = schema_of::<SomeNodes>(generator);
        json_schema!({
            "description": "A node, a group of nodes, a load, `coordinator`, `zone x`, `all`, or some nodes by lot.",
            "anyOf": [{ "type": "string", "examples": ["node-3", "zone a"] }, some]
        })
    }
}

/// One or several fault targets.
pub(crate) type FaultTargets = OneOrMore<At<FaultTarget>>;
