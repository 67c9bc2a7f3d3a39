//! The values at which the operations of a mesh end.

use std::collections::BTreeMap;

use meshsim_mesh::Mesh;
use meshsim_mesh::autoscale::Controller;
use meshsim_mesh::model::{Change, Feedback, Rounding, Service, ServiceId, Strategy};

use super::given::Target;

/// S, C and V of a service when all its operations have ended; `None`: the file alone does not tell.
#[derive(Clone, Copy, Default)]
struct Expected {
    is_deployed: bool,
    instances: Option<u32>,
    capacity: Option<f64>,
    version: Option<u32>,
}

/// The services that are not at their targets when all operations have ended, with what the nodes are given instead.
pub(super) fn targets(mesh: &Mesh, given: &[(ServiceId, &Target)]) -> Vec<String> {
    let expected: Vec<Expected> = (0..mesh.services.len()).map(|at| expected(mesh, ServiceId(at as u16))).collect();
    // Where the cores may not be enough, some instances are placed nowhere.
    let cores: f64 = mesh.nodes.iter().map(|node| node.cores).sum();
    let needs =
        mesh.services.iter().zip(&expected).map(|(service, it)| it.instances.map(|n| f64::from(n) * service.cpu));
    let has_room = needs.sum::<Option<f64>>().is_some_and(|needs| needs <= 0.8 * cores);
    let mut wrong = Vec::new();
    for (at, (service, expected)) in mesh.services.iter().zip(&expected).enumerate() {
        let of_it = || given.iter().filter(|(of, _)| of.index() == at).map(|(_, target)| *target);
        let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
        for (version, count) in of_it().flat_map(|target| &target.share) {
            *versions.entry(*version).or_default() += count;
        }
        let name = &service.name;
        let instances: u32 = versions.values().sum();
        if let Some(wanted) = expected.instances.filter(|wanted| has_room && *wanted != instances) {
            wrong.push(format!("has placed {instances} instances of {name}, and its operations end at {wanted}"));
        }
        let other = |wanted: &u32| versions.keys().copied().find(|version| version != wanted);
        if let Some((wanted, other)) = expected.version.and_then(|wanted| Some((wanted, other(&wanted)?))) {
            wrong
                .push(format!("has placed instances of version {other} of {name}, and its operations end at {wanted}"));
        }
        let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
        let capacity = |wanted: f64| of_it().map(|it| it.capacity).find(|capacity| !is_near(*capacity, wanted));
        if let Some((wanted, capacity)) = expected.capacity.and_then(|wanted| Some((wanted, capacity(wanted)?))) {
            wrong.push(format!("has given {name} the capacity {capacity}, and its operations end at {wanted}"));
        }
    }
    wrong
}

fn expected(mesh: &Mesh, id: ServiceId) -> Expected {
    let service = mesh.service(id);
    let mut it = Expected { instances: Some(0), ..Expected::default() };
    let (mut deploys, mut scales) = (0, 0);
    for operation in mesh.operations.iter().filter(|operation| operation.service == id) {
        match &operation.change {
            Change::Deploy if !it.is_deployed => {
                deploys += 1;
                let is_first = deploys == 1;
                it = Expected {
                    is_deployed: true,
                    instances: Some(service.instances),
                    capacity: is_first.then_some(service.capacity),
                    version: is_first.then_some(service.version),
                };
            }
            Change::Undeploy => it = Expected { instances: Some(0), ..Expected::default() },
            _ if !it.is_deployed => {}
            Change::Extend { to, rate, rounding, feedback } => {
                let arrives = *rounding == Rounding::Away && *feedback == Feedback::Commanded && *rate < 2.0;
                it.instances = (arrives && operation.times.is_none()).then_some(*to);
            }
            Change::Scale { by } => {
                scales += 1;
                it.capacity = match (it.capacity, operation.times) {
                    (Some(from), Some(times)) if scales == 1 => Some(scaled(from, *by, times, service)),
                    _ => None,
                };
            }
            Change::Update { strategy: Strategy::Canary { .. }, .. } => (it.instances, it.version) = (None, None),
            Change::Update { to, .. } => it.version = operation.times.is_none().then_some(*to),
            // It may go back, or wait.
            Change::Rollout(_) => (it.instances, it.version) = (None, None),
            Change::Deploy | Change::Flush | Change::Set(_) | Change::Steer(_) | Change::Drain(_) => {}
        }
    }
    match service.autoscale.as_deref().map(|it| &it.by) {
        Some(Controller::Capacity(_)) => it.capacity = None,
        Some(_) => it.instances = None,
        None => {}
    }
    it
}

fn scaled(from: f64, by: f64, times: u32, service: &Service) -> f64 {
    (0..times).fold(from, |c, _| (c * by).clamp(service.capacity_min, service.capacity_max))
}
