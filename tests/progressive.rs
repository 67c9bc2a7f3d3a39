//! Rollouts in running meshes: weights are shares of requests, analyses see what messages tell them, a rollback
//! restores the old version, and all that is decided is applied exactly once, whatever the network and the machines do.

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_fault::{ActorSelector, ActorSet, Crash, Drop, Duplicate, Fault, Link, Pause, Reorder};
use meshsim_mesh::measure::{OperationHistory, OperationKind, OperationOutcome};
use meshsim_mesh::model::ServiceId;
use meshsim_mesh::rollout::history::{AbortReason, Entry, MeasurementVerdict, PauseReason};
use meshsim_tests::{Ran, Testbed, campaign, parse};

/// Ten instances, whose version 2 fails every request, under 100 requests a second; with these operations.
fn bad(more: &str, operations: &str) -> Testbed {
    of_errors("100%", more, operations)
}

/// The same with a version 2 that fails this share of its requests.
fn of_errors(errors: &str, more: &str, operations: &str) -> Testbed {
    let get = "script: [ sleep: 5ms ]";
    let experiment = parse(&format!(
        "name: progressive\nduration: 200s\nnodes: [ {{ name: n, count: 4, cores: 8 }} ]\nnetwork: {{ latency: 1ms }}\n\
         control: {{ metrics: 1s {more} }}\nservices:\n  web: {{ instances: 10, capacity: 100, start_delay: 700ms, endpoints: \
         {{ get: {{ {get} }} }}, versions: {{ 2: {{ endpoints: {{ get: {{ errors: {errors}, {get} }} }} }} }} }}\n\
         operations:\n{operations}\nload: {{ users: {{ to: web, arrivals: {{ constant: 100/s }}, from: 5s, timeout: 1s }} }}\n"
    ));
    Testbed { mesh: experiment.mesh, network: experiment.network, seed: experiment.seed }
}

fn rollout(ran: &Ran) -> &OperationHistory {
    let mut all = ran.coordinator().history().iter();
    all.find(|it| it.kind == OperationKind::Rollout).expect("the rollout has begun")
}

fn entries(ran: &Ran) -> impl Iterator<Item = (f64, &Entry)> {
    let all = &rollout(ran).rollout.as_ref().expect("it has a history").entries;
    all.iter().map(|(at, entry)| (at.secs(), entry))
}

fn verdicts(ran: &Ran) -> Vec<MeasurementVerdict> {
    let measured = |(_, entry): (f64, &Entry)| match entry {
        Entry::Measured(it) => Some(it.verdict),
        _ => None,
    };
    entries(ran).filter_map(measured).collect()
}

fn failed(ran: &Ran) -> u64 {
    ran.client(0).tallies().iter().map(|tally| tally.failed.total()).sum()
}

/// Requests that failed between two times.
fn failed_between(ran: &mut Ran, from: f64, until: f64) -> u64 {
    ran.run_until(from);
    let before = failed(ran);
    ran.run_until(until);
    failed(ran) - before
}

/// Expects this share of the 100 requests a second between two times to go to version 2, which fails them, within four
/// standard errors of a binomial.
fn expect_share(ran: &mut Ran, from: f64, until: f64, share: f64) {
    let hits = failed_between(ran, from, until) as f64;
    let all = (until - from) * 100.0;
    let (mean, error) = (all * share, (all * share * (1.0 - share)).sqrt());
    assert!((hits - mean).abs() <= 4.0 * error + 2.0, "{hits} of {all} from {from} s, not {mean} +- {error}");
}

/// The coordinator's desired state is what all nodes have, and each step was applied by all.
fn expect_settled(ran: &Ran, what: &str) {
    let (coordinator, state) = (ran.coordinator(), ran.coordinator().state());
    assert_eq!(ran.versions(0), coordinator.wanted(ServiceId(0)).versions, "{what}");
    for node in 0..4 {
        let node = ran.node(node).state();
        assert_eq!((node.applied, node.digest), (state.steps, state.digest), "{what}");
    }
    // Steps are numbered without gaps, each decided once.
    let mut numbers: Vec<u64> = coordinator.history().iter().flat_map(|it| &it.steps).map(|step| step.n).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=state.steps), "{what}");
}

#[test]
fn each_weight_is_a_share_of_requests_and_a_pause_lasts_as_long_as_it_says() {
    let steps = "[ set_weight: 10%, pause: 20s, set_canary_scale: 3, set_weight: 50%, pause: 20s, \
                 set_canary_scale: match_traffic_weight, set_weight: 20%, pause: 20s ]";
    let operations = format!("  - {{ at: 20s, rollout: web, to: 2, steps: {steps}, scale_down_delay: 10s }}");
    let mut ran = bad("", &operations).start(());
    expect_share(&mut ran, 22.0, 41.0, 0.1);
    assert_eq!(ran.versions(0), [(1, 10), (2, 1)]);
    expect_share(&mut ran, 44.0, 62.0, 0.5);
    assert_eq!(ran.versions(0), [(1, 10), (2, 3)], "half of the requests, for three of thirteen instances");
    expect_share(&mut ran, 66.0, 82.0, 0.2);
    assert_eq!(ran.versions(0), [(1, 10), (2, 2)]);
    // All requests, while the old instances stay.
    expect_share(&mut ran, 87.0, 92.0, 1.0);
    assert_eq!(ran.versions(0), [(1, 10), (2, 10)]);
    ran.run_until(110.0);
    assert_eq!((ran.versions(0), rollout(&ran).outcome), (vec![(2, 10)], OperationOutcome::Reached));
    let began: Vec<f64> = entries(&ran).filter(|(_, it)| matches!(it, Entry::Step(_))).map(|(at, _)| at).collect();
    let pauses = [began[2] - began[1], began[5] - began[4]];
    assert!(pauses.iter().all(|length| (length - 20.0).abs() < 1e-9), "{began:?}");
    expect_settled(&ran, "weights");
}

#[test]
fn a_bad_version_is_found_in_the_background_and_the_old_one_restored() {
    let operations = "  - { at: 20s, rollout: web, to: 2, steps: [ set_weight: 10%, pause: 60s, set_weight: 50%, pause: 60s ], \
                      analysis: { metrics: [ errors < 1% ], interval: 5s }, abort_scale_down_delay: 4s }";
    let mut ran = of_errors("20%", "", operations).start(());
    ran.run_until(27.5);
    assert_eq!(ran.coordinator().wanted(ServiceId(0)).weight_of(2), 0.0, "all requests go to the old version at once");
    assert_eq!(ran.versions(0), [(1, 10), (2, 1)], "the instance stays until callers know");
    // Callers know of it after the debounce.
    assert_eq!(failed_between(&mut ran, 28.0, 190.0), 0);
    assert_eq!((ran.versions(0), verdicts(&ran)), (vec![(1, 10)], vec![MeasurementVerdict::Failed]));
    assert_eq!(rollout(&ran).outcome, OperationOutcome::RolledBack);
    let wanted = ran.coordinator().wanted(ServiceId(0));
    assert_eq!((&wanted.canary, wanted.target, wanted.instances, wanted.v), (&None, 1, 10, 1.0));
    expect_settled(&ran, "rollback");
}

#[test]
fn a_failure_limit_allows_so_many_measurements_to_fail_and_a_good_version_passes() {
    let analysis = |limit| {
        format!(
            "  - {{ at: 20s, rollout: web, to: 2, scale_down_delay: 1s, steps: [ set_weight: 50%, {{ analysis: {{ metrics: \
             [ errors < 1%, p99 < 1s, within 100ms > 90%, errors <= 150% of old ], interval: 2s, count: 4, failure_limit: {limit} }} }} ] }}"
        )
    };
    let of = |errors, limit| {
        let ran = of_errors(errors, "", &analysis(limit)).run(80.0);
        (rollout(&ran).outcome, verdicts(&ran).len())
    };
    assert_eq!(of("0%", 0), (OperationOutcome::Reached, 4));
    assert_eq!(of("30%", 2), (OperationOutcome::RolledBack, 3));
    assert_eq!(of("30%", 4), (OperationOutcome::Reached, 4));
}

#[test]
fn a_rollout_without_signals_is_inconclusive_and_waits_for_an_operation() {
    let steps = "steps: [ set_weight: 50%, { analysis: { metrics: [ errors < 1% ], interval: 5s } }, pause: 5s ], scale_down_delay: 1s";
    let operations =
        |then: &str| format!("  - {{ at: 20s, rollout: web, to: 2, {steps} }}\n  - {{ at: 60s, {then}_rollout: web }}");
    // What nodes say to the coordinator is lost for 15 s; heartbeats may be missing for 30 s.
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let silence = |lab: Testbed| {
        let nodes: ActorSelector = (1..=4).map(ActorId).collect();
        let coordinator: ActorSelector = [ActorId(0)].into_iter().collect();
        let on = Link::one_way(nodes, coordinator);
        lab.fault(Fault::new(at(22), at(37), Drop { on, probability: 1.0 }))
    };
    for (then, outcome, left) in
        [("resume", OperationOutcome::Reached, vec![(2, 10)]), ("abort", OperationOutcome::Aborted, vec![(1, 10)])]
    {
        let mut ran = silence(of_errors("0%", ", missed: 30", &operations(then))).start(());
        ran.run_until(59.0);
        assert_eq!(verdicts(&ran), [MeasurementVerdict::Inconclusive]);
        assert_eq!(rollout(&ran).rollout.as_ref().unwrap().paused, Some(PauseReason::Inconclusive));
        assert_eq!(ran.coordinator().wanted(ServiceId(0)).weight_of(2), 0.5, "it keeps its weight");
        ran.run_until(120.0);
        assert_eq!((rollout(&ran).outcome, ran.versions(0)), (outcome, left), "{then}");
        expect_settled(&ran, then);
    }
}

#[test]
fn an_operation_pauses_resumes_and_aborts_and_is_refused_without_a_rollout() {
    let operations = "  - { at: 10s, abort_rollout: web }
  - { at: 20s, rollout: web, to: 2, steps: [ set_weight: 50%, pause: {}, set_weight: 80%, pause: 30s ], abort_scale_down_delay: 2s }
  - { at: 40s, resume_rollout: web }
  - { at: 45s, pause_rollout: web }
  - { at: 46s, pause_rollout: web }
  - { at: 90s, abort_rollout: web }
  - { at: 100s, resume_rollout: web }";
    let mut ran = bad("", operations).start(());
    ran.run_until(39.0);
    assert_eq!(rollout(&ran).rollout.as_ref().unwrap().paused, Some(PauseReason::Step));
    expect_share(&mut ran, 48.0, 89.0, 0.8);
    assert_eq!(rollout(&ran).rollout.as_ref().unwrap().paused, Some(PauseReason::Manual));
    assert_eq!(failed_between(&mut ran, 91.0, 150.0), 0);
    assert_eq!((rollout(&ran).outcome, ran.versions(0)), (OperationOutcome::Aborted, vec![(1, 10)]));
    let steered = [OperationKind::PauseRollout, OperationKind::ResumeRollout, OperationKind::AbortRollout];
    let outcomes: Vec<_> =
        ran.coordinator().history().iter().filter(|it| steered.contains(&it.kind)).map(|it| it.outcome).collect();
    let (done, refused) = (OperationOutcome::Reached, OperationOutcome::Refused);
    assert_eq!(outcomes, [refused, done, done, refused, done, refused]);
}

#[test]
fn blue_green_switches_all_requests_at_once_and_back_while_the_old_instances_are_there() {
    let operations = |errors_below: &str| {
        format!(
            "  - {{ at: 20s, rollout: web, to: 2, blue_green: {{ auto_promotion: 10s, post_promotion_analysis: {{ metrics: \
             [ errors < {errors_below} ], interval: 5s }} }}, scale_down_delay: 20s, abort_scale_down_delay: 3s }}"
        )
    };
    let mut ran = bad("", &operations("1%")).start(());
    assert_eq!(failed_between(&mut ran, 10.0, 30.0), 0, "the new version has no request before the switch");
    assert_eq!(ran.versions(0), [(1, 10), (2, 10)]);
    expect_share(&mut ran, 33.0, 36.0, 1.0);
    assert_eq!(failed_between(&mut ran, 38.0, 80.0), 0);
    assert_eq!((rollout(&ran).outcome, ran.versions(0)), (OperationOutcome::RolledBack, vec![(1, 10)]));

    let mut ran = of_errors("0%", "", &operations("1%")).start(());
    ran.run_until(55.0);
    assert_eq!(ran.versions(0), [(1, 10), (2, 10)], "the old ones stay for the scale-down delay");
    ran.run_until(80.0);
    assert_eq!((rollout(&ran).outcome, ran.versions(0), failed(&ran)), (OperationOutcome::Reached, vec![(2, 10)], 0));
}

#[test]
fn instances_that_are_not_ready_by_the_deadline_abort_a_rollout() {
    // No node has room for one more.
    let operations = "  - { at: 20s, rollout: web, to: 2, steps: [ set_weight: 10% ], progress_deadline: 15s, abort_scale_down_delay: 1s }";
    let mut lab = of_errors("0%", "", operations);
    (lab.mesh.services[0].instances, lab.mesh.services[0].cpu) = (8, 4.0);
    let ran = lab.run(60.0);
    let aborted = entries(&ran).find(|(_, it)| **it == Entry::Aborted(AbortReason::Deadline));
    assert_eq!(aborted.map(|(at, _)| at), Some(35.0));
    assert_eq!((rollout(&ran).outcome, ran.versions(0)), (OperationOutcome::RolledBack, vec![(1, 8)]));
}

#[test]
fn an_update_takes_the_place_of_a_rollout_and_a_rollout_that_of_an_update() {
    let slow = "rollout: web, to: 2, steps: [ set_weight: 50%, pause: {} ]";
    let ran =
        of_errors("0%", "", &format!("  - {{ at: 20s, {slow} }}\n  - {{ at: 30s, update: web, to: 3, rate: 1 }}"))
            .run(40.0);
    assert_eq!((rollout(&ran).outcome, ran.versions(0)), (OperationOutcome::Superseded, vec![(3, 10)]));
    let ran =
        of_errors("0%", "", &format!("  - {{ at: 20s, update: web, to: 3, rate: 0.1 }}\n  - {{ at: 22.5s, {slow} }}"))
            .run(40.0);
    assert_eq!(ran.history(1).outcome, OperationOutcome::Superseded);
    expect_settled(&ran, "superseded");
}

#[test]
fn every_step_is_applied_exactly_once_under_faults_and_after_them_the_rollout_ends() {
    let operations = "  - { at: 20s, rollout: web, to: 2, steps: [ set_weight: 10%, pause: 3s, set_weight: 40%, pause: 3s ], \
                      analysis: { metrics: [ errors < 20% ], interval: 2s, window: 4s, inconclusive_limit: 1000 }, scale_down_delay: 5s, abort_scale_down_delay: 5s }";
    let at = |secs: u64| Time::ZERO + Span::from_secs(secs);
    for case in 0..24 * campaign() {
        let errors = if case % 2 == 0 { "0%" } else { "50%" };
        let lag = Dist::Exponential { at_least: Span::ZERO, mean: Span::from_millis(200) };
        let mut lab = of_errors(errors, "", operations)
            .seed(case + 1)
            .fault(Fault::new(at(15), at(60), Drop { on: Link::all(), probability: 0.2 }))
            .fault(Fault::new(at(15), at(60), Duplicate { on: Link::all(), probability: 0.3, lag }))
            .fault(Fault::new(
                at(15),
                at(60),
                Reorder { on: Link::all(), probability: 0.3, within: Span::from_millis(500) },
            ));
        let coordinator: ActorSet = [ActorId(0)].into_iter().collect();
        let from = 20 + case % 12;
        lab = match case % 3 {
            0 => lab.fault(Fault::new(at(from), at(from + 5), Pause { actors: coordinator })),
            1 => lab.fault(Fault::new(at(from), at(from + 3), Crash { actors: coordinator })),
            _ => lab.fault(Fault::new(at(from), at(from + 6), Crash { actors: [ActorId(2)].into_iter().collect() })),
        };
        let ran = lab.run(180.0);
        let what = format!("case {case}: {:?}", entries(&ran).map(|(at, it)| (at, it.clone())).collect::<Vec<_>>());
        expect_settled(&ran, &what);
        let (outcome, left) = match errors {
            "0%" => (OperationOutcome::Reached, vec![(2, 10)]),
            _ => (OperationOutcome::RolledBack, vec![(1, 10)]),
        };
        assert_eq!((rollout(&ran).outcome, ran.versions(0)), (outcome, left), "{what}");
    }
}

#[test]
fn the_same_seed_gives_the_same_rollout() {
    let operations = "  - { at: 20s, rollout: web, to: 2, steps: [ set_weight: 30%, pause: 30s ], \
                      analysis: { metrics: [ errors < 10%, p99 < 1s ], interval: 5s, failure_limit: 2 } }";
    let run = || {
        let ran = of_errors("9%", "", operations).run(120.0);
        format!("{:?} {:?}", rollout(&ran), ran.client(0).tallies())
    };
    assert_eq!(run(), run());
}
