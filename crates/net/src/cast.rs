//! What is performed: which actors there are, how they are made, what lies between them.

use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Recorder, Rng, Time};
use meshsim_fault::NetworkSpec;

use crate::leave::Leave;

/// An actor that can live here: actix hands messages over between threads, so they must be able to go there.
pub trait Live: Actor<Msg: Send> + 'static {}

impl<A: Actor<Msg: Send> + 'static> Live for A {}

/// All that a process must know to host any of the actors of a run.
pub struct Cast<A: Actor> {
    /// The seed of the run.
    pub seed: u64,
    /// What lies between the actors.
    pub network: NetworkSpec,
    /// All actors, by number.
    pub seats: Vec<Seat>,
    /// Makes an actor as it is before the run.
    pub actor: Rc<dyn Fn(ActorId) -> A>,
    /// What an actor has found by this time, as bytes for the hub's process.
    pub findings: TellFindings<A>,
    /// What an actor has found since it was last asked, while the run goes on; without, nobody is told before its end.
    pub news: Option<TellNews<A>>,
    /// Begins to write down what happens in this process.
    pub tape: BeginTape<A::Msg, A::Tick>,
    /// The number of who is no actor, but sends to some and gets answers.
    pub outside: Option<ActorId>,
    /// How actors leave a run that goes on; without, their process goes at once.
    pub leave: Option<Leave<A>>,
    /// What is said from outside, and to whom, when other processes refuse the handshakes of the one that hosts this
    /// actor: nobody can count on it.
    pub refused: Option<TellRefused<A>>,
}

/// Tells what an actor has found by some time, as bytes.
pub type TellFindings<A> = Arc<dyn Fn(&A, Time) -> Vec<u8> + Send + Sync>;

/// Tells what an actor has found by some time, as bytes, beyond what it has told before; and what it has told with
/// that. `None` if it has nothing to tell.
pub type TellNews<A> = Arc<dyn Fn(&A, Told, Time) -> Option<(Vec<u8>, Told)> + Send + Sync>;

/// What an actor has told, in two numbers that its cast chooses; zeros: nothing.
pub type Told = [u64; 2];

/// Makes of an actor whose process others refuse what is said about it, and to whom.
pub type TellRefused<A> = fn(ActorId) -> (ActorId, <A as Actor>::Msg);

/// Begins a record of what happens in this process.
pub type BeginTape<M, T> = Rc<dyn Fn() -> io::Result<Box<dyn Tape<M, T>>>>;

/// One actor, as those see it who look for somebody to host it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The actor's name, unique in the run; its stream of randomness is named so too.
    pub name: String,
    /// What kind it is: processes join with a role.
    pub role: &'static str,
    /// The run begins when all that are needed are hosted; the others may come at any time, or not at all.
    pub needed: bool,
}

/// A record of what happens in one process.
pub trait Tape<M, T>: Recorder<M, T> {
    /// Ends it, and gives it back to be read.
    ///
    /// # Errors
    /// If it could not be written.
    fn finish(self: Box<Self>) -> io::Result<Box<dyn Read>>;
}

impl<A: Actor> Cast<A> {
    /// The actor's stream of randomness.
    pub fn rng(&self, actor: ActorId) -> Rng {
        Rng::stream(self.seed, &self.seats[actor.index()].name)
    }
}

impl<A: Actor> std::fmt::Debug for Cast<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cast").field("seed", &self.seed).field("seats", &self.seats).finish_non_exhaustive()
    }
}
