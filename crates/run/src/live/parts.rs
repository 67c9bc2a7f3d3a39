//! What the processes wrote down, until it is one trace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::rc::Rc;

use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::{Header, ReadError, Reader, Trouble, WriteError, Writer, merge};

/// What the processes of a live run wrote down: a nameless file for each of them, which is gone with this process.
#[derive(Clone, Debug)]
pub struct LiveTrace {
    header: Header,
    parts: Rc<RefCell<BTreeMap<u32, File>>>,
    /// What went wrong while it was handed in.
    error: Option<String>,
}

/// Why a live run has no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A process could not hand in its part.
    #[error("{0}")]
    HandedIn(String),
    /// A part cannot be read.
    #[error("a process's part of the trace cannot be read")]
    Read(#[from] ReadError),
    /// A part cannot be gone through.
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

    /// Takes in the next bytes of a process.
    pub(super) fn append(&self, process: u32, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.parts.borrow_mut();
        let file = match files.entry(process) {
            std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(tempfile::tempfile()?),
        };
        file.write_all(bytes)
    }

    /// All that comes has come; with what went wrong on the way.
    pub(super) fn handed_in(self, error: Option<String>) -> Self {
        LiveTrace { error, ..self }
    }

    /// Puts the parts together as one trace, in the format of every trace.
    ///
    /// # Errors
    /// See [`TraceError`]. What was written until then is no trace.
    pub fn write(self, out: impl Write) -> Result<(), TraceError> {
        if let Some(error) = self.error {
            return Err(TraceError::HandedIn(error));
        }
        let mut readers: Vec<Reader<_, Msg, Tick>> = Vec::new();
        for (_, mut part) in self.parts.take() {
            part.rewind().map_err(TraceError::Rewind)?;
            match Reader::new(part) {
                Ok(reader) => readers.push(reader),
                // Its process was killed when it had hardly begun to hand it in.
                Err(ReadError { trouble: Trouble::CutOff, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut writer = Writer::new(out, &self.header);
        merge(readers, &mut writer)?;
        writer.finish().map(drop)?;
        Ok(())
    }
}
