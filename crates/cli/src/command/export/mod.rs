//! `meshsim export`: a run as other programs open it.
//!
//! To add one: write `export/x.rs` with an `ABOUT`, a `HELP` that says what opens it, a struct `Args` that derives
//! `clap::Args`, and an `execute(self, &mut Screen) -> Result<Exit, Error>`; then name it in `formats!` below. One that
//! goes through the records implements [`Exporter`] and calls [`execute`]. `cli/tests/export.rs` opens each format in a
//! parser of another project.

mod chrome;
mod compose;
mod csv;
mod dot;
mod graphml;
mod jaeger;
mod jsonl;
mod kubernetes;
mod lanes;
mod mermaid;
pub(super) mod otlp;
mod parquet;
mod pcapng;
mod perfetto;
mod plantuml;
mod shiviz;
mod swarm;
mod zipkin;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use meshsim_actor::Time;
use meshsim_report::plural;

use crate::error::{Error, Exit};
use crate::flow::select::Selector;
use crate::flow::spans::Spans;
use crate::flow::{Item, Selection, Source};
use crate::folder::PendingFile;
use crate::interrupt;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Write a run for other programs: trace viewers, Wireshark, Graphviz, pandas, ..";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim export perfetto last -o run.pftrace      then open it in https://ui.perfetto.dev
  meshsim export otlp last --send http://127.0.0.1:4318
  meshsim export pcapng last --lost | tshark -r -
  meshsim export csv last --from 80s --to 90s -o records.csv
  meshsim export parquet last -o records.parquet
  meshsim export mermaid last --operation 9 >> notes.md
  meshsim export compose mesh.yaml --out mesh      an experiment as a compose file
  meshsim export swarm mesh.yaml --out mesh        an experiment as a stack for Docker Swarm
  meshsim export kubernetes mesh.yaml --out mesh   an experiment as manifests

`meshsim export FORMAT --help` says what opens it. RUN is a folder, a name under `runs`, `last`, or a trace file. A run \
without a trace is run again with one: the same experiment and seed give the same bytes. The output names
what it leaves out.";

macro_rules! formats {
    ($($variant:ident = $module:ident;)*) => {
        /// As what it is written.
        #[derive(Debug, Subcommand)]
        enum Format {
            $(
                #[command(about = $module::ABOUT, after_help = $module::HELP)]
                $variant($module::Args),
            )*
        }

        impl Format {
            fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
                match self { $(Format::$variant(args) => args.execute(screen),)* }
            }
        }
    };
}

formats! {
    Perfetto = perfetto;
    Chrome = chrome;
    Otlp = otlp;
    Jaeger = jaeger;
    Zipkin = zipkin;
    Shiviz = shiviz;
    Mermaid = mermaid;
    Plantuml = plantuml;
    Pcapng = pcapng;
    Dot = dot;
    Graphml = graphml;
    Csv = csv;
    Parquet = parquet;
    Jsonl = jsonl;
    Compose = compose;
    Swarm = swarm;
    Kubernetes = kubernetes;
}

#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "FORMAT", subcommand_help_heading = "Formats")]
pub(crate) struct Args {
    #[command(subcommand)]
    format: Format,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        self.format.execute(screen)
    }
}

/// Options that all exports of a run share.
#[derive(Debug, clap::Args)]
struct Common {
    /// A run: its folder, its name under `runs`, or `last`; or a trace file; `-` is standard input
    run: PathBuf,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    selection: Selection,
}

/// Destination of an export.
#[derive(Debug, clap::Args)]
struct Target {
    /// Write to this file, which appears when it is complete; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file of -o
    #[arg(long, requires = "out")]
    force: bool,
}

/// Start time of a run, for formats that have only absolute times.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Began {
    /// When the run began, in seconds since 1970 [default: the first moment of the year 2000]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=BEGAN_SECS_MAX))]
    began: Option<u64>,
}

/// The first moment of the year 2000: to viewers, 0 is no time.
const BEGAN_SECS: u64 = 946_684_800;
/// Nanoseconds since 1970 go twice as far.
const BEGAN_SECS_MAX: u64 = 9_000_000_000;

impl Began {
    /// Nanoseconds since 1970.
    fn nanos(self, at: Time) -> u64 {
        (self.began.unwrap_or(BEGAN_SECS) * 1_000_000_000).saturating_add(at.nanos())
    }

    /// So that a run that goes on is at this time now.
    #[expect(clippy::disallowed_methods, reason = "a collector has the time of the day")]
    fn of_run_at(at: Time) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Began { began: Some(now.saturating_sub(at.nanos() / 1_000_000_000).clamp(1, BEGAN_SECS_MAX)) }
    }

    /// So that the run ends now.
    #[expect(clippy::disallowed_methods, reason = "a person looks at it today, and viewers show what is recent")]
    fn ending_now(source: &Source) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let length = source.summary.as_ref().map_or(0.0, |summary| summary.reached_s).ceil() as u64;
        Began { began: Some(now.saturating_sub(length).clamp(1, BEGAN_SECS_MAX)) }
    }
}

/// Whether people can read it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Binary,
    /// Sent to a collector instead of written.
    Sent,
}

/// Writes a run in a format, record by record.
trait Exporter {
    /// Before the first record. `selection` is what was asked for.
    fn begin(&mut self, _selection: Option<&str>, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// The next record. Records that are not selected come too: they may hold the fate of something that is.
    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()>;

    /// True if something that is selected has not come to its end.
    fn is_waiting(&self) -> bool {
        false
    }

    /// After the last record. Gives what the export holds (`1,204 requests`), and what was left out, a sentence each.
    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told>;
}

/// The message to the person who exported: the contents, and what was left out.
#[derive(Debug, Default)]
struct Told {
    holds: String,
    left_out: Vec<String>,
}

/// Exports the selected records of a run by the exporter that `make` gives for it.
fn execute(
    common: &Common,
    form: Form,
    screen: &mut Screen,
    make: impl for<'s> FnOnce(&'s Source) -> Box<dyn Exporter + 's>,
) -> Result<Exit, Error> {
    let source = open(common, form, screen)?;
    let selector = common.selection.resolve(&source)?;
    let mut exporter = make(&source);
    let mut ended = Ended::default();
    let told = common.target.write(form, screen, |out| {
        let (how, told) = go_through(common, &source, &selector, exporter.as_mut(), out);
        ended = how;
        told
    });
    if ended.is_interrupted {
        screen.remark("interrupted: nothing was written\n");
        return Ok(Exit::Interrupted);
    }
    let told = told?;
    if let Some(path) = common.target.path() {
        screen.remark(&format!("written to {}: {}\n", path.display(), told.holds));
    }
    kept(&source).iter().for_each(|text| screen.warn(text));
    ended.tell(&told, screen)
}

/// Outcome of reading a run.
#[derive(Default)]
struct Ended {
    unreadable: Option<Error>,
    is_interrupted: bool,
}

impl Ended {
    /// Says what was left out. What comes before a place that cannot be read was good, and is exported.
    fn tell(self, told: &Told, screen: &Screen) -> Result<Exit, Error> {
        told.left_out.iter().for_each(|text| screen.warn(text));
        self.unreadable.map_or(Ok(Exit::Success), Err)
    }
}

/// Gives the exporter all records that it may need.
fn go_through(
    common: &Common,
    source: &Source,
    selector: &Selector,
    exporter: &mut dyn Exporter,
    out: &mut dyn Write,
) -> (Ended, io::Result<Told>) {
    let mut ended = Ended::default();
    let parts: Vec<String> = common.selection.described().into_iter().chain(kept(source)).collect();
    let selection = (!parts.is_empty()).then(|| parts.join("; "));
    if let Err(error) = exporter.begin(selection.as_deref(), out) {
        return (ended, Err(error));
    }
    let flow = source.flow().map_err(|error| ended.unreadable = Some(error));
    for item in flow.into_iter().flatten() {
        if interrupt::asked() {
            ended.is_interrupted = true;
            return (ended, Err(io::ErrorKind::Interrupted.into()));
        }
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                ended.unreadable = Some(Error::Trace(source.path.clone(), error));
                break;
            }
        };
        let is_over = selector.is_over(&item);
        if is_over && !exporter.is_waiting() {
            break;
        }
        let is_wanted = !is_over && selector.wants(&item, &source.names);
        if let Err(error) = exporter.record(&item, is_wanted, out) {
            return (ended, Err(error));
        }
    }
    let told = exporter.end(out);
    (ended, told)
}

/// The part of the run that the trace holds, if it does not hold all of it.
fn kept(source: &Source) -> Option<String> {
    let keep = &source.header.keep;
    (!keep.is_empty()).then(|| format!("the trace holds only what was kept: {keep}"))
}

/// The contents of an export of spans.
fn spans_told(spans: &Spans<'_>) -> Told {
    let [requests, messages] = [plural(spans.request_count, "request"), plural(spans.message_count, "control message")];
    Told { holds: format!("{requests}, {messages}"), left_out: spans.left_out() }
}

impl Target {
    /// The file, if it is not standard output.
    fn path(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Refuses, before any work, what could not be written.
    fn refuse(&self, form: Form) -> Result<(), Error> {
        match self.path() {
            Some(path) if path.exists() && !self.force => {
                let why = format!("{} is there already", path.display());
                Err(Error::WrongInput(why, "`--force` overwrites it".into()))
            }
            None if form == Form::Binary && io::stdout().is_terminal() => {
                let why = "this format is none that a terminal shows".to_owned();
                Err(Error::WrongInput(why, "write it to a file: `-o FILE`".into()))
            }
            _ => Ok(()),
        }
    }

    /// Lets it be written. A file takes its name when all of it has been written.
    fn write<T: Default>(
        &self,
        form: Form,
        screen: &mut Screen,
        write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> Result<T, Error> {
        self.refuse(form)?;
        let Some(path) = self.path() else {
            let mut result = T::default();
            screen.write_file_with(|out| {
                result = write(out)?;
                Ok(())
            })?;
            return Ok(result);
        };
        let draft = PendingFile::create(path)?;
        let cannot = |error| Error::Write(path.to_owned(), error);
        let mut out = BufWriter::with_capacity(64 << 10, draft.file().map_err(cannot)?);
        let written = write(&mut out).and_then(|result| out.flush().map(|()| result));
        // Bytes that could not be written must not be written again when the buffer is dropped.
        let _ = out.into_parts();
        let result = written.map_err(cannot)?;
        draft.publish_file()?;
        Ok(result)
    }
}

/// Writes an export that is one text.
fn whole(
    target: &Target,
    text: &str,
    told: Told,
    unreadable: Option<Error>,
    screen: &mut Screen,
) -> Result<Exit, Error> {
    target.write(Form::Text, screen, |out| out.write_all(text.as_bytes()))?;
    if let Some(path) = target.path() {
        screen.remark(&format!("written to {}: {}\n", path.display(), told.holds));
    }
    Ended { unreadable, is_interrupted: false }.tell(&told, screen)
}

/// Opens the run, when it is known that the export can be written.
fn open(common: &Common, form: Form, screen: &Screen) -> Result<Source, Error> {
    common.target.refuse(form)?;
    let source = Source::open(&common.run, screen)?;
    interrupt::catch()?;
    Ok(source)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_a_format() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/export");
        let register = include_str!("mod.rs");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            let is_shared = ["mod", "lanes"].contains(&name);
            assert!(is_shared || register.contains(&format!("= {name};")), "{name} is not in `formats!`");
        }
    }
}
