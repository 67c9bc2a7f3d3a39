//! What the steps that reached a node give it.

use std::collections::BTreeMap;

use meshsim_mesh::message::{Msg, Share};
use meshsim_mesh::model::ServiceId;

/// By service: what its steps give a node, by step, from the one that the node has acknowledged.
#[derive(Default)]
pub(super) struct Given {
    by_service: BTreeMap<ServiceId, BTreeMap<u64, Target>>,
    acked: u64,
}

/// What a step gives a node of its service.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) share: Share,
    pub(super) capacity: f64,
}

impl Given {
    /// A message reaches the node.
    pub(super) fn arrived(&mut self, msg: &Msg) {
        match msg {
            Msg::Steps(steps) => {
                for step in steps {
                    let target = Target { share: step.share.clone(), capacity: step.decision.capacity };
                    self.by_service.entry(step.decision.service).or_default().insert(step.decision.n, target);
                }
            }
            Msg::Snapshot(snapshot) => {
                for it in &snapshot.services {
                    let target = Target { share: it.share.clone(), capacity: it.capacity };
                    self.by_service.entry(it.service).or_default().insert(snapshot.n, target);
                }
            }
            _ => {}
        }
    }

    /// Targets before the one that holds are forgotten, but for the one before it: what follows from a step may precede
    /// its acknowledgement.
    pub(super) fn acknowledges(&mut self, applied: u64) {
        let before = std::mem::replace(&mut self.acked, applied);
        if before == applied {
            return;
        }
        for targets in self.by_service.values_mut() {
            let holds = targets.range(..=before).next_back().map_or(0, |(n, _)| *n);
            if targets.first_key_value().is_some_and(|(first, _)| *first < holds) {
                *targets = targets.split_off(&holds);
            }
        }
    }

    /// Forgets all but the last target of each service.
    pub(super) fn keep_last(&mut self) {
        for targets in self.by_service.values_mut().filter(|targets| targets.len() > 1) {
            let last = targets.last_key_value().map_or(0, |(n, _)| *n);
            *targets = targets.split_off(&last);
        }
    }

    /// The targets of a service that may hold now.
    pub(super) fn of(&self, service: ServiceId) -> impl Iterator<Item = &Target> {
        self.by_service.get(&service).into_iter().flat_map(BTreeMap::values)
    }

    /// The last target of each service.
    pub(super) fn last(&self) -> impl Iterator<Item = (ServiceId, &Target)> {
        self.by_service.iter().filter_map(|(service, targets)| Some((*service, targets.last_key_value()?.1)))
    }
}
