//! Cycles of held slots: requests that each hold a slot that another one waits for.

use super::{Checked, ServiceEstimate, Warnings, plain};
use crate::graph::held_circle;

/// Services of a cycle that are named.
const NAMED_MAX: usize = 8;

pub(super) fn look(checked: &Checked<'_>, services: &[ServiceEstimate], warnings: &mut Warnings<'_>) {
    let circle = held_circle(&checked.experiment.mesh);
    // The service with the fewest slots is full first.
    let Some(least) = circle.iter().min_by_key(|index| services[**index].slots) else { return };
    let least = &services[*least];
    let named = circle.iter().take(NAMED_MAX).chain(circle.first());
    let path: Vec<String> = named.map(|index| format!("`{}`", services[*index].name)).collect();
    let dots = if circle.len() > NAMED_MAX { " (and others)" } else { "" };
    let message = format!(
        "slots are held in a circle, {}{dots}: once requests hold all {} slots of `{}` and call on, none can go on before a timeout (a deadlock); {} are held on average while nothing waits",
        path.join(" -> "),
        least.slots,
        least.name,
        plain(least.rate * least.slot_time)
    );
    warnings.warn("deadlock", None, message);
}
