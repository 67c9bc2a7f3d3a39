//! The experiment of a seed.
//!
//! It is written as an experiment file, and read as one: what a search finds can be repeated by `meshsim run` from the
//! file alone.

mod faults;
mod operations;
mod topology;

use meshsim_actor::{Rng, Span};
use meshsim_experiment::{Bundle, Experiment, Override, Problems, quoted_if_needed};

/// End of all faults: seconds since the start of the run. Operations begin before it.
pub const HEALED_S: f64 = 40.0;

/// End of the run. In the time between, everything must become as it was decided.
pub const END_S: f64 = 90.0;

/// What the drawing of faults and operations needs to know of a topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// Nodes, by name as a file has it, as fault targets.
    nodes: Vec<String>,
    /// Loads, by name.
    loads: Vec<String>,
    services: Vec<ServiceFacts>,
    /// Seconds between two rounds in which nodes are asked for measurements.
    metrics_s: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct ServiceFacts {
    name: String,
    instances: u32,
    version: u32,
    /// Its balancer may be set to another.
    takes_balancer: bool,
}

/// An experiment whose topology is kept.
#[derive(Clone, Debug)]
pub struct Base {
    bundle: Bundle,
    topology: Topology,
}

impl Base {
    /// Keeps the nodes, services, loads and the network of an experiment. Its operations, faults, SLOs and duration are
    /// replaced.
    pub fn new(experiment: &Experiment) -> Self {
        let mesh = &experiment.mesh;
        let services = mesh.services.iter().map(|service| ServiceFacts {
            name: quoted_if_needed(&service.name),
            instances: service.instances,
            version: service.version,
            takes_balancer: false,
        });
        let topology = Topology {
            nodes: mesh.nodes.iter().map(|node| quoted_if_needed(&node.name)).collect(),
            loads: mesh.loads.iter().map(|load| quoted_if_needed(&load.name)).collect(),
            services: services.collect(),
            metrics_s: mesh.control.metrics.secs(),
        };
        Base { bundle: experiment.bundle(), topology }
    }
}

/// The experiment of a seed.
///
/// # Errors
/// The problems with it. A drawn topology has none; a [`Base`] may have operations that its services do not take.
pub fn experiment(seed: u64, base: Option<&Base>) -> Result<Experiment, Problems> {
    let mut rng = Rng::stream(seed, "search");
    let Some(base) = base else {
        let (head, topology) = topology::draw(seed, &mut rng);
        let operations = operations::draw(&topology, &mut rng);
        let faults = faults::draw(&topology, &mut rng);
        let list = |key: &str, items: &[String]| {
            let lines: String = items.iter().map(|item| format!("\n  - {item}")).collect();
            if lines.is_empty() { String::new() } else { format!("{key}:{lines}\n") }
        };
        let text = head + &list("operations", &operations) + &list("faults", &faults);
        return Bundle { text, files: Vec::new() }.read();
    };
    let operations = operations::draw(&base.topology, &mut rng);
    let faults = faults::draw(&base.topology, &mut rng);
    let overrides = [
        format!("seed={seed}"),
        format!("duration={END_S}s"),
        "slo=[]".into(),
        format!("operations=[{}]", operations.join(", ")),
        format!("faults=[{}]", faults.join(", ")),
    ];
    let overrides = overrides.map(|text| Override::parse(&text).expect("each has a key"));
    base.bundle.read_with(&overrides)
}

/// A subset of what there is, each with probability one half, and at least one: the swarm of a seed.
fn swarm<T: Copy>(all: &[T], rng: &mut Rng) -> Vec<T> {
    let drawn: Vec<T> = all.iter().copied().filter(|_| rng.chance(0.5)).collect();
    if drawn.is_empty() { vec![*one_of(all, rng)] } else { drawn }
}

fn one_of<'a, T>(all: &'a [T], rng: &mut Rng) -> &'a T {
    &all[rng.below(all.len() as u32) as usize]
}

/// A number between two.
fn between(low: f64, high: f64, rng: &mut Rng) -> f64 {
    low + (high - low) * rng.unit()
}

/// A whole number between two, both of them possible.
fn whole(low: u32, high: u32, rng: &mut Rng) -> u32 {
    low + rng.below(high - low + 1)
}

/// A duration as a file has it, in whole milliseconds.
fn millis(secs: f64) -> String {
    format!("{}ms", Span::from_secs_f64(secs).nanos() / 1_000_000)
}

/// A share as a file has it.
fn percent(low: f64, high: f64, rng: &mut Rng) -> String {
    format!("{}%", (100.0 * between(low, high, rng)).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_a_valid_experiment_and_the_same_each_time() {
        for seed in 0..300 {
            let one = experiment(seed, None).unwrap_or_else(|problems| panic!("seed {seed}: {problems}"));
            assert_eq!(one.text, experiment(seed, None).expect("it was valid before").text);
            assert_eq!(one.seed, seed);
            let last = one.network.faults.iter().map(|fault| fault.until.secs()).fold(0.0, f64::max);
            assert!(last <= HEALED_S, "seed {seed}: a fault ends at {last}");
        }
    }

    #[test]
    fn seeds_differ_in_the_kinds_of_their_faults() {
        let kinds = |seed| {
            let experiment = experiment(seed, None).expect("it is valid");
            experiment.network.faults.iter().map(|fault| fault.name()).collect::<std::collections::BTreeSet<_>>()
        };
        let all: std::collections::BTreeSet<_> = (0..50).map(kinds).collect();
        assert!(all.len() > 25, "{all:?}");
    }

    #[test]
    fn a_base_keeps_its_nodes_services_and_loads() {
        let text = "{ duration: 9s, nodes: [ { name: n, count: 3 } ], services: { shop: { instances: 2, endpoints: \
                    { get: { script: [ work: 2ms ] } } } }, load: { users: { to: shop, arrivals: { poisson: 5/s } } }, \
                    slo: [ p99 < 1s ] }";
        let file = meshsim_experiment::parse("shop.yaml", text, "".as_ref(), &[]).expect("it is valid");
        let base = Base::new(&file);
        for seed in 0..50 {
            let drawn = experiment(seed, Some(&base)).unwrap_or_else(|problems| panic!("seed {seed}: {problems}"));
            assert_eq!((drawn.mesh.nodes.len(), drawn.mesh.services.len(), drawn.mesh.loads.len()), (3, 1, 1));
            assert!(!drawn.network.faults.is_empty() && drawn.slos.is_empty());
        }
    }
}
