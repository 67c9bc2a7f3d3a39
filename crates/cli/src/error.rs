//! Results of a command: exit codes and errors.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use meshsim_experiment::Problems;
use miette::Diagnostic;
use thiserror::Error;

/// Exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Success,
    /// It could not be done.
    Failed,
    /// It was done, and found that a run differs from its expectation.
    Diverged,
    /// The input is invalid. clap uses the same number.
    WrongInput,
    /// It was done, and an SLO does not hold.
    SloFailed,
    /// It was done, and the verdict on an SLO, or on a run, is unknown.
    Unknown,
    /// It was asked to end before it was done, and its results until then are kept or shown.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failed | Exit::Diverged => 1,
            Exit::WrongInput => 2,
            Exit::Unknown => 98,
            Exit::SloFailed => 99,
            Exit::Interrupted => crate::interrupt::EXIT,
        })
    }
}

/// Reason why a command failed.
#[derive(Debug, Diagnostic, Error)]
pub(crate) enum Error {
    /// Shown with their places in the file.
    #[error("{0}")]
    Problems(Problems),
    #[error("{0}")]
    #[diagnostic(help("{1}"))]
    WrongInput(String, String),
    /// Shown with its place in the option.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Filter(Box<crate::flow::select::Wrong>),
    #[error("cannot read {0}")]
    #[diagnostic(help(
        "give the folder of a run, as in `meshsim trace runs/hotel-1`, or a file that `run --trace` wrote"
    ))]
    ReadTrace(PathBuf, #[source] io::Error),
    #[error("cannot read {0} as a trace")]
    Trace(PathBuf, #[source] meshsim_trace::ReadError),
    #[error("cannot write {0}")]
    #[diagnostic(help("no partial file remains; use `--out DIR` to write elsewhere"))]
    Write(PathBuf, #[source] io::Error),
    #[error("cannot write the trace {0}")]
    WriteTrace(PathBuf, #[source] meshsim_trace::WriteError),
    #[error("cannot write to the terminal or pipe")]
    Print(#[source] io::Error),
    #[error("cannot build the network of the experiment")]
    Network(#[source] meshsim_fault::NetworkError),
    /// A study of many runs.
    #[error("{0}")]
    Study(String),
    /// A live run, or this process's part in one.
    #[error("{0}")]
    Live(String),
    /// The gateway of a run did not fulfil the request, or does not exist.
    #[error("{0}")]
    #[diagnostic(help("{1}"))]
    Gateway(String, String),
    #[error("cannot handle Ctrl-C")]
    Interrupt(#[source] ctrlc::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Error::Problems(_) | Error::WrongInput(..) | Error::Filter(_) | Error::ReadTrace(..) | Error::Trace(..) => {
                Exit::WrongInput
            }
            Error::Write(..)
            | Error::WriteTrace(..)
            | Error::Print(_)
            | Error::Network(_)
            | Error::Live(_)
            | Error::Study(_)
            | Error::Gateway(..)
            | Error::Interrupt(_) => Exit::Failed,
        }
    }
}
