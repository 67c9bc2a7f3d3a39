//! A process, or a thread, that takes part in a live run.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use meshsim_experiment::Experiment;
use meshsim_net::{Credentials, Join, Leaving, MemberError, MemberOptions};

use super::cast::{cast, read_charter};
use super::opened;

/// How a member takes part.
#[derive(Debug)]
pub struct Member {
    /// Where it joins, as `host:port`.
    pub hub: String,
    /// The cluster's.
    pub credentials: Credentials,
    /// What it wants to host.
    pub join: Join,
    /// Where other members bring messages; port 0 is any that is free.
    pub listen: SocketAddr,
    /// How long the hub may be out of reach.
    pub patience: Duration,
    /// How it is told to leave before the run is over.
    pub leaving: Option<Leaving>,
    /// It takes part only in a run of this experiment.
    pub expected: Option<Experiment>,
}

/// Why a member did not take part to the end.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Others cannot bring messages there.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The run did not let it in, or it lost the run.
    #[error(transparent)]
    Member(#[from] MemberError),
}

/// Joins a run, and stays until it is over. Needs the system of [`block_on`](super::block_on).
///
/// # Errors
/// See [`JoinError`].
pub async fn join(member: Member) -> Result<(), JoinError> {
    let Member { hub, credentials, join, listen, patience, leaving, expected } = member;
    let listener = opened(listen).map_err(|error| JoinError::Listen(listen, error))?;
    let prepare = |charter: &[u8]| {
        let experiment = read_charter(charter)?;
        if let Some(expected) = &expected
            && (&expected.text, &expected.files) != (&experiment.text, &experiment.files)
        {
            return Err(format!("it runs {:?}, which is not what the given file says", experiment.name));
        }
        cast(&experiment).map_err(|error| error.to_string())
    };
    let options = MemberOptions { hub, credentials, join, listener, patience, leaving };
    Ok(meshsim_net::join(options, prepare).await?)
}
