//! The traces of the processes, before they are merged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::rc::Rc;

use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::{Header, ReadError, ReadErrorKind, Reader, WriteError, merge};

use crate::{ChooseError, Keep, Tracer, choose};

/// The traces of the processes of a live run: an unnamed file for each, which is removed with this process.
#[derive(Clone, Debug)]
pub struct LiveTrace {
    header: Header,
    parts: Rc<RefCell<BTreeMap<u32, File>>>,
    /// Error in the collection.
    error: Option<String>,
}

/// Reason why a live run has no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A process could not send its part.
    #[error("{0}")]
    HandedIn(String),
    /// A part cannot be read.
    #[error("a process's part of the trace cannot be read")]
    Read(#[from] ReadError),
    /// A part cannot be rewound.
    #[error("a process's part of the trace cannot be read")]
    Rewind(#[source] io::Error),
    /// The trace cannot be written.
    #[error("the trace cannot be written")]
    Write(#[from] WriteError),
}

impl LiveTrace {
    pub(super) fn new(header: Header) -> Self {
        LiveTrace { header, parts: Rc::default(), error: None }
    }

    /// Appends the next bytes of a process.
    pub(super) fn append(&self, process: u32, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.parts.borrow_mut();
        let file = match files.entry(process) {
            std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(tempfile::tempfile()?),
        };
        file.write_all(bytes)
    }

    /// Ends the collection, with its error if there was one.
    pub(super) fn handed_in(self, error: Option<String>) -> Self {
        LiveTrace { error, ..self }
    }

    /// Merges the parts into one trace, in the usual format, and keeps this much of it.
    ///
    /// # Errors
    /// See [`TraceError`]. The output is then not a complete trace.
    pub fn write(self, keep: Keep, out: impl Write) -> Result<(), TraceError> {
        if let Some(error) = self.error {
            return Err(TraceError::HandedIn(error));
        }
        let mut readers: Vec<Reader<_, Msg, Tick>> = Vec::new();
        for (_, mut part) in self.parts.take() {
            part.rewind().map_err(TraceError::Rewind)?;
            match Reader::new(part) {
                Ok(reader) => readers.push(reader),
                // Its process was killed when it had barely begun to send it.
                Err(ReadError { trouble: ReadErrorKind::CutOff, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !keep.is_known_late() {
            let mut tracer = Tracer::new(out, &self.header, keep);
            merge(readers, |record| tracer.put(record))?;
            return Ok(tracer.finish().map(drop)?);
        }
        let whole = tempfile::tempfile().map_err(WriteError::Io)?;
        let mut tracer = Tracer::new(whole, &self.header, keep);
        merge(readers, |record| tracer.put(record))?;
        if let (mut whole, Some(choice)) = tracer.finish()? {
            whole.rewind().map_err(TraceError::Rewind)?;
            choose(whole, choice, out).map_err(|error| match error {
                ChooseError::Read(error) => TraceError::Read(error),
                ChooseError::Write(error) => TraceError::Write(error),
            })?;
        }
        Ok(())
    }
}
