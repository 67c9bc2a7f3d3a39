//! What the processes wrote down, until it is one trace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::rc::Rc;

use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::{Header, ReadError, Reader, Trouble, Writer, merge};

use crate::ending::TRACE;
use crate::error::Error;
use crate::folder::Folder;

/// A nameless file for each process.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts(Rc<RefCell<BTreeMap<u32, File>>>);

impl Parts {
    /// Takes in the next bytes of a process.
    pub(super) fn append(&self, process: u32, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let file = match files.entry(process) {
            std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(tempfile::tempfile()?),
        };
        file.write_all(bytes)
    }

    /// Puts them together as the trace of the run in `folder`.
    pub(super) fn merge_into(&self, header: &Header, folder: &Folder) -> Result<(), Error> {
        let merged = self.merged(header, folder);
        merged.inspect_err(|_| folder.discard(TRACE))
    }

    fn merged(&self, header: &Header, folder: &Folder) -> Result<(), Error> {
        let (file, path) = (folder.begin(TRACE)?, folder.path().join(TRACE));
        let unreadable = |error| Error::Trace(path.clone(), error);
        let mut readers: Vec<Reader<_, Msg, Tick>> = Vec::new();
        for (_, mut part) in self.0.take() {
            part.rewind().map_err(|error| Error::Write(path.clone(), error))?;
            match Reader::new(part) {
                Ok(reader) => readers.push(reader),
                // Its process was killed when it had hardly begun to hand it in.
                Err(ReadError { trouble: Trouble::CutOff, .. }) => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        let mut writer = Writer::new(file, header);
        merge(readers, &mut writer).map_err(unreadable)?;
        writer.finish().map(drop).map_err(|error| Error::WriteTrace(path, error))
    }
}
