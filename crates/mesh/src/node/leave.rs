//! A node leaves the mesh on request, without losing a request in flight.
//!
//! It tells the coordinator that it leaves, until the coordinator replies that nothing is placed on it any more. Its
//! instances drain as in any step. When all are gone and no request is in flight, or when its grace has passed, it
//! reports that it has left, and sends nothing from then on.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Node;
use super::hosting::HostedServices;
use crate::actors::MeshCx;
use crate::message::{Msg, Tick};
use crate::model::COORDINATOR;

/// Progress of a node that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Leave {
    /// Latest time at which it leaves, with work unfinished if need be.
    by: Time,
    /// The coordinator has placed elsewhere all that was to be here.
    released: bool,
    left: bool,
}

impl Node {
    /// Handles an operator's request that this node leaves within `grace`. A repeated request changes nothing.
    pub(super) fn leave(&mut self, grace: Span, cx: &mut MeshCx<'_>) {
        let hosting = self.hosting.get_or_insert_with(|| Box::new(HostedServices::default()));
        if hosting.leave.is_none() {
            hosting.leave = Some(Leave { by: cx.now() + grace, released: false, left: false });
            self.go_on_leaving(cx);
        }
    }

    /// The coordinator places nothing here any more.
    pub(super) fn released(&mut self, cx: &mut MeshCx<'_>) {
        if let Some(leave) = self.hosting.as_mut().and_then(|hosting| hosting.leave.as_mut()) {
            leave.released = true;
            cx.note("released", 0, 0);
        }
    }

    /// Leaves if it can, or says again that it wants to. Also after a reboot.
    pub(super) fn go_on_leaving(&mut self, cx: &mut MeshCx<'_>) {
        let is_idle = self.in_flight() == 0 && self.hosting.as_ref().is_none_or(|hosting| hosting.is_empty());
        let Some(leave) = self.hosting.as_mut().and_then(|hosting| hosting.leave.as_mut()) else { return };
        let incarnation = cx.incarnation();
        if leave.left {
            return;
        }
        if leave.released && is_idle || leave.by <= cx.now() {
            leave.left = true;
            cx.note("left", u64::from(!is_idle), 0);
            cx.send(COORDINATOR, Msg::Left { incarnation });
            return;
        }
        if !leave.released {
            cx.send(COORDINATOR, Msg::Leaving { incarnation });
        }
        cx.arm(leave.by.min(cx.now() + self.mesh.control.resend), Tick::Leave);
    }

    /// True once it was asked to leave and has left.
    pub fn has_left(&self) -> bool {
        self.hosting.as_ref().and_then(|hosting| hosting.leave.as_ref()).is_some_and(|leave| leave.left)
    }
}
