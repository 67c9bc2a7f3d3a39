//! Autoscalers of services.

use meshsim_actor::Span;
use meshsim_mesh::autoscale::Autoscale;
use meshsim_mesh::autoscale::hpa::{Hpa, Pace, Select, Signal};

use super::policy::at_least;
use crate::problem::Reporter;
use crate::schema;
use crate::section::At;
use crate::values::{Budget, Limit};

/// An autoscaler, if what the file says of it is possible.
pub(super) fn compile(it: &At<schema::Autoscale>, cpu: f64, reporter: &mut Reporter) -> Option<Box<Autoscale>> {
    let At { value: it, place } = it;
    let (min, max) = (it.min.value.0 as u32, it.max.value.0 as u32);
    if min > max {
        reporter.report(it.max.place, format!("`max` ({max}) is below `min` ({min})")).help("swap them");
        return None;
    }
    let (signal, target) = match (&it.cpu, &it.concurrency) {
        (Some(share), None) if share.value.0 <= 0.0 => {
            reporter
                .report(share.place, "with a target of 0 no number of instances is enough")
                .help("as in `cpu: 60%`");
            return None;
        }
        (Some(share), None) if cpu <= 0.0 => {
            reporter
                .report(share.place, "its instances reserve no cores, so there is nothing to take a share of")
                .help("give the service `cpu`, the cores that an instance reserves, as in `cpu: 0.5`");
            return None;
        }
        (Some(share), None) => (Signal::Cpu, share.value.0),
        (None, Some(requests)) => (Signal::Concurrency, requests.value.0),
        (Some(_), Some(second)) => {
            reporter.report(second.place, "one signal is enough").help("leave out `cpu` or `concurrency`");
            return None;
        }
        (None, None) => {
            reporter
                .report(*place, "which signal does it follow?")
                .help("write `cpu: 60%` (of the reserved cores), or `concurrency: 8` (requests per instance)");
            return None;
        }
    };
    let (up, down) = (&it.up, &it.down);
    Some(Box::new(Autoscale::Hpa(Hpa {
        min,
        max,
        signal,
        target,
        sync: at_least(it.sync, "sync", reporter),
        tolerance: it.tolerance.0,
        initial_readiness: it.initial_readiness,
        cpu_initialization: it.cpu_initialization,
        up: pace(up.window, (up.instances, up.share), up.period, up.select),
        down: pace(down.window, (down.instances, down.share), down.period, down.select),
    })))
}

fn pace(window: Span, (instances, share): (Limit, Budget), period: Span, select: Select) -> Pace {
    Pace { window, instances: instances.0, share: share.0, period, select }
}
