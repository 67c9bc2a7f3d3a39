//! A mesh of real containers: starts `docker-compose.yml`, controls it, and applies load, faults, healing and scaling.
//!
//! It needs a container engine, Compose and curl, and builds the release, so it is ignored by default:
//!
//! ```text
//! cargo test -p meshsim-tests --test containers -- --ignored
//! ```
//!
//! Without an engine it reports that and passes; with `MESHSIM_REQUIRE_CONTAINERS=1` it fails. It asserts no durations:
//! it polls for each expected state, up to a limit.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Number of polls, and the pause between them: a machine that is busy with other tests is slow.
const TRIES: u32 = 480;
const PAUSE: Duration = Duration::from_millis(250);

/// Runs a program in the root of the repository to its end.
fn run(program: &str, args: &[&str], env: &[(&str, String)]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(program)
        .args(args)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{line}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{line}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))),
    }
}

fn docker(args: &[&str]) -> String {
    run("docker", args, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Polls until there is a result.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "containers live in real time")]
fn until<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    println!("... until {what}");
    let mut last = None;
    for _ in 0..TRIES {
        match look() {
            Ok(found) => return found,
            Err(seen) => last = Some(seen),
        }
        std::thread::sleep(PAUSE);
    }
    panic!("timed out waiting until {what}; last seen: {last:#?}");
}

/// The Compose project of a test. It is removed at the end, whether or not the test passes.
struct Project {
    name: String,
    image: String,
    /// `docker compose`, or `docker-compose`.
    compose: Vec<&'static str>,
    /// Address at which the gateway is published; known once the project is up.
    gateway: String,
    scratch: PathBuf,
}

impl Project {
    /// `None`: this machine has no engine.
    fn begin() -> Option<Self> {
        let compose = [vec!["docker", "compose"], vec!["docker-compose"]]
            .into_iter()
            .find(|compose| run(compose[0], &[&compose[1..], &["version"]].concat(), &[]).is_ok());
        let missing = match &compose {
            _ if run("docker", &["version"], &[]).is_err() => Some("no container engine answers"),
            None => Some("there is no Compose"),
            _ if run("curl", &["--version"], &[]).is_err() => Some("there is no curl"),
            Some(_) => None,
        };
        if let Some(missing) = missing {
            #[expect(clippy::disallowed_methods, reason = "what a machine must have is no part of an experiment")]
            let required = std::env::var("MESHSIM_REQUIRE_CONTAINERS").is_ok_and(|value| value == "1");
            assert!(!required, "{missing}, and MESHSIM_REQUIRE_CONTAINERS=1 wants containers");
            println!("skipped: {missing}");
            return None;
        }
        let name = format!("meshsim-test-{}", std::process::id());
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        std::fs::create_dir_all(&scratch).unwrap();
        Some(Project { image: format!("{name}:latest"), name, compose: compose?, gateway: String::new(), scratch })
    }

    fn try_compose(&self, args: &[&str]) -> Result<String, String> {
        let env = [("MESHSIM_IMAGE", self.image.clone()), ("MESHSIM_HTTP_PORT", "0".into())];
        run(self.compose[0], &[&self.compose[1..], &["-p", &self.name], args].concat(), &env)
    }

    fn compose(&self, args: &[&str]) -> String {
        self.try_compose(args).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the project with this many nodes, or adds nodes.
    fn up(&self, nodes: usize) {
        self.compose(&["up", "--detach", "--no-build", "--no-recreate", "--scale", &format!("node={nodes}")]);
    }

    /// The containers of a service, running or not, by their number.
    fn containers(&self, service: &str) -> Vec<String> {
        let labels = [("project", self.name.as_str()), ("service", service)];
        let filters = labels.map(|(key, value)| format!("label=com.docker.compose.{key}={value}"));
        let [project, service] = filters.each_ref().map(String::as_str);
        let format = "{{.Label \"com.docker.compose.container-number\"}} {{.ID}}";
        let list = docker(&["ps", "--all", "--filter", project, "--filter", service, "--format", format]);
        let mut list: Vec<(u32, String)> = list
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(number, id)| (number.parse().unwrap(), id.to_owned()))
            .collect();
        list.sort();
        list.into_iter().map(|(_, id)| id).collect()
    }

    /// The engine's remaining objects of one kind of this project.
    fn left(&self, list: &[&str]) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        docker(&[list, &["--quiet", "--filter", &filter]].concat())
    }

    /// Sends a request to the gateway, as a user would.
    fn curl(&self, path: &str, args: &[&str]) -> Result<String, String> {
        let url = format!("http://{}{path}", self.gateway);
        run("curl", &[&["--silent", "--show-error", "--fail", "--max-time", "10"], args, &[&url]].concat(), &[])
    }

    fn status(&self) -> Result<Value, String> {
        let text = self.curl("/api/status", &[])?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// Waits for a status with a property.
    #[track_caller]
    fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.status().and_then(|status| if is(&status) { Ok(status) } else { Err(status.to_string()) }))
    }

    /// Runs `meshsim` in the coordinator's container.
    fn meshsim(&self, args: &[&str]) -> String {
        self.compose(&[&["exec", "-T", "coordinator", "/meshsim"], args].concat())
    }

    /// Copies a file out of a container, running or not.
    fn copy(&self, container: &str, path: &str) -> PathBuf {
        let to = self.scratch.join(Path::new(path).file_name().unwrap());
        docker(&["cp", &format!("{container}:{path}"), to.to_str().unwrap()]);
        to
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "{}",
                self.try_compose(&["ps", "--all"]).or_else(|_| self.try_compose(&["ps"])).unwrap_or_default()
            );
            println!("{}", self.try_compose(&["logs", "--no-color", "--tail=40"]).unwrap_or_default());
        }
        // Each step is tried; the test's own check of what remains sees a failure here.
        let _ = self.try_compose(&["down", "--volumes", "--remove-orphans", "--timeout", "5"]);
        let _ = run("docker", &["rmi", "--force", &self.image], &[]);
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// The nodes that are alive, with the number of instances of each.
fn alive(status: &Value) -> Vec<(String, u64)> {
    let nodes = status["nodes"].as_array().into_iter().flatten();
    nodes
        .filter(|node| node["state"] == "alive")
        .map(|node| (node["name"].as_str().unwrap().to_owned(), node["instances"].as_u64().unwrap()))
        .collect()
}

fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    let services = status["services"].as_array().into_iter().flatten();
    services.into_iter().find(|service| service["name"] == name).unwrap_or(&Value::Null)
}

/// True when this many nodes are alive, all desired instances are ready, and these nodes have all of them.
fn is_whole(status: &Value, nodes: usize) -> bool {
    let (alive, services) = (alive(status), status["services"].as_array().unwrap());
    let wanted: u64 = services.iter().filter_map(|service| service["instances"].as_u64()).sum();
    alive.len() == nodes
        && alive.iter().map(|(_, instances)| instances).sum::<u64>() == wanted
        && wanted > 0
        && services.iter().all(|service| service["ready"] == service["instances"])
}

/// Load from a foreign client: wrk or ab if installed, else curl. It ends by itself.
struct Load {
    tool: &'static str,
    child: Child,
}

impl Load {
    fn begin(url: &str) -> Self {
        let tools: [(&str, &[&str]); 3] = [
            ("wrk", &["--threads", "1", "--connections", "4", "--duration", "5s", url]),
            ("ab", &["-q", "-c", "4", "-n", "500", "-t", "5", url]),
            ("curl", &["--silent", "--show-error", "--max-time", "60", "--write-out", "%{http_code}\n", "--output"]),
        ];
        // Each of them prints its usage, with any exit code, if it is installed.
        let is_there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        let (tool, args) = tools.into_iter().find(|(tool, _)| is_there(tool)).unwrap();
        let mut command = Command::new(tool);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if tool == "curl" {
            command.arg("/dev/null").arg(format!("{url}#[1-100]"));
        }
        Load { tool, child: command.spawn().unwrap() }
    }

    /// Number of successful requests; all must be.
    fn end(self) -> u64 {
        let output = self.child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{}:\n{text}{}", self.tool, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success());
        let first = |line: &str| line.split_whitespace().find_map(|word| word.parse::<u64>().ok());
        let line = |part: &str| text.lines().find(|line| line.contains(part));
        match self.tool {
            "wrk" => {
                assert_eq!((line("Non-2xx"), line("Socket errors")), (None, None));
                line("requests in").and_then(first).unwrap()
            }
            "ab" => {
                assert_eq!(line("Non-2xx"), None);
                line("Complete requests").and_then(first).unwrap()
            }
            _ => {
                assert!(text.lines().all(|line| line == "200"));
                text.lines().count() as u64
            }
        }
    }
}

#[test]
#[ignore = "needs a container engine, and builds the release"]
fn a_mesh_of_containers_works_under_operations_load_and_faults() {
    let Some(mut project) = Project::begin() else { return };
    println!("{}", run("scripts/image", &[&project.image], &[]).unwrap());

    project.up(3);
    let coordinator = project.containers("coordinator").remove(0);
    project.gateway = project.compose(&["port", "coordinator", "8080"]);
    until("the gateway is ready", || project.curl("/readyz", &[]));
    let status = project.until("the mesh is whole", |status| is_whole(status, 3));
    assert_eq!((&status["experiment"], &status["phase"]), (&"cluster".into(), &"running".into()), "{status}");
    let names = |status: &Value| -> Vec<String> { alive(status).into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(&status), ["node-0", "node-1", "node-2"]);

    // No process may have more privileges than it needs.
    for container in ["coordinator", "node", "client"].iter().flat_map(|service| project.containers(service)) {
        let about = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}";
        assert_eq!(docker(&["inspect", "--format", about, &container]), "65532:65532 true [ALL]");
        let health = || match docker(&["inspect", "--format", "{{.State.Health.Status}}", &container]).as_str() {
            "healthy" => Ok(()),
            other => Err(other.to_owned()),
        };
        until("its engine finds it healthy", health);
    }
    // Its folder, environment and log contain no secret.
    let token_file = project.copy(&coordinator, "/token/operator");
    let token = std::fs::read_to_string(&token_file).unwrap().trim().to_owned();
    assert!(token.len() >= 16);
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(token_file.metadata().unwrap().permissions().mode() & 0o077, 0);
    }

    // Its own tool controls it, under load ...
    let page = format!("http://{}/productpage/page", project.gateway);
    let load = Load::begin(&page);
    project.meshsim(&["ctl", "extend", "reviews", "--to", "6"]);
    project.until("there are six", |status| service(status, "reviews")["ready"] == 6 && is_whole(status, 3));
    assert!(load.end() > 0);

    // ... and any client with the token can, but none without.
    let update = r#"{ "update": "reviews", "to": 2, "strategy": "batch", "rate": 1.0 }"#;
    let body = ["--header", "Content-Type: application/json", "--data", update];
    project.curl("/api/operations", &body).unwrap_err();
    let bearer = format!("Authorization: Bearer {token}");
    project.curl("/api/operations", &[&body[..], &["--header", &bearer]].concat()).unwrap();
    project.until("all have the second version", |status| {
        service(status, "reviews")["version"].as_f64() == Some(2.0) && is_whole(status, 3)
    });
    let wrong = ["--data", r#"{ "extend": "revews", "to": 2 }"#, "--header", &bearer];
    project.curl("/api/operations", &wrong).unwrap_err();
    assert!(!project.curl("/metrics", &[]).unwrap().is_empty());

    // A machine fails: its instances start elsewhere, and pages still load. It rejoins under its name.
    let killed = project.containers("node").remove(1);
    docker(&["kill", &killed]);
    let status = project.until("two have all of it", |status| is_whole(status, 2));
    project.curl("/productpage/page", &[]).unwrap();
    let missing: Vec<String> = ["node-0", "node-1", "node-2"]
        .map(String::from)
        .into_iter()
        .filter(|name| !names(&status).contains(name))
        .collect();
    docker(&["start", &killed]);
    project.until("it is back", |status| is_whole(status, 3) && names(status).contains(&missing[0]));
    project.meshsim(&["ctl", "extend", "reviews", "--to", "8"]);
    project.until("it has work again", |status| {
        is_whole(status, 3) && alive(status).iter().any(|(name, instances)| *name == missing[0] && *instances > 0)
    });

    // Another is cut off from all others, and continues when the cut is healed.
    let cut = project.containers("node").remove(0);
    let network = format!("{}_default", project.name);
    docker(&["network", "disconnect", &network, &cut]);
    project.until("it is missed", |status| is_whole(status, 2));
    docker(&["network", "connect", "--alias", "node", &network, &cut]);
    project.until("it is heard of again", |status| is_whole(status, 3));

    // More machines join.
    project.up(5);
    project.until("there are five", |status| is_whole(status, 5));

    // The coordinator is asked to end: it collects and writes the results, and reports them.
    project.compose(&["stop", "coordinator"]);
    let summary = std::fs::read_to_string(project.copy(&coordinator, "/runs/cluster-5-live/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["name"], "cluster");
    let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &coordinator]);
    let outcome = summary["outcome"].as_str().unwrap();
    assert!(
        matches!((code.as_str(), outcome), ("0", "pass") | ("98", "unknown") | ("99", "fail")),
        "{code} and {outcome}"
    );
    let kinds: Vec<_> =
        summary["operations"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    for kind in ["extend", "update", "repair"] {
        assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
    }
    let log = project.compose(&["logs", "--no-color"]);
    assert!(log.contains("SLO") && !log.contains(&token), "{log}");
    // The others have been told, and stay stopped: no restart policy restarts them.
    until("the others have ended too", || match project.left(&["ps"]) {
        running if running.is_empty() => Ok(()),
        running => Err(running),
    });

    project.compose(&["down", "--volumes"]);
    for list in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
        assert_eq!(project.left(list), "", "{list:?}");
    }
}
