//! Instances that nodes report.

use std::collections::BTreeMap;

use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Msg, ServiceReport, Share};
use meshsim_mesh::model::ServiceId;

use super::given::Given;
use super::{At, Check, Content, Event, OfNodes};

/// What the nodes are given, and what they report.
#[derive(Default)]
pub(super) struct Instances(OfNodes<Node>);

#[derive(Default)]
struct Node {
    given: Given,
    /// Its ready instances, by its reports so far.
    ready: BTreeMap<ServiceId, Vec<(u32, u32)>>,
    /// It began with the disk of an earlier process, which is not in the trace.
    is_restored: bool,
}

impl Check for Instances {
    fn rule(&self) -> &'static str {
        "nodes report no more instances than their steps give"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        let node = self.0.of(actor, event, mesh)?;
        match event {
            Event::Began => {
                node.ready.clear();
                None
            }
            Event::Arrived(_, Content::Control(msg)) => {
                node.given.arrived(msg);
                None
            }
            Event::Sent(_, Msg::Ack(ack)) => {
                node.given.acknowledges(ack.applied);
                None
            }
            Event::Restored => {
                node.is_restored = true;
                None
            }
            Event::Sent(_, Msg::Report(report)) if !node.is_restored => {
                let Node { given, ready, .. } = node;
                let checked = report.services.iter().try_for_each(|it| {
                    let ready = ready.entry(it.service).or_default();
                    let known = allow_list(it).and_then(|()| {
                        it.apply(ready);
                        allow(given, it.service, ready)
                    });
                    known.map_err(|why| format!("{why} of {}", name(mesh, it.service)))
                });
                Some(checked)
            }
            _ => None,
        }
    }
}

fn name(mesh: &Mesh, service: ServiceId) -> &str {
    mesh.services.get(service.index()).map_or("an unknown service", |it| &it.name)
}

fn allow_list(report: &ServiceReport) -> Result<(), String> {
    match report.ready.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        true => Ok(()),
        false => Err("reports a number twice among the instances".into()),
    }
}

fn allow(given: &Given, service: ServiceId, ready: &[(u32, u32)]) -> Result<(), String> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    ready.iter().for_each(|(_, version)| *counts.entry(*version).or_default() += 1);
    let of = |share: &Share, version: u32| share.iter().find(|(v, _)| *v == version).map_or(0, |(_, count)| *count);
    for (version, count) in counts {
        let most = given.of(service).map(|target| of(&target.share, version)).max().unwrap_or(0);
        if count > most {
            return Err(format!("reports {count} instances of version {version}, and has at most {most} to run"));
        }
    }
    Ok(())
}
