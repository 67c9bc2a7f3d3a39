//! Replies of the mesh to external clients, passed from the run's thread to the waiting threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshsim_actor::Span;
use meshsim_mesh::gateway::ASKS_MAX;
use meshsim_mesh::measure::{Failure, Failures};
use meshsim_mesh::message::{Answer, Msg, Operated};
use tokio::sync::oneshot;

use super::handle::Refused;

/// Upper bounds of the buckets of latencies, in milliseconds.
pub const BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// The pending replies.
#[derive(Debug, Default)]
pub(super) struct PendingRequests(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    asks: BTreeMap<u64, oneshot::Sender<Answer>>,
    operations: BTreeMap<u64, oneshot::Sender<Operated>>,
    is_closed: bool,
    counts: AskCounts,
}

/// Counters of all requests of external clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskCounts {
    /// Successful requests.
    pub done: u64,
    /// Failed requests, by reason.
    pub failed: Failures,
    /// Latencies of the successful requests, each counted in the first of [`BUCKETS_MS`] that is not below it.
    pub buckets: [u64; BUCKETS_MS.len()],
    /// Sum of these latencies.
    pub latency_sum: Span,
    /// Requests in flight.
    pub in_flight: u64,
}

impl AskCounts {
    fn count(&mut self, answer: &Answer) {
        let latency = answer.ended.since(answer.asked);
        match answer.failure {
            Some(failure) => self.failed.count(failure),
            None => {
                self.done += 1;
                self.latency_sum += latency;
                let bucket = BUCKETS_MS.iter().position(|bound| latency <= Span::from_millis(*bound));
                bucket.into_iter().for_each(|at| self.buckets[at] += 1);
            }
        }
    }

    /// All results with their counts.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let failed = Failure::ALL.map(|failure| (failure.as_str(), self.failed.of(failure)));
        std::iter::once(("done", self.done)).chain(failed)
    }
}

impl Waiting {
    /// Assigns a number to a pending reply.
    fn number(&mut self) -> Result<u64, Refused> {
        if self.is_closed {
            return Err(Refused::OVER);
        }
        self.next += 1;
        Ok(self.next)
    }
}

impl PendingRequests {
    /// Also after a panic of a thread that held it: the state is valid after each statement.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processes a message of the mesh.
    pub(super) fn take(&self, msg: Msg) {
        let mut waiting = self.lock();
        match msg {
            Msg::ExternalReply(answer) => {
                waiting.counts.count(&answer);
                if let Some(waits) = waiting.asks.remove(&answer.ask) {
                    let _ = waits.send(*answer);
                }
            }
            Msg::Operated(operated) => {
                if let Some(waits) = waiting.operations.remove(&operated.ask) {
                    let _ = waits.send(operated);
                }
            }
            _ => {}
        }
    }

    /// Expects the reply to a request.
    pub(super) fn expect_answer(self: &Arc<Self>) -> Result<PendingReply<Answer>, Refused> {
        let mut waiting = self.lock();
        let number = waiting.number()?;
        if waiting.asks.len() >= ASKS_MAX {
            return Err(Refused::TooManyRequests);
        }
        let (say, heard) = oneshot::channel();
        waiting.asks.insert(number, say);
        Ok(PendingReply { number, heard, answers: self.clone() })
    }

    /// Expects the reply to an operation.
    pub(super) fn expect_operation(self: &Arc<Self>) -> Result<PendingReply<Operated>, Refused> {
        let mut waiting = self.lock();
        let number = waiting.number()?;
        let (say, heard) = oneshot::channel();
        waiting.operations.insert(number, say);
        Ok(PendingReply { number, heard, answers: self.clone() })
    }

    /// Counters of all requests so far.
    pub(super) fn counts(&self) -> AskCounts {
        let waiting = self.lock();
        AskCounts { in_flight: waiting.asks.len() as u64, ..waiting.counts }
    }

    /// The run has ended: no further replies come.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.asks.clear();
        waiting.operations.clear();
    }
}

/// A pending reply. Dropping it cancels the wait.
#[derive(Debug)]
pub(super) struct PendingReply<T> {
    number: u64,
    heard: oneshot::Receiver<T>,
    answers: Arc<PendingRequests>,
}

impl<T> PendingReply<T> {
    /// Number of the reply.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the reply. `None` if the run ends before.
    pub(super) async fn heard(&mut self) -> Option<T> {
        (&mut self.heard).await.ok()
    }

    /// The reply, if it has arrived.
    pub(super) fn heard_already(&mut self) -> Option<T> {
        self.heard.try_recv().ok()
    }
}

impl<T> Drop for PendingReply<T> {
    fn drop(&mut self) {
        let mut waiting = self.answers.lock();
        waiting.asks.remove(&self.number);
        waiting.operations.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Time;

    use super::*;

    fn answer(ask: u64, failure: Option<Failure>, ms: u64) -> Msg {
        let ended = Time::ZERO + Span::from_millis(ms);
        let (asked, path) = (Time::ZERO, Default::default());
        let answer = Answer { ask, failure, degraded: false, retries: 0, bytes: 0, asked, ended, path };
        Msg::ExternalReply(Box::new(answer))
    }

    #[test]
    fn each_hears_its_own_answer_and_all_are_counted() {
        let answers = Arc::<PendingRequests>::default();
        let (mut first, mut second) = (answers.expect_answer().unwrap(), answers.expect_answer().unwrap());
        answers.take(answer(second.number, Some(Failure::Lost), 5));
        answers.take(answer(first.number, None, 7));
        answers.take(answer(99, None, 60_000));
        assert_eq!(first.heard_already().unwrap().failure, None);
        assert_eq!(second.heard_already().unwrap().failure, Some(Failure::Lost));
        let counts = answers.counts();
        assert_eq!((counts.done, counts.failed.of(Failure::Lost), counts.in_flight), (2, 1, 0));
        assert_eq!((counts.buckets[3], counts.buckets.iter().sum::<u64>()), (1, 1));
    }

    #[test]
    fn each_operation_is_answered_by_its_number_whatever_the_order() {
        let answers = Arc::<PendingRequests>::default();
        let (mut first, mut second) = (answers.expect_operation().unwrap(), answers.expect_operation().unwrap());
        let operated = |ask, history| Msg::Operated(Operated { ask, history, is_refused: false });
        answers.take(operated(second.number(), Some(4)));
        assert!(first.heard_already().is_none());
        answers.take(operated(first.number(), Some(5)));
        let heard = |expected: &mut PendingReply<Operated>| expected.heard_already().unwrap().history;
        assert_eq!((heard(&mut first), heard(&mut second)), (Some(5), Some(4)));
    }

    #[test]
    fn a_listener_that_left_is_not_awaited_and_none_is_after_the_end() {
        let answers = Arc::<PendingRequests>::default();
        drop(answers.expect_answer());
        let mut left = answers.expect_answer().unwrap();
        assert_eq!(answers.counts().in_flight, 1);
        answers.close();
        assert!(left.heard_already().is_none());
        assert!(answers.expect_answer().is_err() && answers.expect_operation().is_err());
    }
}
