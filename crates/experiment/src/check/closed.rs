//! Rates of closed loads.
//!
//! A user sends its next request after the reply and its think time. So N users send at most N / (R + Z) requests per
//! second, where R is the time of a request without queueing and Z the mean think time, and no more than the first
//! saturated service can serve. (Asymptotic bounds: Denning and Buzen 1978.) If a mesh is one queue with exponential
//! times, the rate is known exactly: mean value analysis (Reiser and Lavenberg 1980), which for one station with
//! several slots is a birth-death chain.

use meshsim_mesh::Mesh;
use meshsim_mesh::model::{Load, Users};
use serde::Serialize;

use super::flow::Flow;
use super::loads::{self, Entry};
use super::span::Hop;

/// Fraction of a service's capacity: just below 1, so that a closed load does not count as an overload.
const JUST_BELOW: f64 = 1.0 - 1e-9;

/// Prediction for a closed load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedEstimate {
    /// Number of users.
    pub users: u32,
    /// Mean think time between two requests, in seconds.
    pub think: f64,
    /// Shortest time between the starts of a user's requests, in seconds.
    pub pacing: Option<f64>,
    /// Mean time of a request, waiting included, in seconds, as if all slots had one queue and times were exponential.
    /// `None`: the mesh is no such queue, and the rate of the load is an upper bound.
    pub response: Option<f64>,
    /// The service whose slots bound the rate, where they do.
    pub bound_by: Option<String>,
}

/// The rate of each load, in the order of the file, and the basis of that of a closed one.
pub(super) fn rates(mesh: &Mesh, flow: &Flow<'_>, hop: &Hop) -> Vec<(f64, Option<ClosedEstimate>)> {
    let planned: Vec<f64> = mesh.loads.iter().map(loads::planned_rate).collect();
    if mesh.loads.iter().all(|load| load.arrivals.users().is_none()) {
        return planned.into_iter().map(|rate| (rate, None)).collect();
    }
    let all: Vec<Asked> =
        mesh.loads.iter().zip(planned).map(|(load, rate)| Asked::new(load, rate, flow, hop)).collect();
    let room = room(mesh, &all);
    let of = |asked: &Asked| match asked.users {
        None => (asked.rate, None),
        Some(users) => asked.closed(users, mesh, flow, &room),
    };
    all.iter().map(of).collect()
}

/// Demand of a load: an open one as planned, a closed one without queueing.
struct Asked<'a> {
    users: Option<&'a Users>,
    /// Mean think time between two requests of a user, in seconds.
    think: f64,
    /// Requests per second.
    rate: f64,
    entry: Entry,
    /// Mean time of a request, in seconds.
    time: f64,
    /// By service, the slots that are held per request and second, and how often it is visited.
    held: Vec<(f64, f64)>,
}

impl<'a> Asked<'a> {
    fn new(load: &'a Load, planned: f64, flow: &Flow<'_>, hop: &Hop) -> Self {
        let entry = loads::asked(load, flow, hop);
        let visits = flow.graph.visits(&entry.asked).unwrap_or_else(|| entry.asked.clone());
        let mut held = vec![(0.0, 0.0); flow.services()];
        for (vertex, count) in visits.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let (slots, of_all) = &mut held[flow.graph.service(vertex)];
            *slots += count * flow.profiles[vertex].time;
            *of_all += count;
        }
        let time: f64 = entry.targets.iter().map(|(share, _, one)| share * one.time).sum();
        let users = load.arrivals.users();
        let rate = users.map_or(planned, |users| {
            let turn = (time + load.think_secs()).max(users.pacing.map_or(0.0, |pacing| pacing.secs()));
            f64::from(users.count) / turn.max(1e-9)
        });
        Asked { users, think: load.think_secs(), rate, entry, time, held }
    }

    fn closed(&self, users: &Users, mesh: &Mesh, flow: &Flow<'_>, room: &[f64]) -> (f64, Option<ClosedEstimate>) {
        let tightest = self.held.iter().zip(room).enumerate().filter(|(_, ((held, _), _))| *held > 0.0);
        let tightest = tightest.map(|(service, (_, room))| (service, *room)).min_by(|a, b| a.1.total_cmp(&b.1));
        let tightest = tightest.filter(|(_, room)| *room < 1.0);
        let think = self.think;
        let exact = self.station(mesh, flow).filter(|_| users.pacing.is_none() && think.is_finite());
        let exact = exact.map(|(service, slots)| {
            let held = self.held[service].0;
            // A message in flight waits for no slot either.
            let apart = think + (self.time - held).max(0.0);
            let rate = repairs(users.count, slots, held, apart);
            (rate, f64::from(users.count) / rate - think)
        });
        let bound = self.rate * tightest.map_or(1.0, |(_, room)| room.max(0.0) * JUST_BELOW);
        let rate = exact.map_or(bound, |(rate, _)| rate.min(bound));
        let estimate = ClosedEstimate {
            users: users.count,
            think,
            pacing: users.pacing.map(|pacing| pacing.secs()),
            response: exact.map(|(_, response)| response),
            bound_by: tightest.map(|(service, _)| mesh.services[service].name.clone()),
        };
        (rate, Some(estimate))
    }

    /// The one service that a request visits, once, and its slots, if that is all there is.
    fn station(&self, mesh: &Mesh, flow: &Flow<'_>) -> Option<(usize, u32)> {
        let mut visited = self.held.iter().enumerate().filter(|(_, (_, visits))| *visits > 0.0);
        let (service, (held, visits)) = visited.next()?;
        let is_all = visited.next().is_none() && mesh.loads.len() == 1 && (visits - 1.0).abs() < 1e-9 && *held > 0.0;
        let spec = &mesh.services[service];
        let slots = f64::from(spec.instances) * spec.capacity.round().max(1.0);
        let of_it = |vertex: &usize| flow.graph.service(*vertex) == service;
        let works = (0..flow.graph.len()).filter(of_it).any(|vertex| flow.profiles[vertex].work > 0.0);
        let cores = mesh.nodes.iter().map(|node| node.cores).fold(f64::INFINITY, f64::min);
        let cores = spec.cpu_limit.map_or(cores, |limit| limit.min(cores));
        let has_cores = !works || slots <= cores;
        let can_fail = self.entry.targets.iter().any(|(.., one)| one.fail > 0.0);
        (is_all && has_cores && !can_fail && (1.0..=1e6).contains(&slots)).then_some((service, slots as u32))
    }
}

/// By service, the factor by which the closed loads' rates without queueing could rise until its slots are full.
fn room(mesh: &Mesh, all: &[Asked<'_>]) -> Vec<f64> {
    let of = |service: usize| {
        let held = |is_closed: bool| -> f64 {
            let loads = all.iter().filter(|asked| asked.users.is_some() == is_closed);
            loads.map(|asked| asked.rate * asked.held[service].0).sum()
        };
        let spec = &mesh.services[service];
        let slots = f64::from(spec.instances) * spec.capacity.round().max(1.0);
        let closed = held(true);
        if closed > 0.0 { (slots - held(false)) / closed } else { f64::INFINITY }
    };
    (0..mesh.services.len()).map(of).collect()
}

/// Requests per second of `users`, each `apart` seconds away from `slots` that serve one each in `held` seconds.
/// (M/M/c//N, the "machine repairman".)
fn repairs(users: u32, slots: u32, held: f64, apart: f64) -> f64 {
    let (mut weight, mut all, mut served) = (1.0_f64, 1.0_f64, 0.0_f64);
    if apart <= 0.0 {
        return f64::from(users.min(slots)) / held;
    }
    for there in 1..=users {
        let busy = f64::from(there.min(slots));
        weight *= f64::from(users - there + 1) / apart * held / busy;
        all += weight;
        served += weight * busy / held;
        // Only their ratio counts.
        if all > 1e200 {
            (weight, all, served) = (weight / all, 1.0, served / all);
        }
    }
    served / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_users_of_one_server_are_as_mean_value_analysis_has_them() {
        let rate = repairs(10, 1, 1.0, 10.0);
        assert!((rate - 0.785_418).abs() < 1e-6, "{rate}");
        assert!((10.0 / rate - 10.0 - 2.732_079).abs() < 1e-5);
    }

    #[test]
    fn many_users_fill_the_slots_and_few_do_not_wait() {
        assert!((repairs(1_000_000, 4, 0.5, 1.0) - 8.0).abs() < 1e-9);
        assert!((repairs(3, 4, 0.5, 1.0) - 2.0).abs() < 1e-12);
        assert!((repairs(3, 1, 0.5, 0.0) - 2.0).abs() < 1e-12);
    }
}
