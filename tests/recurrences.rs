//! The three recurrences in real runs with messages: closed forms, rounding, late feedback.

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_fault::{Crash, Drop, Fault, Link};
use meshsim_mesh::measure::OperationOutcome;
use meshsim_mesh::model::{Amount, Change, Feedback, Rounding, Service, Strategy};
use meshsim_tests::{Testbed, extend, service, times};

fn near(got: f64, wanted: f64, what: &str) {
    assert!((got - wanted).abs() < 5e-7, "{what}: {got}, not {wanted}");
}

/// Three nodes one millisecond apart and one service of `n` instances.
fn lab(n: u32) -> Testbed {
    Testbed::nodes(3).latency(Dist::Constant(Span::from_millis(1))).service(times(n, service("s", vec![])))
}

#[test]
fn extend_follows_its_closed_form() {
    // a, S_10, and the first steps with an error below 1 and 0.5.
    let table = [
        (0.1, 68.618_940, 43, 50),
        (0.2, 90.336_324, 21, 24),
        (0.3, 97.457_723, 13, 15),
        (0.5, 99.912_109, 7, 8),
        (1.5, 99.912_109, 7, 8),
    ];
    // A hundred times as many as in the table, because an operation ends when its whole instances equal the target.
    for (rate, s10, below_1, below_half) in table {
        let ran = lab(1000).operation(1.0, 0, extend(10_000, rate, Rounding::Carry), 1.0, None).run(120.0);
        let course: Vec<f64> = ran.course(1).iter().map(|s| s / 100.0).collect();
        near(course[9], s10, "S_10");
        for (i, s) in course.iter().enumerate() {
            near(*s, 100.0 - (1.0 - rate).powi(i as i32 + 1) * 90.0, "S_n");
        }
        let first = |eps: f64| course.iter().position(|s| (s - 100.0).abs() < eps).map(|i| i + 1);
        assert_eq!((first(1.0), first(0.5)), (Some(below_1), Some(below_half)), "a = {rate}");
        assert_eq!((ran.instances(0), ran.history(1).outcome), (10_000, OperationOutcome::Reached), "a = {rate}");
    }
}

#[test]
fn scale_and_update_follow_their_closed_forms() {
    let ran = lab(1000)
        .operation(1.0, 0, Change::Scale { by: 0.9 }, 1.0, Some(10))
        .operation(1.0, 0, Change::Update { to: 2, rate: 0.3, strategy: Strategy::Batch }, 1.0, Some(10))
        .run(20.0);
    for (i, step) in ran.history(1).steps.iter().enumerate() {
        near(step.c, 0.9f64.powi(i as i32 + 1), "C_n");
    }
    let steps = &ran.history(2).steps;
    assert_eq!((ran.history(1).steps.len(), steps.len()), (10, 10));
    for (i, step) in steps.iter().enumerate() {
        near(step.v, 2.0 - 0.7f64.powi(i as i32 + 1), "V_n");
        assert!((step.v_mean - step.v).abs() < 0.01, "whole versions follow: {} {}", step.v_mean, step.v);
    }
}

#[test]
fn each_rounding_ends_as_tabulated_and_nodes_have_the_decided_instances() {
    let table = [
        (Rounding::Away, [(1000, 50), (1000, 27), (1000, 18), (1000, 10)]),
        (Rounding::Nearest, [(996, 50), (998, 27), (999, 18), (1000, 10)]),
        (Rounding::Floor, [(991, 50), (996, 27), (997, 18), (999, 10)]),
    ];
    for (rounding, row) in table {
        for (rate, (stop, steps)) in [0.1, 0.2, 0.3, 0.5].into_iter().zip(row) {
            let ran = lab(0).operation(0.5, 0, extend(1000, rate, rounding), 0.1, None).run(10.0);
            let outcome = if stop == 1000 {
                OperationOutcome::Reached
            } else {
                OperationOutcome::Stuck { residual: f64::from(1000 - stop) }
            };
            assert_eq!(ran.history(1).steps.len(), steps, "{rounding:?} {rate}");
            assert_eq!((ran.instances(0), ran.history(1).outcome), (stop, outcome), "{rounding:?} {rate}");
        }
    }
}

#[test]
fn small_numbers_go_course_by_course() {
    let table = [
        (Rounding::Floor, vec![3.0, 5.0, 6.0, 7.0]),
        (Rounding::Nearest, vec![3.0, 5.0, 7.0, 8.0, 9.0]),
        (Rounding::Away, vec![3.0, 6.0, 8.0, 9.0, 10.0]),
    ];
    for (rounding, course) in table {
        let ran = lab(0).operation(0.5, 0, extend(10, 0.3, rounding), 0.1, None).run(3.0);
        assert_eq!(ran.course(1), course, "{rounding:?}");
        assert_eq!(f64::from(ran.instances(0)), course[course.len() - 1], "{rounding:?}");
    }
}

#[test]
fn a_bernoulli_update_of_a_hundred_takes_as_many_steps_as_computed() {
    // The last of n instances moves in the step that is the mean of the largest of n geometric numbers.
    for (rate, oracle) in [(0.1, 49.734_549), (0.2, 23.746_818)] {
        let update = Change::Update { to: 2, rate, strategy: Strategy::Bernoulli };
        let steps: Vec<f64> = (0..400)
            .map(|seed| {
                let ran = lab(100).seed(seed).operation(0.5, 0, update.clone(), 0.1, None).run(30.0);
                assert_eq!(ran.history(1).outcome, OperationOutcome::Reached);
                ran.history(1).steps.len() as f64
            })
            .collect();
        let n = steps.len() as f64;
        let mean = steps.iter().sum::<f64>() / n;
        let error = (steps.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert!((mean - oracle).abs() < 4.0 * error, "g = {rate}: {mean} +- {error}, not {oracle}");
    }
}

#[test]
fn a_rolling_update_keeps_its_bounds_on_the_nodes_at_every_moment() {
    let starts = Service { start_delay: Span::from_millis(700), ..times(10, service("s", vec![])) };
    let rolling = Strategy::Rolling { max_surge: Amount::Share(0.25), max_unavailable: Amount::Share(0.25) };
    let mut ran = Testbed::nodes(3)
        .latency(Dist::Constant(Span::from_millis(1)))
        .service(starts)
        .operation(5.0, 0, Change::Update { to: 2, rate: 1.0, strategy: rolling }, 1.0, None)
        .start(());
    ran.run_until(4.0);
    for tick in 400..1000 {
        ran.run_until(f64::from(tick) / 100.0);
        let (ready, all) = (ran.ready(0), ran.instances(0));
        assert!(ready >= 8 && all <= 13, "at {tick}: {ready} ready of {all}");
    }
    let history = ran.history(1);
    assert_eq!((history.outcome, history.steps.len(), ran.instances(0)), (OperationOutcome::Reached, 3, 10));
    let there: Vec<(u32, u32)> = history.steps.iter().map(|step| (step.instances, step.extra)).collect();
    assert_eq!(
        there,
        [(10, 3), (10, 3), (10, 0)],
        "two rounds create five each; the third only takes the old ones away"
    );
}

#[test]
fn a_hundred_nodes_lose_nothing_to_rounding() {
    // If every node rounded its own share, the mesh would stop at 100.
    let ran = Testbed::nodes(100)
        .service(times(0, service("s", vec![])))
        .operation(0.5, 0, extend(1000, 0.1, Rounding::Floor), 0.1, None)
        .run(10.0);
    assert_eq!(ran.instances(0), 991);
    assert!((0..100).all(|node| (9..=10).contains(&ran.instances_on(node, 0))), "and they are spread evenly");
}

#[test]
fn stochastic_rounding_arrives_and_carry_stays_within_half() {
    let ran = lab(0).operation(0.5, 0, extend(1000, 0.1, Rounding::Stochastic), 0.1, None).run(60.0);
    assert_eq!((ran.instances(0), ran.history(1).outcome), (1000, OperationOutcome::Reached));
    let ran = lab(0).operation(0.5, 0, extend(1000, 0.1, Rounding::Carry), 0.1, None).run(60.0);
    for step in &ran.history(1).steps {
        assert!((step.s - f64::from(step.instances)).abs() <= 0.5, "{step:?}");
    }
}

#[test]
fn random_decisions_are_independent_of_loss_and_delay() {
    let run = |latency_ms, faults: Vec<Fault>| {
        let mut lab = lab(100).latency(Dist::Constant(Span::from_millis(latency_ms)));
        lab.network.faults = faults;
        let ran = lab
            .operation(1.0, 0, extend(1000, 0.1, Rounding::Stochastic), 1.0, None)
            .operation(1.0, 0, Change::Update { to: 2, rate: 0.2, strategy: Strategy::Bernoulli }, 1.0, None)
            .run(120.0);
        let resent: u64 = ran.history(1).steps.iter().map(|step| step.resent).sum();
        let versions: Vec<f64> = ran.history(2).steps.iter().map(|step| step.v_mean).collect();
        (ran.course(1), versions, resent)
    };
    let at = |s| Time::ZERO + Span::from_secs(s);
    let lossy = Fault::new(at(0), at(60), Drop { on: Link::all(), probability: 0.3 });
    // The coordinator's disk keeps the state; the crash falls between two iterations.
    let crash = Fault::new(
        Time::ZERO + Span::from_millis(5_300),
        Time::ZERO + Span::from_millis(5_600),
        Crash { actors: [ActorId(0)].into_iter().collect() },
    );
    let (course, versions, resent) = run(1, vec![]);
    assert!(course.len() > 20 && versions.len() > 10 && resent == 0);
    let mut resends = vec![];
    for (latency_ms, faults) in [(40, vec![]), (1, vec![lossy]), (1, vec![crash])] {
        let other = run(latency_ms, faults.clone());
        assert_eq!((&other.0, &other.1), (&course, &versions), "{latency_ms} ms, {faults:?}");
        resends.push(other.2);
    }
    assert!(resends[1] > 0, "nothing was lost");
}

/// S over `steps` steps toward `to` when the reports of nodes are `delay` steps old: a round trip of slightly more than
/// `delay` intervals.
fn late(delay: u32, rate: f64, from: u32, to: u32, steps: u32) -> Vec<f64> {
    let round_trip = if delay == 0 { 0.5 } else { f64::from(delay) + 0.5 };
    let change = Change::Extend { to, rate, rounding: Rounding::Carry, feedback: Feedback::Observed };
    let ran = Testbed::nodes(2)
        .latency(Dist::Constant(Span::from_secs_f64(round_trip / 2.0)))
        // The time of waiting is above the round trip: no node is declared dead here.
        .control(|control| {
            control.heartbeat = Span::from_secs(1000);
            control.resend = Span::from_secs(100);
        })
        .service(times(from, service("s", vec![])))
        .operation(20.0, 0, change, 1.0, Some(steps))
        .run(21.0 + f64::from(steps));
    ran.course(1)
}

#[test]
fn late_reports_make_the_exact_period_of_six() {
    assert_eq!(late(1, 1.0, 0, 100, 7), [100.0, 200.0, 200.0, 100.0, 0.0, 0.0, 100.0]);
}

#[test]
fn late_reports_overshoot_as_computed() {
    let course = late(1, 0.5, 0, 100, 12);
    assert_eq!(course[..3], [50.0, 100.0, 125.0], "the peak is 125 at n = 3");
    assert!(course.iter().all(|s| *s <= 125.0));
}

/// Large enough that whole instances do not matter, small enough for a test.
const TARGET: u32 = 10_000;

#[test]
fn the_delay_table_has_a_stable_and_an_unstable_side() {
    let table = [
        (0, 2.0, 2.0),
        (1, 1.0, 6.0),
        (2, 0.618_034, 10.0),
        (3, 0.445_042, 14.0),
        (4, 0.347_296, 18.0),
        (5, 0.284_630, 22.0),
    ];
    for (delay, bound, period) in table {
        let steps = 30 * period as u32;
        let amplitude = |rate: f64| {
            let course = late(delay, rate, 9_000, TARGET, steps);
            let swing = |part: &[f64]| part.iter().fold(0.0f64, |most, s| most.max((s - f64::from(TARGET)).abs()));
            let window = 3 * period as usize;
            (swing(&course[window..2 * window]), swing(&course[course.len() - window..]), course)
        };
        let (early, late_on, _) = amplitude(bound * 0.97);
        assert!(late_on < early / 2.0, "d = {delay} below the bound: {early} -> {late_on}");
        let (early, late_on, course) = amplitude(bound * 1.01);
        assert!(late_on > early * 1.5, "d = {delay} above the bound: {early} -> {late_on}");

        let half = course.len() / 2;
        let up = |w: &&[f64]| w[0] < f64::from(TARGET) && w[1] >= f64::from(TARGET);
        let crossings = course[half..].windows(2).filter(up).count();
        let measured = (course.len() - half) as f64 / crossings as f64;
        assert!((measured / period - 1.0).abs() < 0.08, "d = {delay}: period {measured}, not {period}");
    }
}

#[test]
fn the_fastest_rate_without_overshoot_is_the_tabulated_one() {
    let table = [(0, 1.0), (1, 0.25), (2, 0.148_148), (3, 0.105_469), (4, 0.081_920), (5, 0.066_980)];
    for (delay, fastest) in table {
        let highest = |rate| late(delay, rate, 0, TARGET, 200).into_iter().fold(0.0, f64::max) - f64::from(TARGET);
        assert!(highest(fastest) <= 1.0, "d = {delay} at the bound");
        assert!(highest(fastest * 1.5) > 20.0, "d = {delay} above it");
    }
}
