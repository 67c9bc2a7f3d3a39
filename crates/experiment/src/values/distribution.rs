//! Distributions of lengths of time.

use std::sync::Arc;

use meshsim_actor::{Dist, Span};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Real, Whole, read};
use crate::problem::{Reporter, shortened};
use crate::section::{Field, by_key, schema_of, section};
use crate::tree::{Node, Value};
use crate::units::{self, UnitError};

section! {
    /// Exponential, after a constant part.
    struct Exponential in "an exponential distribution" {
        /// Mean of the part above `at_least`.
        required exponential: Span;
        /// Added to every draw.
        or at_least: Span = "0s";
    }
}
section! {
    /// Evenly between two bounds.
    struct Uniform in "a uniform distribution" {
        /// The least and the most: `[1ms, 3ms]`.
        required uniform: Vec<Span>;
    }
}
section! {
    /// Log-normal.
    struct LogNormal in "a log-normal distribution" {
        /// The median.
        required log_normal: Span;
        /// Standard deviation of the natural logarithm.
        required sigma: Real<20, true>;
    }
}
section! {
    /// Pareto (type I).
    struct Pareto in "a Pareto distribution" {
        /// The least value.
        required pareto: Span;
        /// Exponent of the tail: the mean is finite above 1, the variance above 2.
        required shape: Real<1000>;
    }
}
section! {
    /// Erlang: the sum of `k` exponentials.
    struct Erlang in "an Erlang distribution" {
        /// Mean of the sum.
        required erlang: Span;
        /// Number of exponentials that are added; more make it steadier.
        required k: Whole<1, 1000>;
    }
}
section! {
    /// One part of a hyper-exponential distribution.
    struct HyperPart in "a part of a mixture" {
        /// Frequency relative to the others.
        or weight: Real<1_000_000_000> = "1";
        /// Mean of this exponential.
        required mean: Span;
    }
}
section! {
    /// Hyper-exponential: one of several exponentials, by weight.
    struct Hyper in "a hyper-exponential distribution" {
        /// The parts: `[{ weight: 9, mean: 1ms }, { weight: 1, mean: 40ms }]`.
        required hyper: Vec<HyperPart>;
    }
}
section! {
    /// One of the listed values, each equally likely.
    struct Table in "a table of values" {
        /// The values.
        required table: Vec<Span>;
    }
}

by_key! {
    /// A distribution that needs more than one figure.
    enum DistInFull in "a distribution" {
        "exponential" => Exponential,
        "uniform" => Uniform,
        "log_normal" => LogNormal,
        "pareto" => Pareto,
        "erlang" => Erlang,
        "hyper" => Hyper,
        "table" => Table,
    }
}

impl DistInFull {
    /// One that is right.
    fn example(&self) -> &'static str {
        match self {
            DistInFull::Exponential(_) => "{ exponential: 5ms }",
            DistInFull::Uniform(_) => "{ uniform: [1ms, 3ms] }",
            DistInFull::LogNormal(_) => "{ log_normal: 5ms, sigma: 0.5 }",
            DistInFull::Pareto(_) => "{ pareto: 1ms, shape: 2.5 }",
            DistInFull::Erlang(_) => "{ erlang: 5ms, k: 4 }",
            DistInFull::Hyper(_) => "{ hyper: [{ weight: 9, mean: 1ms }, { weight: 1, mean: 40ms }] }",
            DistInFull::Table(_) => "{ table: [1ms, 2ms] }",
        }
    }
}

impl Field for Dist {
    const NAME: &'static str = "Distribution";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Scalar { text, .. } = &node.value {
            let parts = text.split_once("+/-").or_else(|| text.split_once('±'));
            return match parts {
                None => {
                    let constant = |text: &str| {
                        units::duration(text).map_err(|error| match text.contains(['+', '~', '(']) {
                            true => UnitError {
                                message: format!("invalid distribution `{}`", shortened(text)),
                                help: "write `5ms`, `5ms +/- 2ms`, or one in full, as in `{ exponential: 5ms }`"
                                    .to_owned(),
                            },
                            false => error,
                        })
                    };
                    read(node, "a distribution", constant, reporter).map(Dist::Constant)
                }
                Some((mean, sd)) => {
                    let mean = read(node, "", |_| units::duration(mean), reporter);
                    let sd = read(node, "", |_| units::duration(sd), reporter);
                    Some(Dist::Normal { mean: mean?, sd: sd? })
                }
            };
        }
        let in_full = DistInFull::decode(node, reporter)?;
        // A list with invalid items gets no further message.
        if !reporter.is_clean_in(node.place) {
            return None;
        }
        let example = in_full.example();
        let dist = match in_full {
            DistInFull::Exponential(it) => Dist::Exponential { at_least: it.at_least, mean: it.exponential },
            DistInFull::Uniform(it) => match it.uniform[..] {
                [low, high] => Dist::Uniform { low, high },
                _ => {
                    reporter
                        .report(node.place, "a uniform distribution has two bounds")
                        .help("write `{ uniform: [1ms, 3ms] }`");
                    return None;
                }
            },
            DistInFull::LogNormal(it) => Dist::LogNormal { median: it.log_normal, sigma: it.sigma.0 },
            DistInFull::Pareto(it) => Dist::Pareto { scale: it.pareto, shape: it.shape.0 },
            DistInFull::Erlang(it) => Dist::Erlang { mean: it.erlang, k: it.k.0 as u32 },
            DistInFull::Hyper(it) => Dist::Hyper(it.hyper.iter().map(|part| (part.weight.0, part.mean)).collect()),
            DistInFull::Table(it) => Dist::Table(Arc::from(it.table)),
        };
        match dist.validate() {
            Ok(()) => Some(dist),
            Err(error) => {
                reporter
                    .report(node.place, format!("invalid distribution: {error}"))
                    .help(format!("write it as in `{example}`"));
                None
            }
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = schema_of::<DistInFull>(generator);
        json_schema!({
            "description": "A length of time that may vary: constant (`5ms`), normal (`5ms +/- 2ms`), or in full.",
            "anyOf": [{ "type": ["string", "integer"], "examples": ["5ms", "5ms +/- 2ms"] }, full]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dist(text: &str) -> Result<Dist, String> {
        let mut reporter = Reporter::default();
        let source = reporter.add_source("t", text);
        let node = crate::tree::read(text, source, 0, "", &mut reporter);
        let dist = node.and_then(|node| Dist::decode(&node, &mut reporter));
        match reporter.finish() {
            Ok(()) => Ok(dist.unwrap()),
            Err(problems) => Err(problems.iter().map(|p| p.message.clone()).collect::<Vec<_>>().join("; ")),
        }
    }

    #[test]
    fn every_distribution_can_be_written() {
        let ms = Span::from_millis;
        assert_eq!(dist("5ms"), Ok(Dist::Constant(ms(5))));
        assert_eq!(dist("5ms +/- 2ms"), Ok(Dist::Normal { mean: ms(5), sd: ms(2) }));
        assert_eq!(dist("5ms ± 2ms"), dist("5ms+/-2ms"));
        assert_eq!(dist("{exponential: 5ms}"), Ok(Dist::Exponential { at_least: Span::ZERO, mean: ms(5) }));
        assert_eq!(dist("{uniform: [1ms, 3ms]}"), Ok(Dist::Uniform { low: ms(1), high: ms(3) }));
        assert_eq!(dist("{log_normal: 5ms, sigma: 0.5}"), Ok(Dist::LogNormal { median: ms(5), sigma: 0.5 }));
        assert_eq!(dist("{pareto: 1ms, shape: 2.5}"), Ok(Dist::Pareto { scale: ms(1), shape: 2.5 }));
        assert_eq!(dist("{erlang: 5ms, k: 4}"), Ok(Dist::Erlang { k: 4, mean: ms(5) }));
        assert_eq!(dist("{hyper: [{weight: 9, mean: 1ms}]}"), Ok(Dist::Hyper(Arc::new([(9.0, ms(1))]))));
        assert_eq!(dist("{table: [1ms, 2ms]}"), Ok(Dist::Table(Arc::new([ms(1), ms(2)]))));
    }

    #[test]
    fn what_is_no_distribution_says_why() {
        let why = |text| dist(text).unwrap_err();
        assert_eq!(why("{uniform: [3ms, 1ms]}"), "invalid distribution: the lower bound is above the upper one");
        assert_eq!(why("{uniform: [3ms]}"), "a uniform distribution has two bounds");
        assert_eq!(why("{log_normal: 5ms, sigma: .nan}"), "`.nan` is not finite");
        assert_eq!(why("{log_normal: 5ms, sigma: nan}"), "`nan` is not finite");
        assert_eq!(why("{pareto: 5ms, shape: 0}"), "`0` is too small");
        assert_eq!(why("{erlang: 5ms, k: 0}"), "`0` is too small");
        assert_eq!(why("{table: []}"), "invalid distribution: a table needs at least one value");
        assert_eq!(why("{gauss: 5ms}"), "unknown distribution `gauss`");
        assert_eq!(why("[5ms]"), "expected a distribution, found a list");
        assert_eq!(why("5ms +/- 2"), "`2` has no unit");
    }
}
