//! `GET /metrics`: the text format of Prometheus, 0.0.4.

use std::fmt::Write as _;

use actix_web::{HttpResponse, web};
use meshsim_actor::Span;
use meshsim_mesh::Mesh;
use meshsim_mesh::coordinator::Presence;
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::Failure;
use meshsim_mesh::sparse::Scale;
use meshsim_run::{AskCounts, BUCKETS_MS};

use crate::refusal::Refusal;
use crate::state::State;
use crate::status::{Phase, RECENT, Service, Status};

pub(crate) async fn metrics(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let status = Status::gather(&state, RECENT).await?;
    let mesh = state.mesh();
    let (loads, services) = state.run.so_far(|so_far| so_far.totals(mesh));
    let mut text = render(&status, &state.run.ask_counts());
    so_far(&mut text, mesh, &loads, &services);
    let text = text.0;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

/// The text so far.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a family: its samples follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP meshsim_{name} {help}\n# TYPE meshsim_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "meshsim_{name}{labels} {value}");
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], window: &Window, scale: Scale) {
        let bucket = format!("{name}_bucket");
        for bound in BUCKETS_MS {
            let le = (bound as f64 / 1e3).to_string();
            let below = window.latency.at_most(scale, Span::from_millis(bound));
            self.sample(&bucket, &[labels, &[("le", &le)]].concat(), below as f64);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), window.done as f64);
        self.sample(&format!("{name}_sum"), labels, window.done_sum_ns as f64 / 1e9);
        self.sample(&format!("{name}_count"), labels, window.done as f64);
    }

    /// A gauge for each service.
    fn services(&mut self, services: &[Service], name: &str, help: &str, value: impl Fn(&Service) -> f64) {
        self.family(name, "gauge", help);
        services.iter().for_each(|service| self.sample(name, &[("service", &service.name)], value(service)));
    }
}

/// A counter of seconds: its name, its help, and its nanoseconds in a window.
type Seconds = (&'static str, &'static str, fn(&Window) -> u64);

/// Results of requests, by load and by service: sums over windows, which never decrease.
fn so_far(text: &mut Text, mesh: &Mesh, loads: &[Vec<Window>], services: &[Window]) {
    let targets = || {
        mesh.loads.iter().zip(loads).flat_map(|(load, windows)| {
            load.mix.iter().zip(windows).map(move |(target, window)| {
                let service = mesh.service(target.service);
                let endpoint = format!("{}.{}", service.name, service.endpoints[target.endpoint.index()]);
                (load.name.as_str(), endpoint, window)
            })
        })
    };
    let services = || mesh.services.iter().map(|service| service.name.as_str()).zip(services);
    let open = |window: &Window| window.offered.saturating_sub(window.done).saturating_sub(window.failed.total());

    text.family("load_requests_total", "counter", "Requests of loads that have ended, by result.");
    for (load, endpoint, window) in targets() {
        for (result, count) in results(window) {
            let labels = [("load", load), ("endpoint", &endpoint), ("result", result)];
            text.sample("load_requests_total", &labels, count as f64);
        }
    }
    text.family("load_requests_due_total", "counter", "Requests of loads that were due, after the warm-up.");
    for (load, endpoint, window) in targets() {
        text.sample("load_requests_due_total", &[("load", load), ("endpoint", &endpoint)], window.offered as f64);
    }
    text.family("load_requests_open", "gauge", "Requests of loads that were due and have not ended.");
    for (load, endpoint, window) in targets() {
        text.sample("load_requests_open", &[("load", load), ("endpoint", &endpoint)], open(window) as f64);
    }
    text.family("load_retries_total", "counter", "Tries of loads beyond the first.");
    for (load, endpoint, window) in targets() {
        text.sample("load_retries_total", &[("load", load), ("endpoint", &endpoint)], window.retries as f64);
    }
    let name = "load_request_duration_seconds";
    text.family(name, "histogram", "From when a request was due until its answer, of those done.");
    for (load, endpoint, window) in targets() {
        text.histogram(name, &[("load", load), ("endpoint", &endpoint)], window, Scale::Fine);
    }

    text.family("service_requests_total", "counter", "Requests at a service that have ended, by result.");
    for (service, window) in services() {
        for (result, count) in results(window).chain([("expired", window.expired)]) {
            text.sample("service_requests_total", &[("service", service), ("result", result)], count as f64);
        }
    }
    let name = "service_request_duration_seconds";
    text.family(name, "histogram", "From arrival at an instance to its answer, of those done.");
    for (service, window) in services() {
        text.histogram(name, &[("service", service)], window, Scale::Coarse);
    }
    let seconds: [Seconds; 4] = [
        ("service_slot_seconds_total", "Time that slots were there.", |it| it.levels.slot_ns),
        ("service_busy_slot_seconds_total", "Time that slots were taken.", |it| it.levels.busy_ns()),
        ("service_queue_seconds_total", "Time that requests waited for a slot.", |it| it.levels.queue_ns),
        ("service_work_seconds_total", "What processors did.", |it| it.levels.work_ns),
    ];
    for (name, help, ns) in seconds {
        text.family(name, "counter", help);
        for (service, window) in services() {
            text.sample(name, &[("service", service)], ns(window) as f64 / 1e9);
        }
    }
}

/// All results of a window's requests, with their counts.
fn results(window: &Window) -> impl Iterator<Item = (&'static str, u64)> {
    let failed = Failure::ALL.map(|failure| (failure.as_str(), window.failed.of(failure)));
    std::iter::once(("done", window.done)).chain(failed)
}

fn render(status: &Status, asks: &AskCounts) -> Text {
    let mut text = Text::default();
    let seed = status.seed.to_string();
    text.family("run_info", "gauge", "What is run.");
    let labels = [("experiment", status.experiment.as_str()), ("seed", &seed), ("version", env!("CARGO_PKG_VERSION"))];
    text.sample("run_info", &labels, 1.0);
    text.single("run_time_seconds", "gauge", "Time in the run.", status.time_s);
    text.family("run_phase", "gauge", "1 for the phase that the run is in.");
    for phase in Phase::ALL {
        text.sample("run_phase", &[("phase", phase.as_str())], f64::from(u8::from(status.phase == phase)));
    }
    let connected = status.processes.iter().filter(|process| process.connected).count();
    text.single("processes_connected", "gauge", "Processes of the run, with the coordinator's.", connected as f64);
    text.family("nodes", "gauge", "Nodes, as the coordinator sees them.");
    for state in Presence::ALL {
        let count = status.nodes.iter().filter(|node| node.state == state).count();
        text.sample("nodes", &[("state", state.as_str())], count as f64);
    }
    text.family("node_up", "gauge", "1 for a node that the coordinator hears of.");
    for node in &status.nodes {
        text.sample("node_up", &[("node", &node.name)], f64::from(u8::from(node.state == Presence::Alive)));
    }
    text.single("faults_active", "gauge", "Faults that hold now.", status.faults.len() as f64);
    text.single("steps_total", "counter", "Steps that the coordinator has decided.", status.steps as f64);

    let services = &status.services;
    text.services(services, "service_instances_desired", "S: instances wanted.", |it| it.values.instances.into());
    text.services(services, "service_instances_ready", "Instances that take requests.", |it| it.ready.into());
    text.services(services, "service_capacity", "C: requests that an instance serves at once.", |it| {
        it.values.capacity
    });
    text.services(services, "service_version", "V, as the mean over instances.", |it| it.values.version);
    text.services(services, "service_generation", "Steps that there were of the service.", |it| it.generation as f64);

    text.family("gateway_requests_total", "counter", "Requests from outside that were answered, by result.");
    for (result, count) in asks.results() {
        text.sample("gateway_requests_total", &[("result", result)], count as f64);
    }
    text.single(
        "gateway_requests_in_flight",
        "gauge",
        "Requests from outside without an answer yet.",
        asks.in_flight as f64,
    );
    let name = "gateway_request_duration_seconds";
    text.family(name, "histogram", "How long requests from outside took, of those done.");
    let mut below = 0;
    for (bound, count) in BUCKETS_MS.iter().zip(asks.buckets) {
        below += count;
        text.sample(&format!("{name}_bucket"), &[("le", &(*bound as f64 / 1e3).to_string())], below as f64);
    }
    text.sample(&format!("{name}_bucket"), &[("le", "+Inf")], asks.done as f64);
    text.sample(&format!("{name}_sum"), &[], asks.latency_sum.secs());
    text.sample(&format!("{name}_count"), &[], asks.done as f64);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_end_a_label_do_not() {
        let mut text = Text::default();
        text.sample("x", &[("a", "\"\\\n"), ("b", "ü")], 0.5);
        assert_eq!(text.0, "meshsim_x{a=\"\\\"\\\\\\n\",b=\"ü\"} 0.5\n");
    }
}
