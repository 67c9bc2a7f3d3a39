//! Narrowing: which of a service's instances a call may go to, by the zones of caller and instances and by how many
//! have failed.

use std::sync::Arc;

use meshsim_actor::{ActorId, Rng};

use super::hosts::Failed;
use super::{memo, zones};
use crate::model::{Mesh, Selection, ServiceId, ZoneRouting};
use crate::proxy::Pool;
use crate::view::{InstanceRef, InstanceView};

/// A call for which instances are selected.
pub(crate) struct Scene<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) view: &'a InstanceView,
    /// The actor that calls, and the service on whose behalf it does.
    pub(crate) caller: (ActorId, Option<ServiceId>),
    /// Failed instances of the called service, if there are any.
    pub(crate) failed: Option<&'a Failed>,
}

/// The instances that a call may go to; empty only if `ready` is.
pub(crate) fn narrowed(
    selection: &Selection,
    pool: Pool,
    ready: &Arc<[InstanceRef]>,
    scene: &Scene<'_>,
    rng: &mut Rng,
) -> (Pool, Arc<[InstanceRef]>) {
    if let Some(hosts) = scene.failed
        && zones::is_panic(ready.len(), hosts.all.len(), selection.panic_threshold)
    {
        return (pool, hosts.all.clone());
    }
    let Some(routing) = selection.zones.filter(|_| !ready.is_empty()) else { return (pool, ready.clone()) };
    let local = usize::from(scene.mesh.actor_zone(scene.caller.0));
    memo::by_zone(ready, scene.mesh, |lists| {
        let counts: Vec<u32> = lists.iter().map(|list| list.len() as u32).collect();
        let zone = match routing {
            ZoneRouting::Aware { min_instances } => zones::aware(local, &callers(scene), &counts, min_instances, rng),
            ZoneRouting::Failover => {
                let mut hosts = counts.clone();
                for failed in scene.failed.into_iter().flat_map(|hosts| &hosts.failed) {
                    if let Some(count) = hosts.get_mut(usize::from(scene.mesh.actor_zone(failed.node))) {
                        *count += 1;
                    }
                }
                Some(zones::failover(local, &counts, &hosts, rng))
            }
        };
        match zone.and_then(|zone| Some((zone, lists.get(zone)?))) {
            Some((zone, list)) if !list.is_empty() => (Pool::Part(zone as u16), list.clone()),
            _ => (pool, ready.clone()),
        }
    })
}

/// Callers by zone: the ready instances of the calling service; for clients and gateways, all clients.
fn callers(scene: &Scene<'_>) -> Vec<u32> {
    if let Some(service) = scene.caller.1 {
        let count = |lists: &[Arc<[InstanceRef]>]| lists.iter().map(|list| list.len() as u32).collect();
        return memo::by_zone(scene.view.instances(service), scene.mesh, count);
    }
    let mut counts = vec![0; scene.mesh.zones.len()];
    for load in &scene.mesh.loads {
        if let Some(count) = counts.get_mut(usize::from(load.zone)) {
            *count += 1;
        }
    }
    counts
}
