//! One experiment, tried: run in virtual time with all rules on every record, without a trace.

use std::panic::{AssertUnwindSafe, catch_unwind};

use meshsim_actor::{ActorId, EntryRef, Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::NetworkError;
use meshsim_mesh::measure::OperationKind;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::verify::{Breach, Verified, Verifier};
use meshsim_run::Simulation;

use crate::rare::{self, RareCounts, RareWatch};
use crate::settled::settled;

/// The rule that is broken when an actor panics.
pub const PANICS: &str = "no actor panics";

/// What came of one experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The rules that it breaks; none: it is good.
    pub broken: Vec<Verified>,
    /// Rare events that happened.
    pub rare: RareCounts,
    /// Steps that were decided after the services were first deployed.
    pub steps: u64,
    /// Messages that a fault touched, and machines that it switched.
    pub touched: u64,
    /// Inputs that actors processed.
    pub events: u64,
    /// Number of times that a rule was checked.
    pub checked: u64,
}

impl Trial {
    /// True if nothing was operated, or no fault touched anything: that no rule is broken then says nothing.
    pub fn is_vacuous(&self) -> bool {
        self.broken.is_empty() && (self.steps == 0 || self.touched == 0)
    }
}

/// The rules and the watch for rare events, as records come.
struct Checks {
    verifier: Verifier,
    rare: RareWatch,
}

impl Recorder<Msg, Tick> for Checks {
    fn record(&mut self, at: Time, actor: ActorId, entry: EntryRef<'_, Msg, Tick>) {
        self.verifier.record(at, actor, &entry);
        self.rare.record(at, actor, &entry);
    }
}

/// Runs an experiment to its end with all rules. A panic of an actor is a broken rule, too.
///
/// # Errors
/// If the experiment's network cannot be built. The network of an experiment from a file always can.
pub fn try_out(experiment: &Experiment) -> Result<Trial, NetworkError> {
    let tried = catch_unwind(AssertUnwindSafe(|| run(experiment)));
    tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let reason = format!("panics: {}", text.unwrap_or("without a message"));
        let mut broken = Verified { checked: 1, ..Verified::new(PANICS) };
        broken.breach(Breach { record: 0, at_s: 0.0, actor: "an actor".into(), reason });
        Ok(Trial { broken: vec![broken], rare: RareCounts::default(), steps: 0, touched: 0, events: 0, checked: 1 })
    })
}

fn run(experiment: &Experiment) -> Result<Trial, NetworkError> {
    let checks =
        Checks { verifier: Verifier::new(experiment.mesh.clone().into(), false), rare: RareWatch::new(experiment) };
    let end = Time::ZERO + experiment.duration;
    let mut simulation = Simulation::recorded(experiment, checks)?;
    simulation.to(end);
    let healed = experiment.network.healed();
    // A short rest of the run says nothing.
    let has_time = healed.is_some_and(|healed| healed < end && has_time_to_heal(experiment, healed, end));
    let history = simulation.coordinator().history();
    let decided = history.iter().flat_map(|it| &it.steps).map(|step| step.decided).max().unwrap_or(Time::ZERO);
    let at_end = (has_time && end.since(decided) >= STEP_MAX).then(|| settled(&simulation));
    let operated = history.iter().filter(|it| it.kind != OperationKind::Deploy && it.kind != OperationKind::Repair);
    let steps = operated.map(|it| it.steps.len() as u64).sum();
    let of_history = rare::of_history(simulation.mesh(), history);
    let events = simulation.counts().events;
    let Checks { mut verifier, rare } = simulation.into_recorder();
    if let Some(healed) = healed {
        verifier.ends(healed, end);
    }
    let touched = rare.touched();
    let rare = rare.finish(&of_history);
    let verified: Vec<Verified> = verifier.finish().into_iter().chain(at_end).collect();
    let checked = verified.iter().map(|it| it.checked).sum();
    let broken = verified.into_iter().filter(|it| it.broken > 0).collect();
    Ok(Trial { broken, rare, steps, touched, events, checked })
}

/// Longest time until a step has arrived everywhere when nothing disturbs it. A step may be decided at the very end: by
/// chance two heartbeats in a row are late, and a node is taken for dead.
const STEP_MAX: Span = Span::from_secs(15);

/// Share of a run that must be left after its last fault and the beginning of its last operation.
const REST: f64 = 0.4;

fn has_time_to_heal(experiment: &Experiment, healed: Time, end: Time) -> bool {
    let begun = experiment.mesh.operations.iter().map(|operation| operation.at).max().unwrap_or(Time::ZERO);
    let rest = end.since(healed.max(begun)).secs();
    rest >= REST * end.secs() && rest >= crate::draw::END_S - crate::draw::HEALED_S - 1.0
}
