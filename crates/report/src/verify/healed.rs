//! The end of a run whose faults have ended long before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Ack, Msg, ReadinessReport, Share};
use meshsim_mesh::model::{COORDINATOR, ServiceId};
use meshsim_mesh::view::InstanceView;

use super::given::{Given, Target};
use super::targets::targets;
use super::{At, Check, Content, Ending, Event};

/// The last word of each actor.
#[derive(Default)]
pub(super) struct Healed {
    nodes: BTreeMap<ActorId, Node>,
    /// The last step, its digest, and the time at which it was first sent.
    last: (u64, u64, Time),
    published: Option<Arc<InstanceView>>,
    /// The version of the view that has reached each caller since it began.
    views: BTreeMap<ActorId, u64>,
    /// The coordinator has lost its log: what was decided before is not known any more.
    has_lost_log: bool,
}

/// A node.
#[derive(Default)]
struct Node {
    has_begun: bool,
    acked: Option<Ack>,
    /// What it was sent.
    given: Given,
    /// Number and incarnation of its last report.
    report: (u32, u64),
    /// Its ready instances.
    ready: BTreeMap<ServiceId, Vec<(u32, u32)>>,
}

impl Check for Healed {
    fn rule(&self) -> &'static str {
        "after the last fault all becomes as it was decided"
    }

    fn take(&mut self, At { actor, time, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        match event {
            Event::Began => {
                self.views.remove(&actor);
                if mesh.node_index(actor).is_some() {
                    let node = self.nodes.entry(actor).or_default();
                    (node.has_begun, node.report) = (true, (0, 0));
                    node.ready.clear();
                }
            }
            Event::Wiped => {
                self.has_lost_log |= actor == COORDINATOR;
                if let Some(node) = self.nodes.get_mut(&actor) {
                    node.acked = None;
                }
            }
            Event::Arrived(_, Content::Control(msg)) => {
                if let Msg::InstanceView(view) = &**msg {
                    let has = self.views.entry(actor).or_default();
                    *has = view.version.max(*has);
                }
            }
            Event::Sent(to, msg) if actor == COORDINATOR => self.decided(*to, msg, time),
            Event::Sent(_, Msg::Ack(ack) | Msg::Hello(ack)) => {
                self.nodes.entry(actor).or_default().acked = Some(*ack);
            }
            Event::Sent(_, Msg::Report(report)) => self.nodes.entry(actor).or_default().reports(report),
            _ => {}
        }
        None
    }

    fn end(&mut self, Ending { healed, end }: Ending, mesh: &Mesh) -> Option<Vec<(ActorId, String)>> {
        let joined = mesh.nodes.iter().map(|node| node.joins).filter(|joins| *joins <= end).max();
        let quiet = patience(mesh);
        let since = healed.max(self.last.2).max(joined.unwrap_or(Time::ZERO));
        let is_slow = mesh.operations.iter().any(|operation| operation.every * 2 > quiet || operation.at + quiet > end);
        if end < since + quiet || is_slow || self.has_lost_log {
            return None;
        }
        let mut wrong = Vec::new();
        for (actor, node) in self.nodes.iter().filter(|(_, node)| node.has_begun) {
            wrong.extend(node.wrongs(self.last, mesh).into_iter().map(|why| (*actor, why)));
            let (has, published) = (self.views.get(actor), self.published.as_ref().map(|view| view.version));
            if published.is_some_and(|published| has != Some(&published)) {
                let has = has.map_or("none".into(), u64::to_string);
                wrong.push((*actor, format!("has view {has}, and the last is {}", published.unwrap_or(0))));
            }
        }
        wrong.extend(self.view_is_wrong(mesh).map(|why| (COORDINATOR, why)));
        let all: Vec<(ServiceId, &Target)> = self.nodes.values().flat_map(|node| node.given.last()).collect();
        wrong.extend(targets(mesh, &all).into_iter().map(|why| (COORDINATOR, why)));
        Some(wrong)
    }
}

/// Time in which all must have come right when nothing disturbs it any more: some losses are found by heartbeats, and
/// others when the longest resend is due; and then instances start and drain.
fn patience(mesh: &Mesh) -> Span {
    let control = &mesh.control;
    let starts = mesh.services.iter().map(|service| service.start_delay + service.drain_delay).max();
    let once =
        control.heartbeat * (u64::from(control.missed) + 4) + control.resend_cap.scaled(1.25) + control.debounce * 2;
    (once + starts.unwrap_or(Span::ZERO)) * 2
}

impl Healed {
    fn decided(&mut self, to: ActorId, msg: &Msg, now: Time) {
        match msg {
            Msg::Steps(steps) => {
                if let Some(step) = steps.last().filter(|step| step.decision.n > self.last.0) {
                    self.last = (step.decision.n, step.decision.digest, now);
                }
            }
            Msg::InstanceView(view) => {
                if self.published.as_ref().is_none_or(|published| published.version < view.version) {
                    self.published = Some(view.clone());
                }
                return;
            }
            Msg::Snapshot(_) => {}
            _ => return,
        }
        let given = &mut self.nodes.entry(to).or_default().given;
        given.arrived(msg);
        given.keep_last();
    }

    fn view_is_wrong(&self, mesh: &Mesh) -> Option<String> {
        let view = self.published.as_ref()?;
        let viewed: BTreeSet<(ActorId, usize, u32, u32)> = (view.services.iter().enumerate())
            .flat_map(|(service, instances)| {
                let canary = view.split(ServiceId(service as u16)).map_or(&[][..], |split| &split.instances);
                instances.iter().chain(canary).map(move |it| (it.node, service, it.ordinal, it.version))
            })
            .collect();
        let ready: BTreeSet<_> = (self.nodes.iter())
            .flat_map(|(actor, node)| {
                node.ready.iter().flat_map(|(service, ready)| {
                    ready.iter().map(|(ordinal, version)| (*actor, service.index(), *ordinal, *version))
                })
            })
            .collect();
        let (actor, service, ordinal, version) = viewed.symmetric_difference(&ready).next().copied()?;
        let is_viewed = viewed.contains(&(actor, service, ordinal, version));
        let service = mesh.services.get(service).map_or("?", |service| &service.name);
        let of = format!("instance {ordinal} of {service}, version {version}, on {}", mesh.actor_name(actor));
        Some(match is_viewed {
            true => format!("last sent a view with {of}, which is not there"),
            false => format!("last sent a view without {of}, which is ready"),
        })
    }
}

impl Node {
    fn reports(&mut self, report: &ReadinessReport) {
        let at = (report.incarnation, report.seq);
        if at < self.report {
            return;
        }
        self.report = at;
        for it in &report.services {
            it.apply(self.ready.entry(it.service).or_default());
        }
    }

    fn wrongs(&self, (n, digest, _): (u64, u64, Time), mesh: &Mesh) -> Vec<String> {
        match self.acked {
            _ if n == 0 => {}
            None => return vec!["has acknowledged no step since it began".into()],
            Some(ack) if ack.applied != n => return vec![format!("has step {}, and the last is {n}", ack.applied)],
            Some(ack) if ack.digest != digest => return vec![format!("has another history up to step {n}")],
            Some(_) => {}
        }
        let of = |(service, target): (ServiceId, &Target)| {
            let ready = self.ready.get(&service).map_or(&[][..], Vec::as_slice);
            let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
            ready.iter().for_each(|(_, version)| *counts.entry(*version).or_default() += 1);
            let counts: Share = counts.into_iter().collect();
            let name = mesh.services.get(service.index()).map_or("?", |service| &service.name);
            (counts != target.share)
                .then(|| format!("has {} of {name} ready, and is to have {}", words(&counts), words(&target.share)))
        };
        self.given.last().filter_map(of).collect()
    }
}

/// `3 of version 1 and 2 of version 2`.
fn words(share: &Share) -> String {
    let parts: Vec<String> = share.iter().map(|(version, count)| format!("{count} of version {version}")).collect();
    if parts.is_empty() { "none".into() } else { parts.join(" and ") }
}
