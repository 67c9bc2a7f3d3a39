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
                if let Msg::Report(report) = &**msg {
                    let reported = self.reported.entry(*node).or_default();
                    if report.incarnation > reported.incarnation {
                        reported.incarnation = report.incarnation;
                        reported.instances.clear();
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
                let known = self.reported.get(node).is_some_and(allows);
                if !known {
                    return Err(format!("sends view {} with {}, which was not reported", view.version, name()));
                }
            }
        }
        Ok(())
    }
}
