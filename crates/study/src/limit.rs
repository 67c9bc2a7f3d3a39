//! The highest rate at which all SLOs hold, the SLOs that fail beyond it, and the services that limit it.
//!
//! First a scan with one seed, since results need not be monotone: under retries a higher rate can hold where a lower
//! one does not. Then the limit of each seed is found by bisection, between the last rate of the scan that holds and
//! the first that does not. The limits of the seeds are independent draws; their mean is the limit, with Student's
//! interval.

use meshsim_experiment::check::{CheckReport, Full, check};
use meshsim_experiment::{Bundle, Experiment, Override};
use meshsim_mesh::model::Arrivals;
use meshsim_report::Outcome;
use schemars::JsonSchema;
use serde::Serialize;

use crate::estimate::Estimate;
use crate::figures::Ended;
use crate::journal::Tried;
use crate::pool::{self, Stop};
use crate::store::StoreError;

/// Number of rates that the scan tries below and around the predicted limit.
const SCAN: usize = 12;
/// Step of the scan, as a fraction of the prediction: the scan ends at 12 of these steps.
const STEP: f64 = 0.1;
/// Largest number of doublings, or halvings, in search of a rate that fails, or holds.
const DOUBLINGS_MAX: usize = 20;
/// Fewest requests of a run that counts: with a handful of requests, any SLO holds now and then.
const REQUESTS_MIN: u64 = 100;
/// Number of services that are listed.
const BUSIEST: usize = 3;

/// Parameters of a search.
#[derive(Clone, Debug)]
pub struct Question {
    /// Index of the load whose rate rises; `None`: all loads, in the same mix.
    pub load: Option<usize>,
    /// Seeds; each has its own limit.
    pub seeds: Vec<u64>,
    /// Precision of the limit of a seed, as a fraction of it.
    pub within: f64,
}

/// Result of a search.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Limit {
    /// The version of this format.
    pub format: u32,
    /// Name of the experiment.
    pub name: String,
    /// Load whose rate rose; `null`: all loads together.
    pub load: Option<String>,
    /// Rate of these loads in the file, in requests per second, on average while they last.
    pub rate_in_file: f64,
    /// Highest rate at which all SLOs hold, in requests per second: the mean over the seeds. `null` if none was found.
    pub rate: Option<Estimate>,
    /// The limit of each seed.
    pub by_seed: Vec<SeedLimit>,
    /// Rates of the scan, in rising order.
    pub scan: Vec<Probe>,
    /// False if some rate of the scan holds although a lower one does not. The limit is then the lowest one: all rates
    /// tried below it hold.
    pub is_monotone: bool,
    /// SLOs that fail just above the limit.
    pub fails: Vec<Failing>,
    /// The busiest services just below the limit, busiest first.
    pub busiest: Vec<Busy>,
    /// The service or node that is full first according to `check`, as deployed and at a rate of all loads together;
    /// `null` if `check` predicts none.
    pub predicted: Option<Predicted>,
}

/// Prediction of `check`.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Predicted {
    /// Service or node that is full first.
    pub name: String,
    /// Its resource: `slots`, `cpu_limit` or `cores`.
    pub of: String,
    /// Rate of all loads together at which it is full, in requests per second.
    pub rate: f64,
}

/// The limit of one seed.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct SeedLimit {
    /// The seed.
    pub seed: u64,
    /// Its limit, in requests per second.
    pub rate: f64,
}

/// A rate that the search tried.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Probe {
    /// In requests per second.
    pub rate: f64,
    /// True if all SLOs hold.
    pub holds: bool,
}

/// An SLO that does not hold just above the limit.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Failing {
    /// The SLO as written in the file.
    pub slo: String,
    /// Number of seeds in whose runs it fails.
    pub runs: usize,
}

/// A service and its utilisation.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Busy {
    /// Its name.
    pub name: String,
    /// Fraction of its slots in use, on average over the seeds.
    pub utilisation: f64,
}

/// Reason why there is no limit.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The experiment has no SLO.
    #[error("the experiment has no SLO")]
    NoSlo,
    /// The load replays a recording, so its rate cannot change.
    #[error("`{0}` replays moments of a file: its rate cannot be raised")]
    Replay(String),
    /// The load is closed: its users wait for answers, so it has no rate.
    #[error("`{0}` is a closed load: its users wait for answers, so it has no rate that could be raised")]
    Closed(String),
    /// The experiment has no load.
    #[error("the experiment has no load")]
    NoLoad,
    /// No rate holds.
    #[error("`{0}` does not hold at {1}/s either, the lowest rate that was tried with enough requests to tell")]
    Never(String, String),
    /// Runs are too short.
    #[error("at {0}/s too there are fewer than {REQUESTS_MIN} requests: the run is too short to tell")]
    Short(String),
    /// Every rate holds.
    #[error("all SLOs hold at {0}/s too, the highest rate that was tried")]
    Always(String),
    /// A run could not be made.
    #[error("{0}")]
    Broken(String),
    /// A run could not be stored.
    #[error("{0}")]
    Kept(#[from] StoreError),
    /// The search was stopped.
    #[error("it was ended before its time")]
    Stopped,
}

type Result<T> = std::result::Result<T, LimitError>;

/// A run at a factor of the file's rate.
struct Run {
    holds: bool,
    /// Requests of all loads.
    offered: u64,
    missed: Vec<String>,
    busy: Vec<(String, f64)>,
}

impl Run {
    fn new(ended: &Ended, experiment: &Experiment) -> Self {
        let mesh = &experiment.mesh;
        let figure = |name: String| ended.figure(&name).unwrap_or(0.0);
        let busy = |name: &String| (name.clone(), figure(format!("services.{name}.utilisation")));
        Run {
            holds: ended.outcome == Outcome::Pass,
            offered: mesh.loads.iter().map(|load| figure(format!("load.{}.offered", load.name)) as u64).sum(),
            missed: ended.missed.clone(),
            busy: mesh.services.iter().map(|service| busy(&service.name)).collect(),
        }
    }
}

/// The experiment and the state of a search.
struct Search<'a, At, Keep> {
    experiment: &'a Experiment,
    bundle: Bundle,
    loads: Vec<usize>,
    threads: usize,
    rate: f64,
    done: std::cell::Cell<usize>,
    at: &'a At,
    /// Runs that are already known.
    known: &'a [Tried],
    keep: std::cell::RefCell<Keep>,
}

/// Interval of the limit of one seed: the SLOs hold at `low` and fail at `high`, as factors of the file's rate.
struct Bracket {
    seed: u64,
    low: Option<(f64, Run)>,
    high: Option<(f64, Run)>,
}

/// Finds the limit, on `threads` threads. Runs that are `known` are not repeated; each new run is passed to `keep`. So
/// an interrupted search continues, and finds the same limit. `at` gets the number of finished runs, ten times a
/// second, and returns whether to continue.
///
/// # Errors
/// If there is no limit: [`LimitError`] gives the reason.
pub fn find(
    experiment: &Experiment,
    question: &Question,
    threads: usize,
    known: &[Tried],
    keep: impl FnMut(&Tried) -> std::result::Result<(), StoreError>,
    at: impl Fn(usize) -> bool,
) -> Result<Limit> {
    let mesh = &experiment.mesh;
    if experiment.slos.is_empty() {
        return Err(LimitError::NoSlo);
    }
    let loads: Vec<usize> = question.load.map_or_else(|| (0..mesh.loads.len()).collect(), |load| vec![load]);
    if loads.is_empty() || question.seeds.is_empty() {
        return Err(LimitError::NoLoad);
    }
    if let Some(load) = loads.iter().find(|load| matches!(mesh.loads[**load].arrivals, Arrivals::Stamps(_))) {
        return Err(LimitError::Replay(mesh.loads[*load].name.clone()));
    }
    if let Some(load) = loads.iter().find(|load| mesh.loads[**load].arrivals.users().is_some()) {
        return Err(LimitError::Closed(mesh.loads[*load].name.clone()));
    }
    let findings = check(experiment);
    let rate: f64 = loads.iter().map(|load| findings.loads[*load].rate).sum();
    if rate <= 0.0 {
        return Err(LimitError::NoLoad);
    }
    let predicted = predicted(&findings);
    let search = Search {
        experiment,
        bundle: experiment.bundle(),
        loads,
        threads,
        rate,
        done: Default::default(),
        at: &at,
        known,
        keep: std::cell::RefCell::new(keep),
    };
    let guess = guess(&findings, predicted, rate);
    let (scan, low, high) = search.scan(question.seeds[0], guess)?;
    let brackets = search.bisect(&question.seeds, low, high, question.within)?;

    let by_seed: Vec<SeedLimit> = brackets
        .iter()
        .filter_map(|it| {
            Some(SeedLimit { seed: it.seed, rate: (it.low.as_ref()?.0 + it.high.as_ref()?.0) / 2.0 * rate })
        })
        .collect();
    let limits: Vec<f64> = by_seed.iter().map(|it| it.rate).collect();
    let first_failing = scan.iter().position(|probe| !probe.holds);
    let is_monotone = first_failing.is_none_or(|first| scan[first..].iter().all(|probe| !probe.holds));
    let of_full = |full: &Full| Predicted { name: full.name.clone(), of: full.of.into(), rate: full.rate };
    Ok(Limit {
        format: 1,
        name: experiment.name.clone(),
        load: question.load.map(|load| mesh.loads[load].name.clone()),
        rate_in_file: rate,
        rate: Estimate::new(&limits),
        by_seed,
        scan,
        is_monotone,
        fails: failing(&brackets),
        busiest: busiest(&brackets),
        predicted: predicted.map(of_full),
    })
}

fn predicted(findings: &CheckReport) -> Option<&Full> {
    findings.situations.first().and_then(|situation| situation.first.as_ref())
}

/// Factor of the file's rate near which the limit may be: where the first service or node is full.
fn guess(findings: &CheckReport, predicted: Option<&Full>, rate: f64) -> f64 {
    let all: f64 = findings.loads.iter().map(|load| load.rate).sum();
    match predicted {
        // With the other loads unchanged.
        Some(full) if full.rate.is_finite() && full.rate > all - rate => (full.rate - (all - rate)) / rate,
        _ => 1.0,
    }
}

impl<At: Fn(usize) -> bool, Keep: FnMut(&Tried) -> std::result::Result<(), StoreError>> Search<'_, At, Keep> {
    /// Runs all of these, each a seed and a factor; returns the runs in the same order.
    fn run(&self, jobs: &[(u64, f64)]) -> Result<Vec<Run>> {
        let of = |(seed, factor): (u64, f64)| {
            let found = self.known.iter().find(|tried| tried.seed == seed && tried.factor == factor);
            found.map(|tried| Run::new(&tried.ended, self.experiment))
        };
        let mut found: Vec<Option<Run>> = jobs.iter().map(|job| of(*job)).collect();
        let missing: Vec<usize> = (0..jobs.len()).filter(|job| found[*job].is_none()).collect();
        let (mut broken, done) = (None, &self.done);
        done.set(done.get() + jobs.len() - missing.len());
        let (bundle, loads) = (&self.bundle, &self.loads[..]);
        let work = |at: &usize, stop: &Stop| one(bundle, loads, jobs[missing[*at]], stop);
        let each = |at: usize, ended: std::result::Result<Option<Ended>, String>| {
            let job = missing[at];
            match ended {
                Ok(Some(ended)) => {
                    found[job] = Some(Run::new(&ended, self.experiment));
                    let (seed, factor) = jobs[job];
                    let kept = (self.keep.borrow_mut())(&Tried { seed, factor, ended });
                    broken = kept.err().map(LimitError::Kept);
                }
                Ok(None) => {}
                Err(error) => broken = Some(LimitError::Broken(error)),
            }
            done.set(done.get() + 1);
            broken.is_none() && (self.at)(done.get())
        };
        pool::run(0..missing.len(), self.threads, work, each, || (self.at)(done.get()));
        match broken {
            Some(error) => Err(error),
            None => found.into_iter().map(|run| run.ok_or(LimitError::Stopped)).collect(),
        }
    }

    fn written(&self, factor: f64) -> String {
        meshsim_report::number(factor * self.rate)
    }

    /// Tries rates with one seed. Returns them, and the two factors around the limit: the last before the first
    /// failure, and the first failure.
    fn scan(&self, seed: u64, guess: f64) -> Result<(Vec<Probe>, f64, f64)> {
        let mut factors: Vec<f64> = (1..=SCAN).map(|n| guess * STEP * n as f64).collect();
        let at = |factors: &[f64]| self.run(&factors.iter().map(|factor| (seed, *factor)).collect::<Vec<_>>());
        let mut runs = at(&factors)?;
        // Runs with only a handful of requests are ignored.
        let Some(enough) = runs.iter().position(|run| run.offered >= REQUESTS_MIN) else {
            return Err(LimitError::Short(self.written(factors[SCAN - 1])));
        };
        runs.drain(..enough);
        factors.drain(..enough);
        while !runs[0].holds {
            let lower = factors[0] / 2.0;
            let run = at(&[lower])?;
            if run.iter().any(|run| run.offered < REQUESTS_MIN) {
                let slo = runs[0].missed.first().cloned().unwrap_or_default();
                return Err(LimitError::Never(slo, self.written(factors[0])));
            }
            runs.splice(0..0, run);
            factors.insert(0, lower);
        }
        let last = |factors: &[f64]| factors.last().copied().unwrap_or(guess);
        for _ in 0..DOUBLINGS_MAX {
            if runs.iter().any(|run| !run.holds) {
                break;
            }
            let higher = last(&factors) * 2.0;
            runs.extend(at(&[higher])?);
            factors.push(higher);
        }
        let Some(first) = runs.iter().position(|run| !run.holds).filter(|first| *first > 0) else {
            return Err(LimitError::Always(self.written(last(&factors))));
        };
        let probe = |(factor, run): (&f64, &Run)| Probe { rate: factor * self.rate, holds: run.holds };
        Ok((factors.iter().zip(&runs).map(probe).collect(), factors[first - 1], factors[first]))
    }

    /// Halves the bracket of each seed until it is narrow enough; all seeds together, so that all threads have work.
    fn bisect(&self, seeds: &[u64], low: f64, high: f64, within: f64) -> Result<Vec<Bracket>> {
        let mut brackets: Vec<Bracket> =
            seeds.iter().map(|seed| Bracket { seed: *seed, low: None, high: None }).collect();
        loop {
            let open: Vec<(usize, f64)> = brackets
                .iter()
                .enumerate()
                .filter_map(|(index, bracket)| Some((index, bracket.next(low, high, within)?)))
                .collect();
            if open.is_empty() {
                return Ok(brackets);
            }
            let runs =
                self.run(&open.iter().map(|(index, factor)| (brackets[*index].seed, *factor)).collect::<Vec<_>>())?;
            for ((index, factor), run) in open.into_iter().zip(runs) {
                let bracket = &mut brackets[index];
                let end = if run.holds { &mut bracket.low } else { &mut bracket.high };
                *end = Some((factor, run));
                let most = 2_f64.powi(DOUBLINGS_MAX as i32);
                let is_few = |(_, run): &(f64, Run)| run.offered < REQUESTS_MIN / 2;
                let is_nothing = bracket.low.is_none() && bracket.high.as_ref().is_some_and(is_few);
                if factor < low / most || factor > high * most || is_nothing {
                    let slo = bracket.high.as_ref().and_then(|(_, run)| run.missed.first().cloned());
                    return Err(match slo {
                        Some(slo) if bracket.low.is_none() => LimitError::Never(slo, self.written(factor)),
                        _ => LimitError::Always(self.written(factor)),
                    });
                }
            }
        }
    }
}

/// A run with this seed and at this factor of the file's rate; `None` if it was stopped.
fn one(
    bundle: &Bundle,
    loads: &[usize],
    (seed, factor): (u64, f64),
    stop: &Stop,
) -> std::result::Result<Option<Ended>, String> {
    let overrides: Vec<Override> = Override::parse(&format!("seed={seed}")).into_iter().collect();
    let mut experiment = bundle.read_with(&overrides).map_err(|problems| problems.to_string())?;
    for load in loads {
        let arrivals = &mut experiment.mesh.loads[*load].arrivals;
        *arrivals = arrivals.scaled(factor);
    }
    let summary = crate::simulate(&experiment, stop)?;
    Ok(summary.map(|summary| Ended::new(&summary)))
}

impl Bracket {
    /// The factor to try next; `None` if the bracket is narrow enough.
    fn next(&self, low: f64, high: f64, within: f64) -> Option<f64> {
        match (&self.low, &self.high) {
            // The bounds of the scan are those of its seed; the limit of another seed may be outside.
            (None, None) => Some(low),
            (Some((holds, _)), None) if *holds < high => Some(high),
            (Some((holds, _)), None) => Some(holds + (high - low)),
            (None, Some((fails, _))) => {
                let lower = fails - (high - low);
                Some(if lower > 0.0 { lower } else { fails / 2.0 })
            }
            (Some((holds, _)), Some((fails, _))) => {
                (fails - holds > within * holds).then(|| holds + (fails - holds) / 2.0)
            }
        }
    }
}

/// SLOs that fail just above the limits, the most frequent first.
fn failing(brackets: &[Bracket]) -> Vec<Failing> {
    let mut all: Vec<Failing> = Vec::new();
    for slo in brackets.iter().filter_map(|bracket| bracket.high.as_ref()).flat_map(|(_, run)| &run.missed) {
        match all.iter_mut().find(|failing| failing.slo == *slo) {
            Some(failing) => failing.runs += 1,
            None => all.push(Failing { slo: slo.clone(), runs: 1 }),
        }
    }
    all.sort_by_key(|failing| std::cmp::Reverse(failing.runs));
    all
}

/// The busiest services just below the limits.
fn busiest(brackets: &[Bracket]) -> Vec<Busy> {
    let runs: Vec<&Run> = brackets.iter().filter_map(|bracket| Some(&bracket.low.as_ref()?.1)).collect();
    let Some(first) = runs.first() else { return Vec::new() };
    let mean = |index: usize| runs.iter().map(|run| run.busy[index].1).sum::<f64>() / runs.len() as f64;
    let named =
        first.busy.iter().enumerate().map(|(index, (name, _))| Busy { name: name.clone(), utilisation: mean(index) });
    let mut all: Vec<Busy> = named.collect();
    all.sort_by(|a, b| b.utilisation.total_cmp(&a.utilisation));
    all.truncate(BUSIEST);
    all
}
