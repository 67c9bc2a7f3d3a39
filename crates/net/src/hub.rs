//! The hub, process 0 of a cluster. It hosts the coordinator, assigns actors to members, and collects their results.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use meshsim_actor::{Actor, ActorId, Counts, Time};
use meshsim_fault::Fault;
use meshsim_wire::{FrameKind, LONG_BYTES_MAX, Refusal};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::interval;

use crate::accept::{self, Admission};
use crate::assignments::{Assignments, Join};
use crate::attention::Attention;
use crate::cell_actor::InspectFn;
use crate::control::{Assigned, Blob, Control, HUB, Joined, PART_BYTES, Peer, ProcessId, ProcessReport, Sender};
use crate::departures::{Departure, Departures};
use crate::host::{Host, HostOptions};
use crate::link::{Credentials, Link, LinkError, PING, refusal};
use crate::member::{collect_results, new_boot_id, send_trace};
use crate::news::{News, TakeNews, tell};
use crate::outbox::Outbox;
use crate::run_spec::{Live, RunSpec};
use crate::shared::Answers;
use crate::text::{brief, shown};
use crate::usage;
use crate::worker::Work;

/// Time from the order to begin until the start, so that the order arrives everywhere before: this, and more for each
/// process.
const LEAD: Duration = Duration::from_millis(100);
const LEAD_EACH: Duration = Duration::from_millis(3);
/// Time from the order to end early until the end.
const TAIL: Duration = Duration::from_millis(20);
/// Longest time without results after the end of the run, before the hub stops waiting for the missing ones.
const COLLECT: Duration = Duration::from_secs(20);
/// Longest wait for a process whose connection breaks after the end of the run.
const RETURN: Duration = Duration::from_secs(3);
/// Interval between two calls of `watch`.
const WATCH: Duration = Duration::from_millis(100);
/// Commands of other threads that may wait; the next one is refused.
const COMMANDS_MAX: usize = 4096;
/// Processes that may join in one run, including those that are gone.
const PROCESSES_MAX: usize = 100_000;

/// Options of a hub.
pub struct HubOptions<A: Actor> {
    /// Socket at which other processes join.
    pub listener: TcpListener,
    /// Mutual authentication of this process and its peers.
    pub credentials: Credentials,
    /// Execution of work in all processes: asleep or busy.
    pub work: Work,
    /// True if all processes trace the run.
    pub is_traced: bool,
    /// End of the run; [`Time::NEVER`]: when it is told to end.
    pub end: Time,
    /// Actors that this process hosts itself.
    pub here: Vec<ActorId>,
    /// The experiment, as bytes for the other processes: `prepare` of [`join`](crate::join()) makes a specification
    /// from it.
    pub payload: Vec<u8>,
    /// Receives the messages that actors send to the external client.
    pub answers: Answers<A::Msg>,
    /// Receives the parts of the traces, those of each process in order.
    pub traces: KeepTraces,
    /// Receives the results of the actors during the run.
    pub news: TakeNews,
}

/// Receives the next bytes of the trace of a process, with its id.
pub type KeepTraces = Box<dyn FnMut(u32, &[u8]) -> io::Result<()>>;

/// The hub of a cluster. It needs an actix system, and stays in its thread.
pub struct Hub<A: Live> {
    stage: Rc<HubState<A>>,
    commands: mpsc::Receiver<Command<A>>,
    handle: Handle<A>,
    address: SocketAddr,
}

/// Result of a run.
#[derive(Debug)]
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

/// Reason why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub was stopped before all needed processes had joined.
    #[error("stopped while waiting for {}", some(.0))]
    Stopped(Vec<String>),
}

/// The first few of many names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Sends commands to a hub, from any thread.
pub struct Handle<A: Actor>(mpsc::Sender<Command<A>>);

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Handle(self.0.clone())
    }
}

impl<A: Actor> std::fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle(..)")
    }
}

enum Command<A: Actor> {
    Send(ActorId, A::Msg),
    Inspect(ActorId, InspectFn<A>),
    Fault(Box<Fault>, oneshot::Sender<Result<(), String>>),
    EndFault(usize, Time, oneshot::Sender<Result<(), String>>),
    Status(oneshot::Sender<ClusterStatus>),
    Stop,
}

impl<A: Live> Handle<A> {
    fn order(&self, command: Command<A>) -> Result<(), &'static str> {
        self.0.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "too much is asked at once: try again in a moment",
            mpsc::error::TrySendError::Closed(_) => "the run is over",
        })
    }

    /// Sends a message to an actor of the hub's process, as the external client.
    ///
    /// # Errors
    /// If too many commands are pending, or the run has ended.
    pub fn send(&self, to: ActorId, msg: A::Msg) -> Result<(), &'static str> {
        self.order(Command::Send(to, msg))
    }

    /// Inspects an actor of the hub's process between two of its steps.
    ///
    /// # Errors
    /// Like [`send`](Self::send); also if the actor is not hosted there.
    pub async fn inspect<R: Send + 'static>(
        &self,
        actor: ActorId,
        look: impl FnOnce(&A) -> R + Send + 'static,
    ) -> Result<R, &'static str> {
        let (say, heard) = oneshot::channel();
        self.order(Command::Inspect(
            actor,
            Box::new(move |cell| {
                let _ = say.send(look(cell.actor()));
            }),
        ))?;
        heard.await.map_err(|_| "it is not hosted in the coordinator's process")
    }

    /// Adds a fault in all processes.
    ///
    /// # Errors
    /// If its parameters are invalid, too many commands are pending, or the run has ended.
    pub async fn fault(&self, fault: Fault) -> Result<(), String> {
        let (say, heard) = oneshot::channel();
        self.order(Command::Fault(Box::new(fault), say))?;
        heard.await.unwrap_or_else(|_| Err("the run is over".into()))
    }

    /// Ends a fault in all processes. The index counts the faults of the experiment first, then the submitted ones.
    ///
    /// # Errors
    /// If there is no such fault, too many commands are pending, or the run has ended.
    pub async fn end_fault(&self, index: usize, at: Time) -> Result<(), String> {
        let (say, heard) = oneshot::channel();
        self.order(Command::EndFault(index, at, say))?;
        heard.await.unwrap_or_else(|_| Err("the run is over".into()))
    }

    /// Status of the cluster.
    ///
    /// # Errors
    /// If too many commands are pending, or the run has ended.
    pub async fn status(&self) -> Result<ClusterStatus, &'static str> {
        let (say, heard) = oneshot::channel();
        self.order(Command::Status(say))?;
        heard.await.map_err(|_| "the run is over")
    }

    /// Ends the run.
    ///
    /// # Errors
    /// Like [`send`](Self::send).
    pub fn stop(&self) -> Result<(), &'static str> {
        self.order(Command::Stop)
    }
}

/// State of the hub.
struct HubState<A: Live> {
    host: Rc<Host<A>>,
    run: u64,
    payload: Rc<[u8]>,
    is_busy: bool,
    is_traced: bool,
    end: Time,
    assignments: RefCell<Assignments>,
    processes: RefCell<Vec<Process>>,
    phase: Cell<Phase>,
    zero: Cell<u64>,
    findings: RefCell<BTreeMap<ActorId, PartialResults>>,
    /// Manual faults; the network bounds their number.
    faults: RefCell<Vec<Fault>>,
    /// [`RunResult::healed`].
    healed: RefCell<Vec<(usize, Time)>>,
    departures: RefCell<Departures>,
    /// [`RunResult::restarts`].
    restarts: RefCell<Vec<(ActorId, Time)>>,
    traces: RefCell<KeepTraces>,
    news: RefCell<TakeNews>,
    trace_errors: RefCell<Vec<String>>,
    /// Wakes the hub after a change.
    changed: Notify,
    /// Time in which this process could notice others. It may be stopped itself; then that time counts against no
    /// member.
    attention: Attention,
    /// Time of the last results, by `attention`.
    handed_in: Cell<u64>,
}

/// Results of an actor, as far as they have arrived.
#[derive(Default)]
struct PartialResults {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// State of a process, as the hub knows it.
struct Process {
    join: Join,
    peer: Peer,
    outbox: Rc<Outbox>,
    standing: Standing,
    /// Number of its connections so far: messages on an earlier one are ignored.
    connections: u32,
    /// The connection on which it has reported that it is ready; 0 before that.
    ready_by: u32,
    /// Time at which its connection broke, by `attention`.
    lost_at: u64,
    /// True if its actors have left, and it sends its results.
    has_left: bool,
    /// True if other processes refuse it.
    is_refused: bool,
    report: Option<ProcessReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is admitted.
    Joining,
    /// Its actors are ready to begin, or have begun.
    Ready,
    /// Its connection broke. Its actors are kept for it until another process wants them.
    Lost,
    /// It was lost and is rejoining: its actors are its own again.
    Returning,
    /// Another process has its actors.
    Replaced,
}

impl<A: Live> Hub<A> {
    /// Starts to accept processes.
    ///
    /// # Errors
    /// If the operating system provides no timer, thread or file.
    pub fn open(options: HubOptions<A>, run_spec: RunSpec<A>) -> io::Result<Self> {
        let address = options.listener.local_addr()?;
        let host_options = HostOptions {
            credentials: options.credentials,
            process: HUB,
            boot_id: new_boot_id(),
            work: options.work,
            is_traced: options.is_traced,
        };
        let assignments = Assignments::new(&run_spec.actors);
        let host = Host::start(host_options, Rc::new(run_spec))?;
        host.set_answers(options.answers);
        let stage = Rc::new(HubState {
            host: host.clone(),
            run: new_boot_id(),
            payload: options.payload.into(),
            is_busy: options.work == Work::Busy,
            is_traced: options.is_traced,
            end: options.end,
            assignments: RefCell::new(assignments),
            processes: RefCell::new(Vec::new()),
            phase: Cell::new(Phase::Waiting),
            zero: Cell::new(0),
            findings: RefCell::default(),
            faults: RefCell::default(),
            healed: RefCell::default(),
            departures: RefCell::default(),
            restarts: RefCell::default(),
            traces: RefCell::new(options.traces),
            news: RefCell::new(options.news),
            trace_errors: RefCell::default(),
            changed: Notify::new(),
            attention: Attention::new(host.shell.clock.own(), PING),
            handed_in: Cell::new(0),
        });
        for actor in options.here {
            let seated = stage.assignments.borrow_mut().take(actor, HUB);
            host.host(actor, seated.incarnation);
        }
        stage.processes.borrow_mut().push(Process {
            join: Join { hostname: usage::hostname(), pid: std::process::id(), ..Join::default() },
            peer: Peer { sender: host.me(), address: String::new() },
            outbox: Rc::default(),
            standing: Standing::Ready,
            connections: 1,
            ready_by: 1,
            lost_at: 0,
            has_left: false,
            is_refused: false,
            report: None,
        });
        tokio::task::spawn_local(accept::serve(options.listener, host, Some(stage.clone() as Rc<dyn Admission>)));
        let (orders, commands) = mpsc::channel(COMMANDS_MAX);
        Ok(Hub { stage, commands, handle: Handle(orders), address })
    }

    /// A handle for commands.
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }

    /// Address at which other processes join.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for all needed processes, runs the experiment, and collects the results. It calls `watch` with the status
    /// ten times a second; `watch` ends the run by returning true.
    ///
    /// # Errors
    /// If it is told to stop before the run has begun.
    pub async fn perform(mut self, mut watch: impl FnMut(&ClusterStatus) -> bool) -> Result<RunResult, HubError> {
        let stage = self.stage.clone();
        let mut ticks = interval(WATCH);
        let mut stop = false;
        let of_here = self.stage.clone();
        let telling = tokio::task::spawn_local(async move {
            tell(&of_here.host, || true, |news| (of_here.news.borrow_mut())(news)).await;
        });
        while stage.phase.get() != Phase::Ending {
            tokio::select! {
                () = stage.changed.notified() => {}
                _ = ticks.tick() => stop |= watch(&stage.status()),
                command = self.commands.recv() => {
                    let mut next = command;
                    while let Some(command) = next {
                        stop |= matches!(command, Command::Stop);
                        stage.obey(command).await;
                        next = self.commands.try_recv().ok();
                    }
                }
            }
            stage.look_on();
            match stage.phase.get() {
                Phase::Waiting => {
                    let missing = stage.missing();
                    if missing.is_empty() {
                        stage.begin();
                    } else if stop {
                        return Err(HubError::Stopped(missing));
                    }
                }
                Phase::Running if stop || stage.host.now() >= stage.end => stage.phase.set(Phase::Ending),
                Phase::Running | Phase::Ending => {}
            }
        }
        telling.abort();
        let cut_short = stage.host.now() < stage.end && stage.end < Time::NEVER;
        stage.collect(&mut self.commands, &mut watch, &mut ticks).await;
        Ok(stage.performance(cut_short))
    }
}

impl<A: Live> HubState<A> {
    fn is_ready(&self, process: ProcessId) -> bool {
        self.processes.borrow().get(process as usize).is_some_and(|process| process.standing == Standing::Ready)
    }

    fn missing(&self) -> Vec<String> {
        self.assignments.borrow().missing(|process| self.is_ready(process))
    }

    fn names(&self, sender: &Sender) -> Vec<String> {
        let assignments = self.assignments.borrow();
        sender.actors.iter().map(|seated| assignments.name(seated.actor).to_owned()).collect()
    }

    fn status(&self) -> ClusterStatus {
        let shown = |process: &Process| ProcessState {
            actors: self.names(&process.peer.sender),
            hostname: process.join.hostname.clone(),
            pid: process.join.pid,
            address: process.peer.address.clone(),
            connected: process.standing == Standing::Ready,
        };
        let processes = self.processes.borrow();
        ClusterStatus {
            phase: self.phase.get(),
            now: self.host.now(),
            missing: self.missing(),
            processes: processes.iter().filter(|p| p.standing != Standing::Replaced).map(shown).collect(),
            faults: self.faults.borrow().clone(),
            healed: self.healed.borrow().clone(),
        }
    }

    async fn obey(&self, command: Command<A>) {
        match command {
            Command::Send(to, msg) => self.host.shell.inject(to, msg),
            Command::Inspect(actor, look) => drop(self.host.inspect(actor, look).await),
            Command::Fault(_, say) | Command::EndFault(.., say) if self.phase.get() == Phase::Ending => {
                drop(say.send(Err("the run is over".into())))
            }
            Command::EndFault(index, at, say) => drop(say.send(self.end_fault(index, at))),
            Command::Fault(fault, say) => {
                let added = self.host.add_fault((*fault).clone()).map_err(|error| error.to_string());
                if added.is_ok() {
                    self.faults.borrow_mut().push((*fault).clone());
                    self.tell_all(&Control::Fault(fault), None);
                }
                let _ = say.send(added);
            }
            Command::Status(say) => drop(say.send(self.status())),
            Command::Stop => {}
        }
    }

    fn end_fault(&self, index: usize, at: Time) -> Result<(), String> {
        self.host.end_fault(index, at).map_err(|error| error.to_string())?;
        let mut healed = self.healed.borrow_mut();
        healed.retain(|(other, _)| *other != index);
        healed.push((index, at));
        self.tell_all(&Control::EndFault { fault: index as u32, at }, None);
        Ok(())
    }

    /// Broadcasts to every ready member except one.
    fn tell_all(&self, control: &Control, except: Option<ProcessId>) {
        for (id, process) in self.processes.borrow().iter().enumerate().skip(1) {
            if process.standing == Standing::Ready && Some(id as ProcessId) != except {
                process.outbox.put(FrameKind::Control, control);
            }
        }
    }

    fn begin(&self) {
        let count = self.processes.borrow().iter().filter(|process| process.standing == Standing::Ready).count() as u32;
        let zero = self.host.shell.clock.shared() + (LEAD + LEAD_EACH * count).as_nanos() as u64;
        self.zero.set(zero);
        self.tell_all(&Control::Begin { zero, end: self.end }, None);
        self.host.begin_at(zero, self.end);
        self.phase.set(Phase::Running);
        tracing::info!("all {count} processes are there: the run begins");
    }

    /// Marks a process as ready and sends it the manual faults after the first `faults`.
    fn ready(&self, id: ProcessId, faults: u32) -> Result<(), LinkError> {
        let (peer, outbox) = {
            let mut processes = self.processes.borrow_mut();
            let process = &mut processes[id as usize];
            if process.standing == Standing::Joining && self.phase.get() == Phase::Ending {
                // It has no results, and the hub does not wait for it.
                return Err(LinkError::Denied("the run is over".into()));
            }
            if std::mem::replace(&mut process.ready_by, process.connections) == process.connections {
                return Err(LinkError::ProtocolViolation("said twice that it is ready".into()));
            }
            let is_new = process.standing == Standing::Joining && self.phase.get() != Phase::Waiting;
            let with_incarnation = process.peer.sender.actors.iter().filter(|seated| is_new && seated.incarnation > 0);
            with_incarnation.for_each(|seated| self.is_back(seated.actor));
            process.standing = Standing::Ready;
            // The manual changes of the network before it joined, or while it was away.
            let say = |fault: &Fault| process.outbox.put(FrameKind::Control, &Control::Fault(Box::new(fault.clone())));
            self.faults.borrow().iter().skip(faults as usize).for_each(say);
            for (index, at) in self.healed.borrow().iter() {
                process.outbox.put(FrameKind::Control, &Control::EndFault { fault: *index as u32, at: *at });
            }
            (process.peer.clone(), process.outbox.clone())
        };
        self.host.reach(&peer.sender, &outbox);
        let others: Vec<Peer> = {
            let processes = self.processes.borrow();
            processes.iter().filter(|other| other.standing == Standing::Ready).map(|other| other.peer.clone()).collect()
        };
        outbox.put(FrameKind::Control, &Control::Peers(others));
        self.tell_all(&Control::Peers(vec![peer.clone()]), Some(id));
        if self.phase.get() != Phase::Waiting {
            outbox.put(FrameKind::Control, &Control::Begin { zero: self.zero.get(), end: self.end });
        }
        if self.phase.get() == Phase::Ending {
            // It sends its results again from the start. Of its trace it may have sent a part: that part is kept.
            peer.sender.actors.iter().for_each(|seated| drop(self.findings.borrow_mut().remove(&seated.actor)));
            outbox.put(FrameKind::Control, &Control::End { at: self.host.shell.end() });
        }
        tracing::info!("process {id} at {} is ready, with {}", peer.address, some(&self.names(&peer.sender)));
        self.changed.notify_one();
        Ok(())
    }

    /// Records that an actor has begun another incarnation during the run.
    fn is_back(&self, actor: ActorId) {
        let now = self.host.now();
        // Results that are complete before the end come from an actor that had left.
        let found = self.findings.borrow_mut().remove(&actor).filter(|found| found.is_whole);
        if !found.is_some_and(|found| self.departures.borrow_mut().comes_back(actor, now, found.bytes)) {
            self.restarts.borrow_mut().push((actor, now));
        }
    }

    /// Records that the actors of a process have left.
    fn leaves(&self, id: ProcessId) {
        let process = &mut self.processes.borrow_mut()[id as usize];
        process.has_left = true;
        let now = self.host.now();
        let mut departures = self.departures.borrow_mut();
        process.peer.sender.actors.iter().for_each(|seated| departures.leaves(seated.actor, now));
    }

    /// Handles the end of a connection.
    fn lost(&self, id: ProcessId, connection: u32, error: &LinkError) {
        let mut processes = self.processes.borrow_mut();
        let process = &mut processes[id as usize];
        if process.connections != connection || process.standing == Standing::Replaced {
            return;
        }
        self.host.shell.discard(&process.outbox);
        process.standing = Standing::Lost;
        process.lost_at = self.attention.paid();
        let (had_handed_in, was_ready) = (process.report.is_some(), process.ready_by > 0);
        let (sender, process_has_left) = (process.peer.sender.clone(), process.has_left);
        drop(processes);
        if process_has_left && had_handed_in {
            tracing::info!("process {id}, with {}, has left", some(&self.names(&sender)));
            self.assignments.borrow_mut().release(id, true);
            self.forget(id);
            return self.changed.notify_one();
        }
        if !had_handed_in {
            tracing::warn!("process {id}, with {}, {error}", some(&self.names(&sender)));
        }
        if !was_ready {
            // It has no actors to come back to.
            self.assignments.borrow_mut().release(id, false);
            self.forget(id);
        }
        self.changed.notify_one();
    }

    /// Drops a process that no longer has actors to come back to.
    fn forget(&self, id: ProcessId) {
        let process = &mut self.processes.borrow_mut()[id as usize];
        process.standing = Standing::Replaced;
        // Keeps little of a process, so that one may join and leave any number of times. A process that had become
        // ready is recognised again.
        let boot_id = if process.ready_by > 0 { process.join.boot_id } else { 0 };
        process.join = Join { boot_id, ..Join::default() };
        process.peer = Peer { sender: Sender { process: id, boot_id: 0, actors: Vec::new() }, address: String::new() };
    }

    /// Assigns actors to a process: if need be, those of a lost process.
    fn seat(&self, join: &Join, process: ProcessId) -> Result<Vec<Assigned>, Refusal> {
        // A process from the machine of a lost one, or one that names its actors, replaces it.
        let wants = |lost: &Process| {
            lost.join.hostname == join.hostname && lost.join.names == join.names
                || self.names(&lost.peer.sender).iter().any(|name| join.names.contains(name))
        };
        let mut lost = self.lost_ones(wants);
        let mut replaced = lost.len().min(1);
        lost.extend(self.lost_ones(|other| !wants(other)));
        // Takes over no more processes than needed: the others may come back.
        loop {
            match self.reassign(&lost[..replaced], join, process) {
                Err(refused) if refused.retryable && replaced < lost.len() => replaced += 1,
                other => return other,
            }
        }
    }

    fn reassign(&self, lost: &[ProcessId], join: &Join, process: ProcessId) -> Result<Vec<Assigned>, Refusal> {
        if lost.is_empty() {
            return self.assignments.borrow_mut().assign(join, process);
        }
        // On a copy: a process that is refused in the end must not take actors from any other.
        let mut assignments = self.assignments.borrow().clone();
        lost.iter().for_each(|lost| assignments.release(*lost, self.phase.get() != Phase::Waiting));
        let seated = assignments.assign(join, process)?;
        let is_replaced =
            |lost: &ProcessId| seated.iter().any(|it| self.assignments.borrow().holder(it.actor) == Some(*lost));
        let replaced: Vec<ProcessId> = lost.iter().copied().filter(is_replaced).collect();
        if replaced.len() < lost.len() {
            // Some replaced processes keep all their actors: they may come back.
            return self.reassign(&replaced, join, process);
        }
        *self.assignments.borrow_mut() = assignments;
        lost.iter().for_each(|lost| self.forget(*lost));
        Ok(seated)
    }

    /// True if this is the current connection of the process.
    fn is_current(&self, id: ProcessId, connection: u32) -> bool {
        let processes = self.processes.borrow();
        let process = &processes[id as usize];
        process.connections == connection && process.standing != Standing::Replaced
    }

    /// Processes whose connection broke and that satisfy `which`.
    fn lost_ones(&self, which: impl Fn(&Process) -> bool) -> Vec<ProcessId> {
        let processes = self.processes.borrow();
        let lost = processes.iter().enumerate().filter(|(_, p)| p.standing == Standing::Lost && which(p));
        lost.map(|(id, _)| id as ProcessId).collect()
    }

    fn hear(&self, id: ProcessId, connection: u32, outbox: &Outbox, control: Control) -> Result<(), LinkError> {
        if !self.is_current(id, connection) {
            return Err(LinkError::ProtocolViolation("has connected again, and goes on by the old connection".into()));
        }
        let is_ending = self.phase.get() == Phase::Ending;
        let owes = {
            let process = &self.processes.borrow()[id as usize];
            (is_ending || process.has_left) && process.report.is_none()
        };
        match control {
            Control::Ping(sent) => {
                outbox.put(FrameKind::Control, &Control::Pong { sent, count: self.host.shell.clock.shared() });
            }
            Control::Ready { faults, .. } => self.ready(id, faults)?,
            // Also when it has not yet received the end of the run.
            Control::Left if self.phase.get() != Phase::Waiting && self.may_leave(id) => self.leaves(id),
            Control::Refused { process, why } => self.refused(id, process, &why),
            Control::News { actor, at, news } => self.hear_news(id, actor, at, news.0),
            Control::ActorResults { actor, part, last } if owes && self.awaits(id, actor) => {
                self.keep_findings(actor, &part.0, last)?;
                self.note_handed_in();
            }
            Control::Trace(part) if owes && self.is_traced => {
                self.keep_trace(id, &part.0);
                self.note_handed_in();
            }
            Control::Done(report) if owes => {
                let process = &mut self.processes.borrow_mut()[id as usize];
                // It sent its identity before.
                let mut worked = report.worked.clone();
                worked.retain(|it| process.peer.sender.actors.iter().any(|seated| seated.actor == it.actor));
                process.report = Some(ProcessReport {
                    actors: self.names(&process.peer.sender),
                    hostname: process.join.hostname.clone(),
                    pid: process.join.pid,
                    worked,
                    trace_error: report.trace_error.map(brief),
                    ..*report
                });
                if process.has_left {
                    outbox.put(FrameKind::Control, &Control::Leave);
                }
                self.note_handed_in();
                self.changed.notify_one();
            }
            other => {
                return Err(LinkError::ProtocolViolation(format!(
                    "said {}, which is not for it to say now",
                    shown(&other)
                )));
            }
        }
        Ok(())
    }

    /// Handles a report that a process refuses another, or itself, for its certificate or secret. A report of a process
    /// that is refused itself counts only for itself. Each report is forwarded, because the actor that acts on it may
    /// have been down.
    fn refused(&self, by: ProcessId, whom: ProcessId, why: &str) {
        let actors = {
            let mut processes = self.processes.borrow_mut();
            let is_believed = by == whom || !processes[by as usize].is_refused;
            let Some(process) = processes.get_mut(whom as usize).filter(|_| is_believed && whom != HUB) else { return };
            if !std::mem::replace(&mut process.is_refused, true) {
                let names = some(&self.names(&process.peer.sender));
                let why = brief(why);
                tracing::warn!("process {whom}, with {names}, is given nothing to do: for process {by} it {why}");
            }
            process.peer.sender.actors.clone()
        };
        if let Some(refused) = self.host.run_spec.refused {
            for seated in actors {
                let (to, msg) = refused(seated.actor);
                self.host.shell.inject(to, msg);
            }
        }
    }

    /// Handles the results that an actor of this process has during the run. Results of another process's actor, or
    /// after the end of the run, are ignored.
    fn hear_news(&self, id: ProcessId, actor: ActorId, at: Time, bytes: Vec<u8>) {
        let incarnation = {
            let processes = self.processes.borrow();
            let seated = processes[id as usize].peer.sender.actors.iter().find(|seated| seated.actor == actor);
            seated.filter(|_| self.phase.get() == Phase::Running).map(|seated| seated.incarnation)
        };
        if let Some(incarnation) = incarnation {
            let at = at.min(self.host.now());
            (self.news.borrow_mut())(News { actor, incarnation, at, bytes });
        }
    }

    /// True if this process takes part in the run, and has not reported that it leaves.
    fn may_leave(&self, id: ProcessId) -> bool {
        let process = &self.processes.borrow()[id as usize];
        process.standing == Standing::Ready && !process.has_left && process.report.is_none()
    }

    /// True if this process still has to send the results of the actor.
    fn awaits(&self, id: ProcessId, actor: ActorId) -> bool {
        let is_whole = self.findings.borrow().get(&actor).is_some_and(|found| found.is_whole);
        self.assignments.borrow().holder(actor) == Some(id) && !is_whole
    }

    fn keep_findings(&self, actor: ActorId, part: &[u8], last: bool) -> Result<(), LinkError> {
        let mut findings = self.findings.borrow_mut();
        let found = findings.entry(actor).or_default();
        if found.bytes.len() + part.len() > LONG_BYTES_MAX {
            return Err(LinkError::ProtocolViolation(format!(
                "says that an actor found more than {LONG_BYTES_MAX} bytes"
            )));
        }
        found.bytes.extend_from_slice(part);
        found.is_whole = last;
        Ok(())
    }

    fn note_handed_in(&self) {
        self.handed_in.set(self.attention.paid());
    }

    /// Counts the time in which this process runs; returns the sum so far.
    fn look_on(&self) -> u64 {
        self.attention.read(self.host.shell.clock.own())
    }

    fn keep_trace(&self, id: ProcessId, part: &[u8]) {
        if let Err(error) = (self.traces.borrow_mut())(id, part) {
            let mut errors = self.trace_errors.borrow_mut();
            if errors.is_empty() {
                errors.push(error.to_string());
            }
        }
    }

    /// Collects the results of all processes after the end of the run.
    async fn collect(
        &self,
        commands: &mut mpsc::Receiver<Command<A>>,
        watch: &mut impl FnMut(&ClusterStatus) -> bool,
        ticks: &mut tokio::time::Interval,
    ) {
        let at = self.end.min(self.host.now() + meshsim_actor::Span::from_nanos(TAIL.as_nanos() as u64));
        self.host.end_at(at);
        self.tell_all(&Control::End { at }, None);
        let mut report = collect_results(&self.host, |actor, bytes| {
            self.findings.borrow_mut().insert(actor, PartialResults { bytes, is_whole: true });
            std::future::ready(())
        })
        .await;
        report.trace_error = send_trace(&self.host, |part| {
            self.keep_trace(HUB, &part);
            // Writing a long trace must not let the others think that the hub is gone.
            async {
                tokio::task::yield_now().await;
                Ok(())
            }
        })
        .await;
        self.processes.borrow_mut()[HUB as usize].report = Some(report);
        self.look_on();
        self.note_handed_in();
        let owes = |process: &Process| {
            let is_here = match process.standing {
                Standing::Ready | Standing::Returning => true,
                Standing::Lost => self.attention.paid() - process.lost_at < RETURN.as_nanos() as u64,
                Standing::Joining | Standing::Replaced => false,
            };
            is_here && process.report.is_none()
        };
        while self.processes.borrow().iter().any(owes) {
            tokio::select! {
                () = self.changed.notified() => {}
                _ = ticks.tick() => drop(watch(&self.status())),
                // Later commands are answered with the reason that the run has ended.
                Some(command) = commands.recv() => self.obey(command).await,
            }
            let silent = self.look_on() - self.handed_in.get();
            if silent > COLLECT.as_nanos() as u64 {
                tracing::warn!("some processes did not hand in what they have, and are not waited for any longer");
                break;
            }
        }
        self.tell_all(&Control::Leave, None);
        let outboxes: Vec<Rc<Outbox>> = self.processes.borrow().iter().map(|p| p.outbox.clone()).collect();
        // Processes that do not receive it notice the end of the connection.
        let told = async {
            for outbox in &outboxes {
                outbox.room(0).await;
            }
            tokio::time::sleep(TAIL).await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
    }

    fn performance(&self, cut_short: bool) -> RunResult {
        let mut findings = self.findings.take();
        let assignments = self.assignments.borrow();
        let count = self.host.run_spec.actors.len();
        let mut whole =
            |actor| findings.remove(&ActorId(actor)).filter(|found| found.is_whole).map(|found| found.bytes);
        let findings: Vec<Option<Vec<u8>>> = (0..count as u32).map(&mut whole).collect();
        let is_lost =
            |actor: &usize| findings[*actor].is_none() && assignments.holder(ActorId(*actor as u32)).is_some();
        let never = |actor: &usize| findings[*actor].is_none() && !assignments.was_taken(ActorId(*actor as u32));
        let absent = (0..count).filter(never).map(|actor| ActorId(actor as u32)).collect();
        let lost = (0..count).filter(is_lost).map(|actor| assignments.name(ActorId(actor as u32)).to_owned()).collect();
        let processes: Vec<ProcessReport> =
            self.processes.borrow_mut().iter_mut().filter_map(|process| process.report.take()).collect();
        let mut counts = Counts::default();
        processes.iter().for_each(|process| counts.merge(&process.counts));
        let mut trace_errors = self.trace_errors.take();
        trace_errors.extend(processes.iter().filter_map(|process| process.trace_error.clone()));
        let ended = self.host.shell.end();
        let Departures { all: departures, former, .. } = self.departures.take();
        RunResult {
            ended,
            cut_short,
            findings,
            processes,
            counts,
            lost,
            restarts: self.restarts.take(),
            departures,
            former,
            absent,
            faults: self.faults.take(),
            healed: self.healed.take(),
            trace_errors,
        }
    }
}

impl<A: Live> Admission for HubState<A> {
    fn admit(&self, join: &Join, address: String) -> Result<Joined, Refusal> {
        let is_ending = self.phase.get() == Phase::Ending;
        let (run, payload_bytes) = (self.run, self.payload.len() as u64);
        let (is_busy, is_traced) = (self.is_busy, self.is_traced);
        let mut processes = self.processes.borrow_mut();
        // The same boot id: its connection broke, whether or not this process noticed.
        let same = processes.iter_mut().enumerate().skip(1).find(|(_, known)| known.join.boot_id == join.boot_id);
        if same.as_ref().is_some_and(|(_, known)| known.standing == Standing::Replaced) {
            return Err(refusal("another process has taken its place", false));
        }
        let is_known = |known: &Process| {
            matches!(known.standing, Standing::Ready | Standing::Lost | Standing::Returning)
                && (&known.join.role, &known.join.hostname, known.join.pid) == (&join.role, &join.hostname, join.pid)
        };
        if let Some((id, known)) = same.filter(|(_, known)| is_known(known) && known.report.is_none()) {
            known.standing = Standing::Returning;
            self.host.shell.discard(&known.outbox);
            known.outbox = Rc::default();
            known.connections += 1;
            known.peer.address = address;
            let actors = known.peer.sender.actors.clone();
            let process = id as ProcessId;
            return Ok(Joined { run, process, actors, resumed: true, is_busy, is_traced, payload_bytes });
        }
        if is_ending {
            return Err(refusal("the run is over", false));
        }
        let process = processes.len() as ProcessId;
        if processes.len() >= PROCESSES_MAX {
            return Err(refusal("too many processes have joined this run", false));
        }
        drop(processes);
        let actors = self.seat(join, process)?;
        let sender = Sender { process, boot_id: join.boot_id, actors: actors.clone() };
        self.processes.borrow_mut().push(Process {
            join: join.clone(),
            peer: Peer { sender, address },
            outbox: Rc::default(),
            standing: Standing::Joining,
            connections: 1,
            ready_by: 0,
            lost_at: 0,
            has_left: false,
            is_refused: false,
            report: None,
        });
        Ok(Joined { run, process, actors, resumed: false, is_busy, is_traced, payload_bytes })
    }

    fn serve(self: Rc<Self>, joined: Joined, mut link: Link) -> Pin<Box<dyn Future<Output = LinkError>>> {
        Box::pin(async move {
            let id = joined.process;
            let (outbox, connection) = {
                let processes = self.processes.borrow();
                let process = &processes[id as usize];
                (process.outbox.clone(), process.connections)
            };
            let feed = async {
                if !joined.resumed {
                    for part in self.payload.chunks(PART_BYTES) {
                        outbox.room(PART_BYTES).await;
                        outbox.put(FrameKind::Control, &Control::Payload(Blob(part.to_vec())));
                    }
                }
                std::future::pending().await
            };
            let hear = |control| self.hear(id, connection, &outbox, control);
            let error = tokio::select! {
                error = self.host.shell.read(&mut link.reader, &mut link.splitter, id, hear) => error,
                error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
                error = feed => error,
            };
            self.lost(id, connection, &error);
            error
        })
    }

    fn abandon(&self, joined: &Joined, error: LinkError) -> LinkError {
        let connection = self.processes.borrow()[joined.process as usize].connections;
        self.lost(joined.process, connection, &error);
        error
    }

    fn health(&self) -> Result<String, Refusal> {
        match self.phase.get() {
            Phase::Waiting => Err(refusal(format!("waits for {}", some(&self.missing())), true)),
            Phase::Running => Ok("the run goes on".into()),
            Phase::Ending => Ok("the run is over".into()),
        }
    }
}
