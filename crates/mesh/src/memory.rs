//! Memory that messages occupy: hosts bound their queues by it, and decoders refuse lists that no mesh can have.
//!
//! A message from another process may occupy many times its bytes on the wire: a service without instances is one byte
//! there. So bounds count the memory held.

use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::autoscale::demand::Demand;
use crate::autoscale::signal::{NodeSample, ServiceScale};
use crate::board::LoadBoard;
use crate::message::{
    Decision, Msg, NodeStep, Operate, ReadinessReport, ServiceReport, ServiceSnapshot, Share, Snapshot,
};
use crate::model::{Change, Rollout, ServiceId, Setting, Settings, Strategy};
use crate::path::{Hop, Path};
use crate::rollout::figures::ServiceFigures;
use crate::view::{InstanceRef, InstanceView, Split};

/// Entries by service that a message may have: as many as services have numbers.
const BY_SERVICE_MAX: usize = 1 << 16;
/// Overhead of an allocation beside its content, at most: its header and the rounding of its size.
const ALLOCATION_BYTES: usize = 24;

/// Bytes of a list's own memory. A list that was read may have twice the room that it needs.
fn list<T>(items: &Vec<T>) -> usize {
    match items.capacity() {
        0 => 0,
        room => room * size_of::<T>() + ALLOCATION_BYTES,
    }
}

fn boxed<T>() -> usize {
    size_of::<T>() + ALLOCATION_BYTES
}

fn shares<'a>(shares: impl Iterator<Item = &'a Share>) -> usize {
    let of = |share: &Share| match share.heap_bytes() {
        0 => 0,
        some => some + 2 * ALLOCATION_BYTES,
    };
    shares.map(of).sum()
}

/// See [`Message::heap_bytes`](meshsim_actor::Message::heap_bytes).
pub(crate) fn heap_bytes(msg: &Msg) -> usize {
    let path = |path: &Option<Box<Path>>| path.as_ref().map_or(0, |path| boxed::<Path>() + list::<Hop>(&path.hops));
    match msg {
        Msg::Steps(orders) => {
            let decisions = orders.len() * (boxed::<Decision>() + 2 * size_of::<usize>());
            list::<NodeStep>(orders) + decisions + shares(orders.iter().map(|order| &order.share))
        }
        Msg::Snapshot(snapshot) => {
            let services = &snapshot.services;
            boxed::<Snapshot>() + list::<ServiceSnapshot>(services) + shares(services.iter().map(|it| &it.share))
        }
        Msg::Report(report) => {
            let of = |it: &ServiceReport| list(&it.ready) + it.gone.as_ref().map_or(0, list);
            boxed::<ReadinessReport>() + list(&report.services) + report.services.iter().map(of).sum::<usize>()
        }
        Msg::InstanceView(view) => {
            let instances = |of: &Arc<[InstanceRef]>| match of.len() {
                // All that are empty are one.
                0 => 0,
                some => some * size_of::<InstanceRef>() + ALLOCATION_BYTES + 2 * size_of::<usize>(),
            };
            let all: usize = view.services.iter().map(instances).sum();
            let canaries: usize = view.splits.iter().map(|split| instances(&split.instances)).sum();
            boxed::<InstanceView>()
                + list(&view.services)
                + all
                + list(&view.failed_nodes)
                + list::<Split>(&view.splits)
                + canaries
                + boxed::<Settings>()
                + list::<(ServiceId, Setting)>(&view.settings)
        }
        Msg::Loads(board) => boxed::<LoadBoard>() + list(&board.loads),
        Msg::Sample(sample) => boxed::<NodeSample>() + list(&sample.instances),
        Msg::Scale(scale) => boxed::<ServiceScale>() + list(&scale.placed),
        Msg::Figures(it) => {
            let latencies = it.versions.iter().map(|(_, it)| it.latency.heap_bytes() + 2 * ALLOCATION_BYTES);
            boxed::<ServiceFigures>() + list(&it.versions) + latencies.sum::<usize>()
        }
        Msg::Demand(_) => boxed::<Demand>(),
        Msg::Reply(reply) => path(&reply.path),
        Msg::ExternalRequest(_) => boxed::<crate::message::Ask>(),
        Msg::ExternalReply(answer) => boxed::<crate::message::Answer>() + list::<Hop>(&answer.path.hops),
        Msg::Operate(operate) => {
            let weights = match &operate.operation.change {
                Change::Update { strategy: Strategy::Canary { weights, .. }, .. } => {
                    weights.len() * size_of::<f64>() + ALLOCATION_BYTES
                }
                Change::Set(_) => boxed::<Setting>(),
                Change::Rollout(rollout) => {
                    let checks = rollout.analyses().map(|it| {
                        let texts: usize = it.checks.iter().map(|check| check.text.len() + ALLOCATION_BYTES).sum();
                        list(&it.checks) + texts
                    });
                    boxed::<Rollout>() + list(&rollout.steps) + checks.sum::<usize>()
                }
                _ => 0,
            };
            boxed::<Operate>() + weights
        }
        Msg::Request(_)
        | Msg::Ack(_)
        | Msg::Need { .. }
        | Msg::Refuse { .. }
        | Msg::Hello(_)
        | Msg::Heartbeat(_)
        | Msg::ReportFrom { .. }
        | Msg::Operated(_)
        | Msg::Leave { .. }
        | Msg::Cancel(_)
        | Msg::Leaving { .. }
        | Msg::Released
        | Msg::Shun { .. }
        | Msg::Left { .. }
        | Msg::AskSample { .. }
        | Msg::AskScale { .. }
        | Msg::AskFigures { .. }
        | Msg::AskDemand { .. }
        | Msg::Held { .. } => 0,
    }
}

/// Reads a list with at most as many entries as there may be services.
struct ByService<T, R>(fn(R) -> T, PhantomData<R>);

impl<'de, T, R: Deserialize<'de>> Visitor<'de> for ByService<T, R> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {BY_SERVICE_MAX} services")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == BY_SERVICE_MAX {
                return Err(A::Error::custom(format!("more than {BY_SERVICE_MAX} services")));
            }
            list.push((self.0)(entry));
        }
        list.shrink_to_fit();
        Ok(list)
    }
}

/// Reads [`ReadinessReport::services`].
pub(crate) fn reported<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServiceReport>, D::Error> {
    deserializer.deserialize_seq(ByService(|entry: ServiceReport| entry, PhantomData))
}

/// Reads [`Snapshot::services`].
pub(crate) fn snapshots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServiceSnapshot>, D::Error> {
    deserializer.deserialize_seq(ByService(|entry: ServiceSnapshot| entry, PhantomData))
}

/// The instances of a service, in a list of such.
#[derive(Serialize, Deserialize)]
struct OfService(#[serde(with = "meshsim_actor::shared")] Arc<[InstanceRef]>);

/// All lists without instances are one.
fn alone(OfService(instances): OfService) -> Arc<[InstanceRef]> {
    thread_local! {
        static NONE: Arc<[InstanceRef]> = Arc::from([]);
    }
    // Read back in a snapshot it is shared already, with those who shared it.
    let is_alone = instances.is_empty() && Arc::strong_count(&instances) == 1;
    if is_alone { NONE.with(Arc::clone) } else { instances }
}

/// Writes [`InstanceView::services`].
pub(crate) fn write_viewed<S: Serializer>(services: &[Arc<[InstanceRef]>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(services.iter().map(|instances| OfService(instances.clone())))
}

/// Reads [`InstanceView::services`].
pub(crate) fn viewed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<[InstanceRef]>>, D::Error> {
    deserializer.deserialize_seq(ByService(alone, PhantomData))
}

/// Writes and reads [`Split::instances`](crate::view::Split::instances).
pub(crate) mod split_instances {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(instances: &Arc<[InstanceRef]>, serializer: S) -> Result<S::Ok, S::Error> {
        OfService(instances.clone()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[InstanceRef]>, D::Error> {
        OfService::deserialize(deserializer).map(alone)
    }
}

/// Reads [`InstanceView::splits`].
pub(crate) fn splits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Split>, D::Error> {
    deserializer.deserialize_seq(ByService(|entry: Split| entry, PhantomData))
}
