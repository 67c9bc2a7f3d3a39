//! What idle processes take, and how many of them fit in 1 GiB.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::plan::{Plan, WHOLE};
use crate::process::{Failure, Process};
use crate::table::line;

const GIB: f64 = (1 << 30) as f64;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// All that it has in memory.
    resident: f64,
    /// What it shares with others counts in proportion.
    proportional: f64,
    /// What it shares with nobody.
    own: f64,
}

impl Usage {
    /// As Linux sees it.
    fn of(process: u32) -> Result<Self, Failure> {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let sum = |names: &[&str]| -> f64 {
            let kib = |line: &str| {
                let (name, rest) = line.split_once(':')?;
                names.contains(&name).then(|| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok())?
            };
            rollup.lines().filter_map(kib).sum::<f64>() * 1024.0
        };
        let own = sum(&["Private_Clean", "Private_Dirty"]);
        Ok(Usage { resident: sum(&["Rss"]), proportional: sum(&["Pss"]), own })
    }

    fn mean(processes: &[u32]) -> Result<Self, Failure> {
        let mut sum = Usage::default();
        for process in processes {
            let Usage { resident, proportional, own } = Usage::of(*process)?;
            sum.resident += resident;
            sum.proportional += proportional;
            sum.own += own;
        }
        let each = |sum: f64| sum / processes.len() as f64;
        Ok(Usage { resident: each(sum.resident), proportional: each(sum.proportional), own: each(sum.own) })
    }

    /// What they share is there once.
    fn fit(&self) -> f64 {
        (GIB - (self.resident - self.own)) / self.own
    }
}

pub(crate) fn print(is_quick: bool) -> Result<(), Failure> {
    let count = if is_quick { 4 } else { 50 };
    let settled = Duration::from_secs(if is_quick { 1 } else { 3 });
    println!("\nmemory: {count} idle processes that know each other, MB each");
    line("", ["resident", "proportional", "own", "in 1 GiB"].map(String::from));
    row("an actor that waits", hosts(count, settled)?);
    match tool()? {
        Some(tool) => {
            row("meshsim node", nodes(&tool, count, settled)?);
            println!("{} takes {:.1} MB on disk", tool.display(), fs::metadata(&tool)?.len() as f64 / 1e6);
        }
        None => println!("meshsim node: not measured; `cargo build --release` makes it"),
    }
    println!("in 1 GiB: by what each has for itself; the kernel's part (sockets, page tables) is not in it");
    Ok(())
}

fn row(name: &str, usage: Usage) {
    let [resident, proportional, own] =
        [usage.resident, usage.proportional, usage.own].map(|bytes| format!("{:.2}", bytes / 1e6));
    line(name, [resident, proportional, own, format!("{:.0}", usage.fit())]);
}

/// Members of a cluster, this program again.
fn hosts(count: u32, settled: Duration) -> Result<Usage, Failure> {
    let plan = Plan::idle(count);
    let (_hub, port) = Process::listen(&WHOLE, &plan)?;
    let members = (0..count).map(|_| Process::dial(&WHOLE, &plan, port)).collect::<Result<Vec<_>, _>>()?;
    settle(settled);
    Usage::mean(&members.iter().map(Process::id).collect::<Vec<_>>())
}

/// The tool, if it was built with this program's profile.
fn tool() -> Result<Option<PathBuf>, Failure> {
    let program = std::env::current_exe()?;
    let tool = program.parent().and_then(Path::parent).map(|folder| folder.join("meshsim"));
    Ok(tool.filter(|tool| tool.exists()))
}

/// Nodes that host nothing, of a run that ends by itself soon, whatever becomes of this process.
fn nodes(tool: &Path, count: u32, settled: Duration) -> Result<Usage, Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mesh.yaml");
    let experiment = format!(
        "name: idle\nduration: 20s\nnodes: [ {{ name: node, count: {count}, cores: 1 }} ]\n\
         services: {{ only: {{ endpoints: {{ get: {{ script: [ work: 1ms ] }} }} }} }}\n"
    );
    fs::write(&file, experiment)?;
    let mut coordinator = Command::new(tool);
    coordinator.arg("coordinator").arg(&file).arg("--out").arg(folder.path().join("run"));
    coordinator.args(["--listen", "127.0.0.1:0", "--no-http", "--no-progress"]).stderr(Stdio::piped());
    let mut coordinator = Ended::start(&mut coordinator)?;
    let says = coordinator.0.stderr.take().ok_or("a child without a voice")?;
    let mut said = BufReader::new(says).lines();
    let joins = loop {
        let line = said.next().ok_or("the coordinator said nothing")??;
        if let Some((_, address)) = line.split_once("join at ") {
            break address.split([',', ' ']).next().unwrap_or_default().to_owned();
        }
    };
    let node = |_| Ended::start(Command::new(tool).args(["node", "--end-with-stdin", "--join", &joins]));
    let nodes = (0..count).map(node).collect::<Result<Vec<_>, _>>()?;
    settle(settled);
    Usage::mean(&nodes.iter().map(|node| node.0.id()).collect::<Vec<_>>())
}

/// A process that is ended when it is of no use any more.
struct Ended(Child);

impl Ended {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        Ok(Ended(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "no actor waits: the processes are to come to rest")]
fn settle(time: Duration) {
    std::thread::sleep(time);
}
