//! Measurements, kept by each actor for itself. A report reads them when the run has ended and adds them up.

use std::fmt;

use meshsim_actor::{Span, Time};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::batches::Batches;
use crate::edge::Edges;
use crate::model::{Change, ServiceId};
use crate::policy::PolicyCounts;
use crate::sparse::{Scale, Sparse};

/// Reason of the failure of a request or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The instance's queue was full, or the instance was gone when the request arrived.
    Refused,
    /// The service failed, or something that it called.
    Error,
    /// No reply came in time.
    Timeout,
    /// The node of the instance went down.
    Lost,
    /// There was no instance to call.
    NoInstance,
    /// The instance was to go, and its [grace](crate::model::Service::grace) was over before the request was done.
    Cut,
}

impl Failure {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Failure; 6] =
        [Failure::Refused, Failure::Error, Failure::Timeout, Failure::Lost, Failure::NoInstance, Failure::Cut];

    /// For people and for JSON keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Error => "error",
            Failure::Timeout => "timeout",
            Failure::Lost => "lost",
            Failure::NoInstance => "no_instance",
            Failure::Cut => "cut",
        }
    }
}

/// Number of failures of each kind of [`Failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures([u64; 6]);

impl Failures {
    /// Counts one more.
    pub fn count(&mut self, failure: Failure) {
        self.0[failure as usize] += 1;
    }

    /// `n` more.
    pub fn add(&mut self, failure: Failure, n: u64) {
        let count = &mut self.0[failure as usize];
        *count = count.saturating_add(n);
    }

    /// Number of failures of this kind.
    pub fn of(&self, failure: Failure) -> u64 {
        self.0[failure as usize]
    }

    /// Sum over all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Failures) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// Results of the requests of one target of a load.
///
/// `offered - done - failed` were still in flight when the run ended. Requests of the warm-up are counted only in
/// `warmup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Planned after the warm-up.
    pub offered: u64,
    /// Answered.
    pub done: u64,
    /// Of these, answered although an optional call failed, at any depth.
    pub degraded: u64,
    /// Failed requests, by reason.
    pub failed: Failures,
    /// Planned in the warm-up.
    pub warmup: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Failed without the retry that their policy has, because the retry budget allowed no more then.
    pub over_budget: u64,
    /// The acts of the policies of these requests.
    pub policies: PolicyCounts,
    /// Latency of successful requests, from the planned time.
    pub latency: Histogram,
    /// The same from the actual send: smaller where the generator was late (coordinated omission).
    pub uncorrected: Histogram,
    /// Delay of the actual send after the planned time, of those sent: in virtual time, caused by machines that stood
    /// still.
    pub lag: Histogram,
    /// Ages of the requests in flight when the run ended, from the planned time; empty until then.
    pub pending: Histogram,
    /// The same latencies by time since the end of the warm-up, for what compares runs.
    pub batches: Batches,
    /// Of a closed load: the longest that a user waited.
    pub longest_wait: Wait,
}

/// Wait of a user of a closed load for the end of a request, and the requests of its load meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// From sending the request, in nanoseconds.
    pub ns: u64,
    /// Requests that all users of the load sent meanwhile.
    pub sent: u64,
}

impl Wait {
    /// The longer one.
    #[must_use]
    pub fn or(self, other: Wait) -> Wait {
        if other.ns > self.ns { other } else { self }
    }
}

impl Tally {
    /// Adds another tally to this one: the targets of a load, the loads of a run.
    pub fn merge(&mut self, other: &Tally) {
        self.offered = self.offered.saturating_add(other.offered);
        self.done = self.done.saturating_add(other.done);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.failed.merge(&other.failed);
        self.batches.merge(&other.batches);
        self.warmup = self.warmup.saturating_add(other.warmup);
        self.retries = self.retries.saturating_add(other.retries);
        self.over_budget = self.over_budget.saturating_add(other.over_budget);
        self.policies.merge(&other.policies);
        self.latency.merge(&other.latency);
        self.uncorrected.merge(&other.uncorrected);
        self.lag.merge(&other.lag);
        self.pending.merge(&other.pending);
        self.longest_wait = self.longest_wait.or(other.longest_wait);
    }
}

/// Measurements of the instances of one service on one node, of the requests that arrived after the first load's
/// warm-up: from [`Mesh::measured_from`](crate::Mesh::measured_from) on. Sums over time begin then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceMetrics {
    /// Requests that arrived.
    pub arrived: u64,
    /// Answered well.
    pub done: u64,
    /// Of these, successful although an optional call failed, at any depth.
    pub degraded: u64,
    /// Answered badly, by reason.
    pub failed: Failures,
    /// Dropped unanswered, because their deadline had passed: the caller had given up.
    pub expired: u64,
    /// Latency from arrival to reply, of successful requests; coarse.
    pub latency: Histogram,
    /// Time that requests waited for a slot, summed, in nanoseconds.
    pub waited_ns: u64,
    /// Time that slots were taken, summed over slots, in nanoseconds.
    pub busy_ns: u64,
    /// Time that slots were there (instances ready times their slots), in nanoseconds. Utilisation is
    /// `busy_ns / slot_ns`.
    pub slot_ns: u64,
    /// Work done by the processors for its requests, in nanoseconds of a core at normal speed. Of work in progress, the
    /// part done by the node's last event.
    pub work_ns: u64,
    /// Maximum number of requests that waited at one instance at once.
    pub queue_peak: u32,
    /// Counts of its calls that have ended, by edge.
    pub calls: Edges,
    /// Actions of the policies of its instances.
    pub policies: PolicyCounts,
    /// Blocks of its scripts that were not waited for and have ended.
    pub blocks: BlockCounts,
    /// Look-ups in caches of its scripts.
    pub caches: CacheCounts,
    /// Messages that its scripts have published; `None`: none.
    pub queue: Option<Box<QueueCounts>>,
}

/// Look-ups in caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Those that found their key.
    pub hits: u64,
    /// The others.
    pub misses: u64,
}

/// Messages in queues that were published after the warm-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Those that were published.
    pub published: u64,
    /// Those that found the queue full.
    pub refused: u64,
    /// Deliveries of them.
    pub deliveries: u64,
    /// Those that became dead letters.
    pub dead: u64,
    /// Those that were lost with their instance or its node.
    pub lost: u64,
    /// Maximum number of messages that waited in one queue of one instance at once.
    pub depth_peak: u32,
    /// Times from publication to the first delivery.
    pub wait: Histogram,
    /// Times from publication until a message was consumed.
    pub age: Histogram,
}

impl QueueCounts {
    fn merge(&mut self, other: &QueueCounts) {
        self.published = self.published.saturating_add(other.published);
        self.refused = self.refused.saturating_add(other.refused);
        self.deliveries = self.deliveries.saturating_add(other.deliveries);
        self.dead = self.dead.saturating_add(other.dead);
        self.lost = self.lost.saturating_add(other.lost);
        self.depth_peak = self.depth_peak.max(other.depth_peak);
        self.wait.merge(&other.wait);
        self.age.merge(&other.age);
    }
}

/// Blocks of scripts that were not waited for and have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts {
    /// Those that came to their end.
    pub done: u64,
    /// Those that failed, by reason.
    pub failed: Failures,
}

impl BlockCounts {
    /// Counts a block that has ended.
    pub fn count(&mut self, failure: Option<Failure>) {
        match failure {
            None => self.done = self.done.saturating_add(1),
            Some(failure) => self.failed.count(failure),
        }
    }

    fn merge(&mut self, other: &BlockCounts) {
        self.done = self.done.saturating_add(other.done);
        self.failed.merge(&other.failed);
    }
}

impl Default for ServiceMetrics {
    fn default() -> Self {
        ServiceMetrics {
            arrived: 0,
            done: 0,
            degraded: 0,
            failed: Failures::default(),
            expired: 0,
            latency: Histogram::coarse(),
            waited_ns: 0,
            busy_ns: 0,
            slot_ns: 0,
            work_ns: 0,
            queue_peak: 0,
            calls: Edges::new(),
            policies: PolicyCounts::default(),
            blocks: BlockCounts::default(),
            caches: CacheCounts::default(),
            queue: None,
        }
    }
}

impl ServiceMetrics {
    /// Adds what another node did for the same service.
    pub fn merge(&mut self, other: &ServiceMetrics) {
        self.arrived = self.arrived.saturating_add(other.arrived);
        self.done = self.done.saturating_add(other.done);
        self.failed.merge(&other.failed);
        self.expired = self.expired.saturating_add(other.expired);
        self.latency.merge(&other.latency);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
        self.busy_ns = self.busy_ns.saturating_add(other.busy_ns);
        self.slot_ns = self.slot_ns.saturating_add(other.slot_ns);
        self.work_ns = self.work_ns.saturating_add(other.work_ns);
        self.queue_peak = self.queue_peak.max(other.queue_peak);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.policies.merge(&other.policies);
        self.blocks.merge(&other.blocks);
        self.caches.hits = self.caches.hits.saturating_add(other.caches.hits);
        self.caches.misses = self.caches.misses.saturating_add(other.caches.misses);
        if let Some(queue) = &other.queue {
            self.queue.get_or_insert_default().merge(queue);
        }
        for (edge, used) in &other.calls {
            match self.calls.get_mut(edge) {
                Some(mine) => mine.merge(used),
                None => _ = self.calls.insert(*edge, used.clone()),
            }
        }
    }
}

/// Journeys of a load's users that began after its warm-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JourneyCounts {
    /// Those that began.
    pub begun: u64,
    /// Those that ended because a request failed.
    pub abandoned: u64,
    /// Durations of those that were completed, from the beginning of the first request to the last reply.
    pub time: Histogram,
}

/// History of one operation, as the coordinator saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationHistory {
    /// Its index in [`Mesh::operations`](crate::Mesh::operations); `None` for one of an external
    /// client or of the autoscaler, and for a repair.
    pub operation: Option<usize>,
    /// The autoscaler began it.
    pub is_automatic: bool,
    /// The change; `None` for a repair, which the coordinator decides by itself when a node dies or comes back.
    pub change: Option<Change>,
    /// Kind of the operation.
    pub kind: OperationKind,
    /// To which service.
    pub service: ServiceId,
    /// Start time.
    pub began: Time,
    /// Its steps, in order.
    pub steps: Vec<StepHistory>,
    /// Outcome.
    pub outcome: OperationOutcome,
}

impl OperationHistory {
    /// True if an external client began it.
    pub fn is_manual(&self) -> bool {
        self.operation.is_none() && self.change.is_some() && !self.is_automatic
    }

    /// Time at which every node had acknowledged every step. `None` while a step is not acknowledged or is still to
    /// come, and if there was no step.
    pub fn settled(&self) -> Option<Time> {
        let all = self.steps.iter().map(|step| step.settled).reduce(|a, b| Some(a?.max(b?))).flatten();
        all.filter(|_| self.outcome != OperationOutcome::Running)
    }
}

/// Kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A service's instances come up.
    Deploy,
    /// Its instances are removed.
    Undeploy,
    /// `S' = S + a (T - S)`.
    Extend,
    /// `C' = C * b`.
    Scale,
    /// `V' = V + g (U - V)`.
    Update,
    /// The coordinator's own: instances of a dead node are placed elsewhere.
    Repair,
    /// Empty the caches of a service.
    Flush,
    /// A setting has another value.
    Set,
}

impl OperationKind {
    /// Name in one word, for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::Deploy => "deploy",
            OperationKind::Undeploy => "undeploy",
            OperationKind::Flush => "flush",
            OperationKind::Extend => "extend",
            OperationKind::Scale => "scale",
            OperationKind::Update => "update",
            OperationKind::Set => "set",
            OperationKind::Repair => "repair",
        }
    }
}

/// Outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum OperationOutcome {
    /// It has not ended.
    Running,
    /// It reached its target.
    Reached,
    /// It made its maximum number of steps; the residual is what was left.
    StepLimit {
        /// Target minus reached value.
        residual: f64,
    },
    /// Its rounding cannot come nearer; this much was left.
    Stuck {
        /// Target minus reached value.
        residual: f64,
    },
    /// Another operation of the same kind on the same service took its place.
    Superseded,
    /// It could not begin: the service is not deployed (or, for deploy, is already).
    Refused,
}

impl OperationOutcome {
    /// Name in one word, for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationOutcome::Running => "running",
            OperationOutcome::Reached => "reached",
            OperationOutcome::StepLimit { .. } => "step_limit",
            OperationOutcome::Stuck { .. } => "stuck",
            OperationOutcome::Superseded => "superseded",
            OperationOutcome::Refused => "refused",
        }
    }

    /// Residual of an operation that ended before it reached its target.
    pub fn residual(self) -> Option<f64> {
        match self {
            OperationOutcome::StepLimit { residual } | OperationOutcome::Stuck { residual } => Some(residual),
            OperationOutcome::Running
            | OperationOutcome::Reached
            | OperationOutcome::Superseded
            | OperationOutcome::Refused => None,
        }
    }
}

/// One numbered step: decided once, broadcast, applied exactly once, acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepHistory {
    /// Its number: 1, 2, 3, ... over all services.
    pub n: u64,
    /// The service's generation with it.
    pub generation: u64,
    /// Time of the decision.
    pub decided: Time,
    /// Time at which the last node of its audience had acknowledged it.
    pub settled: Option<Time>,
    /// S after it, in the recurrence.
    pub s: f64,
    /// S after it, in whole instances.
    pub instances: u32,
    /// Instances above S that are to run for a time, such as the surge of a rolling update.
    pub extra: u32,
    /// Of all these, the number for which no node had room.
    pub unplaced: u32,
    /// C after it.
    pub c: f64,
    /// V after it, in the recurrence.
    pub v: f64,
    /// V after it, as the mean over whole instances; NaN without instances is written as 0.
    pub v_mean: f64,
    /// Messages sent for it, the first time to each node.
    pub sent: u64,
    /// Messages sent for it again.
    pub resent: u64,
    /// Acknowledgements that covered it first, one for each node.
    pub acks: u64,
}

/// A histogram of spans up to an hour; longer ones count as that.
///
/// Fine: three significant digits, from a nanosecond on; for figures that a person asked for. Coarse: two significant
/// digits, from a microsecond on; a sixteenth of the memory, for figures that exist thousands of times. (HdrHistogram,
/// Gil Tene; the sum is kept beside it, so that the mean is exact.)
#[derive(Clone)]
pub struct Histogram {
    /// Takes no memory until something is recorded.
    counts: Option<Box<hdrhistogram::Histogram<u64>>>,
    sum_ns: u128,
    /// The shortest and the longest, exactly; of no spans, the greatest and the least of numbers.
    extremes_ns: (u64, u64),
    is_coarse: bool,
}

/// The longest span that a [`Histogram`] tells apart.
pub const HISTOGRAM_MAX: Span = Span::from_secs(3600);

impl Default for Histogram {
    /// Fine and empty.
    fn default() -> Self {
        Histogram { counts: None, sum_ns: 0, extremes_ns: (u64::MAX, 0), is_coarse: false }
    }
}

impl Histogram {
    /// Coarse and empty.
    pub fn coarse() -> Self {
        Histogram { is_coarse: true, ..Histogram::default() }
    }

    fn counts_mut(&mut self) -> &mut hdrhistogram::Histogram<u64> {
        let (least_ns, digits) = if self.is_coarse { (1000, 2) } else { (1, 3) };
        self.counts.get_or_insert_with(|| {
            let counts = hdrhistogram::Histogram::new_with_bounds(least_ns, 4 * least_ns, digits);
            let mut counts = counts.expect("bounds are valid");
            counts.auto(true);
            Box::new(counts)
        })
    }

    /// Records one span.
    pub fn record(&mut self, span: Span) {
        self.record_n(span, 1);
    }

    /// Adds the latencies of a window of a time series; `longest` is exact. The shortest is unknown afterwards.
    pub(crate) fn take(&mut self, scale: Scale, latencies: &Sparse, sum_ns: u64, longest: Span) {
        let counts = self.counts_mut();
        for (bucket, count) in latencies.filled() {
            let ns = scale.longest(bucket).min(HISTOGRAM_MAX).nanos();
            counts.record_n(ns, count.into()).expect("the histogram grows by itself");
        }
        self.sum_ns = self.sum_ns.saturating_add(sum_ns.into());
        self.extremes_ns = (0, self.extremes_ns.1.max(longest.nanos()));
    }

    fn record_n(&mut self, span: Span, n: u64) {
        let ns = span.min(HISTOGRAM_MAX).nanos();
        self.sum_ns = self.sum_ns.saturating_add(u128::from(span.nanos()) * u128::from(n));
        self.extremes_ns = (self.extremes_ns.0.min(span.nanos()), self.extremes_ns.1.max(span.nanos()));
        self.counts_mut().record_n(ns, n).expect("the histogram grows by itself");
    }

    /// Number of spans.
    pub fn count(&self) -> u64 {
        self.counts.as_ref().map_or(0, |c| c.len())
    }

    /// Their exact mean; zero if there are none.
    pub fn mean(&self) -> Span {
        Span::from_nanos((self.sum_ns / u128::from(self.count().max(1))) as u64)
    }

    /// The span below which the share `q` of them lies (0 to 1), to the digits of the histogram, and never beyond the
    /// shortest and the longest; zero if there are none.
    pub fn quantile(&self, q: f64) -> Span {
        self.clamped(self.counts.as_ref().map_or(0, |c| c.value_at_quantile(q)))
    }

    /// The same where some spans had not ended when they were measured last: `pending` holds how long they had lasted.
    /// `None` if so many had not that the share is not reached. (Kaplan and Meier, "Nonparametric Estimation from
    /// Incomplete Observations", 1958; an end at the same time comes before a loss.)
    pub fn quantile_with(&self, pending: &Histogram, q: f64) -> Option<Span> {
        if pending.count() == 0 {
            return (self.count() > 0).then(|| self.quantile(q));
        }
        let filled = |histogram: &Histogram| -> Vec<(u64, u64)> {
            let counts = histogram.counts.iter().flat_map(|counts| counts.iter_recorded());
            counts.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())).collect()
        };
        let lost = filled(pending);
        let mut lost = lost.iter().peekable();
        let mut at_risk = self.count().saturating_add(pending.count());
        let mut surviving = 1.0;
        for (ns, ended) in filled(self) {
            while let Some((_, count)) = lost.next_if(|(at, _)| *at < ns) {
                at_risk -= count;
            }
            surviving *= 1.0 - ended as f64 / at_risk as f64;
            at_risk -= ended;
            // The share is given in decimals, which no float is.
            if 1.0 - surviving + 1e-12 >= q {
                return Some(self.clamped(ns));
            }
        }
        None
    }

    fn clamped(&self, ns: u64) -> Span {
        let (least, most) = self.extremes_ns;
        Span::from_nanos(if least > most { 0 } else { ns.clamp(least, most) })
    }

    /// Its content: spans, to the digits of the histogram, by rising length, each with its number.
    pub fn recorded(&self) -> impl Iterator<Item = (Span, u64)> + '_ {
        let counts = self.counts.iter().flat_map(|counts| counts.iter_recorded());
        counts.map(|bucket| (self.clamped(bucket.value_iterated_to()), bucket.count_at_value()))
    }

    /// Number of spans longer than this, to the digits of the histogram.
    pub fn count_above(&self, span: Span) -> u64 {
        let counts = self.counts.iter().flat_map(|counts| counts.iter_recorded());
        let above = counts.filter(|bucket| bucket.value_iterated_to() > span.nanos());
        above.fold(0, |sum, bucket| sum.saturating_add(bucket.count_at_value()))
    }

    /// The longest, exactly; zero if there are none.
    pub fn max(&self) -> Span {
        Span::from_nanos(self.extremes_ns.1)
    }

    /// Adds all spans of another one.
    pub fn merge(&mut self, other: &Histogram) {
        if let Some(counts) = &other.counts {
            // The measurements of another process may have any value.
            self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
            let ((a, b), (c, d)) = (self.extremes_ns, other.extremes_ns);
            self.extremes_ns = (a.min(c), b.max(d));
            self.counts_mut().add(&**counts).expect("the histogram grows by itself");
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans, mean {}", self.count(), self.mean())
    }
}

/// Serialised form: the filled buckets.
#[derive(Serialize, Deserialize)]
struct Buckets {
    is_coarse: bool,
    sum_ns: u128,
    extremes_ns: (u64, u64),
    filled: Vec<(u64, u64)>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filled = self
            .counts
            .iter()
            .flat_map(|counts| counts.iter_recorded())
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
            .collect();
        Buckets { is_coarse: self.is_coarse, sum_ns: self.sum_ns, extremes_ns: self.extremes_ns, filled }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let buckets = Buckets::deserialize(deserializer)?;
        let mut histogram = Histogram { is_coarse: buckets.is_coarse, ..Histogram::default() };
        for (ns, count) in buckets.filled {
            if ns > HISTOGRAM_MAX.nanos() * 2 {
                return Err(D::Error::custom("a bucket beyond the range of the histogram"));
            }
            histogram.record_n(Span::from_nanos(ns), count);
        }
        histogram.sum_ns = buckets.sum_ns;
        histogram.extremes_ns = buckets.extremes_ns;
        Ok(histogram)
    }
}
