//! Autoscalers of services.

use meshsim_actor::Span;
use meshsim_mesh::autoscale::capacity::Utilisation;
use meshsim_mesh::autoscale::hpa::{Hpa, Pace, Select, Signal};
use meshsim_mesh::autoscale::keda::{Backlog, Keda};
use meshsim_mesh::autoscale::knative::Knative;
use meshsim_mesh::autoscale::{Autoscale, Controller};

use super::Names;
use super::policy::at_least;
use crate::problem::{Location, Reporter};
use crate::schema;
use crate::section::At;
use crate::values::{Budget, Fraction, Limit};

/// An autoscaler, if what the file says of it is possible.
pub(super) fn compile(
    it: &At<schema::Autoscale>,
    (name, service): (&At<String>, &schema::Service),
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> Option<Box<Autoscale>> {
    use schema::{Autoscale as Of, Other};
    let by = match &it.value {
        Of::Hpa(hpa) => Controller::Hpa(compile_hpa(hpa, it.place, service.cpu.0, reporter)?),
        Of::Other(Other::Knative(it)) => Controller::Knative(knative(&it.knative.value, reporter)?),
        Of::Other(Other::Keda(it)) => Controller::Keda(keda(&it.keda, name, names, reporter)?),
        Of::Other(Other::Capacity(it)) => Controller::Capacity(capacity(&it.capacity, reporter)?),
    };
    Some(Box::new(Autoscale { by, is_on: true }))
}

fn knative(it: &schema::KnativeSettings, reporter: &mut Reporter) -> Option<Knative> {
    let (min, max) = (it.min.value.0 as u32, it.max.value.0);
    range((min, max), it.max.place, reporter)?;
    for rate in [it.max_scale_up_rate, it.max_scale_down_rate] {
        if rate.value.0 <= 1.0 {
            reporter
                .report(rate.place, "with a rate of 1 the number of instances cannot change")
                .help("write a number above 1, as in `max_scale_down_rate: 2`");
        }
    }
    let second = Span::from_secs(1);
    for (window, what) in [(it.stable_window, "stable_window"), (it.panic_window, "panic_window")] {
        if window.value < second {
            reporter.report(window.place, format!("`{what}` is too short: {}", window.value)).help("at least 1s");
        }
    }
    if it.panic_window.value > it.stable_window.value {
        reporter.report(it.panic_window.place, "`panic_window` is longer than `stable_window`").help("swap them");
    }
    Some(Knative {
        min,
        max,
        concurrency: it.concurrency.0,
        utilisation: above_zero(it.utilisation, "with a utilisation of 0 no number of instances is enough", reporter)?,
        stable: it.stable_window.value,
        panic: it.panic_window.value,
        panic_threshold: it.panic_threshold.0,
        up_rate: it.max_scale_up_rate.value.0,
        down_rate: it.max_scale_down_rate.value.0,
        down_delay: it.scale_down_delay,
        grace: it.scale_to_zero_grace_period,
        burst: it.target_burst_capacity.0,
        tick: at_least(it.tick, "tick", reporter),
        scrape: at_least(it.scrape, "scrape", reporter),
    })
}

fn keda(
    At { value: it, place }: &At<schema::KedaSettings>,
    name: &At<String>,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> Option<Keda> {
    let (min, max) = (it.min.value.0 as u32, it.max.value.0 as u32);
    range((min, Some(max)), it.max.place, reporter)?;
    let (signal, target) = match (&it.queue, &it.requests) {
        (Some(target), None) => {
            let of = it.of.as_ref().unwrap_or(name);
            (Backlog::Queue(names.service(of, reporter)?), target.value.0)
        }
        (None, Some(target)) => {
            if let Some(of) = &it.of {
                reporter.report(of.place, "`of` names the service of a `queue`").help("leave it out");
            }
            (Backlog::Requests, target.value.0)
        }
        (Some(_), Some(second)) => {
            reporter.report(second.place, "one figure is enough").help("leave out `queue` or `requests`");
            return None;
        }
        (None, None) => {
            reporter
                .report(*place, "which figure does it follow?")
                .help("write `queue: 5` (messages per instance), or `requests: 100` (requests per instance)");
            return None;
        }
    };
    let hpa = Hpa {
        // Kubernetes' autoscaler does not go to zero.
        min: min.max(1),
        max,
        signal: Signal::Concurrency,
        target,
        sync: at_least(it.sync, "sync", reporter),
        tolerance: it.tolerance.0,
        initial_readiness: Span::ZERO,
        cpu_initialization: Span::ZERO,
        up: growth(&it.up),
        down: decline(&it.down),
    };
    let (poll, scrape) = (at_least(it.poll, "poll", reporter), at_least(it.scrape, "scrape", reporter));
    let (activation, cooldown) = (it.activation.0, it.cooldown);
    Some(Keda { min, signal, target, activation, poll, cooldown, scrape, hpa })
}

fn capacity(it: &schema::CapacitySettings, reporter: &mut Reporter) -> Option<Utilisation> {
    Some(Utilisation {
        target: above_zero(it.utilisation, "with a utilisation of 0 no capacity is enough", reporter)?,
        tolerance: it.tolerance.0,
        sync: at_least(it.sync, "sync", reporter),
        window: it.window,
        scrape: at_least(it.scrape, "scrape", reporter),
    })
}

fn above_zero(share: At<Fraction>, why: &str, reporter: &mut Reporter) -> Option<f64> {
    if share.value.0 <= 0.0 {
        reporter.report(share.place, why).help("as in `utilisation: 70%`");
        return None;
    }
    Some(share.value.0)
}

fn range((min, max): (u32, Option<u32>), place: Location, reporter: &mut Reporter) -> Option<()> {
    if let Some(max) = max.filter(|max| min > *max) {
        reporter.report(place, format!("`max` ({max}) is below `min` ({min})")).help("swap them");
        return None;
    }
    Some(())
}

/// Kubernetes' horizontal pod autoscaler.
fn compile_hpa(it: &schema::Hpa, place: Location, cpu: f64, reporter: &mut Reporter) -> Option<Hpa> {
    let (min, max) = (it.min.value.0 as u32, it.max.value.0 as u32);
    range((min, Some(max)), it.max.place, reporter)?;
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
                .report(place, "which signal does it follow?")
                .help("write `cpu: 60%` (of the reserved cores), or `concurrency: 8` (requests per instance)");
            return None;
        }
    };
    Some(Hpa {
        min,
        max,
        signal,
        target,
        sync: at_least(it.sync, "sync", reporter),
        tolerance: it.tolerance.0,
        initial_readiness: it.initial_readiness,
        cpu_initialization: it.cpu_initialization,
        up: growth(&it.up),
        down: decline(&it.down),
    })
}

fn growth(it: &schema::Growth) -> Pace {
    pace(it.window, (it.instances, it.share), it.period, it.select)
}

fn decline(it: &schema::Decline) -> Pace {
    pace(it.window, (it.instances, it.share), it.period, it.select)
}

fn pace(window: Span, (instances, share): (Limit, Budget), period: Span, select: Select) -> Pace {
    Pace { window, instances: instances.0, share: share.0, period, select }
}
