//! The specification of a run: its actors, how to create them, and the network between them.

use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Recorder, Rng, Time};
use meshsim_fault::NetworkSpec;

use crate::disks::DiskCodec;
use crate::leave::Leave;

/// An actor that can run here. actix passes messages between threads, so they must be `Send`.
pub trait Live: Actor<Msg: Send> + 'static {}

impl<A: Actor<Msg: Send> + 'static> Live for A {}

/// Everything that a process needs to host any of the actors of a run.
pub struct RunSpec<A: Actor> {
    /// The seed of the run.
    pub seed: u64,
    /// The network between the actors.
    pub network: NetworkSpec,
    /// All actors, by id.
    pub actors: Vec<ActorSpec>,
    /// Creates an actor in its initial state.
    pub actor: Rc<dyn Fn(ActorId) -> A>,
    /// Encodes the results of an actor at this time, for the hub.
    pub findings: EncodeResults<A>,
    /// Encodes the new results of an actor during the run; without it, results are sent only at the end.
    pub news: Option<TellNews<A>>,
    /// Opens the trace of this process.
    pub trace_sink: OpenSink<A::Msg, A::Tick>,
    /// Encodes the durable state of actors, for the journals of their processes; `None`: they keep none.
    pub disk: Option<DiskCodec<A>>,
    /// Id of the external client: no actor has it, but it sends messages to some actors and receives their replies.
    pub outside: Option<ActorId>,
    /// Hook by which actors leave while the run continues; without it, their process ends at once.
    pub leave: Option<Leave<A>>,
    /// Message that is sent when other processes refuse the handshake of the process that hosts this actor, and its
    /// receiver. No process can rely on such an actor.
    pub refused: Option<TellRefused<A>>,
}

/// Encodes the results of an actor at some time.
pub type EncodeResults<A> = Arc<dyn Fn(&A, Time) -> Vec<u8> + Send + Sync>;

/// Encodes the results of an actor at some time, except those that it has sent before, and returns the new state of
/// sending. `None` if there is nothing new.
pub type TellNews<A> = Arc<dyn Fn(&A, Told, Time) -> Option<(Vec<u8>, Told)> + Send + Sync>;

/// Which results an actor has already sent, as two numbers that the specification defines; zeros: none.
pub type Told = [u64; 2];

/// For an actor whose process others refuse, returns a message about it and the receiver.
pub type TellRefused<A> = fn(ActorId) -> (ActorId, <A as Actor>::Msg);

/// Opens the trace of this process.
pub type OpenSink<M, T> = Rc<dyn Fn() -> io::Result<Box<dyn TraceSink<M, T>>>>;

/// One actor, as the assignment of actors to processes sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorSpec {
    /// Name of the actor, unique in the run; also the name of its random stream.
    pub name: String,
    /// Kind of the actor: processes join with a role.
    pub role: &'static str,
    /// True if the run begins only when this actor is hosted. The others may come at any time, or not at all.
    pub needed: bool,
}

/// The trace of one process.
pub trait TraceSink<M, T>: Recorder<M, T> {
    /// Ends the trace, and returns it for reading.
    ///
    /// # Errors
    /// If it could not be written.
    fn finish(self: Box<Self>) -> io::Result<Box<dyn Read>>;
}

impl<A: Actor> RunSpec<A> {
    /// Random stream of the actor.
    pub fn rng(&self, actor: ActorId) -> Rng {
        Rng::stream(self.seed, &self.actors[actor.index()].name)
    }
}

impl<A: Actor> std::fmt::Debug for RunSpec<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunSpec").field("seed", &self.seed).field("actors", &self.actors).finish_non_exhaustive()
    }
}
