//! Reasons why a trace cannot be read.

use std::fmt;
use std::io;

use meshsim_actor::Time;

use crate::format::VERSION;

/// Reason why a trace cannot be read, or not further.
#[derive(Debug)]
pub struct ReadError {
    /// Bytes of the file that were read correctly.
    pub offset: u64,
    /// Number of records that were read.
    pub records: u64,
    /// Time of the last of them.
    pub at: Option<Time>,
    /// The error.
    pub trouble: ReadErrorKind,
}

/// Error in a trace.
#[derive(Debug)]
pub enum ReadErrorKind {
    /// The file could not be read.
    Io(io::Error),
    /// The file is not a trace.
    NotATrace,
    /// A format version that this program does not support.
    Version(u64),
    /// The file is truncated: the run was killed, or the disk was full.
    CutOff,
    /// Bytes that no writer produces.
    Corrupt(&'static str),
    /// A message, tick or other value that does not have the expected type.
    Value(meshsim_wire::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadError { offset, records, at, trouble } = self;
        let until = at.map_or_else(String::new, |at| format!(", at {:.3} s", at.secs()));
        let plural = if *records == 1 { "" } else { "s" };
        let place = format_args!("after {records} record{plural}{until} (byte {offset})");
        match trouble {
            ReadErrorKind::Io(error) => write!(f, "{error}"),
            ReadErrorKind::NotATrace => f.write_str("not a trace: it does not begin as one"),
            ReadErrorKind::Version(version) => {
                write!(f, "a trace of format {version}; this program reads format {VERSION}: make it again")
            }
            ReadErrorKind::CutOff => write!(f, "cut off {place}"),
            ReadErrorKind::Corrupt(what) => write!(f, "corrupt {place}: {what}"),
            ReadErrorKind::Value(error) => write!(f, "corrupt {place}: a value {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.trouble {
            ReadErrorKind::Io(error) => Some(error),
            ReadErrorKind::Value(error) => Some(error),
            _ => None,
        }
    }
}

impl From<meshsim_wire::Error> for ReadErrorKind {
    fn from(error: meshsim_wire::Error) -> Self {
        ReadErrorKind::Value(error)
    }
}
