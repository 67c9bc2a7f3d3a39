//! Mixes that change: services that are full at one of their mixes, though not at the mean of all.

use meshsim_actor::{Span, Time};
use meshsim_mesh::model::{Load, Targeting};

use super::capacity::Asked;
use super::{Checked, ServiceEstimate, Warnings, shown};

/// Moments of one mix that are looked at.
const MOMENTS_MAX: usize = 256;

/// Warns of services that are overloaded at a bend of a mix and not at its mean.
pub(super) fn look(checked: &Checked<'_>, services: &[ServiceEstimate], warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    let mut warned = vec![false; mesh.services.len()];
    for (index, load) in mesh.loads.iter().enumerate() {
        for (at, mix) in moments(load).into_iter().take(MOMENTS_MAX) {
            let mut changed = mesh.clone();
            changed.loads[index].mix.iter_mut().zip(mix).for_each(|(target, weight)| target.weight = weight);
            let asked = Asked::of_loads(&changed.loads, &checked.entered, &checked.flow, &checked.rates);
            for (service, estimate) in services.iter().enumerate() {
                let is_full = asked.held[service] >= estimate.slots as f64 && estimate.utilisation < 1.0;
                if is_full && !std::mem::replace(&mut warned[service], true) {
                    let message = format!(
                        "`{}` is overloaded when the mix of `{}` is as at {}: {:.1} requests/s need {:.1} slots; it has {}",
                        estimate.name,
                        load.name,
                        shown(at),
                        asked.rate[service],
                        asked.held[service],
                        estimate.slots,
                    );
                    warnings.warn("overload", None, message);
                }
            }
        }
    }
}

/// True if a load's mix changes.
pub(super) fn changes(load: &Load) -> bool {
    matches!(load.targeting, Targeting::Stages(_))
}

/// The bends of a mix: times of the run, and the weights there.
fn moments(load: &Load) -> Vec<(Time, Vec<f64>)> {
    let Targeting::Stages(stages) = &load.targeting else { return vec![] };
    let mut moments = vec![];
    for stage in stages.iter() {
        let begin: Span = stage.until - stage.length;
        moments.push((load.start + begin, stage.from.to_vec()));
        moments.push((load.start + stage.until, stage.to.to_vec()));
    }
    moments.retain(|(at, _)| *at <= load.end);
    moments
}
