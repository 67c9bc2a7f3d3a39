//! Processes that join, break off, return, and are replaced.

use super::*;
use crate::cluster::control::{Assigned, refusal};

/// Processes that may join in one run, including those that are gone.
const PROCESSES_MAX: usize = 100_000;

impl HubMachine {
    /// Admits a process on a new connection: one that is known with its actors, another one with free actors.
    pub(super) fn admit(
        &mut self,
        connection: ConnectionId,
        join: &Join,
        address: String,
        out: &mut Vec<HubEffect>,
    ) -> Result<Joined, Refusal> {
        let is_same = |known: &&mut Process| known.join.boot_id == join.boot_id;
        // The same boot id: its connection broke, whether or not this process noticed.
        let same = self.processes.iter_mut().skip(1).find(is_same);
        if let Some(known) = same.as_ref().filter(|known| known.report.is_some()) {
            // Its results are here. It was not told so: without actors it has nothing left to do.
            let process = known.peer.sender.process;
            return Ok(self.joined(process, Vec::new(), true));
        }
        if same.as_ref().is_some_and(|known| known.standing == Standing::Replaced) {
            return Err(refusal("another process has taken its place", false));
        }
        if self.is_finished {
            return Err(refusal("the run is over", false));
        }
        if let Some(known) = same.filter(|known| known.may_return(join)) {
            known.standing = Standing::Returning;
            known.peer.address = address;
            let former = known.connection.replace(connection);
            out.extend(former.filter(|it| self.connections.contains_key(it)).map(HubEffect::Discard));
            let Sender { process, actors, .. } = known.peer.sender.clone();
            self.connections.insert(connection, process);
            return Ok(self.joined(process, actors, true));
        }
        if self.phase == Phase::Ending {
            return Err(refusal("the run is over", false));
        }
        let process = self.processes.len() as ProcessId;
        if self.processes.len() >= PROCESSES_MAX {
            return Err(refusal("too many processes have joined this run", false));
        }
        let actors = self.seat(join, process)?;
        let sender = Sender { process, boot_id: join.boot_id, actors: actors.clone() };
        self.processes.push(Process::new(join.clone(), Peer { sender, address }, Some(connection)));
        self.connections.insert(connection, process);
        Ok(self.joined(process, actors, false))
    }

    fn joined(&self, process: ProcessId, actors: Vec<Assigned>, resumed: bool) -> Joined {
        let HubSpec { run, is_busy, is_traced, payload_bytes, .. } = self.spec;
        Joined { run, process, actors, resumed, is_busy, is_traced, payload_bytes }
    }

    /// Handles the end of a connection.
    pub(super) fn lost(&mut self, connection: ConnectionId, why: &str, out: &mut Vec<HubEffect>) {
        let speaker = self.speaker(connection);
        self.connections.remove(&connection);
        let Some(id) = speaker else { return };
        let lost_at = self.attention.paid();
        let process = &mut self.processes[id as usize];
        (process.standing, process.lost_at) = (Standing::Lost, lost_at);
        let (has_left, handed_in) = (process.has_left, process.report.is_some());
        let was_ready = process.ready_by.is_some();
        out.push(HubEffect::Discard(connection));
        let names = some(self.names(id));
        if has_left && handed_in {
            out.push(HubEffect::Log(Level::Info, format!("process {id}, with {names}, has left")));
            self.assignments.release(id, true);
            self.forget(id);
        } else {
            if !handed_in {
                out.push(HubEffect::Log(Level::Warn, format!("process {id}, with {names}, {why}")));
            }
            if !was_ready {
                // It has no actors to come back to.
                self.assignments.release(id, false);
                self.forget(id);
            }
        }
        self.is_changed = true;
    }

    /// Drops a process that no longer has actors to come back to.
    pub(super) fn forget(&mut self, id: ProcessId) {
        let process = &mut self.processes[id as usize];
        (process.standing, process.connection) = (Standing::Replaced, None);
        // Keeps little of a process, so that one may join and leave any number of times. A process that had become
        // ready is recognised again.
        let boot_id = if process.ready_by.is_some() { process.join.boot_id } else { 0 };
        process.join = Join { boot_id, ..Join::default() };
        process.peer = Peer { sender: Sender { process: id, boot_id: 0, actors: Vec::new() }, address: String::new() };
    }

    /// Assigns actors to a process: if need be, those of a lost process.
    fn seat(&mut self, join: &Join, process: ProcessId) -> Result<Vec<Assigned>, Refusal> {
        // A process from the machine of a lost one, or one that names its actors, replaces it.
        let wants = |(_, lost): &(ProcessId, &Process)| {
            lost.join.hostname == join.hostname && lost.join.names == join.names
                || self.names_of(lost).any(|name| join.names.iter().any(|wanted| wanted == name))
        };
        let all = (0..).zip(&self.processes).filter(|(_, process)| process.standing == Standing::Lost);
        let (wanted, others): (Vec<_>, Vec<_>) = all.partition(wants);
        let mut replaced = wanted.len().min(1);
        let lost: Vec<ProcessId> = wanted.into_iter().chain(others).map(|(id, _)| id).collect();
        // Takes over no more processes than needed: the others may come back.
        loop {
            match self.reassign(&lost[..replaced], join, process) {
                Err(refused) if refused.retryable && replaced < lost.len() => replaced += 1,
                other => return other,
            }
        }
    }

    fn reassign(&mut self, lost: &[ProcessId], join: &Join, process: ProcessId) -> Result<Vec<Assigned>, Refusal> {
        if lost.is_empty() {
            return self.assignments.assign(join, process);
        }
        // On a copy: a process that is refused in the end must not take actors from any other.
        let mut assignments = self.assignments.clone();
        lost.iter().for_each(|lost| assignments.release(*lost, self.phase != Phase::Waiting));
        let seated = assignments.assign(join, process)?;
        let is_replaced = |lost: &ProcessId| seated.iter().any(|it| self.assignments.holder(it.actor) == Some(*lost));
        let replaced: Vec<ProcessId> = lost.iter().copied().filter(is_replaced).collect();
        if replaced.len() < lost.len() {
            // Some replaced processes keep all their actors: they may come back.
            return self.reassign(&replaced, join, process);
        }
        self.assignments = assignments;
        lost.iter().for_each(|lost| self.forget(*lost));
        Ok(seated)
    }
}

impl Process {
    /// True if the process that joins is this one, and has something to come back to.
    fn may_return(&self, join: &Join) -> bool {
        matches!(self.standing, Standing::Ready | Standing::Lost | Standing::Returning)
            && (&self.join.role, &self.join.hostname, self.join.pid) == (&join.role, &join.hostname, join.pid)
    }
}
