//! Actors repeat a trace exactly, and differences are found.

use std::collections::BTreeMap;
use std::mem;

use meshsim_actor::{
    Actor, ActorId, Cell, Cx, Effect, Effects, EntryRef, Envelope, Event, Fate, Input, LossReason, MachineAction,
    Message, MessageId, Reboot, Recorder, Rng, Span, Time, Timer,
};
use meshsim_trace::replay::{Difference, ReplayReport, Stopped};
use meshsim_trace::{Entry, Header, Record, Replay};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Talk {
    Rumour { number: u64, weight: f64 },
    Heard(u64),
    Novel(String),
}

impl Message for Talk {
    fn kind(&self) -> &'static str {
        match self {
            Talk::Rumour { .. } => "rumour",
            Talk::Heard(_) => "heard",
            Talk::Novel(_) => "novel",
        }
    }
}

/// Tells one of three a rumour now and then, and arms reminders for rumours without a reply.
#[derive(Clone, Debug, Default)]
struct Gossip {
    reminder: Option<Timer>,
    /// On disk.
    told: u64,
}

const NEWS: u8 = 1;
const REMINDER: u8 = 2;

impl Actor for Gossip {
    type Msg = Talk;
    type Tick = u8;
    type Disk = u64;

    fn disk(&self) -> u64 {
        self.told
    }

    fn on(&mut self, event: Event<Talk, u8>, cx: &mut Cx<'_, Talk, u8>) {
        match event {
            Event::Start => {
                cx.arm(cx.now() + Span::from_millis(1), NEWS);
            }
            Event::Timer(NEWS) => {
                self.told += 1;
                let to = ActorId(cx.rng().below(3));
                // Not equal to itself, and still the same.
                let weight = if self.told.is_multiple_of(5) { f64::NAN } else { cx.rng().unit() };
                cx.send(to, Talk::Rumour { number: self.told, weight });
                cx.note("told", u64::from(to.0), cx.worked().nanos());
                let pause = Span::from_millis(1) + Span::from_millis(u64::from(cx.rng().below(5)));
                cx.work(pause, NEWS);
                if self.reminder.is_none() {
                    self.reminder = Some(cx.arm(cx.now() + Span::from_millis(3), REMINDER));
                }
            }
            Event::Timer(_) => {
                self.reminder = None;
                cx.note("reminded", 0, self.told);
            }
            Event::Message { from, msg: Talk::Rumour { number, .. } } => cx.send(from, Talk::Heard(number)),
            Event::Message { .. } => {
                if let Some(reminder) = self.reminder.take() {
                    cx.disarm(reminder);
                }
            }
        }
    }

    fn reboot(&mut self, found: Reboot<u64>) {
        self.reminder = None;
        match found {
            Reboot::Kept => {}
            Reboot::Found(told) => self.told = told,
            Reboot::Wiped => self.told = 0,
        }
    }
}

type Records = Vec<Record<Talk, u8>>;

#[derive(Default)]
struct Taken(Records);

impl Recorder<Talk, u8> for Taken {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Talk, u8>) {
        self.0.push(Record { seq: self.0.len() as u64, at, actor, entry: what.into() });
    }
}

/// Action on an actor.
enum Done {
    Power(MachineAction),
    /// Its process was killed, and another one starts in its place.
    Reborn,
}

fn cell(actor: ActorId, incarnation: u32) -> Option<Cell<Gossip>> {
    (actor.0 < 3)
        .then(|| Cell::with_incarnation(actor, Gossip::default(), Rng::keyed(1, u64::from(actor.0), 0), incarnation))
}

/// Three actors for 200 ms on a network that loses the messages with 7, 27, 47... and duplicates those with 3, 13,
/// 23...
struct Host {
    cells: Vec<Cell<Gossip>>,
    due: BTreeMap<(Time, u64), (ActorId, Input<Talk>)>,
    tickets: u64,
    trace: Taken,
}

fn run(done: impl IntoIterator<Item = (u64, u32, Done)>) -> Records {
    let mut host = Host {
        cells: (0..3).map(|id| cell(ActorId(id), 0).unwrap()).collect(),
        due: BTreeMap::new(),
        tickets: 0,
        trace: Taken::default(),
    };
    (0..3).for_each(|id| host.queue(Time::ZERO, ActorId(id), Input::Start));
    for (millis, actor, done) in done {
        host.until(Time::ZERO + Span::from_millis(millis));
        host.interfere(Time::ZERO + Span::from_millis(millis), ActorId(actor), done);
    }
    host.until(Time::ZERO + Span::from_millis(200));
    host.trace.0
}

impl Host {
    fn queue(&mut self, at: Time, actor: ActorId, input: Input<Talk>) {
        self.tickets += 1;
        self.due.insert((at, self.tickets), (actor, input));
    }

    fn until(&mut self, end: Time) {
        while let Some(next) = self.due.first_entry()
            && next.key().0 < end
        {
            let ((now, _), (actor, input)) = next.remove_entry();
            let mut out: Effects<Talk, u8> = Vec::new();
            self.cells[actor.index()].step(now, input, &mut out, &mut self.trace);
            for effect in out {
                match effect {
                    Effect::Send(envelope) => self.send(now, envelope),
                    Effect::Arm { timer, at, .. } => self.queue(at, actor, Input::Fire(timer)),
                    Effect::Work { timer, span, .. } => {
                        let done = self.cells[actor.index()].work_done(now, span);
                        self.queue(done, actor, Input::Fire(timer));
                    }
                    Effect::Persist(position) => self.queue(now, actor, Input::Durable(position)),
                    Effect::Disarm(_) | Effect::Note(_) => {}
                }
            }
        }
    }

    fn send(&mut self, now: Time, envelope: Envelope<Talk>) {
        let (near, far) = (Span::from_micros(900), Span::from_millis(4));
        let (id, to) = (envelope.id(), envelope.to);
        match envelope.seq % 20 {
            7 => self.trace.record(now, id.from, EntryRef::Fate(id, Fate::Lost(LossReason::Loss))),
            3 | 13 => {
                self.trace.record(now, id.from, EntryRef::Fate(id, Fate::Duplicate(near, far)));
                self.queue(now + near, to, Input::Deliver(envelope.clone()));
                self.queue(now + far, to, Input::Deliver(envelope));
            }
            _ => self.queue(now + near, to, Input::Deliver(envelope)),
        }
    }

    /// Machines come up again at once.
    fn interfere(&mut self, now: Time, actor: ActorId, done: Done) {
        let place = &mut self.cells[actor.index()];
        match done {
            Done::Power(power) => {
                self.trace.record(now, actor, EntryRef::Power(&power));
                match power {
                    MachineAction::Crash | MachineAction::Wipe => {
                        place.reboot(power == MachineAction::Wipe);
                        self.trace.record(now, actor, EntryRef::Power(&MachineAction::Restart));
                        self.queue(now, actor, Input::Start);
                    }
                    power => {
                        for (done, timer) in place.set_pace(now, &power) {
                            self.queue(done, actor, Input::Fire(timer));
                        }
                    }
                }
            }
            Done::Reborn => {
                let former = mem::replace(place, cell(actor, place.incarnation() + 1).unwrap());
                place.keep_pace(&former, now);
                self.due.retain(|_, (of, input)| *of != actor || matches!(input, Input::Deliver(_)));
                self.queue(now, actor, Input::Start);
            }
        }
    }
}

type Outcome = Result<ReplayReport, Box<Difference<Talk, u8>>>;

fn replay(records: &Records) -> Outcome {
    feed(Replay::new(cell), records)
}

fn replay_of_processes(records: &Records) -> Outcome {
    feed(Replay::of_processes(cell), records)
}

fn feed<F: FnMut(ActorId, u32) -> Option<Cell<Gossip>>>(mut replay: Replay<Gossip, F>, records: &Records) -> Outcome {
    for (seq, record) in records.iter().enumerate() {
        replay.take(Record { seq: seq as u64, ..record.clone() })?;
    }
    replay.finish(true)
}

fn is_effect(record: &Record<Talk, u8>) -> bool {
    matches!(record.entry, Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Note { .. })
}

fn is_input(record: &Record<Talk, u8>) -> bool {
    matches!(record.entry, Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_))
}

fn count(records: &Records, of: fn(&Record<Talk, u8>) -> bool) -> u64 {
    records.iter().filter(|record| of(record)).count() as u64
}

/// Report of a complete replay.
fn all_of(records: &Records) -> ReplayReport {
    ReplayReport {
        records: records.len() as u64,
        actors: 3,
        inputs: count(records, is_input),
        effects: count(records, is_effect),
        ..ReplayReport::default()
    }
}

fn troubled() -> Records {
    run([
        (40, 1, Done::Power(MachineAction::Crash)),
        (60, 2, Done::Power(MachineAction::Speed(0.5))),
        (80, 0, Done::Power(MachineAction::Wipe)),
        (90, 0, Done::Power(MachineAction::Pause)),
        (91, 0, Done::Power(MachineAction::Resume)),
        (120, 2, Done::Power(MachineAction::Speed(1.0))),
    ])
}

#[test]
fn a_run_is_replayed_to_its_last_effect() {
    let records = run([]);
    assert!(records.iter().any(|record| matches!(record.entry, Entry::Fate(_, Fate::Duplicate(..)))));
    assert!(records.iter().any(|record| matches!(record.entry, Entry::Disarm(_))));
    assert_eq!(replay(&records).unwrap(), all_of(&records));
}

#[test]
fn crashes_wipes_and_slow_machines_are_replayed() {
    let records = troubled();
    assert_eq!(replay(&records).unwrap(), all_of(&records));
}

#[test]
fn a_wipe_that_was_a_crash_is_found_and_so_is_another_speed() {
    for (from, to) in
        [(MachineAction::Wipe, MachineAction::Crash), (MachineAction::Speed(0.5), MachineAction::Speed(0.6))]
    {
        let mut records = troubled();
        let place = records.iter().position(|record| record.entry == Entry::Power(from.clone())).unwrap();
        records[place].entry = Entry::Power(to);
        let difference = replay(&records).unwrap_err();
        assert_eq!(difference.actor, records[place].actor);
        assert!(difference.record > place as u64, "{difference:?}");
    }
}

#[test]
fn each_tampered_effect_is_found_with_its_record() {
    let records = troubled();
    for (place, record) in records.iter().enumerate().filter(|(_, record)| is_effect(record)) {
        let mut tampered = records.clone();
        match &mut tampered[place].entry {
            Entry::Send { msg: Talk::Rumour { weight, .. }, .. } => *weight = 2.0,
            Entry::Send { msg: Talk::Heard(_), to, .. } => to.0 += 1,
            Entry::Send { seq, .. } => *seq += 1,
            Entry::Arm { at, .. } if place % 2 == 0 => *at += Span::from_nanos(1),
            Entry::Arm { tick, .. } => *tick += 1,
            Entry::Note { value, .. } => *value += 1,
            entry => *entry = Entry::Note { what: "tampered".into(), subject: 0, value: 0 },
        }
        let difference = replay(&tampered).unwrap_err();
        assert_eq!((difference.record, difference.actor, difference.at), (place as u64, record.actor, record.at));
        assert_eq!(difference.said.as_ref().map(bytes), Some(bytes(&tampered[place].entry)));
        assert_eq!(difference.did.as_ref().map(bytes), Some(bytes(&record.entry)), "what the actor did");
    }
}

/// A NaN is not equal to itself.
fn bytes(entry: &Entry<Talk, u8>) -> String {
    format!("{entry:?}")
}

#[test]
fn each_effect_that_is_missing_or_too_many_is_found() {
    let records = run([]);
    for place in (0..records.len()).filter(|place| is_effect(&records[*place])) {
        let mut less = records.clone();
        let gone = less.remove(place);
        let difference = replay(&less).unwrap_err();
        assert_eq!(difference.actor, gone.actor);
        // The actor's next record, or the end.
        let next = less.iter().skip(place).position(|record| record.actor == gone.actor && !is_fate(record));
        assert_eq!(difference.record, next.map_or(less.len(), |next| place + next) as u64);
        let mut more = records.clone();
        more.insert(place, Record { entry: Entry::Note { what: "more".into(), subject: 0, value: 0 }, ..gone });
        assert_eq!(replay(&more).unwrap_err().record, place as u64);
    }
}

fn is_fate(record: &Record<Talk, u8>) -> bool {
    matches!(record.entry, Entry::Fate(..))
}

#[test]
fn a_timer_that_is_not_armed_is_found() {
    let mut records = run([]);
    let place = records.iter().position(|record| matches!(record.entry, Entry::Fire(_))).unwrap();
    let end = (place + 1..records.len()).find(|place| !is_effect(&records[*place])).unwrap();
    records.insert(end, records[place].clone());
    let difference = replay(&records).unwrap_err();
    assert_eq!((difference.record, difference.did.clone()), (end as u64, None));
    let [said, did] = difference.texts(&Header::default());
    assert!(said.starts_with("timer_fire  Timer {") && did == "no such timer is armed", "{said}\n{did}");
}

#[test]
fn a_message_to_another_receiver_is_a_difference_or_missing_in_a_merge() {
    let mut records = run([]);
    let other = |record: &Record<Talk, u8>| matches!(record.entry, Entry::Deliver(_)) && record.actor == ActorId(1);
    let place = records.iter().position(other).unwrap();
    records[place].actor = ActorId(2);
    records.truncate(place + 1);
    let Entry::Deliver(message) = records[place].entry else { panic!("a delivery") };
    let difference = replay(&records).unwrap_err();
    assert_eq!((difference.record, difference.actor), (place as u64, ActorId(2)));
    let header = Header { seed: 1, ..Header::default() };
    assert_eq!(difference.texts(&header)[1], "no such message is in flight to it");
    // Between processes, the sender's process may have been killed.
    let report = replay_of_processes(&records).unwrap();
    assert_eq!(report.stopped, [Stopped { actor: ActorId(2), record: place as u64, message }]);
}

/// As if each actor had its own process and clock, and the clock of actor 1 were late.
fn skewed(mut records: Records, late: Span) -> Records {
    records.sort_by_key(|record| record.at + if record.actor == ActorId(1) { late } else { Span::ZERO });
    records
}

#[test]
fn a_message_that_seems_to_arrive_before_it_is_sent_is_waited_for() {
    let records = skewed(troubled(), Span::from_millis(10));
    let mut sent = Vec::new();
    let early = records.iter().filter(|record| match &record.entry {
        Entry::Send { seq, .. } => {
            sent.push(MessageId { from: record.actor, seq: *seq });
            false
        }
        Entry::Deliver(id) => !sent.contains(id),
        _ => false,
    });
    assert!(early.count() > 20);
    assert_eq!(replay_of_processes(&records).unwrap(), all_of(&records));
    // A difference is still found.
    let mut tampered = records.clone();
    let last = tampered.iter().rposition(|record| matches!(record.entry, Entry::Note { .. })).unwrap();
    tampered[last].entry = Entry::Note { what: "tampered".into(), subject: 0, value: 0 };
    assert_eq!(replay_of_processes(&tampered).unwrap_err().record, last as u64);
}

#[test]
fn an_actor_that_is_born_again_in_another_process_is_made_afresh() {
    let records = run([(40, 1, Done::Reborn), (80, 1, Done::Reborn), (81, 2, Done::Reborn)]);
    assert_eq!(replay_of_processes(&records).unwrap(), all_of(&records));
    // The trace of its first incarnation may be missing.
    let first = records.iter().position(|record| record.entry == Entry::Start { incarnation: 1 }).unwrap();
    let later: Records = records[first..].iter().filter(|record| record.actor == ActorId(1)).cloned().collect();
    let report = replay_of_processes(&later).unwrap();
    assert!(report.actors == 1 && report.inputs > 1 && !report.stopped.is_empty(), "{report:?}");
}

#[test]
fn an_incarnation_that_starts_on_a_slow_machine_replays_at_its_speed() {
    let slow = (30, 1, Done::Power(MachineAction::Speed(0.5)));
    let records =
        run([slow, (40, 1, Done::Reborn), (80, 1, Done::Power(MachineAction::Speed(1.0))), (90, 1, Done::Reborn)]);
    assert_eq!(replay_of_processes(&records).unwrap(), all_of(&records));
}

#[test]
fn a_truncated_part_is_no_divergence_and_stops_its_receivers() {
    let records = run([(100, 1, Done::Reborn)]);
    let born = records.iter().position(|record| record.entry == Entry::Start { incarnation: 1 }).unwrap();
    // The end of its trace is lost, from the middle of a step on.
    let of_it = |place: &usize| records[*place].actor == ActorId(1);
    let cut = (born / 2..born).filter(of_it).find(|place| matches!(records[*place].entry, Entry::Note { .. })).unwrap();
    let mut place = 0..;
    let mut left = records.clone();
    left.retain(|record| {
        let place = place.next().unwrap();
        record.actor != ActorId(1) || !(cut..born).contains(&place)
    });
    let report = replay_of_processes(&left).unwrap();
    assert_eq!(report.cut, 1);
    assert!(!report.stopped.is_empty());
    for stopped in &report.stopped {
        assert_ne!(stopped.actor, ActorId(1), "the one that was killed goes on in its new life");
        assert_eq!(stopped.message.from, ActorId(1));
        assert_eq!(left[stopped.record as usize].entry, Entry::Deliver(stopped.message));
    }
    // In one process, the same is a difference.
    assert_eq!(replay(&left).unwrap_err().actor, ActorId(1));
}

#[test]
fn messages_of_actors_that_are_not_replayed_are_still_read() {
    let records = run([]);
    let some = |actor, incarnation| if actor == ActorId(1) { cell(actor, incarnation) } else { None };
    let mut of_it = records.clone();
    of_it.retain(|record| record.actor == ActorId(1));
    let expected = ReplayReport {
        records: records.len() as u64,
        inputs: count(&of_it, is_input),
        effects: count(&of_it, is_effect),
        actors: 1,
        ..ReplayReport::default()
    };
    assert_eq!(feed(Replay::new(some), &records).unwrap(), expected);
}

#[test]
fn the_last_step_may_miss_its_end_where_the_trace_was_not_read_to_its_end() {
    let mut records = run([]);
    while !matches!(records.last().unwrap().entry, Entry::Fire(_)) {
        records.pop();
    }
    assert_eq!(replay(&records).unwrap_err().record, records.len() as u64);
    let mut replay = Replay::new(cell);
    records.iter().for_each(|record| replay.take(record.clone()).unwrap());
    assert_eq!(replay.finish(false).unwrap(), all_of(&records));
}

#[test]
fn of_long_messages_the_part_where_they_differ_is_shown() {
    let novel =
        |end| Entry::Send { to: ActorId(1), seq: 7, msg: Talk::Novel("x".repeat(9_000) + end + &"y".repeat(900)) };
    let difference: Difference<Talk, u8> = Difference {
        record: 3,
        at: Time::ZERO,
        actor: ActorId(0),
        said: Some(novel("well")),
        did: Some(novel("badly")),
    };
    let [said, did] = difference.texts(&Header::default());
    assert!(said.contains("xwelly") && said.len() < 500, "{said}");
    assert!(did.contains("xbadlyy") && did.starts_with("...x") && did.ends_with("y..."), "{did}");
}
