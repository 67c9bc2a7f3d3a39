//! The time after which an attempt is hedged.

use meshsim_mesh::policy::hedge::HedgeAfter;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{figure, read};
use crate::problem::Reporter;
use crate::section::Field;
use crate::tree::Node;
use crate::units::{self, UnitError};

figure!(HedgeAfter, "HedgeAfter", "a duration or a percentile", |text| match text.strip_prefix('p') {
    Some(percentile) => match percentile.parse::<f64>() {
        Ok(percentile) if percentile > 0.0 && percentile < 100.0 => Ok(HedgeAfter::Quantile(percentile / 100.0)),
        _ => Err(UnitError {
            message: format!("invalid percentile `{}`", crate::problem::shortened(text)),
            help: "write one between p0 and p100, as in `p95`".to_owned(),
        }),
    },
    None => units::duration(text)
        .map(HedgeAfter::Delay)
        .map_err(|error| UnitError { help: format!("{}; or a percentile of the latest latencies, as in `p95`", error.help), ..error }),
}, {
    "description": "A duration, or a percentile of the latest latencies of the caller.",
    "type": ["string", "integer"], "examples": ["20ms", "p95"]
});
