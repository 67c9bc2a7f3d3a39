//! A process that leaves while the run continues: its actors leave first, then it sends their results.

use std::time::Duration;

use meshsim_actor::{Actor, Span};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::host::Host;
use crate::run_spec::Live;

/// Interval at which the process checks whether its actors have left.
const STEP: Duration = Duration::from_millis(10);
/// Time beyond the grace period to wait for actors that have not left because their machines are down or paused.
const MARGIN: Duration = Duration::from_secs(1);
/// Limit for writing the last messages to other processes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The way in which an actor leaves.
#[derive(Debug)]
pub struct Leave<A: Actor> {
    /// The message of the external client that asks the actor to leave within this span.
    pub ask: fn(Span) -> A::Msg,
    /// True once the actor has left: nothing depends on it any more.
    pub has_left: fn(&A) -> bool,
}

impl<A: Actor> Clone for Leave<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Actor> Copy for Leave<A> {}

/// The request to a process to leave.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Becomes true when the process is to leave.
    pub asked: watch::Receiver<bool>,
    /// Limit for its actors to leave.
    pub grace: Duration,
}

/// Waits until the process is asked to leave; indefinitely, if there is no such request.
pub(crate) async fn asked(leaving: Option<&Leaving>) {
    if let Some(leaving) = leaving
        && leaving.asked.clone().wait_for(|asked| *asked).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl<A: Live> Host<A> {
    /// Makes the actors of the process leave, and stops them. Returns false if there is nothing to leave: the run has
    /// not begun, or the actors cannot leave.
    pub(crate) async fn leave(&self, grace: Duration) -> bool {
        let Some(Leave { ask, has_left }) = self.run_spec.leave else { return false };
        if !self.shell.clock.knows_zero() {
            return false;
        }
        tracing::info!("leaves, within {} s", grace.as_secs());
        let grace_of_actors = Span::from_nanos(u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX / 4));
        self.actors().into_iter().for_each(|actor| self.shell.inject(actor, ask(grace_of_actors)));
        let all_left = async {
            for actor in self.actors() {
                while self.inspect(actor, move |cell| has_left(cell.actor())).await == Some(false) {
                    sleep(STEP).await;
                }
            }
        };
        if timeout(grace.saturating_add(MARGIN), all_left).await.is_err() {
            tracing::warn!("some actors have not left in {} s, and are cut off", grace.as_secs());
        }
        self.end_at(self.now());
        // Their last messages are written before other processes notice that they are gone.
        let _ = timeout(LAST_WORDS, self.written()).await;
        true
    }
}
