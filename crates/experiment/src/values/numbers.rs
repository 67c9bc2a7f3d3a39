//! Numbers without a unit, within bounds.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::read;
use crate::problem::Reporter;
use crate::section::Field;
use crate::tree::Node;
use crate::units;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Field for Whole<MIN, MAX> {
    const NAME: &'static str = "";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        read(node, "a whole number", |text| units::whole(text, MIN, MAX).map(Whole), reporter)
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A number above 0 (or from 0, where `ZERO`) up to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real<const MAX: u64, const ZERO: bool = false>(pub(crate) f64);

impl<const MAX: u64, const ZERO: bool> Field for Real<MAX, ZERO> {
    const NAME: &'static str = "";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let Real(value) = read(node, "a number", |text| units::number(text).map(Real::<MAX, ZERO>), reporter)?;
        if value > 0.0 && value <= MAX as f64 || ZERO && value == 0.0 {
            return Some(Real(value));
        }
        let wrong = if value > 0.0 { "large" } else { "small" };
        let least = if ZERO { "from 0" } else { "above 0" };
        reporter
            .report(node.place, format!("`{value}` is too {wrong}"))
            .help(format!("write a number {least}, up to {MAX}"));
        None
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        let least = if ZERO { "minimum" } else { "exclusiveMinimum" };
        json_schema!({ "type": "number", (least): 0, "maximum": MAX })
    }
}
