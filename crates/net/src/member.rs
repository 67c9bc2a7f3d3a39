//! A process that joins a cluster and hosts some of its actors.
//!
//! What it does is decided by [`MemberMachine`]. This is its driver: it opens the connection, turns what arrives on it
//! into events, and carries out the effects.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use meshsim_wire::FrameKind;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::{Alignment, Clock, Follower};
use crate::cluster::{
    Answer, Blob, Control, HUB, HUB_ROLE, Join, Joined, MemberEffect, MemberError, MemberEvent, MemberMachine,
    MemberSpec, PART_BYTES, Peer, ProcessReport, Purpose, parts,
};
use crate::dial::ping;
use crate::disks::OpenJournal;
use crate::host::{Host, HostOptions};
use crate::hub::log;
use crate::leave::{Leaving, asked};
use crate::news::{NEWS_BYTES_MAX, News, WAITING_BYTES_MAX, tell};
use crate::run_spec::{Live, RunSpec};
use crate::text::{brief, shown};
use crate::transport::{Credentials, Link, LinkError, Outbox, Tcp, Transport, Whom};
use crate::usage;
use crate::worker::Work;

/// Clock drift from which a warning is logged: the machine was suspended, or its clock runs at another rate.
const DRIFT_WARN_NS: u64 = 10_000_000;

/// Options of a member.
#[derive(Debug)]
pub struct MemberOptions {
    /// Address of the hub: `host:port`.
    pub hub: String,
    /// Mutual authentication of this process and its peers.
    pub credentials: Credentials,
    /// Its join request. `boot_id`, `host` and `pid` are filled in here.
    pub join: Join,
    /// Socket at which other processes send it messages.
    pub listener: TcpListener,
    /// Time for which the member tries to reach the hub, at first and after each loss of the connection.
    pub patience: Duration,
    /// Request to leave before the end of the run, if there can be one.
    pub leaving: Option<Leaving>,
    /// Directory of the journal that keeps the durable state of its actors: a process that is started again with the same
    /// one goes on from there. `None`: they begin with nothing.
    pub journal: Option<PathBuf>,
}

/// Asks a process that listens at `address` whether it is healthy; returns its answer in one line.
///
/// # Errors
/// The reason, worded about the process: "it ...".
pub async fn probe(address: &str, credentials: &Credentials) -> Result<String, String> {
    let asked = async {
        let mut link = Link::new(Tcp(credentials.tls.clone()).dial(address, Whom::Any).await?);
        match link.introduce(credentials, Purpose::Probe).await? {
            Answer::Healthy(line) => Ok(brief(line)),
            other => Err(LinkError::ProtocolViolation(format!("answered {} to a probe", shown(&other)))),
        }
    };
    asked.await.map_err(|error: LinkError| match error {
        LinkError::Refused(refusal) if refusal.retryable => format!("is not ready: it {}", brief(refusal.why)),
        error => error.to_string(),
    })
}

/// Joins a cluster, hosts the assigned actors, and sends their results when the run has ended. `prepare` makes a
/// specification from the bytes that the hub sends.
///
/// # Errors
/// See [`MemberError`].
pub async fn join<A: Live>(
    options: MemberOptions,
    prepare: impl Fn(&[u8]) -> Result<RunSpec<A>, String>,
) -> Result<(), MemberError> {
    let MemberOptions { hub, credentials, join, listener, patience, leaving, journal } = options;
    let boot_id = new_boot_id();
    let port = listener.local_addr()?.port();
    let address = if join.address.is_empty() { format!(":{port}") } else { join.address.clone() };
    let driver = MemberDriver {
        transport: Rc::new(Tcp(credentials.tls.clone())),
        credentials,
        join: Join { boot_id, hostname: usage::hostname(), pid: std::process::id(), address, ..join },
        listener: listener.into_std()?,
        leaving,
        journal,
        is_asked: Cell::new(false),
        clock: Clock::start(),
        machine: RefCell::new(MemberMachine::new(MemberSpec { hub: hub.clone(), boot_id, patience })),
        hub,
        run_spec: RefCell::default(),
        hosting: RefCell::default(),
        connection: RefCell::default(),
        next: RefCell::default(),
        is_finished: Notify::new(),
    };
    driver.take(MemberEvent::Start);
    let mut link = None;
    loop {
        let next = driver.next.borrow_mut().pop();
        let event = match next {
            Some(Next::Finish(result)) => return result,
            Some(Next::Prepare(payload)) => MemberEvent::Prepared(driver.prepare(&payload, &prepare)),
            Some(Next::Attend) => driver.attend(link.take()).await,
            next => {
                let mut arrives = pin!(driver.arrives(&mut link, next));
                tokio::select! {
                    event = &mut arrives => event,
                    () = driver.asked() => {
                        driver.take(MemberEvent::AskedToLeave);
                        tokio::select! {
                            event = arrives => event,
                            () = driver.is_finished.notified() => continue,
                        }
                    }
                }
            }
        };
        driver.take(event);
    }
}

/// A random boot id, different for each start of a process.
pub(crate) fn new_boot_id() -> u64 {
    meshsim_wire::fresh_number()
}

/// The machine of a member, and what its effects act on.
struct MemberDriver<A: Live> {
    hub: String,
    credentials: Credentials,
    transport: Rc<dyn Transport>,
    join: Join,
    /// Each host of this process serves on a copy of the socket.
    listener: std::net::TcpListener,
    leaving: Option<Leaving>,
    journal: Option<PathBuf>,
    /// True if the machine knows that it is to leave.
    is_asked: Cell<bool>,
    /// This process's count. Each host has a clock with the same one.
    clock: Clock,
    machine: RefCell<MemberMachine>,
    /// The specification of the run that it enters.
    run_spec: RefCell<Option<Rc<RunSpec<A>>>>,
    hosting: RefCell<Option<Rc<Hosting<A>>>>,
    connection: RefCell<Rc<Connection>>,
    /// What the machine waits for, the last one first; nothing: for a message of the hub.
    next: RefCell<Vec<Next>>,
    is_finished: Notify,
}

/// The host of a member, and what keeps its clock aligned.
struct Hosting<A: Live> {
    host: Rc<Host<A>>,
    /// Alignment on joining.
    aligned: Alignment,
    follower: RefCell<Follower>,
    /// The trace has been taken, to be sent.
    began_trace: Cell<bool>,
}

/// A connection to the hub.
#[derive(Default)]
struct Connection {
    /// Messages to the hub before this process attends: the clocks are compared without a queue.
    first: RefCell<Vec<Control>>,
    /// Messages to the hub while this process attends.
    outbox: Rc<Outbox>,
    /// Notifies that the actors are to leave.
    leave: Notify,
    /// Notifies that the results are to be sent.
    hand_in: Notify,
}

enum Next {
    Dial,
    Wait(Duration),
    Prepare(Vec<u8>),
    Attend,
    Finish(Result<(), MemberError>),
}

impl<A: Live> MemberDriver<A> {
    /// Gives the machine an event, and carries out the effects.
    fn take(&self, event: MemberEvent) {
        let mut effects = Vec::new();
        self.machine.borrow_mut().take(self.clock.own(), event, &mut effects);
        for effect in effects {
            match effect {
                MemberEffect::Dial => self.then(Next::Dial),
                MemberEffect::Wait(pause) => self.then(Next::Wait(pause)),
                // The next attempt has another connection.
                MemberEffect::HangUp => *self.connection.borrow_mut() = Rc::default(),
                MemberEffect::Prepare(payload) => self.then(Next::Prepare(payload)),
                MemberEffect::Host(joined, aligned) => {
                    if let Err(error) = self.host(joined, aligned) {
                        return self.then(Next::Finish(Err(error.into())));
                    }
                }
                MemberEffect::Attend => self.then(Next::Attend),
                MemberEffect::Drop => {
                    if let Some(hosting) = self.hosting.take() {
                        hosting.host.close();
                    }
                }
                MemberEffect::Tell(control) => self.tell_hub(control),
                MemberEffect::Meet(peers) => self.with_host(|hosting| self.meet(hosting, peers)),
                MemberEffect::Compare { sent, count } => self.with_host(|hosting| hosting.compare_clocks(sent, count)),
                MemberEffect::Begin { zero, end } => self.with_host(|hosting| hosting.host.begin_at(zero, end)),
                MemberEffect::AddFault(fault) => self.with_host(|hosting| {
                    if let Err(error) = hosting.host.add_fault(*fault) {
                        tracing::warn!("a fault that cannot be: {error}");
                    }
                }),
                MemberEffect::EndFault { fault, at } => self.with_host(|hosting| {
                    if let Err(error) = hosting.host.end_fault(fault as usize, at) {
                        tracing::warn!("a fault that cannot end: {error}");
                    }
                }),
                MemberEffect::End { at } => self.with_host(|hosting| hosting.host.end_at(at)),
                MemberEffect::Leave => self.connection.borrow().leave.notify_one(),
                MemberEffect::HandIn => self.connection.borrow().hand_in.notify_one(),
                MemberEffect::Log(level, line) => log(level, &line),
                MemberEffect::Finish(result) => {
                    self.then(Next::Finish(result));
                    self.is_finished.notify_one();
                }
            }
        }
    }

    /// Waits until this process is asked to leave, once.
    async fn asked(&self) {
        if self.is_asked.get() {
            pending().await
        }
        asked(self.leaving.as_ref()).await;
        self.is_asked.set(true);
    }

    fn then(&self, next: Next) {
        self.next.borrow_mut().push(next);
    }

    fn with_host(&self, act: impl FnOnce(&Hosting<A>)) {
        if let Some(hosting) = &*self.hosting.borrow() {
            act(hosting);
        }
    }

    fn tell_hub(&self, control: Control) {
        let connection = self.connection.borrow();
        if self.machine.borrow().is_attending() {
            connection.outbox.put(FrameKind::Control, &control);
        } else {
            connection.first.borrow_mut().push(control);
        }
    }

    /// The next event before this process attends: it waits, dials, or receives a message.
    async fn arrives(&self, link: &mut Option<Link>, next: Option<Next>) -> MemberEvent {
        if let Some(Next::Wait(pause)) = next {
            *link = None;
            sleep(pause).await;
            return MemberEvent::Woken;
        }
        let arrived = match (next, link.as_mut()) {
            (None, Some(link)) => self.receive(link).await.map(MemberEvent::Said),
            _ => self.dial(link).await.map(MemberEvent::Admitted),
        };
        arrived.unwrap_or_else(|error| MemberEvent::Failed(error.into()))
    }

    async fn dial(&self, link: &mut Option<Link>) -> Result<Joined, LinkError> {
        *self.connection.borrow_mut() = Rc::default();
        let mut dialled = Link::new(self.transport.dial(&self.hub, Whom::Role(HUB_ROLE)).await?);
        match dialled.introduce(&self.credentials, Purpose::Join(self.join.clone())).await? {
            Answer::Joined(joined) => {
                *link = Some(dialled);
                Ok(joined)
            }
            other => Err(LinkError::ProtocolViolation(format!("answered {} to who wants to join", shown(&other)))),
        }
    }

    async fn receive(&self, link: &mut Link) -> Result<Control, LinkError> {
        let first = self.connection.borrow().first.take();
        for control in first {
            link.send(&control).await?;
        }
        link.receive().await
    }

    fn prepare(&self, payload: &[u8], prepare: &impl Fn(&[u8]) -> Result<RunSpec<A>, String>) -> Result<usize, String> {
        let run_spec = prepare(payload)?;
        let actors = run_spec.actors.len();
        *self.run_spec.borrow_mut() = Some(Rc::new(run_spec));
        Ok(actors)
    }

    /// Hosts the actors of this process.
    fn host(&self, joined: Joined, aligned: Alignment) -> io::Result<()> {
        let Some(run_spec) = self.run_spec.take() else { return Ok(()) };
        let options = HostOptions {
            credentials: self.credentials.clone(),
            process: joined.process,
            boot_id: self.join.boot_id,
            work: if joined.is_busy { Work::Busy } else { Work::Sleep },
            is_traced: joined.is_traced,
        };
        let clock = self.clock.again();
        clock.set_offset(aligned.offset());
        let host = Host::start_at(options, run_spec, clock)?;
        if let Some(path) = &self.journal {
            host.keep(OpenJournal::of_member(path, &format!("member of run {:016x}", joined.run))?)?;
        }
        let mut names = Vec::new();
        for seated in &joined.actors {
            host.host(seated.actor, seated.incarnation);
            names.push(host.run_spec.actors[seated.actor.index()].name.clone());
        }
        host.serve(self.listener.try_clone().and_then(TcpListener::from_std)?);
        tracing::info!(
            clock_error_us = aligned.error_ns() / 1000,
            "joined {} as process {}, and hosts {}",
            self.hub,
            joined.process,
            names.join(", ")
        );
        let follower = RefCell::new(Follower::new(&aligned, self.clock.own()));
        *self.hosting.borrow_mut() = Some(Rc::new(Hosting { host, aligned, follower, began_trace: Cell::new(false) }));
        Ok(())
    }

    /// Serves the connection to the hub until it ends, or this process is done.
    async fn attend(&self, link: Option<Link>) -> MemberEvent {
        let (hosting, connection) = (self.hosting.borrow().clone(), self.connection.borrow().clone());
        let (Some(mut link), Some(hosting)) = (link, hosting) else {
            return MemberEvent::Failed(LinkError::Ended.into());
        };
        let (host, outbox) = (&hosting.host, &connection.outbox);
        let hear = |control| {
            self.take(MemberEvent::Said(control));
            Ok(())
        };
        host.set_hub(Some(outbox.clone()));
        let error = tokio::select! {
            // Received messages are handled, and waiting ones written, before the end of the connection is noticed.
            biased;
            () = self.is_finished.notified() => LinkError::Ended,
            () = self.work(&hosting, &connection) => LinkError::Ended,
            error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
            () = self.tell(host, outbox) => LinkError::Ended,
            error = ping(outbox, || self.clock.own()) => error,
            error = host.shell.read(&mut link.reader, &mut link.splitter, HUB, hear) => error,
        };
        // Until the next connection, senders of messages to the hub's actors must notice the loss.
        host.set_hub(None);
        host.shell.discard(outbox);
        MemberEvent::Failed(error.into())
    }

    /// Makes the actors leave on request, and sends the results when the machine wants them, for as long as it is
    /// polled.
    async fn work(&self, hosting: &Rc<Hosting<A>>, connection: &Connection) {
        let asks = async {
            self.asked().await;
            self.take(MemberEvent::AskedToLeave);
            connection.leave.notified().await;
            let grace = self.leaving.as_ref().map_or(Duration::ZERO, |leaving| leaving.grace);
            self.take(MemberEvent::ActorsLeft(hosting.host.leave(grace).await));
            pending().await
        };
        tokio::select! {
            biased;
            () = connection.hand_in.notified() => {}
            () = asks => {}
        }
        let report = hosting.send_results(&connection.outbox).await;
        self.take(MemberEvent::Gathered(Box::new(report)));
        pending().await
    }

    /// Sends the hub the new results of the actors during the run.
    async fn tell(&self, host: &Rc<Host<A>>, outbox: &Outbox) {
        let has_room = || outbox.waiting() <= WAITING_BYTES_MAX && !self.machine.borrow().has_handed_in();
        let say = |News { actor, at, bytes, .. }| {
            if bytes.len() <= NEWS_BYTES_MAX {
                outbox.put(FrameKind::Control, &Control::News { actor, at, news: Blob(bytes) });
            }
        };
        tell(host, has_room, say).await;
    }

    /// Registers the addresses of other processes.
    fn meet(&self, hosting: &Hosting<A>, peers: Vec<Peer>) {
        let host = &hosting.host;
        let me = host.me().process;
        for peer in peers.into_iter().filter(|peer| peer.sender.process != me) {
            match peer.sender.process {
                HUB => host.reach(&peer.sender, &self.connection.borrow().outbox),
                _ => host.learn(peer),
            }
        }
    }
}

impl<A: Live> Hosting<A> {
    /// Sends the results and the trace; returns the report of this process.
    async fn send_results(&self, outbox: &Outbox) -> ProcessReport {
        let host = &self.host;
        let mut report = collect_results(host, |actor, bytes| async move {
            for part in parts(actor, &bytes) {
                outbox.room(PART_BYTES).await;
                outbox.put(FrameKind::Control, &part);
            }
        })
        .await;
        let is_again = self.began_trace.get();
        self.began_trace.set(is_again || host.has_tape());
        report.trace_error = send_trace(host, |part| async {
            outbox.room(4 * PART_BYTES).await;
            outbox.put(FrameKind::Control, &Control::Trace(Blob(part)));
            Ok(())
        })
        .await;
        if is_again {
            // The trace is read while it is sent, and cannot be read a second time.
            tracing::warn!("the connection broke when the trace was being sent: the end of the trace may be missing");
        }
        report.clock = self.follower.borrow().course();
        let largest = report.clock.iter().map(|sample| sample.error_ns).max().unwrap_or_default();
        report.clock_error_ns = largest.max(self.aligned.error_ns());
        report
    }

    /// Aligns this clock with the hub's again. The time of the run never goes back.
    fn compare_clocks(&self, sent: u64, count: u64) {
        let clock = &self.host.shell.clock;
        let before = clock.offset();
        let now = self.host.now();
        let Some(offset) = self.follower.borrow_mut().take(sent, count, clock.own(), before, now) else { return };
        let apart = offset.abs_diff(before);
        if apart > DRIFT_WARN_NS {
            tracing::warn!(ms = apart / 1_000_000, "this clock has run away from the coordinator's, and is corrected");
        }
        self.host.shell.correct_clock(offset);
    }
}

/// Waits until the run has ended, and gets the results of each actor of this process. Returns the report of the
/// process, except its clock error and trace error.
pub(crate) async fn collect_results<A, F>(
    host: &Rc<Host<A>>,
    mut send_results: impl FnMut(meshsim_actor::ActorId, Vec<u8>) -> F,
) -> ProcessReport
where
    A: Live,
    F: Future<Output = ()>,
{
    while host.now() <= host.shell.end() {
        sleep(Duration::from_millis(5)).await;
    }
    let end = host.shell.end();
    let mut names = Vec::new();
    for actor in host.actors() {
        names.push(host.run_spec.actors[actor.index()].name.clone());
        let findings = host.run_spec.findings.clone();
        if let Some(bytes) = host.inspect(actor, move |cell| findings(cell.actor(), end)).await {
            send_results(actor, bytes).await;
        }
    }
    ProcessReport {
        actors: names,
        hostname: usage::hostname(),
        pid: std::process::id(),
        clock_error_ns: 0,
        clock: Vec::new(),
        memory_peak_bytes: usage::memory_peak_bytes(),
        processor_ns: usage::processor_ns(),
        counts: host.counts(),
        slept_instead: host.slept_instead(),
        worked: host.worked(),
        trace_error: None,
    }
}

/// Ends the trace of this process and sends it in parts; returns the error, if any.
pub(crate) async fn send_trace<A, F>(host: &Rc<Host<A>>, mut send_results: impl FnMut(Vec<u8>) -> F) -> Option<String>
where
    A: Live,
    F: Future<Output = io::Result<()>>,
{
    let trace_sink = host.take_tape()?;
    let handing = async {
        let mut trace_sink = trace_sink.finish()?;
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            io::Read::read_to_end(&mut io::Read::take(&mut trace_sink, PART_BYTES as u64), &mut part)?;
            if part.is_empty() {
                return Ok(());
            }
            send_results(part).await?;
        }
    };
    handing.await.err().map(|error: io::Error| error.to_string())
}
