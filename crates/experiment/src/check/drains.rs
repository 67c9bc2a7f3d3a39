//! Drains that a disruption budget never allows to end; drains and pools of nodes, which are not modelled.

use std::collections::BTreeSet;

use meshsim_mesh::model::Change;

use super::{Checked, Warnings, shown};

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    let mut said = BTreeSet::new();
    for (index, operation) in mesh.operations.iter().enumerate() {
        let Change::Drain(drain) = &operation.change else { continue };
        let line = warnings.line(index);
        let node = &mesh.nodes[drain.node as usize].name;
        if said.insert((drain.node, operation.at)) {
            let at = shown(operation.at);
            let message = format!("drain {node} at {at} is not modelled: the figures are those with this node");
            warnings.warn("drain", line, message);
        }
        let service = mesh.service(operation.service);
        if service.instances > 0
            && service.disruption_budget.is_some_and(|it| it.allows(service.instances, service.instances) == 0)
        {
            let message = format!(
                "the disruption budget of `{}` allows no eviction of its {} instances: the drain of {node} does not end \
                 while it has one of them",
                service.name, service.instances
            );
            warnings.warn("drain", line, message);
        }
    }
    for pool in &mesh.pools {
        let message = format!(
            "the autoscaler of the nodes `{}` is not modelled: the figures are those of the {} that serve at the start",
            pool.name, pool.min
        );
        warnings.warn("pool", None, message);
    }
}
