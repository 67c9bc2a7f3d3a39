//! Check of the generator of a live run against its plan. If it fell behind, the figures describe the generator more
//! than the mesh, and the run is invalid.

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_mesh::measure::Tally;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::figures::Latency;
use crate::show;
use crate::summary::Measured;

/// A request that is sent later than this after its planned time is late: longer than any scheduler of a machine that
/// is not overloaded lets a process wait.
const LATE: Span = Span::from_millis(100);

/// This fraction of a load's requests may be late: beyond it the p99 of the latencies, which run from the planned time,
/// is the generator's.
const LATE_SHARE_MAX: f64 = 0.01;

/// A process of a live run that hosted the clients of some loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratorProcess {
    /// Its machine's name.
    pub hostname: String,
    /// Its number there.
    pub pid: u32,
    /// Indexes of the loads.
    pub loads: Vec<usize>,
}

impl GeneratorProcess {
    fn in_words(&self) -> String {
        format!("process {} on {}", self.pid, self.hostname)
    }
}

/// Lateness of one process that sent requests.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct GeneratorSummary {
    /// The process: its number and its machine.
    pub process: String,
    /// Loads of which it sent the requests.
    pub loads: Vec<String>,
    /// Requests that it sent.
    pub sent: u64,
    /// Of these, sent more than 100 ms later than planned.
    pub late: u64,
    /// Delay of the send after the planned time.
    pub lag: Latency,
}

/// Lateness of each process of a live run; empty for a simulated one, whose clients are never late.
pub(crate) fn generators(experiment: &Experiment, measured: &Measured) -> Vec<GeneratorSummary> {
    let of = |process: &GeneratorProcess| {
        let mut all = Tally::default();
        process.loads.iter().for_each(|load| all.merge(&measured.all(Some(*load))));
        GeneratorSummary {
            process: process.in_words(),
            loads: process.loads.iter().map(|load| experiment.mesh.loads[*load].name.clone()).collect(),
            sent: all.lag.count(),
            late: all.lag.count_above(LATE),
            lag: Latency::new(&all.lag),
        }
    };
    measured.generators.iter().map(of).collect()
}

/// Reason why the figures of a load are not those of the mesh, if its generator was too late too often; with the
/// process that hosted it, if that is known.
pub(crate) fn too_late(load: usize, experiment: &Experiment, measured: &Measured) -> Option<String> {
    let all = measured.all(Some(load));
    let late = all.lag.count_above(LATE);
    let share = late as f64 / all.offered.max(1) as f64;
    (share > LATE_SHARE_MAX).then(|| {
        let process = measured.generators.iter().find(|process| process.loads.contains(&load));
        format!(
            "{} of the requests of {} were sent more than {LATE} later than planned, up to {} later{}",
            show::percent(share),
            experiment.mesh.loads[load].name,
            all.lag.max(),
            process.map_or_else(String::new, |process| format!(", by {}", process.in_words())),
        )
    })
}

#[cfg(test)]
mod tests {
    use meshsim_experiment::parse;

    use super::*;

    #[test]
    fn one_late_request_in_a_hundred_is_borne_and_two_are_not() {
        let text = "nodes: [ { name: n } ]\nservices: { a: { endpoints: { get: {} } } }\n\
                    load: { users: { to: a, arrivals: { constant: 1/s } } }\n";
        let experiment = parse("mesh.yaml", text, std::path::Path::new(""), &[]).unwrap();
        let sent = |late: u64| {
            let mut tally = Tally { offered: 100, ..Tally::default() };
            (0..100 - late).for_each(|_| tally.lag.record(Span::from_millis(90)));
            (0..late).for_each(|_| tally.lag.record(Span::from_millis(250)));
            let process = GeneratorProcess { hostname: "here".into(), pid: 7, loads: vec![0] };
            Measured { tallies: vec![vec![tally]], generators: vec![process], ..Measured::default() }
        };
        assert_eq!(too_late(0, &experiment, &sent(1)), None);
        let why = too_late(0, &experiment, &sent(2)).unwrap();
        assert!(why.contains("users") && why.ends_with("up to 250ms later, by process 7 on here"), "{why}");
        let all = generators(&experiment, &sent(2));
        assert_eq!(
            (all.len(), all[0].sent, all[0].late, all[0].loads.as_slice()),
            (1, 100, 2, &["users".to_owned()][..])
        );
        assert_eq!(all[0].lag.max_ns, Some(250_000_000));
    }
}
