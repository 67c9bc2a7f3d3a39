//! Reader of summary.json.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Deserializer};

use crate::summary::{FORMAT, Summary};

/// Largest summary.json that is read, in bytes. That of a thousand services takes two megabytes.
pub const SUMMARY_BYTES_MAX: u64 = 256 << 20;

/// Reason why a file is not a summary.
#[derive(Debug)]
pub enum ReadError {
    /// It cannot be read at all.
    Io(io::Error),
    /// It is larger than [`SUMMARY_BYTES_MAX`].
    TooLarge,
    /// It is another file, of another format, or damaged.
    Broken {
        /// Line, from 1; 0 if there is nothing at all.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// The problem.
        what: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => error.fmt(f),
            ReadError::TooLarge => write!(f, "it is larger than {} MiB", SUMMARY_BYTES_MAX >> 20),
            ReadError::Broken { line, column, what } => write!(f, "line {line}, column {column}: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl Summary {
    /// Reads the summary.json of a run. Unknown fields are ignored.
    ///
    /// # Errors
    /// When it cannot be read, is too large, is of another format, or is no summary.
    pub fn read(source: impl Read) -> Result<Self, ReadError> {
        let bytes = bounded(source, SUMMARY_BYTES_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
            ReadError::Broken { line, column, what: what.to_owned() }
        })
    }
}

fn bounded(source: impl Read, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    source.take(bytes_max + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > bytes_max { Err(ReadError::TooLarge) } else { Ok(bytes) }
}

/// Refuses another format at its field; otherwise the next unknown field would be reported as damage.
pub(crate) fn this_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        // Fields that an older format lacks have their defaults.
        read @ 1..=FORMAT => Ok(read),
        other => Err(serde::de::Error::custom(format!(
            "this is format {other} of a summary, and those up to {FORMAT} are read"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Measured;

    fn written() -> Vec<u8> {
        let text = "nodes: [ { name: node } ]\nservices: { a: { endpoints: { get: {} } } }\nslo: [ p99 < 1s ]\n";
        let experiment = meshsim_experiment::parse("mesh.yaml", text, Path::new(""), &[]).unwrap();
        serde_json::to_vec_pretty(&Summary::new(&experiment, &Measured::default(), true)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_written_as_the_same_bytes() {
        let read = Summary::read(&*written()).unwrap();
        assert_eq!(serde_json::to_vec_pretty(&read).unwrap(), written());
    }

    #[test]
    fn what_was_written_before_nodes_could_come_later_is_read_as_if_none_does() {
        let now = String::from_utf8(written()).unwrap();
        let before = now.replace("    \"nodes_later\": 0,\n", "");
        assert_ne!(before, now);
        let read = Summary::read(before.as_bytes()).unwrap();
        assert_eq!(serde_json::to_vec_pretty(&read).unwrap(), written());
    }

    #[test]
    fn another_format_is_refused_where_it_says_so() {
        let newer = String::from_utf8(written()).unwrap().replace("\"format\": 2", "\"format\": 3");
        let error = Summary::read(newer.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 2, column "), "{error}");
        assert!(error.ends_with(": this is format 3 of a summary, and those up to 2 are read"), "{error}");
    }

    #[test]
    fn whatever_is_damaged_is_an_error_with_its_place_or_still_a_summary() {
        let written = written();
        for end in 0..written.len() {
            assert!(matches!(Summary::read(&written[..end]), Err(ReadError::Broken { .. })), "{end}");
        }
        for at in 0..written.len() {
            for byte in [b'9', b'-', b'"', b'[', b'}', 0xff] {
                let mut damaged = written.clone();
                damaged[at] = byte;
                let _ = Summary::read(&*damaged);
            }
        }
        assert!(Summary::read("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn what_has_no_end_is_given_up() {
        assert!(matches!(bounded(io::repeat(b' '), 1_000), Err(ReadError::TooLarge)));
        assert_eq!(bounded(&[b' '; 1_000][..], 1_000).unwrap().len(), 1_000);
    }
}
