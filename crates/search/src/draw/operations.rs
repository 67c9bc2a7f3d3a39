//! Operations.

use meshsim_actor::Rng;

use super::{HEALED_S, ServiceFacts, Topology, between, millis, one_of, percent, swarm, whole};

/// Largest number of instances that an operation wants.
const INSTANCES_MAX: u32 = 40;

/// Highest version that is given.
const VERSION_MAX: u32 = 9;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Extend,
    /// To none, and back.
    ExtendToNone,
    /// A second one while the first is going on.
    ExtendTwice,
    Update,
    /// An update while an extend is going on.
    UpdateInExtend,
    Scale,
    /// Many small steps.
    ScaleOften,
    Redeploy,
    /// For good.
    Undeploy,
    Set,
    /// A node is drained for a while.
    Drain,
    /// A new version, a share of the requests after the other.
    Rollout,
    /// All instances of a new version at once.
    BlueGreen,
}

const KINDS: [Kind; 13] = [
    Kind::Extend,
    Kind::ExtendToNone,
    Kind::ExtendTwice,
    Kind::Update,
    Kind::UpdateInExtend,
    Kind::Scale,
    Kind::ScaleOften,
    Kind::Redeploy,
    Kind::Undeploy,
    Kind::Set,
    Kind::Drain,
    Kind::Rollout,
    Kind::BlueGreen,
];

/// Operations, as items of a file's list.
pub(super) fn draw(topology: &Topology, rng: &mut Rng) -> Vec<String> {
    let kinds = swarm(&KINDS, rng);
    let mut services = topology.services.clone();
    let mut operations = Vec::new();
    for _ in 0..whole(2, 7, rng) {
        let index = rng.below(services.len() as u32) as usize;
        let at = between(1.0, HEALED_S - 10.0, rng);
        let kind = *one_of(&kinds, rng);
        if kind == Kind::Drain {
            operations.push(drain(at, topology, rng));
            continue;
        }
        add(kind, at, &mut services[index], topology, &mut operations, rng);
    }
    // A service that a deploy names is not deployed at the start by itself.
    let redeployed: Vec<&str> = (topology.services.iter().map(|service| service.name.as_str()))
        .filter(|name| operations.iter().any(|operation| operation.contains(&format!(" deploy: {name} "))))
        .collect();
    if !redeployed.is_empty() {
        operations.insert(0, format!("{{ at: 0s, deploy: [{}] }}", redeployed.join(", ")));
    }
    operations
}

fn add(
    kind: Kind,
    at: f64,
    service: &mut ServiceFacts,
    topology: &Topology,
    operations: &mut Vec<String>,
    rng: &mut Rng,
) {
    let name = service.name.clone();
    match kind {
        Kind::Extend => operations.push(extend(at, service, rng)),
        Kind::ExtendToNone => {
            let back = millis(at + between(2.0, 8.0, rng));
            let to = whole(1, INSTANCES_MAX, rng);
            operations.push(format!("{{ at: {}, extend: {name}, to: 0, rate: 1 }}", millis(at)));
            operations.push(format!("{{ at: {back}, extend: {name}, to: {to}, rate: 0.5 }}"));
        }
        Kind::ExtendTwice => {
            operations.push(extend(at, service, rng));
            operations.push(extend(at + between(0.5, 3.0, rng), service, rng));
        }
        Kind::Update => operations.push(update(at, service, rng)),
        Kind::UpdateInExtend => {
            operations.push(extend(at, service, rng));
            operations.push(update(at + between(0.2, 2.0, rng), service, rng));
        }
        Kind::Scale => {
            let (by, times) = (one_of(&[2.0, 0.5, 1.5], rng), whole(1, 3, rng));
            let every = millis(between(0.3, 3.0, rng));
            operations
                .push(format!("{{ at: {}, scale: {name}, by: {by}, times: {times}, every: {every} }}", millis(at)));
        }
        Kind::ScaleOften => {
            // A node that is away meanwhile gets a snapshot.
            let (times, every) = (whole(30, 120, rng), millis(between(0.04, 0.3, rng)));
            operations
                .push(format!("{{ at: {}, scale: {name}, by: 1.01, times: {times}, every: {every} }}", millis(at)));
        }
        Kind::Redeploy => {
            let back = millis(at + between(1.0, 6.0, rng));
            operations.push(format!("{{ at: {}, undeploy: {name} }}", millis(at)));
            operations.push(format!("{{ at: {back}, deploy: {name} }}"));
        }
        Kind::Rollout => operations.push(rollout(at, service, topology, rng)),
        Kind::BlueGreen => {
            service.version = (service.version + 1).min(VERSION_MAX);
            let (to, promotion) = (service.version, millis(between(0.0, 3.0, rng)));
            let how = format!("blue_green: {{ test_weight: {}, auto_promotion: {promotion} }}", percent(0.0, 0.3, rng));
            operations.push(format!("{{ at: {}, rollout: {name}, to: {to}, {how}, {} }}", millis(at), ends(rng)));
        }
        Kind::Undeploy => operations.push(format!("{{ at: {}, undeploy: {name} }}", millis(at))),
        Kind::Set if service.takes_balancer => {
            let to = one_of(&["random", "round_robin", "least_request"], rng);
            operations.push(format!("{{ at: {}, set: services.{name}.balancer, to: {to} }}", millis(at)));
        }
        Kind::Set | Kind::Drain => operations.push(extend(at, service, rng)),
    }
}

fn extend(at: f64, service: &mut ServiceFacts, rng: &mut Rng) -> String {
    let to = whole(1, INSTANCES_MAX.max(service.instances), rng);
    let every = millis(between(0.3, 1.5, rng));
    let head = format!("at: {}, extend: {}, to: {to}, every: {every}", millis(at), service.name);
    if rng.chance(0.15) {
        // It may oscillate, and so it has an end.
        return format!("{{ {head}, rate: {:.2}, feedback: observed, times: 8 }}", between(0.1, 0.5, rng));
    }
    let rounding = match rng.below(10) {
        0 => "nearest",
        1 => "floor",
        2 => "carry",
        3 => "stochastic",
        _ => "away",
    };
    format!("{{ {head}, rate: {}, rounding: {rounding} }}", one_of(&[0.2, 0.3, 0.5, 1.0, 1.5], rng))
}

/// A canary. It ends: pauses are short, and what is not ready for long aborts it.
fn rollout(at: f64, service: &mut ServiceFacts, topology: &Topology, rng: &mut Rng) -> String {
    service.version = (service.version + 1).min(VERSION_MAX);
    let mut steps = Vec::new();
    for weight in 1..=whole(1, 3, rng) {
        if rng.chance(0.3) {
            steps.push(format!("set_canary_scale: {}", whole(1, 5, rng)));
        }
        steps.push(format!("set_weight: {}%", weight * 25));
        steps.push(format!("pause: {}", millis(between(0.2, 3.0, rng))));
    }
    // Some fail by what their nodes measure: any latency is above none.
    let metric = match rng.below(4) {
        0 => Some("p50 < 1us"),
        1 => Some("errors < 50%"),
        _ => None,
    };
    let interval = millis(topology.metrics_s);
    let of =
        |metric| format!(", analysis: {{ metrics: [ {metric} ], interval: {interval}, inconclusive_limit: 1000 }}");
    let analysis = metric.map(of).unwrap_or_default();
    let head = format!("at: {}, rollout: {}, to: {}", millis(at), service.name, service.version);
    format!("{{ {head}, steps: [ {} ]{analysis}, {} }}", steps.join(", "), ends(rng))
}

/// When a rollout gives up, and when the instances go that it does not need any more.
fn ends(rng: &mut Rng) -> String {
    let (deadline, delay) = (millis(between(2.0, 15.0, rng)), millis(between(0.0, 3.0, rng)));
    format!("progress_deadline: {deadline}, scale_down_delay: {delay}, abort_scale_down_delay: {delay}")
}

/// The drain of one node. It is over before the faults are.
fn drain(at: f64, topology: &Topology, rng: &mut Rng) -> String {
    let node = one_of(&topology.nodes, rng);
    let (length, every) = (millis(between(1.0, HEALED_S - at, rng)), millis(between(0.3, 3.0, rng)));
    let timeout =
        if rng.chance(0.5) { format!(", timeout: {}", millis(between(0.5, 10.0, rng))) } else { String::new() };
    format!("{{ at: {}, drain: {node}, for: {length}, every: {every}{timeout} }}", millis(at))
}

fn update(at: f64, service: &mut ServiceFacts, rng: &mut Rng) -> String {
    service.version = (service.version + 1).min(VERSION_MAX);
    let every = millis(between(0.5, 2.0, rng));
    let how = match rng.below(4) {
        0 => "rate: 0.4, strategy: bernoulli",
        1 => "rate: 0.3, strategy: batch",
        2 => "strategy: rolling",
        _ => "strategy: canary, weights: [10%, 50%, 100%]",
    };
    format!("{{ at: {}, update: {}, to: {}, every: {every}, {how} }}", millis(at), service.name, service.version)
}
