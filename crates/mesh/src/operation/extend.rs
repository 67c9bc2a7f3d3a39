//! `extend`: `S' = S + a (T - S)`.
//!
//! S is real in the recurrence and whole on the nodes, so each step is rounded: once, for the whole mesh. If every node
//! rounded its own share, the rounding errors would add up.

use meshsim_actor::Rng;

use super::{Desired, Iteration, Observed, count_of, total};
use crate::model::{Feedback, Rounding};

/// Bound of S, so that an unstable recurrence ends in numbers and not in an overflow.
pub const INSTANCES_MAX: u32 = 10_000_000;

/// Bound on the rounding error of the product of a rate and a difference, relative to both: 0.07 * 100 is
/// 7.000000000000001, and must count as 7. A constant bound would swallow the slow rates of large meshes, and the rates
/// next to 2.
const NOISE: f64 = 4.0 * f64::EPSILON;

/// A real S that is to move by less than this never gets to the next whole instance.
const CREEP: f64 = 1e-9;

pub(super) struct Extend {
    pub(super) to: u32,
    pub(super) rate: f64,
    pub(super) rounding: Rounding,
    pub(super) feedback: Feedback,
}

pub(super) fn iterate(extend: Extend, wanted: &mut Desired, observed: Observed<'_>, rng: &mut Rng) -> Iteration {
    let target = f64::from(extend.to);
    let commanded = f64::from(wanted.instances);
    let seen = match extend.feedback {
        Feedback::Commanded if extend.rounding == Rounding::Carry => wanted.s,
        Feedback::Commanded => commanded,
        Feedback::Observed => f64::from(without_extra(observed.ready, wanted)),
    };
    let step = extend.rate * (target - seen);
    let (s, whole) = match extend.rounding {
        Rounding::Carry => (wanted.s + step, (wanted.s + step).round()),
        rounding => {
            let whole = commanded + round(step, target - commanded, rounding, rng);
            (whole, whole)
        }
    };
    let whole = whole.clamp(0.0, f64::from(INSTANCES_MAX));
    let moved = whole != commanded;
    // Arrived means that the decided value is the target and, with late reports, that the nodes report it too.
    let arrived = whole == target && (extend.feedback == Feedback::Commanded || seen == target);
    if !moved && !arrived && extend.feedback == Feedback::Commanded && extend.rounding != Rounding::Stochastic {
        let creeping = extend.rounding == Rounding::Carry && step.abs() > CREEP;
        if !creeping {
            return Iteration::Stuck(target - commanded);
        }
    }
    wanted.s = s.clamp(0.0, f64::from(INSTANCES_MAX));
    if moved {
        wanted.set_instances(whole as u32, observed);
    }
    match (arrived, moved) {
        (true, true) => Iteration::Last,
        (true, false) => Iteration::Reached,
        (false, _) if extend.feedback == Feedback::Observed && step == 0.0 && seen == commanded => {
            Iteration::Stuck(target - commanded)
        }
        (false, _) => Iteration::Step,
    }
}

/// Reported instances without the extra ones: S counts only the instances that are desired to stay.
fn without_extra(ready: &[(u32, u32)], wanted: &Desired) -> u32 {
    if let Some(canary) = &wanted.canary {
        return total(ready) - count_of(ready, canary.version);
    }
    let ready = total(ready);
    ready - ready.saturating_sub(wanted.instances).min(wanted.extra())
}

/// A step in whole instances, where `gap` is the way to the target.
///
/// `away` and `nearest` never round a step further past the target than it goes by itself: an overshoot is rounded
/// towards the target, |e'| = floor((a - 1) |e|). So both arrive at every rate in (1, 2); rounded away from zero there,
/// `away` would stay 99 from its target at a rate of 1.99. Below 1, `away` arrives because each step moves at least one
/// instance, and `nearest` stops where half an instance of a step is left.
fn round(step: f64, gap: f64, rounding: Rounding, rng: &mut Rng) -> f64 {
    let noise = NOISE * (step.abs() + gap.abs());
    // Signs of an error: towards the target is positive.
    let past = if step * gap > 0.0 { step.abs() - gap.abs() } else { -1.0 };
    match rounding {
        Rounding::Away | Rounding::Nearest if past > noise => {
            // A rate below 2 leaves less than there was, however near to 2 it is.
            let most = if past < gap.abs() { gap.abs() - 1.0 } else { f64::INFINITY };
            gap + gap.signum() * (past + noise).floor().min(most)
        }
        Rounding::Away if step == 0.0 => 0.0,
        Rounding::Away => step.signum() * (step.abs() - noise).ceil().max(1.0),
        Rounding::Nearest => step.signum() * (step.abs() + 0.5 + noise).floor(),
        Rounding::Floor => (step + noise).floor(),
        Rounding::Stochastic => {
            let floor = (step + noise).floor();
            floor + f64::from(u8::from(rng.chance((step - floor).max(0.0))))
        }
        Rounding::Carry => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(from: u32, to: u32, rate: f64, rounding: Rounding) -> (Vec<u32>, Iteration) {
        let mut wanted = Desired::of_one_version(from, 1);
        let mut rng = Rng::stream(1, "extend");
        let mut course = vec![];
        loop {
            let extend = Extend { to, rate, rounding, feedback: Feedback::Commanded };
            let turn = iterate(extend, &mut wanted, Observed::default(), &mut rng);
            if matches!(turn, Iteration::Step | Iteration::Last) {
                course.push(wanted.instances);
            }
            if turn != Iteration::Step || course.len() > 1000 {
                return (course, turn);
            }
        }
    }

    #[test]
    fn where_each_rounding_stops_and_after_how_many_steps() {
        let table = [
            (Rounding::Away, [(1000, 50), (1000, 27), (1000, 18), (1000, 10)]),
            (Rounding::Nearest, [(996, 50), (998, 27), (999, 18), (1000, 10)]),
            (Rounding::Floor, [(991, 50), (996, 27), (997, 18), (999, 10)]),
        ];
        for (rounding, row) in table {
            for (rate, (stop, steps)) in [0.1, 0.2, 0.3, 0.5].into_iter().zip(row) {
                let (course, end) = run(0, 1000, rate, rounding);
                assert_eq!((course.last(), course.len()), (Some(&stop), steps), "{rounding:?} {rate}");
                let reached = if stop == 1000 { Iteration::Last } else { Iteration::Stuck(f64::from(1000 - stop)) };
                assert_eq!(end, reached, "{rounding:?} {rate}");
            }
        }
    }

    #[test]
    fn small_numbers_course_by_course() {
        assert_eq!(run(0, 10, 0.3, Rounding::Away).0, [3, 6, 8, 9, 10]);
        assert_eq!(run(0, 10, 0.3, Rounding::Nearest), (vec![3, 5, 7, 8, 9], Iteration::Stuck(1.0)));
        assert_eq!(run(0, 10, 0.3, Rounding::Floor), (vec![3, 5, 6, 7], Iteration::Stuck(3.0)));
        assert_eq!(run(10, 20, 0.1, Rounding::Away).0[0], 11);
        assert_eq!(run(100, 100, 0.1, Rounding::Away), (vec![], Iteration::Reached));
        assert_eq!(run(0, 7, 1.0, Rounding::Floor), (vec![7], Iteration::Last));
    }

    #[test]
    fn carry_stays_within_half_an_instance_of_the_closed_form_and_arrives() {
        let (course, end) = run(0, 1000, 0.1, Rounding::Carry);
        for (n, s) in course.iter().enumerate() {
            let closed = 1000.0 - 0.9f64.powi(n as i32 + 1) * 1000.0;
            assert!((f64::from(*s) - closed).abs() <= 0.5 + 1e-6, "step {n}: {s}, not {closed}");
        }
        assert_eq!((course.last(), end), (Some(&1000), Iteration::Last));
    }

    #[test]
    fn stochastic_rounding_is_unbiased() {
        let mut rng = Rng::stream(5, "x");
        let sum: f64 = (0..100_000).map(|_| round(2.3, 10.0, Rounding::Stochastic, &mut rng)).sum();
        assert!((sum / 1e5 - 2.3).abs() < 0.01, "{sum}");
    }

    /// Rates over (0, 2): the round ones, and those next to 0, 1 and 2.
    fn rates() -> impl Iterator<Item = f64> {
        let edges = [1e-15, 1e-3, 1.0 - 1e-12, 1.0 + 1e-12, 1.99, 1.999, 2.0 - 1e-12, 2.0_f64.next_down()];
        (1..200).map(|percent| f64::from(percent) / 100.0).chain(edges)
    }

    #[test]
    fn away_arrives_at_every_rate_between_0_and_2() {
        let ends = [(0, 10), (10, 0), (0, 100), (100, 1), (3, 4), (977, 100)];
        for (rate, (from, to)) in rates().flat_map(|rate| ends.map(|ends| (rate, ends))) {
            let (course, end) = run(from, to, rate, Rounding::Away);
            assert_eq!((course.last(), end), (Some(&to), Iteration::Last), "rate {rate}, {from} to {to}: {course:?}");
            let errors = course.iter().map(|s| s.abs_diff(to));
            let falls = errors.clone().zip(errors.skip(1)).all(|(before, after)| after < before);
            assert!(falls, "rate {rate}, {from} to {to}: {course:?}");
        }
    }

    #[test]
    fn what_passes_the_target_is_rounded_towards_it() {
        // |e'| = floor((a - 1) |e|) from |e| = 100, computed independently.
        let table =
            [(1.1, &[110, 99, 100][..]), (1.5, &[150, 75, 112, 94, 103, 99, 100]), (1.25, &[125, 94, 101, 100])];
        for (rate, course) in table {
            for rounding in [Rounding::Away, Rounding::Nearest] {
                assert_eq!(run(0, 100, rate, rounding), (course.to_vec(), Iteration::Last), "{rounding:?} at {rate}");
            }
        }
        for rate in rates().filter(|rate| *rate >= 1.0) {
            for (from, to) in [(0, 10), (10, 0), (0, 100), (100, 1), (3, 4)] {
                let (course, end) = run(from, to, rate, Rounding::Nearest);
                assert_eq!((course.last(), end), (Some(&to), Iteration::Last), "rate {rate}, {from} to {to}");
            }
        }
    }

    #[test]
    fn the_other_roundings_end_within_what_they_document_at_every_rate() {
        for rate in rates().filter(|rate| (0.01..1.995).contains(rate)) {
            for (from, to) in [(0, 10), (10, 0), (0, 100), (100, 1)] {
                let what = |rounding: Rounding| format!("{rounding:?} at {rate}, {from} to {to}");
                // From below the last steps round to nothing; from above `floor` rounds away from zero.
                let (course, end) = run(from, to, rate, Rounding::Floor);
                let left = course.last().map_or(from, |s| *s).abs_diff(to);
                let most = if rate >= 1.0 || from > to { 0 } else { (1.0 / rate).ceil() as u32 };
                assert!(left <= most && end != Iteration::Step, "{}: {course:?} {end:?}", what(Rounding::Floor));
                let (course, end) = run(from, to, rate, Rounding::Nearest);
                let left = course.last().map_or(from, |s| *s).abs_diff(to);
                let most = if rate >= 1.0 { 0 } else { (0.5 / rate).ceil() as u32 };
                assert!(left <= most && end != Iteration::Step, "{}: {course:?} {end:?}", what(Rounding::Nearest));
                for rounding in [Rounding::Carry, Rounding::Stochastic] {
                    let (course, end) = run(from, to, rate, rounding);
                    assert_eq!((course.last(), end), (Some(&to), Iteration::Last), "{}", what(rounding));
                }
            }
        }
    }
}
