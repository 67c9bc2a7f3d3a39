//! A live run: the experiment's actors in processes that are connected by TCP, in the time of the clock on the wall.
//!
//! [`live`] conducts one from its beginning to its end. A run in two phases is a [`Live`]: it is opened, whoever wants
//! to look at it and to steer it takes its [`Handle`], and then it is performed. The gateway is such a one. Both need
//! the system that [`block_on`] makes. [`join`] is the other side: a process that takes part in a run.

mod answers;
mod board;
mod cast;
mod deployment;
mod handle;
mod member;
mod parts;
mod performed;
mod secret;
mod stand;
mod tape;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::NetworkError;
use meshsim_mesh::MeshActor;
use meshsim_net::{Hub, HubError, HubOptions};

use crate::observer::Observer;
use crate::outcome::Outcome;

pub use answers::{AskCounts, BUCKETS_MS};
pub use deployment::{Deployment, Part, parts};
pub use handle::{Handle, Refused, Submitted};
pub use member::{JoinError, Member, join};
pub use parts::{LiveTrace, TraceError};
pub use performed::Performed;
pub use secret::{SECRET_BYTES_MAX, read_or_make_secret, read_secret};
pub use stand::Stand;

/// Why there was no live run.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Its network means nothing. That of an experiment from a file always means something.
    #[error("the network of the experiment cannot be built")]
    Network(#[from] NetworkError),
    /// Others cannot join there.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gives no timer, thread or file.
    #[error("cannot host: {0}")]
    Host(#[source] io::Error),
    /// The experiment cannot be written down for the others.
    #[error("the experiment cannot be sent: {0}")]
    Charter(#[source] serde_json::Error),
    /// It was stopped before all had joined.
    #[error(transparent)]
    Stopped(#[from] HubError),
}

/// Runs a future to its end in this thread, in a system as live runs need one around them.
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

/// A live run that others can join, and that has not begun. It lives in the thread that opened it.
pub struct Live {
    hub: Hub<MeshActor>,
    handle: Handle,
    trace: Option<LiveTrace>,
    until_stopped: bool,
    members: deployment::Threads,
}

impl Live {
    /// Opens a run, in a system of [`block_on`]: others can join from now on. Members that the deployment has in threads
    /// of this program are on their way.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn open(experiment: &Experiment, deployment: Deployment) -> Result<Self, LiveError> {
        let Deployment { listen, credentials, work, until_stopped, is_traced, threads } = deployment;
        let (experiment, mesh) = (Arc::new(experiment.clone()), Arc::new(cast::live_mesh(experiment)));
        let end = Time::ZERO + experiment.duration;
        let trace = is_traced.then(|| LiveTrace::new(crate::trace_header(&experiment, &mesh)));
        let board = Arc::new(board::Board::new(mesh.clone()));
        let answers = Arc::<answers::Answers>::default();
        let options = HubOptions {
            listener: opened(listen).map_err(|error| LiveError::Listen(listen, error))?,
            credentials: credentials.clone(),
            work,
            is_traced,
            end: if until_stopped { Time::NEVER } else { end },
            here: vec![ActorId(0), mesh.gateway_actor()],
            charter: cast::write_charter(&experiment).map_err(LiveError::Charter)?,
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
        };
        let hub = Hub::open(options, cast::cast(&experiment)?).map_err(LiveError::Host)?;
        let members = deployment::Threads::start(&experiment, threads, hub.address(), &credentials);
        let members = members.map_err(LiveError::Host)?;
        let handle = Handle::new(experiment, hub.handle(), answers, board);
        Ok(Live { hub, handle, trace, until_stopped, members })
    }

    /// Where others join.
    pub fn address(&self) -> SocketAddr {
        self.hub.address()
    }

    /// Looks at the run and steers it, from any thread.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until all who are needed have joined, lets the run happen, and puts together what was measured. The
    /// observer is shown ten times a second how it stands, and may stop it.
    ///
    /// # Errors
    /// [`LiveError::Stopped`], if it is stopped before it has begun.
    pub async fn perform(self, observer: &mut impl Observer) -> Result<Performed, LiveError> {
        let Live { hub, handle, trace, until_stopped, members } = self;
        let watch = |snapshot: &_| observer.stands(&Stand { snapshot, handle: &handle }).is_break();
        let performance = hub.perform(watch).await;
        // Whoever still waits for an answer of the mesh waits in vain.
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
