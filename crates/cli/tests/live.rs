//! Live runs, with real processes over real sockets: they behave as simulated ones, and leave no process behind.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use common::{assert_exit, example, json, names, one_line, pause, signal, stderr, stdout, until};
use meshsim_report::series::{Kind, Row};
use serde_json::Value;

/// A mesh of two nodes that is over in seconds.
const SMALL: &str = "
name: small
seed: 3
duration: 3s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { ask: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 4, capacity: 4, endpoints: { answer: { script: [ work: { exponential: 2ms } ] } } }
operations:
  - { at: 1s, extend: back, to: 8, rate: 0.5, every: 200ms }
  - { at: 1s, scale: front, by: 1.5, times: 2, every: 200ms }
load:
  users: { to: front, arrivals: { poisson: 200/s }, from: 900ms, for: 2s }
slo: [ errors < 1% ]
";

fn folder(name: &str) -> PathBuf {
    common::folder(name, SMALL)
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = common::command(folder, args);
    command.env("NO_COLOR", "1");
    command
}

fn meshsim(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// The processes that this one has started and that are there.
fn children_of(pid: u32) -> Vec<u32> {
    let mut children = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // pid (name) state parent ...
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent == Some(pid) {
            children.push(child);
        }
    }
    children
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // One that has ended and was not asked about yet is no process any more.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// A live run in progress, and its output file; ended with the test.
struct Running(Child, PathBuf);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn begin(folder: &Path, args: &[&str]) -> (Self, Vec<u32>) {
        let said = folder.join("stderr");
        let child = command(folder, args).arg("-v").stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        let pid = child.id();
        let running = Running(child, said);
        let children = until("its processes are there", || Some(children_of(pid)).filter(|all| all.len() == 3));
        (running, children)
    }

    fn says(&self, words: &str) {
        until(words, || fs::read_to_string(&self.1).unwrap().contains(words).then_some(()));
    }

    /// Waits for its end, and returns its output.
    fn end(mut self) -> Output {
        use std::io::Read;
        let status = until("it has ended", || self.0.try_wait().unwrap());
        let mut stdout = vec![];
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        Output { status, stdout, stderr: fs::read(&self.1).unwrap() }
    }
}

/// The decisions, step by step, without their times.
fn decided(summary: &Value) -> Vec<Value> {
    let steps = |operation: &Value| {
        let step = |step: &Value| {
            let keep = ["n", "generation", "s", "v", "values", "unplaced"];
            keep.map(|key| step[key].clone())
        };
        operation["steps"].as_array().unwrap().iter().map(step).collect::<Vec<_>>()
    };
    let operations = summary["operations"].as_array().unwrap().iter();
    operations
        .map(|operation| {
            let what =
                ["operation", "kind", "service", "to", "rate", "outcome", "residual"].map(|key| operation[key].clone());
            serde_json::json!({ "what": what, "steps": steps(operation) })
        })
        .collect()
}

/// The state of a node, with the versions of its instances instead of (number, version). A new instance gets the first
/// free number, and one that still finishes a request keeps its own: that depends on the load, to the microsecond.
fn hosted(state: &Value) -> Value {
    let mut state = state.clone();
    for service in state["services"].as_array_mut().unwrap() {
        let instances = service["instances"].as_array().unwrap().iter();
        let mut versions: Vec<u64> = instances.map(|instance| instance[1].as_u64().unwrap()).collect();
        versions.sort_unstable();
        service["instances"] = versions.into();
    }
    state
}

/// Runs an example in virtual time and as processes: both must have come to the same, node by node.
fn assert_parity(name: &str) {
    let folder = folder(&format!("parity-{name}"));
    let file = example(name);
    assert_exit(&meshsim(&folder, &["run", &file, "--no-progress", "--out", "sim"]), 0);
    let live = meshsim(&folder, &["live", &file, "--no-progress", "--no-http", "--out", "live"]);
    assert!(matches!(live.status.code(), Some(0 | 98 | 99)), "{name}: {}\n{}", stdout(&live), stderr(&live));
    let summary = |run: &str| json(&folder.join(run).join("summary.json"));
    assert_eq!(decided(&summary("sim")), decided(&summary("live")), "{name}: what was decided");
    let state = |run: &str| json(&folder.join(run).join("state.json"));
    let (sim, live) = (state("sim"), state("live"));
    // The digest covers every step with all its shares.
    assert_eq!(sim["coordinator"], live["coordinator"], "{name}: what is wanted");
    let nodes = sim["nodes"].as_object().unwrap();
    for (node, state) in nodes {
        assert_eq!(hosted(state), hosted(&live["nodes"][node]), "{name}: {node}");
    }
    assert_eq!(live["nodes"].as_object().unwrap().len(), nodes.len());
}

#[test]
fn simulated_and_live_runs_have_the_same_history_on_every_node() {
    // Each lasts as long as its experiment says, so they share the time.
    let runs = ["first-mesh", "hotel", "bookinfo"].map(|name| std::thread::spawn(move || assert_parity(name)));
    for run in runs {
        run.join().unwrap();
    }
}

/// Both hosts write rows with the same columns about the same things, and those of a live run add up, too.
fn assert_series_alike(folder: &Path, live: &Value) {
    let text = |run: &str| fs::read_to_string(folder.join(run).join("series.csv")).unwrap();
    let (sim, live_text) = (text("sim"), text("live"));
    assert_eq!(sim.lines().next(), live_text.lines().next(), "the columns");
    let rows = |text: &str| meshsim_report::series::read(text.as_bytes()).unwrap().rows;
    let (sim, rows) = (rows(&sim), rows(&live_text));
    let about =
        |rows: &[Row]| -> BTreeSet<_> { rows.iter().map(|row| (row.kind, row.of.clone(), row.name.clone())).collect() };
    assert_eq!(about(&sim), about(&rows));
    for (kind, of, name) in about(&rows) {
        let rows = || rows.iter().filter(|row| (row.kind, &row.of, &row.name) == (kind, &of, &name));
        let sum = |what: fn(&Row) -> u64| rows().map(what).sum::<u64>();
        let took = sum(|row| row.done_sum_ns) + sum(|row| row.other_sum_ns);
        assert_eq!(sum(|row| row.in_flight_ns), took, "{kind:?} {of} {name}");
        let whole = match kind {
            Kind::Load => live["loads"][0]["requests"].clone(),
            Kind::Service => {
                live["services"].as_array().unwrap().iter().find(|it| it["name"] == *name).unwrap().clone()
            }
            _ => continue,
        };
        assert_eq!(whole["done"], sum(|row| row.done), "{name}");
    }
}

#[test]
fn a_live_run_writes_the_files_and_the_summary_of_a_simulated_one() {
    let folder = folder("files");
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "sim"]), 0);
    let output = meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--out", "live"]);
    assert_exit(&output, 0);
    assert_eq!(
        names(&folder.join("sim")),
        ["events.jsonl", "experiment.yaml", "series.csv", "series.parquet", "state.json", "summary.json"]
    );
    let expected =
        ["events.jsonl", "experiment.yaml", "live.json", "series.csv", "series.parquet", "state.json", "summary.json"];
    assert_eq!(names(&folder.join("live")), expected);
    let summary = |run: &str| json(&folder.join(run).join("summary.json"));
    let (sim, live) = (summary("sim"), summary("live"));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&sim), keys(&live));
    assert_eq!(sim["loads"][0]["requests"]["offered"], live["loads"][0]["requests"]["offered"], "the same plan");
    assert_eq!(live["loads"][0]["requests"]["failed"], 0);
    assert_series_alike(&folder, &live);
    let processes = json(&folder.join("live/live.json"));
    assert_eq!(processes["processes"].as_array().unwrap().len(), 4);
    assert_eq!(processes["lost"].as_array().unwrap().len(), 0);
    assert!(stdout(&output).contains("Processes"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("virtual time"), "a live run takes time: {}", stdout(&output));
}

#[test]
fn a_live_trace_replays_alike_and_no_message_arrives_before_its_send() {
    let folder = folder("replay");
    assert_exit(
        &meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--trace=jsonl", "--out", "r"]),
        0,
    );
    let replayed = meshsim(&folder, &["replay", "r"]);
    assert_exit(&replayed, 0);
    let mut sent = std::collections::BTreeMap::new();
    let mut arrived = 0;
    let text = fs::read_to_string(folder.join("r/trace.jsonl")).unwrap();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let at = record["t_virtual_ns"].as_u64().unwrap();
        let id = record["message"]["id"].as_str().map(str::to_owned);
        match record["kind"].as_str().unwrap() {
            "send" => drop(sent.insert(id.unwrap(), at)),
            "deliver" => {
                let sent = sent.get(&id.clone().unwrap()).unwrap_or_else(|| panic!("{id:?} arrives before it is sent"));
                assert!(*sent <= at, "{id:?}");
                arrived += 1;
            }
            _ => {}
        }
    }
    assert!(arrived > 1000, "{arrived} messages are a whole run");
}

#[test]
fn work_that_burns_processor_time_is_done_too() {
    let folder = folder("busy");
    let args = [
        "live",
        "mesh.yaml",
        "--work",
        "busy",
        "--no-progress",
        "--no-http",
        "--set",
        "load.users.arrivals.poisson=50/s",
    ];
    assert_exit(&meshsim(&folder, &args), 0);
    let processes = json(&folder.join("runs/small-3-live/live.json"));
    let spent: u64 =
        processes["processes"].as_array().unwrap().iter().map(|p| p["processor_ns"].as_u64().unwrap()).sum();
    // 100 requests of about 2 ms and 2 ms.
    assert!(spent > 200_000_000, "{spent} ns");
    let work = &json(&folder.join("runs/small-3-live/summary.json"))["real_work"];
    let [asked, burnt] = ["asked_s", "burnt_s"].map(|key| work[key].as_f64().unwrap());
    assert!(0.2 < burnt && burnt <= asked && burnt < spent as f64 / 1e9, "{work}");
    let of_nodes: f64 = work["nodes"].as_array().unwrap().iter().map(|node| node["burnt_s"].as_f64().unwrap()).sum();
    assert!((of_nodes - burnt).abs() < 1e-6, "{work}");
}

#[test]
fn a_machine_that_cannot_do_the_work_that_is_asked_of_it_says_so() {
    let folder = folder("overworked");
    // Fifty requests at once that each want a core for long: no machine of a developer has so many.
    let mesh = "
name: small
seed: 3
duration: 3s
nodes: [ { name: node, count: 2, cores: 1000 } ]
services: { front: { instances: 2, capacity: 1000, endpoints: { ask: { script: [ work: 10s ] } } } }
load: { users: { to: front, arrivals: { constant: 1000/s }, from: 1s } }
";
    fs::write(folder.join("mesh.yaml"), mesh).unwrap();
    let output = meshsim(&folder, &["live", "mesh.yaml", "--work", "busy", "--no-progress", "--no-http"]);
    assert_exit(&output, 0);
    let work = &json(&folder.join("runs/small-3-live/summary.json"))["real_work"];
    assert!(work["share"].as_f64().unwrap() < 0.5 && work["asked_s"].as_f64().unwrap() > 100.0, "{work}");
    assert_eq!(work["nodes"].as_array().unwrap().len(), 2, "{work}");
    assert!(one_line(&stdout(&output)).contains("of the work that was asked of it (node-"), "{}", stdout(&output));
}

#[test]
fn real_work_on_a_slow_machine_is_done_later_and_not_never() {
    let folder = folder("slow-busy");
    let mesh = "
name: small
seed: 3
duration: 4s
nodes: [ { name: node, cores: 2 } ]
services: { front: { capacity: 10, endpoints: { ask: { script: [ work: 20ms ] } } } }
load: { users: { to: front, arrivals: { constant: 10/s }, from: 1s, for: 2s, timeout: 900ms } }
faults: [ { at: 500ms, slow: node, factor: 0.25, for: 60s } ]
";
    fs::write(folder.join("mesh.yaml"), mesh).unwrap();
    assert_exit(&meshsim(&folder, &["live", "mesh.yaml", "--work", "busy", "--no-progress", "--no-http"]), 0);
    let load = &json(&folder.join("runs/small-3-live/summary.json"))["loads"][0]["requests"];
    assert_eq!((load["offered"].as_u64(), load["failed"].as_u64()), (Some(20), Some(0)), "{load}");
    assert!(load["latency"]["p50_ns"].as_u64().unwrap() >= 80_000_000, "{load}");
}

/// The records of a process that is killed are lost, and with them the messages that it sent.
#[test]
fn a_replay_after_a_killed_process_reports_how_far_it_compared() {
    let folder = folder("replay-killed");
    let args = ["live", "mesh.yaml", "--no-http", "--no-progress", "--trace", "--set", "control.heartbeat=300ms"];
    let (running, children) = Running::begin(&folder, &args);
    let is_node = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("--name=node-1")
    };
    let node = *children.iter().find(|pid| is_node(pid)).expect("a process for each node");
    running.says("the run begins");
    pause(1500);
    signal(node, "KILL");
    running.end();
    let replayed = meshsim(&folder, &["replay", "runs/small-3-live"]);
    assert_exit(&replayed, 98);
    let said = stdout(&replayed);
    assert!(said.starts_with("the same up to the end of each part: "), "{said}");
    assert!(said.contains("node-1: nothing of it is in the trace\n"), "{said}");
    // Receivers of the node's messages can be followed up to that point, and the output reports it.
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let compared = said.lines().filter_map(|line| {
        let (name, rest) = line.split_once(": ")?;
        let (compared, rest) = rest.strip_suffix(" inputs compared")?.split_once(" of ")?;
        Some((name, number(compared), number(rest)))
    });
    let compared: Vec<_> = compared.collect();
    assert!(compared.iter().any(|(name, ..)| *name == "coordinator"), "{said}");
    assert!(compared.iter().all(|(_, compared, inputs)| compared < inputs), "{said}");
    // The invariants hold on what is known.
    assert_exit(&meshsim(&folder, &["verify", "runs/small-3-live", "--no-progress"]), 0);
}

#[test]
fn ctrl_c_ends_a_live_run_early_keeps_results_and_leaves_no_process() {
    let folder = folder("interrupt");
    let (running, children) = Running::begin(&folder, &["live", "mesh.yaml", "--set", "duration=60s", "--no-http"]);
    pause(20);
    signal(running.0.id(), "INT");
    // Before all have joined there is nothing to keep; after that there is.
    let output = running.end();
    match output.status.code() {
        // Of a load that had not begun nothing can be told.
        Some(130 | 98) => assert!(stdout(&output).contains("cut short"), "{}", stdout(&output)),
        Some(1) => assert!(stderr(&output).contains("stopped while waiting"), "{}", stderr(&output)),
        other => panic!("{other:?}: {}", stderr(&output)),
    }
    until("its processes are gone", || children.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

#[test]
fn a_coordinator_that_is_killed_leaves_no_process() {
    let folder = folder("killed");
    let (mut running, children) = Running::begin(&folder, &["live", "mesh.yaml", "--set", "duration=60s", "--no-http"]);
    running.0.kill().unwrap();
    until("its processes are gone", || children.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

#[test]
fn a_killed_node_is_missed_and_its_instances_are_placed_elsewhere() {
    let folder = folder("node-killed");
    let args =
        ["live", "mesh.yaml", "--set", "duration=9s", "--set", "control.heartbeat=300ms", "--no-http", "--no-progress"];
    let (running, children) = Running::begin(&folder, &args);
    let is_node = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("node-1")
    };
    let node = *children.iter().find(|pid| is_node(pid)).expect("a process for each node");
    // It must have begun, or there is nothing to be missed: its memory of the run is in the coordinator's log.
    running.says("the run begins");
    pause(1000);
    signal(node, "KILL");
    let output = running.end();
    assert!(matches!(output.status.code(), Some(0 | 98 | 99)), "{}", stderr(&output));
    assert!(stderr(&output).contains("the process of node-1"), "{}", stderr(&output));
    let run = folder.join("runs/small-3-live");
    let summary = json(&run.join("summary.json"));
    let operations = summary["operations"].as_array().unwrap();
    assert!(operations.iter().any(|operation| operation["kind"] == "repair"), "{operations:#?}");
    let state = json(&run.join("state.json"));
    assert_eq!(state["nodes"]["node-1"], Value::Null);
    let hosted = state["nodes"]["node-0"]["services"].as_array().unwrap();
    let back = hosted.iter().find(|hosted| hosted["service"] == 1).unwrap();
    assert_eq!(back["instances"].as_array().unwrap().len(), 8, "all of them are on the node that is left");
    assert_eq!(json(&run.join("live.json"))["lost"], serde_json::json!(["node-1"]));
    until("its processes are gone", || children.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

#[test]
fn a_load_whose_client_is_killed_has_not_passed() {
    let folder = folder("client-killed");
    let args = ["live", "mesh.yaml", "--no-http", "--no-progress"];
    let (running, children) = Running::begin(&folder, &args);
    let is_client = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("client")
    };
    let client = *children.iter().find(|pid| is_client(pid)).expect("a process for the load");
    running.says("the run begins");
    pause(1500);
    signal(client, "KILL");
    let output = running.end();
    assert_exit(&output, 98);
    let summary = json(&folder.join("runs/small-3-live/summary.json"));
    assert_eq!(summary["slo"][0]["outcome"], "unknown");
    assert_eq!(summary["gaps"][0]["of"], "users");
    assert_eq!(summary["gaps"][0]["reason"], "lost");
    assert!(stdout(&output).contains("load users, 0.9s to 2.9s: its process was lost"), "{}", stdout(&output));
}

#[test]
fn settings_for_manual_processes_do_not_reach_the_children() {
    let folder = folder("environment");
    let mesh = SMALL.replace("users:", "-users:").replace("duration: 3s", "duration: 1s").replace("at: 1s", "at: 0.5s");
    fs::write(folder.join("mesh.yaml"), mesh).unwrap();
    let mut live = command(&folder, &["live", "mesh.yaml", "--no-http", "--no-progress"]);
    live.env("MESHSIM_SECRET_FILE", "nowhere").env("MESHSIM_LISTEN", "0.0.0.0:7700").env("MESHSIM_TLS_CA", "nowhere");
    let output = live.output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 98 | 99)), "{}", stderr(&output));
}

#[test]
fn wrong_input_is_said_before_any_process_is_started() {
    let folder = folder("wrong");
    fs::write(folder.join("secret"), "a secret of many characters\n").unwrap();
    for (args, says) in [
        (vec!["live", "none.yaml"], "cannot read none.yaml"),
        (vec!["live", "mesh.yaml", "--work", "lazy"], "sleep"),
        (vec!["live", "mesh.yaml", "--processes", "0"], "processes"),
        (vec!["coordinator", "mesh.yaml", "--listen", "0.0.0.0:0"], "a cluster needs a secret"),
        (vec!["coordinator", "mesh.yaml", "--listen", "nowhere"], "write ADDR:PORT"),
        (vec!["node", "--join", "192.0.2.1:7700"], "a cluster needs a secret"),
        (vec!["node", "--join", "192.0.2.1:7700", "--secret-file", "secret"], "cannot bring messages to 127.0.0.1:0"),
        (vec!["node", "--advertise", "nowhere"], "is no address"),
        (vec!["node", "--count", "0"], "count"),
    ] {
        let output = meshsim(&folder, &args);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
    let absent = meshsim(&folder, &["node", "--join", "127.0.0.1:1", "--reconnect-timeout", "0"]);
    assert_exit(&absent, 1);
    assert!(stderr(&absent).contains("cannot be reached"), "{}", stderr(&absent));
}
