//! Live runs with journals: any process may be killed, and all of them at once, and the run goes on where it stood.

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use common::cluster::Process;
use common::{assert_exit, json, meshsim, pause, until};
use serde_json::Value;

/// It ends when it is told to. A node is dead after a second.
const MESH: &str = "
name: kept
seed: 3
duration: 100s
control: { heartbeat: 500ms, missed: 4 }
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { ask: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 4, capacity: 4, endpoints: { answer: { script: [ work: { exponential: 2ms } ] } } }
operations:
  - { at: 1s, extend: back, to: 12, rate: 0.2, every: 500ms }
load:
  users: { to: front, arrivals: { poisson: 100/s } }
";

/// A run whose other processes are its children.
const LIVE: [&str; 8] = ["live", "mesh.yaml", "--no-http", "--no-progress", "--journal", "journals", "--out", "run"];

/// A run of four processes, each with a journal.
struct Kept {
    folder: PathBuf,
    joins: String,
    gateway: String,
    processes: Vec<Process>,
}

const ROLES: [&str; 4] = ["coordinator", "node-0", "node-1", "users"];

impl Kept {
    fn begin(test: &str) -> Self {
        let folder = common::folder(test, MESH);
        // A process that is started again is reached at the same address. These ports were free a moment ago.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (joins, gateway) = (free(), free());
        let mut kept = Kept { folder, joins, gateway, processes: Vec::new() };
        kept.processes = ROLES.iter().map(|role| kept.start(role)).collect();
        kept.processes[0].says("the run begins");
        kept
    }

    fn start(&self, role: &str) -> Process {
        let journal = format!("--journal=journal-{role}");
        let args = match role {
            "coordinator" => {
                vec![
                    "coordinator",
                    "mesh.yaml",
                    "--listen",
                    &self.joins,
                    "--http",
                    &self.gateway,
                    "--out",
                    "run",
                    &journal,
                ]
            }
            "users" => vec!["client", "--join", &self.joins, &journal],
            node => vec!["node", "--join", &self.joins, "--name", node, &journal],
        };
        Process::start(&self.folder, role, &args)
    }

    /// Kills a process, and starts another one in its place.
    fn kill(&mut self, role: usize) {
        self.processes[role].signal("KILL");
        self.processes[role].ends();
        self.processes[role] = self.start(ROLES[role]);
    }

    fn ctl(&self, args: &[&str]) -> Value {
        let output = meshsim(&self.folder, &[&["ctl", "--to", &self.gateway, "--json"], args].concat());
        assert_exit(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// All processes are there and know each other.
    fn is_whole(&self) {
        until("all are there", || {
            let output = meshsim(&self.folder, &["ctl", "--to", &self.gateway, "--json", "status"]);
            let status: Value = serde_json::from_slice(&output.stdout).ok()?;
            let is_alive = status["nodes"].as_array()?.iter().all(|node| node["state"] == "alive");
            let has_begun = status["time_s"].as_f64()? > 0.1;
            (has_begun && is_alive && status["missing"].as_array()?.is_empty()).then_some(())
        });
    }

    /// Ends the run; its summary.
    fn end(mut self) -> Value {
        until("all steps are acknowledged", || {
            let all = self.ctl(&["operations"]);
            let is_settled = |it: &Value| it["outcome"] != "running" && !it["settle_time_ns"].is_null();
            all["operations"].as_array()?.iter().all(is_settled).then_some(())
        });
        self.processes[0].signal("TERM");
        for process in &mut self.processes {
            let code = process.ends();
            assert!(matches!(code, Some(0 | 98 | 130)), "{} ended with {code:?}", process.name);
        }
        let run = self.folder.join("run");
        let state = json(&run.join("state.json"));
        let steps = &state["coordinator"]["steps"];
        for node in ["node-0", "node-1"] {
            assert_eq!(&state["nodes"][node]["applied"], steps, "{node}");
            assert_eq!(state["nodes"][node]["digest"], state["coordinator"]["digest"], "{node}");
        }
        let left = ROLES.iter().filter(|role| self.folder.join(format!("journal-{role}/journal")).exists());
        assert_eq!(left.count(), 0, "journals of a run that has ended are removed");
        json(&run.join("summary.json"))
    }
}

fn operations<'a>(summary: &'a Value, kind: &str) -> Vec<&'a Value> {
    summary["operations"].as_array().unwrap().iter().filter(|it| it["kind"] == kind).collect()
}

#[test]
fn a_coordinator_that_is_killed_goes_on_with_all_that_it_had_said() {
    let mut kept = Kept::begin("coordinator");
    kept.is_whole();
    // In the middle of the operation of the file; and one by hand that it has acknowledged.
    pause(1200);
    kept.ctl(&["scale", "front", "--by", "1.5", "--times", "1"]);
    kept.kill(0);
    kept.processes[0].says("goes on with the run at ");
    kept.is_whole();
    until("the operation has ended", || {
        let all = kept.ctl(&["operations"]);
        let all = all["operations"].as_array()?;
        all.iter().find(|it| it["kind"] == "extend").filter(|it| it["outcome"] == "reached").map(|_| ())
    });
    let summary = kept.end();
    let [extend] = operations(&summary, "extend")[..] else { panic!("{summary:#}") };
    assert!(extend["began_s"].as_f64().unwrap() < 1.1, "it is the operation of before: {extend:#}");
    assert_eq!(operations(&summary, "scale").len(), 1, "an acknowledged operation is not forgotten");
    assert_eq!(operations(&summary, "repair").len(), 0, "no node was taken for dead");
}

#[test]
fn each_process_may_be_killed_again_and_again() {
    let mut kept = Kept::begin("each");
    for round in 0..8 * common::campaign() {
        kept.is_whole();
        // What was acknowledged before the kill has to be there in the end.
        kept.ctl(&["scale", "front", "--by", "1.01", "--times", "1"]);
        kept.kill([0, 1, 0, 2, 3][round % 5]);
        pause(100 * (round as u64 % 7));
    }
    kept.is_whole();
    let rounds = 8 * common::campaign();
    let summary = kept.end();
    assert_eq!(operations(&summary, "scale").len(), rounds);
}

#[test]
fn all_processes_of_a_live_run_may_be_killed_and_the_same_command_goes_on() {
    let folder = common::folder("all", &MESH.replace("100s", "7s"));
    let mut first = Process::start(&folder, "first", &LIVE);
    first.says("the run begins");
    pause(2500);
    // Its children end with it.
    first.signal("KILL");
    first.ends();
    until("its processes have let go of the journals", || {
        let is_free = |name: &str| fs::File::open(folder.join("journals").join(name).join("lock")).unwrap().try_lock();
        ["node-0", "node-1", "users"].iter().all(|name| is_free(name).is_ok()).then_some(())
    });
    let mut second = Process::start(&folder, "second", &LIVE);
    second.says("goes on with the run at ");
    assert_eq!(second.ends(), Some(0));
    let summary = json(&folder.join("run/summary.json"));
    let [extend] = operations(&summary, "extend")[..] else { panic!("{summary:#}") };
    assert!(extend["began_s"].as_f64().unwrap() < 1.1, "{extend:#}");
    assert_eq!(extend["outcome"], "reached");
    assert!(!folder.join("journals/coordinator").exists() && !folder.join("journals/node-0").exists());
}

#[test]
fn a_killed_child_of_a_live_run_is_started_again() {
    let folder = common::folder("child", &MESH.replace("100s", "6s"));
    let mut run = Process::start(&folder, "run", &[&LIVE[..], &["--trace"]].concat());
    run.says("the run begins");
    pause(2000);
    let is_node = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        line.contains("--name=node-1") && line.contains("--journal=journals/node-1")
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut nodes = entries.filter(|entry| {
        let is_ours = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        is_ours && fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_node(&line))
    });
    let node: u32 = nodes.next().unwrap().file_name().to_str().unwrap().parse().unwrap();
    common::signal(node, "KILL");
    run.says("it is started again");
    run.ends();
    let state = json(&folder.join("run/state.json"));
    assert_eq!(state["nodes"]["node-1"]["applied"], state["coordinator"]["steps"]);
    let summary = json(&folder.join("run/summary.json"));
    assert_eq!(operations(&summary, "repair").len(), 0, "it was back before it was taken for dead");
    // The invariants hold on what is known: the trace of a killed process is lost, and its disk is in none.
    assert_exit(&meshsim(&folder, &["verify", "run", "--no-progress"]), 0);
}

#[test]
fn the_journal_of_another_experiment_is_refused_and_stays_as_it_is() {
    let folder = common::folder("other", &MESH.replace("100s", "60s"));
    let mut first = Process::start(&folder, "first", &LIVE);
    first.says("the run begins");
    first.signal("KILL");
    first.ends();
    let kept = || fs::read(folder.join("journals/coordinator/journal")).unwrap();
    let before = kept();
    fs::write(folder.join("mesh.yaml"), MESH.replace("100s", "61s")).unwrap();
    let refused = meshsim(&folder, &LIVE);
    assert_exit(&refused, 2);
    let said = common::one_line(&common::stderr(&refused));
    assert!(said.contains("journals/coordinator: the journal is that of another run or process"), "{said}");
    assert!(said.contains("remove this one to begin another run"), "{said}");
    assert!(kept() == before);
}
