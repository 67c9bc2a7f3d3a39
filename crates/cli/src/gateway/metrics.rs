//! `GET /metrics`: the text format of Prometheus, 0.0.4.

use std::fmt::Write as _;

use actix_web::{HttpResponse, web};
use meshsim_mesh::coordinator::Presence;

use super::answers::{AskCounts, BUCKETS_MS};
use super::refusal::Refusal;
use super::state::State;
use super::status::{Phase, Service, Status};

pub(super) async fn metrics(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let status = Status::gather(&state).await?;
    let text = render(&status, &state.answers.counts());
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

    /// A gauge for each service.
    fn services(&mut self, services: &[Service], name: &str, help: &str, value: impl Fn(&Service) -> f64) {
        self.family(name, "gauge", help);
        services.iter().for_each(|service| self.sample(name, &[("service", &service.name)], value(service)));
    }
}

fn render(status: &Status, asks: &AskCounts) -> String {
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
    text.single("steps_total", "counter", "Steps that the coordinator has decided.", status.steps as f64);

    let services = &status.services;
    text.services(services, "service_instances_wanted", "S: instances wanted.", |it| it.instances.into());
    text.services(services, "service_instances_ready", "Instances that take requests.", |it| it.ready.into());
    text.services(services, "service_capacity", "C: requests that an instance serves at once.", |it| it.capacity);
    text.services(services, "service_version", "V, as the mean over instances.", |it| it.version);
    text.services(services, "service_generation", "Steps that there were of the service.", |it| it.generation as f64);

    text.family("gateway_requests_total", "counter", "Requests from outside that were answered, by result.");
    for (result, count) in asks.results() {
        text.sample("gateway_requests_total", &[("result", result)], count as f64);
    }
    text.single(
        "gateway_requests_under_way",
        "gauge",
        "Requests from outside without an answer yet.",
        asks.under_way as f64,
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
    text.0
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
