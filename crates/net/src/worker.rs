//! Real work: processor time, used in separate threads so that the actors stay responsive.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use meshsim_actor::{ActorId, Span, Timer};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::Count;

/// Work items that may wait. One beyond it sleeps instead of using processor time, and a warning reports it: the
/// actors' own queues are far shorter.
const WAITING_MAX: usize = 1 << 16;

/// Execution of a service's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// A timer: any number of instances work at the same time, as on machines of their own.
    #[default]
    Sleep,
    /// Processor time, on as many threads as this machine has cores: work waits for a core.
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

/// Sum of the work items of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worked {
    /// The actor.
    pub actor: ActorId,
    /// Time for which work items wanted a core, in nanoseconds, over all of them: from each request until it was done,
    /// cancelled, or read.
    pub asked_ns: u64,
    /// Processor time of these items, in nanoseconds. It equals `asked_ns` if each item has a core at once and to
    /// itself.
    pub burnt_ns: u64,
}

/// A work item: requested by the actors' thread, done by one of the others.
#[derive(Debug)]
struct Piece {
    span: Span,
    /// Time of the request, by the process's clock.
    asked_at: u64,
    /// Time of completion; 0 before.
    done_at: AtomicU64,
    /// Processor time used so far, in nanoseconds.
    burnt: AtomicU64,
    /// True if it is cancelled.
    is_off: AtomicBool,
}

impl Piece {
    /// Adds its figures at `now`.
    fn add_to(&self, sum: &mut Worked, now: u64) {
        let until = match self.done_at.load(Ordering::Acquire) {
            0 => now,
            done => done,
        };
        let asked = until.saturating_sub(self.asked_at);
        sum.asked_ns = sum.asked_ns.saturating_add(asked);
        // The two clocks may differ a little.
        sum.burnt_ns = sum.burnt_ns.saturating_add(self.burnt.load(Ordering::Relaxed).min(asked));
    }
}

struct Job {
    actor: ActorId,
    timer: Timer,
    piece: Arc<Piece>,
}

/// Threads that use processor time. They end with this value.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: SyncSender<Job>,
    count: Count,
    /// Work items that are not done.
    pieces: RefCell<BTreeMap<(ActorId, Timer), Arc<Piece>>>,
    /// Sums of the finished work items.
    sums: RefCell<BTreeMap<ActorId, Worked>>,
}

/// Receives the actor and the timer of finished work.
pub(crate) type Done = UnboundedReceiver<(ActorId, Timer)>;

impl Worker {
    pub(crate) fn start(threads: usize, count: Count) -> io::Result<(Self, Done)> {
        let (jobs, todo) = sync_channel(WAITING_MAX);
        // It holds at most one entry for each work item, so their bound is its bound.
        let (say, done) = unbounded_channel();
        let todo = Arc::new(Mutex::new(todo));
        for n in 0..threads.max(1) {
            let (todo, say) = (todo.clone(), say.clone());
            thread::Builder::new().name(format!("work-{n}")).spawn(move || burn_all(&todo, &say, count))?;
        }
        Ok((Worker { jobs, count, pieces: RefCell::default(), sums: RefCell::default() }, done))
    }

    /// Starts a work item; returns false if too many wait already.
    pub(crate) fn work(&self, actor: ActorId, timer: Timer, span: Span) -> bool {
        let piece = Arc::new(Piece {
            span,
            asked_at: self.count.own(),
            done_at: AtomicU64::new(0),
            burnt: AtomicU64::new(0),
            is_off: AtomicBool::new(false),
        });
        let is_taken = self.jobs.try_send(Job { actor, timer, piece: piece.clone() }).is_ok();
        if is_taken {
            self.pieces.borrow_mut().insert((actor, timer), piece);
        } else {
            // It sleeps: requested, without processor time.
            let mut sums = self.sums.borrow_mut();
            let sum = sums.entry(actor).or_insert(Worked { actor, asked_ns: 0, burnt_ns: 0 });
            sum.asked_ns = sum.asked_ns.saturating_add(span.nanos());
        }
        is_taken
    }

    /// Ends a work item that is done or cancelled; a cancelled one uses no more processor time.
    pub(crate) fn end(&self, actor: ActorId, timer: Timer) {
        if let Some(piece) = self.pieces.borrow_mut().remove(&(actor, timer)) {
            piece.is_off.store(true, Ordering::Relaxed);
            let mut sums = self.sums.borrow_mut();
            let sum = sums.entry(actor).or_insert(Worked { actor, asked_ns: 0, burnt_ns: 0 });
            piece.add_to(sum, self.count.own());
        }
    }

    /// Cancels all work items of an actor, whose machine went down.
    pub(crate) fn end_all(&self, actor: ActorId) {
        let timers: Vec<Timer> =
            self.pieces.borrow().keys().filter(|(of, _)| *of == actor).map(|(_, timer)| *timer).collect();
        timers.into_iter().for_each(|timer| self.end(actor, timer));
    }

    /// Work requested and done so far, by actor.
    pub(crate) fn worked(&self) -> Vec<Worked> {
        let (now, mut sums) = (self.count.own(), self.sums.borrow().clone());
        for ((actor, _), piece) in &*self.pieces.borrow() {
            piece.add_to(sums.entry(*actor).or_insert(Worked { actor: *actor, asked_ns: 0, burnt_ns: 0 }), now);
        }
        sums.into_values().collect()
    }
}

fn burn_all(todo: &Mutex<Receiver<Job>>, say: &UnboundedSender<(ActorId, Timer)>, count: Count) {
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { actor, timer, piece }) = job else { return };
        if !burn(&piece) {
            continue;
        }
        piece.done_at.store(count.own(), Ordering::Release);
        if say.send((actor, timer)).is_err() {
            return;
        }
    }
}

/// Uses as much of this thread's own processor time as the item needs; the time of other threads on the core does not
/// count. Returns false if the item was cancelled.
fn burn(piece: &Piece) -> bool {
    let began = spent();
    let mut x = piece.span.nanos() | 1;
    loop {
        if piece.is_off.load(Ordering::Relaxed) {
            return false;
        }
        let burnt = spent() - began;
        piece.burnt.store(burnt, Ordering::Relaxed);
        if burnt >= piece.span.nanos() {
            return true;
        }
        // About a microsecond between two readings of the clock.
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
    use crate::clock::Clock;
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
        type Disk = ();
        fn disk(&self) {}

        fn on(&mut self, _: Event<Nothing, ()>, cx: &mut Cx<'_, Nothing, ()>) {
            cx.work(Span::from_millis(20), ());
        }
    }

    /// A timer of an actor that works.
    fn asked() -> (Timer, Span) {
        let mut out = vec![];
        Cell::new(ActorId(3), Works, Rng::stream(1, "x")).step(Time::ZERO, Input::Start, &mut out, &mut ());
        let [Effect::Work { timer, span, .. }] = out[..] else { panic!("{out:?}") };
        (timer, span)
    }

    #[test]
    fn work_uses_at_least_its_stated_processor_time() {
        let (timer, span) = asked();
        let (worker, mut done) = Worker::start(1, Clock::start().count()).unwrap();
        assert!(worker.work(ActorId(3), timer, span));
        assert_eq!(done.blocking_recv(), Some((ActorId(3), timer)));
        worker.end(ActorId(3), timer);
        let [worked] = worker.worked()[..] else { panic!("{:?}", worker.worked()) };
        assert_eq!(worked.actor, ActorId(3));
        assert!(worked.burnt_ns >= span.nanos() && worked.asked_ns >= worked.burnt_ns, "{worked:?}");
    }

    #[test]
    fn waiting_work_is_asked_for_but_not_burnt_and_cancelled_work_stops() {
        let (timer, span) = asked();
        let (worker, mut done) = Worker::start(1, Clock::start().count()).unwrap();
        // Hours of work of another actor are cancelled; otherwise the item behind them would never be done.
        assert!(worker.work(ActorId(4), timer, Span::from_secs(36_000)));
        assert!(worker.work(ActorId(3), timer, span));
        worker.end_all(ActorId(4));
        assert_eq!(done.blocking_recv(), Some((ActorId(3), timer)));
        // One thread for many: together they get one core, and each wants one.
        for actor in (10..18).map(ActorId) {
            assert!(worker.work(actor, timer, span));
        }
        for _ in 0..8 {
            assert!(done.blocking_recv().is_some());
        }
        let all = worker.worked();
        let of = |actors: std::ops::Range<u32>| all.iter().filter(move |it| actors.contains(&it.actor.0));
        let asked: u64 = of(10..18).map(|it| it.asked_ns).sum();
        let burnt: u64 = of(10..18).map(|it| it.burnt_ns).sum();
        assert!(burnt >= 8 * span.nanos() && asked > burnt * 3, "{asked} asked, {burnt} burnt");
    }

    #[test]
    fn the_two_ways_to_work_have_names_and_nothing_else_has() {
        assert_eq!(("sleep".parse(), "busy".parse()), (Ok(Work::Sleep), Ok(Work::Busy)));
        assert!("lazy".parse::<Work>().is_err());
    }
}
