//! The trace of one process: an unnamed file until it is sent to the hub.

use std::fs::File;
use std::io::{self, Read, Seek};

use meshsim_actor::{ActorId, EntryRef, Recorder, Time};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_net::TraceSink;
use meshsim_trace::{Header, WriteError, Writer};

struct FileTape(Writer<File>);

/// Opens the trace, in the system's folder for temporary files; it is removed with the process.
pub(super) fn begin(header: &Header) -> io::Result<impl TraceSink<Msg, Tick> + use<>> {
    Ok(FileTape(Writer::new(tempfile::tempfile()?, header)))
}

impl Recorder<Msg, Tick> for FileTape {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        self.0.record(at, actor, what);
    }
}

impl TraceSink<Msg, Tick> for FileTape {
    fn finish(self: Box<Self>) -> io::Result<Box<dyn Read>> {
        let mut file = self.0.finish().map_err(|error| match error {
            WriteError::Io(error) => error,
            WriteError::Message(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        file.rewind()?;
        Ok(Box::new(file))
    }
}
