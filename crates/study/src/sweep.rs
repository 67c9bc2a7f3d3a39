//! All runs of a plan, and their summary for each point.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use meshsim_columns::{Kind, Parquet, Value};
use meshsim_report::Outcome;
use schemars::JsonSchema;
use serde::Serialize;

use crate::estimate::Estimate;
use crate::figures::{Ended, Result, Row, names};
use crate::plan::{Job, Plan};
use crate::pool::{self, Stop};
use crate::shard::Shard;
use crate::store::{Store, StoreError};

/// Runs the jobs of a plan that are not among `rows`, on `threads` threads, and passes each to `keep`.
///
/// `at` gets the number of finished runs, ten times a second, and returns whether to continue. Returns `rows` with the
/// new rows, in the order of the plan, whatever the order in which the runs ended.
///
/// # Errors
/// The first error of `keep`: no further run starts then.
pub fn run<E>(
    plan: &Plan,
    rows: Vec<Row>,
    threads: usize,
    keep: impl FnMut(&Row) -> std::result::Result<(), E>,
    at: impl Fn(usize) -> bool,
) -> std::result::Result<Vec<Row>, E> {
    run_shard(plan, Shard::WHOLE, rows, threads, keep, at)
}

/// [`run`], for the runs of one shard of the plan alone.
///
/// # Errors
/// The first error of `keep`: no further run starts then.
pub fn run_shard<E>(
    plan: &Plan,
    shard: Shard,
    rows: Vec<Row>,
    threads: usize,
    mut keep: impl FnMut(&Row) -> std::result::Result<(), E>,
    at: impl Fn(usize) -> bool,
) -> std::result::Result<Vec<Row>, E> {
    let known: std::collections::BTreeSet<Job> = rows.iter().map(Row::job).collect();
    let missing = plan.jobs_of(shard).filter(|job| !known.contains(job));
    let (mut rows, mut failed) = (rows, None);
    let done = std::cell::Cell::new(rows.len());
    let each = |_, row: Option<Row>| {
        if let Some(row) = row {
            failed = keep(&row).err();
            rows.push(row);
            done.set(rows.len());
        }
        failed.is_none() && at(done.get())
    };
    pool::run(missing, threads, |job, stop| one(plan, *job, stop), each, || at(done.get()));
    match failed {
        Some(error) => Err(error),
        None => {
            let order = plan.places();
            rows.sort_by_key(|row| order.get(&row.job()).copied());
            Ok(rows)
        }
    }
}

/// One run; `None` if it was stopped.
fn one(plan: &Plan, job: Job, stop: &Stop) -> Option<Row> {
    let result = match plan.experiment(job) {
        Err(problems) => Result::Broken(first_line(&problems.to_string())),
        // A mistake of the simulator in one run must not lose the others, which may have taken days.
        Ok(experiment) => match catch_unwind(AssertUnwindSafe(|| crate::simulate(&experiment, stop))) {
            Ok(Ok(summary)) => Result::Ended(Ended::new(&summary?)),
            Ok(Err(error)) => Result::Broken(error),
            Err(_) => Result::Broken("the simulator panicked; please report this experiment".into()),
        },
    };
    Some(Row { point: job.point, seed: job.seed, result })
}

fn first_line(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

impl Row {
    fn job(&self) -> Job {
        Job { point: self.point, seed: self.seed }
    }
}

/// Summary of the runs of one point.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct PointSummary {
    /// Index of the point, from 0.
    pub point: usize,
    /// The varied keys, each with its value at this point.
    pub values: Vec<Setting>,
    /// Number of runs that ended.
    pub runs: usize,
    /// Number of runs in which all SLOs hold.
    pub passed: usize,
    /// Number of runs in which some SLO fails; for the rest the verdict is unknown.
    pub failed: usize,
    /// Number of runs that are too short to trust their figures.
    pub short: usize,
    /// Reason why runs of the point could not be made.
    pub broken: Option<String>,
    /// Its figures, in the order of the file.
    pub figures: Vec<FigureSummary>,
}

/// Value of a key of the experiment at a point.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Setting {
    /// Path of the key.
    pub path: String,
    /// Its value.
    pub value: String,
}

/// A figure at a point.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct FigureSummary {
    /// Name of the figure: `load.users.p99_s`.
    pub name: String,
    /// Mean over the runs that have the figure; `null` if none has.
    pub estimate: Option<Estimate>,
}

impl PointSummary {
    /// The estimate of a figure.
    pub fn estimate(&self, name: &str) -> Option<Estimate> {
        self.figures.iter().find(|figure| figure.name == name).and_then(|figure| figure.estimate)
    }
}

/// Summary of each point; points without a run are left out.
pub fn summarise(plan: &Plan, rows: &[Row]) -> Vec<PointSummary> {
    let names = names(rows.iter().filter_map(Row::ended));
    rows.chunk_by(|a, b| a.point == b.point).map(|rows| summarise_point(plan, rows, &names)).collect()
}

fn summarise_point(plan: &Plan, rows: &[Row], names: &[&str]) -> PointSummary {
    let point = rows[0].point;
    let ended: Vec<&Ended> = rows.iter().filter_map(Row::ended).collect();
    let outcomes = |outcome| ended.iter().filter(|it| it.outcome == outcome).count();
    let settings = plan.varied.axes.iter().zip(plan.point(point));
    let figure = |name: &&str| {
        let figures: Vec<f64> = ended.iter().filter_map(|ended| ended.figure(name)).collect();
        FigureSummary { name: (*name).to_owned(), estimate: Estimate::new(&figures) }
    };
    let broken = rows.iter().find_map(|row| match &row.result {
        Result::Broken(why) => Some(why.clone()),
        Result::Ended(_) => None,
    });
    PointSummary {
        point,
        values: settings.map(|(axis, value)| Setting { path: axis.path().into(), value: value.clone() }).collect(),
        runs: ended.len(),
        passed: outcomes(Outcome::Pass),
        failed: outcomes(Outcome::Fail),
        short: ended.iter().filter(|it| it.is_short).count(),
        broken,
        figures: names.iter().map(figure).collect(),
    }
}

/// A table of a study: its columns, and its rows.
struct Table<'a> {
    columns: Vec<(String, Kind)>,
    rows: Vec<Vec<Value<'a>>>,
}

impl Table<'_> {
    fn csv(&self) -> io::Result<Vec<u8>> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(self.columns.iter().map(|(name, _)| name))?;
        self.rows.iter().try_for_each(|row| out.write_record(row.iter().map(Value::to_string)))?;
        out.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }

    fn parquet(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut file = Parquet::new(self.columns.iter().map(|(name, kind)| (name.as_str(), *kind)))?;
        self.rows.iter().try_for_each(|row| file.row(row.iter().cloned(), &mut out))?;
        file.end(&mut out)?;
        Ok(out)
    }
}

/// A row for each point: its values, its runs, and each figure's mean and half width (`NAME`, `NAME ±`).
fn of_points(points: &[PointSummary]) -> Option<Table<'_>> {
    let first = points.first()?;
    let mut columns = vec![("point".to_owned(), Kind::Count)];
    columns.extend(first.values.iter().map(|setting| (setting.path.clone(), Kind::Text)));
    columns.extend(["runs", "passed", "failed"].map(|name| (name.to_owned(), Kind::Count)));
    let names = first.figures.iter().flat_map(|figure| [figure.name.clone(), format!("{} ±", figure.name)]);
    columns.extend(names.map(|name| (name, Kind::Figure)));
    let row = |point: &'_ PointSummary| {
        let mut row = vec![Value::Count(point.point as u64)];
        row.extend(point.values.iter().map(|setting| Value::Text(setting.value.clone().into())));
        row.extend([point.runs, point.passed, point.failed].map(|n| Value::Count(n as u64)));
        row.extend(point.figures.iter().flat_map(|figure| {
            let half = figure.estimate.and_then(|estimate| estimate.half_width);
            [figure.estimate.map(|estimate| estimate.mean), half].map(Value::figure)
        }));
        row
    };
    Some(Table { columns, rows: points.iter().map(row).collect() })
}

/// A row for each run: its values, its seed, its result, and its figures.
fn of_runs<'a>(plan: &'a Plan, rows: &'a [Row]) -> Table<'a> {
    let names = names(rows.iter().filter_map(Row::ended));
    let mut columns = vec![("point".to_owned(), Kind::Count)];
    columns.extend(plan.varied.axes.iter().map(|axis| (axis.path().to_owned(), Kind::Text)));
    columns.push(("seed".into(), Kind::Count));
    columns.extend(["outcome", "missed"].map(|name| (name.to_owned(), Kind::Text)));
    columns.extend(names.iter().map(|name| ((*name).to_owned(), Kind::Figure)));
    let row = |row: &'a Row| {
        let mut values = vec![Value::Count(row.point as u64)];
        values.extend(plan.point(row.point).iter().map(|value| Value::Text(value.clone().into())));
        values.push(Value::Count(row.seed));
        match &row.result {
            Result::Ended(ended) => {
                let outcome = match ended.outcome {
                    Outcome::Pass => "pass",
                    Outcome::Unknown => "unknown",
                    Outcome::Fail => "fail",
                };
                values.extend([Value::Text(outcome.into()), Value::Text(ended.missed.join("; ").into())]);
                values.extend(names.iter().map(|name| Value::figure(ended.figure(name))));
            }
            Result::Broken(why) => {
                values.extend([Value::Text("broken".into()), Value::Text(why.as_str().into())]);
                values.extend(names.iter().map(|_| Value::None));
            }
        }
        values
    };
    Table { columns, rows: rows.iter().map(row).collect() }
}

/// The table of points in the folder of a study.
pub const POINTS_CSV: &str = "points.csv";
/// The table of runs in the folder of a study.
pub const RUNS_CSV: &str = "runs.csv";
/// The table of points, as Parquet.
pub const POINTS_PARQUET: &str = "points.parquet";
/// The table of runs, as Parquet.
pub const RUNS_PARQUET: &str = "runs.parquet";

/// Writes the tables of a study beside its runs.
///
/// # Errors
/// If they cannot be written.
pub fn publish(
    plan: &Plan,
    rows: &[Row],
    points: &[PointSummary],
    store: Store,
) -> std::result::Result<(), StoreError> {
    let (points, runs) = (of_points(points), of_runs(plan, rows));
    let mut files = vec![
        (POINTS_CSV, points.as_ref().map_or(Ok(Vec::new()), Table::csv)),
        (RUNS_CSV, runs.csv()),
        (RUNS_PARQUET, runs.parquet()),
    ];
    // Without a point there are no columns.
    files.extend(points.as_ref().map(|table| (POINTS_PARQUET, table.parquet())));
    let mut made = Vec::new();
    for (name, bytes) in files {
        made.push((name, bytes.map_err(|error| StoreError::Io(name.into(), error))?));
    }
    let made: Vec<(&str, &[u8])> = made.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    store.finish(rows, &made)
}
