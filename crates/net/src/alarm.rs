//! An alarm clock that rings within microseconds.
//!
//! tokio's own timers tick in milliseconds, and a request of a mesh crosses a dozen links of a quarter of one.

#[cfg(target_os = "linux")]
pub(crate) use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// Rings once, at the moment that was set last. timerfd(2).
    #[derive(Debug)]
    pub(crate) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        /// Needs a tokio runtime around it.
        pub(crate) fn new() -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "sound for an OwnedFd, which keeps its descriptor open as long as it is registered"
            )]
            let registered = AsyncFd::with_interest(fd, Interest::READABLE)?;
            Ok(Alarm(registered))
        }

        /// Sets it to so many nanoseconds from now.
        pub(crate) fn set(&self, nanos: u64) {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            // Nothing at all would switch it off.
            let nanos = nanos.max(1);
            let value = Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 };
            let spec = Itimerspec { it_interval: zero, it_value: value };
            if let Err(error) = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec) {
                unreachable!("the alarm's time is valid: {error}");
            }
        }

        /// Waits until it rings.
        pub(crate) async fn rings(&self) {
            loop {
                let Ok(mut guard) = self.0.readable().await else { return std::future::pending().await };
                let mut count = [0; 8];
                match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut count)?)) {
                    Ok(_) => return,
                    Err(_not_yet) => {}
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::cell::Cell;
    use std::io;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::sleep;

    /// Rings once, at the moment that was set last, to the millisecond.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        nanos: Cell<u64>,
        was_set: Notify,
    }

    impl Alarm {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Alarm { nanos: Cell::new(u64::MAX), was_set: Notify::new() })
        }

        pub(crate) fn set(&self, nanos: u64) {
            self.nanos.set(nanos);
            self.was_set.notify_one();
        }

        pub(crate) async fn rings(&self) {
            loop {
                // Set again while it slept: sleeps anew.
                let sleep = sleep(Duration::from_nanos(self.nanos.get().min(1 << 55)));
                tokio::select! {
                    () = sleep => return self.nanos.set(u64::MAX),
                    () = self.was_set.notified() => {}
                }
            }
        }
    }
}
