//! Memory of idle processes, and the number of them that fit in 1 GiB.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::plan::{Plan, WHOLE};
use crate::process::{Failure, Process};
use crate::table::line;

const GIB: f64 = (1 << 30) as f64;
/// Accepted relative distance from 1 GiB, and the number of attempts to reach it.
const NEAR: f64 = 0.03;
const ROUNDS: usize = 3;

/// Memory of a process, in bytes: the mean of several processes.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// Resident set size.
    resident: f64,
    /// Proportional set size: shared pages count in proportion, so the sum over all processes is their memory.
    proportional: f64,
    /// Private memory.
    own: f64,
}

impl Usage {
    /// As Linux reports it.
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
}

/// A number of processes, and the mean usage of each.
type Sized = (u32, Usage);

/// Number of processes that fit in 1 GiB. Shared memory exists once. The private memory of each grows with the number
/// of processes that it knows, and in a cluster all know each other: `shared + n (alone + n each) = 1 GiB`.
fn fit((few, small): Sized, (many, large): Sized) -> u32 {
    let each = ((large.own - small.own) / (f64::from(many) - f64::from(few))).max(0.0);
    let alone = large.own - each * f64::from(many);
    let room = GIB - (large.resident - large.own);
    // The root of the quadratic equation, in the form that holds for `each = 0` too.
    (2.0 * room / (alone + (alone * alone + 4.0 * each * room).sqrt())) as u32
}

/// Starts this many idle processes, and measures them when they are idle.
type Start<'a> = &'a dyn Fn(u32) -> Result<Usage, Failure>;

pub(crate) fn print(is_quick: bool) -> Result<(), Failure> {
    let settled = Duration::from_secs(if is_quick { 1 } else { 3 });
    println!("\nmemory: idle processes that know each other, MB each");
    line("", ["processes", "resident", "proportional", "own", "all"].map(String::from));
    rows("an actor that waits", &|count| hosts(count, settled), is_quick)?;
    match tool()? {
        Some(tool) => {
            rows("meshsim node", &|count| nodes(&tool, count, settled), is_quick)?;
            println!("{} takes {:.1} MB on disk", tool.display(), fs::metadata(&tool)?.len() as f64 / 1e6);
        }
        None => println!("meshsim node: not measured; `cargo build --release` makes it"),
    }
    println!("last row of each: as many as fit in 1 GiB; the kernel's part (sockets, page tables) is not in it");
    Ok(())
}

/// A few, many, and then the number that should fit in 1 GiB according to these two, until a measurement confirms the
/// number.
fn rows(name: &str, start: Start<'_>, is_quick: bool) -> Result<(), Failure> {
    let row = |count| {
        let usage = start(count)?;
        let Usage { resident, proportional, own } = usage;
        let all = proportional * f64::from(count);
        let megabytes = [resident, proportional, own, all].map(|bytes| format!("{:.2}", bytes / 1e6));
        let [resident, proportional, own, total] = megabytes;
        line(name, [count.to_string(), resident, proportional, own, total]);
        Ok::<(Sized, f64), Failure>(((count, usage), all))
    };
    let (few, many) = if is_quick { (2, 4) } else { (10, 50) };
    let (mut smaller, (mut larger, mut all)) = (row(few)?.0, row(many)?);
    let mut rounds = if is_quick { 0 } else { ROUNDS };
    while rounds > 0 && (all / GIB - 1.0).abs() > NEAR {
        (smaller, (larger, all)) = (larger, row(fit(smaller, larger))?);
        rounds -= 1;
    }
    Ok(())
}

/// Members of a cluster, each another process of this program.
fn hosts(count: u32, settled: Duration) -> Result<Usage, Failure> {
    let plan = Plan::idle(count);
    let (mut hub, port) = Process::listen(&WHOLE, &plan)?;
    let members = (0..count).map(|_| Process::dial(&WHOLE, &plan, port)).collect::<Result<Vec<_>, _>>()?;
    hub.line()?;
    settle(settled);
    Usage::mean(&members.iter().map(Process::id).collect::<Vec<_>>())
}

/// The tool, if it was built with this program's profile.
fn tool() -> Result<Option<PathBuf>, Failure> {
    let program = std::env::current_exe()?;
    let tool = program.parent().and_then(Path::parent).map(|folder| folder.join("meshsim"));
    Ok(tool.filter(|tool| tool.exists()))
}

/// Nodes without instances, in a run that ends by itself soon, also if this process ends first.
fn nodes(tool: &Path, count: u32, settled: Duration) -> Result<Usage, Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mesh.yaml");
    let experiment = format!(
        "name: idle\nduration: 120s\nnodes: [ {{ name: node, count: {count}, cores: 1 }} ]\n\
         services: {{ only: {{ endpoints: {{ get: {{ script: [ work: 1ms ] }} }} }} }}\n"
    );
    fs::write(&file, experiment)?;
    let mut coordinator = Command::new(tool);
    coordinator.arg("coordinator").arg(&file).arg("--out").arg(folder.path().join("run"));
    coordinator.args(["--listen", "127.0.0.1:0", "--no-http", "--no-progress"]).stderr(Stdio::piped());
    let mut coordinator = Ended::start(&mut coordinator)?;
    let says = coordinator.0.stderr.take().ok_or("a child without a voice")?;
    let mut said = BufReader::new(says).lines();
    let mut until = |what: &str| -> Result<String, Failure> {
        loop {
            let line = said.next().ok_or("the coordinator said too little")??;
            if let Some((_, rest)) = line.split_once(what) {
                return Ok(rest.split([',', ' ']).next().unwrap_or_default().to_owned());
            }
        }
    };
    let joins = until("join at ")?;
    let node = |_| Ended::start(Command::new(tool).args(["node", "--end-with-stdin", "--join", &joins]));
    let nodes = (0..count).map(node).collect::<Result<Vec<_>, _>>()?;
    until("all have joined")?;
    settle(settled);
    Usage::mean(&nodes.iter().map(|node| node.0.id()).collect::<Vec<_>>())
}

/// A process that is killed when this value is dropped.
struct Ended(Child);

impl Ended {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        Ok(Ended(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "no actor waits: the processes are to come to rest")]
fn settle(time: Duration) {
    std::thread::sleep(time);
}
