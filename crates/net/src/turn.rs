//! Scheduling between the tasks of a process.

use std::future::poll_fn;
use std::mem;
use std::task::Poll;

/// Lets all other runnable tasks run. tokio's own `yield_now` also polls sockets and timers, which is a system call;
/// this function leaves that to the time when no task can run, or many have.
pub(crate) async fn after_others() {
    let mut is_back = false;
    poll_fn(|cx| {
        if mem::replace(&mut is_back, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
