//! The smallest experiment that still breaks the same rule.
//!
//! Delta debugging (Zeller and Hildebrandt: Simplifying and isolating failure-inducing input, 2002) over the
//! [parts](Parts) of an experiment. The result is 1-minimal: without any one part that is left, the rule holds.

use std::collections::BTreeSet;

use meshsim_experiment::{Bundle, Experiment, Override, Parts};
use meshsim_report::verify::Verified;

use crate::trial::try_out;

/// What is left of an experiment.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The experiment.
    pub experiment: Experiment,
    /// The rules that it breaks.
    pub rules: Vec<Verified>,
    /// Parts that it had.
    pub parts_before: usize,
    /// Parts that are left.
    pub parts: usize,
    /// Runs that were made.
    pub runs: u64,
    /// False if it was stopped: perhaps more can be left out.
    pub is_minimal: bool,
}

/// Progress of shrinking.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Runs that were made.
    pub runs: u64,
    /// Parts that are left.
    pub parts: usize,
}

/// Leaves out of an experiment what it does not need to break a rule that it breaks. `None` if it breaks none.
/// `goes_on` is asked before each run; if it returns false, the result is the smallest so far.
pub fn shrink(experiment: &Experiment, mut goes_on: impl FnMut(Progress) -> bool) -> Option<Shrunk> {
    shrink_by(experiment, &mut goes_on)
}

fn shrink_by(experiment: &Experiment, goes_on: &mut dyn FnMut(Progress) -> bool) -> Option<Shrunk> {
    let rules = broken(experiment);
    if rules.is_empty() {
        return None;
    }
    let wanted: BTreeSet<&str> = rules.iter().map(|it| it.rule).collect();
    let parts = Parts::of(experiment);
    let mut shrunk = Shrunk {
        experiment: experiment.clone(),
        parts_before: parts.count(),
        parts: parts.count(),
        runs: 1,
        is_minimal: true,
        rules: rules.clone(),
    };
    let mut kept: Vec<usize> = (0..parts.count()).collect();
    let mut pieces = 2;
    'shrinking: while !kept.is_empty() {
        let length = kept.len().div_ceil(pieces);
        let mut has_shrunk = false;
        for piece in kept.chunks(length) {
            if !goes_on(Progress { runs: shrunk.runs, parts: kept.len() }) {
                shrunk.is_minimal = false;
                break 'shrinking;
            }
            let rest: Vec<usize> = kept.iter().copied().filter(|at| !piece.contains(at)).collect();
            let left_out = (0..parts.count()).filter(|at| !rest.contains(at)).collect();
            shrunk.runs += 1;
            if shrunk.takes(&parts.without(&left_out), &[], &wanted) {
                kept = rest;
                has_shrunk = true;
                break;
            }
        }
        match has_shrunk {
            true => pieces = (pieces - 1).max(2).min(kept.len().max(1)),
            false if pieces >= kept.len() => break,
            false => pieces = (pieces * 2).min(kept.len()),
        }
    }
    shrunk.parts = kept.len();
    if shrunk.ends_early(&wanted) && shrunk.is_minimal {
        // What mattered only later can go now.
        let runs = shrunk.runs;
        let again = shrink_by(&shrunk.experiment, &mut |progress| {
            goes_on(Progress { runs: runs + progress.runs, parts: progress.parts })
        });
        if let Some(again) = again {
            shrunk = Shrunk { parts_before: shrunk.parts_before, runs: runs + again.runs, ..again };
        }
    }
    Some(shrunk)
}

/// The rules that an experiment breaks.
fn broken(experiment: &Experiment) -> Vec<Verified> {
    try_out(experiment).map(|trial| trial.broken).unwrap_or_default()
}

impl Shrunk {
    /// Takes another experiment instead, if it breaks one of the wanted rules.
    fn takes(&mut self, bundle: &Bundle, overrides: &[Override], wanted: &BTreeSet<&str>) -> bool {
        let Ok(experiment) = bundle.read_with(overrides) else { return false };
        let rules = broken(&experiment);
        let is_wanted = rules.iter().any(|it| wanted.contains(it.rule));
        if is_wanted {
            (self.experiment, self.rules) = (experiment, rules);
        }
        is_wanted
    }

    /// Lets the run end soon after the rule is broken, if it is broken then. True if it ends earlier.
    fn ends_early(&mut self, wanted: &BTreeSet<&str>) -> bool {
        let breaches = self.rules.iter().flat_map(|it| &it.breaches).map(|breach| breach.at_s);
        let first = breaches.fold(f64::INFINITY, f64::min);
        let secs = first.ceil() + 1.0;
        if !(0.0 < first && secs < self.experiment.duration.secs()) {
            return false;
        }
        let duration = Override::parse(&format!("duration={secs}s")).expect("it has a key");
        self.runs += 1;
        let bundle = self.experiment.bundle();
        self.takes(&bundle, &[duration], wanted)
    }
}
