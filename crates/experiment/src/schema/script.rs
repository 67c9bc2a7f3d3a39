//! Scripts: the steps that process a request, and the calls among them.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::model::Backoff;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::problem::Reporter;
use crate::section::{At, Field, OneOrMore, by_key, schema_of, section};
use crate::tree::{Key, Node, Value};
use crate::values::{Budget, ByteSize, Fraction, Timeout, Whole};

by_key! {
    /// One step of a script.
    enum Step in "a step" {
        "work" => Work,
        "sleep" => Sleep,
        "call" => CallStep,
        "parallel" => Parallel,
    }
}

section! {
    /// Computes.
    struct Work in "a step of work" {
        /// Processor time; a slow node takes longer.
        required work: Dist;
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

/// A step, or several in a row.
#[derive(Clone, Debug)]
pub(crate) struct Branch(pub(crate) Vec<Step>);

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
        /// Sends the call without waiting for the reply; a failure has no effect. The call outlives the request, whose deadline does not apply to it.
        or detached as "async": bool = "false";
        /// Size of the request.
        or request: ByteSize = "1 KiB";
        /// A failure of the call does not fail the request.
        or optional: bool = "false";
        /// Timeout of one attempt; or `none`.
        or timeout: Timeout = "15s";
        /// Attempts after the first.
        or retries: Whole<0, 255> = "0";
        /// Backoff and budget of these retries.
        or retry: Retry = "";
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
        /// `jittered`: the n-th retry waits evenly between 0 and (2^n - 1) times `base`. `fixed`: each waits for `base`.
        or backoff: Backoff = "jittered";
        /// Base of the wait; see `backoff`.
        or base: Span = "25ms";
        /// Maximum of the wait [default: ten times the base].
        optional cap: Span;
        /// Share of the requests in flight to a service that may be retries; `none` allows every retry.
        or budget: Budget = "20%";
        /// Retries that are allowed even if few requests are in flight.
        or budget_min: Whole<0, 1_000_000> = "3";
    }
}
