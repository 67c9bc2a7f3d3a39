//! Queues that grow without end, as more is published than their consumers take.

use meshsim_actor::Span;

use super::{Checked, Warnings};

/// Warns of queues whose messages take more consumers than there are; `arriving`: requests per second by endpoint.
pub(super) fn look(checked: &Checked<'_>, arriving: &[f64], warnings: &mut Warnings<'_>) {
    for queue in &checked.flow.met.queues {
        let service = &checked.experiment.mesh.services[checked.flow.graph.service(queue.vertex)];
        let rate = arriving[queue.vertex] * queue.reach;
        let (needed, there) = (rate * queue.time, u64::from(service.instances) * u64::from(queue.consumers));
        if needed >= there as f64 && rate > 0.0 {
            let message = format!(
                "a queue of `{}` grows without end: {rate:.1} messages/s that take {} each need {needed:.1} consumers; it has {there}",
                checked.flow.graph.name(queue.vertex),
                Span::from_secs_f64(queue.time),
            );
            warnings.warn("queue", None, message);
        }
    }
}
