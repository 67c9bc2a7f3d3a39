//! Scripts: the steps that process a request, and the calls among them.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::model::Backoff;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Hedge, WindowBudget};
use crate::problem::Reporter;
use crate::section::{At, Field, OneOrMore, by_key, schema_of, section};
use crate::tree::{Key, Node, Value};
use crate::values::{Budget, CallSize, Fraction, Real, Timeout, Whole};

by_key! {
    /// One step of a script.
    enum Step in "a step" {
        "work" => Work,
        "sleep" => Sleep,
        "call" => CallStep,
        "parallel" => Parallel,
        "one_of" => OneOf,
        "repeat" => Repeat,
        "async" => Async,
        "cache" => CacheStep,
        "queue" => QueueStep,
    }
}

section! {
    /// Computes.
    struct Work in "a step of work" {
        /// Processor time; a slow node takes longer.
        required work: Dist;
        /// Further processor time for each KiB of the request [default: none].
        optional per_kib: Span;
    }
}
section! {
    /// Waits.
    struct Sleep in "a step of sleep" {
        /// Duration, on any node.
        required sleep: Dist;
    }
}
section! {
    /// Calls another service and waits for the reply.
    struct CallStep in "a step with a call" {
        /// Callee: `service` or `service.endpoint`; or the call in full.
        required call: Call;
    }
}
section! {
    /// Runs branches concurrently and waits for all of them.
    struct Parallel in "a parallel step" {
        /// The branches: each is a step, or a list of steps that run one after the other.
        required parallel: Vec<Branch>;
    }
}

section! {
    /// Runs exactly one of several scripts.
    struct OneOf in "a `one_of` step" {
        /// The choices.
        required one_of: At<Vec<Choice>>;
    }
}
section! {
    /// A script that is one of several.
    struct Choice in "a choice" {
        /// Its share, relative to the other choices.
        or weight: Real<1_000_000_000, true> = "1";
        /// A step, or a list of steps that run one after the other [default: nothing].
        optional run: Branch;
    }
}
section! {
    /// Runs a script several times, one after the other.
    struct Repeat in "a `repeat` step" {
        /// Number of times; or `{ from: 1, to: 5 }`, each equally likely; or `{ weights: [70, 20, 10] }`, of once,
        /// twice, and so on.
        required repeat: At<Times>;
        /// A step, or a list of steps that run one after the other.
        required run: Branch;
    }
}

section! {
    /// Runs a block beside the script, which does not wait for it. The block outlives the request, without its slot and
    /// its deadline; a failure ends it, is counted, and has no other effect.
    struct Async in "an `async` step" {
        /// A step, or a list of steps that run one after the other.
        required block as "async": Branch;
    }
}

section! {
    /// Runs a script unless the key of the request is in a cache. Each instance has its own cache, empty at first; the
    /// script fills it when it succeeds.
    struct CacheStep in "a `cache` step" {
        /// The cache.
        required cache: CacheOf;
        /// The work of a miss: a step, or a list of steps that run one after the other.
        required run: Branch;
    }
}
section! {
    /// A cache of keys.
    struct CacheOf in "a cache" {
        /// Keys of requests: a request keeps its key on its whole way.
        required keys: CacheKeys;
        /// Keys that it holds; the one that was used longest ago makes room [default: all].
        optional size: Whole<1, 100_000_000>;
        /// Time after which a key is no longer known [default: no limit].
        optional ttl: At<Span>;
        /// Time of a hit.
        or hit: Dist = "0s";
    }
}
section! {
    /// Keys of requests, as of users or products.
    struct CacheKeys in "the keys of a cache" {
        /// Number of different keys, from which one is drawn for each request.
        required count: Whole<1, { u32::MAX as u64 }>;
        /// The key of rank r is drawn with a probability proportional to r^-skew (Zipf); 0: all alike.
        or skew: Real<20, true> = "0";
    }
}
section! {
    /// Publishes a message, as to a broker; the script goes on at once. Each instance has its own queue, whose messages
    /// are delivered at least once, even if a consumer dies. They are lost if the instance that holds the queue dies.
    struct QueueStep in "a `queue` step" {
        /// The queue.
        required queue: QueueOf;
        /// The work of a consumer: a step, or a list of steps that run one after the other.
        required run: Branch;
    }
}
section! {
    /// A queue of messages.
    struct QueueOf in "a queue" {
        /// Messages that an instance delivers concurrently; the others wait.
        or consumers: Whole<1, 1_000_000> = "1";
        /// Messages that may wait at an instance; the publication of one more fails as `refused`.
        or size: Whole<0, 1_000_000> = "100000";
        /// Time from a delivery until a message that was not consumed, or has failed, is delivered again.
        or visibility: At<Span> = "30s";
        /// Deliveries of a message; after the last it is a dead letter.
        or deliveries: Whole<1, 1_000> = "5";
    }
}

/// Most times that a script is repeated.
pub const REPEATS_MAX: u64 = 1_000;

section! {
    /// A number of times that is drawn, each equally likely.
    struct Between in "a number of times" {
        /// Least number.
        required from: Whole<0, REPEATS_MAX>;
        /// Greatest number.
        required to: At<Whole<0, REPEATS_MAX>>;
    }
}
section! {
    /// A number of times that is drawn by weights.
    struct ByWeight in "a number of times" {
        /// Weights of once, twice, and so on.
        required weights: At<Vec<Real<1_000_000_000, true>>>;
    }
}

/// A number of times: the least, and the weights of it and of each greater one.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) least: u32,
    pub(crate) weights: Vec<f64>,
}

impl Times {
    pub(crate) fn most(&self) -> u32 {
        self.least + self.weights.len() as u32 - 1
    }
}

impl Field for Times {
    const NAME: &'static str = "Times";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let Value::Map(_) = &node.value else {
            let times = Whole::<0, REPEATS_MAX>::decode(node, reporter)?;
            return Some(Times { least: times.0 as u32, weights: vec![1.0] });
        };
        if node.get("weights").is_none() {
            let Between { from, to } = Between::decode(node, reporter)?;
            if to.value.0 < from.0 {
                reporter
                    .report(to.place, format!("`to` ({}) is below `from` ({})", to.value.0, from.0))
                    .help("write the smaller number first, as in `{ from: 1, to: 5 }`");
                return None;
            }
            return Some(Times { least: from.0 as u32, weights: vec![1.0; (to.value.0 - from.0) as usize + 1] });
        }
        let weights = ByWeight::decode(node, reporter)?.weights;
        let figures: Vec<f64> = weights.value.iter().map(|weight| weight.0).collect();
        if figures.iter().all(|weight| *weight <= 0.0) || figures.len() as u64 > REPEATS_MAX {
            reporter
                .report(weights.place, "weights of numbers of times need one above 0")
                .help(format!("write at most {REPEATS_MAX}: of once, twice, and so on, as in `weights: [70, 20, 10]`"));
            return None;
        }
        Some(Times { least: 1, weights: figures })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let times = schema_of::<Whole<0, REPEATS_MAX>>(generator);
        let between = schema_of::<Between>(generator);
        let weights = schema_of::<ByWeight>(generator);
        json_schema!({ "description": "A number of times, or how it is drawn.", "anyOf": [times, between, weights] })
    }
}

/// A step, or several in a row.
#[derive(Clone, Debug)]
pub(crate) struct Branch(pub(crate) Vec<Step>);

impl Branch {
    /// The steps of a branch that may be left out.
    pub(crate) fn steps(branch: Option<&Self>) -> &[Step] {
        branch.map_or(&[], |branch| &branch.0)
    }
}

impl Field for Branch {
    const NAME: &'static str = "Branch";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        OneOrMore::decode(node, reporter).map(|OneOrMore(steps)| Branch(steps))
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        OneOrMore::<Step>::schema(generator)
    }
}

section! {
    /// A call of another service, in full.
    struct CallInFull in "a call" {
        /// Callee: `service`, if it has only one endpoint, or `service.endpoint`.
        required to: At<String>;
        /// Probability that the call is made at all.
        or probability: Fraction = "100%";
        /// Number of calls, one after the other.
        or count: Whole<1, 10_000> = "1";
        /// Makes all `count` calls concurrently; `probability` is drawn once for all of them.
        or parallel: bool = "false";
        /// Sends the call without waiting for the reply; a failure has no effect. The call outlives the request, whose
        /// deadline does not apply to it.
        or detached as "async": bool = "false";
        /// Size of the request; or `same`: that of the request for which the call is made.
        or request: CallSize = "1 KiB";
        /// A failure of the call does not fail the request.
        or optional: bool = "false";
        /// Timeout of one attempt; or `none` [default: 15s, or that of `mesh`].
        optional timeout: Timeout;
        /// Attempts after the first [default: 0, or those of `mesh`].
        optional retries: Whole<0, 255>;
        /// Backoff and budget of these retries [default: Envoy's, or those of `mesh`].
        optional retry: Retry;
        /// Further attempts while one is in flight [default: none].
        optional hedge: Hedge;
        /// Answer in its place if it fails after its retries: `static`, or that of `service.endpoint` [default: none].
        optional fallback: At<String>;
    }
}

/// A call: only the callee, or in full.
#[derive(Clone, Debug)]
pub(crate) struct Call(pub(crate) CallInFull);

impl Field for Call {
    const NAME: &'static str = "Call";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return CallInFull::decode(node, reporter).map(Call);
        }
        if let Value::List(callees) = &node.value {
            let help = match &callees[..] {
                [one] => format!("did you mean `call: {}`?", one.inline()),
                _ => "write a step for each: `- call: a`, then `- call: b`; or all at once: `- parallel: [{ call: a }, { call: b }]`"
                    .to_owned(),
            };
            reporter.report(node.place, "a call has one callee, not a list").help(help);
            return None;
        }
        let key = Key { text: "to".to_owned(), place: node.place, invented: false };
        let full = Node { place: node.place, value: Value::Map(vec![(key, node.clone())]) };
        CallInFull::decode(&full, reporter).map(Call)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = schema_of::<CallInFull>(generator);
        json_schema!({
            "description": "Whom: `service` or `service.endpoint`; or the call in full.",
            "anyOf": [{ "type": "string", "examples": ["geo", "rate.get"] }, full]
        })
    }
}

section! {
    /// Backoff and budget of retries; the defaults are Envoy's.
    struct Retry in "`retry`" {
        /// `jittered`: the n-th retry waits evenly between 0 and (2^n - 1) times `base`. `fixed`: each waits for
        /// `base`.
        or backoff: Backoff = "jittered";
        /// Base of the wait; see `backoff`.
        or base: Span = "25ms";
        /// Maximum of the wait [default: ten times the base].
        optional cap: Span;
        /// Share of the requests in flight to a service that may be retries; `none` allows every retry.
        or budget: Budget = "20%";
        /// Retries that are allowed even if few requests are in flight.
        or budget_min: Whole<0, 1_000_000> = "3";
        /// Failures that are retried [default: all].
        optional on: Vec<At<Failure>>;
        /// Further draws of an instance for a retry, while the drawn one had an attempt of this call (Envoy's
        /// `previous_hosts`).
        or other_instance: Whole<0, 100> = "0";
        /// Budget over a time, instead of `budget` and `budget_min`.
        optional window_budget: WindowBudget;
    }
}
