//! Scripts of endpoints, and the calls in them.

use meshsim_actor::{Dist, Span};
use serde::{Deserialize, Serialize};

use super::cache::Cached;
use super::queue::Queued;
use super::sizes::SizedWork;
use super::{EndpointId, ServiceId};
use crate::policy::CallRulesId;

/// One step of a script. Steps run one after the other; the request holds its slot during all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScriptStep {
    /// Computes for so long on a core of its own at normal speed: longer where others want the cores, and on a slow
    /// machine.
    Work(Dist),
    /// Computes for longer where the request is larger.
    SizedWork(SizedWork),
    /// Waits for this long, whatever the machine.
    Sleep(Dist),
    /// Calls another service and waits for the reply.
    Call(Call),
    /// Runs scripts side by side and waits for all of them.
    Parallel(Vec<Vec<ScriptStep>>),
    /// Runs exactly one of these scripts, drawn by their weights, of which one is above 0.
    OneOf(Vec<(f64, Vec<ScriptStep>)>),
    /// Runs a script several times, one after the other.
    Repeat(Repeat),
    /// Runs a script beside the rest, which does not wait for it. It outlives the request, whose deadline and slot it
    /// does not have; a failure ends it, is counted, and has no other effect.
    Async(Vec<ScriptStep>),
    /// Runs a script unless a cache has the key of the request.
    Cached(Cached),
    /// Publishes a message, which is consumed later.
    Queued(Queued),
}

/// A script that runs several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Least number of times.
    pub least: u32,
    /// Weights of this number of times, of one more, and so on; one of them is above 0.
    pub weights: Vec<f64>,
    /// The script.
    pub script: Vec<ScriptStep>,
}

impl Repeat {
    /// Times that it runs at most.
    pub fn most(&self) -> u32 {
        self.least + (self.weights.len() as u32).saturating_sub(1)
    }

    /// Probability that it runs once more after it has run `done` times.
    pub fn goes_on(&self, done: u32) -> f64 {
        let from = |times: u32| {
            let first = times.saturating_sub(self.least) as usize;
            self.weights.iter().skip(first).fold(0.0, |sum, weight| sum + weight)
        };
        let (now, later) = (from(done), from(done + 1));
        if done < self.least {
            1.0
        } else if now > 0.0 {
            later / now
        } else {
            0.0
        }
    }
}

/// A call of another service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Service to call.
    pub service: ServiceId,
    /// Endpoint to call.
    pub endpoint: EndpointId,
    /// Probability that the call is made at all.
    pub probability: f64,
    /// Number of calls.
    pub count: u32,
    /// All of them side by side, instead of one after the other. Whether they are made at all is drawn once.
    pub parallel: bool,
    /// The script continues without waiting, and a failure does not affect it. The call outlives the request, whose
    /// deadline and path are not passed on.
    pub detached: bool,
    /// Size of the request.
    pub request_bytes: u32,
    /// The request is as large as the one for which it is made, instead.
    pub keeps_size: bool,
    /// The script continues if the call fails.
    pub optional: bool,
    /// Timeout and retries.
    pub policy: CallPolicy,
}

/// Maximum number of attempts after the first: a request has one byte for their number.
pub const RETRIES_MAX: u32 = u8::MAX as u32;

/// Timeout and retries of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallPolicy {
    /// Timeout of one attempt. `None`: none.
    pub timeout: Option<Span>,
    /// Attempts after the first; more than [`RETRIES_MAX`] count as that.
    pub retries: u32,
    /// Backoff and budget of these retries.
    pub retry: Retry,
    /// Further policies: an entry of [`Mesh::call_rules`](super::Mesh::call_rules).
    pub rules: Option<CallRulesId>,
}

impl Default for CallPolicy {
    /// 15 s, as Envoy's route timeout; no retries.
    fn default() -> Self {
        CallPolicy { timeout: Some(Span::from_secs(15)), retries: 0, retry: Retry::default(), rules: None }
    }
}

/// Backoff and budget of retries.
///
/// A retry is made only while the caller's retries in flight to that service are below `max(budget_min, budget *
/// active)` (Envoy's `retry_budget`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Rule by which the wait before a retry follows from `base` and `cap`.
    pub backoff: Backoff,
    /// Envoy's default: 25 ms.
    pub base: Span,
    /// Longest wait. Envoy's default: ten times the base.
    pub cap: Span,
    /// Fraction of the requests in flight that may be retries; `None`: all of them. Envoy's default: 0.2.
    pub budget: Option<f64>,
    /// Retries that are allowed even if few requests are in flight. Envoy's default: 3.
    pub budget_min: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            backoff: Backoff::Jittered,
            base: Span::from_millis(25),
            cap: Span::from_millis(250),
            budget: Some(0.2),
            budget_min: 3,
        }
    }
}

/// Wait of a caller before a retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// Before the `n`-th uniformly in `[0, (2^n - 1) * base)`, at most `cap` (Envoy's `retry_back_off`).
    #[default]
    Jittered,
    /// `base` before each, at most `cap`.
    Fixed,
}
