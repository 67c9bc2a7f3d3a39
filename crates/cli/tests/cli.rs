//! The tool for a person or a script: the real binary.

#[path = "../../experiment/tests/corpus/mod.rs"]
mod corpus;

mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use common::{
    assert_exit, command, example, json, meshsim, meshsim_with, names, one_line, signal, stderr, stdout, until,
};

const MESH: &str = "
name: small
seed: 7
duration: 4s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: back ] } } }
  back: { instances: 2, endpoints: { get: { script: [ work: 2ms ] } } }
operations:
  - { at: 1s, extend: back, to: 6, rate: 0.5, every: 100ms }
load:
  users: { to: front, arrivals: { poisson: 100/s }, warmup: 1s }
slo: [ errors < 1%, p99 < 1s ]
";

fn folder(test: &str) -> PathBuf {
    common::folder(test, MESH)
}

#[test]
fn every_command_has_help_with_examples() {
    let folder = folder("help");
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["import", "--help"],
        &["compose", "--help"],
        &["schema", "--help"],
        &["trace", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let output = meshsim(&folder, args);
        assert_exit(&output, 0);
        let help = stdout(&output);
        assert!(help.contains("Usage: meshsim") && help.contains("Examples:\n  meshsim "), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn a_run_prints_what_it_simulates_and_what_came_out_and_writes_it_down() {
    let folder = folder("run");
    let output = meshsim(&folder, &["run", "mesh.yaml"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    for part in [
        "small  4s of virtual time, seed 7\n  2 nodes, 2 services, 4 instances, 1 edge, ",
        "extend back to 6 at 0.5",
        "S 2 -> 6",
        "users front.show",
        "PASS  errors < 1%  0%",
        "4s of virtual time in ",
        "written to runs/small-7\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert_eq!(
        names(&folder.join("runs/small-7")),
        ["events.jsonl", "experiment.yaml", "series.csv", "series.parquet", "state.json", "summary.json"]
    );
    assert_eq!(fs::read_to_string(folder.join("runs/small-7/experiment.yaml")).unwrap(), MESH);
    for file in ["state.json", "summary.json"] {
        json(&folder.join("runs/small-7").join(file));
    }
}

#[test]
fn the_same_experiment_gives_the_same_files_with_and_without_a_trace() {
    let folder = folder("same");
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--out", "a"]), 0);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--out", "b", "--trace", "--json"]), 0);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--out", "c", "--trace=jsonl"]), 0);
    for file in ["events.jsonl", "experiment.yaml", "series.csv", "series.parquet", "state.json", "summary.json"] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("a") == read("b") && read("b") == read("c"), "{file}");
    }
    assert!(fs::read(folder.join("b/trace.bin")).unwrap() == fs::read(folder.join("c/trace.bin")).unwrap());
    // A folder holds one run.
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--out", "c", "--seed", "8"]), 0);
    assert_eq!(
        names(&folder.join("c")),
        ["events.jsonl", "experiment.yaml", "series.csv", "series.parquet", "state.json", "summary.json"]
    );
}

#[test]
fn json_is_all_that_goes_to_stdout() {
    let folder = folder("json");
    let output = meshsim(&folder, &["run", "mesh.yaml", "--json", "--seed", "9"]);
    assert_exit(&output, 0);
    let summary: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["seed"], 9);
    assert_eq!(summary["outcome"], "pass");
    assert_eq!(summary["cut_short"], false);
    assert_eq!(summary["simulated"]["instances"], 4);
    assert_eq!(summary["loads"][0]["requests"]["failed"], 0);
    assert!(folder.join("runs/small-9/summary.json").exists());
    let output = meshsim(&folder, &["check", "mesh.yaml", "--json"]);
    let findings: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(findings["size"]["services"], 2);
    let schema: serde_json::Value = serde_json::from_str(&stdout(&meshsim(&folder, &["schema"]))).unwrap();
    assert!(schema["properties"]["services"].is_object());
}

#[test]
fn values_of_the_file_can_be_set_and_are_in_the_experiment_as_run() {
    let folder = folder("set");
    let output = meshsim(&folder, &["run", "mesh.yaml", "--set", "services.back.instances=3", "--set", "duration=2s"]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("small  2s of virtual time, seed 7\n  2 nodes, 2 services, 5 instances"));
    let again = meshsim(&folder, &["run", "runs/small-7/experiment.yaml", "--out", "again"]);
    assert_exit(&again, 0);
    let summary = |run: &str| fs::read(folder.join(run).join("summary.json")).unwrap();
    assert!(summary("runs/small-7") == summary("again"));
}

/// Runs an experiment, then the experiment in its output folder: all files must be equal.
#[track_caller]
fn assert_repeatable(folder: &Path, file: &str, files: &[&str]) {
    assert_exit(&meshsim(folder, &["run", file, "--trace", "--out", "once"]), 0);
    let mut expected = vec![
        "events.jsonl",
        "experiment.yaml",
        "series.csv",
        "series.parquet",
        "state.json",
        "summary.json",
        "trace.bin",
    ];
    expected.extend(files);
    expected.sort();
    assert_eq!(names(&folder.join("once")), expected);
    assert_exit(&meshsim(folder, &["run", "once/experiment.yaml", "--trace", "--out", "again"]), 0);
    for file in expected {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("once") == read("again"), "{file}");
    }
}

#[test]
fn the_folder_of_a_run_is_enough_to_repeat_it() {
    let folder = folder("repeat");
    assert_repeatable(&folder, &example("wan"), &["latencies.csv"]);

    // Without a name, in a folder below its input, and with a file in another folder.
    let _ = fs::remove_dir_all(folder.join("once"));
    let stamps: String = (0..200).map(|n| format!("{}\n", f64::from(n) * 0.01)).collect();
    fs::write(folder.join("stamps.txt"), format!("at\n{stamps}")).unwrap();
    fs::create_dir_all(folder.join("below")).unwrap();
    let replay = MESH.replace("name: small\n", "").replace("{ poisson: 100/s }", "{ replay: ../stamps.txt }");
    fs::write(folder.join("below/mesh.yaml"), replay).unwrap();
    assert_repeatable(&folder, "below/mesh.yaml", &["stamps.csv"]);
    let summary = json(&folder.join("once/summary.json"));
    assert_eq!((&summary["name"], &summary["loads"][0]["requests"]["offered"]), (&"below".into(), &100.into()));
}

#[test]
fn what_no_run_wrote_is_not_replaced() {
    let folder = folder("spare");
    fs::create_dir_all(folder.join("mine")).unwrap();
    fs::write(folder.join("mine/experiment.yaml"), "# mine").unwrap();
    let output = meshsim(&folder, &["run", "mesh.yaml", "--out", "mine"]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("mine/experiment.yaml exists and belongs to no run"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(folder.join("mine/experiment.yaml")).unwrap(), "# mine");
    assert_eq!(names(&folder.join("mine")), ["experiment.yaml"]);
    // Files of a run are replaced.
    for seed in ["1", "2"] {
        assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--out", "runs", "--seed", seed]), 0);
    }
}

#[test]
fn every_request_of_a_real_log_is_offered() {
    let folder = folder("replay");
    for (file, rest, duration, requests) in [
        ("arrivals/azure-conv.csv", "column: TIMESTAMP", "3502s", 19_366..19_367),
        // Ten thousand minutes, each with its count; at random within the minute, so nearly as many.
        ("arrivals/nasa-week1-per-minute.csv", "column: requests, per: 1m, speed: 60", "2h48min", 565_000..570_000),
    ] {
        let Some(path) = corpus::corpus_file(file) else { return };
        let replay = format!("{{ replay: {}, {rest} }}", path.display());
        let mesh = MESH.replace("{ poisson: 100/s }", &replay).replace("warmup: 1s", "window: 60s");
        fs::write(folder.join("replay.yaml"), mesh).unwrap();
        let output = meshsim(&folder, &["run", "replay.yaml", "--json", "--set", &format!("duration={duration}")]);
        let summary: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let offered = summary["loads"][0]["requests"]["offered"].as_u64().unwrap();
        assert!(requests.contains(&offered), "{file}: {offered}");
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn every_key_of_a_summary_is_in_its_schema() {
    let folder = folder("schema");
    let schema: serde_json::Value = serde_json::from_str(&stdout(&meshsim(&folder, &["schema", "summary"]))).unwrap();
    for args in
        [&["--json"][..], &["--json", "--set", "operations.0.rate=0.1"], &["--json", "--set", "slo.1=p99.9 < 1s"]]
    {
        let args: Vec<&str> = ["run", "mesh.yaml"].into_iter().chain(args.iter().copied()).collect();
        let summary = serde_json::from_str(&stdout(&meshsim(&folder, &args))).unwrap();
        assert_fits(&summary, &schema, &schema, "summary");
    }
}

/// The part of JSON Schema that the summary's schema uses.
fn assert_fits(value: &serde_json::Value, schema: &serde_json::Value, root: &serde_json::Value, path: &str) {
    use serde_json::Value;
    if let Some(reference) = schema["$ref"].as_str() {
        return assert_fits(value, root.pointer(reference.trim_start_matches('#')).unwrap(), root, path);
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        assert!(one_of.iter().any(|one| one["const"] == *value), "{path}: {value}");
        return;
    }
    if let Some(any_of) = schema["anyOf"].as_array() {
        // A structure, or nothing.
        if !value.is_null() {
            assert_fits(value, &any_of[0], root, path);
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind =
        |kind: &str| schema["type"] == kind || schema["type"].as_array().is_some_and(|of| of.contains(&kind.into()));
    assert!(is_kind(kind) || kind == "integer" && is_kind("number"), "{path} is {kind}, not {}", schema["type"]);
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{path}: {value}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        // Of a tuple, each item has a schema of its own.
        let items = schema["prefixItems"].get(index).unwrap_or(&schema["items"]);
        assert_fits(item, items, root, &format!("{path}[{index}]"));
    }
    if let Some(entries) = value.as_object() {
        for key in schema["required"].as_array().into_iter().flatten() {
            assert!(entries.contains_key(key.as_str().unwrap()), "{path} lacks {key}");
        }
        for (key, value) in entries {
            let path = format!("{path}.{key}");
            assert!(schema["properties"][key].is_object(), "{path} is not in the schema");
            assert_fits(value, &schema["properties"][key], root, &path);
        }
    }
}

#[test]
fn an_slo_that_does_not_hold_is_exit_code_99() {
    let folder = folder("slo");
    let output = meshsim(&folder, &["run", "mesh.yaml", "--set", "slo=[p99 < 1ms]"]);
    assert_exit(&output, 99);
    assert!(stdout(&output).contains("FAIL  p99 < 1ms"), "{}", stdout(&output));
}

#[test]
fn wrong_input_is_exit_code_2_and_is_shown_in_its_place() {
    let folder = folder("wrong");
    fs::write(folder.join("bad.yaml"), MESH.replace("duration: 4s", "duraton: 4s")).unwrap();
    fs::write(folder.join("not.bin"), "something else").unwrap();
    fs::write(folder.join("comments.yaml"), "# later\n").unwrap();
    for (args, said) in [
        (&["run", "bad.yaml"][..], "duration"),
        (&["check", "bad.yaml"], "bad.yaml:4:1"),
        (&["run", "mesh.yaml", "--set", "services.back"], "missing `=`"),
        (&["run", "mesh.yaml", "--set", "services.back.capcity=3"], "capacity"),
        (&["run", "nowhere.yaml"], "nowhere.yaml"),
        (&["run", "mesh.yaml", "--trace=yaml"], "possible values: bin, jsonl"),
        (&["run"], "<FILE>"),
        (&["fly"], "unrecognized subcommand"),
        (&["import", "excel", "x"], "possible values: isotope"),
        (&["run", "mesh.yaml", "--seed", "-1"], "write a whole number from 0 to 18446744073709551615"),
        (&["run", "."], "`./mesh.yaml` is an experiment"),
        (&["import", "compose", "comments.yaml"], "help: expected a Compose file, a map with `services`"),
        (&["schema", "trace"], "possible values: experiment, summary"),
        (&["trace", "nowhere"], "cannot read nowhere"),
        (&["trace", "not.bin"], "not a trace: it does not begin as one"),
    ] {
        let output = meshsim(&folder, args);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(said), "{args:?}: {said:?} is not in\n{}", stderr(&output));
    }
    let output = meshsim(&folder, &["check", "bad.yaml", "--json"]);
    assert_exit(&output, 2);
    let problems: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(problems["problems"][0]["line"], 4);
    assert_eq!(names(&folder), ["bad.yaml", "comments.yaml", "mesh.yaml", "not.bin"], "nothing was written");
}

#[test]
fn check_prints_the_graph_and_what_to_expect() {
    let folder = folder("check");
    let output = meshsim(&folder, &["check", "mesh.yaml", "--set", "load.users.arrivals.poisson=2000/s"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("  front  -> back 1\n"), "{text}");
    assert!(text.contains("warning:") && text.contains("back"), "{text}");
    let text = stdout(&meshsim(&folder, &["check", "mesh.yaml", "--set", "operations.0.feedback=observed"]));
    assert!(text.contains("  extend back   0.5  0 steps             2                   1\n"), "{text}");
    assert!(text.ends_with("\nnothing to warn of\n"), "{text}");
    let late = ["--set", "operations.0.feedback=observed", "--set", "services.back.start_delay=250ms"];
    let text = stdout(&meshsim(&folder, &[&["check", "mesh.yaml"][..], &late].concat()));
    assert!(text.contains("  extend back   0.5  2 steps      0.618034            0.148148\n"), "{text}");
}

#[test]
fn the_lists_of_check_end() {
    let folder = folder("lists");
    let text = stdout(&meshsim(&folder, &["check", &example("thousand")]));
    assert!(text.lines().count() < 120, "{} lines", text.lines().count());
    assert!(text.contains("  svc-0    -> svc-0-0 1, ") && text.contains("and 90 more\n"), "{text}");
    assert!(text.contains("  and 980 more, in --json\n"), "{text}");
}

#[test]
fn a_trace_is_printed_and_its_reader_may_go_away() {
    let folder = folder("trace");
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--trace=jsonl"]), 0);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--out", "untraced"]), 0);
    let text = stdout(&meshsim(&folder, &["trace", "runs/small-7"]));
    assert!(text.starts_with(" record   cause    time (s)  actor        what\n"), "{}", &text[..200]);
    assert!(text.lines().all(|line| line.chars().count() <= 80 && !line.contains("timer_")), "{text}");
    let jsonl = meshsim(&folder, &["trace", "runs/small-7/trace.bin", "--jsonl"]).stdout;
    assert!(jsonl == fs::read(folder.join("runs/small-7/trace.jsonl")).unwrap());
    let records = jsonl.iter().filter(|byte| **byte == b'\n').count();
    let whole = stdout(&meshsim(&folder, &["trace", "log", "last", "--where", "timer || !timer", "--wide"]));
    assert_eq!(whole.lines().count(), records + 2, "a heading, and a line that counts");
    let cut = text.lines().find(|line| line.ends_with('…')).unwrap();
    assert!(
        whole.lines().any(|line| line.starts_with(cut.trim_end_matches('…')) && line.chars().count() > 80),
        "{cut}"
    );

    let mut child = command(&folder, &["trace", "runs/small-7", "--jsonl"]).spawn().unwrap();
    let mut begin = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut begin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_run_whose_reader_goes_away_is_still_written() {
    let folder = folder("pipe");
    let mut child = command(&folder, &["run", "mesh.yaml"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    assert!(folder.join("runs/small-7/summary.json").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_said_before_the_run() {
    let folder = folder("unwritable");
    // A file where the folder should be: also root cannot write into it.
    fs::write(folder.join("runs"), "").unwrap();
    let output = meshsim(&folder, &["run", "mesh.yaml", "--set", "duration=3000h"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("cannot write runs/small-7"), "{}", stderr(&output));
}

#[test]
fn what_no_run_wrote_is_neither_replaced_nor_taken_away() {
    let folder = folder("precious");
    for name in ["experiment.yaml", "state.json", "trace.bin", "trace.jsonl", "live.json"] {
        let mine = folder.join(format!("with-{name}"));
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join(name), "precious").unwrap();
        let output = meshsim(&folder, &["run", "mesh.yaml", "--out", mine.to_str().unwrap()]);
        assert_exit(&output, 2);
        assert!(one_line(&stderr(&output)).contains("exists and belongs to no run"), "{}", stderr(&output));
        assert_eq!(
            (names(&mine), fs::read_to_string(mine.join(name)).unwrap()),
            (vec![name.into()], "precious".into())
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_exit_code_1() {
    let folder = folder("full");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&folder, &["schema"]).stdout(full).output().unwrap();
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
}

/// A run that would take hours, told to stop once it has begun.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_early_and_what_was_measured_is_written() {
    let folder = folder("interrupt");
    let child = command(&folder, &["run", "mesh.yaml", "--set", "duration=2000h", "--trace"]).spawn().unwrap();
    let run = folder.join("runs/small-7");
    let staged = folder.join(format!("runs/.small-7.{}.part/trace.bin", child.id()));
    // The trace is begun after Ctrl-C is caught.
    let begun = || staged.metadata().is_ok_and(|data| data.len() > 0);
    until("the trace is begun", || begun().then_some(()));
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 130);
    assert!(stdout(&output).contains("\ncut short at "), "{}", stdout(&output));
    let expected =
        ["events.jsonl", "experiment.yaml", "series.csv", "series.parquet", "state.json", "summary.json", "trace.bin"];
    assert_eq!(names(&run), expected);
    let summary = json(&run.join("summary.json"));
    assert_eq!(summary["cut_short"], true);
    assert!(summary["reached_s"].as_f64() < summary["duration_s"].as_f64());
    assert!(summary["traffic"]["events"].as_u64() > Some(0));
}

#[test]
fn an_import_goes_to_stdout_or_to_a_file_that_is_not_overwritten_unasked() {
    let folder = folder("import");
    let graph =
        "defaults: { numReplicas: 2 }\nservices:\n- { name: a, isEntrypoint: true, script: [ call: b ] }\n- name: b\n";
    fs::write(folder.join("graph.yaml"), graph).unwrap();
    let output = meshsim(&folder, &["import", "isotope", "graph.yaml"]);
    assert_exit(&output, 0);
    assert!(
        stderr(&output).starts_with("2 services, 4 instances, 1 call, 2 service visits per request\n"),
        "{}",
        stderr(&output)
    );
    assert_exit(&meshsim(&folder, &["import", "isotope", "graph.yaml", "-o", "made.yaml"]), 0);
    assert_eq!(fs::read(folder.join("made.yaml")).unwrap(), output.stdout);
    assert_exit(&meshsim(&folder, &["check", "made.yaml"]), 0);
    let refused = meshsim(&folder, &["import", "isotope", "graph.yaml", "-o", "made.yaml"]);
    assert_exit(&refused, 2);
    assert!(stderr(&refused).contains("made.yaml already exists"), "{}", stderr(&refused));
    assert_exit(&meshsim(&folder, &["import", "isotope", "graph.yaml", "-o", "made.yaml", "--force"]), 0);
}

#[test]
fn a_dash_is_standard_input_wherever_a_file_is_named() {
    let folder = folder("stdin");
    let from_file = meshsim(&folder, &["check", "mesh.yaml"]);
    let from_input = meshsim_with(&folder, &["check", "-"], MESH.as_bytes());
    assert_exit(&from_input, 0);
    assert_eq!(stdout(&from_input), stdout(&from_file));
    assert_exit(&meshsim_with(&folder, &["run", "-", "--trace"], MESH.as_bytes()), 0);
    let trace = fs::read(folder.join("runs/small-7/trace.bin")).unwrap();
    let printed = meshsim_with(&folder, &["trace", "-", "--jsonl"], &trace);
    assert_eq!(stdout(&printed), stdout(&meshsim(&folder, &["trace", "runs/small-7", "--jsonl"])));

    let graph = b"services:\n- { name: a, isEntrypoint: true }\n";
    let imported = meshsim_with(&folder, &["import", "isotope", "-"], graph);
    assert_exit(&imported, 0);
    assert_exit(&meshsim_with(&folder, &["check", "-"], &imported.stdout), 0);
    let twice = meshsim_with(&folder, &["import", "compose", "-", "--calls", "-"], graph);
    assert_exit(&twice, 2);
    assert!(stderr(&twice).contains("named twice"), "{}", stderr(&twice));
    let broken = meshsim_with(&folder, &["check", "-"], b"nodes: [");
    assert_exit(&broken, 2);
    assert!(stderr(&broken).contains("[standard input:1:"), "{}", stderr(&broken));
}

#[test]
fn a_dash_is_standard_input_for_a_secret_and_a_token_too() {
    let folder = folder("secrets");
    let said = |args: &[&str], input: &[u8], code: i32| {
        let output = meshsim_with(&folder, args, input);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        one_line(&stderr(&output))
    };
    let coordinator = ["coordinator", "mesh.yaml", "--no-http", "--listen", "127.0.0.1:0", "--secret-file", "-"];
    let node = ["node", "--join", "127.0.0.1:1", "--reconnect-timeout", "0", "--secret-file", "-"];
    let live = ["live", "mesh.yaml", "--http", "127.0.0.1:0", "--token-file", "-"];
    let stop = ["ctl", "--to", "127.0.0.1:1", "--token-file", "-", "stop"];
    let (short, long, binary) = ("fifteen chars..", "x".repeat(5000), b"sixteen and \xff more");
    for (args, what) in [(&coordinator[..], "secret"), (&node, "secret"), (&live, "token"), (&stop, "token")] {
        for nothing in ["", "\n", short] {
            let said = said(args, nothing.as_bytes(), 2);
            assert!(said.contains(&format!("standard input holds no {what}")), "{said}");
        }
        let said = [long.as_bytes(), binary].map(|input| said(args, input, 2));
        assert!(said[0].contains("standard input: it is larger than 4096 bytes"), "{}", said[0]);
        assert!(said[1].contains("standard input: it is not text"), "{}", said[1]);
    }
    // A correct one is accepted; no process listens at that address.
    let right = b"sixteen characters, and more\n";
    assert!(said(&node, right, 1).contains("127.0.0.1:1"));
    assert!(said(&stop, right, 1).contains("no gateway at 127.0.0.1:1"));

    for twice in [
        &["coordinator", "-", "--secret-file", "-"][..],
        &["coordinator", "mesh.yaml", "--secret-file", "-", "--token-file", "-"],
        &["live", "-", "--token-file", "-"],
        &["client", "-", "--secret-file", "-"],
    ] {
        let said = said(twice, MESH.as_bytes(), 2);
        assert!(said.contains("standard input is named twice"), "{twice:?}: {said}");
    }
}

#[test]
fn every_command_is_completed_in_every_shell_and_has_a_page_of_the_manual() {
    let folder = folder("man");
    let help = stdout(&meshsim(&folder, &["--help"]));
    let listed = help.lines().skip_while(|line| *line != "Try:").take_while(|line| *line != "Options:");
    let commands: Vec<&str> = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|name| !matches!(*name, "" | "help")).collect();
    assert!(commands.contains(&"ctl") && commands.contains(&"man"), "{commands:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = meshsim(&folder, &["completions", shell]);
        assert_exit(&script, 0);
        let script = stdout(&script);
        assert!(commands.iter().all(|command| script.contains(command)) && script.contains("until-stopped"), "{shell}");
    }
    assert_exit(&meshsim(&folder, &["man", "-o", "man1"]), 0);
    let page = |name: &str| fs::read_to_string(folder.join(format!("man1/{name}.1"))).unwrap();
    for command in commands {
        let page = page(&format!("meshsim-{command}"));
        assert!(page.contains(".SH NAME") && page.contains("Examples:"), "{page}");
    }
    assert!(page("meshsim-ctl-extend").contains("Target of S"));
    assert_eq!(stdout(&meshsim(&folder, &["man"])), page("meshsim"));
    // Written again, they are the same: nothing is asked.
    assert_exit(&meshsim(&folder, &["man", "-o", "man1"]), 0);
}

#[test]
fn a_run_that_cannot_fit_is_refused_with_the_figure() {
    let mesh = "{ duration: 1s, nodes: [ { name: n } ], services: { a: { instances: 1000000, endpoints: { e: { script: [ work: \
                1ms ] } } } } }";
    let folder = common::folder("memory", mesh);
    let limited = |args: &[&str]| {
        // In KiB: room for the program, and for less than the run needs.
        let line = format!("ulimit -v 120000; exec \"$0\" {}", args.join(" "));
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_meshsim")]).current_dir(&folder).output().unwrap()
    };
    for command in ["check", "run"] {
        let output = limited(&[command, "mesh.yaml"]);
        assert_exit(&output, 2);
        let said = stderr(&output);
        assert!(said.contains("of memory") && said.contains("are available"), "{said}");
    }
    assert_exit(&meshsim(&folder, &["check", "mesh.yaml"]), 0);
}
