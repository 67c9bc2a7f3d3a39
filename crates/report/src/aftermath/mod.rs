//! Effects of faults and operations on requests, and the time until the run was back to normal.
//!
//! Failures and latencies have a [`Usual`] range: up to the 99th percentile of the quiet windows. A fault or an
//! operation has passed when three windows in a row are back in range. Failures are attributed to faults and operations
//! by time.

mod usual;

use meshsim_experiment::Experiment;
use meshsim_mesh::measure::OperationKind;
use meshsim_mesh::policy::PolicyGroup;

use crate::events::{Event, EventKind};
use crate::figures::has_enough;
use crate::series::{Kind, Row, Series};
use crate::show::{count, operation_in_words};
use crate::summary::{Measured, OperationSummary, Summary};

pub use usual::Usual;

/// Time for which later events may be effects of a fault or an operation, in seconds.
const AFTER_S: f64 = 5.0;
/// Failures and latencies must be above their range by this factor: by chance a few windows in a hundred leave the
/// range of the others.
pub const ABOVE: f64 = 1.25;
/// Number of windows in a row that must be back in range.
pub const BACK_WINDOWS: usize = 3;

/// Effects of faults and operations in one run.
#[derive(Clone, Debug)]
pub struct Aftermath {
    /// All loads together, by time.
    pub windows: Vec<Window>,
    /// The latency that the windows have.
    pub tail: Tail,
    /// The load whose latency that is: the one with most requests. `None` where there is no other.
    pub tail_of: Option<String>,
    /// Usual range; `None` if too few windows lie outside of faults and operations.
    pub usual: Option<Usual>,
    /// Faults and operations, by their beginning. The deploys with which a run begins and the coordinator's repairs are
    /// not among them.
    pub disturbances: Vec<Disturbance>,
    /// Events without an origin in the file, by time.
    pub marks: Vec<Mark>,
}

/// All loads in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Start of the window.
    pub from_s: f64,
    /// End of the window.
    pub to_s: f64,
    /// Requests that were due in it.
    pub offered: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Requests in flight, on average.
    pub in_flight: f64,
    /// The latency that [`Aftermath::tail`] names, in nanoseconds.
    pub tail_ns: Option<u64>,
    /// The longest of the same load.
    pub max_ns: Option<u64>,
    /// Events of policies of all callers and instances, by [`PolicyGroup`].
    pub policies: [u64; PolicyGroup::ALL.len()],
    /// Look-ups in caches, of all services.
    pub look_ups: u64,
    /// Of these, those that did not find their key.
    pub misses: u64,
    /// Messages that wait in queues of all services, on average.
    pub messages: f64,
}

impl Window {
    /// The share of those due that failed; 0 if none was due.
    pub fn failed_share(&self) -> f64 {
        if self.offered > 0 { self.failed as f64 / self.offered as f64 } else { 0.0 }
    }

    /// The share of the look-ups that did not find their key; 0 if there was none.
    pub fn missed_share(&self) -> f64 {
        if self.look_ups > 0 { self.misses as f64 / self.look_ups as f64 } else { 0.0 }
    }

    fn tail(&self) -> Option<f64> {
        self.tail_ns.map(|ns| ns as f64)
    }
}

/// The highest percentile that most windows have enough requests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// p99: 1,000 requests a window.
    P99,
    /// p90: 100 requests a window.
    P90,
    /// p50: 20 requests a window.
    P50,
    /// The longest, where there are too few for any percentile.
    Max,
}

impl Tail {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Tail::P99 => "p99",
            Tail::P90 => "p90",
            Tail::P50 => "p50",
            Tail::Max => "max",
        }
    }

    fn of(self, row: &Row) -> Option<u64> {
        match self {
            Tail::P99 => row.p99_ns,
            Tail::P90 => row.p90_ns,
            Tail::P50 => row.p50_ns,
            Tail::Max => row.max_ns,
        }
    }

    /// For windows in which so many requests were answered.
    fn new(mut done: Vec<u64>) -> Self {
        done.sort_unstable();
        let median = done.get(done.len() / 2).copied().unwrap_or(0);
        let enough = [(Tail::P99, 0.99), (Tail::P90, 0.9), (Tail::P50, 0.5)];
        enough.into_iter().find(|(_, q)| has_enough(median, *q)).map_or(Tail::Max, |(tail, _)| tail)
    }
}

/// A fault from its beginning to its end, or an operation until it had settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Disturbance {
    /// A fault, or else an operation.
    pub is_fault: bool,
    /// In words, as in the file.
    pub what: String,
    /// Start time.
    pub from_s: f64,
    /// End time; the end of the run, if it lasted until then.
    pub to_s: f64,
    /// Times at which the steps of an operation were decided.
    pub steps_s: Vec<f64>,
    /// The windows in which requests or latencies were out of range: indexes of the first, and of the first that is
    /// back in range. `None` if there is none, or if the usual range is unknown.
    pub left: Option<(usize, usize)>,
}

impl Disturbance {
    /// The windows in which something may be its doing: from its beginning until all was as before.
    pub fn windows<'a>(&self, aftermath: &'a Aftermath) -> &'a [Window] {
        let all = &aftermath.windows;
        let from = all.iter().position(|it| it.to_s > self.from_s).unwrap_or(all.len());
        let to = all.iter().rposition(|it| it.from_s < self.to_s).map_or(from, |last| last + 1);
        let to = to.max(self.left.map_or(0, |(_, over)| over)).max(from);
        &all[from..to]
    }

    /// Time until the run was back to normal, in seconds since it began: `Some(None)` if it never was, `None` if
    /// nothing had changed.
    pub fn recovery_s(&self, aftermath: &Aftermath) -> Option<Option<f64>> {
        let (_, over) = self.left?;
        let last = &aftermath.windows[over - 1];
        Some((over < aftermath.windows.len()).then_some(last.to_s - self.from_s))
    }
}

/// An event without an origin in the file: nodes that were declared dead or came back, repairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Time.
    pub at_s: f64,
    /// In words.
    pub what: String,
}

impl Aftermath {
    /// Effects that the time series of a run shows, if there is one. Without events faults are unknown.
    pub fn new(summary: &Summary, series: Option<&Series>, events: &[Event]) -> Self {
        let mut disturbances: Vec<Disturbance> = operations(summary).chain(faults(summary, events)).collect();
        disturbances.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
        let (windows, tail) = series.map_or((Vec::new(), Tail::Max), |series| windows(summary, series));
        let usual = Usual::new(&windows, &disturbances);
        for disturbance in &mut disturbances {
            disturbance.left = usual.and_then(|usual| left(disturbance, &windows, &usual));
        }
        let tail_of = if summary.loads.len() > 1 { busiest(summary).map(str::to_owned) } else { None };
        Aftermath { windows, tail, tail_of, usual, disturbances, marks: marks(summary, events) }
    }

    /// The same from measurements, for callers without files of the run.
    pub fn measured(experiment: &Experiment, measured: &Measured, summary: &Summary) -> Self {
        let series = Series::new(experiment, measured);
        let events = crate::events(experiment, measured, summary, &series);
        Aftermath::new(summary, Some(&series), &events)
    }

    /// The worst windows: that in which the greatest share failed, with its neighbours in which at least half as much
    /// did; if none failed, that of the longest latency. `None` if no request was due.
    pub fn worst(&self) -> Option<&[Window]> {
        let all = &self.windows;
        let is_worse = |a: &Window, b: &Window| {
            let failed = a.failed_share().total_cmp(&b.failed_share());
            failed.then(a.tail_ns.cmp(&b.tail_ns)).then(a.max_ns.cmp(&b.max_ns)).is_gt()
        };
        let due = (0..all.len()).filter(|index| all[*index].offered > 0);
        let worst = due.reduce(|worst, index| if is_worse(&all[index], &all[worst]) { index } else { worst })?;
        let share = all[worst].failed_share();
        let is_bad = |it: &&Window| share > 0.0 && it.failed_share() >= share / 2.0;
        let before = all[..worst].iter().rev().take_while(is_bad).count();
        let after = all[worst + 1..].iter().take_while(is_bad).count();
        Some(&all[worst - before..worst + 1 + after])
    }

    /// Failures by the fault or operation that they belong to, by time: to the last that was at work. The last entry is
    /// of those that belong to none.
    pub fn failures(&self) -> Vec<u64> {
        let none = self.disturbances.len();
        let mut owners = vec![none; self.windows.len()];
        for (index, disturbance) in self.disturbances.iter().enumerate() {
            let until = disturbance.left.map_or(0.0, |(_, over)| self.windows[over - 1].to_s).max(disturbance.to_s);
            for (window, owner) in self.windows.iter().zip(&mut owners) {
                // A request that was due just before it can fail because of it.
                if window.to_s >= disturbance.from_s && window.from_s < until {
                    *owner = index;
                }
            }
        }
        let mut failed = vec![0; none + 1];
        self.windows.iter().zip(owners).for_each(|(window, owner)| failed[owner] += window.failed);
        failed
    }
}

fn left(of: &Disturbance, windows: &[Window], usual: &Usual) -> Option<(usize, usize)> {
    let is_near = |it: &Window| it.to_s > of.from_s && it.from_s < of.to_s + AFTER_S;
    let from = windows.iter().position(|it| is_near(it) && usual.is_left_by(it))?;
    let is_back = |at: &usize| !windows[*at..].iter().take(BACK_WINDOWS).any(|it| usual.is_left_by(it));
    Some((from, (from + 1..windows.len()).find(is_back).unwrap_or(windows.len())))
}

fn busiest(summary: &Summary) -> Option<&str> {
    // Of equal ones the first.
    let loads = summary.loads.iter().rev();
    loads.max_by_key(|load| load.requests.offered).map(|load| load.name.as_str())
}

fn windows(summary: &Summary, series: &Series) -> (Vec<Window>, Tail) {
    let rows = || series.of(Kind::Load);
    let with_policies = || series.rows.iter().filter(|row| matches!(row.kind, Kind::Load | Kind::Edge | Kind::Service));
    let of_busiest = || rows().filter(|row| busiest(summary) == Some(&row.name));
    let tail = Tail::new(of_busiest().filter(|row| row.offered > 0).map(|row| row.done).collect());
    // Loads may have windows of different lengths.
    let length_s = rows().map(Row::length_s).fold(0.0, f64::max);
    let mut windows: Vec<Window> = Vec::new();
    for row in rows().filter(|row| row.length_s() > 0.0) {
        let index = ((row.from_s + row.to_s) / 2.0 / length_s) as usize;
        // A series.csv may have been written by another program.
        if index > series.rows.len() {
            continue;
        }
        while windows.len() <= index {
            let from_s = windows.len() as f64 * length_s;
            windows.push(Window { from_s, to_s: from_s, ..Window::default() });
        }
        let window = &mut windows[index];
        window.to_s = window.to_s.max(row.to_s);
        window.offered = window.offered.saturating_add(row.offered);
        window.failed = window.failed.saturating_add(row.failed);
        // A sum over time, until all rows are there.
        window.in_flight += row.in_flight_ns as f64 / 1e9;
        if busiest(summary) == Some(&row.name) {
            window.tail_ns = window.tail_ns.max(tail.of(row));
            window.max_ns = window.max_ns.max(row.max_ns);
        }
    }
    for row in with_policies().filter(|row| length_s > 0.0 && row.length_s() > 0.0) {
        if let Some(window) = windows.get_mut(((row.from_s + row.to_s) / 2.0 / length_s) as usize) {
            let counts = window.policies.iter_mut().zip(PolicyGroup::ALL);
            counts.for_each(|(count, group)| *count = count.saturating_add(row.policies(group)));
            if row.kind == Kind::Service {
                let [hits, misses] = [row.cache_hits, row.cache_misses].map(Option::unwrap_or_default);
                window.look_ups = window.look_ups.saturating_add(hits).saturating_add(misses);
                window.misses = window.misses.saturating_add(misses);
                // A sum over time, until all rows are there.
                window.messages += row.messages_mean.unwrap_or(0.0) * row.length_s();
            }
        }
    }
    for window in &mut windows {
        let length_s = (window.to_s - window.from_s).max(f64::MIN_POSITIVE);
        window.in_flight /= length_s;
        window.messages /= length_s;
    }
    (windows, tail)
}

/// All except the initial deploys, and the coordinator's repairs, which are marks.
fn operations(summary: &Summary) -> impl Iterator<Item = Disturbance> {
    let is_shown = |it: &&OperationSummary| match it.kind {
        OperationKind::Deploy => it.began_s > 0.0,
        OperationKind::Repair => false,
        _ => true,
    };
    summary.operations.iter().filter(is_shown).map(|operation| Disturbance {
        is_fault: false,
        what: operation_in_words(operation),
        from_s: operation.began_s,
        to_s: match operation.settle_time_ns {
            Some(ns) => operation.began_s + ns as f64 / 1e9,
            // It is done, or was refused, at once: no node acknowledges anything.
            None if operation.steps.is_empty() && operation.outcome != "running" => operation.began_s,
            None => summary.reached_s,
        },
        steps_s: operation.steps.iter().map(|step| step.decided_s).collect(),
        left: None,
    })
}

fn faults(summary: &Summary, events: &[Event]) -> impl Iterator<Item = Disturbance> {
    events.iter().filter(|event| event.kind == EventKind::FaultBegan).map(|began| {
        let is_its_end =
            |it: &&Event| it.kind == EventKind::FaultEnded && it.fault == began.fault && it.at_s >= began.at_s;
        let ended = events.iter().find(is_its_end).map(|event| event.at_s);
        Disturbance {
            is_fault: true,
            what: began.what.clone(),
            from_s: began.at_s,
            to_s: ended.unwrap_or(summary.reached_s),
            steps_s: Vec::new(),
            left: None,
        }
    })
}

fn marks(summary: &Summary, events: &[Event]) -> Vec<Mark> {
    let mut all: Vec<(f64, &str, &str)> = Vec::new();
    for event in events {
        let word = match event.kind {
            EventKind::NodeDead => "dead",
            EventKind::NodeBack => "back",
            EventKind::NodeShunned => "refused",
            _ => continue,
        };
        all.push((event.at_s, word, event.node.as_deref().unwrap_or("")));
    }
    let repairs = summary.operations.iter().filter(|it| it.kind == OperationKind::Repair);
    all.extend(repairs.map(|it| (it.began_s, "repaired", it.service.as_str())));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Marks too near to be told apart by eye are merged.
    let near = summary.reached_s / 200.0;
    let mut marks: Vec<Mark> = Vec::new();
    for together in all.chunk_by(|a, b| b.0 - a.0 < near) {
        let mut parts = Vec::new();
        for word in ["dead", "back", "refused", "repaired"] {
            let names: Vec<&str> = together.iter().filter(|it| it.1 == word).map(|it| it.2).collect();
            match (word, names.len()) {
                (_, 0) => {}
                (_, 1..=3) => parts.push(format!("{} {word}", names.join(", "))),
                ("repaired", n) => parts.push(format!("{} services repaired", count(n as u64))),
                (_, n) => parts.push(format!("{} nodes {word}", count(n as u64))),
            }
        }
        marks.push(Mark { at_s: together[0].0, what: parts.join("; ") });
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(index: usize, failed: u64, tail_ns: u64) -> Window {
        let from_s = index as f64;
        let (tail_ns, max_ns) = (Some(tail_ns), Some(tail_ns));
        Window {
            from_s,
            to_s: from_s + 1.0,
            offered: 100,
            failed,
            in_flight: 1.0,
            tail_ns,
            max_ns,
            ..Window::default()
        }
    }

    /// Sixty quiet seconds except for these.
    fn with(unusual: &[(usize, u64, u64)], from_s: f64, to_s: f64) -> Aftermath {
        let mut windows: Vec<Window> = (0..60).map(|index| window(index, 0, 1_000)).collect();
        unusual.iter().for_each(|(at, failed, tail_ns)| windows[*at] = window(*at, *failed, *tail_ns));
        let mut fault =
            Disturbance { is_fault: true, what: "it".into(), from_s, to_s, steps_s: Vec::new(), left: None };
        let usual = Usual::new(&windows, std::slice::from_ref(&fault));
        fault.left = usual.and_then(|usual| left(&fault, &windows, &usual));
        Aftermath { windows, tail: Tail::P90, tail_of: None, usual, disturbances: vec![fault], marks: Vec::new() }
    }

    #[test]
    fn a_fault_is_over_when_three_windows_in_a_row_are_as_before() {
        let it = with(&[(30, 50, 9_000), (31, 0, 9_000), (33, 1, 1_000)], 30.0, 32.0);
        let fault = &it.disturbances[0];
        // The 32nd is as before, and the 33rd is not.
        assert_eq!((fault.left, fault.recovery_s(&it)), (Some((30, 34)), Some(Some(4.0))));
        assert_eq!(fault.windows(&it).iter().map(|it| it.failed).sum::<u64>(), 51);
        assert_eq!(it.failures(), [51, 0]);
        let quiet = with(&[], 30.0, 32.0);
        assert_eq!(quiet.disturbances[0].recovery_s(&quiet), None);
        assert_eq!(quiet.disturbances[0].windows(&quiet).len(), 2);
        let lasting = with(&[(57, 3, 1_000), (59, 3, 1_000)], 56.5, 60.0);
        assert_eq!(lasting.disturbances[0].recovery_s(&lasting), Some(None));
    }

    #[test]
    fn a_storm_that_outlives_its_fault_has_not_passed() {
        let storm: Vec<_> = (10..60).map(|at| (at, 90, 9_000)).collect();
        let it = with(&storm, 10.0, 15.0);
        assert_eq!(it.disturbances[0].recovery_s(&it), Some(None));
        assert_eq!(it.usual.map(|usual| (usual.failed_share_max, usual.tail_max_ns)), Some((0.0, 1_000.0)));
    }

    #[test]
    fn slow_windows_after_a_fault_are_usual_where_the_load_has_grown() {
        let mut windows: Vec<Window> = (0..60).map(|at| window(at, 0, if at < 10 { 1_000 } else { 9_000 })).collect();
        windows[10..].iter_mut().for_each(|it| it.offered *= 2);
        let fault = |is_fault| Disturbance {
            is_fault,
            what: "it".into(),
            from_s: 10.0,
            to_s: 15.0,
            steps_s: Vec::new(),
            left: None,
        };
        let tail = |windows: &[Window], is_fault| Usual::new(windows, &[fault(is_fault)]).map(|it| it.tail_max_ns);
        assert_eq!(tail(&windows, true), Some(9_000.0));
        windows[10..].iter_mut().for_each(|it| it.offered /= 2);
        assert_eq!(tail(&windows, true), Some(1_000.0));
        // An operation may change a run for good.
        assert_eq!(tail(&windows, false), Some(9_000.0));
    }

    #[test]
    fn the_worst_windows_are_those_around_the_most_failures_or_the_slowest() {
        let it = with(&[(30, 20, 5_000), (31, 50, 4_000), (32, 30, 9_000), (33, 9, 9_999)], 30.0, 32.0);
        assert_eq!(it.worst().map(|it| (it[0].from_s, it.len())), Some((31.0, 2)));
        let slow = with(&[(7, 0, 2_000)], 30.0, 32.0);
        assert_eq!(slow.worst().map(|it| (it[0].from_s, it.len())), Some((7.0, 1)));
    }

    #[test]
    fn a_percentile_needs_ten_requests_beyond_it_in_most_windows() {
        for (done, tail) in [(1_100, Tail::P99), (300, Tail::P90), (58, Tail::P50), (9, Tail::Max)] {
            assert_eq!(Tail::new(vec![done; 3]), tail);
        }
        assert_eq!(Tail::new(Vec::new()), Tail::Max);
    }
}
