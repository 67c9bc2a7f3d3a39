//! The journeys of a load's users.

use std::sync::Arc;

use meshsim_mesh::model::{Journey, JourneyStep, Target, Targeting};

use super::mix::Lookup;
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::schema::{self, Weights};
use crate::section::{At, Named};

/// Steps of a journey, at most.
const STEPS_MAX: usize = 200;

/// The name of the end among the steps that may follow.
const END: &str = "end";

/// The targets of a journey, one for each of its steps.
pub(super) fn compile(
    it: &schema::Load,
    steps: &At<Named<schema::JourneyStep>>,
    lookup: &Lookup<'_>,
    reporter: &mut Reporter,
) -> (Vec<Target>, Targeting) {
    if let Some(mix) = &it.mix {
        reporter
            .report(mix.place, "this load has a `mix` and a `journey`")
            .help("write one of the two; or two loads: the steps of a journey say what is asked for");
    }
    if let Some(pacing) = &it.pacing {
        reporter.report(pacing.place, "`pacing` does not apply to users who make journeys").help(
            "leave it out: `think` of a step is the time to the next one, `think` of the load that between journeys",
        );
    }
    let entries = &steps.value.entries;
    if (entries.is_empty() && reporter.is_clean_in(steps.place)) || entries.len() > STEPS_MAX {
        reporter
            .report(steps.place, format!("a journey has 1 to {STEPS_MAX} steps, not {}", entries.len()))
            .help("write `journey: { home: { to: front.home, think: 2s }, buy: { to: front.buy } }`");
    }
    let (mut targets, mut journey) = (vec![], vec![]);
    for (at, (name, step)) in entries.iter().enumerate().take(STEPS_MAX) {
        if name.value == END {
            reporter
                .report(name.place, format!("`{END}` is no name of a step"))
                .help(format!("`{END}` means the end of the journey: give the step another name"));
        }
        let Some((service, endpoint)) = lookup.find(&step.to, reporter) else { continue };
        targets.push(Target { service, endpoint, weight: 0.0, request_bytes: it.request.mean() });
        let next = match &step.next {
            Some(next) => follows(next, steps, reporter),
            None => (0..=entries.len()).map(|other| f64::from(u8::from(other == at + 1))).collect(),
        };
        journey.push(JourneyStep { name: name.value.clone(), think: step.think.clone(), next });
    }
    let journey = Journey { steps: journey };
    if reporter.is_clean_in(steps.place) {
        refuse_endless(&journey, steps, reporter);
    }
    if reporter.is_clean_in(steps.place) {
        targets.iter_mut().zip(journey.visits()).for_each(|(target, visits)| target.weight = visits);
    }
    (targets, Targeting::Journey(Arc::new(journey)))
}

/// The weights of the steps that may follow, and of the end.
fn follows(next: &At<Weights>, steps: &At<Named<schema::JourneyStep>>, reporter: &mut Reporter) -> Vec<f64> {
    let known = || steps.value.names().chain([END]);
    let mut weights = vec![0.0; steps.value.entries.len() + 1];
    for (name, weight) in &next.value.entries {
        match known().position(|known| known == name.value) {
            Some(at) => weights[at] = weight.0,
            None if steps.value.broken.contains(&name.value) => {}
            None => {
                reporter
                    .report(name.place, format!("this journey has no step `{}`", shortened(&name.value)))
                    .label(nearest(&name.value, known()).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("it has {}", one_of(known())));
            }
        }
    }
    if weights.iter().sum::<f64>() <= 0.0 && reporter.is_clean_in(next.place) {
        reporter
            .report(next.place, "nothing follows this step")
            .help(format!("at least one weight must be above 0, as in `{{ buy: 30, {END}: 70 }}`"));
    }
    weights
}

/// Reports a step from which the end is never reached, among those that are.
fn refuse_endless(journey: &Journey, steps: &At<Named<schema::JourneyStep>>, reporter: &mut Reporter) {
    let count = journey.steps.len();
    // Backwards from the end: the steps from which it is reached.
    let mut ends = vec![false; count];
    while let Some(at) = (0..count).find(|at| {
        let next = &journey.steps[*at].next;
        !ends[*at] && (next[count] > 0.0 || (0..count).any(|to| ends[to] && next[to] > 0.0))
    }) {
        ends[at] = true;
    }
    let visits = journey.visits();
    if let Some(at) = (0..count).find(|at| !ends[*at] && visits[*at] > 0.0) {
        let (name, step) = &steps.value.entries[at];
        let place = step.next.as_ref().map_or(name.place, |next| next.place);
        reporter
            .report(place, format!("a journey that comes to `{}` never ends", name.value))
            .help(format!("let the end follow a step with some weight: `next: {{ {}: 90, {END}: 10 }}`", name.value));
    }
}
