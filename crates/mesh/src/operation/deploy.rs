//! `deploy`: start the instances of a service as its description says.

use super::{Turn, Wanted, add};
use crate::model::Service;

pub(super) fn turn(service: &Service, wanted: &mut Wanted) -> Turn {
    *wanted = Wanted {
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
    Turn::Last
}
