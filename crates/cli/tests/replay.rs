//! `meshsim replay` for a person: the real binary.

mod common;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{assert_exit, command, meshsim, signal, stderr, stdout};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::Reader;

const MESH: &str = "
name: small
seed: 7
duration: 4s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: back ] } } }
  back: { instances: 2, endpoints: { get: { script: [ work: 2ms +/- 1ms ] } } }
operations:
  - { at: 1s, extend: back, to: 6, rate: 0.5, every: 100ms }
load:
  users: { to: front, arrivals: { poisson: 100/s }, warmup: 1s }
faults:
  - { at: 2s, for: 500ms, crash: node-1 }
";

/// An empty folder of its own for each test, with a traced run in `run`.
fn folder(test: &str) -> PathBuf {
    let path = common::folder(test, MESH);
    expect(&meshsim(&path, &["run", "mesh.yaml", "--trace", "--out", "run"]), 0);
    path
}

/// Its stdout and stderr.
#[track_caller]
fn expect(output: &Output, code: i32) -> (String, String) {
    assert_exit(output, code);
    (stdout(output), stderr(output))
}

/// Changes the experiment of the run.
fn change(folder: &Path, from: &str, to: &str) {
    let file = folder.join("run/experiment.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn its_help_has_examples_and_exit_codes() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (help, _) = expect(&meshsim(folder, &["replay", "--help"]), 0);
    for part in ["Usage: meshsim replay", "Examples:\n  meshsim ", "Exit codes: 0 the same, 1 a divergence"] {
        assert!(help.contains(part), "{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn a_run_is_the_same_again_and_it_says_how_much_was_compared() {
    let folder = folder("same");
    let (out, err) = expect(&meshsim(&folder, &["replay", "run"]), 0);
    assert_eq!(err, "");
    assert!(out.starts_with("the same: 4 actors, "), "{out}");
    let records = expect(&meshsim(&folder, &["trace", "run", "--jsonl"]), 0).0.lines().count();
    assert!(out.replace(',', "").contains(&format!(" compared of {records} records\n")), "{out}");
    // The trace may be named itself.
    assert!(expect(&meshsim(&folder, &["replay", "run/trace.bin"]), 0).0.starts_with("the same: 4 actors, "));
}

#[test]
fn a_changed_experiment_is_exit_code_1_and_the_first_difference_is_shown() {
    let folder = folder("differs");
    change(&folder, "work: 2ms +/- 1ms", "work: 3ms +/- 1ms");
    let (out, err) = expect(&meshsim(&folder, &["replay", "run"]), 1);
    assert_eq!(err, "");
    assert!(out.starts_with("differs: "), "{out}");
    let (_, shown) = out.split_once("\nfirst at record ").unwrap();
    let record: u64 =
        shown.split(',').take_while(|part| !part.starts_with(" at ")).collect::<String>().parse().unwrap();
    // It is the record that `trace` prints in that place.
    let (text, _) = expect(&meshsim(&folder, &["trace", "run", "--where", &format!("record == {record}")]), 0);
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains("node-") && line.contains("work"), "{line}");
    let said = |prefix: &str| shown.lines().find_map(|line| line.strip_prefix(prefix)).unwrap().trim_start().to_owned();
    let (said, did) = (said("the trace says:"), said("the actor now:"));
    assert!(said.starts_with("note  work ") && did.starts_with("note  work ") && said != did, "{shown}");
    // The causes: the last of these is the input or effect just before.
    let before: Vec<&str> = shown.lines().skip(1).take_while(|line| !line.starts_with("the trace")).collect();
    assert_eq!(before.len(), 6, "{shown}");
    assert!(before.iter().all(|line| line.contains("  node-")), "{shown}");
}

#[test]
fn a_trace_that_is_cut_off_is_replayed_up_to_there() {
    let folder = folder("cut");
    let longer = ["run", "mesh.yaml", "--trace", "--out", "run", "--set", "duration=20s"];
    expect(&meshsim(&folder, &longer), 0);
    let trace = folder.join("run/trace.bin");
    let bytes = fs::read(&trace).unwrap();
    // Its chunks are good each for itself: the last one is not whole.
    let mut reader: Reader<_, Msg, Tick> = Reader::new(Cursor::new(&bytes)).unwrap();
    let chunks = reader.index().unwrap().chunks;
    assert!(chunks.len() > 1, "{chunks:?}");
    fs::write(&trace, &bytes[..chunks.last().unwrap().offset as usize + 100]).unwrap();
    let (out, err) = expect(&meshsim(&folder, &["replay", "run"]), 2);
    assert!(out.starts_with("the same up to the unreadable part: 4 actors, "), "{out}");
    assert!(err.contains("cut off after "), "{err}");
}

#[test]
fn wrong_input_is_exit_code_2_and_says_what_is_wrong() {
    let folder = folder("wrong");
    expect(&meshsim(&folder, &["run", "mesh.yaml", "--out", "untraced"]), 0);
    fs::create_dir_all(folder.join("alone")).unwrap();
    fs::copy(folder.join("run/trace.bin"), folder.join("alone/trace.bin")).unwrap();
    fs::create_dir_all(folder.join("other")).unwrap();
    fs::write(folder.join("other/trace.bin"), "something else").unwrap();
    fs::copy(folder.join("run/experiment.yaml"), folder.join("other/experiment.yaml")).unwrap();
    for (args, said) in [
        (&["replay"][..], "<RUN>"),
        (&["replay", "nowhere"], "cannot read nowhere"),
        (&["replay", "untraced"], "untraced is a run without a trace"),
        (&["replay", "alone"], "cannot read alone/experiment.yaml"),
        (&["replay", "other"], "not a trace: it does not begin as one"),
        (&["replay", "mesh.yaml"], "not a trace: it does not begin as one"),
    ] {
        let (out, err) = expect(&meshsim(&folder, args), 2);
        assert!(out.is_empty() && err.contains(said), "{args:?}: {said:?} is not in\n{err}");
    }
}

#[test]
fn a_trace_of_another_experiment_is_refused_with_what_differs() {
    for (test, from, to, said) in [
        ("seed", "seed: 7", "seed: 8", "the trace is of seed 7, the experiment of seed 8"),
        ("more", "count: 2", "count: 3", "the trace is of 4 actors, the experiment of 5"),
        ("name", "users:", "people:", "`users` in the trace and `people` in the experiment"),
    ] {
        let folder = folder(test);
        change(&folder, from, to);
        let (_, err) = expect(&meshsim(&folder, &["replay", "run"]), 2);
        assert!(err.contains(said), "{said:?} is not in\n{err}");
    }
}

/// A trace without an end, told to stop once it is being read.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_early_and_it_says_how_far_it_came() {
    use meshsim_actor::{ActorId, EntryRef, MachineAction, Recorder, Time};
    use meshsim_trace::{Header, Writer};

    let folder = folder("interrupt");
    let trace = folder.join("run/trace.bin");
    fs::remove_file(&trace).unwrap();
    assert!(Command::new("mkfifo").arg(&trace).status().unwrap().success());
    let mut child = command(&folder, &["replay", "run"]).spawn().unwrap();
    let pipe = fs::OpenOptions::new().write(true).open(&trace).unwrap();
    let actors = ["coordinator", "node-0", "node-1", "users"].map(String::from).into();
    let mut writer = Writer::new(pipe, &Header { seed: 7, actors, ..Header::default() });
    // A machine comes up, and comes up, and comes up.
    let mut restarts = |count: u64| {
        for at in 0..count {
            let what: EntryRef<'_, Msg, Tick> = EntryRef::Power(&MachineAction::Restart);
            // Random bytes, which do not compress.
            writer.record(Time::from_nanos(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ActorId(1), what);
        }
    };
    // More than can lie in the pipe and in the reader's block: then Ctrl-C is caught.
    restarts(1 << 18);
    signal(child.id(), "INT");
    while child.try_wait().unwrap().is_none() {
        restarts(1 << 16);
    }
    let (out, err) = expect(&child.wait_with_output().unwrap(), 130);
    assert!(out.starts_with("the same so far, cut short: ") && out.contains(" records\n"), "{out}");
    assert_eq!(err, "");
}
