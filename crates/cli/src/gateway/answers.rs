//! What the mesh says to those outside, brought from the run's thread to those who wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use meshsim_actor::Span;
use meshsim_mesh::gateway::ASKS_MAX;
use meshsim_mesh::measure::{Failure, Failures};
use meshsim_mesh::message::{Answer, Msg};
use tokio::sync::oneshot;

use super::refusal::Refusal;

/// Upper bounds of the buckets of latencies, in milliseconds.
pub(super) const BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Answers {
    asks: Mutex<Asks>,
    /// Where the histories of operations by hand are, in the order in which these were sent.
    operations: Mutex<Vec<Option<u32>>>,
}

#[derive(Debug, Default)]
struct Asks {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    is_closed: bool,
    counts: AskCounts,
}

/// What became of all that was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AskCounts {
    pub(super) done: u64,
    pub(super) failed: Failures,
    /// Latencies of what was done, by the first of [`BUCKETS_MS`] that is not below.
    pub(super) buckets: [u64; BUCKETS_MS.len()],
    pub(super) latency_sum: Span,
    pub(super) under_way: u64,
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
    pub(super) fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let failed = Failure::ALL.map(|failure| (failure.as_str(), self.failed.of(failure)));
        std::iter::once(("done", self.done)).chain(failed)
    }
}

/// Also if a thread died holding it: what is kept here is right after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// Takes in what the mesh says.
    pub(super) fn take(&self, msg: Msg) {
        match msg {
            Msg::Answer(answer) => {
                let mut asks = lock(&self.asks);
                asks.counts.count(&answer);
                if let Some(waits) = asks.waiting.remove(&answer.ask) {
                    let _ = waits.send(*answer);
                }
            }
            Msg::Operating { history } => lock(&self.operations).push(history),
            _ => {}
        }
    }

    /// Somebody will ask.
    pub(super) fn expect(self: &Arc<Self>) -> Result<Expected, Refusal> {
        let mut asks = lock(&self.asks);
        if asks.is_closed {
            return Err(Refusal::over());
        }
        if asks.waiting.len() >= ASKS_MAX {
            let why = "too many requests are under way";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why).help("try again in a moment"));
        }
        let (say, heard) = oneshot::channel();
        let ask = asks.next;
        asks.next += 1;
        asks.waiting.insert(ask, say);
        Ok(Expected { ask, heard, answers: self.clone() })
    }

    /// What became of all that was asked, so far.
    pub(super) fn counts(&self) -> AskCounts {
        let asks = lock(&self.asks);
        AskCounts { under_way: asks.waiting.len() as u64, ..asks.counts }
    }

    /// What was said of operations since the last time.
    pub(super) fn take_operations(&self) -> Vec<Option<u32>> {
        std::mem::take(&mut *lock(&self.operations))
    }

    /// The run is over: there will be no more.
    pub(super) fn close(&self) {
        let mut asks = lock(&self.asks);
        asks.is_closed = true;
        asks.waiting.clear();
    }
}

/// An answer that will come. Nobody waits for it any more when this is dropped.
pub(super) struct Expected {
    /// The name of what is asked.
    pub(super) ask: u64,
    heard: oneshot::Receiver<Answer>,
    answers: Arc<Answers>,
}

impl Expected {
    /// Waits for it. `None` if the run ends before.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        (&mut self.heard).await.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.answers.asks).waiting.remove(&self.ask);
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
        Msg::Answer(Box::new(answer))
    }

    #[test]
    fn each_hears_its_own_answer_and_all_are_counted() {
        let answers = Arc::<Answers>::default();
        let (mut first, mut second) = (answers.expect().unwrap(), answers.expect().unwrap());
        answers.take(answer(second.ask, Some(Failure::Lost), 5));
        answers.take(answer(first.ask, None, 7));
        answers.take(answer(99, None, 60_000));
        assert_eq!(first.heard.try_recv().unwrap().failure, None);
        assert_eq!(second.heard.try_recv().unwrap().failure, Some(Failure::Lost));
        let counts = answers.counts();
        assert_eq!((counts.done, counts.failed.of(Failure::Lost), counts.under_way), (2, 1, 0));
        assert_eq!((counts.buckets[3], counts.buckets.iter().sum::<u64>()), (1, 1));
    }

    #[test]
    fn who_goes_away_is_not_waited_for_and_nobody_is_after_the_end() {
        let answers = Arc::<Answers>::default();
        drop(answers.expect());
        let mut left = answers.expect().unwrap();
        assert_eq!(answers.counts().under_way, 1);
        answers.close();
        assert!(left.heard.try_recv().is_err() && answers.expect().is_err());
    }
}
