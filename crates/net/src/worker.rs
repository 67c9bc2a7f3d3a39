//! Work that is real: burnt processor time, on threads of its own so that the actors stay responsive.

use std::io;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use meshsim_actor::{ActorId, Span, Timer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Most pieces of work that wait. One beyond it takes its time without burning it, and a warning says so: the actors'
/// own queues are far shorter.
const WAITING_MAX: usize = 1 << 16;

/// How a service's work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// A timer: any number of instances work side by side, as machines that are not there would.
    #[default]
    Sleep,
    /// Burnt processor time, on as many threads as this machine has cores: work waits for a core.
    Busy,
}

impl FromStr for Work {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sleep" => Ok(Work::Sleep),
            "busy" => Ok(Work::Busy),
            _ => Err("write `sleep` (work is a timer) or `busy` (work burns processor time)".into()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Job {
    actor: ActorId,
    timer: Timer,
    span: Span,
}

/// Threads that burn time. They end with this.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: SyncSender<Job>,
}

/// Whose work is done.
pub(crate) type Done = UnboundedReceiver<(ActorId, Timer)>;

impl Worker {
    pub(crate) fn start(threads: usize) -> io::Result<(Self, Done)> {
        let (jobs, todo) = sync_channel(WAITING_MAX);
        // No more than there are jobs: its bound is theirs.
        let (say, done) = unbounded_channel();
        let todo = Arc::new(Mutex::new(todo));
        for n in 0..threads.max(1) {
            let (todo, say) = (todo.clone(), say.clone());
            thread::Builder::new().name(format!("work-{n}")).spawn(move || burn_all(&todo, &say))?;
        }
        Ok((Worker { jobs }, done))
    }

    /// False if too much waits already.
    pub(crate) fn work(&self, actor: ActorId, timer: Timer, span: Span) -> bool {
        self.jobs.try_send(Job { actor, timer, span }).is_ok()
    }
}

fn burn_all(todo: &Mutex<Receiver<Job>>, say: &UnboundedSender<(ActorId, Timer)>) {
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { actor, timer, span }) = job else { return };
        burn(span);
        if say.send((actor, timer)).is_err() {
            return;
        }
    }
}

/// Burns this much of this thread's own processor time: what others take of the core does not count.
fn burn(span: Span) {
    let end = spent() + span.nanos();
    let mut x = span.nanos() | 1;
    while spent() < end {
        // A microsecond or so between two looks at the clock.
        for _ in 0..300 {
            x = std::hint::black_box(x.wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(17));
        }
    }
}

/// Processor time of this thread, in nanoseconds.
fn spent() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::{Actor, Cell, Cx, Effect, Event, Input, Message, Rng, Time};

    #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
    struct Nothing;
    impl Message for Nothing {
        fn kind(&self) -> &'static str {
            "nothing"
        }
    }
    #[derive(Debug)]
    struct Works;
    impl Actor for Works {
        type Msg = Nothing;
        type Tick = ();
        fn on(&mut self, _: Event<Nothing, ()>, cx: &mut Cx<'_, Nothing, ()>) {
            cx.work(Span::from_millis(20), ());
        }
    }

    #[test]
    fn work_burns_at_least_as_much_processor_time_as_it_says() {
        let mut out = vec![];
        Cell::new(ActorId(3), Works, Rng::stream(1, "x")).step(Time::ZERO, Input::Start, &mut out, &mut ());
        let [Effect::Work { timer, span, .. }] = out[..] else { panic!("{out:?}") };
        let before = spent();
        burn(span);
        assert!(spent() - before >= span.nanos());
        let (worker, mut done) = Worker::start(1).unwrap();
        assert!(worker.work(ActorId(3), timer, span));
        assert_eq!(done.blocking_recv(), Some((ActorId(3), timer)));
    }

    #[test]
    fn the_two_ways_to_work_have_names_and_nothing_else_has() {
        assert_eq!(("sleep".parse(), "busy".parse()), (Ok(Work::Sleep), Ok(Work::Busy)));
        assert!("lazy".parse::<Work>().is_err());
    }
}
