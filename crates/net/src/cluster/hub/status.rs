//! Status of a cluster, for people and programs.

use super::*;
use crate::cluster::control::refusal;

/// Phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all needed processes have joined.
    Waiting,
    /// The run is in progress.
    Running,
    /// The run has ended, and results are collected.
    Ending,
}

/// Status of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// Phase of the run.
    pub phase: Phase,
    /// Current time of the run.
    pub now: Time,
    /// Names of the needed actors that no process hosts.
    pub missing: Vec<String>,
    /// All processes that joined and were not replaced, the hub first.
    pub processes: Vec<ProcessState>,
    /// Faults submitted so far.
    pub faults: Vec<Fault>,
    /// See [`RunResult::healed`].
    pub healed: Vec<(usize, Time)>,
}

/// Status of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessState {
    /// Names of its actors.
    pub actors: Vec<String>,
    /// Host name of its machine, and its process id there.
    pub hostname: String,
    /// See `hostname`.
    pub pid: u32,
    /// Its address.
    pub address: String,
    /// True if it is connected.
    pub connected: bool,
}

impl HubMachine {
    /// Phase of the run.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Status of the cluster at this count of the hub.
    pub fn status(&self, count: u64) -> ClusterStatus {
        let state = |process: &Process| ProcessState {
            actors: self.names_of(process).map(str::to_owned).collect(),
            hostname: process.join.hostname.clone(),
            pid: process.join.pid,
            address: process.peer.address.clone(),
            connected: process.standing == Standing::Ready,
        };
        ClusterStatus {
            phase: self.phase,
            now: self.run_time(count),
            missing: self.missing().map(str::to_owned).collect(),
            processes: self.processes.iter().filter(|it| it.standing != Standing::Replaced).map(state).collect(),
            faults: self.faults.clone(),
            healed: self.healed.clone(),
        }
    }

    /// Status of the run in one line; a refusal while it cannot begin.
    pub fn health(&self) -> Result<String, Refusal> {
        match self.phase {
            Phase::Waiting => Err(refusal(format!("waits for {}", some(self.missing())), true)),
            Phase::Running => Ok("the run goes on".into()),
            Phase::Ending => Ok("the run is over".into()),
        }
    }

    /// Names of the needed actors that no ready process hosts.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.assignments.missing(|id| self.processes[id as usize].standing == Standing::Ready)
    }

    /// Names of the actors of a process.
    pub(super) fn names(&self, id: ProcessId) -> impl Iterator<Item = &str> {
        self.names_of(&self.processes[id as usize])
    }

    pub(super) fn names_of<'a>(&'a self, process: &'a Process) -> impl Iterator<Item = &'a str> {
        process.peer.sender.actors.iter().map(|seated| self.assignments.name(seated.actor))
    }
}
