//! Sizes of requests that vary.

use std::sync::Arc;

use meshsim_actor::{Dist, Span};
use meshsim_mesh::model::Sizes;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{ByteSize, Real};
use crate::problem::Reporter;
use crate::section::{Field, by_key, schema_of, section};
use crate::tree::{Node, Value};

section! {
    /// Exponential.
    struct ExponentialSize in "an exponential distribution of sizes" {
        /// The mean.
        required exponential: ByteSize;
    }
}
section! {
    /// Log-normal.
    struct LogNormalSize in "a log-normal distribution of sizes" {
        /// The median.
        required log_normal: ByteSize;
        /// Standard deviation of the natural logarithm.
        required sigma: Real<20, true>;
    }
}
section! {
    /// Pareto (type I).
    struct ParetoSize in "a Pareto distribution of sizes" {
        /// The least size.
        required pareto: ByteSize;
        /// Exponent of the tail: the mean is finite above 1, the variance above 2.
        required shape: Real<1000>;
    }
}
section! {
    /// One of the listed sizes, each equally likely.
    struct TableOfSizes in "a table of sizes" {
        /// The sizes.
        required table: Vec<ByteSize>;
    }
}

by_key! {
    /// A distribution of sizes.
    enum SizesInFull in "a distribution of sizes" {
        "exponential" => ExponentialSize,
        "log_normal" => LogNormalSize,
        "pareto" => ParetoSize,
        "table" => TableOfSizes,
    }
}

/// The size of a request: always the same, or drawn.
#[derive(Clone, Debug)]
pub(crate) enum RequestSize {
    Constant(u32),
    Drawn(Sizes),
}

impl RequestSize {
    /// The sizes, if they vary.
    pub(crate) fn drawn(&self) -> Option<&Sizes> {
        if let RequestSize::Drawn(sizes) = self { Some(sizes) } else { None }
    }

    /// The size, or the mean of those that vary.
    pub(crate) fn mean(&self) -> u32 {
        match self {
            RequestSize::Constant(bytes) => *bytes,
            RequestSize::Drawn(sizes) => sizes.mean() as u32,
        }
    }
}

/// The size of a call's request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallSize {
    /// That of the request for which the call is made.
    Same,
    Bytes(u32),
}

impl Field for CallSize {
    const NAME: &'static str = "CallSize";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, .. } if text == "same" => Some(CallSize::Same),
            _ => ByteSize::decode(node, reporter).map(|size| CallSize::Bytes(size.0)),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let size = schema_of::<ByteSize>(generator);
        let description = "A size; or `same`: that of the request for which the call is made.";
        json_schema!({ "description": description, "anyOf": [{ "const": "same" }, size] })
    }
}

impl Field for RequestSize {
    const NAME: &'static str = "RequestSize";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Scalar { .. } = &node.value {
            return ByteSize::decode(node, reporter).map(|size| RequestSize::Constant(size.0));
        }
        let in_full = SizesInFull::decode(node, reporter)?;
        if !reporter.is_clean_in(node.place) {
            return None;
        }
        let of = |size: ByteSize| Span::from_nanos(size.0.into());
        let dist = match in_full {
            SizesInFull::ExponentialSize(it) => Dist::Exponential { at_least: Span::ZERO, mean: of(it.exponential) },
            SizesInFull::LogNormalSize(it) => Dist::LogNormal { median: of(it.log_normal), sigma: it.sigma.0 },
            SizesInFull::ParetoSize(it) => Dist::Pareto { scale: of(it.pareto), shape: it.shape.0 },
            SizesInFull::TableOfSizes(it) => Dist::Table(it.table.into_iter().map(of).collect::<Arc<[Span]>>()),
        };
        if let Err(error) = dist.validate() {
            reporter
                .report(node.place, format!("invalid distribution of sizes: {error}"))
                .help("write it as in `{ log_normal: 8 KiB, sigma: 1 }`");
            return None;
        }
        Some(RequestSize::Drawn(Sizes::new(dist)))
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (constant, full) = (schema_of::<ByteSize>(generator), schema_of::<SizesInFull>(generator));
        json_schema!({ "description": "A size, or a distribution of sizes.", "anyOf": [constant, full] })
    }
}
