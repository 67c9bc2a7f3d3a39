//! Values of the file: one type for each kind, one file for each group of kinds.

mod balancer;
mod distribution;
mod fault_target;
mod figures;
mod hedge;
mod limit;
mod name;
mod numbers;
mod or_none;
mod rollout;
mod sizes;
mod words;
mod zone_routing;

use crate::problem::Reporter;
use crate::tree::{Node, Value};
use crate::units::UnitError;

pub(crate) use fault_target::{FaultTarget, FaultTargets};
pub(crate) use figures::{Bandwidth, ByteSize, Fraction, Rate};
pub use name::NAME_CHARS_MAX;
pub(crate) use name::{Name, name_error};
pub(crate) use numbers::{Real, Whole};
pub(crate) use or_none::{Budget, Factor, Joins, Limit, Timeout};
pub(crate) use rollout::{CanaryScale, Promotion, RolloutPause};
pub(crate) use sizes::{CallSize, RequestSize};
pub(crate) use words::{LimitedAt, StrategyName};

/// The text of a scalar; anything else is reported.
fn text<'a>(node: &'a Node, what: &str, reporter: &mut Reporter) -> Option<&'a str> {
    if let Value::Scalar { text, .. } = &node.value {
        return Some(text);
    }
    reporter.report(node.place, format!("expected {what}, found {}", node.described()));
    None
}

fn read<T>(
    node: &Node,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, UnitError>,
    reporter: &mut Reporter,
) -> Option<T> {
    match parse(text(node, what, reporter)?) {
        Ok(value) => Some(value),
        Err(UnitError { message, help }) => {
            reporter.report(node.place, message).help(help);
            None
        }
    }
}

/// A [`Field`] that is one scalar with a unit.
macro_rules! figure {
    ($ty:ty, $name:literal, $what:literal, $parse:expr, $schema:tt) => {
        impl Field for $ty {
            const NAME: &'static str = $name;
            fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
                read(node, $what, $parse, reporter)
            }
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

use figure;
