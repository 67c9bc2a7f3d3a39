//! The two processes of a measurement, and the measurements of each.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::Instant;

use crate::plan::{Plan, WAYS, Way};

/// Errors of a benchmark are only reported.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// First argument of a process that this program starts: itself again, as one side of a measurement.
pub(crate) const CHILD: &str = "--child";

/// Measures the time of one side.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    processor_ns: u64,
}

/// Measurements of one side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// True if it sent the messages, false if it received them.
    pub(crate) is_sender: bool,
    pub(crate) messages: u64,
    pub(crate) secs: f64,
    /// Processor time of the process.
    pub(crate) processor_secs: f64,
    /// From a burst to its acknowledgement.
    pub(crate) trip_p50_us: f64,
    pub(crate) trip_p99_us: f64,
}

impl Meter {
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    pub(crate) fn start() -> Self {
        Meter { began: Instant::now(), processor_ns: processor_ns() }
    }

    /// Nanoseconds since the start.
    pub(crate) fn nanos(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    pub(crate) fn received(&self, messages: u64) -> Report {
        let processor_secs = (processor_ns() - self.processor_ns) as f64 / 1e9;
        Report { messages, secs: self.began.elapsed().as_secs_f64(), processor_secs, ..Report::default() }
    }

    /// Report of a sender, with the time from each burst to its acknowledgement, in nanoseconds.
    pub(crate) fn sent(&self, messages: u64, mut trips: Vec<u64>) -> Report {
        let report = self.received(messages);
        trips.sort_unstable();
        let quantile = |share: f64| {
            let place = ((trips.len() as f64 * share).ceil() as usize).saturating_sub(1);
            trips.get(place).map_or(0.0, |nanos| *nanos as f64 / 1e3)
        };
        Report { is_sender: true, trip_p50_us: quantile(0.5), trip_p99_us: quantile(0.99), ..report }
    }
}

/// Processor time of all threads of this process.
fn processor_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { is_sender, messages, secs, processor_secs, trip_p50_us, trip_p99_us } = self;
        write!(f, "{is_sender} {messages} {secs} {processor_secs} {trip_p50_us} {trip_p99_us}")
    }
}

impl FromStr for Report {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [is_sender, messages, secs, processor_secs, trip_p50_us, trip_p99_us] = words[..] else {
            return Err(format!("no report: {text:?}").into());
        };
        Ok(Report {
            is_sender: is_sender.parse()?,
            messages: messages.parse()?,
            secs: secs.parse()?,
            processor_secs: processor_secs.parse()?,
            trip_p50_us: trip_p50_us.parse()?,
            trip_p99_us: trip_p99_us.parse()?,
        })
    }
}

/// A child process. Its input is a pipe whose other end this process holds, so it ends when this process ends.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts the listening side; returns it with its port.
    pub(crate) fn listen(way: &Way, plan: &Plan) -> Result<(Self, u16), Failure> {
        let mut process = Self::start(&[way.name, &plan.write()])?;
        let port = process.line()?.parse()?;
        Ok((process, port))
    }

    /// Starts the side that connects to that port.
    pub(crate) fn dial(way: &Way, plan: &Plan, port: u16) -> Result<Self, Failure> {
        Self::start(&[way.name, &plan.write(), &port.to_string()])
    }

    fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(CHILD).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("a child without an output")?;
        Ok(Process { child, output: BufReader::new(output) })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a process ended without a word".into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn report(&mut self) -> Result<Report, Failure> {
        self.line()?.parse()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Main function of a process that was started with these arguments.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(1);
    });
    match play(arguments) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &[String]) -> Result<Report, Failure> {
    let [way, plan, port @ ..] = arguments else { return Err("a child needs a way and a plan".into()) };
    let way = WAYS.iter().find(|it| it.name == way).ok_or("no such way")?;
    let plan = plan.parse()?;
    match port {
        [] => (way.listen)(&plan),
        [port, ..] => (way.dial)(&plan, port.parse()?),
    }
}

/// Announces the port of this side.
pub(crate) fn announce(port: u16) {
    println!("{port}");
}

/// Announces, in measurements of memory, that all processes have started.
pub(crate) fn announce_begun() {
    println!("begun");
}
