//! Failed hosts: instances that a caller remembers although their node has failed.
//!
//! A view has only ready instances. Failover and the panic threshold compare them with all that a service has, so a
//! caller remembers the instances of a failed node until they are back, or as many others are ready in their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

use crate::model::{Mesh, Selection, ServiceId, ZoneRouting};
use crate::view::{InstanceRef, InstanceView};

/// Services with failed hosts, as one caller sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hosts(BTreeMap<ServiceId, Failed>);

/// Hosts of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// Those that have failed, by rising (node, ordinal); at least one.
    pub(crate) failed: Vec<InstanceRef>,
    /// These and the ready ones, by rising (node, ordinal).
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) all: Arc<[InstanceRef]>,
}

impl Selection {
    fn remembers_hosts(&self) -> bool {
        self.panic_threshold > 0.0 || self.zones == Some(ZoneRouting::Failover)
    }
}

impl Mesh {
    /// True if callers of any service remember its failed hosts.
    pub(crate) fn remembers_hosts(&self) -> bool {
        self.services.iter().any(|it| it.selection.as_ref().is_some_and(|it| it.remembers_hosts()))
    }
}

impl Hosts {
    /// The failed hosts of a service, if it has any.
    pub(crate) fn of(&self, service: ServiceId) -> Option<&Failed> {
        self.0.get(&service)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The view has changed.
    pub(crate) fn follow(&mut self, old: &InstanceView, mesh: &Mesh, view: &InstanceView) {
        let remembered = mesh.services.iter().zip(0..).filter_map(|(service, at)| {
            let selection = service.selection.as_deref()?;
            selection.remembers_hosts().then_some(ServiceId(at))
        });
        for service in remembered {
            let (before, ready) = (old.instances(service), view.instances(service));
            if Arc::ptr_eq(before, ready) {
                continue;
            }
            let known = self.0.remove(&service).map_or_else(Vec::new, |it| it.failed);
            let fell = |node: ActorId| view.fell_after(node, old.version);
            let failed = failed_hosts(known, before, ready, fell);
            if !failed.is_empty() {
                let mut all: Vec<InstanceRef> = ready.iter().chain(&failed).copied().collect();
                all.sort_unstable();
                self.0.insert(service, Failed { failed, all: all.into() });
            }
        }
    }
}

/// The failed hosts after a change from `before` to `ready`.
fn failed_hosts(
    known: Vec<InstanceRef>,
    before: &[InstanceRef],
    ready: &[InstanceRef],
    fell: impl Fn(ActorId) -> bool,
) -> Vec<InstanceRef> {
    let most = before.len() + known.len();
    let mut failed = known;
    failed.extend(before.iter().filter(|it| fell(it.node)));
    failed.sort_unstable();
    failed.dedup_by_key(|it| (it.node, it.ordinal));
    // A node that has one again is back, or its instances start anew: they come by themselves.
    failed.retain(|it| ready.binary_search_by_key(&it.node, |back| back.node).is_err());
    // Others have come in their place.
    failed.truncate(most.saturating_sub(ready.len()));
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;

    #[test]
    fn hosts_of_a_failed_node_are_remembered_until_replaced_or_back() {
        let all = instances(6);
        let first = failed_hosts(vec![], &all, &all[..4], |node| node.0 > 4);
        assert_eq!(first, &all[4..]);
        // Drained, not failed.
        assert_eq!(failed_hosts(vec![], &all, &all[..4], |_| false), []);
        // One is placed elsewhere: one less is missing.
        let more = instances(8);
        let ready: Vec<InstanceRef> = all[..4].iter().chain(&more[6..7]).copied().collect();
        let second = failed_hosts(first.clone(), &all[..4], &ready, |_| false);
        assert_eq!(second, &all[4..5]);
        assert_eq!(failed_hosts(first, &all[..4], &all[..5], |_| false), &all[5..]);
        assert_eq!(failed_hosts(second, &ready, &more[..7], |_| false), []);
    }
}
