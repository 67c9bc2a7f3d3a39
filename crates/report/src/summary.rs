//! Results of a run, as plain data.

use std::borrow::Cow;
use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Counts, Span, Time};
use meshsim_experiment::{Experiment, ModelSize, Scope};
use meshsim_mesh::criterion::Count;
use meshsim_mesh::measure::{
    Failure, Failures, OperationHistory, OperationKind, OperationOutcome, ServiceMetrics, StepHistory, Tally,
};
use meshsim_mesh::model::{Arrivals, COORDINATOR, Change, Load, ServiceId, Strategy};
use meshsim_mesh::policy::{PolicyCounts, PolicyEvent};
use meshsim_mesh::{ActorResults, Mesh};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bins::bins;
use crate::closed::ClosedSummary;
use crate::correlation::Correlation;
use crate::course::Courses;
use crate::figures::Latency;
use crate::gap::{Gap, GapSummary, Reason, joined};
use crate::generator;
use crate::outside::{ManualFault, Outside};
use crate::real_work::{RealWork, Worked};
use crate::show::{endpoint_in_words, unplaced_reason};
use crate::verdict::{Outcome, Verdict};

/// Measurements of the actors of a run, merged.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Time reached.
    pub now: Time,
    /// Histories of the operations, from the coordinator.
    pub history: Vec<OperationHistory>,
    /// For each load, for each of its targets.
    pub tallies: Vec<Vec<Tally>>,
    /// For each service, over all nodes.
    pub served: Vec<ServiceMetrics>,
    /// For each node, what its processor did, in nanoseconds of a core at normal speed.
    pub worked_ns: Vec<u64>,
    /// Results of external requests; `None` without a gateway.
    pub manual: Option<Tally>,
    /// Counts of the clients for SLOs, for each of the mesh's criteria: one count, or one for each piece.
    pub counts: Vec<Vec<Count>>,
    /// Time series of all of it.
    pub courses: Courses,
    /// Requests were sent by the wall clock: the clients may have fallen behind their plan.
    pub is_live: bool,
    /// Missing measurements, by actor and time.
    pub gaps: Vec<Gap>,
    /// True if a node's part of the services' figures is missing.
    pub node_gap: bool,
    /// Manual faults.
    pub faults: Vec<ManualFault>,
    /// Faults that were ended manually, with the time: by their index among those of the experiment, followed by the
    /// manual ones.
    pub healed: Vec<(usize, Time)>,
    /// Actors whose processes were lost and replaced, and when the new one came.
    pub restarts: Vec<(ActorId, Time)>,
    /// Actors that left during the run, with the times at which they left and came back, if they did.
    pub departures: Vec<(ActorId, Time, Option<Time>)>,
    /// Real work, by node and incarnation; empty if work was a timer.
    pub real_work: Vec<Worked>,
    /// Counters of the host.
    pub traffic: Traffic,
}

/// Totals of a run, as counted by the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Traffic {
    /// Starts, deliveries and timers: what actors took in.
    pub events: u64,
    /// Messages that actors sent.
    pub sent: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// Messages that actors took in.
    pub delivered: u64,
    /// Further attempts of the transport for messages whose earlier attempts were lost on a link with `loss`.
    #[serde(default)]
    pub resent: u64,
    /// Lost on a link with `loss`: the transport gave up.
    pub lost_loss: u64,
    /// Lost for good on a link with `drop`.
    #[serde(default)]
    pub lost_drop: u64,
    /// Lost at a partition.
    pub lost_partition: u64,
    /// Lost because the receiver was down.
    pub lost_down: u64,
    /// Lost because a queue was full.
    pub lost_full: u64,
    /// Lost because no actor has the receiver's id.
    #[serde(alias = "lost_nobody")]
    pub lost_no_such_actor: u64,
}

impl From<Counts> for Traffic {
    fn from(counts: Counts) -> Self {
        Traffic {
            events: counts.events,
            sent: counts.sent,
            duplicated: counts.duplicated,
            delivered: counts.delivered,
            resent: counts.resent,
            lost_loss: counts.lost_loss,
            lost_drop: counts.lost_drop,
            lost_partition: counts.lost_partition,
            lost_down: counts.lost_down,
            lost_full: counts.lost_full,
            lost_no_such_actor: counts.lost_no_such_actor,
        }
    }
}

impl Traffic {
    /// Messages that had neither arrived nor been lost when the run ended.
    pub fn in_flight(&self) -> u64 {
        let chance = self.lost_loss.saturating_add(self.lost_drop);
        let lost = [chance, self.lost_partition, self.lost_down, self.lost_full, self.lost_no_such_actor];
        let ended = lost.into_iter().fold(self.delivered, u64::saturating_add);
        self.sent.saturating_add(self.duplicated).saturating_sub(ended)
    }
}

impl Measured {
    /// Merges the results of all actors of a mesh, in the order of their ids; `None` where the results of one are lost:
    /// a gap, as long as the run. Results that do not fit the mesh are left out. An actor that was to join later and
    /// never did has empty results ([`ActorResults`] of an idle one are `Some`; in a live run see [`Self::without`]).
    pub fn gather(
        mesh: &Mesh,
        now: Time,
        traffic: Traffic,
        findings: impl IntoIterator<Item = Option<ActorResults>>,
    ) -> Self {
        let mut measured = Measured {
            now,
            traffic,
            history: Vec::new(),
            tallies: mesh.loads.iter().map(|load| vec![Tally::default(); load.mix.len()]).collect(),
            served: vec![ServiceMetrics::default(); mesh.services.len()],
            worked_ns: vec![0; mesh.nodes.len()],
            manual: None,
            counts: mesh.criteria.iter().map(|it| vec![Count::default(); it.places()]).collect(),
            ..Measured::default()
        };
        for (actor, found) in (0..).map(ActorId).zip(findings) {
            match found {
                None if mesh.load_index(actor).is_some() || mesh.node_index(actor).is_some() => {
                    measured.gaps.push(Gap { actor, from: Time::ZERO, to: now, reason: Reason::Lost });
                }
                None => {}
                Some(ActorResults::Coordinator { history, sightings, .. }) if actor == COORDINATOR => {
                    measured.courses.sightings = sightings;
                    measured.history = history;
                    measured.history.retain(|operation| operation.service.index() < mesh.services.len());
                }
                Some(found @ ActorResults::Node { .. }) => measured.add_former(actor, found, mesh),
                Some(ActorResults::Client { tallies, courses, counts, gaps }) => {
                    let Some(load) = mesh.load_index(actor) else { continue };
                    let criteria = mesh.criteria.iter().zip(&mut measured.counts);
                    let of_load: Vec<&mut Vec<Count>> = criteria
                        .filter(|(criterion, _)| criterion.load as usize == load)
                        .map(|(_, count)| count)
                        .collect();
                    let is_counted = of_load.iter().map(|it| it.len()).eq(counts.iter().map(Vec::len));
                    if measured.tallies[load].len() != tallies.len() || !is_counted {
                        measured.gaps.push(Gap { actor, from: Time::ZERO, to: now, reason: Reason::Lost });
                        continue;
                    }
                    measured.tallies[load] = tallies;
                    measured.courses.of_load(load, courses, mesh, now);
                    of_load.into_iter().zip(counts).for_each(|(mine, theirs)| *mine = theirs);
                    let gaps = gaps.into_iter().map(|(from, to)| Gap { actor, from, to, reason: Reason::Down });
                    measured.gaps.extend(gaps);
                }
                Some(ActorResults::Gateway { tally }) if actor == mesh.gateway_actor() => {
                    measured.manual = Some(*tally)
                }
                // Not results of this actor.
                Some(_) => {}
            }
        }
        measured.settle_gaps(mesh);
        measured
    }

    /// Adds the results of an earlier incarnation of a node. Ignored if they are not those of a node.
    pub fn add_former(&mut self, actor: ActorId, found: ActorResults, mesh: &Mesh) {
        let (Some(node), ActorResults::Node { served, courses, comings, .. }) = (mesh.node_index(actor), found) else {
            return;
        };
        self.courses.of_node(actor, courses, comings, mesh, self.now);
        let worked = sum(served.iter().map(|(_, served)| served.work_ns));
        self.worked_ns[node] = self.worked_ns[node].saturating_add(worked);
        for (service, mut served) in served {
            if let Some(all) = self.served.get_mut(service.index()) {
                served.calls.values_mut().for_each(|used| used.course.settle(self.now));
                all.merge(&served);
            }
        }
    }

    /// Actors of which nothing was expected: spare nodes that never came.
    pub fn without(&mut self, absent: &[ActorId], mesh: &Mesh) {
        self.gaps.retain(|gap| !absent.contains(&gap.actor));
        self.settle_gaps(mesh);
    }

    /// Records actors whose processes were lost and replaced: their earlier measurements are lost.
    pub fn replaced(&mut self, restarts: Vec<(ActorId, Time)>, mesh: &Mesh) {
        let gap =
            |(actor, at): &(ActorId, Time)| Gap { actor: *actor, from: Time::ZERO, to: *at, reason: Reason::Replaced };
        // First of those that begin together, so that the reason is theirs.
        self.gaps.splice(0..0, restarts.iter().map(gap));
        self.restarts = restarts;
        self.settle_gaps(mesh);
    }

    fn settle_gaps(&mut self, mesh: &Mesh) {
        self.gaps.retain(|gap| mesh.load_index(gap.actor).is_some() || mesh.node_index(gap.actor).is_some());
        self.gaps = joined(std::mem::take(&mut self.gaps), mesh, self.now);
        self.node_gap = self.gaps.iter().any(|gap| mesh.node_index(gap.actor).is_some());
    }

    /// All requests of a scope.
    pub(crate) fn of(&self, scope: Scope) -> Tally {
        match scope {
            Scope::Target(load, target) => self.tallies[load][target].clone(),
            Scope::Load(load) => self.all(Some(load)),
            Scope::All | Scope::Service(_) => self.all(None),
        }
    }

    /// All requests of a load, or of all loads.
    pub(crate) fn all(&self, load: Option<usize>) -> Tally {
        let loads = self.tallies.iter().enumerate().filter(|(index, _)| load.is_none_or(|load| load == *index));
        let mut all = Tally::default();
        for tally in loads.flat_map(|(_, targets)| targets) {
            all.merge(tally);
        }
        all
    }
}

/// The version of summary.json's format that is written and read.
pub(crate) const FORMAT: u32 = 2;

/// Results of a run. Durations end in `_ns` (nanoseconds) or `_s` (seconds), rates in `_per_s`; shares are parts of
/// one. Format 2 added `gaps`, `outside`, `at_least` and the outcome `unknown`. Nothing in it depends on the machine or
/// on how long the run took.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Summary {
    /// The version of this format.
    #[serde(deserialize_with = "crate::read::this_format")]
    pub format: u32,
    /// Name of the experiment.
    pub name: String,
    /// Seed of all its randomness.
    pub seed: u64,
    /// Planned duration: in virtual time if it was simulated, by the wall clock if it was live.
    pub duration_s: f64,
    /// Time reached.
    pub reached_s: f64,
    /// True if the run ended early. All figures are then those until the time reached.
    pub cut_short: bool,
    /// Size of the simulated model.
    pub simulated: ModelSize,
    /// Operations, in the order in which they began; the coordinator's repairs are among them.
    pub operations: Vec<OperationSummary>,
    /// Loads.
    pub loads: Vec<LoadSummary>,
    /// Services, in the order of the file.
    pub services: Vec<ServiceSummary>,
    /// Usage of the cores, of each node that computed, in the order of the file.
    #[serde(default)]
    pub nodes: Vec<NodeSummary>,
    /// Real work: the processor time that the machines provided, compared with the time requested; `null` where work is
    /// a timer, as in every simulated run.
    #[serde(default)]
    pub real_work: Option<RealWork>,
    /// Calls by edge of the call graph: the edges that were used, in the order of the file.
    #[serde(default)]
    pub calls: Vec<EdgeSummary>,
    /// Missing measurements.
    #[serde(default)]
    pub gaps: Vec<GapSummary>,
    /// External changes to a live run; empty if it was simulated.
    #[serde(default)]
    #[serde(alias = "outside")]
    pub external: Outside,
    /// Totals of the run.
    pub traffic: Traffic,
    /// Verdicts of the SLOs.
    pub slo: Vec<Verdict>,
    /// Reason why the figures of a live run are not those of the mesh: its generator fell behind its plan. `null` if
    /// they are, as in every simulated run.
    #[serde(default)]
    pub invalid: Option<String>,
    /// Combined outcome of the lines of `slo`: the worst, `fail` before `unknown`; `pass` if there are none. Always
    /// `unknown` if the run is `invalid`.
    pub outcome: Outcome,
}

/// History of one operation.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct OperationSummary {
    /// Its index among the operations of the file, by time; `null` for a manual operation, and for a repair, which the
    /// coordinator decides itself.
    pub operation: Option<usize>,
    /// Its name, if the file gives it one.
    #[serde(default)]
    pub name: Option<String>,
    /// True for a manual operation. Summaries written before these existed leave it out.
    #[serde(default)]
    #[serde(alias = "by_hand")]
    pub manual: bool,
    /// Kind of the operation.
    #[schemars(with = "String", extend("enum" = KINDS.map(OperationKind::as_str)))]
    #[serde(alias = "verb")]
    pub kind: OperationKind,
    /// To which service.
    pub service: String,
    /// The number it ran toward (instances, or a version), or the factor of a scale.
    pub to: Option<f64>,
    /// The rate of its recurrence; `null` where it has none.
    pub rate: Option<f64>,
    /// Strategy of an update; `null` for all other operations, and in files of older versions.
    #[serde(default)]
    #[schemars(extend("enum" = STRATEGIES))]
    pub strategy: Option<Cow<'static, str>>,
    /// Start time.
    pub began_s: f64,
    /// Outcome.
    #[schemars(extend("enum" = OUTCOMES))]
    #[serde(alias = "ending")]
    pub outcome: Cow<'static, str>,
    /// Number of its steps.
    pub step_count: usize,
    /// The service's generation after the last of them.
    pub generation: Option<u64>,
    /// Time from its beginning until every node had acknowledged every step; `null` if not all have, or if it was
    /// running.
    #[serde(alias = "settling_ns")]
    pub settle_time_ns: Option<u64>,
    /// Target minus reached value when it ended.
    pub residual: Option<f64>,
    /// Messages sent for it, first ones and repeated ones.
    pub messages: u64,
    /// Number of them that were resent because no acknowledgement had come.
    pub resent: u64,
    /// Acknowledgements that first covered a step, one for each node and step.
    #[serde(alias = "acknowledgements")]
    pub acks: u64,
    /// Instances that found no node with room, after the last step.
    pub unplaced: u32,
    /// Reason of the unplaced instances, if there are any.
    #[serde(default)]
    pub unplaced_reason: Option<String>,
    /// S, C and V before it.
    pub before: Values,
    /// S, C and V after it.
    pub after: Values,
    /// Its steps.
    pub steps: Vec<StepSummary>,
}

const KINDS: [OperationKind; 6] = [
    OperationKind::Deploy,
    OperationKind::Undeploy,
    OperationKind::Extend,
    OperationKind::Scale,
    OperationKind::Update,
    OperationKind::Repair,
];

/// Strategies of updates; `None` for other operations.
const STRATEGIES: [Option<&str>; 5] = [Some("batch"), Some("bernoulli"), Some("rolling"), Some("canary"), None];

/// [`OperationOutcome`] in one word.
const OUTCOMES: [&str; 6] = ["running", "reached", "step_limit", "stuck", "superseded", "refused"];

/// Values of the three recurrences.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Values {
    /// S: whole instances.
    pub instances: u32,
    /// C: requests that an instance serves at once.
    pub capacity: f64,
    /// V: the mean version of the instances.
    pub version: f64,
}

/// One numbered step.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its number, over all services.
    pub n: u64,
    /// The service's generation with it.
    pub generation: u64,
    /// Time of the decision.
    pub decided_s: f64,
    /// Time from the decision until the last node had acknowledged it.
    #[serde(alias = "settling_ns")]
    pub settle_time_ns: Option<u64>,
    /// S in the recurrence, which may be between whole numbers.
    pub s: f64,
    /// V in the recurrence.
    pub v: f64,
    /// S, C and V as they are on the nodes.
    pub values: Values,
    /// Instances above S that are to run for a time, such as the surge of a rolling update.
    #[serde(default)]
    pub extra: u32,
    /// Instances for which no node had room, extra ones among them.
    pub unplaced: u32,
    /// Messages sent for it the first time.
    pub sent: u64,
    /// Messages sent for it again.
    pub resent: u64,
    /// Acknowledgements that first covered it.
    #[serde(alias = "acknowledgements")]
    pub acks: u64,
}

/// Results of the requests of one load.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct LoadSummary {
    /// Its name.
    pub name: String,
    /// Start of its measurement: after its warm-up.
    pub from_s: f64,
    /// End.
    pub to_s: f64,
    /// Requests planned in the warm-up; they count nowhere else.
    pub warmup: u64,
    /// All its requests.
    pub requests: Requests,
    /// The same for each of its targets.
    pub targets: Vec<TargetSummary>,
    /// The users of a closed load, and their omitted requests; `null` for an open one.
    #[serde(default)]
    pub closed: Option<ClosedSummary>,
}

impl LoadSummary {
    /// For a closed load: a note for readers of its figures.
    pub fn closed_in_words(&self) -> Option<String> {
        let per_second = self.requests.offered as f64 / (self.to_s - self.from_s);
        Some(self.closed.as_ref()?.in_words(per_second))
    }
}

/// Results of the requests for one endpoint.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct TargetSummary {
    /// `service.endpoint`.
    pub target: String,
    /// Results of its requests.
    pub requests: Requests,
}

/// Results of a set of requests.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Requests {
    /// Planned.
    pub offered: u64,
    /// Answered.
    pub done: u64,
    /// Of these, answered although an optional call failed, at any depth.
    #[serde(default)]
    pub degraded: u64,
    /// Failed, for any reason.
    pub failed: u64,
    /// Failed, by reason.
    pub failures: FailureCounts,
    /// Still in flight when the run ended.
    pub unfinished: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Failed without the retry that their policy has, because the retry budget allowed no more then.
    #[serde(default)]
    pub over_budget: u64,
    /// What the policies of these requests did, by kind: overflows, ejections, hedges.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Cow<'static, str>, u64>,
    /// Answered per second of the time measured.
    pub done_per_s: f64,
    /// Latency from the planned time.
    pub latency: Latency,
    /// The same from the actual send: smaller where the generator was late (coordinated omission).
    pub uncorrected: Latency,
    /// Delay of the send after the planned time, of those sent. `null` in summaries written before this was measured.
    #[serde(default)]
    pub lag: Option<Latency>,
    /// The latencies in bins, twenty to a decade: of each bin that is not empty its number and how many are in it. Bin n
    /// begins with 10^(n/20) nanoseconds. Empty in what was written before there were bins.
    #[serde(default)]
    pub latency_bins: Vec<(u32, u64)>,
    /// Correlation of the latencies of consecutive requests; `null` if there are too few.
    #[serde(default)]
    pub correlation: Option<Correlation>,
}

/// Failures by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct FailureCounts {
    /// The instance's queue was full, or the instance was gone.
    pub refused: u64,
    /// The service failed, or something that it called.
    pub error: u64,
    /// No reply came in time.
    pub timeout: u64,
    /// The node of the instance went down.
    pub lost: u64,
    /// There was no instance to call.
    pub no_instance: u64,
    /// The instance was to go, and its grace was over before the request was done.
    #[serde(default)]
    pub cut: u64,
}

/// Figures of the instances of a service, from the end of the first load's warm-up to the end of the run.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// S, C and V at the end.
    pub values: Values,
    /// Requests that arrived.
    pub arrived: u64,
    /// Answered well.
    pub done: u64,
    /// Of these, successful although an optional call failed, at any depth.
    #[serde(default)]
    pub degraded: u64,
    /// Answered badly.
    pub failed: u64,
    /// Answered badly, by reason.
    pub failures: FailureCounts,
    /// Dropped unanswered, because the caller had given up.
    pub expired: u64,
    /// Arrived per second of that time.
    pub arrived_per_s: f64,
    /// Share of the slots' time that was taken; `null` if there never was a slot.
    pub utilisation: Option<f64>,
    /// Cores that its requests kept busy, on average over that time; of a slow machine, the number that would be busy
    /// on a normal one.
    #[serde(default)]
    pub cores_busy: f64,
    /// Latency from arrival to reply, of successful requests.
    pub latency: Latency,
    /// Mean time that an arrived request waited for a slot.
    pub waited_mean_ns: Option<u64>,
    /// Maximum number of requests that waited at one instance at once.
    pub queue_peak: u32,
}

/// Usage of the cores of a node.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its name.
    pub name: String,
    /// Number of its cores.
    pub cores: f64,
    /// Busy cores, on average from the end of the first load's warm-up to the end of the run; of a slow machine, the
    /// number that would be busy on a normal one.
    pub cores_busy: f64,
    /// The same as a share of its cores.
    pub utilisation: f64,
}

/// Results of the calls from one service to one endpoint, of those that have ended and were made after the first load's
/// warm-up.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct EdgeSummary {
    /// The service that called.
    pub from: String,
    /// Called endpoint: `service.endpoint`.
    pub to: String,
    /// Calls, whatever the number of attempts of each.
    pub calls: u64,
    /// Calls whose last attempt succeeded.
    pub done: u64,
    /// Calls whose last attempt failed.
    pub failed: u64,
    /// Failed calls, by the reason of the last attempt.
    pub failures: FailureCounts,
    /// Of these, optional ones: the request continued without them.
    pub tolerated: u64,
    /// Attempts, the first of each call too.
    pub attempts: u64,
    /// Attempts after the first of each call.
    pub retries: u64,
    /// Attempts that failed, by reason: those that a retry made good too.
    pub attempts_failed: FailureCounts,
    /// Calls that failed without the retry that their policy has, because the retry budget allowed no more then.
    #[serde(default)]
    pub over_budget: u64,
    /// What the policies of these calls did, by kind: overflows, ejections, hedges.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Cow<'static, str>, u64>,
}

impl Summary {
    /// Adds up the measurements. `cut_short`: the run ended before its planned duration.
    pub fn new(experiment: &Experiment, measured: &Measured, cut_short: bool) -> Self {
        let slo: Vec<Verdict> = experiment
            .slos
            .iter()
            .enumerate()
            .map(|(index, slo)| Verdict::new(index, slo, experiment, measured))
            .collect();
        let values = Course::new(experiment, &measured.history);
        let outcome = slo.iter().map(|verdict| verdict.outcome).max().unwrap_or_default();
        let too_late = |(index, load)| generator::too_late(load, &measured.all(Some(index)));
        let mut reasons = experiment.mesh.loads.iter().enumerate().filter(|_| measured.is_live).filter_map(too_late);
        let invalid = reasons.next();
        Summary {
            format: FORMAT,
            name: experiment.name.clone(),
            seed: experiment.seed,
            duration_s: experiment.duration.secs(),
            reached_s: measured.now.secs(),
            cut_short,
            simulated: ModelSize::new(experiment),
            operations: operations(experiment, measured),
            loads: loads(experiment, measured),
            services: services(experiment, measured, &values),
            nodes: nodes(experiment, measured),
            calls: calls(experiment, measured),
            real_work: RealWork::new(&experiment.mesh, &measured.real_work),
            gaps: measured.gaps.iter().map(|gap| GapSummary::new(gap, experiment)).collect(),
            external: Outside::new(experiment, measured),
            traffic: measured.traffic,
            outcome: if invalid.is_some() { Outcome::Unknown } else { outcome },
            invalid,
            slo,
        }
    }
}

/// S, C and V of each service from step to step.
struct Course {
    first: Vec<Values>,
    steps: Vec<BTreeMap<u64, Values>>,
}

impl Course {
    fn new(experiment: &Experiment, history: &[OperationHistory]) -> Self {
        let services = &experiment.mesh.services;
        let first = |s: &meshsim_mesh::model::Service| Values {
            instances: 0,
            capacity: s.capacity,
            version: f64::from(s.version),
        };
        let mut steps = vec![BTreeMap::new(); services.len()];
        for operation in history {
            steps[operation.service.index()].extend(operation.steps.iter().map(|step| (step.n, after(step))));
        }
        Course { first: services.iter().map(first).collect(), steps }
    }

    fn before(&self, service: ServiceId, n: u64) -> Values {
        let last = self.steps[service.index()].range(..n).next_back();
        last.map_or(self.first[service.index()], |(_, values)| *values)
    }

    fn at_the_end(&self, service: ServiceId) -> Values {
        self.before(service, u64::MAX)
    }
}

fn after(step: &StepHistory) -> Values {
    // Extra instances are no part of S, even if they are the unplaced ones.
    let placed = step.instances.saturating_add(step.extra).saturating_sub(step.unplaced);
    Values { instances: placed.min(step.instances), capacity: step.c, version: step.v_mean }
}

/// Histories of all operations, in the order in which they began.
pub(crate) fn operations(experiment: &Experiment, measured: &Measured) -> Vec<OperationSummary> {
    OperationSummary::all(experiment, &measured.history)
}

impl OperationSummary {
    /// Results of all operations of a coordinator's history, in its order.
    pub fn all(experiment: &Experiment, history: &[OperationHistory]) -> Vec<Self> {
        let values = Course::new(experiment, history);
        history.iter().map(|it| operation(experiment, it, &values)).collect()
    }

    /// Result of one of them, by its index.
    pub fn one(experiment: &Experiment, history: &[OperationHistory], index: usize) -> Option<Self> {
        let it = history.get(index)?;
        Some(operation(experiment, it, &Course::new(experiment, history)))
    }
}

fn operation(experiment: &Experiment, history: &OperationHistory, course: &Course) -> OperationSummary {
    let (to, rate, strategy) = match &history.change {
        Some(Change::Extend { to, rate, .. }) => (Some(f64::from(*to)), Some(*rate), None),
        Some(Change::Update { to, rate, strategy }) => {
            let (name, has_rate) = match strategy {
                Strategy::Batch => ("batch", true),
                Strategy::Bernoulli => ("bernoulli", true),
                Strategy::Rolling { .. } => ("rolling", false),
                Strategy::Canary { .. } => ("canary", false),
            };
            (Some(f64::from(*to)), has_rate.then_some(*rate), Some(name.into()))
        }
        Some(Change::Scale { by }) => (Some(*by), None, None),
        Some(Change::Deploy | Change::Undeploy) | None => (None, None, None),
    };
    // A reached target leaves no residual.
    let residual = history.outcome.residual().or((history.outcome == OperationOutcome::Reached).then_some(0.0));
    let steps = &history.steps;
    let before = match steps.first() {
        Some(first) => course.before(history.service, first.n),
        None => course.at_the_end(history.service),
    };
    let service = experiment.mesh.service(history.service);
    let unplaced = steps.last().map_or(0, |step| step.unplaced);
    OperationSummary {
        operation: history.operation,
        name: history.operation.and_then(|at| experiment.operation_names.get(at).cloned().flatten()),
        manual: history.is_manual(),
        kind: history.kind,
        service: service.name.clone(),
        to,
        rate,
        strategy,
        began_s: history.began.secs(),
        outcome: history.outcome.as_str().into(),
        step_count: steps.len(),
        generation: steps.last().map(|step| step.generation),
        settle_time_ns: history.settled().map(|at| at.since(history.began).nanos()),
        residual,
        messages: sum(steps.iter().flat_map(|step| [step.sent, step.resent])),
        resent: sum(steps.iter().map(|step| step.resent)),
        acks: sum(steps.iter().map(|step| step.acks)),
        unplaced,
        unplaced_reason: (unplaced > 0).then(|| unplaced_reason(service)),
        before,
        after: steps.last().map_or(before, after),
        steps: steps
            .iter()
            .map(|step| StepSummary {
                n: step.n,
                generation: step.generation,
                decided_s: step.decided.secs(),
                settle_time_ns: step.settled.map(|at| at.since(step.decided).nanos()),
                s: step.s,
                v: step.v,
                values: after(step),
                extra: step.extra,
                unplaced: step.unplaced,
                sent: step.sent,
                resent: step.resent,
                acks: step.acks,
            })
            .collect(),
    }
}

/// Figures of other processes may be anything.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Span in which a load was measured, up to the end of the run.
fn measured_time(load: &Load, now: Time) -> (Time, Time) {
    let end = load.end.min(now);
    ((load.start + load.warmup).min(end), end)
}

/// The same, and no longer than its plan: the rate of a load that runs for a part of the time is of that part.
pub(crate) fn planned_time(load: &Load, now: Time) -> (Time, Time) {
    let (from, to) = measured_time(load, now);
    let end = match &load.arrivals {
        Arrivals::Rate { stages, .. } => {
            stages.iter().fold(load.start, |end, stage| if end == Time::NEVER { end } else { end + stage.length })
        }
        Arrivals::Stamps(_) | Arrivals::Users(_) => to,
    };
    (from.min(to.min(end)), to.min(end))
}

fn loads(experiment: &Experiment, measured: &Measured) -> Vec<LoadSummary> {
    let mesh = &experiment.mesh;
    let loads = mesh.loads.iter().zip(&measured.tallies).enumerate();
    loads
        .map(|(index, (load, tallies))| {
            let (from, to) = planned_time(load, measured.now);
            let all = measured.all(Some(index));
            let target = |(target, tally): (&meshsim_mesh::model::Target, &Tally)| TargetSummary {
                target: endpoint_in_words(mesh, target.service, target.endpoint),
                requests: requests(tally, to.since(from)),
            };
            LoadSummary {
                name: load.name.clone(),
                from_s: from.secs(),
                to_s: to.secs(),
                warmup: all.warmup,
                requests: requests(&all, to.since(from)),
                targets: load.mix.iter().zip(tallies).map(target).collect(),
                closed: ClosedSummary::new(load, &all, to.since(from)),
            }
        })
        .collect()
}

pub(crate) fn requests(tally: &Tally, measured: Span) -> Requests {
    let failed = tally.failed.total();
    Requests {
        offered: tally.offered,
        done: tally.done,
        degraded: tally.degraded,
        failed,
        failures: failures(&tally.failed),
        unfinished: tally.offered.saturating_sub(tally.done.saturating_add(failed)),
        retries: tally.retries,
        over_budget: tally.over_budget,
        policies: policies(&tally.policies),
        done_per_s: per_second(tally.done, measured),
        latency: Latency::with_pending(&tally.latency, &tally.pending),
        uncorrected: Latency::new(&tally.uncorrected),
        lag: Some(Latency::new(&tally.lag)),
        latency_bins: bins(&tally.latency),
        correlation: Correlation::new(&tally.batches),
    }
}

/// Policy events by kind; those over the retry budget have a figure of their own.
fn policies(counts: &PolicyCounts) -> BTreeMap<Cow<'static, str>, u64> {
    let others = counts.occurred().filter(|(event, _)| *event != PolicyEvent::OverBudget);
    others.map(|(event, count)| (Cow::Borrowed(event.as_str()), count)).collect()
}

fn failures(counts: &Failures) -> FailureCounts {
    FailureCounts {
        refused: counts.of(Failure::Refused),
        error: counts.of(Failure::Error),
        timeout: counts.of(Failure::Timeout),
        lost: counts.of(Failure::Lost),
        no_instance: counts.of(Failure::NoInstance),
        cut: counts.of(Failure::Cut),
    }
}

impl FailureCounts {
    /// The reasons that occurred, the most frequent first.
    pub fn most_frequent(&self) -> Vec<(&'static str, u64)> {
        let mut all = vec![
            ("refused", self.refused),
            ("error", self.error),
            ("timeout", self.timeout),
            ("lost", self.lost),
            ("no instance", self.no_instance),
            ("cut", self.cut),
        ];
        all.retain(|(_, count)| *count > 0);
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}

pub(crate) fn per_second(count: u64, time: Span) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.secs() }
}

fn services(experiment: &Experiment, measured: &Measured, course: &Course) -> Vec<ServiceSummary> {
    let from = experiment.mesh.measured_from();
    let services = experiment.mesh.services.iter().zip(&measured.served).enumerate();
    services
        .map(|(index, (service, served))| ServiceSummary {
            name: service.name.clone(),
            values: course.at_the_end(ServiceId(index as u16)),
            arrived: served.arrived,
            done: served.done,
            degraded: served.degraded,
            failed: served.failed.total(),
            failures: failures(&served.failed),
            expired: served.expired,
            arrived_per_s: per_second(served.arrived, measured.now.since(from)),
            utilisation: (served.slot_ns > 0).then(|| served.busy_ns as f64 / served.slot_ns as f64),
            cores_busy: cores_busy(served.work_ns, measured.now.since(from)),
            latency: Latency::new(&served.latency),
            waited_mean_ns: served.waited_ns.checked_div(served.arrived),
            queue_peak: served.queue_peak,
        })
        .collect()
}

fn nodes(experiment: &Experiment, measured: &Measured) -> Vec<NodeSummary> {
    let from = experiment.mesh.measured_from();
    let nodes = experiment.mesh.nodes.iter().zip(&measured.worked_ns).filter(|(_, worked_ns)| **worked_ns > 0);
    nodes
        .map(|(node, worked_ns)| {
            let cores_busy = cores_busy(*worked_ns, measured.now.since(from));
            let utilisation = cores_busy / node.cores;
            NodeSummary { name: node.name.clone(), cores: node.cores, cores_busy, utilisation }
        })
        .collect()
}

fn calls(experiment: &Experiment, measured: &Measured) -> Vec<EdgeSummary> {
    let mesh = &experiment.mesh;
    let callers = mesh.services.iter().zip(&measured.served);
    let edges = callers.flat_map(|(caller, served)| {
        served.calls.iter().map(move |(edge, used)| (caller, edge, &used.calls, &used.policies))
    });
    edges
        // The measurements of another process may have any value.
        .filter(|(_, edge, ..)| mesh.has_endpoint(edge.service, edge.endpoint))
        .map(|(caller, edge, calls, done_by)| EdgeSummary {
            from: caller.name.clone(),
            to: endpoint_in_words(mesh, edge.service, edge.endpoint),
            calls: calls.calls(),
            done: calls.done,
            failed: calls.failed.total(),
            failures: failures(&calls.failed),
            tolerated: calls.tolerated,
            attempts: calls.attempts,
            retries: calls.retries(),
            attempts_failed: failures(&calls.attempts_failed),
            over_budget: calls.over_budget,
            policies: policies(done_by),
        })
        .collect()
}

fn cores_busy(worked_ns: u64, time: Span) -> f64 {
    if time.is_zero() { 0.0 } else { worked_ns as f64 / time.nanos() as f64 }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_an_actor_finds_that_it_cannot_find_is_left_out() {
        let text = "nodes: [ { name: node } ]\nservices: { a: { endpoints: { get: {} } } }\n";
        let experiment = meshsim_experiment::parse("mesh.yaml", text, Path::new(""), &[]).unwrap();
        // A node that sends results of a gateway.
        let found = [None, Some(ActorResults::Gateway { tally: Box::default() })];
        let measured = Measured::gather(&experiment.mesh, Time::ZERO, Traffic::default(), found);
        assert!(measured.manual.is_none());
    }
}
