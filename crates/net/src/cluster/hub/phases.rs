//! The phases of a run: it begins when all needed processes are ready, and ends at its time or when it is told to.

use meshsim_actor::Span;

use super::*;

/// Time from the order to begin until the start, so that the order arrives everywhere before: this, and more for each
/// process.
const LEAD: Duration = Duration::from_millis(100);
const LEAD_EACH: Duration = Duration::from_millis(3);
/// Time from the order to end early until the end.
pub(crate) const TAIL: Duration = Duration::from_millis(20);

impl HubMachine {
    /// Goes on to the next phase if its condition holds.
    pub(super) fn advance(&mut self, out: &mut Vec<HubEffect>) {
        if self.is_finished {
            return;
        }
        if self.phase == Phase::Waiting {
            if self.missing().next().is_none() {
                self.begin(out);
            } else if self.is_stopped {
                self.is_finished = true;
                out.push(HubEffect::Stopped { missing: self.missing().map(str::to_owned).collect() });
            }
        }
        if self.phase == Phase::Running && (self.is_stopped || self.now() >= self.spec.end) {
            self.end(out);
        }
        if self.phase == Phase::Ending {
            self.finish_if_collected(out);
        }
    }

    fn begin(&mut self, out: &mut Vec<HubEffect>) {
        let count = self.processes.iter().filter(|process| process.standing == Standing::Ready).count() as u32;
        let zero = self.count + (LEAD + LEAD_EACH * count).as_nanos() as u64;
        let end = self.spec.end;
        self.tell_all(Control::Begin { zero, end }, None, out);
        out.push(HubEffect::Begin { zero, end });
        (self.zero, self.phase) = (Some(zero), Phase::Running);
        out.push(HubEffect::Log(Level::Info, format!("all {count} processes are there: the run begins")));
    }

    fn end(&mut self, out: &mut Vec<HubEffect>) {
        self.phase = Phase::Ending;
        self.cut_short = self.now() < self.spec.end && self.spec.end < Time::NEVER;
        self.ended = self.spec.end.min(self.now() + Span::from_nanos(TAIL.as_nanos() as u64));
        out.push(HubEffect::End { at: self.ended });
        self.tell_all(Control::End { at: self.ended }, None, out);
    }

    /// Marks a process as ready and sends it the manual faults after the first `faults`.
    pub(super) fn ready(
        &mut self,
        id: ProcessId,
        connection: ConnectionId,
        faults: u32,
        out: &mut Vec<HubEffect>,
    ) -> Result<(), Closure> {
        let process = &mut self.processes[id as usize];
        if process.standing == Standing::Joining && self.phase == Phase::Ending {
            // It has no results, and the hub does not wait for it.
            return Err(Closure::Denied("the run is over".into()));
        }
        if process.ready_by.replace(connection) == Some(connection) {
            return Err(Closure::Violation("said twice that it is ready".into()));
        }
        let is_new = std::mem::replace(&mut process.standing, Standing::Ready) == Standing::Joining;
        let (peer, has_left) = (process.peer.clone(), process.has_left);
        if is_new && self.phase != Phase::Waiting {
            let begun = peer.sender.actors.iter().filter(|seated| seated.incarnation > 0);
            begun.for_each(|seated| self.is_back(seated.actor));
        }
        // The manual changes of the network before it joined, or while it was away.
        let missed = self.faults.iter().skip(faults as usize);
        missed.for_each(|fault| tell(connection, Control::Fault(Box::new(fault.clone())), out));
        for (index, at) in &self.healed {
            tell(connection, Control::EndFault { fault: *index as u32, at: *at }, out);
        }
        out.push(HubEffect::Reach { connection, sender: peer.sender.clone() });
        let ready = self.processes.iter().filter(|other| other.standing == Standing::Ready);
        tell(connection, Control::Peers(ready.map(|other| other.peer.clone()).collect()), out);
        self.tell_all(Control::Peers(vec![peer.clone()]), Some(id), out);
        if let Some(zero) = self.zero {
            tell(connection, Control::Begin { zero, end: self.spec.end }, out);
        }
        if self.phase == Phase::Ending || has_left {
            // It sends its results again from the start. Of its trace it may have sent a part: that part is kept.
            peer.sender.actors.iter().for_each(|seated| drop(self.findings.remove(&seated.actor)));
        }
        if self.phase == Phase::Ending {
            tell(connection, Control::End { at: self.ended }, out);
        }
        let line = format!("process {id} at {} is ready, with {}", peer.address, some(self.names(id)));
        out.push(HubEffect::Log(Level::Info, line));
        self.is_changed = true;
        Ok(())
    }

    /// Records that an actor has begun another incarnation during the run.
    fn is_back(&mut self, actor: ActorId) {
        let now = self.now();
        // Results that are complete before the end come from an actor that had left.
        let found = self.findings.remove(&actor).filter(|found| found.is_whole);
        if !found.is_some_and(|found| self.departures.comes_back(actor, now, found.bytes)) {
            self.restarts.push((actor, now));
        }
    }

    /// True if this process takes part in the run, and may report that it leaves: again, if it has returned since.
    pub(super) fn may_leave(&self, id: ProcessId) -> bool {
        let process = &self.processes[id as usize];
        process.standing == Standing::Ready && process.report.is_none()
    }

    /// Records that the actors of a process have left.
    pub(super) fn leaves(&mut self, id: ProcessId) {
        let now = self.now();
        let process = &mut self.processes[id as usize];
        if std::mem::replace(&mut process.has_left, true) {
            return;
        }
        process.peer.sender.actors.iter().for_each(|seated| self.departures.leaves(seated.actor, now));
    }
}
