//! Nodes, network, services and load.

use meshsim_actor::Rng;

use super::{END_S, HEALED_S, ServiceFacts, Topology, between, millis, one_of, whole};

/// Cores that an instance reserves.
const CPU: f64 = 0.1;

/// Seconds between two rounds of measurements.
const METRICS_S: f64 = 1.0;

/// Instances of a service for which the nodes have room, while it is updated and a node is down.
const ROOM: f64 = 75.0;

/// The text of a file up to its operations, and what it has.
pub(super) fn draw(seed: u64, rng: &mut Rng) -> (String, Topology) {
    // Five nodes in half of all seeds.
    let count = if rng.chance(0.5) { 5 } else { whole(2, 7, rng) };
    let has_late = rng.chance(0.3);
    let services = whole(1, 3, rng) as usize;
    let cores = (ROOM * CPU * services as f64 / f64::from(count - 1)).ceil();
    let mut nodes: Vec<String> = (0..count).map(|index| format!("node-{index}")).collect();
    let mut groups = vec![format!("{{ name: node, count: {count}, cores: {cores} }}")];
    if has_late {
        let joins = millis(between(4.0, 25.0, rng));
        groups.push(format!("{{ name: late, cores: {cores}, joins: {joins} }}"));
        nodes.push("late".into());
    }
    let latency = match rng.below(3) {
        0 => millis(between(0.001, 0.05, rng)),
        1 => format!("{{ exponential: {}, at_least: 1ms }}", millis(between(0.002, 0.06, rng))),
        _ => format!("{{ pareto: {}, shape: 2 }}", millis(between(0.002, 0.02, rng))),
    };
    let control = format!(
        "{{ heartbeat: {}, missed: {}, resend: {}, resend_cap: {}, debounce: {}, placement: {}, metrics: {} }}",
        millis(between(0.5, 1.0, rng)),
        whole(2, 3, rng),
        millis(between(0.2, 0.8, rng)),
        millis(between(1.0, 5.0, rng)),
        millis(between(0.02, 0.2, rng)),
        one_of(&["spread", "bin_pack"], rng),
        millis(METRICS_S),
    );
    let mut text = format!("name: search\nseed: {seed}\nduration: {END_S}s\nnodes:\n");
    groups.iter().for_each(|group| text += &format!("  - {group}\n"));
    text += &format!("network: {{ latency: {latency} }}\ncontrol: {control}\nservices:\n");
    let mut facts = Vec::new();
    for index in 0..services {
        let name = ["a", "b", "c"][index];
        let instances = whole(1, 16, rng);
        let calls = (index + 1 < services).then(|| ["b", "c"][index]).filter(|_| rng.chance(0.6));
        let script = calls.map_or_else(|| "[ work: 2ms ]".into(), |to| format!("[ work: 1ms, call: {to} ]"));
        text += &format!(
            "  {name}: {{ instances: {instances}, capacity: {}, queue: {}, cpu: {CPU}, start_delay: {}, drain_delay: {}, \
             {}{}endpoints: {{ get: {{ script: {script} }} }} }}\n",
            whole(1, 4, rng),
            whole(0, 3, rng),
            millis(if rng.chance(0.5) { 0.0 } else { between(0.1, 2.0, rng) }),
            millis(between(0.1, 1.5, rng)),
            budget(rng),
            autoscale(rng),
        );
        facts.push(ServiceFacts { name: name.into(), instances, version: 1, takes_balancer: true });
    }
    let mut loads = Vec::new();
    if rng.chance(0.4) {
        let length = millis(between(10.0, HEALED_S - 5.0, rng));
        text += &format!(
            "load:\n  users: {{ to: a, arrivals: {{ poisson: {}/s }}, for: {length}, timeout: 1s, retries: {} }}\n",
            whole(2, 30, rng),
            whole(0, 2, rng),
        );
        loads.push("users".into());
    }
    (text, Topology { nodes, loads, services: facts, metrics_s: METRICS_S })
}

/// An autoscaler, for one service of ten.
fn autoscale(rng: &mut Rng) -> String {
    match rng.below(30) {
        0 => "autoscale: { max: 20, concurrency: 0.5, sync: 2s, down: { window: 4s } }, ".into(),
        1 => "autoscale: { knative: { concurrency: 1, max: 20, stable_window: 10s } }, ".into(),
        2 => "autoscale: { capacity: { utilisation: 60%, sync: 2s, window: 4s } }, ".into(),
        _ => String::new(),
    }
}

/// A disruption budget, for three services of ten.
fn budget(rng: &mut Rng) -> String {
    match rng.below(10) {
        0 => "disruption_budget: { max_unavailable: 1 }, ".into(),
        1 => "disruption_budget: { min_available: 50% }, ".into(),
        2 => "disruption_budget: { max_unavailable: 0 }, ".into(),
        _ => String::new(),
    }
}
