//! The pods of `meshsim export kubernetes`, run by an engine that knows no Jobs: `podman kube play`.
//!
//! It needs podman (Debian: `podman netavark aardvark-dns catatonit`), Docker for the image, and root, so it is ignored
//! by default:
//!
//! ```text
//! cargo test --workspace --test podman -- --ignored --nocapture
//! ```
//!
//! Without them it says so and passes; with `MESHSIM_REQUIRE_PODMAN=1` it fails.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;

use common::machines::{run, run_in};
use common::{assert_exit, meshsim, stdout};
use serde_json::{Value, json};

/// Three pods of nodes, one of which has fewer; and long enough to ask each of them how it is.
const MESH: &str = "
name: pods
seed: 3
nodes: [ { name: node, count: 5, cores: 2 } ]
duration: 15s
services:
  front: { instances: 4, capacity: 8, cpu: 0.5, endpoints: { page: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 5, capacity: 8, cpu: 0.25, endpoints: { item: { script: [ work: 3ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 20/s } }
slo: [ 'errors < 50%' ]
";

/// Without CAP_SYS_RESOURCE no limit can be raised; containers are not units of systemd, which may not run.
const CONFIG: &str = "
[containers]
default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]
[network]
network_backend = \"netavark\"
[engine]
runtime = \"runc\"
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
";

/// Podman with a network and folders of its own, all removed at the end.
struct Podman {
    folder: tempfile::TempDir,
    network: String,
    image: String,
    /// The groups of processes that were there before.
    groups: Vec<String>,
}

/// The control groups that podman makes for all pods.
fn groups() -> Vec<String> {
    let entries = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let paths = entries.flat_map(|path| [path.join("libpod_parent"), path]);
    let paths = paths.filter(|path| path.ends_with("libpod_parent") && path.is_dir());
    paths.map(|path| path.display().to_string()).collect()
}

impl Podman {
    /// `None`: something is missing.
    fn begin() -> Option<Self> {
        let is_root = run("id", &["-u"]).as_deref() == Ok("0");
        let programs: [(&str, &[&str]); 5] = [
            ("podman", &["--version"]),
            ("runc", &["--version"]),
            ("ip", &["-V"]),
            ("nsenter", &["--version"]),
            ("docker", &["version"]),
        ];
        let missing = programs.iter().find(|(program, args)| run(program, args).is_err()).map(|(program, _)| *program);
        if let Some(missing) = missing.or((!is_root).then_some("root")) {
            assert!(std::env::var_os("MESHSIM_REQUIRE_PODMAN").is_none(), "{missing} is not here");
            println!("no podman here ({missing} is missing): nothing is tested");
            return None;
        }
        let network = format!("meshsim-{}-podman", std::process::id());
        let folder = tempfile::Builder::new().prefix("meshsim-").tempdir().unwrap();
        fs::write(folder.path().join("config"), CONFIG).unwrap();
        run("ip", &["netns", "add", &network]).unwrap();
        let image = format!("meshsim-podman-{}", std::process::id());
        let podman = Podman { folder, network, image, groups: groups() };
        run("ip", &["-n", &podman.network, "link", "set", "lo", "up"]).unwrap();
        Some(podman)
    }

    fn try_run(&self, args: &[&str]) -> Result<String, String> {
        let at = |file: &str| self.folder.path().join(file).display().to_string();
        let [network, config] =
            [format!("--net=/run/netns/{}", self.network), format!("CONTAINERS_CONF={}", at("config"))];
        let (root, state, tmp, nets) = (at("root"), at("run"), at("tmp"), at("networks"));
        let own = ["--root", &root, "--runroot", &state, "--tmpdir", &tmp, "--network-config-dir", &nets];
        let command = [&network, "env", &config, "podman", "--log-level=error", "--storage-driver=vfs"];
        run("nsenter", &[&command[..], &own, args].concat())
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        self.try_run(args).unwrap_or_else(|error| panic!("{error}"))
    }

    fn mounts(&self) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let at = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        at.filter(|at| at.starts_with(&folder)).map(String::from).collect()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.try_run(&["pod", "rm", "--all", "--force", "--time", "2"]);
        let _ = self.try_run(&["network", "rm", "--force", "mesh"]);
        let _ = run("docker", &["rmi", "--force", &self.image]);
        self.mounts().iter().rev().for_each(|at| drop(run("umount", &[at])));
        let _ = run("ip", &["netns", "delete", &self.network]);
        for group in groups().iter().filter(|group| !self.groups.contains(group)) {
            let _ = run("find", &[group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
        }
    }
}

/// A pod of a Job, as its controller would make it.
struct Pod {
    object: Value,
    /// Name of its container, as podman calls it.
    container: String,
    probe: Vec<String>,
}

/// The pods of a Job: one for each of its indexes. Podman has no probes without systemd, and would publish ports.
fn pods(job: &Value) -> impl Iterator<Item = Pod> {
    let name = job["metadata"]["name"].as_str().unwrap();
    let count = job["spec"]["completions"].as_u64().unwrap();
    assert_eq!(job["spec"]["parallelism"], count);
    (0..count).map(move |n| {
        let mut object = job["spec"]["template"].clone();
        // The only pod has the name of the Job: the coordinator's Service has it, too, and podman has no Services.
        let name = if count == 1 { name.to_owned() } else { format!("{name}-{n}") };
        let container = object["spec"]["containers"][0].as_object_mut().unwrap();
        let probe = container.remove("startupProbe").unwrap();
        assert_eq!(container.remove("livenessProbe").unwrap()["exec"], probe["exec"]);
        container.remove("ports").unwrap();
        let probe = probe["exec"]["command"].as_array().unwrap();
        let probe = probe.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        let container = format!("{name}-{}", container["name"].as_str().unwrap());
        object["apiVersion"] = "v1".into();
        object["kind"] = "Pod".into();
        object["metadata"]["name"] = name.into();
        Pod { object, container, probe }
    })
}

#[test]
#[ignore = "needs podman and root, and builds the release"]
fn the_pods_of_a_manifest_run_the_whole_mesh() {
    let Some(podman) = Podman::begin() else { return };
    let (folder, network) = (podman.folder.path().to_owned(), podman.network.clone());
    try_it(&podman);
    drop(podman);
    // Nothing is left: no folder, no network, no process.
    assert!(!folder.exists() && !run("ip", &["netns", "list"]).unwrap().contains(&network));
    let folder = folder.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let left: Vec<String> = processes
        .filter_map(|path| fs::read(path).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect();
    assert_eq!(left, [""; 0]);
}

fn try_it(podman: &Podman) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    run_in(&root, "scripts/image", &[&podman.image]).unwrap();
    let archive = podman.folder.path().join("image.tar").display().to_string();
    run("docker", &["save", "--output", &archive, &podman.image]).unwrap();
    podman.run(&["load", "--quiet", "--input", &archive]);
    podman.run(&["network", "create", "mesh"]);

    let folder = common::folder("pods", MESH);
    let image = format!("localhost/{}:latest", podman.image);
    let output = meshsim(&folder, &["export", "kubernetes", "mesh.yaml", "--nodes-per-pod", "2", "--image", &image]);
    assert_exit(&output, 0);
    let objects = common::yaml::documents(&stdout(&output));
    let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    // In base64, as any text is whose length is a multiple of four and that has no other characters.
    let data = json!({ "cluster": "meshsim0".repeat(8) });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pods" }, "data": data });
    let pods: Vec<Pod> = of("Job").flat_map(pods).collect();
    let all = std::iter::once(&secret).chain(of("ConfigMap")).chain(pods.iter().map(|pod| &pod.object));
    let played: String = all.map(|object| format!("---\n{object}\n")).collect();
    let file = folder.join("pods.yaml").display().to_string();
    fs::write(&file, played).unwrap();
    podman.run(&["kube", "play", "--network", "mesh", &file]);

    let names: Vec<&str> = pods.iter().map(|pod| pod.container.as_str()).collect();
    let expected = ["coordinator", "node-0", "node-1", "node-rest", "client-0"].map(|it| format!("pods-{it}-meshsim"));
    assert_eq!(names, expected);
    for Pod { container, probe, .. } in &pods {
        let probe: Vec<&str> = probe.iter().map(String::as_str).collect();
        common::until("its probe finds it well", || podman.try_run(&[&["exec", container], &probe[..]].concat()).ok());
        let about = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}";
        assert_eq!(podman.run(&["inspect", "--format", about, container]), "65532:65532 true", "{container}");
    }
    for container in names {
        let code = podman.run(&["wait", container]);
        let log = podman.run(&["logs", container]);
        if container == "pods-coordinator-meshsim" {
            println!("{log}");
            let is_slow = code == "98" && log.contains("INVALID: ");
            assert!((code == "0" || is_slow) && log.contains("\nSLO\n"), "{code}\n{log}");
        } else {
            assert_eq!(code, "0", "{container}\n{log}");
        }
    }
}
