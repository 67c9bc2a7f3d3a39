//! Comparison of runs by a person or a script: the real binary.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_exit, json, meshsim, stderr, stdout};
use serde_json::Value;

const MESH: &str = "
name: small
seed: 7
duration: 4s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: back ] }, hide: {} } }
  back: { instances: 2, endpoints: { get: { script: [ work: { exponential: 2ms } ] } } }
operations:
  - { at: 1s, extend: back, to: 6, rate: 0.5, every: 100ms, rounding: stochastic }
load:
  users: { to: front, arrivals: { poisson: 200/s }, mix: { show: 3, hide: 1 }, warmup: 1s }
";

fn folder(test: &str) -> PathBuf {
    common::folder(test, MESH)
}

/// Runs the experiment, with other values.
#[track_caller]
fn run(folder: &Path, out: &str, set: &[&str]) {
    let set = set.iter().flat_map(|set| ["--set", set]);
    let args: Vec<&str> = ["run", "mesh.yaml", "--no-progress", "--out", out].into_iter().chain(set).collect();
    assert_exit(&meshsim(folder, &args), 0);
}

/// Output of a comparison that succeeds.
#[track_caller]
fn compared(folder: &Path, args: &[&str]) -> String {
    let output = meshsim(folder, &[&["compare"], args].concat());
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    stdout(&output)
}

#[track_caller]
fn compared_json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&compared(folder, &[args, &["--json"]].concat())).unwrap()
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn compare_has_help_with_examples_and_says_what_noise_is() {
    let output = meshsim(&folder("help"), &["compare", "--help"]);
    assert_exit(&output, 0);
    let help = stdout(&output);
    assert_says(&help, &["Usage: meshsim compare", "Examples:\n  meshsim compare ", "3 sqrt(a + b)", "--noise"]);
}

#[test]
fn a_run_beside_itself_is_the_same_in_everything() {
    let folder = folder("same");
    run(&folder, "a", &[]);
    let text = compared(&folder, &["a", "a", "--noise", "0"]);
    let parts =
        ["small  2 runs of one experiment\n  ", "  B  the same ", "none of ", "differences is larger than noise\n"];
    assert_says(&text, &parts);
    assert!(!text.contains("~ same"), "{text}");
}

#[test]
fn another_seed_is_remarked_and_what_it_changes_is_within_the_noise() {
    let folder = folder("seed");
    run(&folder, "a", &[]);
    run(&folder, "b", &["seed=8"]);
    let text = compared(&folder, &["a", "b"]);
    assert_says(&text, &["B: another seed than A", "~ same", "users   ", "  front.show", "arrived", "settle"]);
    let json = compared_json(&folder, &["a", "b"]);
    assert_eq!((&json["format"], &json["noise"]["floor"]), (&1.into(), &0.05.into()));
    for load in json["loads"].as_array().unwrap() {
        for figure in ["offered", "done", "p50_ns"] {
            let figure = &load["figures"][figure];
            assert_eq!(figure["differences"][0]["beyond"], false, "{} {figure}", load["target"]);
        }
    }
    let offered = &json["loads"][0]["figures"]["offered"];
    let [a, b] = [0, 1].map(|run| offered["values"][run].as_i64().unwrap());
    assert_eq!(offered["differences"][0]["absolute"], b - a);
    let share = offered["differences"][0]["share"].as_f64().unwrap();
    assert!((share - (b - a) as f64 / a as f64).abs() < 1e-9);
}

#[test]
fn queueing_runs_without_a_correlation_get_a_remark() {
    let folder = folder("busy");
    run(&folder, "a", &["services.front.capacity=1", "load.users.arrivals.poisson=600/s"]);
    // As a run was written before that was measured.
    let path = folder.join("a/summary.json");
    let mut summary: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(summary["loads"][0]["requests"]["correlation"]["p50"].as_f64().unwrap() >= 1.0);
    summary["loads"][0]["requests"].as_object_mut().unwrap().remove("correlation");
    fs::write(&path, summary.to_string()).unwrap();
    let text = compared(&folder, &["a", "a"]);
    assert_says(
        &text,
        &["front was busy for ", "of the time: where requests queue, there is more noise than the band"],
    );
}

#[test]
fn what_changed_by_more_than_noise_is_marked() {
    let folder = folder("changed");
    run(&folder, "a", &[]);
    run(&folder, "b", &[]);
    // As another version of the program might have measured.
    let summary = json(&folder.join("a/summary.json"));
    let p50 = summary["loads"][0]["requests"]["latency"]["p50_ns"].as_u64().unwrap();
    replace(&folder.join("b/summary.json"), &format!("\"p50_ns\": {p50}"), &format!("\"p50_ns\": {}", 2 * p50));
    let json = compared_json(&folder, &["a", "b"]);
    let found = &json["loads"][0]["figures"]["p50_ns"]["differences"][0];
    let expected = (&p50.into(), &1.0.into(), &true.into());
    assert_eq!((&found["absolute"], &found["share"], &found["beyond"]), expected);
    assert_eq!(json["beyond"], 1);
    assert_says(&compared(&folder, &["a", "b"]), &["+100%  differs\n", "\n1 of "]);
    // Whatever is asked to be noise is.
    assert_eq!(compared_json(&folder, &["a", "b", "--noise", "100%"])["beyond"], 0);
}

#[test]
fn the_first_step_that_was_decided_otherwise_is_shown() {
    let folder = folder("history");
    run(&folder, "a", &[]);
    // The rounding is drawn: some seed decides otherwise.
    let differing = (8..40).find(|seed| {
        run(&folder, "b", &[&format!("seed={seed}")]);
        compared_json(&folder, &["a", "b"])["histories"][0]["first_step"].is_object()
    });
    assert!(differing.is_some());
    let json = compared_json(&folder, &["a", "b"]);
    let history = &json["histories"][0];
    let first = &history["first_step"];
    let side = if first["base"].is_null() { &first["other"] } else { &first["base"] };
    let n = side["n"].as_u64().unwrap();
    assert_eq!(history["same_steps"], n - 1);
    assert_eq!((&side["kind"], &side["service"]), (&"extend".into(), &"back".into()));
    assert_eq!(history["first_operation"], Value::Null);
    let text = compared(&folder, &["a", "b"]);
    assert_says(&text, &[&format!("then step {n} differs: "), "step of", "extend back", "in the same order"]);
}

#[test]
fn times_and_durations_of_steps_are_no_difference_of_history() {
    let folder = folder("moments");
    run(&folder, "a", &[]);
    run(&folder, "b", &[]);
    let path = folder.join("b/summary.json");
    let mut summary = json(&path);
    for operation in summary["operations"].as_array_mut().unwrap() {
        operation["began_s"] = 1.75.into();
        for step in operation["steps"].as_array_mut().unwrap() {
            (step["decided_s"], step["settle_time_ns"], step["sent"]) = (1.75.into(), 99.into(), 99.into());
        }
    }
    fs::write(&path, summary.to_string()).unwrap();
    let history = &compared_json(&folder, &["a", "b"])["histories"][0];
    assert_eq!((&history["first_step"], &history["first_operation"]), (&Value::Null, &Value::Null));
}

#[test]
fn counts_of_another_duration_are_held_against_the_same_time() {
    let folder = folder("duration");
    run(&folder, "a", &[]);
    run(&folder, "b", &["duration=7s"]);
    let text = compared(&folder, &["a", "b"]);
    assert_says(&text, &["B lasts 7s, A 4s: counts are held against A's for the same time"]);
    // Three seconds were measured, and six.
    let json = compared_json(&folder, &["a", "b"]);
    let offered = &json["loads"][0]["figures"]["offered"];
    let [a, b] = [0, 1].map(|run| offered["values"][run].as_i64().unwrap());
    assert!(b > a + a / 2, "{offered}");
    assert_eq!(offered["differences"][0]["absolute"], b - 2 * a);
    assert_eq!(offered["differences"][0]["beyond"], false);
    // Of a run that ended before anything was measured nothing is known.
    run(&folder, "c", &["duration=900ms", "slo=[]"]);
    let offered = &compared_json(&folder, &["a", "c"])["loads"][0]["figures"]["offered"];
    assert_eq!((&offered["values"][1], &offered["differences"][0]), (&Value::Null, &Value::Null));
}

#[test]
fn several_runs_have_a_column_each_and_further_tables_if_too_wide() {
    let folder = folder("several");
    let runs = ["a", "b", "c", "d", "e"];
    for (seed, name) in runs.iter().enumerate() {
        run(&folder, name, &[&format!("seed={seed}")]);
    }
    let three = compared(&folder, &runs[..3]);
    let heading = three.lines().find(|line| line.trim_start().starts_with("load ")).unwrap();
    assert_eq!(heading.split_whitespace().collect::<Vec<_>>(), ["load", "A", "B", "C"]);
    let five = compared(&folder, &runs);
    assert_says(&five, &["A and B, C, D", "A and E", "B, C, D, E: another seed than A"]);
    let json = compared_json(&folder, &runs);
    assert_eq!(json["runs"].as_array().unwrap().len(), 5);
    assert_eq!(json["loads"][0]["figures"]["done"]["values"].as_array().unwrap().len(), 5);
    assert_eq!(json["histories"].as_array().unwrap().len(), 4);
}

#[test]
fn equivalent_files_are_one_experiment_and_unknown_fields_are_ignored() {
    let folder = folder("written");
    run(&folder, "a", &[]);
    run(&folder, "b", &["name=other", "slo=[ errors < 1% ]", "operations.0.at=1000ms"]);
    replace(&folder.join("b/summary.json"), "\"seed\"", "\"host\": { \"kind\": \"live\" },\n  \"seed\"");
    fs::write(folder.join("b/live.json"), "{}").unwrap();
    assert_says(&compared(&folder, &["a", "b"]), &["none of "]);
}

#[test]
fn more_than_anybody_reads_is_shown_when_asked_for() {
    let folder = folder("all");
    let services: String = (0..14).map(|n| format!("  s{n}: {{ endpoints: {{ get: {{}} }} }}\n")).collect();
    let calls: String = (0..14).map(|n| format!("call: s{n}, ")).collect();
    let mesh = MESH.replace("services:\n", &format!("services:\n{services}")).replace("call: back", &calls[..]);
    fs::write(folder.join("mesh.yaml"), mesh).unwrap();
    run(&folder, "a", &[]);
    let few = compared(&folder, &["a", "a"]);
    assert_says(&few, &["  16 services not shown: none differs by more than noise (--all shows all)\n"]);
    let all = compared(&folder, &["a", "a", "--all"]);
    assert_says(&all, &["  s13 ", "  front "]);
    assert!(!all.contains("not shown"), "{all}");
}

#[test]
fn what_cannot_be_compared_is_exit_code_2_and_says_why() {
    let folder = folder("wrong");
    run(&folder, "a", &[]);
    for name in ["cut", "other", "kind", "newer", "less", "bare", "bad", "empty"] {
        fs::create_dir(folder.join(name)).unwrap();
        for file in ["summary.json", "experiment.yaml"] {
            fs::copy(folder.join("a").join(file), folder.join(name).join(file)).unwrap();
        }
    }
    let summary = |name: &str| folder.join(name).join("summary.json");
    let text = fs::read_to_string(summary("cut")).unwrap();
    fs::write(summary("cut"), &text[..text.len() / 2]).unwrap();
    fs::write(summary("other"), "{\n  \"openapi\": \"3.1\"\n}\n").unwrap();
    fs::write(summary("empty"), "").unwrap();
    replace(&summary("kind"), "\"seed\": 7", "\"seed\": \"seven\"");
    replace(&summary("newer"), "\"format\": 2", "\"format\": 3");
    fs::remove_file(folder.join("less/experiment.yaml")).unwrap();
    fs::remove_file(summary("bare")).unwrap();
    replace(&folder.join("bad/experiment.yaml"), "duration: 4s", "duraton: 4s");
    for (args, said) in [
        (&["a"][..], "a is alone"),
        (&["mesh.yaml"], "mesh.yaml is alone"),
        (&["mesh.yaml", "--with", "seed"], "missing `=`"),
        (&["mesh.yaml", "--with", "services.back.instance=3"], "did you mean `instances`?"),
        (&["mesh.yaml", "mesh.yaml", "--with", "seed=3"], "`--with` is about one file"),
        (&["mesh.yaml", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (&["mesh.yaml", "mesh.yaml", "--noise", "2%"], "`--noise` is about runs that are there"),
        (&["a", "a", "--seeds", "2"], "`--seeds` is about files"),
        (&["a", "nowhere"], "no folder nowhere"),
        (&["a", "mesh.yaml"], "some of these are folders of runs, and some are files"),
        (&["a", "bare"], "bare is not the folder of a run: it has no summary.json"),
        (&["less", "a"], "less is not the folder of a run: it has no experiment.yaml"),
        (&["a", "cut"], "EOF while parsing"),
        (&["a", "empty"], "empty/summary.json:1:0: EOF while parsing a value"),
        (&["a", "other"], "other/summary.json:3:1: missing field `format`"),
        (&["kind", "a"], "kind/summary.json:4:17: invalid type: string \"seven\", expected u64"),
        (&["a", "newer"], "newer/summary.json:2:13: this is format 3 of a summary, and those up to 2 are read"),
        (&["a", "bad"], "did you mean `duration`?"),
        (&["a", "a", "--noise", "-5%"], "write a percentage from 0% to 100%"),
        (&["a", "a", "--noise", "much"], "write a percentage from 0% to 100%"),
    ] {
        let output = meshsim(&folder, &[&["compare"], args].concat());
        assert_exit(&output, 2);
        let errors = stderr(&output);
        assert!(errors.contains(said), "{args:?}: {said:?} is not in\n{errors}");
        assert_eq!(output.stdout, b"", "{args:?}");
    }
}

#[test]
fn runs_of_different_experiments_show_their_file_differences_first() {
    let folder = folder("different");
    run(&folder, "a", &[]);
    run(&folder, "b", &["services.back.instances=3"]);
    let text = compared(&folder, &["a", "b"]);
    assert_says(&text, &["of different experiments", "B  services.back.instances: `2` -> `3`", "Requests"]);
    let json = compared_json(&folder, &["a", "b"]);
    assert_eq!(json["differences"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["loads"][0]["figures"]["offered"]["values"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_and_itself_with_a_value_set_are_run_with_the_same_seeds() {
    let folder = folder("with");
    let args = ["compare", "mesh.yaml", "--with", "services.back.instances=3", "--seeds", "3"];
    let output = meshsim(&folder, &args);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert_says(&text, &["3 seeds, the same for each", "services.back.instances: `2` -> `3`", "done_per_s"]);
    // Arrivals are drawn from the seed: the offered requests do not differ at all.
    let offered = text.lines().find(|line| line.contains("offered")).unwrap();
    assert!(offered.trim_end().ends_with(" 0"), "{offered}");
    let markdown = stdout(&meshsim(&folder, &[&args[..], &["--markdown"]].concat()));
    assert_says(&markdown, &["| figure | A | B | B - A | |", "- **B** services.back.instances=3"]);
    let json: Value = serde_json::from_slice(&meshsim(&folder, &[&args[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(json["seeds"], serde_json::json!([7, 8, 9]));
    assert_eq!(json["configurations"][1]["runs"], 3);
}

#[test]
fn every_key_of_a_comparison_is_in_its_schema() {
    let folder = folder("schema");
    run(&folder, "a", &[]);
    run(&folder, "b", &["seed=8", "duration=3s"]);
    let schema: Value = serde_json::from_slice(&meshsim(&folder, &["schema", "comparison"]).stdout).unwrap();
    assert_eq!(schema["title"], "meshsim comparison");
    assert_described(&compared_json(&folder, &["a", "b"]), &schema, &schema, "comparison");
}

/// Every key is in the schema, and every key that the schema requires is there.
fn assert_described(value: &Value, schema: &Value, root: &Value, path: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return assert_described(value, root.pointer(reference.trim_start_matches('#')).unwrap(), root, path);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let some = any.iter().find(|one| one["type"] != "null").unwrap();
        if !value.is_null() {
            assert_described(value, some, root, path);
        }
        return;
    }
    for item in value.as_array().into_iter().flatten() {
        assert_described(item, &schema["items"], root, &format!("{path}[]"));
    }
    let Some(entries) = value.as_object() else { return };
    for key in schema["required"].as_array().into_iter().flatten() {
        assert!(entries.contains_key(key.as_str().unwrap()), "{path} lacks {key}");
    }
    for (key, value) in entries {
        let path = format!("{path}.{key}");
        assert!(schema["properties"][key].is_object(), "{path} is not in the schema");
        assert_described(value, &schema["properties"][key], root, &path);
    }
}
