//! Measurements of the actors of a run, merged.

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Scope;
use meshsim_mesh::autoscale::Standing;
use meshsim_mesh::criterion::{self, Count};
use meshsim_mesh::measure::{JourneyCounts, OperationHistory, ServiceMetrics, Tally};
use meshsim_mesh::model::{COORDINATOR, ServiceId};
use meshsim_mesh::station::ProxyUse;
use meshsim_mesh::{ActorResults, Mesh};

use super::{Traffic, sum};
use crate::course::Courses;
use crate::gap::{Gap, Reason, joined};
use crate::generator::GeneratorProcess;
use crate::outside::ManualFault;
use crate::real_work::Worked;

/// Measurements of the actors of a run, merged.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Time reached.
    pub now: Time,
    /// Histories of the operations, from the coordinator.
    pub history: Vec<OperationHistory>,
    /// For each load, for each of its targets.
    pub tallies: Vec<Vec<Tally>>,
    /// For each load, the journeys of its users, if they make some.
    pub journeys: Vec<Option<JourneyCounts>>,
    /// For each load, the figures of its proxy, if it has one.
    pub load_proxies: Vec<Option<ProxyUse>>,
    /// For each service, over all nodes.
    pub served: Vec<ServiceMetrics>,
    /// For each node, what its processor did, in nanoseconds of a core at normal speed.
    pub worked_ns: Vec<u64>,
    /// By service that is autoscaled: what its autoscaler did.
    pub autoscalers: Vec<(ServiceId, Standing)>,
    /// Results of external requests; `None` without a gateway.
    pub manual: Option<Tally>,
    /// Counts of clients and nodes for SLOs, for each of the mesh's criteria: one count, or one for each piece.
    pub counts: Vec<Vec<Count>>,
    /// Time series of all of it.
    pub courses: Courses,
    /// Requests were sent by the wall clock: the clients may have fallen behind their plan.
    pub is_live: bool,
    /// Missing measurements, by actor and time.
    pub gaps: Vec<Gap>,
    /// True if a node's part of the services' figures is missing.
    pub node_gap: bool,
    /// Manual faults.
    pub faults: Vec<ManualFault>,
    /// Faults that were ended manually, with the time: by their index among those of the experiment, followed by the
    /// manual ones.
    pub healed: Vec<(usize, Time)>,
    /// Actors whose processes were lost and replaced, and when the new one came.
    pub restarts: Vec<(ActorId, Time)>,
    /// Actors that left during the run, with the times at which they left and came back, if they did.
    pub departures: Vec<(ActorId, Time, Option<Time>)>,
    /// The processes that hosted clients; empty if the run was simulated.
    pub generators: Vec<GeneratorProcess>,
    /// Real work, by node and incarnation; empty if work was a timer.
    pub real_work: Vec<Worked>,
    /// Counters of the host.
    pub traffic: Traffic,
}

impl Measured {
    /// Merges the results of all actors of a mesh, in the order of their ids; `None` where the results of one are lost:
    /// a gap, as long as the run. Results that do not fit the mesh are left out. An actor that was to join later and
    /// never did has empty results ([`ActorResults`] of an idle one are `Some`; in a live run see [`Self::without`]).
    pub fn gather(
        mesh: &Mesh,
        now: Time,
        traffic: Traffic,
        findings: impl IntoIterator<Item = Option<ActorResults>>,
    ) -> Self {
        let mut measured = Measured {
            now,
            traffic,
            history: Vec::new(),
            tallies: mesh.loads.iter().map(|load| vec![Tally::default(); load.mix.len()]).collect(),
            journeys: vec![None; mesh.loads.len()],
            load_proxies: vec![None; mesh.loads.len()],
            served: vec![ServiceMetrics::default(); mesh.services.len()],
            worked_ns: vec![0; mesh.nodes.len()],
            manual: None,
            counts: mesh.criteria.iter().map(|it| vec![Count::default(); it.places()]).collect(),
            ..Measured::default()
        };
        for (actor, found) in (0..).map(ActorId).zip(findings) {
            match found {
                None if mesh.load_index(actor).is_some() || mesh.node_index(actor).is_some() => {
                    measured.gaps.push(Gap { actor, from: Time::ZERO, to: now, reason: Reason::Lost });
                }
                None => {}
                Some(ActorResults::Coordinator { history, sightings, .. }) if actor == COORDINATOR => {
                    measured.courses.sightings = sightings;
                    measured.history = history;
                    measured.history.retain(|operation| operation.service.index() < mesh.services.len());
                }
                Some(found @ ActorResults::Node { .. }) => measured.add_former(actor, found, mesh),
                Some(ActorResults::Client { tallies, courses, counts, gaps, journeys, proxy }) => {
                    let Some(load) = mesh.load_index(actor) else { continue };
                    let criteria = mesh.criteria.iter().zip(&mut measured.counts);
                    let of_load: Vec<&mut Vec<Count>> = criteria
                        .filter(|(criterion, _)| criterion.scope.is_load(load))
                        .map(|(_, count)| count)
                        .collect();
                    let is_counted = of_load.iter().map(|it| it.len()).eq(counts.iter().map(Vec::len));
                    if measured.tallies[load].len() != tallies.len() || !is_counted {
                        measured.gaps.push(Gap { actor, from: Time::ZERO, to: now, reason: Reason::Lost });
                        continue;
                    }
                    measured.tallies[load] = tallies;
                    measured.journeys[load] = journeys.map(|journeys| *journeys);
                    measured.load_proxies[load] = proxy.map(|used| *used);
                    measured.courses.of_load(load, courses, mesh, now);
                    of_load.into_iter().zip(counts).for_each(|(mine, theirs)| *mine = theirs);
                    let gaps = gaps.into_iter().map(|(from, to)| Gap { actor, from, to, reason: Reason::Down });
                    measured.gaps.extend(gaps);
                }
                Some(ActorResults::Autoscaler { standings }) if mesh.is_autoscaler(actor) => {
                    measured.autoscalers = standings;
                    measured.autoscalers.retain(|(service, _)| service.index() < mesh.services.len());
                }
                Some(ActorResults::Gateway { tally }) if actor == mesh.gateway_actor() => {
                    measured.manual = Some(*tally)
                }
                // Not results of this actor.
                Some(_) => {}
            }
        }
        measured.settle_gaps(mesh);
        measured
    }

    /// Adds the results of an earlier incarnation of a node. Ignored if they are not those of a node.
    pub fn add_former(&mut self, actor: ActorId, found: ActorResults, mesh: &Mesh) {
        let (Some(node), ActorResults::Node { served, courses, comings, counts, .. }) = (mesh.node_index(actor), found)
        else {
            return;
        };
        self.courses.of_node(actor, courses, comings, mesh, self.now);
        let worked = sum(served.iter().map(|(_, served)| served.work_ns.saturating_add(served.proxy.work_ns)));
        self.worked_ns[node] = self.worked_ns[node].saturating_add(worked);
        for ((index, piece), count) in counts {
            // Of another process: it may name any.
            let Some(criterion) = mesh.criteria.get(index as usize) else { continue };
            let mine = self.counts[index as usize].get_mut(piece as usize);
            if let (criterion::Scope::Service(_), Some(mine)) = (criterion.scope, mine) {
                mine.merge(&count);
            }
        }
        for (service, mut served) in served {
            if let Some(all) = self.served.get_mut(service.index()) {
                served.calls.values_mut().for_each(|used| used.course.settle(self.now));
                all.merge(&served);
            }
        }
    }

    /// Actors of which nothing was expected: spare nodes that never came.
    pub fn without(&mut self, absent: &[ActorId], mesh: &Mesh) {
        self.gaps.retain(|gap| !absent.contains(&gap.actor));
        self.settle_gaps(mesh);
    }

    /// Records actors whose processes were lost and replaced: their earlier measurements are lost.
    pub fn replaced(&mut self, restarts: Vec<(ActorId, Time)>, mesh: &Mesh) {
        let gap =
            |(actor, at): &(ActorId, Time)| Gap { actor: *actor, from: Time::ZERO, to: *at, reason: Reason::Replaced };
        // First of those that begin together, so that the reason is theirs.
        self.gaps.splice(0..0, restarts.iter().map(gap));
        self.restarts = restarts;
        self.settle_gaps(mesh);
    }

    fn settle_gaps(&mut self, mesh: &Mesh) {
        self.gaps.retain(|gap| mesh.load_index(gap.actor).is_some() || mesh.node_index(gap.actor).is_some());
        self.gaps = joined(std::mem::take(&mut self.gaps), mesh, self.now);
        self.node_gap = self.gaps.iter().any(|gap| mesh.node_index(gap.actor).is_some());
    }

    /// All requests of a scope.
    pub(crate) fn of(&self, scope: Scope) -> Tally {
        match scope {
            Scope::Target(load, target) => self.tallies[load][target].clone(),
            Scope::Load(load) => self.all(Some(load)),
            Scope::All | Scope::Service(_) => self.all(None),
        }
    }

    /// All requests of a load, or of all loads.
    pub(crate) fn all(&self, load: Option<usize>) -> Tally {
        let loads = self.tallies.iter().enumerate().filter(|(index, _)| load.is_none_or(|load| load == *index));
        let mut all = Tally::default();
        for tally in loads.flat_map(|(_, targets)| targets) {
            all.merge(tally);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_an_actor_finds_that_it_cannot_find_is_left_out() {
        let text = "nodes: [ { name: node } ]\nservices: { a: { endpoints: { get: {} } } }\n";
        let experiment = meshsim_experiment::parse("mesh.yaml", text, Path::new(""), &[]).unwrap();
        // A node that sends results of a gateway.
        let found = [None, Some(ActorResults::Gateway { tally: Box::default() })];
        let measured = Measured::gather(&experiment.mesh, Time::ZERO, Traffic::default(), found);
        assert!(measured.manual.is_none());
    }
}
