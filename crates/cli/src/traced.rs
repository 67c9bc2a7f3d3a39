//! The trace of a run while it is written into the run's folder.

use std::fs::File;
use std::io::Seek;

use meshsim_run::{ChooseError, Keep, Tracer, choose};
use meshsim_trace::Header;

use crate::error::Error;
use crate::folder::RunDir;
use crate::output::TRACE;

/// Begins it. What is chosen from it at the end of the run goes first to a file without a name.
pub(crate) fn begin(folder: &RunDir, header: &Header, keep: Keep) -> Result<Tracer<File>, Error> {
    let file = if keep.is_known_late() { folder.nameless(TRACE)? } else { folder.begin(TRACE)? };
    Ok(Tracer::new(file, header, keep))
}

/// Ends it.
pub(crate) fn finish(tracer: Tracer<File>, folder: &RunDir) -> Result<(), Error> {
    let path = || folder.path().join(TRACE);
    let (mut whole, choice) = tracer.finish().map_err(|error| Error::WriteTrace(path(), error))?;
    let Some(choice) = choice else { return Ok(()) };
    whole.rewind().map_err(|error| Error::Write(path(), error))?;
    choose(whole, choice, folder.begin(TRACE)?).map(drop).map_err(|error| match error {
        ChooseError::Read(error) => Error::Trace(path(), error),
        ChooseError::Write(error) => Error::WriteTrace(path(), error),
    })
}
