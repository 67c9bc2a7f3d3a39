//! A leaving node: its instances are placed on other nodes, become ready there, and are drained here only then.

use meshsim_actor::ActorId;

use super::Coordinator;
use super::placement::needed_still;
use super::progress::Leave;
use crate::actors::MeshCx;
use crate::diary::Seen;
use crate::message::Msg;
use crate::model::ServiceId;

impl Coordinator {
    /// Handles a node's request to leave. The node repeats it until it is informed that nothing is placed on it any
    /// more.
    pub(super) fn leaving(&mut self, node: usize, incarnation: u32, cx: &mut MeshCx<'_>) {
        if incarnation < self.members[node].incarnation || !self.members[node].alive {
            return;
        }
        if matches!(self.members[node].leave, Leave::Stays | Leave::Shunned) {
            cx.note("leaving", node as u64, 0);
            self.empty(node, Leave::Leaves, cx);
        }
        self.release(cx);
        if self.machines.instances(node) == 0 {
            self.set_leave(node, Leave::Released);
            cx.send(self.mesh.node_actor(node), Msg::Released);
        }
    }

    /// Others refuse to talk with a node: it gets nothing more in this life.
    pub(super) fn shun(&mut self, node: ActorId, cx: &mut MeshCx<'_>) {
        if let Some(node) = self.mesh.node_index(node)
            && self.members[node].leave == Leave::Stays
        {
            cx.note("shun", node as u64, 0);
            self.sighted(node, Seen::Shunned, cx);
            self.empty(node, Leave::Shunned, cx);
        }
    }

    /// Stops placing instances on a node, and places those that it has on other nodes.
    fn empty(&mut self, node: usize, leave: Leave, cx: &mut MeshCx<'_>) {
        self.set_leave(node, leave);
        self.machines.set_leaving(node, true);
        self.repair_placed_on(&[node], cx);
    }

    /// A node says that it has left.
    pub(super) fn left(&mut self, node: usize, incarnation: u32, cx: &mut MeshCx<'_>) {
        if incarnation < self.members[node].incarnation || !self.members[node].alive {
            return;
        }
        self.set_leave(node, Leave::Released);
        self.machines.set_leaving(node, true);
        self.are_gone(&[node], cx);
    }

    /// A new life of a node stays until it says otherwise.
    pub(super) fn stays(&mut self, node: usize) {
        self.set_leave(node, Leave::Stays);
        self.machines.set_leaving(node, false);
    }

    /// The only one who writes this.
    fn set_leave(&mut self, node: usize, leave: Leave) {
        self.members[node].leave = leave;
        match leave {
            Leave::Stays => _ = self.departing.remove(&node),
            Leave::Leaves | Leave::Released | Leave::Shunned => _ = self.departing.insert(node),
        }
    }

    /// True if a node has left, and this is of the life in which it left: a message that another has overtaken.
    pub(super) fn is_too_late(&self, node: usize, msg: &Msg) -> bool {
        let member = &self.members[node];
        let life = match msg {
            Msg::Ack(ack) | Msg::Hello(ack) => ack.incarnation,
            Msg::Heartbeat(heartbeat) => heartbeat.incarnation,
            Msg::Report(report) => report.incarnation,
            Msg::Leaving { incarnation } | Msg::Left { incarnation } => *incarnation,
            _ => 0,
        };
        member.leave == Leave::Released && !member.alive && life <= member.incarnation
    }

    /// Instances elsewhere may have become ready: those that they replace go from nodes that leave.
    pub(super) fn release(&mut self, cx: &mut MeshCx<'_>) {
        if self.departing.iter().any(|node| self.members[*node].alive) {
            let hit: Vec<usize> = (0..self.services.len()).filter(|at| self.releases(*at)).collect();
            self.repair(&hit, cx);
        }
    }

    /// True if nodes that leave have more of a service than is needed of them still.
    fn releases(&self, at: usize) -> bool {
        let (service, state) = (ServiceId(at as u16), &self.services[at]);
        let ready_on = |node, version| self.ready_on(service, node, version);
        let (staying, leaving) = self.machines.split(&state.placed);
        let replaces = |node, version| self.replaces_on(service, node, version);
        !leaving.is_empty() && needed_still(&leaving, &staying, &state.wanted, &ready_on, &replaces) != leaving
    }

    /// Instances of a version that are ready on a node, by its last report.
    pub(super) fn ready_on(&self, service: ServiceId, node: u32, version: u32) -> u32 {
        self.endpoints.ready_on(service, self.mesh.node_actor(node as usize), version)
    }

    /// Of these, the number that is certain to be ready when all steps are applied: 0 for a node that has an earlier
    /// step of the service to apply, because that step may remove what it reported.
    pub(super) fn replaces_on(&self, service: ServiceId, node: u32, version: u32) -> u32 {
        let is_behind = self.members[node as usize].acked < self.services[service.index()].step;
        if is_behind { 0 } else { self.ready_on(service, node, version) }
    }
}
