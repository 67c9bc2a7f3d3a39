use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{ActorId, Cx, Effect, Envelope, Event, Message, Reboot, Rng, Span};

const SELF: ActorId = ActorId(0);
const OTHER: ActorId = ActorId(1);

/// A message that reports this many bytes of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Load(usize);

impl Message for Load {
    fn kind(&self) -> &'static str {
        "load"
    }

    fn heap_bytes(&self) -> usize {
        self.0
    }
}

/// Records its inputs. It loses its memory with power, and its disk only with a wipe.
#[derive(Clone, Debug, Default)]
struct Witness {
    heard: Vec<u64>,
    fired: Vec<u8>,
    starts: u32,
    lives: Vec<bool>,
}

impl Actor for Witness {
    type Msg = Load;
    type Tick = u8;
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Load, u8>, cx: &mut Cx<'_, Load, u8>) {
        match event {
            Event::Start => {
                self.starts += 1;
                cx.arm(secs(5), 5);
            }
            Event::Message { msg, .. } => self.heard.push(msg.0 as u64),
            Event::Timer(tick) => self.fired.push(tick),
        }
    }

    fn reboot(&mut self, found: Reboot<()>) {
        self.lives.push(found == Reboot::Wiped);
    }
}

fn secs(secs: u64) -> Time {
    Time::from_nanos(secs * 1_000_000_000)
}

fn message(seq: u64, bytes: usize) -> Input<Load> {
    Input::Deliver(Envelope { from: OTHER, to: SELF, seq, msg: Load(bytes) })
}

/// One machine with its host.
struct Bench {
    cell: Cell<Witness>,
    ledger: Ledger,
    out: Effects<Load, u8>,
    trace: Lost,
}

/// The lost messages, each with its reason.
#[derive(Default)]
struct Lost(Vec<(u64, LossReason)>);

impl Recorder<Load, u8> for Lost {
    fn record(&mut self, _: Time, actor: ActorId, what: EntryRef<'_, Load, u8>) {
        if let EntryRef::Fate(id, Fate::Lost(cause)) = what {
            assert_eq!(actor, OTHER, "the sender's line");
            self.0.push((id.seq, cause));
        }
    }
}

impl Bench {
    fn new() -> Self {
        let cell = Cell::new(SELF, Witness::default(), Rng::stream(1, "witness"));
        Bench { cell, ledger: Ledger::default(), out: Vec::new(), trace: Lost::default() }
    }

    fn take(&mut self, at: u64, input: Input<Load>) -> bool {
        self.cell.take(secs(at), input, &mut self.ledger, &mut self.out, &mut self.trace)
    }

    /// Applies an action to the machine, and brings it the inputs that the action releases.
    fn switch(&mut self, at: u64, power: MachineAction) {
        let switched = self.cell.switch(secs(at), power, &mut self.ledger, &mut self.trace);
        switched.inputs.into_iter().for_each(|input| _ = self.take(at, input));
    }

    fn begin(&mut self, at: u64) {
        let inputs = self.cell.begin(&mut self.ledger);
        inputs.into_iter().for_each(|input| _ = self.take(at, input));
    }

    fn witness(&self) -> &Witness {
        self.cell.actor()
    }
}

#[test]
fn a_paused_machine_queues_inputs_in_order_and_frees_them_on_resume() {
    let mut bench = Bench::new();
    bench.take(0, Input::Start);
    bench.switch(1, MachineAction::Pause);
    for seq in 0..3 {
        assert!(!bench.take(2, message(seq, seq as usize)));
    }
    assert_eq!((bench.cell.waiting(), bench.witness().heard.len()), (3, 0));
    assert!(bench.ledger.waiting_bytes > 0);
    bench.switch(3, MachineAction::Resume);
    assert_eq!((bench.cell.waiting(), &bench.witness().heard[..]), (0, &[0, 1, 2][..]));
    assert_eq!((bench.ledger.waiting_bytes, bench.ledger.counts.delivered, bench.ledger.counts.events), (0, 3, 4));
}

#[test]
fn a_crash_loses_messages_timers_and_queue_and_a_restart_begins_anew() {
    let mut bench = Bench::new();
    bench.take(0, Input::Start);
    let Some(Effect::Arm { timer, .. }) = bench.out.pop() else { panic!("{:?}", bench.out) };
    bench.switch(1, MachineAction::Pause);
    bench.take(1, message(0, 9));
    bench.switch(2, MachineAction::Crash);
    bench.switch(2, MachineAction::Resume);
    bench.take(3, message(1, 9));
    bench.take(5, Input::Fire(timer));
    assert_eq!(bench.trace.0, [(0, LossReason::Down), (1, LossReason::Down)]);
    assert_eq!((bench.ledger.counts.lost_down, bench.ledger.counts.dropped, bench.ledger.waiting_bytes), (2, 1, 0));
    bench.switch(6, MachineAction::Restart);
    bench.take(6, message(2, 9));
    let witness = bench.witness();
    assert_eq!((witness.starts, &witness.lives[..], &witness.heard[..]), (2, &[false][..], &[9][..]));
    bench.switch(7, MachineAction::Restart);
    assert_eq!(bench.witness().starts, 2, "it is up already");
}

#[test]
fn a_start_on_a_paused_machine_comes_on_resume_before_queued_inputs() {
    let mut bench = Bench::new();
    bench.cell.await_beginning();
    bench.take(0, message(0, 7));
    bench.switch(0, MachineAction::Pause);
    bench.begin(1);
    bench.take(1, message(1, 8));
    assert_eq!((bench.witness().starts, bench.cell.waiting()), (0, 2));
    bench.switch(2, MachineAction::Resume);
    assert_eq!((bench.witness().starts, &bench.witness().heard[..]), (1, &[7, 8][..]));
}

#[test]
fn inputs_wait_for_the_start_and_a_crash_before_it_loses_no_state() {
    let mut bench = Bench::new();
    bench.cell.await_beginning();
    bench.take(0, message(0, 7));
    assert_eq!((bench.witness().heard.len(), bench.cell.waiting()), (0, 1));
    bench.switch(1, MachineAction::Wipe);
    bench.begin(1);
    assert_eq!((bench.witness().starts, bench.cell.incarnation()), (0, 0), "its restart begins it");
    bench.switch(2, MachineAction::Restart);
    assert_eq!((bench.witness().starts, bench.cell.incarnation(), bench.ledger.counts.lost_down), (1, 0, 1));
}

#[test]
fn an_absent_machine_loses_messages_until_its_first_start() {
    let mut bench = Bench::new();
    bench.cell.set_absent(secs(0), &mut bench.ledger, &mut bench.trace);
    assert!(!bench.take(0, Input::Start));
    bench.take(1, message(0, 7));
    bench.switch(2, MachineAction::Restart);
    assert_eq!((bench.witness().starts, bench.cell.incarnation(), bench.ledger.counts.lost_down), (1, 0, 1));
}

#[test]
fn waiting_messages_of_all_machines_of_a_host_share_one_memory_bound() {
    let (mut one, mut other) = (Bench::new(), Bench::new());
    one.take(0, Input::Start);
    other.take(0, Input::Start);
    one.switch(1, MachineAction::Pause);
    let third = WAITING_BYTES_MAX / 3;
    (0..3).for_each(|seq| _ = one.take(1, message(seq, third)));
    assert_eq!((one.cell.waiting(), one.ledger.counts.lost_full), (2, 1), "messages are longer than what they hold");
    // The other machine of the same host.
    other.ledger = one.ledger.clone();
    other.switch(1, MachineAction::Pause);
    other.take(1, message(3, third));
    assert_eq!((other.cell.waiting(), other.ledger.counts.lost_full), (0, 2));
    other.take(1, message(4, 100));
    assert_eq!(other.cell.waiting(), 1);
    // Timers take no bytes, and inputs are counted too.
    let mut full = Bench::new();
    full.take(0, Input::Start);
    full.switch(1, MachineAction::Pause);
    (0..WAITING_MAX as u64 + 2).for_each(|seq| _ = full.take(1, message(seq, 0)));
    assert_eq!((full.cell.waiting(), full.ledger.counts.lost_full), (WAITING_MAX, 2));
    full.switch(2, MachineAction::Resume);
    assert_eq!((full.cell.waiting(), full.ledger.waiting_bytes), (0, 0));
}

#[test]
fn work_that_is_in_progress_is_due_later_on_a_slower_machine() {
    let mut cell = Cell::new(SELF, Works, Rng::stream(1, "works"));
    let (mut ledger, mut out) = (Ledger::default(), Vec::new());
    cell.take(secs(0), Input::Start, &mut ledger, &mut out, &mut ());
    let switched = cell.switch(secs(1), MachineAction::Speed(0.5), &mut ledger, &mut ());
    let [(due, timer)] = switched.timers[..] else { panic!("{switched:?}") };
    assert_eq!(due, secs(7));
    assert!(!cell.take(secs(4), Input::Fire(timer), &mut ledger, &mut out, &mut ()), "it is not done");
    assert!(cell.take(secs(7), Input::Fire(timer), &mut ledger, &mut out, &mut ()));
}

/// Works for four seconds.
#[derive(Clone, Debug)]
struct Works;

impl Actor for Works {
    type Msg = Load;
    type Tick = u8;
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Load, u8>, cx: &mut Cx<'_, Load, u8>) {
        if matches!(event, Event::Start) {
            cx.work(Span::from_secs(4), 1);
        }
    }
}

/// An action on a machine, as the property test draws it.
#[derive(Clone, Debug)]
enum Happens {
    Message(usize),
    Begin,
    Power(MachineAction),
}

fn happens() -> impl Strategy<Value = Happens> {
    let machine_actions = vec![
        MachineAction::Crash,
        MachineAction::Wipe,
        MachineAction::Restart,
        MachineAction::Pause,
        MachineAction::Resume,
        MachineAction::Speed(0.5),
    ];
    prop_oneof![
        5 => (0..WAITING_BYTES_MAX / 2).prop_map(Happens::Message),
        1 => Just(Happens::Begin),
        4 => prop::sample::select(machine_actions).prop_map(Happens::Power),
    ]
}

proptest! {
    #[test]
    fn every_message_is_taken_in_in_order_or_waits_or_is_lost_and_recorded(
        begun in any::<bool>(),
        all in prop::collection::vec(happens(), 0..60),
    ) {
        let mut bench = Bench::new();
        if begun {
            bench.take(0, Input::Start);
        } else {
            bench.cell.await_beginning();
        }
        let (mut has_begun, mut sent) = (begun, 0);
        for (at, it) in (1..).zip(&all) {
            match it {
                Happens::Message(bytes) => {
                    bench.take(at, message(sent, *bytes));
                    sent += 1;
                }
                Happens::Begin if has_begun => {}
                Happens::Begin => {
                    bench.begin(at);
                    has_begun = true;
                }
                Happens::Power(power) => bench.switch(at, power.clone()),
            }
            let counts = &bench.ledger.counts;
            prop_assert_eq!(counts.delivered, bench.witness().heard.len() as u64);
            prop_assert_eq!(counts.lost(), bench.trace.0.len() as u64);
            prop_assert_eq!(sent, counts.delivered + counts.lost() + bench.cell.waiting() as u64);
            prop_assert!(bench.ledger.waiting_bytes <= WAITING_BYTES_MAX);
            prop_assert!(bench.cell.waiting() > 0 || bench.ledger.waiting_bytes == 0);
            prop_assert_eq!(u64::from(bench.witness().starts) + counts.delivered, counts.events);
        }
        // The actor received its inputs in the order of their arrival.
        let lost: Vec<u64> = bench.trace.0.iter().map(|(seq, _)| *seq).collect();
        let arrived = all.iter().filter_map(|it| if let Happens::Message(bytes) = it { Some(*bytes as u64) } else { None });
        let taken: Vec<u64> =
            (0..).zip(arrived).filter(|(seq, _)| !lost.contains(seq)).map(|(_, bytes)| bytes).collect();
        prop_assert!(taken.starts_with(&bench.witness().heard), "{:?}", bench.witness().heard);
        // A machine that is up and has begun holds nothing back.
        bench.switch(100, MachineAction::Resume);
        if !has_begun {
            bench.begin(100);
        }
        bench.switch(100, MachineAction::Restart);
        prop_assert_eq!((bench.cell.waiting(), bench.ledger.waiting_bytes), (0, 0));
        prop_assert!(bench.take(101, message(sent, 1)));
    }
}
