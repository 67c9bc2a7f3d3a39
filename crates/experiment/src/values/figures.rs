//! Figures with a unit, texts and truths.

use meshsim_actor::Span;
use meshsim_mesh::model::Amount;
use meshsim_mesh::operation::TO_MAX;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{figure, read};
use crate::problem::{Reporter, shortened};
use crate::section::Field;
use crate::tree::Node;
use crate::units::{self, UnitError};

figure!(Span, "Duration", "a duration", units::duration, {
    "description": "A length of time: a number with ns, us, ms, s, m, h or d; at most 36500d.",
    "type": ["string", "integer"], "examples": ["5ms", "0.25s", "1m30s"]
});

/// A number per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate(pub(crate) f64);
figure!(Rate, "Rate", "a rate", |text| units::rate(text).map(Rate), {
    "description": "A rate: a number with /s, /ms, /min or /h; at most 1000000000/s.",
    "type": "string", "examples": ["200/s", "30/min"]
});

/// A size in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteSize(pub(crate) u32);
figure!(ByteSize, "Size", "a size", |text| units::size(text).map(ByteSize), {
    "description": "A size: a number with B, kB, MB, KiB or MiB; at most 4 GiB.",
    "type": ["string", "integer"], "examples": ["512 B", "2 KiB"]
});

/// Bytes per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bandwidth(pub(crate) u64);
figure!(Bandwidth, "Bandwidth", "a bandwidth", |text| units::bandwidth(text).map(Bandwidth), {
    "description": "A size per second.", "type": "string", "examples": ["125 MiB/s", "1 Gbit/s"]
});

/// A number between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction(pub(crate) f64);
figure!(Fraction, "Share", "a share", |text| units::share(text).map(Fraction), {
    "description": "A share or a probability: a percentage. A number without % has two readings and is refused; 0 has one.",
    "anyOf": [{ "type": "string" }, { "const": 0 }], "examples": ["50%", "0.1%"]
});

figure!(Amount, "Amount", "a number of instances or a share", units::amount, {
    "description": "A whole number of instances, or a percentage of them.",
    "type": ["string", "integer"], "minimum": 0, "maximum": TO_MAX, "examples": [1, "25%"]
});

figure!(String, "", "a text", |text: &str| Ok(text.to_owned()), { "type": "string" });

figure!(bool, "", "true or false", |text: &str| match text {
    "true" | "yes" | "on" => Ok(true),
    "false" | "no" | "off" => Ok(false),
    other => Err(UnitError {
        message: format!("`{}` is neither true nor false", shortened(other)),
        help: "write `true` or `false`".to_owned(),
    }),
}, { "type": "boolean" });
