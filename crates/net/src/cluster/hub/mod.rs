//! The hub's side of the cluster protocol, as a state machine.
//!
//! [`HubMachine::take`] takes one event and returns its effects as data. The machine reads no clock and knows no
//! socket: the driver (`net/src/hub.rs`) gives it the time with each event, and a number for each connection.
//!
//! A process is known by its id and its boot id, not by its connection. It has one connection at a time, the latest on
//! which it was admitted. What still arrives on an earlier one is refused, and its end means nothing.
//!
//! One file for each part of the protocol: `admission` (a process is admitted, recognised again, lost, replaced),
//! `phases` (ready, begin, end), `collection` (results and traces), `status` (answers to people), `memory` (what a hub that
//! is started again goes on with).

mod admission;
mod collection;
mod memory;
mod phases;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use meshsim_actor::{ActorId, Time};
use meshsim_fault::Fault;
use meshsim_wire::Refusal;
use serde::{Deserialize, Serialize};

use super::assignments::{Assignments, Join};
use super::attention::Attention;
use super::control::{Control, HUB, Joined, Peer, ProcessId, ProcessReport, Sender};
use super::departures::Departures;
use super::{Closure, Level, PING};
use crate::news::News;
use crate::run_spec::ActorSpec;
use crate::text::{brief, shown, some};
use collection::PartialResults;
pub use collection::RunResult;
pub use memory::HubMemory;
pub(crate) use phases::TAIL;
pub use status::{ClusterStatus, Phase, ProcessState};

/// Longest interval between two ticks of a driver.
pub const TICK: Duration = Duration::from_millis(100);

/// Number of a connection at the hub. The driver gives each connection another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// A run, as its hub sees it.
#[derive(Clone, Debug)]
pub struct HubSpec {
    /// Id of the run: a number drawn at its start.
    pub run: u64,
    /// Boot id of the hub's process.
    pub boot_id: u64,
    /// Host name of its machine, and its process id there.
    pub hostname: String,
    /// See `hostname`.
    pub pid: u32,
    /// Planned end; [`Time::NEVER`]: when the hub is told to stop.
    pub end: Time,
    /// True if work uses processor time.
    pub is_busy: bool,
    /// True if all processes trace the run.
    pub is_traced: bool,
    /// Length of the experiment in bytes.
    pub payload_bytes: u64,
    /// All actors, by id.
    pub actors: Vec<ActorSpec>,
    /// The actors that the hub's process hosts itself.
    pub here: Vec<ActorId>,
}

/// Input of a hub.
#[derive(Clone, Debug, PartialEq)]
pub enum HubEvent {
    /// A process asks on a new connection for actors. [`HubEffect::Admit`] or [`HubEffect::Refuse`] answers it.
    Joins {
        /// Number of the connection.
        connection: ConnectionId,
        /// Request of the process.
        join: Join,
        /// Address at which other processes reach it.
        address: String,
    },
    /// A message arrived on the connection of a process that was admitted.
    Said {
        /// The connection.
        connection: ConnectionId,
        /// The message.
        control: Control,
    },
    /// A connection ended after the admission, or because the admission did not arrive. No event of it follows.
    Ended {
        /// The connection.
        connection: ConnectionId,
        /// The reason, worded about the process: "it ...".
        why: String,
    },
    /// A manual fault was added to the network of the hub's process.
    FaultAdded(Fault),
    /// A fault was ended in the network of the hub's process.
    FaultEnded {
        /// Index of the fault; those of the experiment count first.
        index: usize,
        /// Time from which it no longer holds.
        at: Time,
    },
    /// After [`HubEffect::End`]: results of an actor of the hub's process.
    Found {
        /// The actor.
        actor: ActorId,
        /// Its results.
        bytes: Vec<u8>,
    },
    /// After the results of its actors: the report of the hub's process.
    Reported(Box<ProcessReport>),
    /// The run is to end.
    Stop,
    /// A tick of the driver's timer. The time between two is at most [`TICK`].
    Tick,
}

/// Action that a hub requests of its driver. Effects are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum HubEffect {
    /// Admit the process that joins on this connection, and unless it is resumed send it the experiment. A process that
    /// is admitted without actors has handed in everything: its connection ends then.
    Admit {
        /// The connection.
        connection: ConnectionId,
        /// Its admission.
        joined: Joined,
    },
    /// Refuse the process that joins on this connection.
    Refuse {
        /// The connection.
        connection: ConnectionId,
        /// The reason.
        refusal: Refusal,
    },
    /// Send a message on each of these connections.
    Tell {
        /// The connections.
        to: Vec<ConnectionId>,
        /// The message.
        control: Control,
    },
    /// Lose what waits to be written on this connection, and what is put there from now on.
    Discard(ConnectionId),
    /// End the connection from which the event came; [`HubEvent::Ended`] follows.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// The reason.
        why: Closure,
    },
    /// Send messages for the actors of this process on this connection from now on.
    Reach {
        /// The connection.
        connection: ConnectionId,
        /// The process.
        sender: Sender,
    },
    /// Begin the run in the hub's process.
    Begin {
        /// Start of the run, in the hub's count.
        zero: u64,
        /// Planned end.
        end: Time,
    },
    /// End the run in the hub's process at this time, then collect its results: [`HubEvent::Found`] for each actor,
    /// then [`HubEvent::Reported`].
    End {
        /// End of the run.
        at: Time,
    },
    /// Pass on the results of an actor during the run.
    News(News),
    /// Keep the next part of the trace of a process.
    Trace {
        /// The process.
        process: ProcessId,
        /// The part.
        part: Vec<u8>,
    },
    /// Report in the run that other processes refuse the process of these actors.
    Refused(Vec<ActorId>),
    /// Write a line for people.
    Log(Level, String),
    /// The hub was stopped before the run could begin: no process hosted these actors.
    Stopped {
        /// Names of the actors.
        missing: Vec<String>,
    },
    /// The run is over, and all processes are told so. [`HubMachine::result`] has its result.
    Finish,
}

/// The hub of a cluster, as a state machine.
#[derive(Clone, Debug)]
pub struct HubMachine {
    spec: HubSpec,
    assignments: Assignments,
    /// By id; the first is the hub's.
    processes: Vec<Process>,
    /// The process of each connection that has not ended, also of those that are no longer current.
    connections: BTreeMap<ConnectionId, ProcessId>,
    phase: Phase,
    is_stopped: bool,
    is_finished: bool,
    /// Start of the run, in the hub's count, once it has begun.
    zero: Option<u64>,
    /// End of the run: the planned one until it has ended.
    ended: Time,
    cut_short: bool,
    findings: BTreeMap<ActorId, PartialResults>,
    /// Manual faults; the network bounds their number.
    faults: Vec<Fault>,
    /// [`RunResult::healed`].
    healed: Vec<(usize, Time)>,
    departures: Departures,
    /// [`RunResult::restarts`].
    restarts: Vec<(ActorId, Time)>,
    /// Time in which the hub could notice others. It may be stopped itself; then that time counts against no member.
    attention: Attention,
    /// Time of the last results, by `attention`.
    handed_in: u64,
    /// The hub's count at the current event.
    count: u64,
    /// True if the event may let the hub go on: see [`advance`](Self::advance).
    is_changed: bool,
}

/// State of a process, as the hub knows it.
#[derive(Clone, Debug)]
struct Process {
    join: Join,
    peer: Peer,
    standing: Standing,
    /// Its latest connection; `None` for the hub itself, and for a process that is replaced.
    connection: Option<ConnectionId>,
    /// The connection on which it has reported that it is ready.
    ready_by: Option<ConnectionId>,
    /// Time at which its connection broke, by the hub's attention.
    lost_at: u64,
    /// True if its actors have left, and it sends its results.
    has_left: bool,
    /// True if other processes refuse it.
    is_refused: bool,
    report: Option<ProcessReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The hub has admitted the process.
    Joining,
    /// The actors of the process are ready to begin, or have begun.
    Ready,
    /// The connection of the process broke. Its actors are kept for it until another process wants them.
    Lost,
    /// The process was lost and is rejoining: its actors are its own again.
    Returning,
    /// Another process has the actors of this one.
    Replaced,
}

impl HubMachine {
    /// A hub that waits for processes. `count`: the hub's count now, in nanoseconds.
    pub fn new(count: u64, spec: HubSpec) -> Self {
        let mut assignments = Assignments::new(&spec.actors);
        let actors = spec.here.iter().map(|actor| assignments.take(*actor, HUB)).collect();
        let sender = Sender { process: HUB, boot_id: spec.boot_id, actors };
        let me = Process {
            join: Join { hostname: spec.hostname.clone(), pid: spec.pid, ..Join::default() },
            standing: Standing::Ready,
            ..Process::new(Join::default(), Peer { sender, address: String::new() }, None)
        };
        HubMachine {
            assignments,
            processes: vec![me],
            connections: BTreeMap::new(),
            phase: Phase::Waiting,
            is_stopped: false,
            is_finished: false,
            zero: None,
            ended: spec.end,
            cut_short: false,
            findings: BTreeMap::new(),
            faults: Vec::new(),
            healed: Vec::new(),
            departures: Departures::default(),
            restarts: Vec::new(),
            attention: Attention::new(count, PING),
            handed_in: 0,
            count,
            is_changed: false,
            spec,
        }
    }

    /// Identity of the hub's process, with its actors.
    pub fn me(&self) -> &Sender {
        &self.processes[HUB as usize].peer.sender
    }

    /// Takes one event, and appends its effects. `count` is the hub's count in nanoseconds; it never goes back.
    pub fn take(&mut self, count: u64, event: HubEvent, out: &mut Vec<HubEffect>) {
        self.count = count;
        self.attention.read(count);
        match event {
            HubEvent::Joins { connection, join, address } => match self.admit(connection, &join, address, out) {
                Ok(joined) => out.push(HubEffect::Admit { connection, joined }),
                Err(refusal) => out.push(HubEffect::Refuse { connection, refusal }),
            },
            HubEvent::Said { connection, control } => {
                if let Err(why) = self.said(connection, control, out) {
                    out.push(HubEffect::Close { connection, why });
                }
            }
            HubEvent::Ended { connection, why } => self.lost(connection, &why, out),
            HubEvent::FaultAdded(fault) => {
                self.faults.push(fault.clone());
                self.tell_all(Control::Fault(Box::new(fault)), None, out);
            }
            HubEvent::FaultEnded { index, at } => {
                self.healed.retain(|(other, _)| *other != index);
                self.healed.push((index, at));
                self.tell_all(Control::EndFault { fault: index as u32, at }, None, out);
            }
            HubEvent::Found { actor, bytes } => {
                self.findings.insert(actor, PartialResults { bytes, is_whole: true });
            }
            HubEvent::Reported(report) => self.reported(*report),
            HubEvent::Stop => (self.is_stopped, self.is_changed) = (true, true),
            HubEvent::Tick => self.is_changed = true,
        }
        if std::mem::take(&mut self.is_changed) {
            self.advance(out);
        }
    }

    /// Handles a message of a process; an error ends its connection.
    fn said(&mut self, connection: ConnectionId, control: Control, out: &mut Vec<HubEffect>) -> Result<(), Closure> {
        let Some(id) = self.speaker(connection) else {
            return Err(Closure::Violation("has connected again, and goes on by the old connection".into()));
        };
        let process = &self.processes[id as usize];
        let owes = (self.phase == Phase::Ending || process.has_left) && process.report.is_none();
        match control {
            Control::Ping(sent) => tell(connection, Control::Pong { sent, count: self.count }, out),
            Control::Ready { faults, .. } => self.ready(id, connection, faults, out)?,
            // Also when it has not yet received the end of the run.
            Control::Left if self.phase != Phase::Waiting && self.may_leave(id) => self.leaves(id),
            Control::Refused { process, why } => self.refused(id, process, &why, out),
            Control::News { actor, at, news } => self.pass_news(id, actor, at, news.0, out),
            Control::ActorResults { actor, part, last } if owes && self.awaits(id, actor) => {
                self.keep_findings(actor, &part.0, last)?;
            }
            Control::Trace(part) if owes && self.spec.is_traced => {
                out.push(HubEffect::Trace { process: id, part: part.0 });
                self.note_handed_in();
            }
            Control::Done(report) if owes => self.done(id, connection, *report, out),
            other => {
                let what = format!("said {}, which is not for it to say now", shown(&other));
                return Err(Closure::Violation(what));
            }
        }
        Ok(())
    }

    /// The process that speaks on this connection, if that is its latest one.
    fn speaker(&self, connection: ConnectionId) -> Option<ProcessId> {
        let id = *self.connections.get(&connection)?;
        (self.processes[id as usize].connection == Some(connection)).then_some(id)
    }

    /// Handles a report that a process refuses another, or itself, for its certificate or secret. A report of a process
    /// that is refused itself counts only for itself. Each report is forwarded, because the actor that acts on it may
    /// have been down.
    fn refused(&mut self, by: ProcessId, whom: ProcessId, why: &str, out: &mut Vec<HubEffect>) {
        let is_believed = by == whom || !self.processes[by as usize].is_refused;
        let Some(process) = self.processes.get_mut(whom as usize).filter(|_| is_believed && whom != HUB) else {
            return;
        };
        if !std::mem::replace(&mut process.is_refused, true) {
            let (names, why) = (some(self.names(whom)), brief(why));
            let line = format!("process {whom}, with {names}, is given nothing to do: for process {by} it {why}");
            out.push(HubEffect::Log(Level::Warn, line));
        }
        let actors = self.processes[whom as usize].peer.sender.actors.iter().map(|seated| seated.actor).collect();
        out.push(HubEffect::Refused(actors));
    }

    /// Handles the results that an actor of this process has during the run. Results of another process's actor, or
    /// after the end of the run, are ignored.
    fn pass_news(&self, id: ProcessId, actor: ActorId, at: Time, bytes: Vec<u8>, out: &mut Vec<HubEffect>) {
        let seated = self.processes[id as usize].peer.sender.actors.iter().find(|seated| seated.actor == actor);
        if let Some(seated) = seated.filter(|_| self.phase == Phase::Running) {
            let at = at.min(self.now());
            out.push(HubEffect::News(News { actor, incarnation: seated.incarnation, at, bytes }));
        }
    }

    /// Time of the run; zero before it has begun.
    fn now(&self) -> Time {
        self.run_time(self.count)
    }

    fn run_time(&self, count: u64) -> Time {
        Time::from_nanos(self.zero.map_or(0, |zero| count.saturating_sub(zero)))
    }

    /// Broadcasts to every ready member except one.
    fn tell_all(&self, control: Control, except: Option<ProcessId>, out: &mut Vec<HubEffect>) {
        let members = (0..).zip(&self.processes).skip(1);
        let ready = members.filter(|(id, it)| it.standing == Standing::Ready && Some(*id) != except);
        let to: Vec<ConnectionId> = ready.filter_map(|(_, process)| process.connection).collect();
        if !to.is_empty() {
            out.push(HubEffect::Tell { to, control });
        }
    }
}

impl Process {
    fn new(join: Join, peer: Peer, connection: Option<ConnectionId>) -> Self {
        Process {
            join,
            peer,
            standing: Standing::Joining,
            connection,
            ready_by: None,
            lost_at: 0,
            has_left: false,
            is_refused: false,
            report: None,
        }
    }
}

fn tell(connection: ConnectionId, control: Control, out: &mut Vec<HubEffect>) {
    out.push(HubEffect::Tell { to: vec![connection], control });
}
