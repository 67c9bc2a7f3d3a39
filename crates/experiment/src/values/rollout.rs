//! Values of rollouts.

use meshsim_actor::Span;
use meshsim_mesh::model::Amount;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::or_none::or_word;
use crate::problem::Reporter;
use crate::section::Field;
use crate::tree::{Node, Value};

/// Length of a pause; `None`: until the rollout is resumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RolloutPause(pub(crate) Option<Span>);

impl Field for RolloutPause {
    const NAME: &'static str = "RolloutPause";
    const MAY_BE_EMPTY: bool = true;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match &node.value {
            Value::Map(entries) if entries.is_empty() => Some(RolloutPause(None)),
            Value::Map(_) | Value::List(_) => {
                let found = node.described();
                reporter
                    .report(node.place, format!("expected a duration, found {found}"))
                    .help("write `pause: 30s`, or `pause: {}`: until the rollout is resumed");
                None
            }
            _ if node.is_null() => Some(RolloutPause(None)),
            _ => Span::decode(node, reporter).map(|span| RolloutPause(Some(span))),
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration; or `{}`: until the rollout is resumed.",
            "type": ["string", "integer", "object", "null"], "additionalProperties": false, "examples": ["30s", {}]
        })
    }
}

/// Time until a switch; `None`: it waits until the rollout is resumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promotion(pub(crate) Option<Span>);

impl Field for Promotion {
    const NAME: &'static str = "Promotion";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        or_word(node, "a duration, or `never`", "never", reporter).map(Promotion)
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration, or `never`.", "type": ["string", "integer"], "examples": ["30s", "never"]
        })
    }
}

/// Instances of a canary; `None`: as many as its weight asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CanaryScale(pub(crate) Option<Amount>);

impl Field for CanaryScale {
    const NAME: &'static str = "CanaryScale";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let what = "a number of instances, a share, or `match_traffic_weight`";
        or_word(node, what, "match_traffic_weight", reporter).map(CanaryScale)
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number of instances, a percentage of N, or `match_traffic_weight`.",
            "type": ["string", "integer"], "examples": [2, "50%", "match_traffic_weight"]
        })
    }
}
