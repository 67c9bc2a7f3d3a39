//! `deploy`: start the instances of a service as its description says.

use super::{Desired, Iteration, add};
use crate::model::Service;

pub(super) fn iterate(service: &Service, wanted: &mut Desired) -> Iteration {
    *wanted = Desired {
        deployed: true,
        s: f64::from(service.instances),
        instances: service.instances,
        c: service.capacity.clamp(service.capacity_min, service.capacity_max),
        v: f64::from(service.version),
        target: service.version,
        versions: Vec::new(),
        rolling: None,
        canary: None,
    };
    add(&mut wanted.versions, service.version, service.instances);
    Iteration::Last
}
