//! The view that a caller has of the instances of all services.

use std::sync::Arc;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

use crate::coordinator::instance_registry::FAILED_NODES_MAX;
use crate::model::{Mesh, ServiceId, Settings, setting};

/// InstanceRef view: the ready instances of every service, from which callers choose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Rising.
    pub version: u64,
    /// By service: its ready instances, by rising (node, ordinal), without those of a canary.
    #[serde(serialize_with = "crate::memory::write_viewed", deserialize_with = "crate::memory::viewed")]
    pub services: Vec<Arc<[InstanceRef]>>,
    /// Failed nodes, each with the first view version that reports the failure. Calls sent under an older version are
    /// lost.
    pub failed_nodes: Vec<(ActorId, u64)>,
    /// The services that have a canary, rising.
    #[serde(deserialize_with = "crate::memory::splits")]
    pub splits: Vec<Split>,
    /// Settings of services that operations have changed.
    #[serde(with = "meshsim_actor::shared")]
    pub settings: Arc<Settings>,
}

/// A service whose requests are split: some go to instances of a new version, its canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// The service.
    pub service: ServiceId,
    /// The canary's version.
    pub version: u32,
    /// The share of requests that go there, from 0 to 1.
    pub share: f64,
    /// The canary's ready instances, by rising (node, ordinal).
    #[serde(with = "crate::memory::split_instances")]
    pub instances: Arc<[InstanceRef]>,
}

/// One instance, as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceRef {
    /// Node of the instance.
    pub node: ActorId,
    /// Its number on that node.
    pub ordinal: u32,
    /// Its version.
    pub version: u32,
}

/// A view in which no service has an instance yet.
pub fn no_view(mesh: &Mesh) -> Arc<InstanceView> {
    let none: Arc<[InstanceRef]> = Arc::new([]);
    Arc::new(InstanceView {
        version: 0,
        services: vec![none; mesh.services.len()],
        failed_nodes: Vec::new(),
        splits: Vec::new(),
        settings: Arc::default(),
    })
}

impl InstanceView {
    /// The ready instances of a service, without those of a canary.
    #[inline]
    pub fn instances(&self, service: ServiceId) -> &Arc<[InstanceRef]> {
        &self.services[service.index()]
    }

    /// Split of the requests of a service between its versions, if it has a canary.
    #[inline]
    pub fn split(&self, service: ServiceId) -> Option<&Split> {
        if self.splits.is_empty() {
            return None;
        }
        let at = self.splits.binary_search_by_key(&service, |split| split.service).ok()?;
        Some(&self.splits[at])
    }

    /// True if it is newer than `old`, of this mesh, and such as a coordinator makes.
    pub fn replaces(&self, old: &InstanceView) -> bool {
        let is_sound = self.services.len() == old.services.len() && self.failed_nodes.len() <= FAILED_NODES_MAX;
        let splits = &self.splits;
        let fit = splits.iter().all(|it| it.service.index() < self.services.len() && (0.0..=1.0).contains(&it.share));
        let rise = splits.windows(2).all(|pair| pair[0].service < pair[1].service);
        is_sound && fit && rise && self.version > old.version
    }

    /// The mesh with its settings, if they differ from those of the `old` view, and are such as a coordinator makes.
    pub(crate) fn set(&self, old: &InstanceView, mesh: &Arc<Mesh>) -> Option<Arc<Mesh>> {
        let is_same = Arc::ptr_eq(&self.settings, &old.settings) || self.settings == old.settings;
        (!is_same && setting::are_sound(&self.settings, mesh)).then(|| setting::with(mesh, &self.settings))
    }

    /// True if a node is known to have gone down after version `since`.
    pub fn fell_after(&self, node: ActorId, since: u64) -> bool {
        self.failed_nodes.iter().any(|(failed, at)| *failed == node && since < *at)
    }
}
