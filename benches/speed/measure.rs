//! One measurement, in a separate process.

use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Instant;

use meshsim_benches::{Done, Work};

use crate::cases::{CASES, Case, Contender, Workload};

/// Options of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// A hundredth of the work on a hundredth of the actors.
    pub(crate) quick: bool,
    /// Count instructions, under valgrind; takes minutes.
    pub(crate) instructions: bool,
}

/// Results of a measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// Units of work in a second.
    pub(crate) work_per_sec: f64,
    /// Events per unit of work.
    pub(crate) events_per_work: f64,
    /// Peak memory above that of the empty process, for each actor.
    pub(crate) bytes_per_actor: f64,
    pub(crate) instructions_per_event: Option<f64>,
}

const ROUNDS: u64 = 5;

/// Runs a case with a contender; if it fails, its output is the error.
pub(crate) fn measure(
    case: &Case,
    contender: Contender,
    name: &str,
    options: Options,
) -> Result<Option<Measured>, String> {
    let size = if options.quick { (case.size / 100).max(case.size.min(11)) } else { case.size };
    if !takes_part(case, contender) {
        return Ok(None);
    }
    let work = if options.quick { case.work / 1_000 } else { case.work } / contender.share();
    let (rounds, size_work) = (if options.quick { 1 } else { ROUNDS }, format!("{size}:{work}"));
    let out = run(&mut itself(&[], case, name, &size_work, rounds)?)?;
    let numbers: Vec<f64> = out.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [secs, work, events, bytes] = numbers[..] else { return Err(format!("not four numbers: {out}")) };
    let mut measured = Measured {
        work_per_sec: work / secs,
        events_per_work: events / work,
        bytes_per_actor: bytes / f64::from(size),
        instructions_per_event: None,
    };
    // Building a million actors under valgrind takes minutes, and an event takes no more instructions with them.
    if options.instructions && work > 0.0 && case.size <= 100_000 {
        // The difference of two runs: building the workload does not count.
        let few = (case.work / 100).max(20_000) / contender.share().min(4);
        let count = |rounds| instructions(case, name, &format!("{size}:{few}"), rounds);
        measured.instructions_per_event =
            count(0).zip(count(1)).map(|((before, _), (after, events))| (after - before) / events);
    }
    Ok(Some(measured))
}

fn takes_part(case: &Case, contender: Contender) -> bool {
    match case.workload {
        Workload::Idle(_) | Workload::Nodes => contender == Contender::Meshsim,
        Workload::Jitter => matches!(contender, Contender::Meshsim | Contender::Traced),
        _ => true,
    }
}

fn itself(under: &[&str], case: &Case, contender: &str, size_work: &str, rounds: u64) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = match under {
        [] => Command::new(&program),
        [tool, options @ ..] => {
            let mut command = Command::new(tool);
            command.args(options).arg(&program);
            command
        }
    };
    command.args(["--child", case.name, contender, size_work, &rounds.to_string()]);
    Ok(command)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// Instructions and events of a run under valgrind; `None` without valgrind.
fn instructions(case: &Case, contender: &str, size_work: &str, rounds: u64) -> Option<(f64, f64)> {
    let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let output = itself(&valgrind, case, contender, size_work, rounds).ok()?.output().ok()?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = report.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()?;
    let events = String::from_utf8_lossy(&output.stdout).split_whitespace().nth(2)?.parse().ok()?;
    Some((collected, events))
}

/// Main function of the process of one measurement: prints seconds, work and events of the best round, and bytes.
pub(crate) fn child(case: &str, contender: &str, size_work: &str, rounds: &str) -> ExitCode {
    let case = CASES.iter().find(|it| it.name == case);
    let contender = Contender::ALL.iter().find(|(name, _)| *name == contender);
    let size_work =
        size_work.split_once(':').and_then(|(size, work)| Some((size.parse().ok()?, work.parse::<u64>().ok()?)));
    let (Some(case), Some((_, contender)), Some((size, work)), Ok(rounds)) =
        (case, contender, size_work, rounds.parse::<u64>())
    else {
        return ExitCode::from(2);
    };
    let before = resident_bytes();
    let Some(mut prepared) = case.prepare(*contender, size) else { return ExitCode::from(2) };
    let (mut best, mut done) = (f64::INFINITY, Done { work: 0, events: 0 });
    if work > 0 {
        // To the steady state, equally for all contenders: actors have run, lists have their length.
        prepared.run(2 * u64::from(size));
        for _ in 0..rounds {
            let (secs, this) = timed(&mut *prepared, work / rounds);
            if secs / (this.work as f64) < best {
                (best, done) = (secs / this.work as f64, this);
            }
        }
    }
    let secs = if done.work > 0 { best * done.work as f64 } else { 0.0 };
    println!("{secs} {} {} {}", done.work, done.events, resident_bytes().saturating_sub(before));
    ExitCode::SUCCESS
}

fn timed(work: &mut dyn Work, amount: u64) -> (f64, Done) {
    let begin = secs();
    let done = work.run(amount);
    (secs() - begin, done)
}

/// Processor time of this thread, in seconds, without that of other processes. All contenders use one thread. If
/// Linux's scheduler does not report it, wall time.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn secs() -> f64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split_whitespace().next()?.parse::<f64>().ok());
    nanos.map_or_else(|| BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// Peak memory of this process; 0 without /proc.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
