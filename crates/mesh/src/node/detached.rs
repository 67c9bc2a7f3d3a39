//! Blocks of scripts that are not waited for ([`ScriptStep::Async`](crate::model::ScriptStep::Async)).
//!
//! A block is a task of its own. It has no slot and no deadline, and sends no reply; the instance on which it runs
//! waits for it before it goes, at most for its grace. It draws as its request does: its instructions are others.

use super::Node;
use super::hosting::{HostedService, HostedServices};
use super::work::{FrameKey, Role, ScriptFrame, TASKS_MAX, Task, TaskKey, Work, number};
use crate::actors::MeshCx;
use crate::mark;
use crate::measure::Failure;

impl Work {
    /// Begins the block at instruction `pc` beside `frame` of task `of`; returns its first frame. `None`: the node
    /// holds as much as it can, and the block has failed as refused.
    #[inline(never)]
    pub(super) fn detach(
        &mut self,
        frame: FrameKey,
        of: TaskKey,
        pc: u32,
        hosting: &mut HostedServices,
        cx: &mut MeshCx<'_>,
    ) -> Option<FrameKey> {
        let now = cx.now();
        let task = &self.tasks[of];
        let (hosted, at) = hosting.instance_of(&task.request);
        if self.tasks.len() >= TASKS_MAX {
            if let Some(served) = hosted.measured(now) {
                served.blocks.count(Some(Failure::Refused));
            }
            return None;
        }
        hosted.instances[at].blocks += 1;
        let task = self.tasks.insert(task.beside(now, Role::Block));
        let first = self.frames.insert(ScriptFrame::first(task, pc));
        cx.note(mark::DETACHED, number(frame), number(task));
        cx.note(mark::SLOT, number(task), number(first));
        Some(first)
    }
}

impl Node {
    /// The script of a block has ended.
    #[inline(never)]
    pub(super) fn end_block(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return };
        let Some(task) = work.tasks.remove(key) else { return };
        let (hosted, at) = hosting.instance_of(&task.request);
        ended(hosted, &task, key, task.failure, cx);
        hosted.instances[at].blocks -= 1;
        hosted.remove_if_closed(at, cx);
    }
}

/// Counts a block that has ended.
pub(super) fn ended(
    hosted: &mut HostedService,
    block: &Task,
    key: TaskKey,
    failure: Option<Failure>,
    cx: &mut MeshCx<'_>,
) {
    if let Some(served) = hosted.measured(block.arrived) {
        served.blocks.count(failure);
    }
    cx.note(mark::BLOCK_ENDED, number(key), 0);
}
