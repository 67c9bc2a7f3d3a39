//! Answers of nodes, and measurements from them.

use std::collections::{BTreeMap, VecDeque};

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

use super::figures::{Figures, ServiceFigures};
use super::history::{Checked, Measurement, MeasurementVerdict};
use crate::criterion::Comparison;
use crate::model::{Analysis, AnalysisMetric, Check, Control};

/// Rounds for which an answer counts: a node that has missed one more has no signal.
const ROUNDS_KEPT: u64 = 2;

/// Answers about one service, by node: the latest last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Samples(BTreeMap<ActorId, VecDeque<ServiceFigures>>);

/// A version whose instances are on these nodes.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) new: u32,
    pub(crate) old: u32,
    /// Nodes that are to have instances of the new version.
    pub(crate) nodes: &'a [ActorId],
}

impl Samples {
    /// Takes an answer in. `window` is the number of rounds that the longest window needs.
    pub(crate) fn take(&mut self, from: ActorId, figures: ServiceFigures, window: u64) {
        let kept = self.0.entry(from).or_default();
        if kept.back().is_some_and(|last| figures.round <= last.round || figures.incarnation < last.incarnation) {
            return;
        }
        // Counts begin anew with the memory of the node.
        kept.retain(|it| it.incarnation == figures.incarnation && it.since == figures.since);
        kept.push_back(figures);
        let oldest = kept.back().map_or(0, |last| last.round.saturating_sub(window));
        // One from before the window stays: the window begins with it.
        while kept.get(1).is_some_and(|second| second.round <= oldest) {
            kept.pop_front();
        }
    }

    /// The figures of a version on a node over so many rounds; `None`: it has not answered lately.
    fn of_node(&self, node: ActorId, version: u32, round: u64, window: u64) -> Option<Figures> {
        let (kept, last) = self.latest(node, round)?;
        let of = |it: &ServiceFigures| it.versions.iter().find(|(of, _)| *of == version).map(|(_, it)| it.clone());
        let Some(now) = of(last) else { return Some(Figures::default()) };
        let begin = last.round.saturating_sub(window);
        let base = kept.iter().rev().find(|it| it.round <= begin);
        // Without an answer from that time the window is shorter. Counts that began within it are all in it.
        let base = base.or_else(|| kept.front().filter(|_| last.since < begin));
        Some(now.since(&base.and_then(of).unwrap_or_default()))
    }

    /// The answers of a node, and the last of them; `None`: it has not answered lately.
    fn latest(&self, node: ActorId, round: u64) -> Option<(&VecDeque<ServiceFigures>, &ServiceFigures)> {
        let kept = self.0.get(&node)?;
        Some((kept, kept.back().filter(|last| last.round + ROUNDS_KEPT > round)?))
    }

    /// Measures: `round` is the latest that was asked for.
    pub(crate) fn measure(&self, analysis: &Analysis, of: Of<'_>, round: u64, control: &Control) -> Measurement {
        let window = analysis.rounds(control);
        let sum = |version| {
            let all = self.0.keys().filter_map(|node| self.of_node(*node, version, round, window));
            all.fold(Figures::default(), |mut sum, figures| {
                sum.add(&figures);
                sum
            })
        };
        let answered = of.nodes.iter().filter(|node| self.latest(**node, round).is_some()).count();
        let is_compared = analysis.checks.iter().any(|check| check.of_old);
        let (new, old) = (sum(of.new), if is_compared { sum(of.old) } else { Figures::default() });
        let is_blind = answered == 0 || new.ended() < analysis.min_requests.max(1);
        let checks: Vec<Checked> = analysis.checks.iter().map(|check| checked(check, &new, &old, is_blind)).collect();
        let verdict = if checks.iter().any(|it| it.holds == Some(false)) {
            MeasurementVerdict::Failed
        } else if checks.iter().any(|it| it.holds.is_none()) {
            MeasurementVerdict::Inconclusive
        } else {
            MeasurementVerdict::Successful
        };
        let nodes = (answered as u32, (of.nodes.len() - answered) as u32);
        Measurement { step: None, requests: new.ended(), failed: new.failed, nodes, checks, verdict }
    }
}

fn figure(metric: AnalysisMetric, of: &Figures) -> Option<f64> {
    match metric {
        AnalysisMetric::Errors => of.errors(),
        AnalysisMetric::Quantile(q) => of.quantile(q),
        AnalysisMetric::Mean => of.mean(),
        AnalysisMetric::Within(bound) => of.within(bound),
    }
}

fn checked(check: &Check, new: &Figures, old: &Figures, is_blind: bool) -> Checked {
    let value = figure(check.metric, new);
    let other = check.of_old.then(|| figure(check.metric, old)).flatten();
    let threshold = if check.of_old { other.map(|other| other * check.threshold) } else { Some(check.threshold) };
    let holds = match (value, threshold) {
        _ if is_blind => None,
        // No figure is below zero: where the old version's is zero, an equal one is enough.
        (Some(0.0), Some(0.0)) if check.of_old && check.comparison == Comparison::Less => Some(true),
        (Some(value), Some(threshold)) => Some(check.comparison.holds(value, threshold)),
        // All requests failed: no latency is within any bound.
        (None, _) if new.ended() > 0 => Some(false),
        _ => None,
    };
    Checked { value, old: other, holds }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Span;

    use super::*;
    use crate::model::ServiceId;
    use crate::rollout::figures::VersionCounts;

    const NODE: ActorId = ActorId(1);

    fn control() -> Control {
        Control { metrics: Span::from_secs(1), ..Control::default() }
    }

    fn analysis(check: Check, window: u64) -> Analysis {
        Analysis {
            checks: vec![check],
            interval: Span::from_secs(5),
            window: Span::from_secs(window),
            initial_delay: Span::ZERO,
            count: None,
            failure_limit: 0,
            inconclusive_limit: 0,
            min_requests: 1,
        }
    }

    fn errors_below(threshold: f64, of_old: bool) -> Check {
        let (metric, comparison) = (AnalysisMetric::Errors, Comparison::Less);
        Check { text: "errors".into(), metric, comparison, threshold, of_old }
    }

    /// A node that answers each round: in round r, r requests of version 2 fail and 10 are answered.
    fn answers(rounds: impl Iterator<Item = u64>) -> Samples {
        let (mut counts, mut samples) = (VersionCounts::from_round(0), Samples::default());
        let asked: Vec<u64> = rounds.collect();
        for round in 1..=asked.last().copied().unwrap_or(0) {
            (0..round).for_each(|_| counts.failed(Some(2)));
            (0..10).for_each(|_| counts.answered(Some(2), Span::from_millis(5)));
            if asked.contains(&round) {
                samples.take(NODE, counts.told(ServiceId(0), round, 0), 3);
            }
        }
        samples
    }

    fn of_all(samples: &Samples, window: u64, round: u64) -> (u64, u64, MeasurementVerdict) {
        let of = Of { new: 2, old: 1, nodes: &[NODE] };
        let it = samples.measure(&analysis(errors_below(0.5, false), window), of, round, &control());
        (it.requests, it.failed, it.verdict)
    }

    #[test]
    fn a_measurement_is_about_the_requests_of_its_window() {
        let samples = answers(1..=8);
        // Rounds 6, 7 and 8.
        assert_eq!(of_all(&samples, 3, 8), (51, 21, MeasurementVerdict::Successful));
        assert_eq!(of_all(&samples, 1, 8), (18, 8, MeasurementVerdict::Successful));
    }

    #[test]
    fn a_lost_answer_costs_precision_and_no_request() {
        // The answers of rounds 5 and 7 are lost: the window begins with that of round 4.
        assert_eq!(of_all(&answers([1, 2, 3, 4, 6, 8].into_iter()), 3, 8).1, 5 + 6 + 7 + 8);
        // Counts that began within the window are all in it.
        assert_eq!(of_all(&answers([2].into_iter()), 3, 2), (23, 3, MeasurementVerdict::Successful));
    }

    #[test]
    fn old_answers_and_few_requests_are_inconclusive() {
        let samples = answers(1..=8);
        assert_eq!(of_all(&samples, 3, 9).2, MeasurementVerdict::Successful);
        assert_eq!(of_all(&samples, 3, 10), (0, 0, MeasurementVerdict::Inconclusive));
        let of = Of { new: 2, old: 1, nodes: &[NODE] };
        let few = Analysis { min_requests: 52, ..analysis(errors_below(0.5, false), 3) };
        assert_eq!(samples.measure(&few, of, 8, &control()).verdict, MeasurementVerdict::Inconclusive);
        // Nothing of the old version ended: it cannot be compared.
        let compared = analysis(errors_below(1.5, true), 3);
        assert_eq!(samples.measure(&compared, of, 8, &control()).verdict, MeasurementVerdict::Inconclusive);
    }

    #[test]
    fn a_single_answer_about_a_longer_time_than_the_window_says_nothing() {
        // Counts of an earlier rollout, or of the time before the coordinator's reboot, are in it.
        let mut counts = VersionCounts::from_round(1);
        counts.failed(Some(2));
        let mut samples = Samples::default();
        samples.take(NODE, counts.told(ServiceId(0), 20, 0), 3);
        assert_eq!(of_all(&samples, 3, 20), (0, 0, MeasurementVerdict::Inconclusive));
        counts.failed(Some(2));
        samples.take(NODE, counts.told(ServiceId(0), 21, 0), 3);
        assert_eq!(of_all(&samples, 3, 21), (1, 1, MeasurementVerdict::Failed));
    }

    #[test]
    fn equal_zeros_are_enough_for_fewer_and_for_nothing_else() {
        let holds = |comparison| {
            let check = Check { comparison, ..errors_below(0.9, true) };
            let (mut new, mut old) = (VersionCounts::from_round(0), VersionCounts::from_round(0));
            new.answered(Some(2), Span::from_millis(5));
            old.answered(Some(1), Span::from_millis(5));
            let figures = |counts: &mut VersionCounts| counts.told(ServiceId(0), 1, 0).versions[0].1.clone();
            checked(&check, &figures(&mut new), &figures(&mut old), false).holds
        };
        assert_eq!(holds(Comparison::Less), Some(true));
        assert_eq!(holds(Comparison::AtMost), Some(true));
        assert_eq!(holds(Comparison::More), Some(false));
    }

    #[test]
    fn a_node_that_began_anew_has_only_its_new_counts() {
        let mut samples = answers(1..=8);
        let mut counts = VersionCounts::from_round(9);
        counts.failed(Some(2));
        samples.take(NODE, counts.told(ServiceId(0), 9, 1), 3);
        assert_eq!(of_all(&samples, 3, 9), (1, 1, MeasurementVerdict::Failed));
        // A late answer of the life before changes nothing.
        samples.take(NODE, ServiceFigures { round: 10, ..VersionCounts::from_round(0).told(ServiceId(0), 10, 0) }, 3);
        assert_eq!(of_all(&samples, 3, 9), (1, 1, MeasurementVerdict::Failed));
    }

    #[test]
    fn latencies_of_nothing_answered_are_within_no_bound() {
        let mut counts = VersionCounts::from_round(0);
        counts.failed(Some(2));
        let mut samples = Samples::default();
        samples.take(NODE, counts.told(ServiceId(0), 1, 0), 3);
        let check = Check {
            text: "p99 < 1s".into(),
            metric: AnalysisMetric::Quantile(0.99),
            comparison: Comparison::Less,
            threshold: 1.0,
            of_old: false,
        };
        let of = Of { new: 2, old: 1, nodes: &[NODE] };
        let it = samples.measure(&analysis(check, 3), of, 1, &control());
        assert_eq!((it.verdict, it.checks[0].value), (MeasurementVerdict::Failed, None));
    }
}
