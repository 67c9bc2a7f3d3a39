//! Failure detection: a node that is silent for too long is dead, provided that the coordinator could receive all that
//! time.
//!
//! A late timer shows that the coordinator's own machine stood still. Messages that nodes sent meanwhile wait behind
//! the timer, so their silence says nothing about them. Two rules follow:
//!
//! - Late by more than a heartbeat: the timeouts of all nodes start anew.
//! - Late by less: the watch is repeated after the same delay, and judges then. By that time the coordinator has read
//!   the waiting messages. It is repeated once only, so that a machine whose timers are always late still finds the
//!   dead nodes.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Coordinator;
use super::progress::{Leave, NodeProgress};
use crate::actors::MeshCx;
use crate::diary::Seen;
use crate::message::Tick;
use crate::mutant::Mutant;

/// Timer of the failure detection.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Time of the next check.
    due: Time,
    /// Silence before this time counts against no node.
    since: Time,
    /// The next look makes up for one that was late.
    again: bool,
}

impl Coordinator {
    /// Plans the first look. The coordinator has not listened before this time.
    pub(super) fn begin_watch(&mut self, cx: &mut MeshCx<'_>) {
        self.watch.since = cx.now();
        let every = self.mesh.control.heartbeat;
        if !every.is_zero() {
            self.watch_again_in(every, false, cx);
        }
    }

    fn watch_again_in(&mut self, span: Span, again: bool, cx: &mut MeshCx<'_>) {
        self.watch.due = cx.now() + span;
        self.watch.again = again;
        cx.arm(self.watch.due, Tick::Watch);
    }

    /// Declares silent nodes dead, and places their instances on other nodes.
    pub(super) fn watch(&mut self, cx: &mut MeshCx<'_>) {
        let (now, every) = (cx.now(), self.mesh.control.heartbeat);
        let late = now.since(self.watch.due);
        if late > every {
            self.watch.since = now;
            return self.watch_again_in(every, false, cx);
        }
        let silent = self.silent(now);
        if !silent.is_empty() && !late.is_zero() && !self.watch.again {
            return self.watch_again_in(late, true, cx);
        }
        self.watch_again_in(every, false, cx);
        if silent.is_empty() {
            return;
        }
        for node in &silent {
            // A node whose release was confirmed has left: its message was lost. Any other has died.
            if self.members[*node].leave == Leave::Leaves {
                self.stays(*node);
            }
        }
        self.are_gone(&silent, cx);
    }

    /// Places the instances of nodes that have left or are dead on other nodes.
    pub(super) fn are_gone(&mut self, nodes: &[usize], cx: &mut MeshCx<'_>) {
        for node in nodes {
            let has_left = self.members[*node].leave == Leave::Released;
            cx.note(if has_left { "left" } else { "dead" }, *node as u64, 0);
            self.sighted(*node, if has_left { Seen::Left } else { Seen::Dead }, cx);
            self.machines.set_alive(*node, false);
            self.endpoints.node_failed(self.mesh.node_actor(*node));
            // What it reported is forgotten: if it is back without a new life, it is asked for all of it.
            if !Mutant::ReportsOfDeadKept.is_on() {
                self.members[*node].report = 0;
            }
            self.stop_waiting_for(*node, cx);
        }
        self.repair_placed_on(nodes, cx);
        self.publish_soon(cx);
    }

    /// Nodes that are thought alive, and silent for longer than patience lasts.
    fn silent(&self, now: Time) -> Vec<usize> {
        let control = &self.mesh.control;
        let patience = control.heartbeat * u64::from(control.missed);
        let since = self.watch.since;
        let is_silent = |member: &NodeProgress| member.alive && now.since(member.heard.max(since)) > patience;
        (0..self.members.len()).filter(|node| is_silent(&self.members[*node])).collect()
    }
}
