//! The hub, process 0 of a cluster. It hosts the coordinator, assigns actors to members, and collects their results.
//!
//! What it does is decided by [`HubMachine`]. This is its driver: it turns connections, commands and ticks into events,
//! and carries out the effects.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use meshsim_actor::{Actor, ActorId, Time};
use meshsim_wire::{FrameKind, Refusal};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::interval;

use crate::accept::{self, Admission};
use crate::clock::{Clock, Mark};
use crate::cluster::{
    Blob, ClusterStatus, ConnectionId, Control, HUB, HubEffect, HubEvent, HubMachine, HubMemory, HubSpec, Join, Joined,
    Level, PART_BYTES, Phase, RunResult, TAIL, TICK,
};
use crate::disks::OpenJournal;
use crate::handle::{Command, Handle};
use crate::host::{Host, HostOptions};
use crate::member::{collect_results, new_boot_id, send_trace};
use crate::news::{TakeNews, tell};
use crate::run_spec::{Live, RunSpec};
use crate::shared::Answers;
use crate::text::some;
use crate::transport::{Credentials, Link, LinkError, Outbox};
use crate::usage;
use crate::worker::Work;

/// Limit for writing the last messages to members.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    /// Journal of this process; `None`: the run ends with it.
    pub journal: Option<HubJournal>,
}

/// Journal of a hub.
#[derive(Clone, Debug)]
pub struct HubJournal {
    /// Its directory. A hub that is opened with the journal of another one, and the same experiment, goes on with its run.
    pub path: PathBuf,
    /// True if all members end with the hub. The time of the run then stands still while there is no hub; otherwise it
    /// goes on.
    pub is_alone: bool,
}

/// What a hub keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    memory: HubMemory,
    /// The hub's count when it was written.
    count: u64,
    mark: Mark,
}

/// Receives the next bytes of the trace of a process, with its id.
pub type KeepTraces = Box<dyn FnMut(u32, &[u8]) -> io::Result<()>>;

/// The hub of a cluster. It needs an actix system, and stays in its thread.
pub struct Hub<A: Live> {
    driver: Rc<HubDriver<A>>,
    commands: mpsc::Receiver<Command<A>>,
    handle: Handle<A>,
    address: SocketAddr,
}

/// Reason why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub was stopped before all needed processes had joined.
    #[error("stopped while waiting for {}", some(.0.iter().map(String::as_str)))]
    Stopped(Vec<String>),
}

/// The machine of a hub, and what its effects act on.
struct HubDriver<A: Live> {
    host: Rc<Host<A>>,
    payload: Rc<[u8]>,
    machine: RefCell<HubMachine>,
    /// Outboxes of the connections that have not ended.
    connections: RefCell<BTreeMap<ConnectionId, Rc<Outbox>>>,
    /// Number of connections so far.
    connected: Cell<u64>,
    traces: RefCell<KeepTraces>,
    trace_error: RefCell<Option<String>>,
    news: RefCell<TakeNews>,
    /// What the machine has decided about the run as a whole, until `perform` acts on it.
    turns: RefCell<Vec<Turn>>,
    /// Notifies `perform` of a turn.
    turned: Notify,
    /// What the journal has of the machine, and the second of the hub's count at which it was written.
    kept: RefCell<Option<(HubMemory, u64)>>,
    /// Of the hub's count, when it began.
    mark: Mark,
}

/// A decision about the run as a whole.
enum Turn {
    /// It has ended: the results of this process are wanted.
    Ended,
    /// It has not begun, and will not.
    Stopped(Vec<String>),
    /// All results are collected, or not waited for any longer.
    Finished,
}

/// Answer of the machine to the connection from which an event came.
enum Reply {
    Admitted(Joined),
    Refused(Refusal),
    Closed(LinkError),
}

impl<A: Live> Hub<A> {
    /// Starts to accept processes.
    ///
    /// # Errors
    /// If the operating system provides no timer, thread or file.
    pub fn open(options: HubOptions<A>, run_spec: RunSpec<A>) -> io::Result<Self> {
        let address = options.listener.local_addr()?;
        let boot_id = new_boot_id();
        let journal = options.journal.as_ref().map(|it| OpenJournal::of_hub(&it.path, &identity(&options.payload)));
        let journal = journal.transpose()?;
        let kept = journal.as_ref().and_then(OpenJournal::own).map(meshsim_wire::decode_long::<Kept>).transpose();
        let kept = kept.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let is_alone = options.journal.as_ref().is_some_and(|it| it.is_alone);
        let from =
            kept.as_ref().map_or(0, |it| if is_alone { it.count } else { it.mark.goes_on().unwrap_or(it.count) });
        let host_options = HostOptions {
            credentials: options.credentials,
            process: HUB,
            boot_id,
            work: options.work,
            is_traced: options.is_traced,
        };
        let spec = HubSpec {
            run: new_boot_id(),
            boot_id,
            hostname: usage::hostname(),
            pid: std::process::id(),
            end: options.end,
            is_busy: options.work == Work::Busy,
            is_traced: options.is_traced,
            payload_bytes: options.payload.len() as u64,
            actors: run_spec.actors.clone(),
            here: options.here,
        };
        let host = Host::start_at(host_options, Rc::new(run_spec), Clock::start_from(from))?;
        host.set_answers(options.answers);
        let mut effects = Vec::new();
        let count = host.shell.clock.own();
        let mark = Mark::new(count);
        let machine = match kept {
            Some(Kept { memory, .. }) => HubMachine::recalled(count, spec, memory, &mut effects),
            None => HubMachine::new(count, spec),
        };
        if let Some(journal) = journal {
            host.keep(journal)?;
        }
        machine.me().actors.iter().for_each(|seated| host.host(seated.actor, seated.incarnation));
        let driver = Rc::new(HubDriver {
            host: host.clone(),
            payload: options.payload.into(),
            machine: RefCell::new(machine),
            connections: RefCell::default(),
            connected: Cell::new(0),
            traces: RefCell::new(options.traces),
            trace_error: RefCell::default(),
            news: RefCell::new(options.news),
            turns: RefCell::default(),
            turned: Notify::new(),
            kept: RefCell::default(),
            mark,
        });
        driver.keep();
        driver.perform(effects);
        let acceptor = host.acceptor(options.listener);
        tokio::task::spawn_local(accept::serve(acceptor, host, Some(driver.clone() as Rc<dyn Admission>)));
        let (handle, commands) = Handle::new();
        Ok(Hub { driver, commands, handle, address })
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
        let driver = self.driver.clone();
        let mut ticks = interval(TICK);
        let of_here = driver.clone();
        let telling = tokio::task::spawn_local(async move {
            tell(&of_here.host, || true, |news| (of_here.news.borrow_mut())(news)).await;
        });
        loop {
            tokio::select! {
                () = driver.turned.notified() => {}
                _ = ticks.tick() => {
                    let stop = watch(&driver.status());
                    driver.take(if stop { HubEvent::Stop } else { HubEvent::Tick });
                }
                command = self.commands.recv() => {
                    let mut next = command;
                    while let Some(command) = next {
                        driver.obey(command).await;
                        next = self.commands.try_recv().ok();
                    }
                }
            }
            for turn in driver.turns.take() {
                match turn {
                    Turn::Ended => {
                        telling.abort();
                        tokio::task::spawn_local(driver.clone().hand_in());
                    }
                    Turn::Stopped(missing) => return Err(HubError::Stopped(missing)),
                    Turn::Finished => return Ok(driver.part().await),
                }
            }
        }
    }
}

impl<A: Live> HubDriver<A> {
    /// Gives the machine an event, and carries out the effects.
    fn take(&self, event: HubEvent) -> Option<Reply> {
        let is_small_talk = matches!(event, HubEvent::Said { control: Control::Ping(_) | Control::News { .. }, .. });
        let mut effects = Vec::new();
        self.machine.borrow_mut().take(self.host.shell.clock.own(), event, &mut effects);
        if !is_small_talk {
            self.keep();
        }
        self.perform(effects)
    }

    /// Keeps what the machine knows, before others are told what follows from it; and the time, once a second.
    fn keep(&self) {
        let Some(disks) = self.host.disks() else { return };
        let (memory, count) = (self.machine.borrow().memory(), self.host.shell.clock.own());
        let second = count / 1_000_000_000;
        if self.kept.borrow().as_ref().is_some_and(|(kept, at)| *kept == memory && *at == second) {
            return;
        }
        let mut bytes = Vec::new();
        let kept = Kept { memory, count, mark: self.mark.clone() };
        match meshsim_wire::encode_long_into(&kept, &mut bytes) {
            Ok(()) => disks.keep_own(bytes),
            Err(error) => tracing::error!("what the hub knows cannot be kept: {error}"),
        }
        *self.kept.borrow_mut() = Some((kept.memory, second));
    }

    fn perform(&self, effects: Vec<HubEffect>) -> Option<Reply> {
        let mut reply = None;
        for effect in effects {
            match effect {
                HubEffect::Admit { joined, .. } => reply = Some(Reply::Admitted(joined)),
                HubEffect::Refuse { refusal, .. } => reply = Some(Reply::Refused(refusal)),
                HubEffect::Close { why, .. } => reply = Some(Reply::Closed(why.into())),
                HubEffect::Tell { to, control } => {
                    to.iter().for_each(|connection| self.outbox(*connection).put(FrameKind::Control, &control));
                }
                HubEffect::Discard(connection) => drop(self.host.shell.discard(&self.outbox(connection))),
                HubEffect::Reach { connection, sender } => self.host.reach(&sender, &self.outbox(connection)),
                HubEffect::Begin { zero, end } => self.host.begin_at(zero, end),
                HubEffect::End { at } => {
                    self.host.end_at(at);
                    self.turns(Turn::Ended);
                }
                HubEffect::News(news) => (self.news.borrow_mut())(news),
                HubEffect::Trace { process, part } => self.keep_trace(process, &part),
                HubEffect::Refused(actors) => self.refused(&actors),
                HubEffect::Log(level, line) => log(level, &line),
                HubEffect::Stopped { missing } => self.turns(Turn::Stopped(missing)),
                HubEffect::Finish => self.turns(Turn::Finished),
            }
        }
        reply
    }

    fn turns(&self, turn: Turn) {
        self.turns.borrow_mut().push(turn);
        self.turned.notify_one();
    }

    /// Outbox of a connection; one that no task writes, if the connection has ended.
    fn outbox(&self, connection: ConnectionId) -> Rc<Outbox> {
        self.connections.borrow().get(&connection).cloned().unwrap_or_default()
    }

    fn status(&self) -> ClusterStatus {
        self.machine.borrow().status(self.host.shell.clock.own())
    }

    async fn obey(&self, command: Command<A>) {
        match command {
            Command::Send(to, msg) => self.host.shell.inject(to, msg),
            Command::Inspect(actor, look) => drop(self.host.inspect(actor, look).await),
            Command::Fault(_, say) | Command::EndFault(.., say) if self.is_over() => {
                drop(say.send(Err("the run is over".into())))
            }
            Command::EndFault(index, at, say) => {
                let ended = self.host.end_fault(index, at).map_err(|error| error.to_string());
                if ended.is_ok() {
                    self.take(HubEvent::FaultEnded { index, at });
                }
                let _ = say.send(ended);
            }
            Command::Fault(fault, say) => {
                let added = self.host.add_fault((*fault).clone()).map_err(|error| error.to_string());
                if added.is_ok() {
                    self.take(HubEvent::FaultAdded(*fault));
                }
                let _ = say.send(added);
            }
            Command::Status(say) => drop(say.send(self.status())),
            Command::Stop => drop(self.take(HubEvent::Stop)),
        }
    }

    fn is_over(&self) -> bool {
        self.machine.borrow().phase() == Phase::Ending
    }

    /// Tells the actors that rely on these that other processes refuse their process.
    fn refused(&self, actors: &[ActorId]) {
        let Some(refused) = self.host.run_spec.refused else { return };
        for actor in actors {
            let (to, msg) = refused(*actor);
            self.host.shell.inject(to, msg);
        }
    }

    fn keep_trace(&self, process: u32, part: &[u8]) {
        if let Err(error) = (self.traces.borrow_mut())(process, part) {
            self.trace_error.borrow_mut().get_or_insert(error.to_string());
        }
    }

    /// Collects the results of this process after the end of the run.
    async fn hand_in(self: Rc<Self>) {
        let mut report = collect_results(&self.host, |actor, bytes| {
            self.take(HubEvent::Found { actor, bytes });
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
        self.take(HubEvent::Reported(Box::new(report)));
    }

    /// Lets the members receive that they may leave; returns the result of the run.
    async fn part(&self) -> RunResult {
        let outboxes: Vec<Rc<Outbox>> = self.connections.borrow().values().cloned().collect();
        let told = async {
            for outbox in &outboxes {
                outbox.room(0).await;
            }
            tokio::time::sleep(TAIL).await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, told).await;
        let mut result = self.machine.borrow_mut().result();
        result.trace_errors.splice(0..0, self.trace_error.take());
        result
    }

    /// Handles the end of a connection.
    fn ended(&self, connection: ConnectionId, error: &LinkError) {
        self.take(HubEvent::Ended { connection, why: error.to_string() });
        self.connections.borrow_mut().remove(&connection);
    }
}

/// Identity of the journal of a hub with this experiment.
fn identity(payload: &[u8]) -> String {
    // FNV-1a: for two experiments that a person confuses, not for one who tries.
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = payload.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    format!("hub of experiment {hash:016x}")
}

/// Writes a line for people.
pub(crate) fn log(level: Level, line: &str) {
    match level {
        Level::Debug => tracing::debug!("{line}"),
        Level::Info => tracing::info!("{line}"),
        Level::Warn => tracing::warn!("{line}"),
    }
}

impl<A: Live> Admission for HubDriver<A> {
    fn admit(&self, join: Join, address: String) -> Result<(ConnectionId, Joined), Refusal> {
        let connection = ConnectionId(self.connected.replace(self.connected.get() + 1));
        match self.take(HubEvent::Joins { connection, join, address }) {
            Some(Reply::Admitted(joined)) => {
                self.connections.borrow_mut().insert(connection, Rc::default());
                Ok((connection, joined))
            }
            Some(Reply::Refused(refusal)) => Err(refusal),
            Some(Reply::Closed(_)) | None => unreachable!("a machine answers each join"),
        }
    }

    fn serve(
        self: Rc<Self>,
        connection: ConnectionId,
        joined: Joined,
        mut link: Link,
    ) -> Pin<Box<dyn Future<Output = LinkError>>> {
        Box::pin(async move {
            if joined.actors.is_empty() {
                self.ended(connection, &LinkError::Ended);
                return LinkError::Ended;
            }
            let outbox = self.outbox(connection);
            let feed = async {
                if !joined.resumed {
                    for part in self.payload.chunks(PART_BYTES) {
                        outbox.room(PART_BYTES).await;
                        outbox.put(FrameKind::Control, &Control::Payload(Blob(part.to_vec())));
                    }
                }
                std::future::pending().await
            };
            let hear = |control| match self.take(HubEvent::Said { connection, control }) {
                Some(Reply::Closed(error)) => Err(error),
                _ => Ok(()),
            };
            let error = tokio::select! {
                error = self.host.shell.read(&mut link.reader, &mut link.splitter, joined.process, hear) => error,
                error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
                error = feed => error,
            };
            self.ended(connection, &error);
            error
        })
    }

    fn abandon(&self, connection: ConnectionId, error: LinkError) -> LinkError {
        self.ended(connection, &error);
        error
    }

    fn health(&self) -> Result<String, Refusal> {
        self.machine.borrow().health()
    }
}
