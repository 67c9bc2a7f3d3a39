//! `meshsim export swarm`: the stack as YAML, and on a real swarm of two machines, one of which is cut off.
//!
//! The second test needs Docker, root, iproute2, util-linux and curl, so it is ignored by default:
//!
//! ```text
//! cargo test --workspace --test swarm -- --ignored --nocapture
//! ```
//!
//! It makes the image by `scripts/image`. Without an engine it says so and passes; with `MESHSIM_REQUIRE_SWARM=1` it
//! fails.

#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::machines::{self, Machines, run, run_in};
use common::{assert_exit, meshsim, names, one_line, pause, stderr, stdout};
use serde_json::{Value, json};

/// Names that YAML takes for something else, and that Docker does not take.
const MESH: &str = "
name: 'null'
nodes: [ { name: node, count: 7 }, { name: spare, joins: never } ]
duration: 5s
services:
  queue: { capacity: 2, endpoints: { serve: { script: [ work: 10ms ] } } }
load:
  Größe: { to: queue, arrivals: { poisson: 50/s } }
  'yes': { to: queue, arrivals: { poisson: 50/s } }
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The stack that the tool writes to stdout.
#[track_caller]
fn printed(folder: &Path, args: &[&str]) -> String {
    let output = meshsim(folder, &[&["export", "swarm", "mesh.yaml"], args].concat());
    assert_exit(&output, 0);
    stdout(&output)
}

fn stack(text: &str) -> Value {
    let mut documents = common::yaml::documents(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

/// A service's command, as its process gets it: Docker takes `$$` for a dollar.
fn command(service: &Value) -> Vec<String> {
    service["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().replace("$$", "$")).collect()
}

/// What must be so in every stack, whatever it runs.
#[track_caller]
fn assert_right(stack: &Value) {
    assert_eq!(stack["version"], "3.9");
    let configs = stack["configs"].as_object().unwrap();
    for (name, service) in stack["services"].as_object().unwrap() {
        // Each key is one that `docker stack deploy` follows.
        let known = ["image", "command", "read_only", "cap_drop", "environment", "secrets", "configs", "volumes"];
        let known = [&known[..], &["ports", "healthcheck", "stop_grace_period", "deploy"]].concat();
        assert!(service.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{service}");
        assert_eq!((&service["read_only"], &service["cap_drop"]), (&true.into(), &json!(["ALL"])), "{name}");

        let is_coordinator = name == "coordinator";
        let deploy = &service["deploy"];
        assert_eq!((&deploy["mode"], &deploy["endpoint_mode"]), (&"replicated".into(), &"dnsrr".into()), "{name}");
        let restart = if is_coordinator { "none" } else { "on-failure" };
        assert_eq!(deploy["restart_policy"], json!({ "condition": restart }), "{name}");
        let limits = deploy["resources"]["limits"].as_object().unwrap();
        assert_eq!(limits.keys().collect::<Vec<_>>(), ["cpus", "memory", "pids"], "{name}");
        let managers = json!({ "constraints": ["node.role == manager"] });
        assert_eq!(deploy["placement"], if is_coordinator { managers } else { Value::Null }, "{name}");

        // Secrets and configs come from Swarm, and no file or folder from a machine.
        let secrets = if is_coordinator { json!(["cluster", "operator"]) } else { json!(["cluster"]) };
        assert_eq!(service["secrets"], secrets, "{name}");
        assert_eq!(service["environment"]["MESHSIM_SECRET_FILE"], "/run/secrets/cluster");
        let volumes = if is_coordinator {
            json!([{ "type": "volume", "source": "runs", "target": "/runs" }])
        } else {
            Value::Null
        };
        assert_eq!(service["volumes"], volumes, "{name}");
        let mounted = service["configs"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(mounted.len(), if is_coordinator { configs.len() } else { 0 }, "{name}");
        for config in mounted {
            assert!(configs.contains_key(config["source"].as_str().unwrap()), "{config}");
        }

        // A name leads to a task that is well. The coordinator is ready when the others have found it, and well before.
        let peer =
            service["healthcheck"]["test"].as_array().unwrap().iter().any(|word| word == "--peer=127.0.0.1:7701");
        assert_eq!(peer, !is_coordinator, "{name}");
        if !is_coordinator {
            assert!(command(service).contains(&"--join=coordinator:7700".into()), "{name}");
        }
    }
    let secrets = json!({ "cluster": { "file": "./cluster" }, "operator": { "file": "./operator" } });
    assert_eq!(stack["secrets"], secrets);
    assert_eq!(stack["volumes"], json!({ "runs": null }));
}

#[test]
fn a_stack_has_one_service_for_all_nodes_and_no_port() {
    let folder = common::folder("stack", MESH);
    let text = printed(&folder, &[]);
    assert!(text.starts_with("# null: 7 nodes in 7 tasks, 2 clients. Written by `meshsim export swarm`.\n"));
    let stack = stack(&text);
    assert_right(&stack);
    let services = stack["services"].as_object().unwrap();
    assert_eq!(
        services.keys().collect::<BTreeSet<_>>(),
        BTreeSet::from(["client-0", "client-1", "coordinator", "node"].map(String::from).each_ref())
    );
    assert!(services.values().all(|service| service["ports"].is_null()));
    let node = &services["node"];
    assert_eq!((&node["deploy"]["replicas"], &node["stop_grace_period"]), (&7.into(), &"40s".into()));
    assert_eq!(command(node)[3..], ["--grace=30", "--count=1"]);
    assert_eq!(command(&services["client-0"])[3..], ["--name=Größe"]);
    assert_eq!(command(&services["client-1"])[3..], ["--name=yes"]);
    let coordinator = &services["coordinator"];
    assert_eq!(coordinator["configs"][0]["target"], "/experiment/null/mesh.yaml");
    let expected = ["/experiment/null/mesh.yaml", "--listen=0.0.0.0:7700", "--http=127.0.0.1:8080"];
    assert_eq!(command(coordinator)[1..4], expected);
    assert_eq!(stack["configs"], json!({ "experiment": { "file": "./mesh.yaml" } }));
    // A path that Docker would read otherwise.
    let odd = "it's $5 \"odd\".yaml";
    fs::rename(folder.join("mesh.yaml"), folder.join(odd)).unwrap();
    let output = meshsim(&folder, &["export", "swarm", odd]);
    assert_eq!(self::stack(&stdout(&output))["configs"]["experiment"]["file"], "./it's $$5 \"odd\".yaml");
    fs::rename(folder.join(odd), folder.join("mesh.yaml")).unwrap();
    assert_eq!(text, printed(&folder, &[]), "the same command writes the same bytes");
}

#[test]
fn options_of_a_stack_reach_its_services() {
    let folder = common::folder("options", MESH);
    let args = ["--nodes-per-task", "3", "--grace", "90", "--image", "registry:5000/mesh:$1", "--until-stopped"];
    let more = [
        "--set",
        "load.yes.to=\"queue\" # $HOME",
        "--seed",
        "9",
        "--publish",
        "9000",
        "--allow-host",
        "swarm.example.org",
    ];
    let stack = stack(&printed(&folder, &[&args[..], &more].concat()));
    assert_right(&stack);
    let services = &stack["services"];
    for (name, replicas, count, memory) in [("node", 2, "--count=3", "259M"), ("node-rest", 1, "--count=1", "257M")] {
        let service = &services[name];
        assert_eq!(service["deploy"]["replicas"], replicas);
        assert_eq!(service["deploy"]["resources"]["limits"]["memory"], memory);
        assert_eq!(
            (command(service)[3..].join(" "), &service["stop_grace_period"]),
            (format!("--grace=90 {count}"), &"100s".into())
        );
        assert_eq!(service["image"], "registry:5000/mesh:$$1");
        assert_eq!(service["ports"], Value::Null);
    }
    let coordinator = &services["coordinator"];
    let port = json!([{ "target": 8080, "published": 9000, "protocol": "tcp", "mode": "host" }]);
    assert_eq!(coordinator["ports"], port);
    let command = command(coordinator);
    for word in [
        "--http=0.0.0.0:8080",
        "--until-stopped",
        "--set=load.yes.to=\"queue\" # $HOME",
        "--seed=9",
        "--allow-host=swarm.example.org",
    ] {
        assert!(command.iter().any(|it| it == word), "{word} is not in {command:?}");
    }
}

#[test]
fn the_folder_of_a_stack_has_all_files_but_the_secrets() {
    let zoned = MESH.replace("count: 7", "count: 7, zone: near").replace("joins: never", "joins: never, zone: near");
    let folder = common::folder("folder", &format!("{zoned}network: {{ zones: data/zones.csv }}\n"));
    fs::create_dir(folder.join("data")).unwrap();
    fs::write(folder.join("data/zones.csv"), "from,near\nnear,0\n").unwrap();
    let args = ["export", "swarm", "mesh.yaml", "--seed", "9", "--out", "out"];
    assert_exit(&meshsim(&folder, &args), 0);
    assert_eq!(names(&folder.join("out")), ["experiment.yaml", "stack.yml", "zones.csv"]);
    let stack = stack(&fs::read_to_string(folder.join("out/stack.yml")).unwrap());
    assert_right(&stack);
    for config in stack["configs"].as_object().unwrap().values() {
        assert!(folder.join("out").join(config["file"].as_str().unwrap()).is_file(), "{config}");
    }
    // The overrides are in the experiment.
    assert!(!command(&stack["services"]["coordinator"]).iter().any(|word| word.starts_with("--seed")));
    assert!(fs::read_to_string(folder.join("out/experiment.yaml")).unwrap().contains("seed: 9"));
    let checked = meshsim(&folder.join("out"), &["check", "experiment.yaml"]);
    assert_exit(&checked, 0);

    let again = meshsim(&folder, &args);
    assert_exit(&again, 2);
    assert!(stderr(&again).contains("already exists"), "{}", stderr(&again));
    assert_exit(&meshsim(&folder, &[&args[..], &["--force"]].concat()), 0);
}

#[test]
fn a_stack_that_swarm_cannot_run_is_not_written() {
    let folder = common::folder("refused", MESH);
    fs::write(folder.join("large.yaml"), format!("{MESH}# {}\n", "x".repeat(500_000))).unwrap();
    for (file, args, said) in [
        ("mesh.yaml", &["--nodes-per-task", "0"][..], "0 is not in"),
        ("mesh.yaml", &["--publish", "0"], "0 is not in"),
        ("mesh.yaml", &["--publish", "127.0.0.1:8080"], "invalid digit"),
        ("mesh.yaml", &["--allow-host", "here"], "--publish <PORT>"),
        ("mesh.yaml", &["--image", ""], "--image"),
        ("mesh.yaml", &["--force"], "--out <DIR>"),
        ("mesh.yaml", &["--set", "nodes.0.count=300"], "303 tasks, and a stack has at most 200"),
        ("large.yaml", &[], "bytes, and a config of Swarm at most 500,000"),
        ("-", &[], "is not a file"),
        ("absent.yaml", &[], "absent.yaml"),
    ] {
        let output = common::meshsim_with(&folder, &[&["export", "swarm", file], args].concat(), MESH.as_bytes());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{file} {args:?}");
        let text = one_line(&stderr(&output));
        assert!(text.contains(said), "{args:?}: {said:?} is not in\n{text}");
    }
}

#[test]
fn docker_accepts_the_stack_of_every_example() {
    let folder = common::folder("accepted", MESH);
    // By the reader of `docker stack deploy`; no engine is asked.
    let has_reader = run("docker", &["stack", "config", "--help"]).is_ok();
    if !has_reader {
        println!("skipped: `docker stack config` is not here");
    }
    let examples = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path().join("mesh.yaml"));
    for mesh in examples.filter(|mesh| mesh.is_file()).chain([folder.join("mesh.yaml")]) {
        // The largest example has a thousand nodes.
        let args = ["export", "swarm", mesh.to_str().unwrap(), "--out", "out", "--force", "--nodes-per-task", "10"];
        assert_exit(&meshsim(&folder, &args), 0);
        let out = folder.join("out");
        let written = stack(&fs::read_to_string(out.join("stack.yml")).unwrap());
        assert_right(&written);
        if !has_reader {
            continue;
        }
        let read = stack(&run_in(&out, "docker", &["stack", "config", "--compose-file", "stack.yml"]).unwrap());
        for (name, service) in written["services"].as_object().unwrap() {
            let words: Vec<&str> =
                read["services"][name]["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(words, command(service), "{}", mesh.display());
        }
    }
}

/// A mesh that ends when it is told so, and has no spares.
const LIVE: &str = "
name: swarm
seed: 7
nodes: [ { name: node, count: 5, cores: 2 } ]
duration: 1h
control: { heartbeat: 500ms }
services:
  front:
    instances: 4
    capacity: 8
    cpu: 0.5
    endpoints: { page: { script: [ work: 2ms, call: { to: back, timeout: 500ms, retries: 1 } ] } }
  back: { instances: 5, capacity: 8, cpu: 0.25, endpoints: { item: { script: [ work: { exponential: 3ms } ] } } }
load:
  users: { to: front, arrivals: { poisson: 20/s } }
slo: [ 'errors < 50%' ]
";
const NODES: usize = 5;

/// An image, removed at the end.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = run("docker", &["rmi", "--force", &self.0]);
    }
}

/// A swarm of two machines, and the stack on it.
struct Swarm {
    machines: Machines,
}

impl Swarm {
    fn begin(image: &Image, folder: &Path) -> Self {
        let machines = Machines::begin();
        let file = folder.join("image.tar").display().to_string();
        run("docker", &["save", "--output", &file, &image.0]).unwrap();
        for n in 0..2 {
            machines.docker(n, &["load", "--quiet", "--input", &file]).unwrap();
        }
        fs::remove_file(file).unwrap();
        let [manager, worker] = [0, 1].map(Machines::address);
        machines.docker(0, &["swarm", "init", "--advertise-addr", &manager]).unwrap();
        let token = machines.docker(0, &["swarm", "join-token", "--quiet", "worker"]).unwrap();
        let to = format!("{manager}:2377");
        machines.docker(1, &["swarm", "join", "--advertise-addr", &worker, "--token", &token, &to]).unwrap();
        let swarm = Swarm { machines };
        swarm.until("both machines are ready", || swarm.has_both());
        swarm
    }

    fn ask(&self, args: &[&str]) -> String {
        self.machines.docker(0, args).unwrap_or_else(|error| panic!("{error}"))
    }

    fn has_both(&self) -> bool {
        self.ask(&["node", "ls", "--format", "{{.Status}}"]).lines().filter(|status| *status == "Ready").count() == 2
    }

    /// The tasks of a service: the host name of the machine, and the state of each.
    fn tasks(&self, service: &str) -> Vec<(String, String)> {
        let list =
            self.ask(&["service", "ps", service, "--no-trunc", "--format", "{{.Node}} {{.CurrentState}} {{.Error}}"]);
        list.lines().filter_map(|line| line.split_once(' ')).map(|(on, state)| (on.into(), state.into())).collect()
    }

    fn status(&self) -> Result<Value, String> {
        let text = self.machines.curl(0, "http://127.0.0.1:8080/api/status")?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// True if all nodes are there with all instances, and no process is missing.
    fn is_whole(&self) -> bool {
        let Ok(status) = self.status() else { return false };
        let services = status["services"].as_array().unwrap();
        let wanted: u64 = services.iter().filter_map(|service| service["instances"].as_u64()).sum();
        let there: u64 = status["nodes"].as_array().unwrap().iter().filter_map(|node| node["instances"].as_u64()).sum();
        status["phase"] == "running"
            && status["missing"].as_array().is_none_or(Vec::is_empty)
            && alive(&status).len() == NODES
            && wanted > 0
            && there == wanted
            && services.iter().all(|service| service["ready"] == service["instances"])
    }

    /// Waits for what engines need minutes for; the time that it took.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "engines live in real time")]
    fn until(&self, what: &str, mut look: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(180) {
            if look() {
                println!("{:6.1} s until {what}", began.elapsed().as_secs_f64());
                return began.elapsed();
            }
            pause(250);
        }
        for n in 0..2 {
            println!("{}", self.machines.docker(n, &["ps", "--all"]).unwrap_or_default());
            println!("{}", self.machines.log(n));
        }
        for service in ["mesh_node", "mesh_coordinator"] {
            println!("{:?}", self.machines.docker(0, &["service", "ps", "--no-trunc", service]));
            println!("{:?}", self.machines.docker(0, &["service", "logs", "--tail", "20", service]));
        }
        panic!("timed out waiting until {what}; last status: {:?}", self.status());
    }
}

/// Names of the nodes that are alive.
fn alive(status: &Value) -> BTreeSet<String> {
    let nodes = status["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "alive");
    nodes.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

fn secret() -> String {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs Docker and root, and builds the release"]
fn a_mesh_on_a_swarm_is_complete_again_when_a_machine_is_cut_off_and_when_it_returns() {
    if let Some(missing) = machines::missing() {
        assert!(std::env::var_os("MESHSIM_REQUIRE_SWARM").is_none(), "{missing} is not here");
        println!("no swarm here ({missing} is missing): nothing is tested");
        return;
    }
    let folder = common::folder("live", LIVE);
    let image = Image(format!("meshsim-swarm-{}", std::process::id()));
    run_in(&root(), "scripts/image", &[&image.0]).unwrap();
    let args =
        ["export", "swarm", "mesh.yaml", "--out", "out", "--image", &image.0, "--until-stopped", "--publish", "8080"];
    assert_exit(&meshsim(&folder, &args), 0);
    let out = folder.join("out");
    for file in ["cluster", "operator"] {
        fs::write(out.join(file), secret()).unwrap();
    }
    let swarm = Swarm::begin(&image, &folder);
    try_it(&swarm, &out);
    drop(swarm);
    assert_eq!(Machines::left(), [""; 0]);
}

fn try_it(swarm: &Swarm, out: &Path) {
    let machines = &swarm.machines;
    let file = out.join("stack.yml");
    swarm.ask(&["stack", "deploy", "--compose-file", file.to_str().unwrap(), "mesh"]);
    let joined = swarm.until("all have joined, and the mesh is complete", || swarm.is_whole());
    let running = |n: usize| {
        let tasks = swarm.tasks("mesh_node");
        tasks.iter().filter(|(on, state)| on == machines.name(n) && state.starts_with("Running")).count()
    };
    swarm.until("the engines find them well", || running(0) + running(1) == NODES);
    let lost_count = running(1);
    assert!((1..NODES).contains(&lost_count), "{:?}", swarm.tasks("mesh_node"));
    println!("         {lost_count} of {NODES} nodes are on the second machine");
    // Only the coordinator's machine has the port.
    assert!(machines.docker(0, &["ps", "--format", "{{.Ports}}"]).unwrap().contains(":8080->8080"));
    assert!(!machines.docker(1, &["ps", "--format", "{{.Ports}}"]).unwrap().contains("->"));

    machines.cable("down");
    let mut left = BTreeSet::new();
    let missed = swarm.until("the lost nodes are missed", || {
        left = swarm.status().map(|status| alive(&status)).unwrap_or_default();
        left.len() == NODES - lost_count
    });
    let all: BTreeSet<String> = (0..NODES).map(|n| format!("node-{n}")).collect();
    let lost: Vec<&String> = all.difference(&left).collect();
    let complete = missed + swarm.until("the mesh is complete on the machine that is left", || swarm.is_whole());

    machines.cable("up");
    let back = swarm.until("the second machine is ready, and its old tasks have ended", || {
        let running = machines.docker(1, &["ps", "--quiet"]);
        swarm.has_both() && running.is_ok_and(|running| running.is_empty())
    });
    swarm.until("the mesh is complete, the old processes gone", || swarm.is_whole());
    println!(
        "joined after {joined:.1?}; after the cut {lost_count} nodes missed after {missed:.1?}, and complete after \
         {complete:.1?}; after the return the old processes gone after {back:.1?}"
    );
    // It runs requests.
    machines.curl(0, "http://127.0.0.1:8080/front/page").unwrap();

    let filter = ["--quiet", "--filter", "label=com.docker.swarm.service.name=mesh_coordinator"];
    let coordinator = swarm.ask(&[&["ps"], &filter[..]].concat());
    swarm.ask(&["exec", &coordinator, "/meshsim", "ctl", "stop"]);
    swarm.until("the run has ended", || swarm.ask(&[&["ps"], &filter[..]].concat()).is_empty());
    let log = swarm.ask(&["service", "logs", "--raw", "mesh_coordinator"]);
    println!("{log}");

    // The report says what was lost with the machine, and judges nothing that was not measured.
    let (_, unmeasured) = log.split_once("\nNot measured\n").unwrap();
    let unmeasured: Vec<&str> = unmeasured.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    for name in &lost {
        let text = format!("node {name}, 0s to ");
        assert!(unmeasured.iter().any(|line| line.starts_with(&text)), "{name} is not in {unmeasured:?}");
    }
    for name in &left {
        assert!(!unmeasured.iter().any(|line| line.starts_with(&format!("node {name},"))), "{unmeasured:?}");
    }
    let summary = out.join("summary.json").display().to_string();
    swarm.ask(&["cp", &format!("{coordinator}:/runs/swarm-7-live/summary.json"), &summary]);
    let summary = common::json(Path::new(&summary));
    let outcome = summary["outcome"].as_str().unwrap();
    let code = swarm.ask(&["inspect", "--format", "{{.State.ExitCode}}", &coordinator]);
    assert!(matches!((code.as_str(), outcome), ("0", "pass") | ("98", "unknown")), "{code}, {outcome}");
    let repairs = summary["operations"].as_array().unwrap().iter().filter(|it| it["kind"] == "repair").count();
    assert!(repairs > 0, "{}", summary["operations"]);

    // All end with the run, and none is started again.
    swarm.until("the others have ended", || {
        (0..2).all(|n| machines.docker(n, &["ps", "--quiet"]).is_ok_and(|running| running.is_empty()))
    });
    pause(6_000);
    for n in 0..2 {
        assert_eq!(
            machines.docker(n, &["ps", "--quiet"]).unwrap(),
            "",
            "Swarm started a process of a run that had ended"
        );
    }
    assert_eq!(swarm.tasks("mesh_coordinator").len(), 1);
    swarm.ask(&["stack", "rm", "mesh"]);
}
