//! A sweep on a real Slurm: a controller and two machines on the loopback, one of which is lost in the middle.
//!
//! It needs Slurm, munge and root (Debian: `slurmd slurmctld slurm-client munge`), so it is ignored by default:
//!
//! ```text
//! cargo test --workspace --test slurm -- --ignored
//! ```
//!
//! Without them it says so and passes; with `MESHSIM_REQUIRE_SLURM=1` it fails.

#![cfg(unix)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{assert_exit, meshsim, stdout};

const MESH: &str = "
nodes: [ { name: node, cores: 8 } ]
duration: 600s
services:
  queue: { capacity: 2, queue: 1000, endpoints: { serve: { script: [ work: { exponential: 10ms } ] } } }
load:
  users: { to: queue, arrivals: { poisson: 100/s } }
";

/// All points and seeds: 64 runs, in 8 shards.
const SWEEP: [&str; 9] =
    ["sweep", "mesh.yaml", "--vary", "services.queue.capacity=1..8", "--seeds", "8", "--no-progress", "--out", "out"];

/// Programs of the cluster, ended with it.
struct Cluster {
    folder: PathBuf,
    programs: Vec<(String, Child)>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // In the reverse order: the machines before the controller.
        for (_, program) in self.programs.iter_mut().rev() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn is_here(program: &str) -> bool {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
    folders.iter().any(|folder| Path::new(folder).join(program).exists())
}

fn id(what: &str) -> String {
    String::from_utf8(Command::new("id").arg(what).output().unwrap().stdout).unwrap().trim().into()
}

impl Cluster {
    /// `None`: Slurm is not here.
    fn begin(folder: &Path) -> Option<Self> {
        let needed = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "unshare"];
        let missing = needed.into_iter().find(|program| !is_here(program));
        let missing = missing.or((id("-u") != "0").then_some("root"));
        if let Some(missing) = missing {
            assert!(std::env::var_os("MESHSIM_REQUIRE_SLURM").is_none(), "{missing} is not here");
            println!("no Slurm here ({missing} is missing): nothing is tested");
            return None;
        }
        let mut cluster = Cluster { folder: folder.to_owned(), programs: Vec::new() };
        let at = |name: &str| folder.join(name).display().to_string();
        for (name, mode) in [("munge", 0o755), ("state", 0o700), ("spool.n1", 0o755), ("spool.n2", 0o755)] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut key = [0; 128];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut key).unwrap();
        fs::write(folder.join("munge/key"), key).unwrap();
        fs::set_permissions(folder.join("munge/key"), fs::Permissions::from_mode(0o400)).unwrap();
        let host = String::from_utf8(Command::new("uname").arg("-n").output().unwrap().stdout).unwrap();
        // Ports that were free a moment ago.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [control, first, second] = listeners.each_ref().map(|it| it.local_addr().unwrap().port());
        drop(listeners);
        let (host, dir) = (host.trim(), folder.display());
        let conf = format!(
            "ClusterName=meshsim
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
AuthType=auth/munge
CryptoType=crypto/munge
# A task that lost its machine waits until its credential has expired.
AuthInfo=socket={dir}/munge/sock,cred_expire=5
CommunicationParameters=NoInAddrAny
SlurmUser=root
SlurmdUser=root
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool.%n
SlurmctldPidFile={dir}/ctld.pid
SlurmdPidFile={dir}/d.%n.pid
SlurmctldTimeout=10
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"
        );
        fs::write(folder.join("slurm.conf"), conf).unwrap();

        let munge =
            [("key-file", "key"), ("socket", "sock"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")];
        let munge: Vec<String> = munge.iter().map(|(name, file)| format!("--{name}={dir}/munge/{file}")).collect();
        cluster.start("munged", "munged", &[&munge[..], &["--foreground".into()]].concat());
        common::until("munge answers", || folder.join("munge/sock").exists().then_some(()));
        let conf = at("slurm.conf");
        cluster.start("slurmctld", "slurmctld", &["-D", "-f", &conf].map(String::from));
        for name in ["n1", "n2"] {
            // A machine of its own: when its first process ends, all others on it do.
            let machine = ["--pid", "--mount-proc", "--fork", "--kill-child", "slurmd", "-D", "-N", name, "-f", &conf];
            cluster.start(name, "unshare", &machine.map(String::from));
        }
        common::until("both machines are there", || {
            let idle = cluster.ask("sinfo", &["-h", "-N", "-t", "idle", "-o", "%N"]);
            (idle.split_whitespace().count() == 2).then_some(())
        });
        Some(cluster)
    }

    fn start(&mut self, name: &str, program: &str, args: &[String]) {
        let log = || {
            Stdio::from(
                fs::File::options().create(true).append(true).open(self.folder.join(format!("{name}.log"))).unwrap(),
            )
        };
        let child = Command::new(program).args(args).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap();
        self.programs.push((name.into(), child));
    }

    /// The output of a command of Slurm; empty while the controller does not answer.
    fn ask(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.folder).env("SLURM_CONF", self.folder.join("slurm.conf"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![self.folder.join("bin")];
        folders.extend(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap());
        let output = command.output().unwrap();
        assert!(program != "sbatch" || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    }

    /// Sends a signal to all that runs on a machine: to all processes of its namespace.
    fn signal(&self, signal: &str, name: &str) {
        let (_, machine) = self.programs.iter().find(|(it, _)| it == name).unwrap();
        let namespace = fs::read_link(format!("/proc/{}/ns/pid_for_children", machine.id())).unwrap();
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
        for process in processes.filter_map(|name| name.to_str()?.parse::<u32>().ok()) {
            if fs::read_link(format!("/proc/{process}/ns/pid")).is_ok_and(|it| it == namespace) {
                // It may have ended meanwhile.
                let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
            }
        }
    }

    /// Takes a machine away, with all that runs on it.
    fn lose(&mut self, name: &str) {
        let (_, machine) = self.programs.iter_mut().find(|(it, _)| it == name).unwrap();
        machine.kill().unwrap();
        machine.wait().unwrap();
    }
}

/// Number of lines of each file of the shards, by name.
fn shards(folder: &Path) -> Vec<(String, usize)> {
    let Ok(entries) = fs::read_dir(folder.join("out/shards")) else { return Vec::new() };
    let files = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_string_lossy().into_owned(), fs::read_to_string(path).ok()?.lines().count()))
    });
    files.collect()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
    let mut files: Vec<_> = entries.map(file).collect();
    files.sort();
    files
}

/// Polls for what Slurm needs minutes for: it notices a lost machine, and waits before it starts a task again.
#[expect(clippy::disallowed_methods, reason = "the engine lives in real time")]
fn at_last(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if look() {
            return;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("it was waited in vain until {what}");
}

#[test]
#[ignore = "needs Slurm"]
fn a_sweep_on_slurm_with_a_lost_machine_has_the_bytes_of_a_local_one() {
    let folder = common::folder("lost", MESH);
    let Some(mut cluster) = Cluster::begin(&folder) else { return };
    fs::create_dir(folder.join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_meshsim"), folder.join("bin/meshsim")).unwrap();
    let script = meshsim(&folder, &[&SWEEP[..], &["--script", "slurm", "--shard", "auto/8"]].concat());
    assert_exit(&script, 0);
    fs::write(folder.join("sweep.sh"), stdout(&script)).unwrap();
    let submitted = cluster.ask("sbatch", &["--parsable", "sweep.sh"]);
    let job = submitted.trim();

    let lost = {
        let mut lost = String::new();
        at_last("a task of the second machine has made runs", || {
            let tasks = cluster.ask("squeue", &["-h", "-r", "-j", job, "-w", "n2", "-t", "RUNNING", "-o", "%K"]);
            let has_begun = |task: &&str| {
                shards(&folder).iter().any(|(name, lines)| name.starts_with(&format!("{task}-of-8.")) && *lines > 2)
            };
            lost = tasks.split_whitespace().find(has_begun).unwrap_or_default().to_owned();
            if lost.is_empty() {
                return false;
            }
            // The machine stands still, so that the task is in its middle also when the machine is lost. A task that
            // ended in the meantime is none to lose.
            cluster.signal("-STOP", "n2");
            let file = format!("{lost}-of-8.jsonl");
            let has_ended = shards(&folder).iter().any(|(name, _)| *name == file);
            if has_ended {
                cluster.signal("-CONT", "n2");
            }
            !has_ended
        });
        lost
    };
    cluster.lose("n2");

    at_last("all tasks have ended", || {
        let complete = (1..=8).all(|n| shards(&folder).iter().any(|(name, _)| *name == format!("{n}-of-8.jsonl")));
        complete && cluster.ask("squeue", &["-h", "-j", job]).trim().is_empty()
    });
    // The task was started again, and did not make again what was there.
    let outputs = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let ending = format!("_{lost}.out");
    let output = outputs.into_iter().find(|path| path.to_string_lossy().ends_with(&ending)).unwrap();
    let said = fs::read_to_string(output).unwrap();
    assert!(said.contains(&format!("shard {lost}/8: 8 runs, ")) && !said.contains(" 0 were there"), "{said}");

    assert_exit(&meshsim(&folder, &["sweep", "out"]), 0);
    let gathered = files(&folder.join("out"));
    fs::remove_dir_all(folder.join("out")).unwrap();
    assert_exit(&meshsim(&folder, &SWEEP), 0);
    assert_eq!(gathered, files(&folder.join("out")));
}
