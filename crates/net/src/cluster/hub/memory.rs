//! What a hub keeps on its disk, so that a process that takes its place goes on with the run.
//!
//! It is kept before anything that follows from it is told: an incarnation is granted once, and a run that has begun does
//! not begin again. Connections are not in it. For a hub that goes on all members are lost, until they are back.

use serde::{Deserialize, Serialize};

use super::*;
use crate::cluster::control::Assigned;
use crate::cluster::departures::Departures;

/// The part of a hub that outlives its process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HubMemory {
    run: u64,
    /// The processes, by id; the first is the hub's.
    processes: Vec<KnownProcess>,
    /// Of each actor: the process that hosts it, the machine that did last, and the number of processes that did and are
    /// gone.
    places: Vec<(Option<ProcessId>, Option<String>, u32)>,
    zero: Option<u64>,
    /// End of the run, once that was decided.
    ended: Option<Time>,
    cut_short: bool,
    faults: Vec<Fault>,
    healed: Vec<(usize, Time)>,
    departures: Departures,
    restarts: Vec<(ActorId, Time)>,
    /// Results that are complete: a process that is told that it may leave does not keep its own.
    findings: Vec<(ActorId, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KnownProcess {
    join: Join,
    peer: Peer,
    /// It has actors to come back to.
    has_begun: bool,
    is_replaced: bool,
    has_left: bool,
    is_refused: bool,
    report: Option<ProcessReport>,
}

/// Connection on which a process said to the former hub that it was ready. No connection of this hub has the number.
const FORMER: ConnectionId = ConnectionId(u64::MAX);

impl HubMemory {
    /// Id of the run.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Number of the faults that were submitted.
    pub fn faults(&self) -> usize {
        self.faults.len()
    }
}

impl HubMachine {
    /// What is to be kept.
    pub fn memory(&self) -> HubMemory {
        let known = |process: &Process| KnownProcess {
            join: process.join.clone(),
            peer: process.peer.clone(),
            has_begun: process.ready_by.is_some(),
            is_replaced: process.standing == Standing::Replaced,
            has_left: process.has_left,
            is_refused: process.is_refused,
            report: process.report.clone(),
        };
        let whole = self.findings.iter().filter(|(_, found)| found.is_whole);
        HubMemory {
            run: self.spec.run,
            processes: self.processes.iter().map(known).collect(),
            places: self.assignments.places(),
            zero: self.zero,
            ended: (self.phase == Phase::Ending).then_some(self.ended),
            cut_short: self.cut_short,
            faults: self.faults.clone(),
            healed: self.healed.clone(),
            departures: self.departures.clone(),
            restarts: self.restarts.clone(),
            findings: whole.map(|(actor, found)| (*actor, found.bytes.clone())).collect(),
        }
    }

    /// A hub that goes on where another one was. `count`: the hub's count now, which has not gone back since. Its own
    /// actors begin their next incarnation.
    pub fn recalled(count: u64, spec: HubSpec, memory: HubMemory, out: &mut Vec<HubEffect>) -> Self {
        let mut hub = HubMachine::new(count, HubSpec { run: memory.run, ..spec });
        hub.assignments.recall(memory.places);
        hub.assignments.release(HUB, true);
        let here = hub.spec.here.clone();
        let actors: Vec<Assigned> = here.iter().map(|actor| hub.assignments.take(*actor, HUB)).collect();
        hub.processes[HUB as usize].peer.sender.actors = actors;
        for known in memory.processes.into_iter().skip(1) {
            let KnownProcess { join, peer, has_begun, is_replaced, has_left, is_refused, report } = known;
            let process = Process { has_left, is_refused, report, ..Process::new(join, peer, None) };
            let ready_by = has_begun.then_some(FORMER);
            let standing = if is_replaced { Standing::Replaced } else { Standing::Lost };
            hub.processes.push(Process { standing, ready_by, ..process });
            let id = hub.processes.len() as ProcessId - 1;
            let has_gone = has_left && hub.processes[id as usize].report.is_some();
            // A process that was about to begin joins anew.
            if !is_replaced && (has_gone || !has_begun) {
                hub.assignments.release(id, has_begun);
                hub.forget(id);
            }
        }
        (hub.zero, hub.cut_short) = (memory.zero, memory.cut_short);
        (hub.faults, hub.healed, hub.restarts) = (memory.faults, memory.healed, memory.restarts);
        hub.departures = memory.departures;
        let whole = |bytes| PartialResults { bytes, is_whole: true };
        hub.findings = memory.findings.into_iter().map(|(actor, bytes)| (actor, whole(bytes))).collect();
        // Those of its own actors are of the former hub.
        here.iter().for_each(|actor| drop(hub.findings.remove(actor)));
        let Some(zero) = hub.zero else { return hub };
        hub.phase = Phase::Running;
        let end = hub.spec.end;
        out.push(HubEffect::Begin { zero, end });
        here.iter().for_each(|actor| hub.restarts.push((*actor, hub.now())));
        if let Some(at) = memory.ended {
            (hub.phase, hub.ended) = (Phase::Ending, at);
            out.push(HubEffect::End { at });
        }
        let waits = hub.processes.iter().filter(|process| process.standing == Standing::Lost).count();
        let line = format!("goes on with the run at {}, and waits for {waits} processes", hub.now());
        out.push(HubEffect::Log(Level::Info, line));
        hub
    }
}
