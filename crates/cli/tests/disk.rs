//! A disk that is full, at any time: the results are printed, written files are complete, no other file is left.
//!
//! If the tests may mount one, the disk is a small one in memory. In all environments each file has a limit, which the
//! shell sets (`ulimit -f`) before it becomes the tool.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{assert_exit, campaign, command, json, meshsim, names, stderr, stdout};

const MESH: &str = "
name: small
seed: 7
duration: 3s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: back ] } } }
  back: { instances: 2, endpoints: { get: { script: [ work: 2ms ] } } }
load:
  users: { to: front, from: 1s, arrivals: { poisson: 30/s } }
slo: [ errors < 1% ]
";

/// Arguments of a run, and its folder.
struct Case<'a> {
    args: &'a [&'a str],
    folder: PathBuf,
    /// The seed of the run that was there before.
    before: Option<u64>,
}

impl Case<'_> {
    /// Asserts the properties that hold for any amount of room. True if the run exists.
    fn assert_whole(&self, what: &str, output: &Output) -> bool {
        let said = format!("{what}, {:?}\n{}\n{}", self.args, stdout(output), stderr(output));
        assert!(stdout(output).contains("\nRequests  "), "the table is printed: {said}");
        let hidden = |folder: &Path| names(folder).into_iter().filter(|name| name.starts_with('.')).count();
        assert_eq!(hidden(&self.folder), 0, "nothing half-written is left: {said}");
        let run = self.folder.join("run");
        let is_there = run.exists() && json(&run.join("summary.json"))["seed"] != self.before.unwrap_or(u64::MAX);
        let asks_for = |what: &str| self.args.iter().any(|arg| arg.starts_with(what));
        let is_complete = is_there
            && run.join("trace.bin").exists() == asks_for("--trace")
            && run.join("trace.jsonl").exists() == asks_for("--trace=jsonl");
        assert_eq!(output.status.code(), Some(if is_complete { 0 } else { 1 }), "{said}");
        assert!(is_complete || stderr(output).contains("cannot write"), "{said}");
        if !run.exists() {
            return false;
        }
        // Whatever there is of a run can be read to its end: of this one, or of the one before.
        let summary = json(&run.join("summary.json"));
        assert!(summary["slo"].is_array() && run.join("experiment.yaml").exists() && run.join("state.json").exists());
        assert_exit(&meshsim(&run, &["check", "experiment.yaml"]), 0);
        if run.join("trace.bin").exists() {
            let printed = meshsim(&run, &["trace", ".", "--jsonl"]);
            assert_exit(&printed, 0);
            let jsonl = fs::read(run.join("trace.jsonl")).unwrap_or_else(|_| printed.stdout.clone());
            assert!(jsonl == printed.stdout, "trace.jsonl is whole: {said}");
        }
        is_there
    }
}

const ASKED: [&[&str]; 3] = [&[], &["--trace"], &["--trace=jsonl"]];

/// From no room at all to enough of it.
const KIB: [u64; 8] = [0, 1, 2, 4, 16, 48, 96, 4096];

/// These sizes; in a longer campaign also some between each and its double.
fn between<const N: usize>(sizes: [u64; N]) -> impl Iterator<Item = u64> {
    let parts = campaign() as u64;
    sizes.into_iter().flat_map(move |kib| (0..parts).map(move |part| kib + kib * part / parts))
}

#[test]
fn a_file_that_does_not_fit_costs_no_more_than_itself() {
    let folder = common::folder("limit", MESH);
    for args in ASKED {
        let mut there = 0;
        for kib in between(KIB) {
            let _ = fs::remove_dir_all(folder.join("run"));
            let output = limited(&folder, kib, args);
            let case = Case { args, folder: folder.clone(), before: None };
            there += usize::from(case.assert_whole(&format!("{kib} KiB a file"), &output));
        }
        // The files of a run except its trace are small: they exist long before there is room for a trace.
        assert!((2 * campaign()..8 * campaign()).contains(&there), "{args:?}: {there}");
    }
}

/// A run whose files may each have so many KiB.
fn limited(folder: &Path, kib: u64, args: &[&str]) -> Output {
    // The signal is ignored: too large a file is an error of writing it, as on a full disk.
    let script = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
    // In POSIX a unit is half a KiB.
    let limit = (2 * kib).to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", &limit, env!("CARGO_BIN_EXE_meshsim"), "run", "mesh.yaml", "--no-progress"]);
    shell.args(["--out", "run"]).args(args).current_dir(folder).stdin(Stdio::null());
    shell.output().unwrap()
}

/// A small disk in memory, gone with the test.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, kib: u64) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output().ok()?;
        mounted.status.success().then_some(Disk(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_the_run_before_or_this_one_whole() {
    let folder = common::folder("tmpfs", MESH);
    let mut runs = 0;
    for (index, kib) in between([12, 24, 40, 64, 128, 4096]).enumerate() {
        for (args, former) in ASKED.into_iter().flat_map(|args| [(args, false), (args, true)]) {
            let at = folder.join(format!("disk-{index}-{former}-{}", args.concat()));
            let Some(disk) = Disk::mount(at, kib) else {
                eprintln!("no disk can be mounted here: the limit of each file stands for it");
                return;
            };
            let out = disk.0.join("run");
            let out = out.to_str().unwrap();
            // The one before takes its room.
            let before = former
                .then(|| meshsim(&folder, &["run", "mesh.yaml", "--seed", "6", "--out", out]))
                .and_then(|it| (it.status.code() == Some(0)).then_some(6));
            let line = [&["run", "mesh.yaml", "--no-progress", "--out", out][..], args].concat();
            let output = command(&folder, &line).output().unwrap();
            let case = Case { args, folder: disk.0.clone(), before };
            runs += usize::from(case.assert_whole(&format!("a disk of {kib} KiB"), &output));
        }
    }
    assert!((10 * campaign()..36 * campaign()).contains(&runs), "{runs}");
}
