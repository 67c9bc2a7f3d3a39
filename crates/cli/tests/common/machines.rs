//! Two machines with a Docker engine each, on this one: network namespaces that a cable joins.
//!
//! An engine is the first process in a namespace of processes, so that all that it has started ends with it. It has a
//! host name, a view of `/sys` and folders of its own, and `Machines` removes all of it when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{pause, until};

/// The name of the cable's end in either namespace.
const CABLE: &str = "cable0";
/// Time for an engine to stop its containers and end, in steps.
const STEPS_TO_END: u32 = 300;
const STEP_MILLIS: u64 = 100;

/// Shell text of an engine: `$0` is its host name, `$1` the folder, and the rest its options.
///
/// Interfaces are found in `/sys`, which shows those of the namespace in which it was mounted. The system's containerd,
/// if there is one, would start containers outside the machine.
const ENGINE: &str = r#"
hostname "$0" && folder=$1 && shift &&
mount --rbind /sys/fs/cgroup "$folder" && mount -t sysfs sysfs /sys &&
mount --rbind "$folder" /sys/fs/cgroup && umount --lazy "$folder" &&
mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec dockerd "$@"
"#;

/// The machines, from the first to the second.
pub(crate) struct Machines {
    /// Short: the path of a socket has at most 107 bytes.
    folder: tempfile::TempDir,
    names: [String; 2],
    engines: Vec<Child>,
}

/// Runs a program to its end; its output without the last line break, or what was wrong.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, String> {
    run_in(Path::new("."), program, args)
}

pub(crate) fn run_in(folder: &Path, program: &str, args: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let output = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{line}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{line}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))),
    }
}

/// What is missing on this machine for [`Machines::begin`].
pub(crate) fn missing() -> Option<String> {
    if run("id", &["-u"]).as_deref() != Ok("0") {
        return Some("root".into());
    }
    let programs: [(&str, &[&str]); 6] = [
        ("dockerd", &["--version"]),
        ("ip", &["-V"]),
        ("nsenter", &["--version"]),
        ("unshare", &["--version"]),
        ("curl", &["--version"]),
        ("docker", &["version"]),
    ];
    programs.iter().find(|(program, args)| run(program, args).is_err()).map(|(program, _)| (*program).into())
}

impl Machines {
    /// Starts both engines, joined by a cable.
    pub(crate) fn begin() -> Self {
        let names = ["a", "b"].map(|name| format!("meshsim-{}-{name}", std::process::id()));
        let folder = tempfile::Builder::new().prefix("meshsim-").tempdir().unwrap();
        let mut machines = Machines { folder, names, engines: Vec::new() };
        let ip = |args: &[&str]| run("ip", args).unwrap();
        let [first, second] = machines.names.each_ref().map(String::as_str);
        for name in [first, second] {
            ip(&["netns", "add", name]);
        }
        // Without a bridge on this machine, whose firewall would filter it; and without a way out, so that an engine
        // that asks a registry for its image has its answer at once.
        ip(&["link", "add", CABLE, "netns", first, "type", "veth", "peer", "name", CABLE, "netns", second]);
        // The driver that this machine's own engine has found to work.
        let driver = run("docker", &["info", "--format", "{{.Driver}}"]).unwrap();
        for n in 0..2 {
            let name = machines.names[n].clone();
            ip(&["-n", &name, "addr", "add", &format!("{}/24", Self::address(n)), "dev", CABLE]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &name, "link", "set", CABLE, "up"]);
            machines.start(&name, &driver);
        }
        for n in 0..2 {
            until("the engine answers", || machines.docker(n, &["version"]).ok());
        }
        machines
    }

    /// The address of a machine for the other one.
    pub(crate) fn address(n: usize) -> String {
        format!("10.231.7.{}", n + 1)
    }

    pub(crate) fn name(&self, n: usize) -> &str {
        &self.names[n]
    }

    fn at(&self, name: &str, file: &str) -> PathBuf {
        self.folder.path().join(name.rsplit('-').next().unwrap()).join(file)
    }

    fn start(&mut self, name: &str, driver: &str) {
        let at = |file: &str| self.at(name, file).display().to_string();
        fs::create_dir_all(self.at(name, "cgroup")).unwrap();
        fs::write(self.at(name, "config"), "{}").unwrap();
        let log = fs::File::create(self.at(name, "log")).unwrap();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{name}"));
        command.args(["unshare", "--uts", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]);
        command.args(["sh", "-c", ENGINE, name, &at("cgroup"), "--log-level=warn"]);
        command.args([format!("--config-file={}", at("config")), format!("--storage-driver={driver}")]);
        command.args([format!("--data-root={}", at("data")), format!("--exec-root={}", at("exec"))]);
        command.args([format!("--pidfile={}", at("pid")), format!("--host=unix://{}", at("socket"))]);
        command.arg(format!("--cgroup-parent=/{name}"));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.engines.push(child);
    }

    /// Runs a command of Docker on a machine.
    pub(crate) fn docker(&self, n: usize, args: &[&str]) -> Result<String, String> {
        let host = format!("unix://{}", self.at(&self.names[n], "socket").display());
        run("docker", &[&["--host", &host], args].concat())
    }

    /// Sends a request from a machine to itself.
    pub(crate) fn curl(&self, n: usize, url: &str) -> Result<String, String> {
        let network = format!("--net=/run/netns/{}", self.names[n]);
        run("nsenter", &[&network, "curl", "--silent", "--show-error", "--fail", "--max-time", "5", url])
    }

    /// Pulls the cable out of the second machine, or puts it in.
    pub(crate) fn cable(&self, state: &str) {
        run("ip", &["-n", &self.names[1], "link", "set", CABLE, state]).unwrap();
    }

    /// The end of an engine's log.
    pub(crate) fn log(&self, n: usize) -> String {
        let log = fs::read_to_string(self.at(&self.names[n], "log")).unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    /// What is left of the machines of this process: namespaces, groups of processes, and mounts.
    pub(crate) fn left() -> Vec<String> {
        let mine = format!("meshsim-{}-", std::process::id());
        let lists = [run("ip", &["netns", "list"]).unwrap_or_default(), groups(&mine).join("\n")];
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let all = lists.iter().flat_map(|list| list.lines()).chain(mounts.lines());
        all.filter(|line| line.contains(&mine)).map(String::from).collect()
    }
}

/// The control groups of machines, below each hierarchy.
fn groups(mine: &str) -> Vec<String> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let below =
        hierarchies.chain([root.to_owned()]).flat_map(|hierarchy| fs::read_dir(hierarchy).into_iter().flatten());
    let paths = below.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let mut groups: Vec<String> = paths.map(|path| path.display().to_string()).filter(|it| it.contains(mine)).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Removes a control group with those in it; one is removed as a folder whose files nobody can remove.
fn remove_group(path: &Path) {
    let below = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path.is_dir()).for_each(|path| remove_group(&path));
    let _ = fs::remove_dir(path);
}

impl Drop for Machines {
    fn drop(&mut self) {
        for engine in &mut self.engines {
            // The engine itself is the child of the program that made its namespace.
            let children = format!("/proc/{0}/task/{0}/children", engine.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            let _ = run("kill", &children.split_whitespace().collect::<Vec<_>>());
        }
        for engine in &mut self.engines {
            for _ in 0..STEPS_TO_END {
                if !matches!(engine.try_wait(), Ok(None)) {
                    break;
                }
                pause(STEP_MILLIS);
            }
            // All in its namespace of processes ends with it.
            let _ = engine.kill();
            let _ = engine.wait();
        }
        for name in &self.names {
            let _ = run("ip", &["netns", "delete", name]);
            for group in groups(name) {
                remove_group(Path::new(&group));
            }
        }
    }
}
