//! Requests and commands of external clients, and their replies.

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_mesh::measure::{Failure, OperationOutcome};
use meshsim_mesh::message::{Ask, Operate, Operated};
use meshsim_mesh::model::{
    Backoff, COORDINATOR, CallPolicy, Change, EndpointId, Operation, Retry, Rounding, ScriptStep, Service, ServiceId,
};
use meshsim_mesh::path::{HOPS_MAX, Hop};
use meshsim_mesh::{ActorResults, Msg};
use meshsim_tests::party::{Spoken, start};
use meshsim_tests::{Testbed, call, extend, load, service, times};

fn secs(s: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(s)
}

/// Runs a lab for this many seconds.
fn run(lab: Testbed, for_secs: f64, outside: Vec<(Time, ActorId, Msg)>, stranger: Vec<(Time, ActorId, Msg)>) -> Spoken {
    let mut ran = start(lab, outside, stranger);
    ran.run_until(for_secs);
    ran
}

/// The gateway of a mesh without loads.
fn gateway(nodes: u32) -> ActorId {
    ActorId(1 + nodes)
}

fn ask(service: u16, traced: bool) -> Ask {
    let (service, endpoint) = (ServiceId(service), EndpointId(0));
    let policy = CallPolicy { timeout: None, ..CallPolicy::default() };
    Ask { ask: 7, service, endpoint, bytes: 1000, policy, deadline: None, traced }
}

fn at(at: f64, to: ActorId, ask: Ask) -> (Time, ActorId, Msg) {
    (secs(at), to, Msg::ExternalRequest(Box::new(ask)))
}

fn work(ms: u64) -> ScriptStep {
    ScriptStep::Work(Dist::Constant(Span::from_millis(ms)))
}

fn shape(hops: &[Hop]) -> Vec<(u16, u16)> {
    hops.iter().map(|hop| (hop.service.0, hop.depth)).collect()
}

/// 0 works, calls 1, then 2 and 1 in parallel; 2 is slower and calls 1 too.
fn shop() -> Testbed {
    let both = ScriptStep::Parallel(vec![vec![call(2)], vec![call(1)]]);
    let wide = |service| Service { capacity: 100.0, ..times(2, service) };
    let mut lab = Testbed::nodes(3);
    // The choice of the instance is random, so neighbours have the same latency as others.
    lab.network.local = Dist::Constant(Span::from_millis(1));
    lab.service(wide(service("front", vec![work(5), call(1), both])))
        .service(wide(service("stock", vec![work(10)])))
        .service(wide(service("price", vec![work(20), call(1)])))
}

#[test]
fn a_traced_reply_lists_parents_first_and_siblings_by_completion() {
    let ran = run(shop(), 10.0, vec![at(5.0, gateway(3), ask(0, true))], vec![]);
    let answers = ran.answers();
    let [answer] = answers[..] else { panic!("{answers:?}") };
    assert_eq!((answer.ask, answer.failure, answer.retries, answer.bytes), (7, None, 0, 1024));
    let hops = &answer.path.hops;
    assert_eq!(shape(hops), [(0, 0), (1, 1), (1, 1), (2, 1), (1, 2)]);
    assert_eq!(answer.path.beyond, 0);

    let ms = |time: Time| time.since(secs(5.0)).nanos() as f64 / 1e6;
    assert_eq!((ms(answer.asked), ms(answer.ended)), (1.0, 54.0));
    let times: Vec<(f64, f64)> = hops.iter().map(|hop| (ms(hop.arrived), ms(hop.ended))).collect();
    assert_eq!(times, [(2.0, 53.0), (8.0, 18.0), (20.0, 30.0), (20.0, 52.0), (41.0, 51.0)]);
    for hop in hops {
        assert!(hop.answered && hop.began == hop.arrived && hop.failure.is_none() && hop.version == 1, "{hop:?}");
        assert!((1..=3).contains(&hop.node.0), "{hop:?}");
    }
}

#[test]
fn an_untraced_request_has_no_path_and_takes_the_same_time() {
    let asks = vec![at(5.0, gateway(3), ask(0, false)), at(6.0, gateway(3), ask(0, true))];
    let ran = run(shop(), 10.0, asks, vec![]);
    let answers = ran.answers();
    let took: Vec<Span> = answers.iter().map(|answer| answer.ended.since(answer.asked)).collect();
    assert_eq!(took, [Span::from_millis(53); 2]);
    assert_eq!((answers[0].path.hops.len(), answers[1].path.hops.len()), (0, 5));
}

#[test]
fn tries_that_were_given_up_are_on_the_path_as_the_caller_saw_them() {
    let hangs = service("s", vec![ScriptStep::Sleep(Dist::Constant(Span::from_secs(100)))]);
    let lab = Testbed::nodes(1).service(Service { capacity: 10.0, ..hangs });
    let policy = CallPolicy { timeout: Some(Span::from_millis(100)), retries: 2, ..CallPolicy::default() };
    let ran = run(lab, 10.0, vec![at(5.0, gateway(1), Ask { policy, ..ask(0, true) })], vec![]);
    let answers = ran.answers();
    assert_eq!((answers[0].failure, answers[0].retries), (Some(Failure::Timeout), 2));
    let hops = &answers[0].path.hops;
    assert_eq!(hops.iter().map(|hop| hop.attempt).collect::<Vec<_>>(), [0, 1, 2]);
    for hop in hops {
        assert!(!hop.answered && hop.failure == Some(Failure::Timeout), "{hop:?}");
        assert_eq!(hop.ended.since(hop.arrived), Span::from_millis(100));
    }
}

#[test]
fn a_late_reply_still_brings_its_path() {
    let wide = |name: &str, script| Service { capacity: 10.0, ..service(name, script) };
    let lab = Testbed::nodes(1)
        .service(wide("front", vec![work(10), call(1), work(60)]))
        .service(wide("back", vec![work(5)]));
    let retry = Retry { backoff: Backoff::Fixed, base: Span::from_millis(1), ..Retry::default() };
    let policy = CallPolicy { timeout: Some(Span::from_millis(50)), retries: 1, retry, rules: None };
    let ran = run(lab, 10.0, vec![at(5.0, gateway(1), Ask { policy, ..ask(0, true) })], vec![]);
    let answers = ran.answers();
    assert_eq!((answers[0].failure, answers[0].retries), (Some(Failure::Timeout), 1));
    // Each attempt takes 75 ms: the first reply comes 24 ms after the second attempt was sent, the second when its
    // caller has given up.
    let hops = &answers[0].path.hops;
    assert_eq!(shape(hops), [(0, 0), (1, 1), (0, 0)]);
    let marks: Vec<_> = hops.iter().map(|hop| (hop.late, hop.answered, hop.failure)).collect();
    let given_up = Some(Failure::Timeout);
    assert_eq!(marks, [(true, true, given_up), (false, true, None), (false, false, given_up)]);
    assert_eq!(hops[0].ended.since(hops[0].arrived), Span::from_millis(75));
}

/// A front, whose calls to the back are optional and given up after 20 ms; the back, which takes 32 ms with its call to
/// a leaf.
fn impatient(script: impl FnOnce(ScriptStep) -> Vec<ScriptStep>) -> Testbed {
    let wide = |name: &str, script| Service { capacity: 10.0, ..service(name, script) };
    let mut impatient = call(1);
    let ScriptStep::Call(of) = &mut impatient else { unreachable!() };
    (of.optional, of.policy.timeout) = (true, Some(Span::from_millis(20)));
    let mut lab = Testbed::nodes(1);
    lab.network.local = Dist::Constant(Span::from_millis(1));
    lab.service(wide("front", script(impatient)))
        .service(wide("back", vec![call(2), work(20)]))
        .service(wide("leaf", vec![work(10)]))
}

#[test]
fn a_call_that_was_given_up_for_good_keeps_the_hops_below_it_if_its_answer_comes_before_the_callers_own() {
    let lab = impatient(|call| vec![call, work(60)]);
    let ran = run(lab, 10.0, vec![at(5.0, gateway(1), ask(0, true))], vec![]);
    let answers = ran.answers();
    assert_eq!((answers[0].failure, answers[0].degraded), (None, true));
    let hops = &answers[0].path.hops;
    assert_eq!(shape(hops), [(0, 0), (1, 1), (2, 2)]);
    let marks: Vec<_> = hops.iter().map(|hop| (hop.late, hop.answered, hop.failure)).collect();
    assert_eq!(marks, [(false, true, None), (true, true, Some(Failure::Timeout)), (false, true, None)]);
    assert_eq!(hops[1].ended.since(hops[1].arrived), Span::from_millis(32));
}

#[test]
fn what_comes_after_the_callers_own_answer_is_in_no_path() {
    let lab = impatient(|call| vec![call, work(5)]);
    let ran = run(lab, 10.0, vec![at(5.0, gateway(1), ask(0, true))], vec![]);
    let answers = ran.answers();
    let [answer] = answers[..] else { panic!("{answers:?}") };
    let hops = &answer.path.hops;
    assert_eq!(shape(hops), [(0, 0), (1, 1)]);
    assert!(!hops[1].answered && !hops[1].late && hops[1].failure == Some(Failure::Timeout), "{hops:?}");
    assert_eq!(hops[1].ended.since(hops[1].arrived), Span::from_millis(20));
}

#[test]
fn each_late_answer_takes_the_place_of_its_own_try() {
    // Two beside each other, then one more; each brings its leaf.
    let both =
        |call: ScriptStep| vec![ScriptStep::Parallel(vec![vec![call.clone()], vec![call.clone()]]), call, work(60)];
    let ran = run(impatient(both), 10.0, vec![at(5.0, gateway(1), ask(0, true))], vec![]);
    let answers = ran.answers();
    let hops = &answers[0].path.hops;
    assert_eq!(shape(hops), [(0, 0), (1, 1), (2, 2), (1, 1), (2, 2), (1, 1), (2, 2)]);
    assert_eq!(hops.iter().filter(|hop| hop.late).count(), 3);
    // A hop is within the one that it was made for.
    for pair in hops[1..].chunks(2) {
        assert!(pair[0].arrived < pair[1].arrived && pair[1].ended < pair[0].ended, "{pair:?}");
    }
}

#[test]
fn the_path_shows_waiting_for_slots_and_refusals() {
    let lab = Testbed::nodes(1).service(Service { queue: 1, ..service("s", vec![work(50)]) });
    let asks = (0..3).map(|ask_number| at(5.0, gateway(1), Ask { ask: ask_number, ..ask(0, true) })).collect();
    let ran = run(lab, 10.0, asks, vec![]);
    let answers = ran.answers();
    assert_eq!(answers.iter().map(|answer| answer.ask).collect::<Vec<_>>(), [2, 0, 1], "the refused is the first");
    let refused = answers[0].path.hops[0];
    assert_eq!((answers[0].failure, refused.failure), (Some(Failure::Refused), Some(Failure::Refused)));
    assert!(refused.answered && refused.ended == refused.arrived && refused.version == 1, "{refused:?}");
    let waited: Vec<Span> =
        answers.iter().map(|answer| answer.path.hops[0]).map(|h| h.began.since(h.arrived)).collect();
    assert_eq!(waited, [0, 0, 50].map(Span::from_millis));
}

#[test]
fn a_failure_far_below_is_named_on_every_hop_above_it() {
    let mut lab = shop();
    lab.mesh.services[1].queue = 0;
    lab.mesh.services[1].capacity = 1.0;
    lab.mesh.services[1].instances = 1;
    let ran = run(lab, 10.0, vec![at(5.0, gateway(3), ask(0, true)), at(5.002, gateway(3), ask(0, true))], vec![]);
    for answer in ran.answers().iter().filter(|answer| answer.failure.is_some()) {
        let hops = &answer.path.hops;
        assert_eq!((hops[0].failure, hops[1].failure), (Some(Failure::Refused), Some(Failure::Refused)), "{hops:?}");
    }
    assert!(ran.answers().iter().any(|answer| answer.failure.is_some()));
}

#[test]
fn a_path_has_a_bound_and_counts_the_hops_beyond_it() {
    let mut many = call(1);
    let ScriptStep::Call(of) = &mut many else { unreachable!() };
    of.count = 1500;
    let lab = Testbed::nodes(1).service(service("front", vec![many])).service(service("back", vec![]));
    let ran = run(lab, 20.0, vec![at(5.0, gateway(1), ask(0, true))], vec![]);
    let answers = ran.answers();
    assert_eq!((answers[0].path.hops.len(), answers[0].path.beyond), (HOPS_MAX, 1501 - HOPS_MAX as u64));
}

#[test]
fn an_invalid_external_request_is_refused() {
    let ask = || ask(0, true);
    let nonsense = [
        Ask { service: ServiceId(3), ..ask() },
        Ask { service: ServiceId(u16::MAX), ..ask() },
        Ask { endpoint: EndpointId(1), ..ask() },
        Ask { policy: CallPolicy { retries: u32::MAX, ..ask().policy }, ..ask() },
    ];
    let asks = nonsense.map(|ask| at(5.0, gateway(3), ask));
    let ran = run(shop(), 10.0, asks.into(), vec![]);
    let answers = ran.answers();
    assert_eq!(answers.len(), 4);
    assert!(answers.iter().all(|answer| answer.failure == Some(Failure::Refused) && answer.path.hops.is_empty()));
}

#[test]
fn strangers_get_no_reply_and_all_requests_are_counted() {
    let said = |ask: Ask| vec![at(5.0, gateway(3), ask)];
    let mut asks = said(ask(0, false));
    asks.extend(said(ask(9, false)));
    let ran = run(shop(), 10.0, asks, said(ask(0, false)));
    assert_eq!((ran.heard().len(), ran.heard_by(ActorId(ran.outside.0 + 1)).len()), (2, 0));
    let ActorResults::Gateway { tally } = ran.mesh(gateway(3)).results(ran.sim.now()) else {
        panic!("it is the gateway")
    };
    assert_eq!((tally.offered, tally.done, tally.failed.of(Failure::Refused)), (2, 1, 1));
    assert_eq!(tally.latency.mean(), Span::from_millis(53));
}

fn operate(at: f64, service: u16, change: Change) -> (Time, ActorId, Msg) {
    // Its own time is ignored.
    let (operation_at, every) = (Time::NEVER, Span::from_secs(1));
    let operation = Operation { at: operation_at, service: ServiceId(service), change, every, times: None };
    (secs(at), COORDINATOR, Msg::Operate(Box::new(Operate { ask: 7, operation })))
}

/// Reply to the operation of [`operate`].
fn operated(history: Option<u32>) -> Msg {
    Msg::Operated(Operated { ask: 7, history, is_refused: false })
}

#[test]
fn a_manual_operation_starts_at_once_and_supersedes_one_of_the_file() {
    let lab = Testbed::nodes(2).service(times(2, service("s", vec![])));
    let lab = lab.operation(3.0, 0, extend(1000, 0.1, Rounding::Away), 1.0, None);
    let manual = vec![operate(5.5, 0, extend(10, 1.0, Rounding::Away))];
    let ran = run(lab, 20.0, manual, vec![]);
    assert_eq!(ran.heard(), [operated(Some(2))]);
    let coordinator = ran.mesh(COORDINATOR).coordinator().expect("it is the coordinator");
    let [_, replaced, manual] = coordinator.history() else { panic!("{:?}", coordinator.history()) };
    assert_eq!(
        (replaced.operation, replaced.outcome, replaced.is_manual()),
        (Some(1), OperationOutcome::Superseded, false)
    );
    assert_eq!((manual.operation, manual.outcome, manual.is_manual()), (None, OperationOutcome::Reached, true));
    assert_eq!((manual.began, manual.steps.len()), (secs(5.501), 1));
    let now: u32 = (1..=2).map(|node| ran.mesh(ActorId(node)).node().expect("it is a node").ready(ServiceId(0))).sum();
    assert_eq!(now, 10);
}

#[test]
fn an_invalid_or_foreign_manual_operation_changes_nothing() {
    let lab = Testbed::nodes(2).service(times(2, service("s", vec![])));
    let grow = extend(10, 1.0, Rounding::Away);
    let nonsense = vec![operate(5.0, 1, grow.clone()), operate(6.0, 0, extend(10, f64::NAN, Rounding::Away))];
    let ran = run(lab, 20.0, nonsense, vec![operate(5.0, 0, grow)]);
    assert_eq!(ran.heard(), [operated(None), operated(None)]);
    assert_eq!(ran.heard_by(ActorId(ran.outside.0 + 1)), []);
    assert_eq!(ran.mesh(COORDINATOR).coordinator().expect("it is the coordinator").history().len(), 1);
}

#[test]
fn results_and_replies_survive_encoding() {
    let ran = run(shop().load(load(0, 100.0, 5.0)), 10.0, vec![at(5.0, ActorId(5), ask(0, true))], vec![]);
    let bytes = |found: &ActorResults| {
        let mut bytes = Vec::new();
        meshsim_wire::encode_into(found, &mut bytes).expect("it can be written");
        bytes
    };
    for actor in (0..ran.outside.0).map(ActorId) {
        let found = ran.mesh(actor).results(ran.sim.now());
        let read: ActorResults = meshsim_wire::decode(&bytes(&found)).expect("it can be read");
        assert_eq!((bytes(&read), format!("{read:?}")), (bytes(&found), format!("{found:?}")), "{actor}");
    }
    let mut answer = Vec::new();
    meshsim_wire::encode_into(&ran.heard()[0], &mut answer).expect("it can be written");
    assert_eq!(meshsim_wire::decode::<Msg>(&answer).as_ref(), Ok(&ran.heard()[0]));
}
