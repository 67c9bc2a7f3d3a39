//! Check of the generator of a live run against its plan. If it fell behind, the figures describe the generator more
//! than the mesh, and the run is invalid.

use meshsim_actor::Span;
use meshsim_mesh::measure::Tally;
use meshsim_mesh::model::Load;

use crate::show;

/// A request that is sent later than this after its planned time is late: longer than any scheduler of a machine that
/// is not overloaded lets a process wait.
const LATE: Span = Span::from_millis(100);

/// This fraction of a load's requests may be late: beyond it the p99 of the latencies, which run from the planned time,
/// is the generator's.
const LATE_SHARE_MAX: f64 = 0.01;

/// Reason why the figures of a load are not those of the mesh, if its generator was too late too often.
pub(crate) fn too_late(load: &Load, all: &Tally) -> Option<String> {
    let late = all.lag.count_above(LATE);
    let share = late as f64 / all.offered.max(1) as f64;
    (share > LATE_SHARE_MAX).then(|| {
        format!(
            "{} of the requests of {} were sent more than {LATE} later than planned, up to {} later",
            show::percent(share),
            load.name,
            all.lag.max()
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
        let load = &experiment.mesh.loads[0];
        let sent = |late: u64| {
            let mut tally = Tally { offered: 100, ..Tally::default() };
            (0..100 - late).for_each(|_| tally.lag.record(Span::from_millis(90)));
            (0..late).for_each(|_| tally.lag.record(Span::from_millis(250)));
            too_late(load, &tally)
        };
        assert_eq!(sent(1), None);
        let why = sent(2).unwrap();
        assert!(why.contains("users") && why.ends_with("up to 250ms later"), "{why}");
    }
}
