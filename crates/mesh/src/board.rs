//! The load board: the load of each instance of a service, as it was at the beginning of a round, for all callers
//! alike.
//!
//! Nodes tell the coordinator at each multiple of the service's [`refresh`](crate::model::Balancer::LeastLoaded) how
//! many requests each of their ready instances holds. When all nodes that have one have told, the coordinator sends the
//! board to the callers. A report that is missing when the next round begins is left out. (The "periodic update" of
//! Mitzenmacher 2000, "How Useful Is Old Information?".)

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{ActorId, Span, Time, Timer};
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::message::Tick;
use crate::model::{Balancer, Mesh, ServiceId};

/// Load of instances of one service: those of a node, or of all nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBoard {
    /// The service.
    pub service: ServiceId,
    /// Number of the round: its time, in refresh intervals since the start of the run.
    pub round: u64,
    /// Incarnation of the sender.
    pub incarnation: u32,
    /// The instances, by rising (node, ordinal). One that is missing counts as idle.
    pub loads: Vec<InstanceLoad>,
}

/// Load of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLoad {
    /// Its node.
    pub node: ActorId,
    /// Its number on the node.
    pub ordinal: u32,
    /// Requests that it serves or that wait at it.
    pub requests: u32,
}

impl LoadBoard {
    /// The requests at an instance.
    pub(crate) fn requests(&self, node: ActorId, ordinal: u32) -> u32 {
        let at = self.loads.binary_search_by_key(&(node, ordinal), |load| (load.node, load.ordinal));
        at.map_or(0, |at| self.loads[at].requests)
    }

    /// False if it cannot be a board of this mesh: its instances do not rise, its service has none, or its round is
    /// still to come. Clocks of a live run may differ a little.
    pub(crate) fn is_sound(&self, mesh: &Mesh, now: Time) -> bool {
        let rise = self.loads.windows(2).all(|it| (it[0].node, it[0].ordinal) < (it[1].node, it[1].ordinal));
        rise && refresh(mesh, self.service).is_some_and(|refresh| self.round <= round_at(now, refresh) + 1)
    }
}

/// Time between two rounds of a service, if it has a board.
pub(crate) fn refresh(mesh: &Mesh, service: ServiceId) -> Option<Span> {
    match mesh.services.get(service.index())?.balancer {
        Balancer::LeastLoaded { refresh, .. } => Some(refresh.max(Span::from_nanos(1))),
        _ => None,
    }
}

/// The services that have a board.
pub(crate) fn services(mesh: &Mesh) -> impl Iterator<Item = (ServiceId, Span)> {
    (0..mesh.services.len() as u16).map(ServiceId).filter_map(|service| Some((service, refresh(mesh, service)?)))
}

/// The round that `now` belongs to.
pub(crate) fn round_at(now: Time, refresh: Span) -> u64 {
    now.since(Time::ZERO).nanos() / refresh.nanos().max(1)
}

/// Beginning of the round after the one that `now` belongs to.
pub(crate) fn next_round(now: Time, refresh: Span) -> Time {
    Time::ZERO + Span::from_nanos((round_at(now, refresh) + 1).saturating_mul(refresh.nanos()))
}

/// Timers of a node for the next round of each board.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rounds(BTreeMap<ServiceId, Timer>);

impl Rounds {
    /// Waits for the next round of a service, and no longer for another one of it.
    pub(crate) fn arm(&mut self, service: ServiceId, refresh: Span, cx: &mut MeshCx<'_>) {
        let timer = cx.arm(next_round(cx.now(), refresh), Tick::Loads(service));
        if let Some(before) = self.0.insert(service, timer) {
            cx.disarm(before);
        }
    }
}

/// Boards that the coordinator puts together, by service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Collecting(BTreeMap<ServiceId, Round>);

/// Reports of one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Round {
    number: u64,
    is_published: bool,
    nodes: BTreeMap<ActorId, Vec<InstanceLoad>>,
}

impl Round {
    fn publish(&mut self, service: ServiceId) -> LoadBoard {
        self.is_published = true;
        let loads = std::mem::take(&mut self.nodes).into_values().flatten().collect();
        LoadBoard { service, round: self.number, incarnation: 0, loads }
    }
}

impl Collecting {
    /// The rounds of a service begin anew, with another number.
    pub(crate) fn forget(&mut self, service: ServiceId) {
        self.0.remove(&service);
    }

    /// Takes in the report of a node, which is sound. `is_whole` says of the nodes that have reported whether all have
    /// that are to. Returns the boards to publish: an older round that can no longer be completed, and this one.
    pub(crate) fn report(
        &mut self,
        from: ActorId,
        report: &LoadBoard,
        is_whole: impl Fn(&dyn Fn(ActorId) -> bool) -> bool,
    ) -> Vec<LoadBoard> {
        let round = self.0.entry(report.service).or_default();
        let mut boards = Vec::new();
        if report.round > round.number {
            if !round.is_published && !round.nodes.is_empty() {
                boards.push(round.publish(report.service));
            }
            *round = Round { number: report.round, ..Round::default() };
        }
        if report.round < round.number || round.is_published {
            return boards;
        }
        round.nodes.insert(from, report.loads.clone());
        if is_whole(&|node| round.nodes.contains_key(&node)) {
            boards.push(round.publish(report.service));
        }
        boards
    }
}

/// Boards that a caller has, by service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Boards(BTreeMap<ServiceId, Shown>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shown(#[serde(with = "meshsim_actor::shared")] Arc<LoadBoard>);

impl Boards {
    /// The rounds of a service begin anew, with another number.
    pub(crate) fn forget(&mut self, service: ServiceId) {
        self.0.remove(&service);
    }

    /// Keeps a board that is newer than the one before.
    pub(crate) fn take(&mut self, board: Arc<LoadBoard>) {
        if self.0.get(&board.service).is_none_or(|Shown(old)| old.round < board.round) {
            self.0.insert(board.service, Shown(board));
        }
    }

    /// The latest board of a service.
    pub(crate) fn of(&self, service: ServiceId) -> Option<&Arc<LoadBoard>> {
        self.0.get(&service).map(|Shown(board)| board)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(round: u64, node: u32, requests: u32) -> LoadBoard {
        let loads = vec![InstanceLoad { node: ActorId(node), ordinal: 0, requests }];
        LoadBoard { service: ServiceId(0), round, incarnation: 0, loads }
    }

    #[test]
    fn a_board_is_published_when_all_have_reported_or_the_next_round_begins() {
        let all = |has: &dyn Fn(ActorId) -> bool| (1..=3).all(|node| has(ActorId(node)));
        let mut collecting = Collecting::default();
        let mut send = |round, node, requests| {
            let boards = collecting.report(ActorId(node), &report(round, node, requests), all);
            let requests = |board: LoadBoard| (board.round, board.loads.iter().map(|it| it.requests).collect());
            boards.into_iter().map(requests).collect::<Vec<(u64, Vec<u32>)>>()
        };
        assert_eq!(send(1, 2, 5), []);
        assert_eq!(send(1, 1, 4), []);
        assert_eq!(send(1, 3, 6), [(1, vec![4, 5, 6])]);
        // Once is enough, even if all say it again, and what is late is too late.
        for node in 1..=3 {
            assert_eq!(send(1, node, 7), []);
        }
        assert_eq!(send(2, 1, 1), []);
        assert_eq!(send(3, 2, 2), [(2, vec![1])]);
        assert_eq!(send(2, 3, 3), []);
    }

    #[test]
    fn rounds_are_multiples_of_the_refresh_interval() {
        let (at, every) = (|ns| Time::ZERO + Span::from_nanos(ns), Span::from_nanos(10));
        assert_eq!([0, 9, 10, 25].map(|ns| round_at(at(ns), every)), [0, 0, 1, 2]);
        assert_eq!([0, 9, 10, 25].map(|ns| next_round(at(ns), every)), [10, 10, 20, 30].map(at));
    }
}
