//! Live runs: the experiment's actors in processes connected by TCP, in real time.
//!
//! [`live`] runs an experiment from start to end. A [`Live`] separates the phases: it is opened, code that inspects and
//! controls the run takes its [`Handle`], and then it runs. The gateway works this way. Both need the system of
//! [`block_on`]. [`join`] is the other side: a process that is a member of a run.

mod answers;
mod board;
mod deployment;
mod handle;
mod member;
mod performed;
mod run_spec;
mod secret;
mod stand;
mod trace_parts;
mod trace_sink;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use meshsim_actor::Time;
use meshsim_experiment::Experiment;
use meshsim_fault::NetworkError;
use meshsim_mesh::MeshActor;
use meshsim_net::{Hub, HubError, HubOptions};
pub use meshsim_net::{HubJournal, remove_journal};

use crate::observer::Observer;
use crate::outcome::Outcome;

pub use answers::{AskCounts, BUCKETS_MS};
pub use deployment::{Deployment, Part, parts};
pub use handle::{Handle, Refused, Submitted};
pub use member::{JoinError, Member, join};
pub use performed::Performed;
pub use secret::{SECRET_BYTES_MAX, read_or_make_secret, read_secret};
pub use stand::Stand;
pub use trace_parts::{LiveTrace, TraceError};

/// Reason why there was no live run.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The network of the experiment is invalid. That of an experiment from a file is always valid.
    #[error("the network of the experiment cannot be built")]
    Network(#[from] NetworkError),
    /// The address at which members join cannot be opened.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system provides no timer, thread or file.
    #[error("cannot host: {0}")]
    Host(#[source] io::Error),
    /// The experiment cannot be encoded for the other processes.
    #[error("the experiment cannot be sent: {0}")]
    Payload(#[source] serde_json::Error),
    /// The run was stopped before all needed processes had joined.
    #[error(transparent)]
    Stopped(#[from] HubError),
}

/// Runs a future to its end in this thread, inside the system that live runs need.
pub fn block_on<F: Future>(future: F) -> F::Output {
    meshsim_net::block_on(future)
}

/// Runs an experiment live, to its end or until the observer stops it: [`Live::open`] and [`Live::perform`] in one.
///
/// # Errors
/// See [`LiveError`].
pub fn live(
    experiment: &Experiment,
    deployment: Deployment,
    observer: &mut impl Observer,
) -> Result<Outcome, LiveError> {
    block_on(async {
        let live = Live::open(experiment, deployment)?;
        Ok(live.perform(observer).await?.outcome)
    })
}

/// A live run that members can join, and that has not begun. It stays in the thread that opened it.
pub struct Live {
    hub: Hub<MeshActor>,
    handle: Handle,
    trace: Option<LiveTrace>,
    until_stopped: bool,
    members: deployment::Threads,
}

impl Live {
    /// Opens a run, in a system of [`block_on`]: members can join from now on. The members that the deployment runs in
    /// threads of this program are starting.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn open(experiment: &Experiment, deployment: Deployment) -> Result<Self, LiveError> {
        let Deployment { listen, credentials, work, until_stopped, is_traced, trace_parts, threads, journal } =
            deployment;
        let (experiment, mesh) = (Arc::new(experiment.clone()), Arc::new(run_spec::live_mesh(experiment)));
        let end = Time::ZERO + experiment.duration;
        let trace = is_traced.then(|| LiveTrace::new(crate::trace_header(&experiment, &mesh)));
        let board = Arc::new(board::Board::new(mesh.clone()));
        let answers = Arc::<answers::PendingRequests>::default();
        let options = HubOptions {
            listener: opened(listen).map_err(|error| LiveError::Listen(listen, error))?,
            credentials: credentials.clone(),
            work,
            is_traced,
            end: if until_stopped { Time::NEVER } else { end },
            here: run_spec::here(&mesh),
            payload: run_spec::encode_experiment(&experiment).map_err(LiveError::Payload)?,
            answers: {
                let answers = answers.clone();
                Box::new(move |envelope| answers.take(envelope.msg))
            },
            traces: {
                let trace = trace.clone();
                Box::new(move |process, bytes| trace.as_ref().map_or(Ok(()), |trace| trace.append(process, bytes)))
            },
            news: {
                let board = board.clone();
                Box::new(move |news| board.take(news))
            },
            journal,
        };
        let hub = Hub::open(options, run_spec::run_spec(&experiment, trace_parts.clone())?).map_err(LiveError::Host)?;
        let members =
            deployment::Threads::start(&experiment, threads, hub.address(), &credentials, trace_parts.as_deref());
        let members = members.map_err(LiveError::Host)?;
        let handle = Handle::new(experiment, hub.handle(), answers, board);
        Ok(Live { hub, handle, trace, until_stopped, members })
    }

    /// Address at which members join.
    pub fn address(&self) -> SocketAddr {
        self.hub.address()
    }

    /// Handle to inspect and control the run, from any thread.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until all needed members have joined, runs the experiment, and combines the measurements. The observer
    /// gets the status ten times a second, and may stop the run.
    ///
    /// # Errors
    /// [`LiveError::Stopped`], if it is stopped before it has begun.
    pub async fn perform(self, observer: &mut impl Observer) -> Result<Performed, LiveError> {
        let Live { hub, handle, trace, until_stopped, members } = self;
        let watch = |status: &_| observer.stands(&Stand { status, handle: &handle }).is_break();
        let performance = hub.perform(watch).await;
        // Replies that are still pending will not come.
        handle.close();
        let performance = performance?;
        members.finish();
        Ok(Performed::new(handle.experiment(), performance, trace, until_stopped))
    }
}

/// Opens a port, inside a system.
fn opened(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
