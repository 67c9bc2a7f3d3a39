//! `meshsim trace`

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::Reader;
use meshsim_trace::export::{ExportError, Format, export};

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Print what happened in a run, record by record";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim run examples/first-mesh/mesh.yaml --trace
  meshsim trace runs/first-mesh-1 | less
  meshsim trace runs/first-mesh-1 --jsonl | jq 'select(.kind == \"apply\")'";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A run made with --trace (its folder, its name under `runs`, or `last`), or a trace file; `-` is standard input
    run: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    jsonl: bool,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let (path, trace) = if self.run == Path::new("-") { standard_input()? } else { open(&self.run)? };
        let format = if self.jsonl { Format::Jsonl } else { Format::Text };
        let mut unreadable = None;
        screen.write_with(|out| match export(trace, format, out) {
            Ok(_) => Ok(()),
            Err(ExportError::Write(error)) => Err(error),
            // What comes before is good, and printed.
            Err(ExportError::Read(error)) => {
                unreadable = Some(error);
                io::Write::flush(out)
            }
        })?;
        unreadable.map_or(Ok(Exit::Well), |error| Err(Error::Trace(path, error)))
    }
}

fn standard_input() -> Result<(PathBuf, Reader<File, Msg, Tick>), Error> {
    let path = PathBuf::from("standard input");
    let file = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Error::ReadTrace(path.clone(), error))?;
    let trace = Reader::new(File::from(file)).map_err(|error| Error::Trace(path.clone(), error))?;
    Ok((path, trace))
}

/// Opens the trace of a run: of its folder, or the file itself. Says where it is.
pub(super) fn open(run: &Path) -> Result<(PathBuf, Reader<File, Msg, Tick>), Error> {
    let run = &crate::runs::find(run);
    let path = if run.is_dir() { run.join(crate::ending::TRACE) } else { run.to_owned() };
    if run.join("summary.json").exists() && !path.exists() {
        let why = format!("{} is a run without a trace", run.display());
        return Err(Error::WrongInput(why, "`meshsim run --trace` writes one".into()));
    }
    let file = File::open(&path).map_err(|error| Error::ReadTrace(path.clone(), error))?;
    let trace = Reader::new(file).map_err(|error| Error::Trace(path.clone(), error))?;
    Ok((path, trace))
}
