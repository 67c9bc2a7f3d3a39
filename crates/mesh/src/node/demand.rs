//! The demand for a service at a node, for an autoscaler that follows it.

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};

use super::Node;
use super::hosting::HostedService;
use crate::actors::MeshCx;
use crate::autoscale::demand::{Demand, Level};
use crate::message::Msg;
use crate::model::ServiceId;

/// Levels of a service on a node, over time since the machine has started.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct DemandGauge {
    /// Requests in service and waiting.
    pub(super) requests: Level,
    /// Slots that are taken, and slots that are there, summed over time.
    pub(super) busy_ns: u64,
    pub(super) slot_ns: u64,
}

impl Node {
    /// Tells the autoscaler the demand for a service here: at its instances, and of calls that are held.
    pub(super) fn tell_demand(&mut self, to: ActorId, service: ServiceId, round: u64, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        let mut demand = Demand::none(service, round, now);
        if let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(service)) {
            demand = hosted.demand(demand, now);
        }
        if let Some(work) = &self.work {
            demand = work.calls.demand(demand, now);
        }
        cx.send(to, Msg::Demand(Box::new(demand)));
    }
}

impl HostedService {
    fn demand(&mut self, none: Demand, now: Time) -> Demand {
        self.count_until(now);
        let gauge = self.gauge().copied().unwrap_or_default();
        Demand {
            instances: self.instances.len() as u32,
            requests: gauge.requests.level(),
            requests_ns: gauge.requests.sum_ns(now),
            messages: self.instances.iter().map(|instance| instance.messages()).sum(),
            busy_ns: gauge.busy_ns,
            slot_ns: gauge.slot_ns,
            ..none
        }
    }
}
