//! Guesses for the values that a source leaves open, chosen to fit together.
//!
//! Slots follow from Little's law: requests in progress are visits per second times the time of each. A guessed load
//! leaves half of the slots free that the source gives; guessed slots and cores are twice the need of the load.

use super::draft::{Arrivals, Draft};
use super::graph::{Demand, Graph};
use super::names::DEFAULT_CPU;
use super::reading::Reading;
use super::units::{many, show_number};

/// Ratio of a guessed value to the need.
const MARGIN: f64 = 2.0;

/// Minimum number of slots that are guessed for an instance.
const SLOTS_MIN: f64 = 64.0;

/// Maximum number of slots in our file.
const SLOTS_MAX: f64 = 1_000_000.0;

/// Visits per second that a guessed load causes at most, so that a first run is over in seconds.
const VISITS_PER_SECOND: f64 = 10_000.0;

/// Requests per second that a guessed load makes at most, and at least.
const RATE_MAX: f64 = 100.0;
const RATE_MIN: f64 = 0.001;

/// Maximum number of cores of a machine in our file.
const CORES_MAX: f64 = 100_000.0;

/// Guessed values of a draft.
pub(crate) struct Guess {
    /// Slots of the source, if it gives any.
    pub(crate) arrivals: Arrivals,
    /// Slots of an instance, by service.
    pub(crate) slots: Vec<u32>,
    /// Cores that an instance reserves, by service.
    pub(crate) cpu: Vec<f64>,
    /// Number of machines.
    pub(crate) nodes: f64,
    /// Cores of each machine.
    pub(crate) node_cores: f64,
}

impl Guess {
    /// Chooses the values, and notes them. `visits` are the draft's, by entry.
    pub(crate) fn make(draft: &Draft, visits: &[f64], reading: &mut Reading) -> Self {
        let demand = Graph::of(draft, |_| ()).demand();
        let arrivals = draft.arrivals.clone().unwrap_or_else(|| {
            let rate = rate(draft, visits, &demand);
            if !draft.entries.is_empty() {
                reading.guess(format!("{}/s requests, at random", show_number(rate)));
            }
            Arrivals { is_random: true, ..Arrivals::steady(rate) }
        });
        let peak = arrivals.peak();
        let slots = slots(draft, peak, &demand, reading);
        let cpu = cpu(draft, peak, &demand, reading);
        let (nodes, node_cores) = nodes(draft, peak, &demand, &cpu, reading);
        Guess { arrivals, slots, cpu, nodes, node_cores }
    }
}

/// Largest rate that people will wait for, and that leaves half of the slots free that the source gives.
fn rate(draft: &Draft, visits: &[f64], demand: &[Demand]) -> f64 {
    let weight: f64 = draft.entries.iter().map(|entry| entry.weight).sum();
    let per_request: f64 = draft.entries.iter().zip(visits).map(|(entry, v)| entry.weight * v / weight).sum();
    let mut rate = (VISITS_PER_SECOND / per_request.max(1.0)).min(RATE_MAX);
    for (service, demand) in draft.services.iter().zip(demand) {
        if let Some(capacity) = service.capacity
            && demand.in_progress > 0.0
            && service.instances > 0
        {
            let slots = f64::from(capacity) * f64::from(service.instances);
            rate = rate.min(slots / (MARGIN * demand.in_progress));
        }
    }
    let rate = if rate >= 1.0 { rate.floor() } else { (rate * 1000.0).floor() / 1000.0 };
    rate.max(RATE_MIN)
}

fn slots(draft: &Draft, peak: f64, demand: &[Demand], reading: &mut Reading) -> Vec<u32> {
    let mut guessed: Vec<u32> = vec![];
    let slots = draft.services.iter().zip(demand).map(|(service, demand)| {
        service.capacity.unwrap_or_else(|| {
            let in_progress = peak * demand.in_progress / f64::from(service.instances.max(1));
            // The number in progress varies as its root does.
            let slots = (MARGIN * in_progress + 5.0 * in_progress.sqrt()).clamp(SLOTS_MIN, SLOTS_MAX);
            let slots = (slots.ceil() as u32).next_power_of_two().min(SLOTS_MAX as u32);
            guessed.push(slots);
            slots
        })
    });
    let slots = slots.collect();
    if let (Some(least), Some(most)) = (guessed.iter().min(), guessed.iter().max()) {
        let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
        reading.guess(format!(
            "capacity {range} of {}, by Little's law: twice the requests in progress at the highest rate, with every \
             retry made",
            many(guessed.len() as u64, "service")
        ));
    }
    slots
}

fn cpu(draft: &Draft, peak: f64, demand: &[Demand], reading: &mut Reading) -> Vec<f64> {
    let mut guessed = 0;
    let mut most = DEFAULT_CPU;
    let cpu = draft.services.iter().zip(demand).map(|(service, demand)| {
        service.cpu.unwrap_or_else(|| {
            let needed = MARGIN * peak * demand.cores / f64::from(service.instances.max(1));
            let cpu = ((needed * 100.0).ceil() / 100.0).clamp(DEFAULT_CPU, CORES_MAX / 2.0);
            guessed += 1;
            most = most.max(cpu);
            cpu
        })
    });
    let cpu = cpu.collect();
    if guessed > 0 {
        let range = if most > DEFAULT_CPU { format!("{DEFAULT_CPU} to {most}") } else { DEFAULT_CPU.to_string() };
        reading.guess(format!("cpu {range} of {}, at least twice its work", many(guessed, "service")));
    }
    cpu
}

/// Number of machines, and their cores: a quarter more than the reservations, for extends; twice the work; and no
/// instance larger than half a machine.
fn nodes(draft: &Draft, peak: f64, demand: &[Demand], cpu: &[f64], reading: &mut Reading) -> (f64, f64) {
    let reserved: f64 = draft.services.iter().zip(cpu).map(|(s, cpu)| cpu * f64::from(s.instances)).sum();
    let work: f64 = demand.iter().map(|demand| peak * demand.cores).sum();
    let needed = (reserved * 1.25).max(MARGIN * work);
    let largest = cpu.iter().copied().fold(0.0, f64::max);
    let count = |cores: f64| (needed / cores).ceil().max(2.0);
    let sizes = [8.0, 16.0, 32.0, 64.0, 128.0];
    let cores = sizes.into_iter().find(|cores| count(*cores) <= 32.0 && *cores >= 2.0 * largest);
    let cores = cores.unwrap_or((2.0 * largest).max(128.0)).ceil().min(CORES_MAX);
    let count = count(cores);
    reading.guess(format!("{count} nodes of {cores} cores, a quarter more than is reserved"));
    (count, cores)
}
