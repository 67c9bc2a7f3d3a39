//! Processes, and threads, that are members of a live run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use meshsim_experiment::Experiment;
use meshsim_net::{Credentials, Join, Leaving, MemberError, MemberOptions, remove_journal};

use super::opened;
use super::run_spec::{decode_experiment, run_spec};

/// Options of a member.
#[derive(Debug)]
pub struct Member {
    /// Address of the hub, as `host:port`.
    pub hub: String,
    /// Credentials of the cluster.
    pub credentials: Credentials,
    /// Its join request.
    pub join: Join,
    /// Address at which other members connect; port 0 is any free one.
    pub listen: SocketAddr,
    /// Time for which it tries to reach the hub.
    pub patience: Duration,
    /// Request to leave before the end of the run.
    pub leaving: Option<Leaving>,
    /// If set, it takes part only in a run of this experiment.
    pub expected: Option<Experiment>,
    /// Directory for its part of the trace: see [`Deployment::trace_parts`](super::Deployment::trace_parts).
    pub trace_parts: Option<PathBuf>,
    /// Directory of its journal: see [`MemberOptions::journal`].
    pub journal: Option<PathBuf>,
}

/// Reason why a member did not stay to the end.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The listening socket cannot be opened.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The run refused it, or the connection was lost.
    #[error(transparent)]
    Member(#[from] MemberError),
}

/// Joins a run, and stays until its end. Needs the system of [`block_on`](super::block_on).
///
/// # Errors
/// See [`JoinError`].
pub async fn join(member: Member) -> Result<(), JoinError> {
    let Member { hub, credentials, join, listen, patience, leaving, expected, trace_parts, journal } = member;
    let listener = opened(listen).map_err(|error| JoinError::Listen(listen, error))?;
    let prepare = |payload: &[u8]| {
        let experiment = decode_experiment(payload)?;
        if let Some(expected) = &expected
            && (&expected.text, &expected.files) != (&experiment.text, &experiment.files)
        {
            return Err(format!("it runs {:?}, which is not what the given file says", experiment.name));
        }
        run_spec(&experiment, trace_parts.clone()).map_err(|error| error.to_string())
    };
    let path = journal.clone();
    let options = MemberOptions { hub, credentials, join, listener, patience, leaving, journal };
    meshsim_net::join(options, prepare).await?;
    path.iter().for_each(|path| remove_journal(path));
    Ok(())
}
