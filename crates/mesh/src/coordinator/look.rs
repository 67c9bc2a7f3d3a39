//! How things stand, for those who look while the run goes on.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use super::Coordinator;
use super::members::Leave;
use crate::message::View;
use crate::model::ServiceId;
use crate::operation::{Wanted, total};

/// How a node stands with the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is heard of.
    Alive,
    /// It was not heard of for too long.
    Dead,
    /// It is to come later, and has not come yet.
    Awaited,
    /// It leaves: what it has is placed elsewhere.
    Leaving,
    /// It has left, and had said so.
    Left,
    /// It is heard of, and others refuse to talk with it: nothing is placed on it.
    Shunned,
}

impl Presence {
    /// All of them.
    pub const ALL: [Presence; 6] =
        [Presence::Alive, Presence::Dead, Presence::Awaited, Presence::Leaving, Presence::Left, Presence::Shunned];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Presence::Alive => "alive",
            Presence::Dead => "dead",
            Presence::Awaited => "awaited",
            Presence::Leaving => "leaving",
            Presence::Left => "left",
            Presence::Shunned => "shunned",
        }
    }
}

impl Coordinator {
    /// Steps decided so far.
    pub fn steps(&self) -> u64 {
        self.log.last()
    }

    /// What is wanted of a service.
    pub fn wanted(&self, service: ServiceId) -> &Wanted {
        &self.services[service.index()].wanted
    }

    /// How many steps there were of a service.
    pub fn generation(&self, service: ServiceId) -> u64 {
        self.services[service.index()].generation
    }

    /// Instances of a service that take requests, as the nodes last reported.
    pub fn ready(&self, service: ServiceId) -> u32 {
        total(&self.endpoints.ready(service))
    }

    /// Where it last told the callers that the instances are.
    pub fn view(&self) -> &View {
        self.endpoints.view()
    }

    /// How a node stands.
    pub fn presence(&self, node: usize) -> Presence {
        let member = &self.members[node];
        match member.alive {
            true => match member.leave {
                Leave::Stays => Presence::Alive,
                Leave::Shunned => Presence::Shunned,
                Leave::Leaves | Leave::Released => Presence::Leaving,
            },
            false if member.leave == Leave::Released => Presence::Left,
            false if member.heard == Time::ZERO && !self.mesh.nodes[node].is_there_at_start() => Presence::Awaited,
            false => Presence::Dead,
        }
    }

    /// Instances, of any service, that a node is to have.
    pub fn placed_on(&self, node: usize) -> u32 {
        self.machines.instances(node)
    }
}
