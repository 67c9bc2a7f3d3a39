//! Views of the instances that the coordinator sends to callers.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::Msg;
use meshsim_mesh::model::{COORDINATOR, ServiceId};
use meshsim_mesh::view::{InstanceRef, InstanceView};

use super::{At, Check, Content, Event};

/// Instances that each node has reported in its latest incarnation, as far as the coordinator has heard.
#[derive(Default)]
pub(super) struct Views {
    reported: BTreeMap<ActorId, Reported>,
    /// The latest version that was checked: one view goes to many.
    version: u64,
    /// True while the coordinator's disk is synced: views wait for it.
    is_syncing: bool,
    /// Instances of former incarnations that views may have which waited meanwhile.
    former: BTreeSet<(ActorId, (ServiceId, u32, u32))>,
}

#[derive(Default)]
struct Reported {
    /// Reports have arrived that are not known.
    is_unknown: bool,
    incarnation: u32,
    instances: BTreeSet<(ServiceId, u32, u32)>,
}

impl Check for Views {
    fn rule(&self) -> &'static str {
        "views have only instances that were reported, each once"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        if actor != COORDINATOR {
            return None;
        }
        match event {
            Event::Arrived(node, Content::Control(msg)) => {
                if !self.is_syncing {
                    self.former.clear();
                }
                if let Msg::Report(report) = &**msg {
                    let reported = self.reported.entry(*node).or_default();
                    if report.incarnation > reported.incarnation {
                        reported.incarnation = report.incarnation;
                        let former = std::mem::take(&mut reported.instances).into_iter();
                        self.former.extend(former.filter(|_| self.is_syncing).map(|instance| (*node, instance)));
                    }
                    let all = report.services.iter();
                    let all = all.flat_map(|it| it.ready.iter().map(|(n, version)| (it.service, *n, *version)));
                    reported.instances.extend(all);
                }
                None
            }
            Event::Unknown(node) => {
                self.reported.entry(*node).or_default().is_unknown = true;
                None
            }
            Event::Wiped => {
                self.version = 0;
                None
            }
            // What waited leaves before anything else arrives.
            Event::Persists(_) | Event::Durable(_) | Event::Began => {
                self.is_syncing = matches!(event, Event::Persists(_));
                None
            }
            Event::Sent(_, Msg::InstanceView(view)) if view.version > self.version => {
                self.version = view.version;
                Some(self.allow(view, mesh))
            }
            _ => None,
        }
    }
}

impl Views {
    fn allow(&self, view: &InstanceView, mesh: &Mesh) -> Result<(), String> {
        let canary = |service| view.split(service).map_or(&[][..], |split| &split.instances);
        for (at, instances) in view.services.iter().enumerate() {
            let service = ServiceId(at as u16);
            let mut seen = BTreeSet::new();
            for InstanceRef { node, ordinal, version } in instances.iter().chain(canary(service)) {
                let name = || {
                    let service = mesh.services.get(at).map_or("?", |service| &service.name);
                    format!("instance {ordinal} of {service} on {}", mesh.actor_name(*node))
                };
                if !seen.insert((*node, *ordinal)) {
                    return Err(format!("sends view {} with {} twice", view.version, name()));
                }
                let allows = |it: &Reported| it.is_unknown || it.instances.contains(&(service, *ordinal, *version));
                let is_former = || self.former.contains(&(*node, (service, *ordinal, *version)));
                let known = self.reported.get(node).is_some_and(allows) || is_former();
                if !known {
                    return Err(format!("sends view {} with {}, which was not reported", view.version, name()));
                }
            }
        }
        Ok(())
    }
}
