//! A sweep in shards: the same bytes as in one process, whatever happens to the processes.

mod common;

use std::path::Path;

use meshsim_experiment::{Experiment, parse};
use meshsim_study::axis::Axis;
use meshsim_study::figures::{Result as RunResult, Row};
use meshsim_study::plan::{Plan, Varied, seeds};
use meshsim_study::shard::Shard;
use meshsim_study::shards::ShardStore;
use meshsim_study::store::{Store, StoreError, stand};
use meshsim_study::sweep;

use common::files;

const QUEUE: &str = "
nodes: [ { name: node, cores: 8 } ]
duration: 2s
services:
  queue: { capacity: 1, queue: 1000, endpoints: { serve: { script: [ work: { exponential: 10ms } ] } } }
load:
  users: { to: queue, arrivals: { poisson: 50/s } }
slo: [ mean < 15ms ]
";

fn experiment() -> Experiment {
    parse("queue.yaml", QUEUE, Path::new(""), &[]).unwrap()
}

fn plan(axes: &[&str], count: usize) -> Plan {
    let experiment = experiment();
    let axes = axes.iter().map(|axis| Axis::parse(axis).unwrap()).collect();
    let seeds = seeds(&experiment, count);
    Plan::new(&experiment, Varied { axes, sample: None, seeds }).unwrap()
}

/// Runs a shard until this many more of its runs have ended, as a process would that is then killed.
fn run_shard(folder: &Path, plan: &Plan, shard: Shard, until: usize) -> Result<(usize, usize), StoreError> {
    let (mut store, rows) = ShardStore::open(folder, plan, shard)?;
    let known = rows.len();
    let rows =
        sweep::run_shard(plan, shard, rows, 1, |row| store.keep(row), |done| done < known.saturating_add(until))?;
    let done = rows.len();
    if done == plan.jobs_of(shard).count() {
        store.finish(plan, &rows)?;
    }
    Ok((known, done))
}

/// Gathers the shards, and makes the runs that are missing; returns how many those were.
fn gather(folder: &Path, plan: &Plan) -> Result<usize, StoreError> {
    let (mut store, rows) = Store::open(folder, plan)?;
    let known = rows.len();
    let rows: Vec<Row> = sweep::run(plan, rows, 2, |row| store.keep(row), |_| true)?;
    let missing = rows.len() - known;
    let points = sweep::summarise(plan, &rows);
    sweep::publish(plan, &rows, &points, store)?;
    Ok(missing)
}

/// The files of the plan, run in one process.
fn local(plan: &Plan) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(gather(folder.path(), plan).unwrap(), plan.jobs().count());
    files(folder.path())
}

fn shard(number: usize, of: usize) -> Shard {
    Shard::new(number, of).unwrap()
}

#[test]
fn shards_in_any_order_gather_to_the_bytes_of_one_process() {
    let plan = plan(&["load.users.arrivals.poisson=20/s,40/s,60/s", "services.queue.capacity=1,2"], 3);
    let expected = local(&plan);
    for (order, of) in [(vec![8, 3, 1, 2, 7, 5, 6, 4], 8), (vec![2, 1, 3], 3), (vec![1], 1), ((1..=25).collect(), 25)] {
        let folder = tempfile::tempdir().unwrap();
        for number in order {
            run_shard(folder.path(), &plan, shard(number, of), usize::MAX).unwrap();
        }
        assert_eq!(stand(folder.path(), &plan).unwrap().0, 18);
        assert_eq!(gather(folder.path(), &plan).unwrap(), 0, "of {of}: gathering runs nothing again");
        assert_eq!(files(folder.path()), expected, "of {of}");
    }
}

#[test]
fn a_killed_shard_continues_and_a_repeated_one_replaces_itself() {
    let plan = plan(&["load.users.arrivals.poisson=20/s,40/s,60/s"], 4);
    let expected = local(&plan);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run_shard(folder.path(), &plan, shard(2, 2), 2).unwrap(), (0, 2));
    // It was killed while it wrote a line, and another before it had written any.
    let shards = folder.path().join("shards");
    let part = std::fs::read_dir(&shards).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&part).unwrap();
    std::fs::write(&part, format!("{text}{{\"point\":0,\"se")).unwrap();
    std::fs::write(shards.join("2-of-2.0123456789abcdef.part"), "").unwrap();

    assert_eq!(run_shard(folder.path(), &plan, shard(2, 2), usize::MAX).unwrap(), (2, 6));
    let names: Vec<String> = files(&shards).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["2-of-2.jsonl"], "what the processes wrote on the way is removed");
    let once = files(&shards);
    assert_eq!(run_shard(folder.path(), &plan, shard(2, 2), usize::MAX).unwrap(), (6, 6));
    assert_eq!(files(&shards), once);

    // A shard makes its own damaged file again.
    std::fs::write(shards.join("2-of-2.jsonl"), once[0].1.replace("\"seed\"", "\"sead\"")).unwrap();
    assert!(matches!(gather(folder.path(), &plan), Err(StoreError::Damaged(..))));
    assert_eq!(run_shard(folder.path(), &plan, shard(2, 2), usize::MAX).unwrap(), (0, 6));
    assert_eq!(files(&shards), once);
    assert_eq!(gather(folder.path(), &plan).unwrap(), 6, "those of the other shard");
    assert_eq!(files(folder.path()), expected);
}

#[test]
fn a_shard_that_ends_after_the_sweep_was_gathered_changes_nothing() {
    let plan = plan(&["services.queue.capacity=1,2,3,4"], 1);
    let folder = tempfile::tempdir().unwrap();
    let (mut late, rows) = ShardStore::open(folder.path(), &plan, shard(1, 2)).unwrap();
    gather(folder.path(), &plan).unwrap();
    let rows = sweep::run_shard(&plan, shard(1, 2), rows, 1, |row| late.keep(row), |_| true).unwrap();
    assert_eq!(late.finish(&plan, &rows).unwrap(), None);
    assert_eq!(files(folder.path()), local(&plan));
    // So does one that begins after it.
    assert_eq!(run_shard(folder.path(), &plan, shard(2, 2), usize::MAX).unwrap(), (2, 2));
    assert_eq!(files(folder.path()), local(&plan));
}

#[test]
fn another_division_skips_the_runs_that_are_there() {
    let plan = plan(&["services.queue.capacity=1,2,3,4"], 2);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run_shard(folder.path(), &plan, shard(1, 2), usize::MAX).unwrap(), (0, 4));
    assert_eq!(run_shard(folder.path(), &plan, shard(1, 4), usize::MAX).unwrap(), (2, 2));
    assert_eq!(run_shard(folder.path(), &plan, shard(2, 4), usize::MAX).unwrap(), (0, 2));
}

#[test]
fn shards_of_another_plan_are_refused() {
    let (one, other) = (plan(&["services.queue.capacity=1,2"], 1), plan(&["services.queue.capacity=1,3"], 1));
    let [folder, foreign] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    run_shard(folder.path(), &one, shard(1, 2), usize::MAX).unwrap();
    run_shard(foreign.path(), &other, shard(2, 2), usize::MAX).unwrap();
    let refused = ShardStore::open(folder.path(), &other, shard(1, 2)).map(|_| ());
    assert!(matches!(refused, Err(StoreError::Other(_))), "{refused:?}");
    std::fs::copy(foreign.path().join("shards/2-of-2.jsonl"), folder.path().join("shards/2-of-2.jsonl")).unwrap();
    let refused = gather(folder.path(), &one);
    assert!(matches!(refused, Err(StoreError::OtherShard(_))), "{refused:?}");
}

#[test]
fn a_broken_point_is_recorded_and_loses_no_run_of_its_shard() {
    // Each value alone fits: the least capacity may be 4, and the capacity 1.
    let plan = plan(&["services.queue.capacity=5,1", "services.queue.capacity_min=1,4"], 1);
    let folder = tempfile::tempdir().unwrap();
    run_shard(folder.path(), &plan, shard(2, 2), usize::MAX).unwrap();
    let text = std::fs::read_to_string(folder.path().join("shards/2-of-2.jsonl")).unwrap();
    let rows: Vec<Row> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row.point).collect::<Vec<_>>(), [1, 3]);
    assert!(matches!((&rows[0].result, &rows[1].result), (RunResult::Ended(_), RunResult::Broken(_))), "{rows:?}");
}
