use meshsim_actor::Span;

use super::*;
use crate::cluster::Blob;

const NODE_0: ActorId = ActorId(1);
const NODE_1: ActorId = ActorId(2);

/// A hub of a coordinator, two nodes that are needed, and a spare one; and the time.
struct Bench {
    hub: HubMachine,
    count: u64,
    connected: u64,
}

impl Bench {
    fn new() -> Self {
        let actor = |name: &str, role, needed| ActorSpec { name: name.into(), role, needed };
        let spec = HubSpec {
            run: 7,
            boot_id: 1,
            hostname: "hub".into(),
            pid: 1,
            end: Time::NEVER,
            is_busy: false,
            is_traced: false,
            payload_bytes: 0,
            actors: vec![
                actor("coordinator", "coordinator", true),
                actor("node-0", "node", true),
                actor("node-1", "node", true),
                actor("node-2", "node", false),
            ],
            here: vec![ActorId(0)],
        };
        Bench { hub: HubMachine::new(0, spec), count: 0, connected: 0 }
    }

    /// A hub in whose run both nodes are, with their connections. Their boot ids are 10 and 11.
    fn running() -> (Self, ConnectionId, ConnectionId) {
        let mut bench = Bench::new();
        let (first, second) = (bench.is_ready(10, "node-0"), bench.is_ready(11, "node-1"));
        assert_eq!(bench.hub.phase(), Phase::Running);
        (bench, first, second)
    }

    fn take(&mut self, event: HubEvent) -> Vec<HubEffect> {
        let mut out = Vec::new();
        self.hub.take(self.count, event, &mut out);
        out
    }

    /// Lets time pass, tick by tick.
    fn later(&mut self, time: Duration) -> Vec<HubEffect> {
        let until = self.count + time.as_nanos() as u64;
        let mut out = Vec::new();
        while self.count < until {
            self.count += TICK.as_nanos() as u64;
            self.hub.take(self.count, HubEvent::Tick, &mut out);
        }
        out
    }

    fn joins(&mut self, boot_id: u64, name: &str) -> (ConnectionId, Result<Joined, Refusal>) {
        self.connected += 1;
        let connection = ConnectionId(self.connected);
        let join = Join { role: "node".into(), names: vec![name.into()], boot_id, ..Join::default() };
        let answer = match self.take(HubEvent::Joins { connection, join, address: "there".into() }).pop() {
            Some(HubEffect::Admit { joined, .. }) => Ok(joined),
            Some(HubEffect::Refuse { refusal, .. }) => Err(refusal),
            other => panic!("{other:?}"),
        };
        (connection, answer)
    }

    fn refusal(&mut self, boot_id: u64, name: &str) -> String {
        self.joins(boot_id, name).1.unwrap_err().why
    }

    fn is_ready(&mut self, boot_id: u64, name: &str) -> ConnectionId {
        let (connection, joined) = self.joins(boot_id, name);
        joined.unwrap();
        self.says(connection, ready(0));
        connection
    }

    fn says(&mut self, connection: ConnectionId, control: Control) -> Vec<HubEffect> {
        self.take(HubEvent::Said { connection, control })
    }

    fn ends(&mut self, connection: ConnectionId) -> Vec<HubEffect> {
        self.take(HubEvent::Ended { connection, why: "broke off".into() })
    }

    /// The hub is stopped, and hands in its own results.
    fn collects(&mut self) -> Vec<HubEffect> {
        let mut out = self.take(HubEvent::Stop);
        out.extend(self.take(HubEvent::Found { actor: ActorId(0), bytes: vec![0] }));
        out.extend(self.take(HubEvent::Reported(Box::default())));
        out
    }

    /// Names of the actors of all processes that are connected.
    fn connected(&self) -> Vec<String> {
        let processes = self.hub.status(self.count).processes.into_iter();
        processes.filter(|process| process.connected).flat_map(|process| process.actors).collect()
    }
}

fn ready(faults: u32) -> Control {
    Control::Ready { error_ns: 0, faults }
}

fn results(actor: ActorId, part: &[u8], last: bool) -> Control {
    Control::ActorResults { actor, part: Blob(part.to_vec()), last }
}

fn done() -> Control {
    Control::Done(Box::default())
}

/// Messages to this connection, in order.
fn told<'a>(effects: &'a [HubEffect], connection: ConnectionId) -> Vec<&'a Control> {
    let to = |effect: &'a HubEffect| match effect {
        HubEffect::Tell { to, control } if to.contains(&connection) => Some(control),
        _ => None,
    };
    effects.iter().filter_map(to).collect()
}

/// The reason why the hub ends the connection.
fn closed(effects: &[HubEffect]) -> Option<&Closure> {
    effects.iter().find_map(|effect| if let HubEffect::Close { why, .. } = effect { Some(why) } else { None })
}

fn is_finished(effects: &[HubEffect]) -> bool {
    effects.contains(&HubEffect::Finish)
}

#[test]
fn a_run_begins_when_the_last_needed_process_is_ready_and_at_one_time() {
    let mut bench = Bench::new();
    let first = bench.is_ready(10, "node-0");
    let (second, joined) = bench.joins(11, "node-1");
    assert!(!joined.unwrap().resumed);
    let begun = bench.says(second, ready(0));
    let lead = (LEAD_OF_THREE.as_nanos()) as u64;
    let begin = Control::Begin { zero: lead, end: Time::NEVER };
    assert_eq!((told(&begun, first).last(), told(&begun, second).last()), (Some(&&begin), Some(&&begin)));
    bench.later(Duration::from_secs(1));
    let spare = bench.joins(12, "node-2").0;
    let late = bench.says(spare, ready(0));
    assert!(told(&late, spare).contains(&&begin) && !told(&late, first).contains(&&begin));
}

/// 100 ms, and 3 ms for each process.
const LEAD_OF_THREE: Duration = Duration::from_millis(109);

#[test]
fn an_admission_that_did_not_arrive_ends_only_its_own_connection() {
    let (mut bench, first, _) = Bench::running();
    bench.ends(first);
    let (undelivered, _) = bench.joins(10, "node-0");
    let (later, _) = bench.joins(10, "node-0");
    bench.says(later, ready(0));
    assert_eq!(bench.ends(undelivered), []);
    assert!(bench.connected().contains(&"node-0".into()));
}

#[test]
fn an_earlier_connection_of_a_process_is_refused_and_its_end_means_nothing() {
    let (mut bench, old, _) = Bench::running();
    let (new, joined) = bench.joins(10, "node-0");
    assert!(joined.unwrap().resumed);
    assert!(matches!(closed(&bench.says(old, Control::Ping(1))), Some(Closure::Violation(_))));
    bench.says(new, ready(0));
    assert_eq!(bench.ends(old), []);
    assert_eq!(bench.connected(), ["coordinator", "node-0", "node-1"]);
}

#[test]
fn a_process_that_was_never_ready_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let (connection, _) = bench.joins(10, "node-0");
    bench.ends(connection);
    let joined = bench.joins(10, "node-0").1.unwrap();
    assert!(!joined.resumed && joined.process == 2 && joined.actors[0].incarnation == 0);
}

#[test]
fn a_lost_process_keeps_its_actors_until_another_one_wants_them() {
    let (mut bench, first, _) = Bench::running();
    assert_eq!(bench.refusal(12, "node-0"), "node-0 is taken by another process");
    bench.ends(first);
    let (instead, joined) = bench.joins(12, "node-0");
    assert_eq!(joined.unwrap().actors[0].incarnation, 1 << 8);
    bench.says(instead, ready(0));
    assert_eq!(bench.refusal(10, "node-0"), "another process has taken its place");
    bench.collects();
    assert_eq!(bench.hub.result().restarts, [(NODE_0, Time::ZERO)]);
}

#[test]
fn manual_faults_are_told_to_a_process_from_the_first_that_it_does_not_have() {
    let (mut bench, first, _) = Bench::running();
    let fault = |secs| {
        let at = Time::ZERO + Span::from_secs(secs);
        Fault::new(at, Time::NEVER, meshsim_fault::Pause { actors: [NODE_0].into_iter().collect() })
    };
    bench.take(HubEvent::FaultAdded(fault(1)));
    bench.ends(first);
    bench.take(HubEvent::FaultAdded(fault(2)));
    bench.take(HubEvent::FaultEnded { index: 0, at: Time::ZERO });
    let (again, _) = bench.joins(10, "node-0");
    let effects = bench.says(again, ready(1));
    let ended = Control::EndFault { fault: 0, at: Time::ZERO };
    assert_eq!(told(&effects, again)[..2], [&Control::Fault(Box::new(fault(2))), &ended]);
}

#[test]
fn results_that_were_cut_off_are_taken_from_the_start() {
    let (mut bench, first, second) = Bench::running();
    bench.collects();
    bench.says(first, results(NODE_0, &[1, 2], false));
    bench.ends(first);
    let (again, _) = bench.joins(10, "node-0");
    let effects = bench.says(again, ready(0));
    assert!(told(&effects, again).contains(&&Control::End { at: bench.hub.ended }));
    bench.says(again, results(NODE_0, &[1, 2], false));
    bench.says(again, results(NODE_0, &[3], true));
    assert!(!is_finished(&bench.says(again, done())));
    bench.says(second, results(NODE_1, &[4], true));
    assert!(is_finished(&bench.says(second, done())));
    let result = bench.hub.result();
    assert_eq!(result.findings, [Some(vec![0]), Some(vec![1, 2, 3]), Some(vec![4]), None]);
    assert_eq!((result.lost, result.absent), (vec![], vec![ActorId(3)]));
}

#[test]
fn results_are_taken_only_from_the_holder_and_once() {
    let (mut bench, first, _) = Bench::running();
    assert!(closed(&bench.says(first, results(NODE_0, &[1], true))).is_some(), "the run goes on");
    let (mut bench, first, second) = Bench::running();
    bench.collects();
    assert!(closed(&bench.says(second, results(NODE_0, &[1], true))).is_some(), "another process has it");
    bench.says(first, results(NODE_0, &[1], true));
    assert!(closed(&bench.says(first, results(NODE_0, &[1], true))).is_some(), "they are whole");
}

#[test]
fn half_of_the_results_of_an_actor_are_none() {
    let (mut bench, first, second) = Bench::running();
    bench.collects();
    bench.says(first, results(NODE_0, &[1], false));
    bench.ends(first);
    bench.says(second, results(NODE_1, &[2], true));
    bench.says(second, done());
    assert!(is_finished(&bench.later(Duration::from_secs(4))));
    let result = bench.hub.result();
    assert_eq!((&result.findings[1], result.lost), (&None, vec!["node-0".to_owned()]));
}

#[test]
fn a_process_whose_results_have_arrived_is_admitted_without_actors() {
    let (mut bench, first, _) = Bench::running();
    bench.collects();
    bench.says(first, results(NODE_0, &[1], true));
    bench.says(first, done());
    bench.ends(first);
    let joined = bench.joins(10, "node-0").1.unwrap();
    assert!(joined.resumed && joined.actors.is_empty());
}

#[test]
fn a_process_that_left_is_admitted_without_actors_although_another_one_has_them() {
    let (mut bench, first, _) = Bench::running();
    bench.says(first, Control::Left);
    bench.says(first, results(NODE_0, &[1], true));
    assert_eq!(told(&bench.says(first, done()), first), [&Control::Leave]);
    bench.ends(first);
    let instead = bench.is_ready(12, "node-0");
    let joined = bench.joins(10, "node-0").1.unwrap();
    assert!(joined.resumed && joined.actors.is_empty() && joined.process == 1);
    bench.collects();
    bench.says(instead, results(NODE_0, &[2], true));
    let result = bench.hub.result();
    assert_eq!((&result.findings[1], result.former), (&Some(vec![2]), vec![(NODE_0, vec![1])]));
    assert!(result.restarts.is_empty());
}

#[test]
fn a_process_that_returns_while_it_leaves_departs_once_and_hands_in_from_the_start() {
    let (mut bench, first, _) = Bench::running();
    bench.says(first, Control::Left);
    bench.says(first, results(NODE_0, &[1], false));
    bench.ends(first);
    let (again, _) = bench.joins(10, "node-0");
    bench.says(again, ready(0));
    assert_eq!(closed(&bench.says(again, Control::Left)), None);
    bench.says(again, results(NODE_0, &[1], false));
    bench.says(again, results(NODE_0, &[2], true));
    bench.says(again, done());
    bench.collects();
    let result = bench.hub.result();
    assert_eq!((result.departures.len(), &result.findings[1]), (1, &Some(vec![1, 2])));
}

#[test]
fn a_process_that_breaks_off_at_the_end_is_waited_for_and_not_for_long() {
    let (mut bench, first, second) = Bench::running();
    bench.collects();
    bench.says(second, done());
    bench.ends(first);
    assert!(!is_finished(&bench.later(Duration::from_millis(2_900))));
    assert!(is_finished(&bench.later(Duration::from_millis(200))));
}

#[test]
fn silent_processes_are_waited_for_until_twenty_seconds_after_the_last_results() {
    let (mut bench, first, _) = Bench::running();
    bench.collects();
    assert!(!is_finished(&bench.later(Duration::from_secs(19))));
    bench.says(first, results(NODE_0, &[1], false));
    assert!(!is_finished(&bench.later(Duration::from_secs(19))));
    let effects = bench.later(Duration::from_secs(2));
    assert!(is_finished(&effects) && told(&effects, first) == [&Control::Leave]);
    assert_eq!(bench.refusal(11, "node-1"), "the run is over", "it returns, and is not waited for");
}

#[test]
fn time_in_which_the_hub_stood_still_counts_against_no_member() {
    let (mut bench, _, _) = Bench::running();
    bench.collects();
    bench.count += 3_600_000_000_000;
    assert!(!is_finished(&bench.take(HubEvent::Tick)));
    assert!(!is_finished(&bench.later(Duration::from_secs(18))));
    assert!(is_finished(&bench.later(Duration::from_secs(2))));
}

#[test]
fn a_process_that_is_ready_after_the_end_is_refused_and_not_waited_for() {
    let (mut bench, first, second) = Bench::running();
    let (late, joined) = bench.joins(12, "node-2");
    joined.unwrap();
    bench.collects();
    bench.says(first, done());
    assert_eq!(closed(&bench.says(late, ready(0))), Some(&Closure::Denied("the run is over".into())));
    assert_eq!(bench.refusal(13, "node-2"), "the run is over");
    assert!(is_finished(&bench.says(second, done())));
}

#[test]
fn a_process_is_ready_once_on_each_connection() {
    let (mut bench, first, _) = Bench::running();
    assert_eq!(closed(&bench.says(first, ready(0))), Some(&Closure::Violation("said twice that it is ready".into())));
}

#[test]
fn a_hub_that_is_stopped_before_the_run_names_the_actors_that_are_missing() {
    let mut bench = Bench::new();
    bench.is_ready(10, "node-0");
    let missing = vec!["node-1".to_owned()];
    assert_eq!(bench.take(HubEvent::Stop), [HubEffect::Stopped { missing }]);
    assert_eq!(bench.refusal(11, "node-1"), "the run is over");
    assert_eq!((bench.hub.phase(), bench.take(HubEvent::Tick)), (Phase::Waiting, vec![]));
}

#[test]
fn a_process_that_others_refuse_is_named_once_and_reported_each_time() {
    let (mut bench, first, second) = Bench::running();
    let refused = |process| Control::Refused { process, why: "does not know the secret".into() };
    let is_warned = |effects: &[HubEffect]| effects.iter().any(|it| matches!(it, HubEffect::Log(Level::Warn, _)));
    let once = bench.says(first, refused(2));
    assert!(is_warned(&once) && once.contains(&HubEffect::Refused(vec![NODE_1])));
    let again = bench.says(first, refused(2));
    assert!(!is_warned(&again) && again.contains(&HubEffect::Refused(vec![NODE_1])));
    assert_eq!(bench.says(second, refused(1)), [], "a process that is refused itself is not believed");
}

#[test]
fn news_are_passed_on_for_the_actors_of_their_sender_while_the_run_goes_on() {
    let (mut bench, first, second) = Bench::running();
    bench.later(Duration::from_secs(1));
    let said = |actor| Control::News { actor, at: Time::NEVER, news: Blob(vec![1]) };
    let at = bench.hub.status(bench.count).now;
    let news = News { actor: NODE_0, incarnation: 0, at, bytes: vec![1] };
    assert_eq!(bench.says(first, said(NODE_0)), [HubEffect::News(news)]);
    assert_eq!(bench.says(second, said(NODE_0)), []);
    bench.take(HubEvent::Stop);
    assert_eq!(bench.says(first, said(NODE_0)), []);
}
