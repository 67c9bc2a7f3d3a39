//! Collection of results and traces after the end of the run, and of those that leave before.

use meshsim_actor::Counts;
use meshsim_wire::LONG_BYTES_MAX;

use super::*;
use crate::cluster::departures::Departure;

/// Longest time without results after the end of the run, before the hub stops waiting for the missing ones.
const COLLECT: Duration = Duration::from_secs(20);
/// Longest wait for a process whose connection breaks after the end of the run.
const RETURN: Duration = Duration::from_secs(3);

/// Results of an actor, as far as they have arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct PartialResults {
    pub(super) bytes: Vec<u8>,
    pub(super) is_whole: bool,
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Time at which it ended.
    pub ended: Time,
    /// True if the run ended early.
    pub cut_short: bool,
    /// Results of each actor, by id; `None` if its process was lost or never joined.
    pub findings: Vec<Option<Vec<u8>>>,
    /// Reports of the processes that sent their results. The first is the hub's.
    pub processes: Vec<ProcessReport>,
    /// Sum of their counters.
    pub counts: Counts,
    /// Actors whose processes were lost, and that no other process took over.
    pub lost: Vec<String>,
    /// Actors that moved to another process because theirs was lost during the run, each with the time at which the new
    /// process was ready. The earlier results of the actor are lost. In order of time.
    pub restarts: Vec<(ActorId, Time)>,
    /// Actors that left during the run. Their results are in `findings`, or in `former` if they came back.
    pub departures: Vec<Departure>,
    /// Results of actors in incarnations that left and that another incarnation followed.
    pub former: Vec<(ActorId, Vec<u8>)>,
    /// Actors for which no process joined.
    pub absent: Vec<ActorId>,
    /// Faults that were submitted during the run.
    pub faults: Vec<Fault>,
    /// Faults that were ended manually, with the time. The index counts the faults of the experiment first, then the
    /// submitted ones.
    pub healed: Vec<(usize, Time)>,
    /// Errors in the collection of the traces.
    pub trace_errors: Vec<String>,
}

impl HubMachine {
    /// True if this process still has to send the results of the actor.
    pub(super) fn awaits(&self, id: ProcessId, actor: ActorId) -> bool {
        let is_whole = self.findings.get(&actor).is_some_and(|found| found.is_whole);
        self.assignments.holder(actor) == Some(id) && !is_whole
    }

    pub(super) fn keep_findings(&mut self, actor: ActorId, part: &[u8], last: bool) -> Result<(), Closure> {
        let found = self.findings.entry(actor).or_default();
        if found.bytes.len() + part.len() > LONG_BYTES_MAX {
            return Err(Closure::Violation(format!("says that an actor found more than {LONG_BYTES_MAX} bytes")));
        }
        found.bytes.extend_from_slice(part);
        found.is_whole = last;
        self.note_handed_in();
        Ok(())
    }

    pub(super) fn note_handed_in(&mut self) {
        self.handed_in = self.attention.paid();
    }

    /// Takes the report of a process that has sent all its results.
    pub(super) fn done(
        &mut self,
        id: ProcessId,
        connection: ConnectionId,
        report: ProcessReport,
        out: &mut Vec<HubEffect>,
    ) {
        let actors = self.names(id).map(str::to_owned).collect();
        let process = &mut self.processes[id as usize];
        // It sent its identity before.
        let mut worked = report.worked;
        worked.retain(|it| process.peer.sender.actors.iter().any(|seated| seated.actor == it.actor));
        process.report = Some(ProcessReport {
            actors,
            hostname: process.join.hostname.clone(),
            pid: process.join.pid,
            worked,
            trace_error: report.trace_error.map(brief),
            ..report
        });
        if process.has_left {
            tell(connection, Control::Leave, out);
        }
        self.note_handed_in();
        self.is_changed = true;
    }

    /// Takes the report of the hub's process, and begins to wait for the others.
    pub(super) fn reported(&mut self, report: ProcessReport) {
        self.processes[HUB as usize].report = Some(report);
        self.note_handed_in();
        self.is_changed = true;
    }

    /// Lets all processes go once none owes results, or those that do have been silent for too long.
    pub(super) fn finish_if_collected(&mut self, out: &mut Vec<HubEffect>) {
        if self.processes[HUB as usize].report.is_none() {
            return;
        }
        if self.processes.iter().any(|process| self.owes(process)) {
            if self.attention.paid() - self.handed_in <= COLLECT.as_nanos() as u64 {
                return;
            }
            let line = "some processes did not hand in what they have, and are not waited for any longer";
            out.push(HubEffect::Log(Level::Warn, line.into()));
        }
        self.is_finished = true;
        // Processes that do not receive it notice the end of the connection.
        self.tell_all(Control::Leave, None, out);
        out.push(HubEffect::Finish);
    }

    /// True if the hub waits for the results of this process.
    fn owes(&self, process: &Process) -> bool {
        let is_here = match process.standing {
            Standing::Ready | Standing::Returning => true,
            Standing::Lost => self.attention.paid() - process.lost_at < RETURN.as_nanos() as u64,
            Standing::Joining | Standing::Replaced => false,
        };
        is_here && process.report.is_none()
    }

    /// Takes the result of the run out of the machine.
    pub fn result(&mut self) -> RunResult {
        let mut findings = std::mem::take(&mut self.findings);
        let count = self.spec.actors.len() as u32;
        let mut whole =
            |actor| findings.remove(&ActorId(actor)).filter(|found| found.is_whole).map(|found| found.bytes);
        let findings: Vec<Option<Vec<u8>>> = (0..count).map(&mut whole).collect();
        let without: Vec<ActorId> = (0..count).map(ActorId).filter(|actor| findings[actor.index()].is_none()).collect();
        let lost = without.iter().filter(|actor| self.assignments.holder(**actor).is_some());
        let absent = without.iter().filter(|actor| !self.assignments.was_taken(**actor));
        let processes: Vec<ProcessReport> =
            self.processes.iter_mut().filter_map(|process| process.report.take()).collect();
        let mut counts = Counts::default();
        processes.iter().for_each(|process| counts.merge(&process.counts));
        let Departures { all: departures, former, .. } = std::mem::take(&mut self.departures);
        RunResult {
            ended: self.ended,
            cut_short: self.cut_short,
            counts,
            lost: lost.map(|actor| self.assignments.name(*actor).to_owned()).collect(),
            absent: absent.copied().collect(),
            restarts: std::mem::take(&mut self.restarts),
            departures,
            former,
            faults: std::mem::take(&mut self.faults),
            healed: std::mem::take(&mut self.healed),
            trace_errors: processes.iter().filter_map(|process| process.trace_error.clone()).collect(),
            findings,
            processes,
        }
    }
}
