//! A rollout as a state machine: it decides the canary's weight and instances, pauses, and goes back.
//!
//! Each advance decides at most one step of the coordinator. What it needs is given to it: the time, the desired and
//! the observed state, and measurements. So `check` predicts a rollout with the code that performs it.
//!
//! - A step of a weight or of a scale is done when its instances are ready and the weight is in force. After the last
//!   step the new version gets all requests. The old instances stay for `scale_down_delay` after that, so that all
//!   callers know before they go, and a rollback is a change of a weight. Then they go: it is promoted.
//! - A failed analysis, an operation or the progress deadline aborts it: the old version, whose instances have stayed,
//!   has all requests at once. The new instances stay for `abort_scale_down_delay`, as callers must learn of it first.
//! - An inconclusive analysis pauses it, as in Argo Rollouts, until an operation resumes or aborts it. Resumed, it goes
//!   on after the analysis of the step; an analysis in the background begins anew.
//! - A pause stops the steps, also those that measure. An analysis in the background goes on, and may abort.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::history::{AbortReason, Checked, Entry, Measurement, MeasurementVerdict, PauseReason, RolloutHistory};
use crate::model::{Amount, Analysis, Rollout, RolloutStep, Steer};
use crate::operation::{Desired, Iteration, Observed, canary, count_of};

/// Measures a version now, as an analysis says.
pub type Measure<'a> = dyn FnMut(&Analysis) -> Measurement + 'a;

/// State of a rollout in progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutProgress {
    stage: Stage,
    /// When the step in progress began.
    entered: Time,
    /// Its weight or scale was decided.
    is_decided: bool,
    /// The latest scale that a step has set.
    scale: Option<Amount>,
    /// Measurements of the step in progress.
    inline: Option<Tries>,
    background: Option<Tries>,
    /// An operation has aborted it.
    is_to_abort: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Nothing has happened yet.
    #[default]
    Begins,
    /// A step is in progress.
    Steps,
    /// The new version is to get all requests.
    Switches,
    /// It has all requests, since then.
    Switched(Time),
    /// The old version has all requests again, since then.
    Aborted(Time),
    /// Nothing is left to do.
    Ended,
}

/// Measurements of one analysis so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    /// Time of the next one; [`Time::NEVER`]: there is none.
    next: Time,
    taken: u32,
    failed: u32,
    inconclusive: u32,
}

/// Result of an advance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Advance {
    /// Whether a step was decided, and whether there are more.
    pub turn: Iteration,
    /// Time at which something is due, if nothing is reported before.
    pub until: Option<Time>,
}

impl Advance {
    /// Time of the next advance: when something is due, and after `every` at the latest.
    pub fn next(&self, now: Time, every: Span) -> Time {
        let latest = now + every;
        self.until.map_or(latest, |until| until.clamp(now, latest))
    }
}

/// Inputs of one advance, and the desired state and the history that it changes.
struct World<'a, 'm> {
    now: Time,
    rollout: &'a Rollout,
    wanted: &'a mut Desired,
    observed: Observed<'a>,
    measure: &'a mut Measure<'m>,
    history: &'a mut RolloutHistory,
}

/// Measurements that are as wanted; for a prediction.
pub struct Assumed;

impl Assumed {
    /// A measurement at which all conditions hold.
    pub fn measure(analysis: &Analysis) -> Measurement {
        let checks = analysis.checks.iter().map(|_| Checked { holds: Some(true), ..Checked::default() }).collect();
        let verdict = MeasurementVerdict::Successful;
        Measurement { step: None, requests: 0, failed: 0, nodes: (0, 0), checks, verdict }
    }
}

impl RolloutProgress {
    /// Does what is due, up to the next decision. A service that is not deployed has no rollout.
    pub fn advance(
        &mut self,
        rollout: &Rollout,
        now: Time,
        wanted: &mut Desired,
        observed: Observed<'_>,
        measure: &mut Measure<'_>,
        history: &mut RolloutHistory,
    ) -> Advance {
        if !wanted.deployed {
            return Advance { turn: Iteration::Refused, until: None };
        }
        let mut world = World { now, rollout, wanted, observed, measure, history };
        let turn = self.turn(&mut world);
        world.history.weight = world.wanted.weight_of(rollout.to);
        let until = match turn {
            // The instances for this decision may be ready already.
            Iteration::Step => Some(now),
            Iteration::Wait => self.due(rollout, world.history),
            _ => None,
        };
        Advance { turn, until }
    }

    /// An operation pauses, resumes or aborts it; the next advance does what follows. False: it is not in a state for
    /// that.
    pub fn steer(&mut self, steer: Steer, rollout: &Rollout, now: Time, history: &mut RolloutHistory) -> bool {
        if matches!(self.stage, Stage::Aborted(_) | Stage::Ended) || self.is_to_abort {
            return false;
        }
        match (steer, history.paused) {
            (Steer::Pause, Some(_)) => return false,
            (Steer::Pause, None) => pause(PauseReason::Manual, now, history),
            (Steer::Abort, _) => self.is_to_abort = true,
            (Steer::Resume, None) if !self.is_pausing(rollout, history) => return false,
            (Steer::Resume, reason) => {
                history.paused = None;
                history.write(now, Entry::Resumed);
                // It may have become inconclusive during another pause.
                if let (Some(tries), Some(analysis)) = (&mut self.background, &rollout.analysis)
                    && tries.inconclusive > analysis.inconclusive_limit
                {
                    *tries = Tries::from(now, analysis);
                }
                let is_over = match reason {
                    Some(PauseReason::Inconclusive) => self.inline.is_some_and(|tries| tries.next == Time::NEVER),
                    _ => self.is_pausing(rollout, history),
                };
                if is_over {
                    self.enter(history.step + 1, rollout, now, history);
                }
            }
        }
        true
    }

    /// True if the step in progress is a pause.
    fn is_pausing(&self, rollout: &Rollout, history: &RolloutHistory) -> bool {
        let step = rollout.steps.get(history.step as usize);
        self.stage == Stage::Steps && matches!(step, Some(RolloutStep::Pause(_)))
    }

    fn turn(&mut self, world: &mut World<'_, '_>) -> Iteration {
        if self.stage == Stage::Begins {
            if canary::settle(world.rollout.to, world.wanted) {
                self.stage = Stage::Ended;
                return Iteration::Reached;
            }
            self.enter(0, world.rollout, world.now, world.history);
        }
        if std::mem::take(&mut self.is_to_abort) {
            return self.abort(AbortReason::Manual, world);
        }
        if let Some(reason) = self.look_in_background(world) {
            return self.abort(reason, world);
        }
        loop {
            let is_going = !matches!(self.stage, Stage::Aborted(_));
            if is_going && world.history.paused.is_some() {
                return Iteration::Wait;
            }
            let was = (self.stage, world.history.step);
            let turn = match self.stage {
                Stage::Begins | Stage::Ended => return Iteration::Reached,
                Stage::Steps => self.step(world),
                Stage::Switches => self.switch(world),
                Stage::Switched(at) if world.now < at + world.rollout.scale_down_delay => Iteration::Wait,
                Stage::Switched(_) => {
                    canary::promote(world.wanted);
                    world.history.write(world.now, Entry::Promoted);
                    self.stage = Stage::Ended;
                    Iteration::Last
                }
                Stage::Aborted(at) if world.now < at + world.rollout.abort_scale_down_delay => Iteration::Wait,
                Stage::Aborted(_) => {
                    world.history.write(world.now, Entry::RolledBack);
                    self.stage = Stage::Ended;
                    if canary::remove(world.rollout.to, world.wanted) > 0 {
                        Iteration::Last
                    } else {
                        Iteration::Reached
                    }
                }
            };
            if turn != Iteration::Wait || was == (self.stage, world.history.step) {
                return turn;
            }
        }
    }

    /// The step in progress, or the first after it that is not done.
    fn step(&mut self, world: &mut World<'_, '_>) -> Iteration {
        let index = world.history.step;
        match &world.rollout.steps[index as usize] {
            RolloutStep::SetWeight(weight) => self.decide(*weight, self.scale, world),
            RolloutStep::SetCanaryScale(scale) => {
                self.scale = *scale;
                self.decide(world.wanted.weight_of(world.rollout.to), *scale, world)
            }
            RolloutStep::Pause(None) => {
                pause(PauseReason::Step, world.now, world.history);
                Iteration::Wait
            }
            RolloutStep::Pause(Some(length)) => {
                if world.now >= self.entered + *length {
                    self.enter(index + 1, world.rollout, world.now, world.history);
                }
                Iteration::Wait
            }
            RolloutStep::Analysis(analysis) => {
                let tries = self.inline.get_or_insert_with(|| Tries::from(self.entered, analysis));
                match tries.look(analysis, Some(index), world) {
                    None => Iteration::Wait,
                    Some(MeasurementVerdict::Successful) => {
                        self.enter(index + 1, world.rollout, world.now, world.history);
                        Iteration::Wait
                    }
                    Some(MeasurementVerdict::Failed) => self.abort(AbortReason::Analysis, world),
                    Some(MeasurementVerdict::Inconclusive) => {
                        pause(PauseReason::Inconclusive, world.now, world.history);
                        Iteration::Wait
                    }
                }
            }
        }
    }

    /// Decides the canary's weight and instances, and goes on when they are there.
    fn decide(&mut self, weight: f64, scale: Option<Amount>, world: &mut World<'_, '_>) -> Iteration {
        if !std::mem::replace(&mut self.is_decided, true) {
            canary::set(world.rollout.to, weight, scale, world.wanted, world.observed);
            return Iteration::Step;
        }
        if world.wanted.has_canary_ready(world.observed) {
            if let Some(analysis) = &world.rollout.analysis
                && weight > 0.0
            {
                self.background.get_or_insert_with(|| Tries::from(world.now, analysis));
            }
            self.enter(world.history.step + 1, world.rollout, world.now, world.history);
            return Iteration::Wait;
        }
        // Instances that crashed elsewhere, or an extend, change what is to be there.
        let before = world.wanted.versions.clone();
        canary::follow(world.wanted, world.observed);
        match before == world.wanted.versions {
            true if self.is_too_late(world) => self.abort(AbortReason::Deadline, world),
            true => Iteration::Wait,
            false => Iteration::Step,
        }
    }

    fn is_too_late(&self, world: &World<'_, '_>) -> bool {
        world.rollout.progress_deadline.is_some_and(|deadline| world.now >= self.entered + deadline)
    }

    /// All steps are done.
    fn switch(&mut self, world: &mut World<'_, '_>) -> Iteration {
        let n = world.wanted.instances;
        let is_set = world.wanted.canary.as_ref().is_some_and(|it| it.weight() >= 1.0 && it.beside(n) >= n);
        if !std::mem::replace(&mut self.is_decided, true) && !is_set {
            canary::set(world.rollout.to, 1.0, None, world.wanted, world.observed);
            return Iteration::Step;
        }
        if world.wanted.has_canary_ready(world.observed) {
            self.stage = Stage::Switched(world.now);
            return Iteration::Wait;
        }
        if self.is_too_late(world) { self.abort(AbortReason::Deadline, world) } else { Iteration::Wait }
    }

    /// Begins a step.
    fn enter(&mut self, step: u32, rollout: &Rollout, now: Time, history: &mut RolloutHistory) {
        (self.entered, self.is_decided, self.inline) = (now, false, None);
        history.step = step;
        if (step as usize) < rollout.steps.len() {
            self.stage = Stage::Steps;
            history.write(now, Entry::Step(step));
        } else {
            self.stage = Stage::Switches;
            history.write(now, Entry::Promoting);
        }
    }

    fn abort(&mut self, reason: AbortReason, world: &mut World<'_, '_>) -> Iteration {
        world.history.write(world.now, Entry::Aborted(reason));
        (world.history.aborted, world.history.paused) = (Some(reason), None);
        (self.inline, self.background) = (None, None);
        self.stage = Stage::Aborted(world.now);
        let to = world.rollout.to;
        if world.wanted.canary.is_none() {
            world.history.write(world.now, Entry::RolledBack);
            self.stage = Stage::Ended;
            return Iteration::Reached;
        }
        let stay = Amount::Instances(count_of(&world.wanted.versions, to));
        canary::set(to, 0.0, Some(stay), world.wanted, world.observed);
        Iteration::Step
    }

    /// Measures in the background, if that is due. Returns why it is to be aborted, if it is.
    fn look_in_background(&mut self, world: &mut World<'_, '_>) -> Option<AbortReason> {
        let (tries, analysis) = (self.background.as_mut()?, world.rollout.analysis.as_ref()?);
        match tries.look(analysis, None, world)? {
            MeasurementVerdict::Successful => None,
            MeasurementVerdict::Failed => Some(AbortReason::Analysis),
            MeasurementVerdict::Inconclusive => {
                if world.history.paused.is_none() {
                    pause(PauseReason::Inconclusive, world.now, world.history);
                }
                None
            }
        }
    }

    /// When something is due.
    fn due(&self, rollout: &Rollout, history: &RolloutHistory) -> Option<Time> {
        let background = self.background.map(|tries| tries.next);
        let own = match self.stage {
            Stage::Aborted(at) => Some(at + rollout.abort_scale_down_delay),
            _ if history.paused.is_some() => None,
            Stage::Begins | Stage::Ended => None,
            Stage::Switched(at) => Some(at + rollout.scale_down_delay),
            Stage::Switches => rollout.progress_deadline.map(|deadline| self.entered + deadline),
            Stage::Steps => match rollout.steps.get(history.step as usize) {
                Some(RolloutStep::Pause(length)) => length.map(|length| self.entered + length),
                Some(RolloutStep::Analysis(_)) => self.inline.map(|tries| tries.next),
                _ => rollout.progress_deadline.map(|deadline| self.entered + deadline),
            },
        };
        let all = [background, own].into_iter().flatten().filter(|at| *at < Time::NEVER);
        all.min()
    }
}

fn pause(reason: PauseReason, now: Time, history: &mut RolloutHistory) {
    history.paused = Some(reason);
    history.write(now, Entry::Paused(reason));
}

impl Tries {
    fn from(begin: Time, analysis: &Analysis) -> Self {
        Tries { next: begin + analysis.initial_delay, taken: 0, failed: 0, inconclusive: 0 }
    }

    /// Measures if that is due. Returns the result of the analysis, once it has one.
    fn look(
        &mut self,
        analysis: &Analysis,
        step: Option<u32>,
        world: &mut World<'_, '_>,
    ) -> Option<MeasurementVerdict> {
        if world.now < self.next {
            return None;
        }
        let measurement = Measurement { step, ..(world.measure)(analysis) };
        let verdict = measurement.verdict;
        world.history.write(world.now, Entry::Measured(measurement));
        self.next = world.now + analysis.interval;
        self.taken += 1;
        self.failed += u32::from(verdict == MeasurementVerdict::Failed);
        self.inconclusive += u32::from(verdict == MeasurementVerdict::Inconclusive);
        let result = if self.failed > analysis.failure_limit {
            MeasurementVerdict::Failed
        } else if self.inconclusive > analysis.inconclusive_limit {
            MeasurementVerdict::Inconclusive
        } else if analysis.count.is_some_and(|count| self.taken >= count) {
            MeasurementVerdict::Successful
        } else {
            return None;
        };
        self.next = Time::NEVER;
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Canary;

    fn analysis(inconclusive_limit: u32) -> Analysis {
        Analysis {
            checks: Vec::new(),
            interval: Span::from_secs(1),
            window: Span::from_secs(1),
            initial_delay: Span::ZERO,
            count: None,
            failure_limit: 0,
            inconclusive_limit,
            min_requests: 1,
        }
    }

    fn rollout(steps: Vec<RolloutStep>) -> Rollout {
        Rollout {
            to: 2,
            steps,
            analysis: None,
            scale_down_delay: Span::ZERO,
            abort_scale_down_delay: Span::ZERO,
            progress_deadline: None,
        }
    }

    /// A rollout, with all instances ready at once.
    struct Course {
        rollout: Rollout,
        progress: RolloutProgress,
        wanted: Desired,
        history: RolloutHistory,
        measured: u32,
    }

    impl Course {
        fn of(rollout: Rollout, wanted: Desired) -> Self {
            let (progress, history) = (RolloutProgress::default(), RolloutHistory::default());
            Course { rollout, progress, wanted, history, measured: 0 }
        }

        /// Advances until it waits, or has decided something.
        fn advance(&mut self, secs: u64, verdict: MeasurementVerdict) -> Iteration {
            let ready = self.wanted.versions.clone();
            let measured = &mut self.measured;
            let mut measure = |_: &Analysis| {
                *measured += 1;
                Measurement { step: None, requests: 0, failed: 0, nodes: (0, 0), checks: Vec::new(), verdict }
            };
            let (now, observed) = (Time::ZERO + Span::from_secs(secs), Observed::of(&ready));
            let (wanted, history) = (&mut self.wanted, &mut self.history);
            self.progress.advance(&self.rollout, now, wanted, observed, &mut measure, history).turn
        }

        fn resume(&mut self, secs: u64) -> bool {
            let now = Time::ZERO + Span::from_secs(secs);
            self.progress.steer(Steer::Resume, &self.rollout, now, &mut self.history)
        }
    }

    #[test]
    fn an_analysis_that_becomes_inconclusive_during_another_pause_goes_on_when_that_ends() {
        let steps = vec![RolloutStep::SetWeight(0.1), RolloutStep::Pause(None), RolloutStep::Pause(None)];
        let analysed = Rollout { analysis: Some(analysis(0)), ..rollout(steps) };
        let mut it = Course::of(analysed, Desired::of_one_version(10, 1));
        assert_eq!(it.advance(0, MeasurementVerdict::Successful), Iteration::Step);
        // The weight is in force; the pause begins, and with it the analysis.
        it.advance(1, MeasurementVerdict::Successful);
        assert_eq!(it.history.paused, Some(PauseReason::Step));
        it.advance(2, MeasurementVerdict::Inconclusive);
        assert_eq!((it.measured, it.history.paused), (1, Some(PauseReason::Step)));
        // It measures no more until the rollout is resumed.
        it.advance(5, MeasurementVerdict::Failed);
        assert_eq!(it.measured, 1);
        assert!(it.resume(6));
        assert_eq!(it.advance(7, MeasurementVerdict::Failed), Iteration::Step);
        assert_eq!(it.history.aborted, Some(AbortReason::Analysis));
    }

    #[test]
    fn a_rollout_over_an_update_to_its_own_version_begins_without_requests_for_it() {
        // Half of the instances are new already, and none is a canary.
        let wanted = Desired { target: 2, versions: vec![(1, 6), (2, 4)], ..Desired::of_one_version(10, 1) };
        let scale = RolloutStep::SetCanaryScale(Some(Amount::Instances(2)));
        let mut it = Course::of(rollout(vec![scale]), wanted);
        assert_eq!(it.advance(0, MeasurementVerdict::Successful), Iteration::Step);
        assert_eq!((it.history.weight, it.wanted.target), (0.0, 1));
    }

    #[test]
    fn a_rollout_of_a_service_without_instances_gives_the_version_of_those_that_come() {
        // An update to version 2 was at half of the requests when all instances went.
        let canary = Canary { version: 2, weights: vec![0.5], reached: 0.0, scale: None };
        let wanted = Desired { canary: Some(canary), ..Desired::of_one_version(0, 1) };
        let mut it = Course::of(rollout(vec![RolloutStep::SetWeight(0.5)]), wanted);
        assert_eq!(it.advance(0, MeasurementVerdict::Successful), Iteration::Reached);
        assert_eq!((it.wanted.target, it.wanted.canary, it.wanted.v), (2, None, 2.0));
    }

    #[test]
    fn a_weight_has_the_scale_of_its_own_rollout_and_of_none_before() {
        // The instances of another rollout, to version 3, that was aborted a moment ago.
        let canary = Canary { version: 3, weights: vec![0.0], reached: 0.0, scale: Some(Amount::Instances(1)) };
        let versions = vec![(1, 10), (3, 1)];
        let wanted = Desired { canary: Some(canary), versions, ..Desired::of_one_version(10, 1) };
        let mut it = Course::of(rollout(vec![RolloutStep::SetWeight(0.5)]), wanted);
        assert_eq!(it.advance(0, MeasurementVerdict::Successful), Iteration::Step);
        assert_eq!(count_of(&it.wanted.versions, 2), 5);
    }
}
