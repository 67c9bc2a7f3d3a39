//! The trace of one process: a file that is removed when it is sent to the hub, or with the process.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use meshsim_actor::{ActorId, EntryRef, Recorder, Span, Time};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_net::TraceSink;
use meshsim_trace::{Header, WriteError, Writer};

/// Longest time that a chunk of a trace that others may follow spans.
const CHUNK_SPAN: Span = Span::from_secs(1);

struct FileSink {
    writer: Writer<File>,
    _name: Option<Name>,
}

/// Name of a file; dropped, it removes the file.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens the trace: in this directory, or without a name in the system's directory for temporary files.
pub(super) fn begin(header: &Header, folder: Option<&Path>) -> io::Result<impl TraceSink<Msg, Tick> + use<>> {
    let Some(folder) = folder else {
        return Ok(FileSink { writer: Writer::new(tempfile::tempfile()?, header), _name: None });
    };
    /// Several members of a run may be threads of one process.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    fs::create_dir_all(folder)?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{}-{number}.bin", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    Ok(FileSink { writer: Writer::new(file, header).closing_every(CHUNK_SPAN), _name: Some(Name(path)) })
}

impl Recorder<Msg, Tick> for FileSink {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        self.writer.record(at, actor, what);
    }
}

impl TraceSink<Msg, Tick> for FileSink {
    fn finish(self: Box<Self>) -> io::Result<Box<dyn Read>> {
        let mut file = self.writer.finish().map_err(|error| match error {
            WriteError::Io(error) => error,
            WriteError::Message(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        file.rewind()?;
        Ok(Box::new(file))
    }
}
