//! Status of the run, for an operator who looks while it is in progress.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use super::Coordinator;
use super::progress::Leave;
use crate::model::ServiceId;
use crate::operation::{Desired, total};
use crate::view::InstanceView;

/// State of a node, as the coordinator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// The heartbeats of the node arrive.
    Alive,
    /// The node missed heartbeats for too long.
    Dead,
    /// The node is to join later, and has not joined yet.
    Pending,
    /// The node leaves: its instances are placed on other nodes.
    Leaving,
    /// The node announced that it leaves, and has left.
    Left,
    /// The heartbeats of the node arrive, but other nodes refuse connections with it: nothing is placed on it.
    Shunned,
    /// The node is drained: nothing more is placed on it, and its instances are evicted as their budgets allow.
    Cordoned,
    /// The pool of the node does not need it now, or it is on its way: nothing is placed on it.
    Reserve,
}

impl Presence {
    /// All of them.
    pub const ALL: [Presence; 8] = [
        Presence::Alive,
        Presence::Dead,
        Presence::Pending,
        Presence::Leaving,
        Presence::Left,
        Presence::Shunned,
        Presence::Cordoned,
        Presence::Reserve,
    ];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Presence::Alive => "alive",
            Presence::Dead => "dead",
            Presence::Pending => "pending",
            Presence::Leaving => "leaving",
            Presence::Left => "left",
            Presence::Shunned => "shunned",
            Presence::Cordoned => "cordoned",
            Presence::Reserve => "reserve",
        }
    }
}

impl Coordinator {
    /// Steps decided so far.
    pub fn steps(&self) -> u64 {
        self.log.last()
    }

    /// Desired state of a service.
    pub fn wanted(&self, service: ServiceId) -> &Desired {
        &self.services[service.index()].wanted
    }

    /// Number of steps decided for a service.
    pub fn generation(&self, service: ServiceId) -> u64 {
        self.services[service.index()].generation
    }

    /// Instances of a service that take requests, as the nodes last reported.
    pub fn ready(&self, service: ServiceId) -> u32 {
        total(&self.endpoints.ready(service))
    }

    /// The last published instance view.
    pub fn view(&self) -> &InstanceView {
        self.endpoints.view()
    }

    /// State of a node.
    pub fn presence(&self, node: usize) -> Presence {
        let member = &self.members[node];
        match member.alive {
            true => match member.leave {
                Leave::Stays if self.is_in_reserve(node) => Presence::Reserve,
                Leave::Stays if self.cordons.has(node) => Presence::Cordoned,
                Leave::Stays => Presence::Alive,
                Leave::Shunned => Presence::Shunned,
                Leave::Leaves | Leave::Released => Presence::Leaving,
            },
            false if member.leave == Leave::Released => Presence::Left,
            false if member.heard == Time::ZERO && !self.mesh.nodes[node].is_there_at_start() => Presence::Pending,
            false => Presence::Dead,
        }
    }

    /// Instances, of any service, that a node is to have.
    pub fn placed_on(&self, node: usize) -> u32 {
        self.machines.instances(node)
    }
}
