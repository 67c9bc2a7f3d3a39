//! Figures for which a word may stand: `none` or `never`.

use meshsim_actor::{Span, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Fraction, Real, figure, read, text};
use crate::problem::Reporter;
use crate::section::Field;
use crate::tree::Node;
use crate::units::{self, UnitError};

/// Decodes a word that stands for no value, or a value.
pub(super) fn or_word<T: Field>(node: &Node, what: &str, word: &str, reporter: &mut Reporter) -> Option<Option<T>> {
    if text(node, what, reporter)? == word { Some(None) } else { T::decode(node, reporter).map(Some) }
}

/// A duration, or `none`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeout(pub(crate) Option<Span>);

impl Field for Timeout {
    const NAME: &'static str = "Timeout";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match text(node, "a duration", reporter)? {
            "none" | "never" => Some(Timeout(None)),
            word @ ("nil" | "off" | "no" | "false" | "inf" | "infinite" | "infinity" | "unlimited" | "forever") => {
                reporter.report(node.place, format!("invalid duration `{word}`")).help("did you mean `none`?");
                None
            }
            _ => match Span::decode(node, reporter)? {
                span if span.is_zero() => {
                    reporter
                        .report(node.place, "a timeout of nothing fails everything")
                        .help("write a duration, as in `1s`, or `none` to wait indefinitely");
                    None
                }
                span => Some(Timeout(Some(span))),
            },
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A duration above 0, or `none`.", "type": "string", "examples": ["1s", "none"] })
    }
}

/// A share, or `none`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget(pub(crate) Option<f64>);

impl Field for Budget {
    const NAME: &'static str = "Budget";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        or_word::<Fraction>(node, "a share", "none", reporter).map(|it| Budget(it.map(|share| share.0)))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A percentage, or `none`: no limit.", "anyOf": [{ "type": "string" }, { "const": 0 }], "examples": ["20%", "none"]
        })
    }
}

/// A whole number from 1, or `none`: no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(pub(crate) Option<u32>);
figure!(Limit, "Limit", "a whole number, or `none`", |text| match text {
    "none" => Ok(Limit(None)),
    _ => units::whole(text, 1, 1_000_000)
        .map(|limit| Limit(Some(limit as u32)))
        .map_err(|error| UnitError { help: format!("{}; or `none`", error.help), ..error }),
}, {
    "description": "A whole number from 1 to 1000000, or `none`.", "type": ["string", "integer"], "examples": [1024, "none"]
});

/// A number above 0, or `none`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor(pub(crate) Option<f64>);

impl Field for Factor {
    const NAME: &'static str = "Factor";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        or_word::<Real<1_000>>(node, "a number", "none", reporter).map(|it| Factor(it.map(|factor| factor.0)))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number above 0, or `none`.", "type": ["string", "number"], "examples": [1.9, "none"]
        })
    }
}

/// A time of the run, or `never`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joins(pub(crate) Time);
figure!(Joins, "Joins", "a time", |text| match text {
    "never" => Ok(Joins(Time::NEVER)),
    _ => units::duration(text)
        .map(|after| Joins(Time::ZERO + after))
        .map_err(|error| UnitError { help: format!("{}; or `never`", error.help), ..error }),
}, {
    "description": "A time, as a duration from the start of the run, or `never`.",
    "type": ["string", "integer"], "examples": ["30s", "never"]
});
