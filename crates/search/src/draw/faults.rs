//! Faults.

use meshsim_actor::Rng;

use super::{HEALED_S, Topology, between, millis, one_of, percent, swarm, whole};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Drop,
    Loss,
    Duplicate,
    Reorder,
    Latency,
    Crash,
    Wipe,
    Pause,
    Slow,
    CrashCoordinator,
    PauseCoordinator,
    Islands,
    Isolate,
    OneWayIn,
    OneWayOut,
    Bridge,
    Ring,
    Service,
    /// A node restarts at once while its messages are late, and perhaps the coordinator with it.
    LateRestart,
    /// Disks take time, and machines crash while they do.
    SlowDisk,
}

const KINDS: [Kind; 20] = [
    Kind::Drop,
    Kind::Loss,
    Kind::Duplicate,
    Kind::Reorder,
    Kind::Latency,
    Kind::Crash,
    Kind::Wipe,
    Kind::Pause,
    Kind::Slow,
    Kind::CrashCoordinator,
    Kind::PauseCoordinator,
    Kind::Islands,
    Kind::Isolate,
    Kind::OneWayIn,
    Kind::OneWayOut,
    Kind::Bridge,
    Kind::Ring,
    Kind::Service,
    Kind::LateRestart,
    Kind::SlowDisk,
];

const COORDINATOR: &str = "coordinator";

/// Faults, as items of a file's list.
pub(super) fn draw(topology: &Topology, rng: &mut Rng) -> Vec<String> {
    let kinds = swarm(&KINDS, rng);
    let mut faults = Vec::new();
    for _ in 0..whole(2, 9, rng) {
        let kind = *one_of(&kinds, rng);
        if kind == Kind::LateRestart {
            faults.extend(late_restart(topology, rng));
            continue;
        }
        if kind == Kind::SlowDisk {
            faults.extend(slow_disk(topology, rng));
            continue;
        }
        let at = between(0.2, HEALED_S - 2.0, rng);
        // Short ones fall between two messages; long ones outlast the detection of a failure.
        let length = if rng.chance(0.4) { between(0.02, 1.0, rng) } else { between(1.0, 10.0, rng) };
        let when = format!("at: {}, for: {}", millis(at), millis(length.min(HEALED_S - 0.1 - at)));
        add(kind, &when, topology, &mut faults, rng);
    }
    faults
}

/// A node restarts at once while its messages are late, and perhaps the coordinator with it: messages of a former life,
/// or of an older term, arrive.
fn late_restart(topology: &Topology, rng: &mut Rng) -> Vec<String> {
    let node = one_of(&topology.nodes, rng);
    let at = between(1.0, HEALED_S - 6.0, rng);
    let late = format!("reorder: {{ share: {}, within: {} }}", percent(0.2, 0.8, rng), millis(between(0.3, 2.5, rng)));
    let ends = format!("{{ from: [{node}, {COORDINATOR}], to: [{node}, {COORDINATOR}] }}");
    let mut faults = vec![format!("{{ at: {}, for: 5s, link: {ends}, {late} }}", millis(at))];
    let mut restart = |what: String, rng: &mut Rng| {
        let (at, length) = (at + between(0.2, 4.0, rng), between(0.01, 0.3, rng));
        faults.push(format!("{{ at: {}, for: {}, {what} }}", millis(at), millis(length)));
    };
    let how = if rng.chance(0.5) { "crash" } else { "wipe" };
    restart(format!("{how}: {node}"), rng);
    if rng.chance(0.5) {
        restart(format!("crash: {COORDINATOR}"), rng);
    }
    faults
}

/// Disks take time for most of the run, or are full for a while, and machines crash meanwhile: what was not synced is lost.
fn slow_disk(topology: &Topology, rng: &mut Rng) -> Vec<String> {
    let machine = |rng: &mut Rng| {
        if rng.chance(0.3) { COORDINATOR.to_owned() } else { one_of(&topology.nodes, rng).clone() }
    };
    let (whose, one) = match rng.below(3) {
        0 => (format!("[{}, {COORDINATOR}]", topology.nodes.join(", ")), None),
        _ => {
            let one = machine(rng);
            (one.clone(), Some(one))
        }
    };
    let at = between(0.0, HEALED_S / 2.0, rng);
    let (how, length) = match rng.chance(0.2) {
        true => ("full: true".to_owned(), between(0.5, 6.0, rng)),
        // From a fraction of a message's way to several heartbeats.
        false => (format!("sync: {}", millis(0.002 * 1_000_f64.powf(rng.unit()))), HEALED_S - 0.2 - at),
    };
    let end = at + length;
    let mut faults = vec![format!("{{ at: {}, for: {}, disk: {whose}, {how} }}", millis(at), millis(length))];
    for _ in 0..whole(1, 4, rng) {
        let machine = one.clone().unwrap_or_else(|| machine(rng));
        let (at, length) = (between(at, end, rng), between(0.01, 2.0, rng));
        faults.push(format!(
            "{{ at: {}, for: {}, crash: {machine} }}",
            millis(at),
            millis(length.min(HEALED_S - 0.1 - at))
        ));
    }
    faults
}

fn add(kind: Kind, when: &str, topology: &Topology, faults: &mut Vec<String>, rng: &mut Rng) {
    let nodes = &topology.nodes;
    let node = one_of(nodes, rng).clone();
    let mut push = |what: String| faults.push(format!("{{ {when}, {what} }}"));
    match kind {
        Kind::Drop => push(format!("{}, drop: {}", link(topology, rng), percent(0.05, 0.6, rng))),
        Kind::Loss => push(format!("{}, loss: {}", link(topology, rng), percent(0.05, 0.6, rng))),
        Kind::Duplicate => {
            let (share, lag) = (percent(0.1, 0.8, rng), millis(between(0.001, 2.0, rng)));
            push(format!("{}, duplicate: {{ share: {share}, lag: {lag} }}", link(topology, rng)));
        }
        Kind::Reorder => {
            let (share, within) = (percent(0.1, 0.8, rng), millis(between(0.01, 1.5, rng)));
            push(format!("{}, reorder: {{ share: {share}, within: {within} }}", link(topology, rng)));
        }
        Kind::Latency => {
            let mean = millis(between(0.01, 1.0, rng));
            push(format!("{}, latency: {{ exponential: {mean} }}", link(topology, rng)));
        }
        Kind::Crash => push(format!("crash: {node}")),
        Kind::Wipe => push(format!("wipe: {node}")),
        Kind::Pause => push(format!("pause: {node}")),
        Kind::Slow => push(format!("slow: {node}, factor: {:.2}", between(0.05, 0.8, rng))),
        Kind::CrashCoordinator => push(format!("crash: {COORDINATOR}")),
        Kind::PauseCoordinator => push(format!("pause: {COORDINATOR}")),
        Kind::Islands => {
            let (one, mut other): (Vec<String>, Vec<String>) = nodes.iter().cloned().partition(|_| rng.chance(0.5));
            other.push(COORDINATOR.into());
            push(partition(&[if one.is_empty() { vec![node] } else { one }, other], rng));
        }
        Kind::Isolate => push(partition(&[vec![node]], rng)),
        Kind::OneWayIn => push(format!("one_way: {{ from: {node}, to: {COORDINATOR} }}, hold: {}", rng.chance(0.3))),
        Kind::OneWayOut => push(format!("one_way: {{ from: {COORDINATOR}, to: {node} }}, hold: {}", rng.chance(0.3))),
        Kind::Bridge => {
            // One node reaches both sides.
            let rest: Vec<String> = nodes.iter().filter(|other| **other != node).cloned().collect();
            let (one, other) = rest.split_at(rest.len() / 2);
            let other: Vec<String> = other.iter().cloned().chain([COORDINATOR.into()]).collect();
            let one = if one.is_empty() { vec![node] } else { one.to_vec() };
            push(partition(&[one, other], rng));
        }
        Kind::Ring => {
            // Each reaches its neighbours and most others, and no two the same ones.
            let mut ring: Vec<&str> = nodes.iter().map(String::as_str).collect();
            ring.insert(rng.below(ring.len() as u32 + 1) as usize, COORDINATOR);
            for (at, name) in ring.iter().enumerate() {
                let across = ring[(at + ring.len() / 2) % ring.len()];
                push(format!("partition: [[{name}], [{across}]]"));
            }
        }
        Kind::Service => {
            let service = &one_of(&topology.services, rng).name;
            let how = match rng.below(5) {
                0 => format!("errors: {}", percent(0.1, 0.9, rng)),
                1 => format!("latency: {{ exponential: {} }}", millis(between(0.005, 0.5, rng))),
                2 => format!("hang: {}", percent(0.1, 0.9, rng)),
                3 => format!("refuse: {}", percent(0.1, 0.9, rng)),
                _ => format!("slots: {}", percent(0.1, 0.9, rng)),
            };
            push(format!("service: {service}, {how}"));
        }
        Kind::LateRestart | Kind::SlowDisk => unreachable!("it has several faults"),
    }
}

/// Some links: all, or those of one node with the coordinator, in both directions or in one.
fn link(topology: &Topology, rng: &mut Rng) -> String {
    let all = || {
        let names = topology.nodes.iter().chain(&topology.loads).map(String::as_str);
        format!("[{}]", names.chain([COORDINATOR]).collect::<Vec<_>>().join(", "))
    };
    match rng.below(4) {
        0 => format!("link: {{ from: {COORDINATOR}, to: {} }}", one_of(&topology.nodes, rng)),
        1 => format!("link: {{ from: {}, to: {COORDINATOR} }}", one_of(&topology.nodes, rng)),
        _ => format!("link: {{ from: {}, to: {} }}", all(), all()),
    }
}

fn partition(islands: &[Vec<String>], rng: &mut Rng) -> String {
    let islands: Vec<String> = islands.iter().map(|island| format!("[{}]", island.join(", "))).collect();
    format!("partition: [{}], hold: {}", islands.join(", "), rng.chance(0.3))
}
