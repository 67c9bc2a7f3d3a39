//! Values that are one of several words.

use meshsim_mesh::autoscale::hpa::Select;
use meshsim_mesh::measure::Failure;
use meshsim_mesh::model::{Backoff, Feedback, Placement, Process, ProxyPer, Rounding, Technology};
use meshsim_mesh::serving::priority::Priority;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::text;
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::section::Field;
use crate::tree::Node;

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
words!(Technology, "Technology", "a mesh technology", "Technology of a mesh.", {
    "none" => Technology::None, "sidecar-envoy" => Technology::SidecarEnvoy, "sidecar-linkerd" => Technology::SidecarLinkerd,
    "ambient-l4" => Technology::AmbientL4, "ambient-waypoint" => Technology::AmbientWaypoint,
    "proxyless" => Technology::Proxyless,
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
words!(Failure, "Failure", "a failure", "Why an attempt failed.", {
    "refused" => Failure::Refused, "error" => Failure::Error, "timeout" => Failure::Timeout, "lost" => Failure::Lost,
    "no_instance" => Failure::NoInstance, "cut" => Failure::Cut,
});
words!(Select, "Select", "a choice", "The limit that holds, of two: the one that allows the larger change, the smaller, or no change.", {
    "max" => Select::Max, "min" => Select::Min, "disabled" => Select::Disabled,
});
words!(Process, "Process", "a process", "Spacing of the requests at a given rate: even, or random.", {
    "constant" => Process::Constant, "poisson" => Process::Poisson,
});

words!(Priority, "Priority", "a priority", "Importance of a request, the most important first (the classes of Google's SRE book).", {
    "critical_plus" => Priority::CriticalPlus, "critical" => Priority::Critical,
    "sheddable_plus" => Priority::SheddablePlus, "sheddable" => Priority::Sheddable,
});

/// Owners of the token buckets of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitedAt {
    Instance,
    Caller,
}
words!(LimitedAt, "LimitedAt", "an owner of buckets", "Owner of a token bucket: each instance, or each caller.", {
    "instance" => LimitedAt::Instance, "caller" => LimitedAt::Caller,
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
