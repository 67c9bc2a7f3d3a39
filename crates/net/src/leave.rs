//! A process that leaves a run which goes on: its actors leave first, then it hands in what they found.

use std::time::Duration;

use meshsim_actor::{Actor, Span};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::cast::Live;
use crate::host::Host;

/// How often the actors are asked whether they have left.
const STEP: Duration = Duration::from_millis(10);
/// How long after their grace actors are waited for that have not left: their machines are down, or stand still.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the last messages to other processes may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How an actor is made to leave.
#[derive(Debug)]
pub struct Leave<A: Actor> {
    /// The message from outside that asks it to leave, and to have left within this span.
    pub ask: fn(Span) -> A::Msg,
    /// True once it has left: nothing depends on it any more.
    pub has_left: fn(&A) -> bool,
}

impl<A: Actor> Clone for Leave<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Actor> Copy for Leave<A> {}

/// How a process is told to leave.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// True from the moment on at which it is to.
    pub asked: watch::Receiver<bool>,
    /// How long its actors may take.
    pub grace: Duration,
}

/// Waits until the process is asked to leave; for ever, if nobody can.
pub(crate) async fn asked(leaving: Option<&Leaving>) {
    if let Some(leaving) = leaving
        && leaving.asked.clone().wait_for(|asked| *asked).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// True if the process was asked to leave.
pub(crate) fn is_asked(leaving: Option<&Leaving>) -> bool {
    leaving.is_some_and(|leaving| *leaving.asked.borrow())
}

impl<A: Live> Host<A> {
    /// Lets its actors leave, and ends with them. False if there is nothing to leave: the run has not begun, or its
    /// actors cannot.
    pub(crate) async fn leave(&self, grace: Duration) -> bool {
        let Some(Leave { ask, has_left }) = self.cast.leave else { return false };
        if !self.shell.clock.knows_zero() {
            return false;
        }
        tracing::info!("leaves, within {} s", grace.as_secs());
        let grace_of_actors = Span::from_nanos(u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX / 4));
        self.actors().into_iter().for_each(|actor| self.shell.inject(actor, ask(grace_of_actors)));
        let all_left = async {
            for actor in self.actors() {
                while self.look(actor, move |cell| has_left(cell.actor())).await == Some(false) {
                    sleep(STEP).await;
                }
            }
        };
        if timeout(grace.saturating_add(MARGIN), all_left).await.is_err() {
            tracing::warn!("some actors have not left in {} s, and are cut off", grace.as_secs());
        }
        self.end_at(self.now());
        // What they said last is on its way before anybody notices that they are gone.
        let _ = timeout(LAST_WORDS, self.written()).await;
        true
    }
}
