//! Parallel runs on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Interval at which the caller decides whether to continue.
const TICK: Duration = Duration::from_millis(100);

/// Number of threads that the machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Request to end early; long work checks it now and then.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// True once the end was requested.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Requests the end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Requests the end when it is dropped, so that the running jobs also stop when a callback panics.
struct StopAtEnd<'a>(&'a Stop);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// Largest number of threads for each core: more would only wait for each other.
const THREADS_A_CORE_MAX: usize = 4;

/// Does all jobs on `threads` threads, at least one and at most four for each core. It starts no more jobs at once than
/// there are threads.
///
/// `each` gets the results on the caller's thread, in the order in which jobs end, and returns whether to continue; so
/// does `tick`, ten times a second. When one of them returns no, running jobs are asked to [stop](Stop), and their
/// results are dropped. A panic of `each` or `tick` is the caller's, when the running jobs have stopped.
pub fn run<J: Send, T: Send>(
    jobs: impl Iterator<Item = J> + Send,
    threads: usize,
    work: impl Fn(&J, &Stop) -> T + Sync,
    mut each: impl FnMut(J, T) -> bool,
    mut tick: impl FnMut() -> bool,
) {
    let threads = threads.clamp(1, THREADS_A_CORE_MAX * cores());
    let (jobs, stop) = (Mutex::new(jobs), Stop::default());
    let (sender, receiver) = sync_channel(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, jobs, work, stop) = (sender.clone(), &jobs, &work, &stop);
            scope.spawn(move || {
                while !stop.is_asked() {
                    // A thread that panicked took its job along: the scope reports it.
                    let job = jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
                    let Some(job) = job else { break };
                    let done = work(&job, stop);
                    if sender.send((job, done)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // This closure owns the receiver. When a callback panics, the receiver is dropped, and every thread that waits
        // to send a result goes on.
        let (receiver, _stop) = (receiver, StopAtEnd(&stop));
        loop {
            let goes_on = match receiver.recv_timeout(TICK) {
                Ok(_) if stop.is_asked() => true,
                Ok((job, done)) => each(job, done),
                Err(RecvTimeoutError::Timeout) => tick(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if !goes_on {
                stop.ask();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7] {
            let mut done = Vec::new();
            let each = |job: u32, square| {
                done.push((job, square));
                true
            };
            run(0..100_u32, threads, |job, _| job * job, each, || true);
            done.sort_unstable();
            assert_eq!(done, (0..100).map(|job| (job, job * job)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_stop_ends_the_results_and_reaches_running_jobs() {
        let mut seen = 0;
        let each = |_, ()| {
            seen += 1;
            seen < 3
        };
        let work = |job: &u64, stop: &Stop| {
            // Without a request to stop, the fourth and all later jobs would never end.
            while *job >= 3 && !stop.is_asked() {
                std::thread::yield_now();
            }
        };
        run(0..u64::MAX, 2, work, each, || true);
        assert_eq!(seen, 3);
    }

    #[test]
    fn a_panic_of_a_callback_stops_the_jobs_and_goes_on_to_the_caller() {
        let work = |job: &u64, stop: &Stop| {
            while *job >= 3 && !stop.is_asked() {
                std::thread::yield_now();
            }
        };
        let each = |_, ()| -> bool { panic!("as asked") };
        let ended = std::panic::catch_unwind(|| run(0..u64::MAX, 2, work, each, || true));
        assert_eq!(ended.unwrap_err().downcast_ref(), Some(&"as asked"));
    }

    #[test]
    fn a_tick_can_stop_too() {
        let wait = |_: &u32, stop: &Stop| {
            while !stop.is_asked() {
                std::thread::yield_now();
            }
        };
        run(0..10, 2, wait, |_, ()| true, || false);
    }
}
