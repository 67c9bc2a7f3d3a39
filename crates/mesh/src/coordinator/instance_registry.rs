//! Merges the readiness reports of the nodes into the instance view that callers choose from.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

use crate::message::{ReadinessReport, ServiceReport};
use crate::model::{Mesh, ServiceId, Settings};
use crate::node::hosting::INSTANCES_MAX;
use crate::view::no_view;
use crate::view::{InstanceRef, InstanceView, Split};

/// Nodes that went down are remembered for this many falls: older ones have long timed out.
pub const FAILED_NODES_MAX: usize = 64;

/// A canary as callers are to know it: its service, its version, and the share of requests in force.
pub(super) type CanaryShare = (ServiceId, u32, f64);

/// The ready instances as reported by the nodes, and the last published view.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InstanceRegistry {
    /// By service and node: the instances that take requests, as (ordinal, version).
    ready: Vec<BTreeMap<ActorId, Vec<(u32, u32)>>>,
    /// Services whose ready instances have changed since the view was made.
    dirty: Vec<bool>,
    /// By service: ready instances by version, no count of zero.
    counts: Vec<BTreeMap<u32, u32>>,
    /// Nodes that fell since the view was made, each once, at most [`FAILED_NODES_MAX`].
    fell: Vec<ActorId>,
    #[serde(with = "meshsim_actor::shared")]
    view: Arc<InstanceView>,
}

impl InstanceRegistry {
    pub(super) fn new(mesh: &Mesh) -> Self {
        let services = mesh.services.len();
        InstanceRegistry {
            ready: vec![BTreeMap::new(); services],
            dirty: vec![false; services],
            counts: vec![BTreeMap::new(); services],
            fell: Vec::new(),
            view: no_view(mesh),
        }
    }

    /// Processes a readiness report. False if it changes nothing.
    pub(super) fn report(&mut self, node: ActorId, report: &ReadinessReport) -> bool {
        report.services.iter().fold(false, |changed, it| changed | self.take(node, it))
    }

    /// A node went down, and all its instances with it.
    pub(super) fn node_failed(&mut self, node: ActorId) {
        remember_fall(&mut self.fell, node, |fell| *fell);
        for service in 0..self.ready.len() {
            let none = ServiceReport { service: ServiceId(service as u16), ready: Vec::new(), gone: None };
            self.take(node, &none);
        }
    }

    /// Ready instances of a service as reported by the nodes, by rising version.
    pub(super) fn ready(&self, service: ServiceId) -> Vec<(u32, u32)> {
        self.counts[service.index()].iter().map(|(version, count)| (*version, *count)).collect()
    }

    /// Of these, those of one version on one node.
    pub(super) fn ready_on(&self, service: ServiceId, node: ActorId, version: u32) -> u32 {
        let ready = self.ready[service.index()].get(&node);
        ready.map_or(0, |ready| ready.iter().filter(|(_, v)| *v == version).count() as u32)
    }

    /// True if each node with a ready instance of a service is such.
    pub(super) fn all_hosts(&self, service: ServiceId, is: impl Fn(ActorId) -> bool) -> bool {
        self.ready.get(service.index()).is_some_and(|ready| ready.keys().all(|node| is(*node)))
    }

    /// The last published view.
    pub(super) fn view(&self) -> &Arc<InstanceView> {
        &self.view
    }

    /// True if there are changes to publish.
    pub(super) fn is_dirty(&self) -> bool {
        !self.fell.is_empty() || self.dirty.contains(&true)
    }

    /// True if callers were told of these canaries, with these shares.
    pub(super) fn has_told(&self, canaries: &[CanaryShare]) -> bool {
        let told = self.view.splits.iter().map(|split| (split.service, split.version, split.share));
        told.eq(canaries.iter().copied())
    }

    /// Makes the next view. `canaries` are by rising service.
    pub(super) fn publish(&mut self, canaries: &[CanaryShare], settings: &Arc<Settings>) -> &Arc<InstanceView> {
        let (version, settings) = (self.view.version + 1, settings.clone());
        let mut view = InstanceView { version, settings, ..(*self.view).clone() };
        view.splits.clear();
        let mut canaries = canaries.iter().peekable();
        for (at, dirty) in self.dirty.iter_mut().enumerate() {
            let service = ServiceId(at as u16);
            let canary = canaries.next_if(|(of, ..)| *of == service);
            let version = canary.map(|(_, version, _)| *version);
            let told = self.view.split(service);
            let is_other = std::mem::take(dirty) || version != told.map(|split| split.version);
            let ready = &self.ready[at];
            if is_other {
                view.services[at] = instances(ready, |of| Some(of) != version);
            }
            if let Some(&(_, version, share)) = canary {
                let instances = match told {
                    Some(told) if !is_other => told.instances.clone(),
                    _ => instances(ready, |of| of == version),
                };
                view.splits.push(Split { service, version, share, instances });
            }
        }
        for node in self.fell.drain(..) {
            remember_fall(&mut view.failed_nodes, (node, view.version), |(failed, _)| *failed);
        }
        self.view = Arc::new(view);
        &self.view
    }

    /// A report of one service. It costs a search for each instance that it names, and not one for each that is there.
    fn take(&mut self, node: ActorId, report: &ServiceReport) -> bool {
        let at = report.service.index();
        let Some(of_service) = self.ready.get_mut(at) else { return false };
        let known = of_service.entry(node).or_default();
        let mut changed = false;
        // The list of a node that keeps to the protocol is never longer.
        if report.gone.is_none() || known.len() + report.ready.len() <= INSTANCES_MAX {
            let left = report.apply(known);
            if left != report.ready {
                count(&mut self.counts[at], &left, -1);
                count(&mut self.counts[at], &report.ready, 1);
                changed = true;
            }
        }
        if known.is_empty() {
            of_service.remove(&node);
        }
        self.dirty[at] |= changed;
        changed
    }
}

/// Counts instances that came, or went. No count is zero.
fn count(counts: &mut BTreeMap<u32, u32>, instances: &[(u32, u32)], by: i32) {
    for same in instances.chunk_by(|a, b| a.1 == b.1) {
        let count = counts.entry(same[0].1).or_default();
        *count = count.saturating_add_signed(by * same.len() as i32);
    }
    counts.retain(|_, count| *count > 0);
}

/// The ready instances with a matching version.
fn instances(ready: &BTreeMap<ActorId, Vec<(u32, u32)>>, fits: impl Fn(u32) -> bool) -> Arc<[InstanceRef]> {
    let all = ready.iter().flat_map(|(node, ready)| {
        ready.iter().map(|(ordinal, version)| InstanceRef { node: *node, ordinal: *ordinal, version: *version })
    });
    all.filter(|instance| fits(instance.version)).collect()
}

/// The last to have fallen come last, and the first of too many are forgotten.
fn remember_fall<T>(falls: &mut Vec<T>, fall: T, node: impl Fn(&T) -> ActorId) {
    falls.retain(|other| node(other) != node(&fall));
    falls.push(fall);
    let old = falls.len().saturating_sub(FAILED_NODES_MAX);
    falls.drain(..old);
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Rng;

    use super::*;

    #[test]
    fn reports_of_changes_and_reports_of_all_lead_to_the_same_registry() {
        let mesh = Mesh { services: vec![crate::balance::tests::service()], ..Mesh::default() };
        let (mut by_changes, mut by_all) = (InstanceRegistry::new(&mesh), InstanceRegistry::new(&mesh));
        let (service, node, mut rng) = (ServiceId(0), ActorId(1), Rng::stream(3, "x"));
        let mut ready: BTreeMap<u32, u32> = BTreeMap::new();
        for round in 0..2_000 {
            let (mut came, mut gone) = (BTreeMap::new(), Vec::new());
            for _ in 0..rng.below(4) {
                let (ordinal, version) = (rng.below(30), rng.below(3));
                // Sometimes one goes that was not there, or one comes that is.
                if rng.chance(0.5) {
                    gone.push(ordinal);
                    ready.remove(&ordinal);
                    came.remove(&ordinal);
                } else {
                    came.insert(ordinal, version);
                    ready.insert(ordinal, version);
                }
            }
            gone.sort_unstable();
            gone.dedup();
            gone.retain(|ordinal| !came.contains_key(ordinal));
            let changes = ServiceReport { service, ready: came.into_iter().collect(), gone: Some(gone) };
            let all: Vec<(u32, u32)> = ready.iter().map(|(ordinal, version)| (*ordinal, *version)).collect();
            let whole = ServiceReport { service, ready: all, gone: None };
            assert_eq!(by_changes.take(node, &changes), by_all.take(node, &whole), "round {round}");
            assert!(!by_changes.take(node, &changes), "what is known already changes nothing");
            assert_eq!(by_changes.ready, by_all.ready, "round {round}");
            assert_eq!(by_changes.counts, by_all.counts, "round {round}");
        }
    }
}
