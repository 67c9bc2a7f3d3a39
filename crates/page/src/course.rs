//! Time series of a run for a page: columns by window, thinned to the number that a page can show.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_report::series::{Kind, Row, Series};
use serde::{Serialize, Serializer};

/// Maximum number of windows that are drawn; neighbours are merged to stay within it.
const WINDOWS_MAX: usize = 1_200;
/// Maximum number of figures in a page; windows are merged to stay within it.
const CELLS_MAX: usize = 500_000;
/// Maximum number of lines of a kind: endpoints, edges, services, versions, instances, nodes.
const LINES_MAX: usize = 200;

/// Time series.
#[derive(Debug, Serialize)]
pub(crate) struct Course<'a> {
    /// Start of each window; the last entry is the end of the last window.
    edges_s: Vec<f64>,
    /// Number of windows of the run that make one here.
    merged: usize,
    lines: Vec<Line<'a>>,
    /// Lines that are left out, by kind.
    left_out: BTreeMap<&'static str, usize>,
}

/// Figures of one load, service, instance, ..., window by window.
#[derive(Debug, Serialize)]
struct Line<'a> {
    kind: Kind,
    of: &'a str,
    name: &'a str,
    /// A column that is missing is 0 or empty throughout.
    columns: BTreeMap<&'static str, Vec<Figure>>,
}

/// A figure, as short as it can be written; `null` if there is none.
#[derive(Clone, Copy, Debug)]
struct Figure(Option<f64>);

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(it) if it.fract() == 0.0 && it.abs() < 9e15 => serializer.serialize_i64(it as i64),
            other => other.serialize(serializer),
        }
    }
}

/// Rule for merging neighbouring windows.
#[derive(Clone, Copy)]
enum Merge {
    Sum,
    /// The greatest: percentiles of single windows do not tell those of several.
    Max,
    /// The greatest, if each of them is known.
    Most,
    /// The mean over time.
    Mean,
}

type Column = (&'static str, Merge, fn(&Row) -> Option<f64>);

const COUNTS: [Column; 3] = [
    ("offered", Merge::Sum, |row| Some(row.offered as f64)),
    ("done", Merge::Sum, |row| Some(row.done as f64)),
    ("failed", Merge::Sum, |row| Some(row.failed as f64)),
];
const REASONS: [Column; 8] = [
    ("refused", Merge::Sum, |row| Some(row.refused as f64)),
    ("error", Merge::Sum, |row| Some(row.error as f64)),
    ("timeout", Merge::Sum, |row| Some(row.timeout as f64)),
    ("lost", Merge::Sum, |row| Some(row.lost as f64)),
    ("no_instance", Merge::Sum, |row| Some(row.no_instance as f64)),
    ("cut", Merge::Sum, |row| Some(row.cut as f64)),
    ("unfinished", Merge::Sum, |row| Some(row.unfinished as f64)),
    ("retries", Merge::Sum, |row| Some(row.retries as f64)),
];
const LATENCY: [Column; 4] = [
    ("p50_ns", Merge::Max, |row| row.p50_ns.map(|ns| ns as f64)),
    ("p90_ns", Merge::Max, |row| row.p90_ns.map(|ns| ns as f64)),
    ("p99_ns", Merge::Max, |row| row.p99_ns.map(|ns| ns as f64)),
    ("max_ns", Merge::Max, |row| row.max_ns.map(|ns| ns as f64)),
];
const FLIGHT: [Column; 2] = [
    ("in_flight_mean", Merge::Mean, |row| Some(row.in_flight_mean)),
    ("in_flight_max", Merge::Most, |row| row.in_flight_max.map(|n| n as f64)),
];
const QUEUE: [Column; 1] = [("queue_mean", Merge::Mean, |row| row.queue_mean)];
const QUEUE_MOST: [Column; 1] = [("queue_max", Merge::Most, |row| row.queue_max.map(|n| n as f64))];
const INSTANCES: [Column; 2] = [
    ("instances_desired", Merge::Mean, |row| row.instances_desired),
    ("instances_ready", Merge::Mean, |row| row.instances_ready),
];
const SLOTS: [Column; 2] =
    [("slots", Merge::Mean, |row| row.slots), ("slots_in_use", Merge::Mean, |row| row.slots_in_use)];
const CORES: [Column; 1] = [("cores_in_use", Merge::Mean, |row| row.cores_in_use)];

const OF_CALLERS: [Column; 4] = [
    ("ejections", Merge::Sum, |row| row.ejections.map(|n| n as f64)),
    ("overflows", Merge::Sum, |row| row.overflows.map(|n| n as f64)),
    ("hedges", Merge::Sum, |row| row.hedges.map(|n| n as f64)),
    ("limited", Merge::Sum, |row| Some(row.limited as f64)),
];
const CACHES: [Column; 2] = [
    ("cache_hits", Merge::Sum, |row| row.cache_hits.map(|n| n as f64)),
    ("cache_misses", Merge::Sum, |row| row.cache_misses.map(|n| n as f64)),
];
const MESSAGES: [Column; 1] = [("messages_mean", Merge::Mean, |row| row.messages_mean)];
const OF_INSTANCES: [Column; 2] =
    [("limited", Merge::Sum, |row| Some(row.limited as f64)), ("shed", Merge::Sum, |row| row.shed.map(|n| n as f64))];

fn columns(kind: Kind) -> &'static [&'static [Column]] {
    match kind {
        Kind::Load | Kind::Endpoint => &[&COUNTS, &REASONS, &LATENCY, &FLIGHT, &OF_CALLERS],
        Kind::Edge => &[&COUNTS, &OF_CALLERS],
        Kind::Service => &[&COUNTS, &LATENCY, &QUEUE, &INSTANCES, &SLOTS, &CORES, &OF_INSTANCES, &CACHES, &MESSAGES],
        Kind::Version => &[&COUNTS, &LATENCY, &INSTANCES, &SLOTS],
        Kind::Instance => &[&COUNTS, &QUEUE, &QUEUE_MOST, &SLOTS],
        Kind::Node => &[&COUNTS, &SLOTS, &CORES],
    }
}

impl<'a> Course<'a> {
    pub(crate) fn new(series: &'a Series) -> Self {
        let mut groups: Vec<(Kind, &str, &str, Vec<&Row>)> = Vec::new();
        for row in &series.rows {
            match groups.last_mut() {
                Some((kind, of, name, rows)) if (*kind, *of, *name) == (row.kind, &*row.of, &*row.name) => {
                    rows.push(row)
                }
                _ => groups.push((row.kind, &row.of, &row.name, vec![row])),
            }
        }
        // A service of one version throughout says the same as its version.
        let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
        groups
            .iter()
            .filter(|(kind, ..)| *kind == Kind::Version)
            .for_each(|(_, of, ..)| *versions.entry(*of).or_default() += 1);
        groups.retain(|(kind, of, ..)| *kind != Kind::Version || versions[of] > 1);
        let mut left_out = BTreeMap::new();
        let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
        groups.retain(|(kind, ..)| {
            let count = seen.entry(*kind).or_default();
            *count += 1;
            let fits = *count <= LINES_MAX;
            if !fits {
                *left_out.entry(kind.as_str()).or_default() += 1;
            }
            fits
        });

        // Times are not negative, so their bits are in their order.
        let starts: BTreeSet<u64> = series.rows.iter().map(|row| row.from_s.to_bits()).collect();
        let end = series.rows.iter().map(|row| row.to_s).fold(0.0, f64::max);
        let place: BTreeMap<u64, usize> = starts.iter().enumerate().map(|(index, bits)| (*bits, index)).collect();
        let width: usize =
            groups.iter().map(|(kind, ..)| columns(*kind).iter().map(|it| it.len()).sum::<usize>()).sum();
        let mut merged = starts.len().div_ceil(WINDOWS_MAX).max(1);
        while merged < starts.len() && starts.len().div_ceil(merged) * width > CELLS_MAX {
            merged += 1;
        }
        let windows = starts.len().div_ceil(merged);
        let edges_s = starts.iter().step_by(merged).map(|bits| f64::from_bits(*bits)).chain([end]).collect();
        let lines = groups.iter().map(|(kind, of, name, rows)| {
            let columns = columns(*kind).iter().copied().flatten().filter_map(|(label, merge, value)| {
                let mut cells = vec![Cell::default(); windows];
                for row in rows {
                    cells[place[&row.from_s.to_bits()] / merged].add(value(row), row.length_s());
                }
                let values: Vec<Figure> = cells.iter().map(|cell| Figure(cell.value(*merge))).collect();
                values.iter().any(|value| value.0.is_some_and(|it| it != 0.0)).then_some((*label, values))
            });
            Line { kind: *kind, of, name, columns: columns.collect() }
        });
        Course { edges_s, merged, lines: lines.collect(), left_out }
    }
}

/// Accumulator of merged windows.
#[derive(Clone, Copy, Default)]
struct Cell {
    is_there: bool,
    /// One of them had no figure.
    is_missed: bool,
    sum: f64,
    max: f64,
    over_time: f64,
    length: f64,
}

impl Cell {
    fn add(&mut self, value: Option<f64>, length: f64) {
        let Some(value) = value else {
            self.is_missed = true;
            return;
        };
        self.is_there = true;
        self.sum += value;
        self.max = self.max.max(value);
        self.over_time += value * length;
        self.length += length;
    }

    fn value(&self, merge: Merge) -> Option<f64> {
        self.is_there.then_some(match merge {
            Merge::Sum => self.sum,
            Merge::Max => self.max,
            Merge::Most if self.is_missed => return None,
            Merge::Most => self.max,
            // Three decimals: no plot shows more.
            Merge::Mean if self.length > 0.0 => (self.over_time / self.length * 1e3).round() / 1e3,
            Merge::Mean => 0.0,
        })
    }
}
