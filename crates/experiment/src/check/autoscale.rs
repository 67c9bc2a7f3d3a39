//! Autoscalers: how fast they may correct for the delay of their loop, and what is not modelled.
//!
//! An autoscaler is the recurrence `S' = S + a (T - S)` with a = 1: it goes at once to the number that its signal
//! asks for. What it does shows in the signal later: once instances are ready, and the signal, a mean or a sample, is
//! of after that. With a delay of d decisions, the loop is stable only for `a < 2 sin(pi / (2 (2 d + 1)))`, which is
//! 1 for d = 1 and less for more. At its bound the loop has a period of `4 d + 2` decisions, as the number of
//! instances is then the sine of that period that the recurrence repeats.
//!
//! That is the theory of a proportional signal. A tolerance, a window on declines, and limits on the pace make a loop
//! calmer; a signal that grows beyond the load, as a queue does, makes it worse.

use meshsim_mesh::autoscale::Controller;
use meshsim_mesh::autoscale::hpa::Signal;
use meshsim_mesh::autoscale::keda::{Backlog, Keda};
use meshsim_mesh::model::{Mesh, Service};

use super::rollouts::stability_bound;
use super::{Checked, Warnings, plain, span};

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    for service in &mesh.services {
        let Some(by) = service.autoscale.as_deref().map(|it| &it.by) else { continue };
        let name = &service.name;
        let message =
            format!("the autoscaler of `{name}` is not modelled: the figures are those of its instances without it");
        warnings.warn("autoscale", None, message);
        oscillates(checked, service, by, warnings);
        begins(service, by, warnings);
        if let Controller::Keda(Keda { signal: Backlog::Queue(of), .. }) = by
            && !checked.flow.met.queues.iter().any(|queue| checked.flow.graph.service(queue.vertex) == of.index())
        {
            let of = &mesh.service(*of).name;
            let message = format!("KEDA follows the queues of `{of}` for `{name}`, and `{of}` has none");
            warnings.warn("autoscale", None, message);
        }
    }
}

/// A loop whose delay makes it go round: the period that is to be expected.
fn oscillates(checked: &Checked<'_>, service: &Service, by: &Controller, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    let round_trip = span::round_trip(mesh, &checked.experiment.network);
    let period = by.period().secs();
    // A capacity takes effect at once, and an instance when it is ready.
    let begins = if matches!(by, Controller::Capacity(_)) { 0.0 } else { service.start_delay.secs() };
    let late = round_trip + begins + age(by, mesh);
    let delay = (late / period).round().min(1e6) as u32;
    if delay == 0 || is_damped(by, late) {
        return;
    }
    let (bound, steps) = (stability_bound(delay), 4 * u64::from(delay) + 2);
    let what = if bound < 1.0 - 1e-9 { "goes round" } else { "may go round" };
    let message = format!(
        "the autoscaler of `{}` {what}: it corrects all at once (rate 1), and what it does shows {}; a rate \
         below {bound:.3} is stable. Expected period: {steps} decisions, {} s. A window on declines of at least {} s, or \
         limits on the pace, calm it",
        service.name,
        if delay == 1 { "one decision later".into() } else { format!("{delay} decisions later") },
        plain(steps as f64 * period),
        plain(late.ceil()),
    );
    warnings.warn("oscillation", None, message);
}

/// Mean age of the signal, in seconds.
fn age(by: &Controller, mesh: &Mesh) -> f64 {
    match by {
        // Processor time is a mean between two samples, and a sample is up to one round old.
        Controller::Hpa(hpa) if hpa.signal == Signal::Cpu => mesh.control.metrics.secs(),
        Controller::Hpa(_) => mesh.control.metrics.secs() / 2.0,
        Controller::Knative(it) => it.stable.secs() / 2.0,
        Controller::Keda(it) => it.scrape.secs() / 2.0,
        Controller::Capacity(it) => it.sync.secs() / 2.0,
    }
}

/// True if declines wait for longer than the loop is late.
fn is_damped(by: &Controller, late: f64) -> bool {
    let window = match by {
        Controller::Hpa(hpa) => hpa.down.window,
        // A panic allows no decline for as long as the mean lasts.
        Controller::Knative(it) => it.down_delay.max(it.stable),
        Controller::Keda(it) => it.hpa.down.window,
        Controller::Capacity(it) => it.window,
    };
    window.secs() >= late
}

/// The instances with which a service begins, beside those that its autoscaler keeps.
fn begins(service: &Service, by: &Controller, warnings: &mut Warnings<'_>) {
    let (name, instances) = (&service.name, service.instances);
    let Some((min, max)) = by.range() else { return };
    let is_within = instances >= min && max.is_none_or(|max| instances <= max);
    if !is_within && instances > 0 {
        let to = max.map_or_else(|| format!("at least {min}"), |max| format!("between {min} and {max}"));
        let message = format!("`{name}` begins with {instances} instances, and its autoscaler keeps it {to}");
        warnings.warn("autoscale", None, message);
    }
    if instances == 0 && matches!(by, Controller::Hpa(_)) {
        let message = format!("`{name}` begins with no instance, and an autoscaler of Kubernetes leaves it so");
        warnings.warn("autoscale", None, message);
    }
    let has_activator = service.policies.as_ref().is_some_and(|policies| policies.activator.is_some());
    if min == 0 && !has_activator {
        let message = format!(
            "`{name}` may have no instance, and requests fail then. `activator: {{}}` lets callers hold them until there is one"
        );
        warnings.warn("autoscale", None, message);
    }
}
