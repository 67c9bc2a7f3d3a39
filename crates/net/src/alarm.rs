//! A timer that is accurate to microseconds.
//!
//! tokio's own timers have a resolution of milliseconds; a request of a mesh crosses a dozen links of a quarter of a
//! millisecond each.

use meshsim_actor::Time;

#[cfg(target_os = "linux")]
pub(crate) use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::Alarm;

/// Time at which the alarm was to ring.
type Rang = Time;

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::task::Poll;

    use meshsim_actor::Time;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::Rang;

    /// Timers of an alarm. With only one, each message that is due within a fraction of a millisecond would set the
    /// timer twice: for itself, and back to the work that ends in milliseconds.
    const BELLS: usize = 4;

    /// Rings at each time that was set, or more often. See timerfd(2).
    #[derive(Debug)]
    pub(crate) struct Alarm([Bell; BELLS]);

    #[derive(Debug)]
    struct Bell {
        fd: AsyncFd<OwnedFd>,
        /// Time at which it rings; never, if it is not set.
        at: Cell<Time>,
    }

    impl Alarm {
        /// Needs a tokio runtime around it.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Alarm([Bell::new()?, Bell::new()?, Bell::new()?, Bell::new()?]))
        }

        /// The first time at which it rings.
        pub(crate) fn at(&self) -> Time {
            self.0.iter().map(|bell| bell.at.get()).min().unwrap_or(Time::NEVER)
        }

        /// Sets the alarm to this time, which is `nanos` nanoseconds from now and before all other times that are set.
        /// Drops the latest of those if all timers are in use.
        pub(crate) fn set(&self, at: Time, nanos: u64) {
            if let Some(bell) = self.0.iter().max_by_key(|bell| bell.at.get()) {
                bell.set(at, nanos);
            }
        }

        /// Waits until the alarm rings. The expiration count of a timer is never read: the timer is registered as
        /// edge-triggered, so each ring wakes the task once, and setting the timer resets its count.
        pub(crate) async fn rings(&self) -> Rang {
            poll_fn(|cx| {
                let mut rang: Option<Time> = None;
                for bell in &self.0 {
                    while let Poll::Ready(Ok(mut guard)) = bell.fd.poll_read_ready(cx) {
                        guard.clear_ready();
                        let at = bell.at.replace(Time::NEVER);
                        rang = Some(rang.map_or(at, |earlier| earlier.min(at)));
                    }
                }
                rang.map_or(Poll::Pending, Poll::Ready)
            })
            .await
        }
    }

    impl Bell {
        fn new() -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "sound for an OwnedFd, which keeps its descriptor open as long as it is registered"
            )]
            let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
            Ok(Bell { fd, at: Cell::new(Time::NEVER) })
        }

        fn set(&self, at: Time, nanos: u64) {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            // Zero would disarm the timer.
            let nanos = nanos.max(1);
            let value = Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 };
            let spec = Itimerspec { it_interval: zero, it_value: value };
            if let Err(error) = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &spec) {
                unreachable!("the alarm's time is valid: {error}");
            }
            self.at.set(at);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::cell::Cell;
    use std::io;
    use std::time::Duration;

    use meshsim_actor::Time;
    use tokio::sync::Notify;
    use tokio::time::{Instant, sleep_until};

    use super::Rang;

    /// Rings once, at the time that was set last, to the millisecond.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        at: Cell<Time>,
        deadline: Cell<Option<Instant>>,
        was_set: Notify,
    }

    impl Alarm {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Alarm { at: Cell::new(Time::NEVER), deadline: Cell::new(None), was_set: Notify::new() })
        }

        pub(crate) fn at(&self) -> Time {
            self.at.get()
        }

        pub(crate) fn set(&self, at: Time, nanos: u64) {
            self.at.set(at);
            self.deadline.set(Instant::now().checked_add(Duration::from_nanos(nanos)));
            self.was_set.notify_one();
        }

        pub(crate) async fn rings(&self) -> Rang {
            loop {
                let Some(deadline) = self.deadline.get() else {
                    self.was_set.notified().await;
                    continue;
                };
                // Set again during the sleep: start a new sleep.
                tokio::select! {
                    () = sleep_until(deadline) => {
                        self.deadline.set(None);
                        return self.at.replace(Time::NEVER);
                    }
                    () = self.was_set.notified() => {}
                }
            }
        }
    }
}
