//! Instances that nodes report.

use std::collections::BTreeMap;

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Msg, Share};
use meshsim_mesh::model::ServiceId;

use super::{Check, Content, Event, OfNodes};

/// The shares of all nodes.
#[derive(Default)]
pub(super) struct Instances(OfNodes<Shares>);

/// By service: the shares that have reached a node, by step, from the one that it has acknowledged.
#[derive(Default)]
struct Shares {
    by_service: BTreeMap<ServiceId, BTreeMap<u64, Share>>,
    acked: u64,
}

impl Check for Instances {
    fn rule(&self) -> &'static str {
        "nodes report no more instances than their steps give"
    }

    fn take(&mut self, actor: ActorId, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        let node = self.0.of(actor, event, mesh)?;
        match event {
            Event::Arrived(_, Content::Control(msg)) => {
                node.arrived(msg);
                None
            }
            Event::Sent(_, Msg::Ack(ack)) => {
                node.acknowledges(ack.applied);
                None
            }
            Event::Sent(_, Msg::Report(report)) => {
                let checked = report.services.iter().try_for_each(|(service, ready)| {
                    node.allow(*service, ready).map_err(|why| format!("{why} of {}", name(mesh, *service)))
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

impl Shares {
    fn arrived(&mut self, msg: &Msg) {
        match msg {
            Msg::Steps(steps) => {
                for step in steps {
                    let shares = self.by_service.entry(step.decision.service).or_default();
                    shares.insert(step.decision.n, step.share.clone());
                }
            }
            Msg::Snapshot(snapshot) => {
                for it in &snapshot.services {
                    self.by_service.entry(it.service).or_default().insert(snapshot.n, it.share.clone());
                }
            }
            _ => {}
        }
    }

    /// Shares before the one that holds are forgotten, but for the one before it: a report may precede its
    /// acknowledgement.
    fn acknowledges(&mut self, applied: u64) {
        let before = std::mem::replace(&mut self.acked, applied);
        for shares in self.by_service.values_mut() {
            let holds = shares.range(..=before).next_back().map_or(0, |(n, _)| *n);
            *shares = shares.split_off(&holds);
        }
    }

    fn allow(&self, service: ServiceId, ready: &[(u32, u32)]) -> Result<(), String> {
        if !ready.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err("reports a number twice among the instances".into());
        }
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        ready.iter().for_each(|(_, version)| *counts.entry(*version).or_default() += 1);
        let of = |share: &Share, version: u32| share.iter().find(|(v, _)| *v == version).map_or(0, |(_, count)| *count);
        for (version, count) in counts {
            let shares = self.by_service.get(&service).into_iter().flat_map(BTreeMap::values);
            let most = shares.map(|share| of(share, version)).max().unwrap_or(0);
            if count > most {
                return Err(format!("reports {count} instances of version {version}, and has at most {most} to run"));
            }
        }
        Ok(())
    }
}
