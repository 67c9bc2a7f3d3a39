//! A second operation on a service during the first: the rule of `mesh::operation`, pair by pair.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::measure::OperationOutcome;
use meshsim_mesh::model::{Amount, Change, Rounding, Service, ServiceId, Strategy};
use meshsim_tests::{Ran, Testbed, extend, service, times};

/// Start of the first operation, and of the second, long before the end of the first.
const FIRST: f64 = 3.0;
const SECOND: f64 = 4.5;

fn update(to: u32, strategy: Strategy) -> Change {
    Change::Update { to, rate: 0.2, strategy }
}

fn rolling(to: u32) -> Change {
    update(to, Strategy::Rolling { max_surge: Amount::Share(0.25), max_unavailable: Amount::Share(0.25) })
}

fn canary(to: u32) -> Change {
    update(to, Strategy::Canary { weights: [0.3, 0.6, 1.0].into() })
}

fn towards(to: u32) -> Change {
    extend(to, 0.2, Rounding::Away)
}

/// Ten instances that start for 700 ms, on three nodes a millisecond away, and two operations with a step each second.
fn lab(first: Change, second: Change) -> Testbed {
    let starts = Service { start_delay: Span::from_millis(700), ..times(10, service("s", vec![])) };
    Testbed::nodes(3)
        .latency(Dist::Constant(Span::from_millis(1)))
        .service(starts)
        .operation(FIRST, 0, first, 1.0, Some(40))
        .operation(SECOND, 0, second, 1.0, Some(40))
}

/// Outcomes of both, S, and the instances by version on the nodes.
fn outcome(first: Change, second: Change) -> (OperationOutcome, OperationOutcome, u32, Vec<(u32, u32)>) {
    let ran = lab(first, second).run(90.0);
    let s = ran.coordinator().wanted(ServiceId(0)).instances;
    assert_eq!(ran.instances(0), s, "nothing is extra in the end");
    (ran.history(1).outcome, ran.history(2).outcome, s, ran.versions(0))
}

#[test]
fn operations_of_one_kind_supersede_and_those_of_different_kinds_combine() {
    use OperationOutcome::{Reached, Refused, Superseded};
    let (scale, bernoulli) = (Change::Scale { by: 1.01 }, update(2, Strategy::Bernoulli));
    let table = [
        // An extend moves S, an update V, a scale C: they do not interfere.
        (rolling(2), towards(15), Reached, Reached, vec![(2, 15)]),
        (rolling(2), towards(5), Reached, Reached, vec![(2, 5)]),
        (update(2, Strategy::Batch), towards(15), Reached, Reached, vec![(2, 15)]),
        (bernoulli.clone(), towards(5), Reached, Reached, vec![(2, 5)]),
        (rolling(2), scale.clone(), Reached, Reached, vec![(2, 10)]),
        (update(2, Strategy::Batch), scale.clone(), Reached, Reached, vec![(2, 10)]),
        (towards(15), rolling(2), Reached, Reached, vec![(2, 15)]),
        (towards(5), rolling(2), Reached, Reached, vec![(2, 5)]),
        (towards(15), update(2, Strategy::Batch), Reached, Reached, vec![(2, 15)]),
        (towards(15), bernoulli, Reached, Reached, vec![(2, 15)]),
        (towards(15), scale.clone(), Reached, Reached, vec![(1, 15)]),
        (scale.clone(), towards(15), Reached, Reached, vec![(1, 15)]),
        (scale.clone(), rolling(2), Reached, Reached, vec![(2, 10)]),
        // The second of a kind supersedes the first: there is one S, one C, one V to move toward.
        (towards(15), towards(5), Superseded, Reached, vec![(1, 5)]),
        (scale.clone(), scale.clone(), Superseded, Reached, vec![(1, 10)]),
        (rolling(2), rolling(3), Superseded, Reached, vec![(3, 10)]),
        (rolling(2), rolling(1), Superseded, Reached, vec![(1, 10)]),
        (rolling(2), update(3, Strategy::Batch), Superseded, Reached, vec![(3, 10)]),
        (update(2, Strategy::Batch), rolling(1), Superseded, Reached, vec![(1, 10)]),
        // A canary is like any other update: S moves beside it, and another update supersedes it.
        (canary(2), towards(15), Reached, Reached, vec![(2, 15)]),
        (canary(2), towards(5), Reached, Reached, vec![(2, 5)]),
        (canary(2), scale.clone(), Reached, Reached, vec![(2, 10)]),
        (towards(15), canary(2), Reached, Reached, vec![(2, 15)]),
        (canary(2), canary(3), Superseded, Reached, vec![(3, 10)]),
        (canary(2), canary(1), Superseded, Reached, vec![(1, 10)]),
        (canary(2), rolling(2), Superseded, Reached, vec![(2, 10)]),
        (canary(2), rolling(1), Superseded, Reached, vec![(1, 10)]),
        (canary(2), update(2, Strategy::Batch), Superseded, Reached, vec![(2, 10)]),
        (canary(2), update(1, Strategy::Batch), Superseded, Reached, vec![(1, 10)]),
        (canary(2), update(3, Strategy::Bernoulli), Superseded, Reached, vec![(3, 10)]),
        (rolling(2), canary(3), Superseded, Reached, vec![(3, 10)]),
        (rolling(2), canary(1), Superseded, Reached, vec![(1, 10)]),
        (update(2, Strategy::Batch), canary(2), Superseded, Reached, vec![(2, 10)]),
        (canary(2), Change::Undeploy, Superseded, Reached, vec![]),
        (canary(2), Change::Deploy, Reached, Refused, vec![(2, 10)]),
        // A service that is being removed accepts no operation; an existing one is not deployed again.
        (rolling(2), Change::Undeploy, Superseded, Reached, vec![]),
        (towards(15), Change::Undeploy, Superseded, Reached, vec![]),
        (scale, Change::Undeploy, Superseded, Reached, vec![]),
        (rolling(2), Change::Deploy, Reached, Refused, vec![(2, 10)]),
        (towards(15), Change::Deploy, Reached, Refused, vec![(1, 15)]),
    ];
    for (first, second, ending, then, versions) in table {
        let what = format!("{first:?}, then {second:?}");
        let s = versions.iter().map(|(_, count)| count).sum();
        assert_eq!(outcome(first, second), (ending, then, s, versions), "{what}");
    }
}

/// Shows the mesh every 20 ms from the second operation on, until both have ended.
fn watch(first: Change, second: Change, mut see: impl FnMut(&Ran)) {
    let mut ran = lab(first, second).start(());
    for tick in 1..1000 {
        ran.run_until(SECOND + 0.02 * f64::from(tick));
        see(&ran);
    }
    assert_eq!((ran.history(2).outcome, ran.ready(0)), (OperationOutcome::Reached, ran.instances(0)));
}

#[test]
fn an_extend_during_a_rolling_update_does_not_count_the_surge() {
    let mut most = 0;
    watch(rolling(2), extend(15, 1.0, Rounding::Away), |ran| {
        let wanted = ran.coordinator().wanted(ServiceId(0));
        assert_eq!(wanted.instances, 15, "S is what was asked for, and not 17");
        assert!(wanted.running() <= 15 + 4 && ran.instances(0) <= 19 && ran.ready(0) >= 8);
        most = most.max(ran.instances(0));
    });
    assert!(most > 15, "the surge goes on beside it");
}

#[test]
fn a_rolling_update_that_shrinks_keeps_its_bounds() {
    // Four of five must be ready at all times; before that, eight of ten.
    watch(rolling(2), extend(5, 1.0, Rounding::Away), |ran| {
        assert!(ran.ready(0) >= 4 && ran.instances(0) <= 7, "{} ready of {}", ran.ready(0), ran.instances(0));
    });
}

#[test]
fn an_extend_during_a_rollback_starts_no_instance_of_the_old_target() {
    let rolling_back = Strategy::Rolling { max_surge: Amount::Share(0.25), max_unavailable: Amount::Share(0.25) };
    for strategy in [Strategy::Batch, Strategy::Bernoulli, rolling_back] {
        for to in [5, 20] {
            let mut lab = lab(update(1, strategy.clone()), towards(to));
            lab.mesh.services[0].version = 3;
            let mut ran = lab.start(());
            let (mut left, mut v) = (10, 3.0);
            for tick in 1..1000 {
                ran.run_until(SECOND + 0.02 * f64::from(tick));
                let wanted = ran.coordinator().wanted(ServiceId(0));
                let now = ran.versions(0).iter().find(|(version, _)| *version == 3).map_or(0, |(_, count)| *count);
                assert!(now <= left && wanted.v_mean() <= v, "{strategy:?} to {to}: {wanted:?} after V {v}");
                (left, v) = (now, wanted.v_mean());
            }
            assert_eq!(ran.versions(0), [(1, to)], "{strategy:?}");
        }
    }
}
