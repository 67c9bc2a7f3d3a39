//! `meshsim sweep`, `meshsim limit` and `meshsim run --seeds`, for a person.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_exit, meshsim, stderr, stdout};
use serde_json::Value;

const MESH: &str = "
nodes: [ { name: node, cores: 8 } ]
seed: 5
duration: 5s
services:
  queue: { capacity: 2, queue: 1000, endpoints: { serve: { script: [ work: { exponential: 10ms } ] } } }
load:
  users: { to: queue, arrivals: { poisson: 50/s } }
slo: [ p90 < 40ms ]
";

fn prepared(name: &str) -> PathBuf {
    common::folder(&format!("studies-{name}"), MESH)
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let output = meshsim(folder, args);
    assert_exit(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_sweep_writes_its_points_and_the_same_one_again_runs_nothing() {
    let folder = prepared("sweep");
    let args = ["sweep", "mesh.yaml", "--vary", "services.queue.capacity=1,4", "--seeds", "2", "-o", "out"];
    let output = meshsim(&folder, &args);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(
        text.contains("2 points, 2 seeds") && text.contains("queue.capacity") && text.contains("SLOs hold"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let table = fs::read_to_string(folder.join("out/points.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("point,services.queue.capacity,runs,passed,failed,load.users.offered"), "{table}");
    assert_eq!(fs::read_to_string(folder.join("out/runs.csv")).unwrap().lines().count(), 5);

    // By its folder alone, and by the same words.
    for args in [&["sweep", "out"][..], &args] {
        assert_eq!(stdout(&meshsim(&folder, args)), text);
    }
    let points = json(&folder, &["sweep", "out", "--json"]);
    assert_eq!(points["points"][1]["values"][0]["value"], "4");
    assert_eq!(points["points"][1]["runs"], 2);
}

#[test]
fn a_limit_names_its_rate_the_slo_that_fails_and_the_busiest_service() {
    let folder = prepared("limit");
    let output = meshsim(&folder, &["limit", "mesh.yaml", "--seeds", "3"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    for part in
        ["holds up to ", "p90 < 40ms fails", "busiest just below: queue", "check expects: slots of queue full at 200"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let found = json(&folder, &["limit", "mesh.yaml", "--seeds", "3", "--of", "users", "--json"]);
    assert_eq!(found["by_seed"].as_array().unwrap().len(), 3);
    let rate = found["rate"]["mean"].as_f64().unwrap();
    assert!((100.0..200.0).contains(&rate), "{rate}");
}

#[cfg(unix)]
#[test]
fn interrupted_limits_and_comparisons_continue_with_the_same_command() {
    let folder = prepared("interrupted");
    let limit: &[&str] =
        &["limit", "mesh.yaml", "--seeds", "2", "--set", "duration=30s", "--jobs", "1", "--no-progress"];
    let compare: &[&str] = &[
        "compare",
        "mesh.yaml",
        "--with",
        "services.queue.capacity=3",
        "--seeds",
        "30",
        "--jobs",
        "1",
        "--no-progress",
    ];
    for (args, kept) in [(limit, "search.jsonl"), (compare, "runs.jsonl")] {
        let child = common::command(&folder, args).spawn().unwrap();
        let lines = || -> Option<usize> {
            let entries = fs::read_dir(folder.join("runs")).ok()?;
            let of = |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.ok()?.path().join(kept)).ok();
            entries.filter_map(of).map(|text| text.lines().count()).max()
        };
        common::until("some runs have ended", || lines().filter(|count| *count > 3));
        common::signal(child.id(), "INT");
        let output = child.wait_with_output().unwrap();
        assert_exit(&output, 130);
        assert!(stderr(&output).contains("the same command continues"), "{}", stderr(&output));
        assert!(stdout(&meshsim(&folder, &["runs"])).contains("study"));
        assert_exit(&meshsim(&folder, args), 0);
        assert_eq!(fs::read_dir(folder.join("runs")).unwrap().count(), 0, "nothing is left to go on with");
    }
}

#[test]
fn several_seeds_give_means_with_intervals() {
    let folder = prepared("seeds");
    let output = meshsim(&folder, &["run", "mesh.yaml", "--seeds", "3"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("3 seeds") && text.contains("±") && text.contains("in 3 of 3 runs"), "{text}");
    let points = json(&folder, &["run", "mesh.yaml", "--seeds", "3", "--json"]);
    assert_eq!(points["seeds"], serde_json::json!([5, 6, 7]));
    assert_eq!(points["points"][0]["runs"], 3);
}

#[test]
fn several_seeds_with_one_missed_slo_exit_with_99_and_a_sweep_with_0() {
    let folder = prepared("missed");
    let missed = ["--set", "slo=[p90 < 1ms]", "--seeds", "2"];
    assert_exit(&meshsim(&folder, &[&["run", "mesh.yaml"], &missed[..]].concat()), 99);
    assert_exit(&meshsim(&folder, &[&["sweep", "mesh.yaml"], &missed[..]].concat()), 0);
}

#[test]
fn a_rate_at_which_hardly_anything_is_asked_is_no_limit() {
    let folder = prepared("few");
    let fails = "services.queue.endpoints.serve.errors=50%";
    let output =
        meshsim(&folder, &["limit", "mesh.yaml", "--set", fails, "--set", "slo=[errors < 1%]", "--seeds", "2"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("errors < 1%"), "{}", stderr(&output));
}

/// The files of a folder, with those of its folders.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| {
        if path.is_dir() { files(&path) } else { vec![(path.clone(), fs::read(path).unwrap())] }
    };
    let mut files: Vec<_> = entries.flat_map(of).collect();
    files.iter_mut().for_each(|(path, _)| *path = path.strip_prefix(folder).unwrap_or(path).to_owned());
    files.sort();
    files
}

const SWEEP: [&str; 7] =
    ["sweep", "mesh.yaml", "--vary", "services.queue.capacity=1..4", "--seeds", "2", "--no-progress"];

#[test]
fn tasks_of_an_engine_and_one_process_write_the_same_sweep() {
    let folder = prepared("shards");
    assert_exit(&meshsim(&folder, &[&SWEEP[..], &["-o", "whole"]].concat()), 0);
    for (out, name, first) in [("slurm", "SLURM_ARRAY_TASK_ID", 1), ("kubernetes", "JOB_COMPLETION_INDEX", 0)] {
        // The last one begins first, and all are at work at once.
        let task = |n: usize| {
            let args = [&SWEEP[..], &["-o", out, "--shard", "auto/8"]].concat();
            common::command(&folder, &args).env(name, (n + first).to_string()).spawn().unwrap()
        };
        let tasks: Vec<_> = (0..8).rev().map(|n| (n, task(n))).collect();
        for (n, task) in tasks {
            let output = task.wait_with_output().unwrap();
            assert_exit(&output, 0);
            let said = format!("shard {}/8: {name} is {}", n + 1, n + first);
            assert!(stderr(&output).contains(&said), "{said:?} is not in {}", stderr(&output));
        }
        assert!(stdout(&meshsim(&folder, &["sweep", out])).contains("4 points, 2 seeds"));
        assert_eq!(files(&folder.join(out)), files(&folder.join("whole")));
    }
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_killed_continues_with_the_same_command() {
    let folder = prepared("killed");
    let args =
        [&SWEEP[..], &["--set", "duration=60s", "--jobs", "1", "--seeds", "8", "--shard", "1/2", "-o", "out"]].concat();
    let args: Vec<&str> = args.into_iter().enumerate().filter(|(n, _)| !(4..6).contains(n)).map(|(_, it)| it).collect();
    let mut child = common::command(&folder, &args).spawn().unwrap();
    let shards = folder.join("out/shards");
    let lines = || files(&shards).iter().map(|(_, bytes)| bytes.iter().filter(|byte| **byte == b'\n').count()).max();
    common::until("some runs have ended", || shards.exists().then(lines).flatten().filter(|count| *count > 3));
    common::signal(child.id(), "KILL");
    child.wait().unwrap();
    assert!(!shards.join("1-of-2.jsonl").exists(), "a shard appears when it is complete");
    let again = json(&folder, &[&args[..], &["--json"]].concat());
    assert_eq!((&again["runs"], &again["broken"]), (&16.into(), &0.into()));
    assert!(again["known"].as_u64().unwrap() >= 3, "{again}");
    assert!(shards.join("1-of-2.jsonl").exists());
}

#[test]
fn a_missed_slo_is_data_of_a_shard() {
    let folder = prepared("shard-missed");
    let args = [&SWEEP[..], &["--set", "slo=[p90 < 1us]", "--shard", "1/2", "-o", "out"]].concat();
    assert_exit(&meshsim(&folder, &args), 0);
    assert!(fs::read_to_string(folder.join("out/shards/1-of-2.jsonl")).unwrap().contains("\"outcome\":\"fail\""));
}

/// A batch script is run here as Slurm runs it: its text in a shell, with the number of the task.
#[cfg(unix)]
#[test]
fn the_batch_script_runs_all_shards_of_the_sweep() {
    let folder = prepared("script");
    let set = ["--set", "load.users.to=queue # it's $HOME", "--sample", "3", "-o", "a folder"];
    let sweep = [&SWEEP[..], &set[..]].concat();
    let script = stdout(&meshsim(&folder, &[&sweep[..], &["--script", "slurm", "--shard", "auto/3"]].concat()));
    assert!(script.contains("# script: 6 runs in 3 shards") || script.contains(": 6 runs in 3 shards"), "{script}");
    assert!(script.contains("#SBATCH --array=1-3\n") && script.contains("#SBATCH --requeue\n"), "{script}");
    fs::create_dir(folder.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_meshsim"), folder.join("bin/meshsim")).unwrap();
    for task in ["3", "1", "2"] {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &script]).current_dir(&folder).env("SLURM_ARRAY_TASK_ID", task);
        let output = shell.env("PATH", folder.join("bin")).output().unwrap();
        assert_exit(&output, 0);
    }
    assert!(files(&folder.join("a folder/shards")).len() == 3);
    assert_exit(&meshsim(&folder, &["sweep", "a folder"]), 0);
    let gathered = files(&folder.join("a folder"));
    fs::remove_dir_all(folder.join("a folder")).unwrap();
    assert_exit(&meshsim(&folder, &sweep), 0);
    assert_eq!(gathered, files(&folder.join("a folder")));
}

#[test]
fn what_cannot_be_studied_is_exit_code_2_and_says_why() {
    let folder = prepared("wrong");
    assert_exit(&meshsim(&folder, &["sweep", "mesh.yaml", "--vary", "duration=1s,2s", "-o", "out"]), 0);
    for (args, said) in [
        (&["sweep", "mesh.yaml", "--vary", "services.queue.capacity"][..], "varies nothing"),
        (&["sweep", "mesh.yaml", "--vary", "services.queue.capacity=1,"], "a value is missing"),
        (&["sweep", "mesh.yaml", "--vary", "services.queue.size=1,2"], "unknown key `size` in a service"),
        (&["sweep", "mesh.yaml", "--vary", "duration=1s,2s", "--vary", "duration=4s"], "varies twice"),
        (&["sweep", "mesh.yaml", "--vary", "seed=1..3"], "give `--seeds 3`"),
        (&["sweep", "mesh.yaml", "--sample", "3"], "no value varies"),
        (&["sweep", "mesh.yaml", "--seeds", "0"], "from 1 to"),
        (&["sweep", "out", "--seeds", "3"], "is a sweep in progress"),
        (&["sweep", "mesh.yaml", "--vary", "duration=1s,3s", "-o", "out"], "holds a study of another plan"),
        (&["sweep", "mesh.yaml", "-o", "."], "holds no study"),
        (&["sweep", "mesh.yaml", "--shard", "9/8"], "shards are numbered from 1 to 8"),
        (&["sweep", "mesh.yaml", "--shard", "2"], "write a shard as `2/8`"),
        (&["sweep", "mesh.yaml", "--shard", "auto/8"], "none of SLURM_ARRAY_TASK_ID"),
        (&["sweep", "mesh.yaml", "--shard", "1/2", "--vary", "duration=1s,3s", "-o", "out"], "of another plan"),
        (&["sweep", "mesh.yaml", "--script", "slurm", "--shard", "2/8"], "a script runs all shards"),
        (&["sweep", "out", "--script", "slurm"], "a script needs the experiment file"),
        (&["sweep", "mesh.yaml", "--script", "kubernetes", "--shard", "auto/200000"], "at most 100,000 pods"),
        (&["limit", "mesh.yaml", "--of", "user"], "did you mean `users`?"),
        (&["limit", "mesh.yaml", "--set", "slo=[]"], "the experiment has no SLO"),
        (&["limit", "mesh.yaml", "--set", "duration=300ms"], "the run is too short to tell"),
        (&["limit", "mesh.yaml", "--within", "0%"], "0% is never close enough"),
        (&["run", "mesh.yaml", "--seeds", "3", "--trace"], "cannot be used with"),
        (&["run", "mesh.yaml", "--jobs", "3"], "--seeds"),
    ] {
        let output = meshsim(&folder, args);
        assert_exit(&output, 2);
        let errors = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(errors.contains(said), "{args:?}: {said:?} is not in\n{errors}");
    }
}
