//! Commands to a hub, from any thread.

use meshsim_actor::{Actor, ActorId, Cell, Time};
use meshsim_fault::Fault;
use tokio::sync::{mpsc, oneshot};

use crate::cell_actor::InspectFn;
use crate::cluster::ClusterStatus;
use crate::run_spec::Live;

/// Commands that may wait; the next one is refused.
const COMMANDS_MAX: usize = 4096;

/// Sends commands to a hub, from any thread.
pub struct Handle<A: Actor>(mpsc::Sender<Command<A>>);

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Handle(self.0.clone())
    }
}

impl<A: Actor> std::fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle(..)")
    }
}

/// A command of another thread.
pub(crate) enum Command<A: Actor> {
    Send(ActorId, A::Msg),
    Inspect(ActorId, InspectFn<A>),
    Fault(Box<Fault>, oneshot::Sender<Result<(), String>>),
    EndFault(usize, Time, oneshot::Sender<Result<(), String>>),
    Status(oneshot::Sender<ClusterStatus>),
    Stop,
}

impl<A: Live> Handle<A> {
    /// A handle, and the commands that are given through it and its copies.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command<A>>) {
        let (orders, commands) = mpsc::channel(COMMANDS_MAX);
        (Handle(orders), commands)
    }

    fn order(&self, command: Command<A>) -> Result<(), &'static str> {
        self.0.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "too much is asked at once: try again in a moment",
            mpsc::error::TrySendError::Closed(_) => "the run is over",
        })
    }

    /// Sends a message to an actor of the hub's process, as the external client.
    ///
    /// # Errors
    /// If too many commands are pending, or the run has ended.
    pub fn send(&self, to: ActorId, msg: A::Msg) -> Result<(), &'static str> {
        self.order(Command::Send(to, msg))
    }

    /// Inspects an actor of the hub's process between two of its steps.
    ///
    /// # Errors
    /// Like [`send`](Self::send); also if the actor is not hosted there.
    pub async fn inspect<R: Send + 'static>(
        &self,
        actor: ActorId,
        look: impl FnOnce(&Cell<A>) -> R + Send + 'static,
    ) -> Result<R, &'static str> {
        let (say, heard) = oneshot::channel();
        self.order(Command::Inspect(
            actor,
            Box::new(move |cell| {
                let _ = say.send(look(cell));
            }),
        ))?;
        heard.await.map_err(|_| "it is not hosted in the coordinator's process")
    }

    /// Adds a fault in all processes.
    ///
    /// # Errors
    /// If its parameters are invalid, too many commands are pending, or the run has ended.
    pub async fn fault(&self, fault: Fault) -> Result<(), String> {
        let (say, heard) = oneshot::channel();
        self.order(Command::Fault(Box::new(fault), say))?;
        heard.await.unwrap_or_else(|_| Err("the run is over".into()))
    }

    /// Ends a fault in all processes. The index counts the faults of the experiment first, then the submitted ones.
    ///
    /// # Errors
    /// If there is no such fault, too many commands are pending, or the run has ended.
    pub async fn end_fault(&self, index: usize, at: Time) -> Result<(), String> {
        let (say, heard) = oneshot::channel();
        self.order(Command::EndFault(index, at, say))?;
        heard.await.unwrap_or_else(|_| Err("the run is over".into()))
    }

    /// Status of the cluster.
    ///
    /// # Errors
    /// If too many commands are pending, or the run has ended.
    pub async fn status(&self) -> Result<ClusterStatus, &'static str> {
        let (say, heard) = oneshot::channel();
        self.order(Command::Status(say))?;
        heard.await.map_err(|_| "the run is over")
    }

    /// Ends the run.
    ///
    /// # Errors
    /// Like [`send`](Self::send).
    pub fn stop(&self) -> Result<(), &'static str> {
        self.order(Command::Stop)
    }
}
