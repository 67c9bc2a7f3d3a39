//! Values of the file: one type for each kind.

use std::sync::Arc;

use meshsim_actor::{Dist, Span, Time};
use meshsim_mesh::model::{
    Amount, Backoff, Balancer, CHOICES_MAX, Choices, Feedback, Placement, Process, ProxyPer, Rounding,
};
use meshsim_mesh::operation::TO_MAX;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::section::{At, Field, OneOrMore, by_key, section};
use crate::tree::{Node, Value};
use crate::units::{self, UnitError};

/// Maximum number of characters of a name.
pub const NAME_CHARS_MAX: usize = 100;

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

/// A name that others can refer to: letters, digits, `-` and `_`.
#[derive(Clone, Debug)]
pub(crate) struct Name(pub(crate) String);

impl Field for Name {
    const NAME: &'static str = "Name";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let name = text(node, "a name", reporter)?;
        match name_error(name) {
            None => Some(Name(name.to_owned())),
            Some(help) => {
                reporter.report(node.place, format!("invalid name `{}`", shortened(name))).help(help);
                None
            }
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A name: letters, digits, `-` and `_`.",
            "type": "string", "pattern": "^[\\p{L}\\p{N}_-]+$", "maxLength": NAME_CHARS_MAX
        })
    }
}

/// Reason why a name is invalid, if it is.
pub(crate) fn name_error(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.chars().any(|c| !(c.is_alphanumeric() || c == '-' || c == '_')) {
        Some("a name has letters, digits, `-` and `_`, and nothing else")
    } else if name.chars().count() > NAME_CHARS_MAX {
        Some("a name has at most 100 characters")
    } else {
        None
    }
}

/// A [`Field`] that is one of several words.
macro_rules! words {
    ($ty:ty, $name:literal, $what:literal, $doc:literal, { $($word:literal => $value:expr),* $(,)? }) => {
        impl Field for $ty {
            const NAME: &'static str = $name;
            fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
                match text(node, $what, reporter)? {
                    $($word => Some($value),)*
                    other => {
                        let words = [$($word),*];
                        reporter
                            .report(node.place, format!("unknown {} `{}`", &$what[2..], shortened(other)))
                            .label(nearest(other, words).map(|near| format!("did you mean `{near}`?")))
                            .help(format!("write {}", one_of(words)));
                        None
                    }
                }
            }
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $doc, "enum": [$($word),*] })
            }
        }
    };
}

words!(Placement, "Placement", "a placement", "Placement of instances on nodes: evenly by cores, or on as few nodes as possible.", {
    "spread" => Placement::Spread, "bin_pack" => Placement::BinPack,
});
words!(ProxyPer, "ProxyPer", "a proxy owner", "Owner of a proxy: each instance (a sidecar), or each node (an ambient mesh).", {
    "instance" => ProxyPer::Instance, "node" => ProxyPer::Node,
});
words!(Rounding, "Rounding", "a rounding", "Rounding of a real number of instances to a whole one.", {
    "away" => Rounding::Away, "nearest" => Rounding::Nearest, "floor" => Rounding::Floor, "carry" => Rounding::Carry,
    "stochastic" => Rounding::Stochastic,
});
words!(Feedback, "Feedback", "a feedback", "Value of S from which an extend starts: as decided, or as the nodes last reported.", {
    "commanded" => Feedback::Commanded, "observed" => Feedback::Observed,
});
words!(Backoff, "Backoff", "a backoff", "Wait of a caller before a retry: random, in a window that doubles (Envoy's), or the same each time.", {
    "jittered" => Backoff::Jittered, "fixed" => Backoff::Fixed,
});
words!(Process, "Process", "a process", "Spacing of the requests at a given rate: even, or random.", {
    "constant" => Process::Constant, "poisson" => Process::Poisson,
});

/// The strategies of an update by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrategyName {
    Batch,
    Bernoulli,
    Rolling,
    Canary,
}
words!(StrategyName, "Strategy", "a strategy", "How the new version comes: a step moves that share of the old instances (batch), or each with that probability (bernoulli), or as many as a Kubernetes Deployment does (rolling); or new instances come beside the old ones and get a share of the requests (canary).", {
    "batch" => StrategyName::Batch, "bernoulli" => StrategyName::Bernoulli, "rolling" => StrategyName::Rolling,
    "canary" => StrategyName::Canary,
});

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
        match text(node, "a share", reporter)? {
            "none" => Some(Budget(None)),
            _ => Fraction::decode(node, reporter).map(|share| Budget(Some(share.0))),
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A percentage, or `none`: no limit.", "anyOf": [{ "type": "string" }, { "const": 0 }], "examples": ["20%", "none"]
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

section! {
    /// Linkerd's balancer: the one of two instances with the lower peak-sensitive average of latency, times its load.
    struct PeakEwma in "p2c_peak_ewma" {
        /// Time constant with which a slow sample is forgotten.
        or decay: Span = "10s";
        /// Estimate of an instance without a sample.
        or start: Span = "30ms";
    }
}

/// A number, or `all`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HowMany(Option<u32>);

impl Field for HowMany {
    const NAME: &'static str = "HowMany";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if text(node, "a number of choices", reporter)? == "all" {
            return Some(HowMany(None));
        }
        match units::whole(text(node, "a number of choices", reporter)?, 1, u64::from(CHOICES_MAX)) {
            Ok(count) => Some(HowMany(Some(count as u32))),
            Err(error) => {
                let message = format!("invalid number of choices `{}`", shortened(text(node, "", reporter)?));
                reporter.report(node.place, message).help(format!("{}; or `all`", error.help));
                None
            }
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many instances are drawn, or `all`.",
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": CHOICES_MAX }, { "const": "all" }]
        })
    }
}

section! {
    /// The least busy one of some random instances, or of all.
    struct LeastRequest in "least_request" {
        /// Number of candidates that are drawn; or `all`, with a random choice among equals.
        or choices: HowMany = "2";
        /// Each is drawn at most once; without it, perhaps twice (as in Envoy).
        optional distinct: At<bool>;
    }
}

impl LeastRequest {
    fn choices(&self, reporter: &mut Reporter) -> Option<Choices> {
        match (self.choices.0, self.distinct) {
            (None, None) => Some(Choices::All),
            (None, Some(distinct)) => {
                reporter
                    .report(distinct.place, "`distinct` is not allowed with `choices: all`")
                    .help("leave it out, or draw some: `{ choices: 2, distinct: true }`");
                None
            }
            (Some(count), Some(At { value: true, .. })) => Some(Choices::Distinct(count)),
            (Some(count), _) => Some(Choices::Replaced(count)),
        }
    }
}

by_key! {
    /// A balancer with its figures.
    enum BalancerInFull in "a balancer" {
        "least_request" => LeastOf,
        "p2c_peak_ewma" => Ewma,
    }
}
section! {
    /// The candidate with the fewest of this caller's requests in flight.
    struct LeastOf in "a balancer" {
        /// The candidates.
        required least_request: LeastRequest;
    }
}
section! {
    /// The one of two distinct random instances with the lower `estimate * (pending + 1)`.
    struct Ewma in "a balancer" {
        /// Its figures.
        required p2c_peak_ewma: PeakEwma;
    }
}

impl Field for Balancer {
    const NAME: &'static str = "Balancer";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        const WORDS: [&str; 4] = ["random", "round_robin", "least_request", "p2c_peak_ewma"];
        let ewma = |PeakEwma { decay, start }| Balancer::PeakEwma { decay, start };
        if let Value::Map(_) = node.value {
            return match BalancerInFull::decode(node, reporter)? {
                BalancerInFull::LeastOf(it) => {
                    it.least_request.choices(reporter).map(|choices| Balancer::LeastRequest { choices })
                }
                BalancerInFull::Ewma(it) => Some(ewma(it.p2c_peak_ewma)),
            };
        }
        match text(node, "a balancer", reporter)? {
            "random" => Some(Balancer::Random),
            "round_robin" => Some(Balancer::RoundRobin),
            "least_request" => Some(Balancer::default()),
            "p2c_peak_ewma" => PeakEwma::decode(&Node::scalar("", node.place), reporter).map(ewma),
            other => {
                reporter
                    .report(node.place, format!("unknown balancer `{}`", shortened(other)))
                    .label(nearest(other, WORDS).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("write {}", one_of(WORDS)));
                None
            }
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = crate::section::schema_of::<BalancerInFull>(generator);
        json_schema!({
            "description": "How callers choose among the instances of a service.",
            "anyOf": [{ "enum": ["random", "round_robin", "least_request", "p2c_peak_ewma"] }, full]
        })
    }
}

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
        let full = crate::section::schema_of::<DistInFull>(generator);
        json_schema!({
            "description": "A length of time that may vary: constant (`5ms`), normal (`5ms +/- 2ms`), or in full.",
            "anyOf": [{ "type": ["string", "integer"], "examples": ["5ms", "5ms +/- 2ms"] }, full]
        })
    }
}

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
        let some = crate::section::schema_of::<SomeNodes>(generator);
        json_schema!({
            "description": "A node, a group of nodes, a load, `coordinator`, `zone x`, `all`, or some nodes by lot.",
            "anyOf": [{ "type": "string", "examples": ["node-3", "zone a"] }, some]
        })
    }
}

/// One or several fault targets.
pub(crate) type FaultTargets = OneOrMore<crate::section::At<FaultTarget>>;

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
