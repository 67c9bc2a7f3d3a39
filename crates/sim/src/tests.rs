use meshsim_actor::{
    Actor, ActorId, Cx, Dist, EntryRef, Event, Fate, LossReason, MachineAction, Message, Reboot, Recorder, Span, Time,
    Timer,
};
use meshsim_fault::{
    ActorSet, Crash, Cut, Drop, Duplicate, Fault, FaultKind, Link, Loss, Network, NetworkSpec, Partition, Pause,
    Reorder, Slow, Wipe,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{RunStatus, Sim};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Word(u64);

impl Message for Word {
    fn kind(&self) -> &'static str {
        "word"
    }
}

/// Sends a word to the next actor each second, forwards each word that it receives twice, and arms a timeout that the
/// next word disarms. Notes every event.
#[derive(Clone, Debug, Default)]
struct Talker {
    others: u32,
    said: u64,
    timeout: Option<Timer>,
    log: Vec<(Time, String)>,
    disk: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Tick {
    Speak,
    Timeout,
}

impl Actor for Talker {
    type Msg = Word;
    type Tick = Tick;
    type Disk = u64;

    fn disk(&self) -> u64 {
        self.disk
    }

    fn on(&mut self, event: Event<Word, Tick>, cx: &mut Cx<'_, Word, Tick>) {
        self.log.push((cx.now(), format!("{event:?}")));
        match event {
            Event::Start => drop(cx.arm(cx.now() + Span::from_secs(1), Tick::Speak)),
            Event::Message { msg: Word(left), .. } => {
                if let Some(timeout) = self.timeout.take() {
                    cx.disarm(timeout);
                }
                self.timeout = Some(cx.arm(cx.now() + Span::from_secs(20), Tick::Timeout));
                self.disk += 1;
                if left > 0 {
                    let to = ActorId(cx.rng().below(self.others));
                    cx.send(to, Word(left - 1));
                }
            }
            Event::Timer(Tick::Speak) => {
                self.said += 1;
                cx.send(ActorId((cx.id().0 + 1) % self.others), Word(2));
                cx.arm(cx.now() + Span::from_secs(1), Tick::Speak);
            }
            Event::Timer(Tick::Timeout) => {}
        }
    }

    fn reboot(&mut self, found: Reboot<u64>) {
        let disk = match found {
            Reboot::Kept => self.disk,
            Reboot::Found(disk) => disk,
            Reboot::Wiped => 0,
        };
        let others = self.others;
        *self = Talker { others, disk, log: std::mem::take(&mut self.log), ..Talker::default() };
    }
}

/// Keeps every record as text.
#[derive(Clone, Debug, Default)]
struct Text(Vec<String>);

impl Recorder<Word, Tick> for Text {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Word, Tick>) {
        self.0.push(format!("{at} {actor} {what:?}"));
    }
}

fn secs(n: u64) -> Time {
    Time::ZERO + Span::from_secs(n)
}

fn talkers(others: u32, latency: Dist, faults: Vec<Fault>) -> Sim<Talker, Text> {
    let spec = NetworkSpec { latency: vec![latency], faults, ..NetworkSpec::constant(5, Span::ZERO) };
    let mut sim = Sim::with_recorder(5, Network::new(spec).unwrap(), Text::default());
    for actor in 0..others {
        sim.add(Talker { others, ..Talker::default() }, &format!("talker-{actor}"));
    }
    sim
}

fn constant(millis: u64) -> Dist {
    Dist::Constant(Span::from_millis(millis))
}

fn only(actor: u32) -> ActorSet {
    [ActorId(actor)].into_iter().collect()
}

/// Records of one actor, without the dots and braces.
fn log(sim: &Sim<Talker, Text>, actor: u32) -> Vec<String> {
    sim.actor(ActorId(actor)).log.iter().map(|(at, what)| format!("{:.1} {what}", at.secs())).collect()
}

fn assert_balanced<R: Recorder<Word, Tick>>(sim: &Sim<Talker, R>) {
    let it = sim.counts();
    assert_eq!(it.sent + it.duplicated, it.delivered + it.lost() + it.held + sim.in_flight(), "{it:?}");
}

fn many_faults() -> Vec<Fault> {
    let on = || Link::all();
    let islands = Cut::Islands(vec![only(0), [ActorId(1), ActorId(2)].into_iter().collect()]);
    let at = |from, until, kind: FaultKind| Fault::new(secs(from), secs(until), kind);
    vec![
        at(2, 9, Drop { on: on(), probability: 0.2 }.into()),
        at(3, 7, Loss { on: on(), probability: 0.2 }.into()),
        at(3, 8, Duplicate { on: on(), probability: 0.3, lag: constant(3) }.into()),
        at(1, 7, Reorder { on: on(), probability: 0.5, within: Span::from_secs(1) }.into()),
        at(4, 6, Partition { cut: islands.clone(), hold: true }.into()),
        at(7, 8, Partition { cut: islands, hold: false }.into()),
        at(2, 5, Crash { actors: only(1) }.into()),
        at(6, 7, Wipe { actors: only(2) }.into()),
        at(3, 6, Pause { actors: only(3) }.into()),
        at(1, 4, Slow { actors: only(0), factor: 0.5 }.into()),
    ]
}

#[test]
fn a_seed_gives_the_same_record_at_once_in_slices_and_by_steps() {
    let jitter = Dist::Exponential { at_least: Span::from_millis(1), mean: Span::from_millis(300) };
    let new = || talkers(5, jitter.clone(), many_faults());
    let (mut at_once, mut sliced, mut stepped) = (new(), new(), new());
    assert_eq!(at_once.run_until(secs(12)), RunStatus::Reached);
    for half in 0..24 {
        while sliced.run_slice(Time::ZERO + Span::from_millis(500 * (half + 1)), 3) == RunStatus::Stopped {
            assert_balanced(&sliced);
        }
    }
    while stepped.now() <= secs(12) && stepped.step() {}
    assert_eq!(at_once.counts(), sliced.counts());
    assert_balanced(&at_once);
    let (one, other, third) = (at_once.into_recorder().0, sliced.into_recorder().0, stepped.into_recorder().0);
    assert_eq!(one, other);
    // The last step was already beyond the end.
    assert_eq!(one, third[..one.len()]);
}

#[test]
fn a_record_changes_nothing() {
    let spec = NetworkSpec { faults: many_faults(), ..NetworkSpec::constant(5, Span::from_millis(10)) };
    let mut silent = Sim::new(5, Network::new(spec).unwrap());
    for actor in 0..5 {
        silent.add(Talker { others: 5, ..Talker::default() }, &format!("talker-{actor}"));
    }
    let mut written = talkers(5, constant(10), many_faults());
    silent.run_until(secs(12));
    written.run_until(secs(12));
    assert_eq!(silent.counts(), written.counts());
    for (one, other) in silent.actors().zip(written.actors()) {
        assert_eq!(one.log, other.log);
    }
}

#[test]
fn actors_begin_in_the_order_of_their_ids_or_when_they_are_added() {
    let mut sim = talkers(3, constant(10), vec![]);
    sim.run_until(secs(2));
    let late = sim.add(Talker { others: 3, ..Talker::default() }, "late");
    sim.run_until(secs(4));
    assert_eq!(sim.actor(late).log[0].0, secs(2));
    let starts: Vec<String> = sim.into_recorder().0.into_iter().filter(|line| line.contains("Start")).collect();
    assert_eq!(
        starts,
        [
            "0.000000s #0 Start { incarnation: 0 }",
            "0.000000s #1 Start { incarnation: 0 }",
            "0.000000s #2 Start { incarnation: 0 }",
            "2.000000s #3 Start { incarnation: 0 }"
        ]
    );
}

#[test]
fn a_crashed_actor_receives_nothing_loses_timers_and_restarts() {
    let crash = Fault::new(secs(2) - Span::from_millis(500), secs(4), Crash { actors: only(1) });
    let mut sim = talkers(2, constant(600), vec![crash]);
    sim.run_until(Time::ZERO + Span::from_millis(5_100));
    // The word of 1.0 s arrives at 1.6 s, when the receiver is down; that of 3.0 s arrives at 3.6 s.
    let heard: Vec<String> = log(&sim, 1);
    assert_eq!(
        heard,
        [
            "0.0 Start",
            "1.0 Timer(Speak)",
            "4.0 Start",
            "4.6 Message { from: #0, msg: Word(2) }",
            "4.6 Message { from: #1, msg: Word(1) }",
            "4.6 Message { from: #1, msg: Word(0) }",
            "5.0 Timer(Speak)",
        ]
    );
    let down = sim.counts().lost_down;
    let lost = sim.recorder().0.iter().filter(|line| line.contains("Lost(Down)")).count() as u64;
    assert!(down >= 3 && down == lost, "{down} counted, {lost} recorded");
    assert_balanced(&sim);
}

#[test]
fn an_absent_actor_receives_nothing_before_its_first_start() {
    let network = |faults| {
        let absent = vec![(ActorId(1), secs(3)), (ActorId(2), Time::NEVER), (ActorId(3), secs(2))];
        Network::new(NetworkSpec { absent, faults, ..NetworkSpec::constant(5, Span::from_millis(100)) }).unwrap()
    };
    let run = |faults| {
        let mut sim = Sim::with_recorder(5, network(faults), Text::default());
        for actor in 0..3 {
            sim.add(Talker { others: 3, ..Talker::default() }, &format!("talker-{actor}"));
        }
        sim.run_until(secs(6));
        assert_balanced(&sim);
        sim
    };
    let sim = run(vec![]);
    assert_eq!(log(&sim, 1)[0], "3.0 Start");
    assert!(sim.recorder().0.contains(&"3.000000s #1 Start { incarnation: 0 }".to_owned()));
    assert_eq!(log(&sim, 2), [] as [&str; 0], "no message brought it");
    assert!(sim.counts().lost_down >= 3, "{:?}", sim.counts());

    // The start falls into this fault; and a wipe before it has nothing to wipe.
    let at = |from, until, kind: FaultKind| Fault::new(secs(from), secs(until), kind);
    let sim = run(vec![at(2, 5, Crash { actors: only(1) }.into()), at(1, 2, Wipe { actors: only(1) }.into())]);
    assert_eq!(log(&sim, 1)[0], "5.0 Start");
    assert!(sim.recorder().0.contains(&"5.000000s #1 Start { incarnation: 0 }".to_owned()));

    let mut sim = run(vec![at(2, 4, Pause { actors: only(1) }.into())]);
    assert_eq!(log(&sim, 1)[0], "4.0 Start", "a machine that stands still begins nothing");
    let late = sim.add(Talker { others: 3, ..Talker::default() }, "late");
    sim.run_until(secs(7));
    assert_eq!(sim.actor(late).log[0].0, secs(6), "its time was past when it was added");
}

#[test]
fn a_crash_keeps_the_disk_and_a_wipe_does_not() {
    let disk = |kind: FaultKind| {
        let mut sim = talkers(2, constant(10), vec![Fault::new(secs(5), secs(6), kind)]);
        sim.run_until(secs(6));
        sim.actor(ActorId(1)).disk
    };
    assert!(disk(Crash { actors: only(1) }.into()) > 0);
    assert_eq!(disk(Wipe { actors: only(1) }.into()), 0);
}

#[test]
fn messages_to_a_paused_machine_wait_in_order_until_it_resumes() {
    let pause = Fault::new(secs(2) - Span::from_millis(500), secs(4), Pause { actors: only(1) });
    let mut sim = talkers(2, constant(600), vec![pause]);
    sim.run_until(secs(3));
    assert!(sim.in_flight() > 0);
    assert_balanced(&sim);
    sim.run_until(secs(4));
    let waited: Vec<String> = log(&sim, 1).into_iter().skip(2).collect();
    assert_eq!(waited[0], "4.0 Message { from: #0, msg: Word(2) }");
    assert_eq!(waited[1], "4.0 Timer(Speak)");
    assert!(waited.iter().all(|line| line.starts_with("4.0")), "{waited:?}");
    assert_balanced(&sim);
}

#[test]
fn a_paused_machine_that_goes_down_loses_its_queue() {
    let faults = vec![
        Fault::new(secs(2), secs(5), Pause { actors: only(1) }),
        Fault::new(secs(4), secs(6), Crash { actors: only(1) }),
    ];
    let mut sim = talkers(2, constant(10), faults);
    sim.run_until(secs(8));
    let log = &sim.actor(ActorId(1)).log;
    assert!(log.iter().all(|(at, _)| *at < secs(2) || *at >= secs(6)), "{log:?}");
    assert!(sim.counts().lost_down > 0);
    assert_balanced(&sim);
}

/// Begins work of ten seconds at each of these times in seconds, and logs when each is done.
#[derive(Clone, Debug)]
struct Worker {
    begins: Vec<u64>,
    done: Vec<(u64, f64)>,
}

impl Actor for Worker {
    type Msg = Word;
    type Tick = (bool, u64);
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Word, (bool, u64)>, cx: &mut Cx<'_, Word, (bool, u64)>) {
        match event {
            Event::Start => self.begins.iter().for_each(|begin| _ = cx.arm(secs(*begin), (false, *begin))),
            Event::Timer((false, begin)) => _ = cx.work(Span::from_secs(10), (true, begin)),
            Event::Timer((true, begin)) => self.done.push((begin, cx.now().secs())),
            Event::Message { .. } => {}
        }
    }
}

/// End times of work of ten seconds that begins at these seconds, under these machine faults.
fn done(begins: &[u64], faults: Vec<Fault>) -> Vec<(u64, f64)> {
    let network = Network::new(NetworkSpec { faults, ..NetworkSpec::constant(5, Span::ZERO) }).unwrap();
    let mut sim = Sim::new(5, network);
    let worker = sim.add(Worker { begins: begins.to_vec(), done: vec![] }, "worker");
    sim.run_until(secs(100));
    sim.actor(worker).done.clone()
}

#[test]
fn work_in_progress_follows_the_speed_of_its_machine() {
    let slow = |from, until, factor| Fault::new(secs(from), secs(until), Slow { actors: only(0), factor });
    assert_eq!(done(&[0], vec![slow(5, 10, 0.5)]), [(0, 12.5)]);
    assert_eq!(done(&[9], vec![slow(5, 10, 0.5)]), [(9, 19.5)], "half a second is done when the fault is over");
    assert_eq!(done(&[0], vec![slow(5, 10, 2.0)]), [(0, 7.5)], "a faster machine is done earlier");
    assert_eq!(done(&[0, 1], vec![slow(5, 100, 0.25)]), [(0, 25.0), (1, 29.0)]);
    assert_eq!(done(&[0], vec![slow(1, 3, 0.5), slow(2, 4, 0.5)]), [(0, 11.75)]);
    assert_eq!(done(&[0], vec![slow(2, 8, 1.0)]), [(0, 10.0)]);
}

#[test]
fn work_pauses_with_its_machine() {
    let pause = |from, until| Fault::new(secs(from), secs(until), Pause { actors: only(0) });
    let slow = Fault::new(secs(1), secs(9), Slow { actors: only(0), factor: 0.5 });
    assert_eq!(done(&[0], vec![pause(5, 10)]), [(0, 15.0)]);
    assert_eq!(done(&[0, 7], vec![pause(5, 10)]), [(0, 15.0), (7, 20.0)], "what is to begin at 7 s begins at 10 s");
    assert_eq!(done(&[0], vec![pause(1, 3), pause(10, 11)]), [(0, 13.0)]);
    assert_eq!(done(&[0], vec![pause(3, 5), slow]), [(0, 15.0)], "1 + 1 + 0 + 2 s of work are done by 9 s");
    let crash = Fault::new(secs(4), secs(6), Crash { actors: only(0) });
    assert_eq!(done(&[0, 8], vec![pause(1, 3), crash]), [(0, 16.0), (8, 18.0)], "a life after a crash begins anew");
}

#[test]
fn a_held_message_is_counted_and_arrives_when_the_partition_ends() {
    let cut = Cut::Islands(vec![only(0), only(1)]);
    let hold = Fault::new(secs(1), secs(3), Partition { cut, hold: true });
    let mut sim = talkers(2, constant(10), vec![hold]);
    sim.run_until(secs(2));
    assert_eq!((sim.counts().held, sim.counts().delivered), (4, 0));
    assert_balanced(&sim);
    sim.run_until(secs(3) + Span::from_millis(10));
    assert_eq!(sim.counts().held, 0);
    assert!(sim.counts().delivered >= 4);
    assert_balanced(&sim);
    assert!(sim.recorder().0.iter().any(|line| line.contains("Hold(3.010000s)")));
}

#[test]
fn a_message_to_an_unknown_actor_is_lost_and_recorded() {
    let mut sim = talkers(1, constant(10), vec![]);
    sim.add(Talker { others: 9, ..Talker::default() }, "stray");
    sim.run_until(secs(1));
    assert_eq!(sim.counts().lost_no_such_actor, 1);
    let fate = format!("{:?}", Fate::Lost(LossReason::NoSuchActor));
    assert!(sim.recorder().0.iter().any(|line| line.contains(&fate)));
    assert_balanced(&sim);
}

#[test]
fn a_disarmed_timer_leaves_the_queue_unseen() {
    let mut sim = talkers(2, constant(10), vec![]);
    sim.run_until(secs(60));
    let counts = sim.counts();
    assert!(!log(&sim, 0).iter().any(|line| line.contains("Timeout")));
    assert!(counts.dropped > 100, "{counts:?}");
}

#[test]
fn an_empty_run_is_idle_at_the_requested_time() {
    let mut sim = talkers(0, constant(10), vec![Fault::new(secs(5), secs(6), Pause { actors: only(0) })]);
    assert_eq!(sim.run_until(secs(3)), RunStatus::Reached);
    assert_eq!((sim.run_until(secs(9)), sim.now()), (RunStatus::Idle, secs(9)));
    assert_eq!((sim.run_until(Time::NEVER), sim.now()), (RunStatus::Idle, secs(9)));
    assert!(!sim.step());
}

#[test]
fn powers_are_recorded() {
    let mut sim = talkers(2, constant(10), vec![Fault::new(secs(1), secs(2), Crash { actors: only(1) })]);
    sim.run_until(secs(2));
    for (at, power) in [(1, MachineAction::Crash), (2, MachineAction::Restart)] {
        let line = format!("{at}.000000s #1 Power({power:?})");
        assert!(sim.recorder().0.contains(&line), "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_message_is_accounted_for_under_any_faults(
        picks in prop::collection::vec((0..10usize, 0..10u64, 0..6u64, 0..4u32, 0..=10u32), 0..12),
        mean in 0..2_000u64,
    ) {
        let faults = picks.into_iter().map(|(kind, at, length, actor, tenths)| {
            let probability = f64::from(tenths) / 10.0;
            let (on, actors) = (Link::between(only(actor), meshsim_fault::ActorSelector::All), only(actor));
            let kind: FaultKind = match kind {
                0 => Loss { on, probability }.into(),
                1 => Duplicate { on, probability, lag: constant(mean) }.into(),
                2 => Reorder { on, probability, within: Span::from_secs(1) }.into(),
                3 => Partition { cut: Cut::Links(vec![on]), hold: true }.into(),
                4 => Partition { cut: Cut::Links(vec![on]), hold: false }.into(),
                5 => Crash { actors }.into(),
                6 => Wipe { actors }.into(),
                7 => Pause { actors }.into(),
                8 => Drop { on, probability }.into(),
                _ => meshsim_fault::Bandwidth::new(on, 100, 200).into(),
            };
            Fault::new(secs(at), secs(at + length), kind)
        });
        let jitter = Dist::Exponential { at_least: Span::ZERO, mean: Span::from_millis(mean) };
        let mut sim = talkers(4, jitter, faults.collect());
        for second in 1..=16 {
            sim.run_until(secs(second));
            assert_balanced(&sim);
        }
        // All faults have ended: every actor is up and receives again.
        let said: Vec<u64> = sim.actors().map(|talker| talker.said).collect();
        sim.run_until(secs(60));
        prop_assert_eq!(sim.counts().held, 0);
        prop_assert!(sim.actors().zip(said).all(|(talker, before)| talker.said > before));
    }
}
