//! Runs of one experiment, side by side: [`Comparison`] for machines, [`text()`] for people.
//!
//! A comparison uses only the summary.json of each run. The first run is the base of all others; [`noise`] defines
//! which differences are noise.

#[cfg(test)]
mod calibration;
pub mod history;
pub mod noise;
mod text;

use std::collections::BTreeMap;

use meshsim_mesh::measure::OperationKind;
use schemars::JsonSchema;
use serde::Serialize;

use crate::correlation::Correlation;
use crate::figures::Latency;
use crate::show::{percent, seconds};
use crate::summary::{LoadSummary, OperationSummary, Requests, ServiceSummary, Summary, TargetSummary};
use crate::verdict::Outcome;

use history::History;
use noise::{Difference, Noise};
pub use text::text;

/// Maximum number of compared runs: each has a letter.
pub const RUNS_MAX: usize = 26;

/// Times of measuring that differ by less than this share are the same: a live run ends slightly late.
const SAME_TIME: f64 = 0.01;

/// From this utilisation on, requests wait for each other so much that the band is too narrow where a run does not say
/// how much alike they are: at 63 % of its slots' time taken, hotel shows one difference in a thousand beyond it
/// between seeds; at 89 %, one in eight.
const BUSY: f64 = 0.8;

/// Resolution of histograms, as a fraction of the figure: three significant digits for loads, two for services.
const LOAD_RESOLUTION: f64 = 0.001;
const SERVICE_RESOLUTION: f64 = 0.01;

/// Selects a percentile.
type Percentile = fn(&Latency) -> Option<u64>;

/// The percentiles that are compared, as shares, and where they stand.
pub(crate) const PERCENTILES: [(f64, Percentile); 3] =
    [(0.5, |latency| latency.p50_ns), (0.9, |latency| latency.p90_ns), (0.99, |latency| latency.p99_ns)];

/// A run and its name in the comparison: its folder.
#[derive(Clone, Debug)]
pub struct Named {
    /// The folder, for people.
    pub run: String,
    /// Summary of the run.
    pub summary: Summary,
}

/// Runs of one experiment, side by side. The first of `runs` is the base. Lists called `values` have one entry for each
/// run, in this order; lists called `differences` have one for each run but the base.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Comparison {
    /// The version of this format.
    pub format: u32,
    /// Bounds of noise.
    pub noise: Noise,
    /// The runs; the first is the base.
    pub runs: Vec<RunOf>,
    /// For each run but the base: in what its experiment differs from that of the base, besides seed, duration, name
    /// and SLOs; empty for runs of one experiment.
    pub differences: Vec<Vec<String>>,
    /// Aspects in which the runs are not comparable, with the consequence for the figures.
    pub remarks: Vec<String>,
    /// Operations: those of the base, then those of other runs only.
    pub operations: Vec<OperationComparison>,
    /// For each run but the base: whether the same was decided.
    pub histories: Vec<History>,
    /// Requests, by load and target.
    pub loads: Vec<LoadComparison>,
    /// Figures of the services.
    pub services: Vec<ServiceComparison>,
    /// Number of differences, of figures that both runs have.
    pub compared: usize,
    /// Number of these that are larger than noise.
    pub beyond: usize,
}

/// A run that is compared.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct RunOf {
    /// Its folder.
    pub run: String,
    /// Name.
    pub name: String,
    /// Seed.
    pub seed: u64,
    /// Planned duration.
    pub duration_s: f64,
    /// Time reached.
    pub reached_s: f64,
    /// True if the run ended early.
    pub cut_short: bool,
    /// Verdict over its SLOs.
    pub outcome: Outcome,
}

/// One figure in all runs.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Figure {
    /// The figure in each run; `null` where there is none, as for a percentile of too few samples.
    pub values: Vec<Option<u64>>,
    /// Each run but the base held against it; `null` where one of the two has no figure.
    pub differences: Vec<Option<Difference>>,
}

/// Results of a set of requests.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Figures {
    /// Planned by a load, or arrived at a service.
    pub offered: Figure,
    /// Answered.
    pub done: Figure,
    /// Failed, or answered badly.
    pub failed: Figure,
    /// Half of the replies took at most this, in nanoseconds.
    pub p50_ns: Figure,
    /// 90 %.
    pub p90_ns: Figure,
    /// 99 %.
    pub p99_ns: Figure,
}

/// A load, or one of its targets.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct LoadComparison {
    /// The load's name.
    pub load: String,
    /// `service.endpoint`; `null` for all requests of the load.
    pub target: Option<String>,
    /// Results of its requests.
    pub figures: Figures,
}

/// A service.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ServiceComparison {
    /// Its name.
    pub service: String,
    /// Its figures.
    pub figures: Figures,
}

/// An operation in all runs.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct OperationComparison {
    /// Its index among the operations of the file, by time; `null` for a manual operation and for a repair.
    pub operation: Option<usize>,
    /// Kind of the operation.
    pub kind: String,
    /// To which service.
    pub service: String,
    /// Start time, in the first run that has it.
    pub began_s: f64,
    /// Number of its steps. It is not random: every difference is beyond noise.
    pub steps: Figure,
    /// From its beginning until every node had acknowledged every step, in nanoseconds.
    pub settle_time_ns: Figure,
    /// Messages sent for it, first ones and repeated ones.
    pub messages: Figure,
    /// Outcome in each run; `null` in one that does not have it.
    pub outcomes: Vec<Option<String>>,
}

impl Comparison {
    /// Holds runs against a base. They are taken for runs of one experiment; see
    /// [`of_experiments`](Self::of_experiments).
    pub fn new(base: &Named, others: &[Named], noise: Noise) -> Self {
        let runs: Vec<&Named> = std::iter::once(base).chain(others).collect();
        let summaries: Vec<&Summary> = runs.iter().map(|named| &named.summary).collect();
        let loads = loads(&summaries, noise);
        let services = services(&summaries, noise);
        let operations = operations(&summaries, noise);
        let figures = loads.iter().map(|load| &load.figures).chain(services.iter().map(|service| &service.figures));
        let figures = figures.flat_map(|figures| figures.each().map(|(_, figure)| figure));
        let figures = figures.chain(operations.iter().flat_map(OperationComparison::figures));
        let (mut compared, mut beyond) = (0, 0);
        for difference in figures.flat_map(|figure| figure.differences.iter().flatten()) {
            compared += 1;
            beyond += usize::from(difference.beyond);
        }
        Comparison {
            format: 1,
            noise,
            runs: runs.iter().map(|named| RunOf::new(named)).collect(),
            differences: vec![Vec::new(); others.len()],
            remarks: remarks(&summaries),
            histories: summaries[1..].iter().map(|other| History::new(summaries[0], other)).collect(),
            operations,
            loads,
            services,
            compared,
            beyond,
        }
    }

    /// Sets the differences between the experiments, for each run except the base.
    #[must_use]
    pub fn of_experiments(mut self, differences: Vec<Vec<String>>) -> Self {
        self.differences = differences;
        self
    }
}

impl RunOf {
    fn new(named: &Named) -> Self {
        let summary = &named.summary;
        RunOf {
            run: named.run.clone(),
            name: summary.name.clone(),
            seed: summary.seed,
            duration_s: summary.duration_s,
            reached_s: summary.reached_s,
            cut_short: summary.cut_short,
            outcome: summary.outcome,
        }
    }
}

impl Figure {
    fn new(values: Vec<Option<u64>>, difference: impl Fn(u64, usize, u64) -> Difference) -> Self {
        let base = values.first().copied().flatten();
        let others = values.iter().enumerate().skip(1);
        let differences = others.map(|(run, other)| Some(difference(base?, run, (*other)?))).collect();
        Figure { values, differences }
    }

    /// True if some run differs by more than noise.
    pub(crate) fn differs(&self) -> bool {
        self.differences.iter().flatten().any(|difference| difference.beyond)
    }
}

impl Figures {
    /// Each with its name for people.
    pub(crate) fn each(&self) -> [(&'static str, &Figure); 6] {
        [
            ("offered", &self.offered),
            ("done", &self.done),
            ("failed", &self.failed),
            ("p50", &self.p50_ns),
            ("p90", &self.p90_ns),
            ("p99", &self.p99_ns),
        ]
    }

    pub(crate) fn differ(&self) -> bool {
        self.each().iter().any(|(_, figure)| figure.differs())
    }
}

impl OperationComparison {
    fn figures(&self) -> [&Figure; 3] {
        [&self.steps, &self.settle_time_ns, &self.messages]
    }

    /// Importance of a difference here: decisions before durations.
    pub(crate) fn weight(&self) -> u8 {
        let ended_alike = self.outcomes.iter().all(|outcome| *outcome == self.outcomes[0]);
        match () {
            () if !ended_alike || self.steps.differs() => 2,
            () if self.settle_time_ns.differs() || self.messages.differs() => 1,
            () => 0,
        }
    }
}

/// Figures of the requests of a load, a target or a service in one run.
struct Sample<'a> {
    offered: u64,
    done: u64,
    failed: u64,
    latency: &'a Latency,
    /// For how long they were counted.
    secs: f64,
    /// Number of them that one request of a load causes.
    together: f64,
    /// Correlation of consecutive ones.
    correlation: Option<Correlation>,
}

impl<'a> Sample<'a> {
    fn new(requests: &'a Requests, load: &LoadSummary) -> Self {
        Sample::of(requests, load.to_s - load.from_s)
    }

    fn of(requests: &'a Requests, secs: f64) -> Self {
        Sample {
            offered: requests.offered,
            done: requests.done,
            failed: requests.failed,
            latency: &requests.latency,
            secs,
            together: 1.0,
            correlation: requests.correlation,
        }
    }

    fn of_service(service: &'a ServiceSummary, summary: &Summary) -> Self {
        let requests: f64 = summary.loads.iter().map(|load| load.requests.offered as f64 + load.warmup as f64).sum();
        Sample {
            offered: service.arrived,
            done: service.done,
            failed: service.failed,
            latency: &service.latency,
            secs: summary.reached_s,
            together: (service.arrived as f64 / requests.max(1.0)).max(1.0),
            correlation: summary.loads.iter().filter_map(|load| load.requests.correlation).reduce(Correlation::larger),
        }
    }
}

fn figures(samples: &[Option<Sample<'_>>], noise: Noise, resolution: f64) -> Figures {
    // A figure exists only where its sample does.
    let of = |run: usize, what: fn(&Sample<'_>) -> f64, or: f64| samples[run].as_ref().map_or(or, what);
    let counts = |what: fn(&Sample<'_>) -> u64, together: fn(&Sample<'_>) -> f64| {
        Figure::new(samples.iter().map(|sample| sample.as_ref().map(what)).collect(), |base, run, other| {
            let ratio = ratio(of(0, |sample| sample.secs, 0.0), of(run, |sample| sample.secs, 0.0));
            noise.counts(base, other, ratio, of(0, together, 1.0).max(of(run, together, 1.0)))
        })
    };
    let empty = Latency::default();
    let latency = |run: usize| samples[run].as_ref().map_or(&empty, |sample| sample.latency);
    let percentiles = PERCENTILES.map(|(q, of)| {
        Figure::new((0..samples.len()).map(|run| of(latency(run))).collect(), |base, run, other| {
            let factor = factor(q, [0, run].map(|run| samples[run].as_ref().and_then(|sample| sample.correlation)));
            noise.percentiles(q, (base, latency(0)), (other, latency(run)), factor, resolution)
        })
    });
    let [p50_ns, p90_ns, p99_ns] = percentiles;
    Figures {
        offered: counts(|sample| sample.offered, |sample| sample.together),
        done: counts(|sample| sample.done, |sample| sample.together),
        // One failure of a service is one failed request.
        failed: counts(|sample| sample.failed, |_| 1.0),
        p50_ns,
        p90_ns,
        p99_ns,
    }
}

/// Number of requests of two runs that carry as much information as one independent one about the percentile of the
/// fraction `q`.
fn factor(q: f64, of: [Option<Correlation>; 2]) -> f64 {
    of.into_iter().flatten().map(|it| it.factor(q)).reduce(f64::min).unwrap_or(1.0)
}

/// Measured time of another run, relative to the base.
fn ratio(base_s: f64, other_s: f64) -> f64 {
    let ratio = other_s / base_s;
    let is_time = base_s > 0.0 && other_s > 0.0 && ratio.is_finite();
    if is_time && (ratio - 1.0).abs() > SAME_TIME { ratio } else { 1.0 }
}

/// The entry of each run that is called as that of the base: in runs of one experiment, at the same place.
fn aligned<'a, T>(
    summaries: &[&'a Summary],
    index: usize,
    list: impl Fn(&'a Summary) -> &'a [T],
    is_meant: impl Fn(&T) -> bool,
) -> Vec<Option<&'a T>> {
    let of = |summary: &&'a Summary| {
        let list = list(summary);
        list.get(index).filter(|item| is_meant(item)).or_else(|| list.iter().find(|item| is_meant(item)))
    };
    summaries.iter().map(of).collect()
}

fn loads<'a>(summaries: &[&'a Summary], noise: Noise) -> Vec<LoadComparison> {
    let mut out = Vec::new();
    for (index, load) in summaries[0].loads.iter().enumerate() {
        let mut loads = aligned(summaries, index, |summary| &summary.loads, |other| other.name == load.name);
        // A run that ended before a load was measured has no figures of it.
        loads.iter_mut().for_each(|load| *load = load.filter(|load| load.to_s > load.from_s));
        let mut add = |target: Option<&str>, requests: &dyn Fn(&'a LoadSummary) -> Option<&'a Requests>| {
            let sample =
                |load: &Option<&'a LoadSummary>| load.and_then(|load| Some(Sample::new(requests(load)?, load)));
            let samples: Vec<_> = loads.iter().map(sample).collect();
            let figures = figures(&samples, noise, LOAD_RESOLUTION);
            out.push(LoadComparison { load: load.name.clone(), target: target.map(str::to_owned), figures });
        };
        add(None, &|load| Some(&load.requests));
        for (index, TargetSummary { target, .. }) in load.targets.iter().enumerate() {
            add(Some(target), &|load| {
                let found = load.targets.get(index).filter(|other| other.target == *target);
                found.map(|found| &found.requests)
            });
        }
    }
    out
}

fn services(summaries: &[&Summary], noise: Noise) -> Vec<ServiceComparison> {
    let compare = |(index, service): (usize, &ServiceSummary)| {
        let found = aligned(summaries, index, |summary| &summary.services, |other| other.name == service.name);
        let samples: Vec<_> =
            found.iter().zip(summaries).map(|(found, summary)| Some(Sample::of_service((*found)?, summary))).collect();
        ServiceComparison { service: service.name.clone(), figures: figures(&samples, noise, SERVICE_RESOLUTION) }
    };
    summaries[0].services.iter().enumerate().map(compare).collect()
}

/// The operations of the base in their order, then those that only other runs have. Repairs and manual operations have
/// no index in the file: the first of a service is compared with the first, and so on.
fn operations(summaries: &[&Summary], noise: Noise) -> Vec<OperationComparison> {
    type Key<'a> = (Option<usize>, OperationKind, &'a str, usize);
    let mut order: Vec<Key<'_>> = Vec::new();
    let mut found: BTreeMap<Key<'_>, Vec<Option<&OperationSummary>>> = BTreeMap::new();
    for (run, summary) in summaries.iter().enumerate() {
        let mut seen: BTreeMap<Key<'_>, usize> = BTreeMap::new();
        for operation in &summary.operations {
            let what = (operation.operation, operation.kind, operation.service.as_str(), 0);
            let nth = seen.entry(what).or_default();
            let key = (what.0, what.1, what.2, *nth);
            *nth += 1;
            let runs = found.entry(key).or_insert_with(|| {
                order.push(key);
                vec![None; summaries.len()]
            });
            runs[run] = Some(operation);
        }
    }
    let scatters: Vec<f64> = summaries.iter().map(|summary| noise::scatter(summary)).collect();
    let compare = |key: &Key<'_>| {
        let runs = &found[key];
        let of = |what: fn(&OperationSummary) -> Option<u64>| runs.iter().map(|run| run.and_then(what)).collect();
        OperationComparison {
            operation: key.0,
            kind: key.1.as_str().into(),
            service: key.2.into(),
            began_s: runs.iter().flatten().map(|operation| operation.began_s).next().unwrap_or_default(),
            steps: Figure::new(of(|o| Some(o.step_count as u64)), |base, _, other| Noise::exact(base, other)),
            settle_time_ns: Figure::new(of(|o| o.settle_time_ns), |base, run, other| {
                noise.settling((base, scatters[0]), (other, scatters[run]))
            }),
            messages: Figure::new(of(|o| Some(o.messages)), |base, _, other| noise.single(base, other)),
            outcomes: runs.iter().map(|run| run.map(|operation| operation.outcome.to_string())).collect(),
        }
    };
    order.iter().map(compare).collect()
}

/// The letter of a run, or of anything else that is compared, by its place.
pub fn letter(run: usize) -> &'static str {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    LETTERS.get(run..=run).unwrap_or("?")
}

fn remarks(summaries: &[&Summary]) -> Vec<String> {
    let mut out = Vec::new();
    let base = summaries[0];
    let of_other_seeds = summaries.iter().enumerate().filter(|(_, summary)| summary.seed != base.seed);
    let of_other_seeds: Vec<&str> = of_other_seeds.map(|(run, _)| letter(run)).collect();
    if !of_other_seeds.is_empty() {
        out.push(format!("{}: another seed than A, so chance falls differently", of_other_seeds.join(", ")));
    }
    // If all runs report the correlation of requests, the band follows from it.
    let says = |summary: &&&Summary| summary.loads.iter().all(|load| load.requests.correlation.is_some());
    let services = summaries.iter().filter(|summary| !says(summary)).flat_map(|summary| &summary.services);
    let busiest = services.map(|service| (service.utilisation.unwrap_or(0.0), &service.name));
    if let Some((utilisation, service)) = busiest.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(share, _)| *share >= BUSY)
    {
        let busy = percent(utilisation);
        out.push(format!(
            "{service} was busy for {busy} of the time: where requests queue, there is more noise than the band"
        ));
    }
    for (run, summary) in summaries.iter().enumerate() {
        let name = letter(run);
        let alike = |load: &&LoadSummary| load.requests.correlation.is_some_and(|it| it.is_untold());
        if let Some(load) = summary.loads.iter().find(alike) {
            out.push(format!(
                "{name} is too short to tell how much alike the requests of {} are: expect more noise",
                load.name
            ));
        }
        if summary.duration_s != base.duration_s {
            out.push(format!(
                "{name} lasts {}, A {}: counts are held against A's for the same time, as if its rates never changed",
                seconds(summary.duration_s),
                seconds(base.duration_s),
            ));
        }
        if summary.cut_short {
            let (reached, whole) = (seconds(summary.reached_s), seconds(summary.duration_s));
            out.push(format!("{name} was cut short at {reached} of {whole}: its figures are those of that time"));
        }
    }
    out
}
