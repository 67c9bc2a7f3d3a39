//! Reserved cores: whether all instances find room.

use meshsim_mesh::model::{Change, Service};

use super::span::expected;
use super::{Checked, Warnings, shown};

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    let largest = expected(mesh).map(|node| node.cores).fold(0.0, f64::max);
    let all: f64 = expected(mesh).map(|node| node.cores).sum();
    for service in mesh.services.iter().filter(|service| service.cpu > largest && service.instances > 0) {
        let message = format!(
            "an instance of `{}` reserves {} cores, and no node has more than {largest}",
            service.name, service.cpu
        );
        warnings.warn("cores", None, message);
    }
    let most = |(index, service): (usize, &Service)| {
        let extended = mesh.operations.iter().filter(|operation| operation.service.index() == index);
        let targets = extended.filter_map(|operation| match operation.change {
            Change::Extend { to, .. } => Some(to),
            _ => None,
        });
        let scaled = service.autoscale.as_ref().and_then(|it| it.by.range()?.1).unwrap_or(0);
        f64::from(targets.fold(service.instances.max(scaled), u32::max)) * service.cpu
    };
    let deployed: f64 = mesh.services.iter().map(|service| f64::from(service.instances) * service.cpu).sum();
    let extended: f64 = mesh.services.iter().enumerate().map(most).sum();
    if deployed > all {
        let message = format!(
            "the instances reserve {} cores but the nodes have {}: some will be unplaced",
            round(deployed),
            round(all)
        );
        warnings.warn("cores", None, message);
    } else if extended > all {
        let message = format!(
            "when all are extended or autoscaled to the most, the instances reserve {} cores but the nodes have {}: some will be unplaced",
            round(extended),
            round(all)
        );
        warnings.warn("cores", None, message);
    }
    if deployed <= all {
        in_time(checked, warnings);
    }
}

/// There will be room for all, but perhaps not yet when they are deployed.
fn in_time(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    let mut nodes: Vec<_> = expected(mesh).collect();
    nodes.sort_by_key(|node| node.joins);
    let mut nodes = nodes.into_iter().peekable();
    let (mut there, mut deployed) = (0.0, vec![false; mesh.services.len()]);
    for together in mesh.operations.chunk_by(|one, other| one.at == other.at) {
        let at = together[0].at;
        while let Some(node) = nodes.next_if(|node| node.joins <= at) {
            there += node.cores;
        }
        if nodes.peek().is_none() {
            return;
        }
        for operation in together {
            match operation.change {
                Change::Deploy => deployed[operation.service.index()] = true,
                Change::Undeploy => deployed[operation.service.index()] = false,
                _ => {}
            }
        }
        let services = mesh.services.iter().zip(&deployed).filter(|(_, deployed)| **deployed);
        let reserved: f64 = services.map(|(service, _)| f64::from(service.instances) * service.cpu).sum();
        if reserved > there {
            let message = format!(
                "the instances reserve {} cores at {} but the nodes joined by then have {}: some will be unplaced until others join",
                round(reserved),
                shown(at),
                round(there)
            );
            warnings.warn("cores", None, message);
            return;
        }
    }
}

/// Cores to two places.
fn round(cores: f64) -> f64 {
    (cores * 100.0).round() / 100.0
}
