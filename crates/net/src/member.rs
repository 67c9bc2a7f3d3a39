//! A process that joins a cluster and hosts some of its actors.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use meshsim_actor::Rng;
use meshsim_wire::FrameKind;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use crate::assignments::Join;
use crate::attention::Patience;
use crate::clock::{Alignment, Clock, Follower};
use crate::control::{Answer, Blob, Control, HUB, HUB_ROLE, Joined, PART_BYTES, Peer, ProcessReport, Purpose};
use crate::dial::{backoff, connect, ping};
use crate::host::{Host, HostOptions};
use crate::leave::{Leaving, asked, is_asked};
use crate::link::{Credentials, Link, LinkError};
use crate::news::{NEWS_BYTES_MAX, News, WAITING_BYTES_MAX, tell};
use crate::outbox::Outbox;
use crate::run_spec::{Live, RunSpec};
use crate::stream::Whom;
use crate::text::{brief, shown};
use crate::usage;
use crate::worker::Work;

/// Number of round trips from which the clocks are aligned.
const TRIPS: u32 = 32;
/// Longest attempt to join that says something about the hub. It is beyond all limits of a connection and its
/// handshake: in a longer attempt this process itself stood still.
const ATTEMPT_MAX: Duration = Duration::from_secs(15);
/// Clock drift from which a warning is logged: the machine was suspended, or its clock runs at another rate.
const DRIFT_WARN_NS: u64 = 10_000_000;
/// Largest experiment that is accepted, in bytes: more than any experiment with its files.
const CHARTER_BYTES_MAX: u64 = 768 << 20;

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
}

/// Reason why a process did not stay to the end of the run and send all its results.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The hub refused it.
    #[error("the coordinator at {0} {1}")]
    Refused(String, String),
    /// The hub is unreachable, from the start or since a loss of the connection.
    #[error("the coordinator at {0} {1}; it was tried for {2} s")]
    Lost(String, String, u64),
    /// The hub was restarted: the actors of this process belong to a run that no longer exists.
    #[error("the coordinator at {0} has begun another run: start this process again to join it")]
    OtherRun(String),
    /// The run continues, or ended, without this process: the results of its actors are lost.
    #[error("the coordinator at {0} {1}: what this process found is lost")]
    LeftOut(String, String),
    /// The experiment cannot be decoded.
    #[error("what the coordinator sent cannot be run: {0}")]
    Payload(String),
    /// The operating system refused a resource.
    #[error("cannot host: {0}")]
    Io(#[from] io::Error),
}

/// Asks a process that listens at `address` whether it is healthy; returns its answer in one line.
///
/// # Errors
/// The reason, worded about the process: "it ...".
pub async fn probe(address: &str, credentials: &Credentials) -> Result<String, String> {
    let asked = async {
        let (mut link, _) = connect(address, credentials, Whom::Any).await?;
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
    let MemberOptions { hub, credentials, join, listener, patience, leaving } = options;
    let boot_id = new_boot_id();
    let port = listener.local_addr()?.port();
    let address = if join.address.is_empty() { format!(":{port}") } else { join.address.clone() };
    let join = Join { boot_id, hostname: usage::hostname(), pid: std::process::id(), address, ..join };
    let (listener, clock) = (listener.into_std()?, Some(Clock::start()));
    let mut member = Member { hub, credentials, join, listener, leaving, clock, on_stage: None };
    let mut rng = Rng::keyed(boot_id, 0, 2);
    let time = Clock::start();
    let mut patience = Patience::new(patience, ATTEMPT_MAX);
    let (mut failures, mut paused) = (0, Duration::ZERO);
    loop {
        let began = time.own();
        let (error, attempt) = match member.attend(&prepare).await {
            Ok(End::Over) => return Ok(()),
            // It leaves, and no connection is left on which to report that.
            Ok(End::Broken(error)) if is_asked(member.leaving.as_ref()) => return member.goes(error.to_string()),
            Ok(End::Broken(error)) => {
                failures = 0;
                patience.renew();
                tracing::warn!("the coordinator at {} {error}; trying again", member.hub);
                // It was reached: patience starts again.
                (error, Duration::ZERO)
            }
            Err(Failed::Link(error)) => (error, Duration::from_nanos(time.own() - began)),
            Err(Failed::Member(error)) => return Err(error),
        };
        if !error.is_retryable() {
            let why = error.to_string();
            return Err(match member.on_stage {
                Some(_) => MemberError::LeftOut(member.hub, why),
                None => MemberError::Refused(member.hub, why),
            });
        }
        // A hub that accepts and then stays silent counts as unreachable for the time of waiting.
        if patience.ends_with(paused, attempt) {
            return Err(MemberError::Lost(member.hub, error.to_string(), patience.used().as_secs()));
        }
        failures += 1;
        match failures {
            1 => tracing::debug!("the coordinator at {} {error}", member.hub),
            2 => tracing::info!("the coordinator at {} {error}; waiting for it", member.hub),
            _ => {}
        }
        // The planned pause, not the measured one: this process may have been stopped meanwhile.
        paused = backoff(failures, &mut rng);
        tokio::select! {
            () = sleep(paused) => {}
            () = asked(member.leaving.as_ref()) => return member.goes(error.to_string()),
        }
    }
}

/// A random boot id, different for each start of a process.
pub(crate) fn new_boot_id() -> u64 {
    meshsim_wire::fresh_number()
}

struct Member<A: Live> {
    hub: String,
    credentials: Credentials,
    join: Join,
    /// Each host of this process serves on a copy of the socket.
    listener: std::net::TcpListener,
    leaving: Option<Leaving>,
    clock: Option<Clock>,
    on_stage: Option<Rc<Membership<A>>>,
}

/// State of an admitted member.
struct Membership<A: Live> {
    host: Rc<Host<A>>,
    run: u64,
    /// Clock alignment on joining, and what keeps it during the run.
    aligned: Alignment,
    follower: RefCell<Follower>,
    /// Number of manual faults received.
    faults: Cell<u32>,
    handed_in: Cell<bool>,
}

enum End {
    Over,
    Broken(LinkError),
}

enum Failed {
    Link(LinkError),
    Member(MemberError),
}

impl From<LinkError> for Failed {
    fn from(error: LinkError) -> Self {
        Failed::Link(error)
    }
}

impl<A: Live> Member<A> {
    /// Handles one connection to the hub, from its start to its end.
    async fn attend(&mut self, prepare: &impl Fn(&[u8]) -> Result<RunSpec<A>, String>) -> Result<End, Failed> {
        let leaving = self.leaving.clone();
        let arrived = tokio::select! {
            arrived = self.arrive(prepare) => Some(arrived?),
            () = asked(leaving.as_ref()) => None,
        };
        match arrived {
            Some((stage, link)) => Ok(stage.attend(link, leaving.as_ref()).await),
            None => self.goes("was not reached again".into()).map(|()| End::Over).map_err(Failed::Member),
        }
    }

    /// Result of leaving without a connection on which to send results.
    fn goes(&self, why: String) -> Result<(), MemberError> {
        let played = self.on_stage.as_ref().is_some_and(|stage| stage.host.shell.clock.knows_zero());
        if played { Err(MemberError::LeftOut(self.hub.clone(), why)) } else { Ok(()) }
    }

    /// Joins, or rejoins, on a new connection.
    async fn arrive(
        &mut self,
        prepare: &impl Fn(&[u8]) -> Result<RunSpec<A>, String>,
    ) -> Result<(Rc<Membership<A>>, Link), Failed> {
        let (mut link, _) = connect(&self.hub, &self.credentials, Whom::Role(HUB_ROLE)).await?;
        let joined = match link.introduce(&self.credentials, Purpose::Join(self.join.clone())).await? {
            Answer::Joined(joined) => joined,
            other => {
                return Err(
                    LinkError::ProtocolViolation(format!("answered {} to who wants to join", shown(&other))).into()
                );
            }
        };
        let stage = match &self.on_stage {
            Some(stage) if joined.resumed && stage.run == joined.run => stage.clone(),
            Some(stage) if stage.host.shell.clock.knows_zero() => {
                return Err(Failed::Member(MemberError::OtherRun(self.hub.clone())));
            }
            other => {
                if let Some(stage) = other {
                    // The run that it waited for never began: there is nothing to lose, and it may join this one.
                    tracing::info!("the coordinator at {} was started again", self.hub);
                    stage.host.close();
                    self.clock = Some(Clock::start());
                }
                self.on_stage = None;
                let stage = Rc::new(self.enter(&joined, &mut link, prepare).await?);
                self.on_stage = Some(stage.clone());
                stage
            }
        };
        Ok((stage, link))
    }

    /// Receives the experiment, aligns the clock, and hosts its actors.
    async fn enter(
        &mut self,
        joined: &Joined,
        link: &mut Link,
        prepare: &impl Fn(&[u8]) -> Result<RunSpec<A>, String>,
    ) -> Result<Membership<A>, Failed> {
        let io = |error| Failed::Member(MemberError::Io(error));
        let payload = receive_payload(link, joined.payload_bytes).await?;
        let run_spec = prepare(&payload).map_err(|why| Failed::Member(MemberError::Payload(why)))?;
        if joined.actors.iter().any(|seated| seated.actor.index() >= run_spec.actors.len()) {
            return Err(LinkError::ProtocolViolation("gave an actor that is not in the run".into()).into());
        }
        let Some(clock) = self.clock.take() else { return Err(LinkError::Ended.into()) };
        let aligned = align(link, &clock).await;
        let aligned = match aligned {
            Ok(aligned) => aligned,
            Err(error) => {
                // The next connection needs it.
                self.clock = Some(clock);
                return Err(error.into());
            }
        };
        clock.set_offset(aligned.offset());
        let options = HostOptions {
            credentials: self.credentials.clone(),
            process: joined.process,
            boot_id: self.join.boot_id,
            work: if joined.is_busy { Work::Busy } else { Work::Sleep },
            is_traced: joined.is_traced,
        };
        let host = Host::start_at(options, Rc::new(run_spec), clock).map_err(io)?;
        let mut names = Vec::new();
        for seated in &joined.actors {
            host.host(seated.actor, seated.incarnation);
            names.push(host.run_spec.actors[seated.actor.index()].name.clone());
        }
        let listener = self.listener.try_clone().and_then(TcpListener::from_std).map_err(io)?;
        host.serve(listener);
        tracing::info!(
            clock_error_us = aligned.error_ns() / 1000,
            "joined {} as process {}, and hosts {}",
            self.hub,
            joined.process,
            names.join(", ")
        );
        let follower = RefCell::new(Follower::new(&aligned, host.shell.clock.own()));
        let (faults, handed_in) = (Cell::new(0), Cell::new(false));
        Ok(Membership { host, run: joined.run, aligned, follower, faults, handed_in })
    }
}

async fn receive_payload(link: &mut Link, bytes: u64) -> Result<Vec<u8>, LinkError> {
    if bytes > CHARTER_BYTES_MAX {
        return Err(LinkError::ProtocolViolation(format!("announced an experiment of {bytes} bytes")));
    }
    let mut payload = Vec::new();
    while (payload.len() as u64) < bytes {
        match link.receive().await? {
            Control::Payload(part) => payload.extend_from_slice(&part.0),
            other => {
                return Err(LinkError::ProtocolViolation(format!("said {} instead of the experiment", shown(&other))));
            }
        }
    }
    Ok(payload)
}

async fn align(link: &mut Link, clock: &Clock) -> Result<Alignment, LinkError> {
    let mut alignment = Alignment::default();
    while alignment.taken() < TRIPS {
        link.send(&Control::Ping(clock.own())).await?;
        match link.receive().await? {
            Control::Pong { sent, count } => alignment.take(sent, count, clock.own()),
            other => return Err(LinkError::ProtocolViolation(format!("said {} instead of the time", shown(&other)))),
        }
    }
    Ok(alignment)
}

impl<A: Live> Membership<A> {
    /// Serves the connection to the hub until it ends.
    async fn attend(&self, mut link: Link, leaving: Option<&Leaving>) -> End {
        let (host, outbox) = (&self.host, Rc::new(Outbox::default()));
        let ready = Control::Ready { error_ns: self.aligned.error_ns(), faults: self.faults.get() };
        outbox.put(FrameKind::Control, &ready);
        let (say, heard) = unbounded_channel();
        let hear = |control| {
            match control {
                Control::Pong { sent, count } => self.compare_clocks(sent, count),
                Control::Ping(_) => {}
                // At once: the next bytes may be messages of these actors.
                Control::Peers(peers) => self.meet(peers, &outbox),
                other => drop(say.send(other)),
            }
            Ok(())
        };
        host.set_hub(Some(outbox.clone()));
        let end = tokio::select! {
            // Received messages are handled, and waiting ones written, before the end of the connection is noticed.
            biased;
            () = self.handle_control(heard, &outbox, leaving) => End::Over,
            error = outbox.write_to(&mut link.writer) => self.ended(LinkError::Broken(error)),
            () = self.tell(&outbox) => unreachable!("it goes on for as long as the connection"),
            error = ping(&outbox, || host.shell.clock.own()) => End::Broken(error),
            error = host.shell.read(&mut link.reader, &mut link.splitter, HUB, hear) => self.ended(error),
        };
        // Until the next connection, senders of messages to the hub's actors must notice the loss.
        host.set_hub(None);
        host.shell.discard(&outbox);
        end
    }

    /// Sends the hub the new results of the actors during the run.
    async fn tell(&self, outbox: &Outbox) {
        let has_room = || outbox.waiting() <= WAITING_BYTES_MAX && !self.handed_in.get();
        let say = |News { actor, at, bytes, .. }| {
            if bytes.len() <= NEWS_BYTES_MAX {
                outbox.put(FrameKind::Control, &Control::News { actor, at, news: Blob(bytes) });
            }
        };
        tell(&self.host, has_room, say).await;
    }

    /// Registers the addresses of other processes.
    fn meet(&self, peers: Vec<Peer>, outbox: &Rc<Outbox>) {
        let me = self.host.me().process;
        for peer in peers.into_iter().filter(|peer| peer.sender.process != me) {
            match peer.sender.process {
                HUB => self.host.reach(&peer.sender, outbox),
                _ => self.host.learn(peer),
            }
        }
    }

    /// Handles the messages of the hub, and leaves on request, until the hub lets this process go.
    async fn handle_control(
        &self,
        mut heard: UnboundedReceiver<Control>,
        outbox: &Rc<Outbox>,
        leaving: Option<&Leaving>,
    ) {
        let host = &self.host;
        let leaves = async {
            asked(leaving).await;
            host.leave(leaving.map_or(Duration::ZERO, |leaving| leaving.grace)).await
        };
        let mut leaves = pin!(leaves);
        // True if it sends its results or has sent them.
        let mut is_over = false;
        loop {
            let control = tokio::select! {
                biased;
                control = heard.recv() => control,
                has_left = &mut leaves, if !is_over => {
                    if !has_left {
                        return;
                    }
                    is_over = true;
                    outbox.put(FrameKind::Control, &Control::Left);
                    self.send_results(outbox).await;
                    continue;
                }
            };
            // The connection has ended; another branch of the select handles that.
            let Some(control) = control else { return std::future::pending().await };
            match control {
                Control::Begin { zero, end } => host.begin_at(zero, end),
                Control::Fault(fault) => {
                    self.faults.set(self.faults.get() + 1);
                    if let Err(error) = host.add_fault(*fault) {
                        tracing::warn!("a fault that cannot be: {error}");
                    }
                }
                Control::EndFault { fault, at } => {
                    if let Err(error) = host.end_fault(fault as usize, at) {
                        tracing::warn!("a fault that cannot end: {error}");
                    }
                }
                Control::End { at } if !is_over => {
                    is_over = true;
                    host.end_at(at);
                    self.send_results(outbox).await;
                }
                // It is already sending its results.
                Control::End { .. } => {}
                Control::Leave => return,
                other => tracing::warn!("ignored an unexpected message of the coordinator: {}", shown(&other)),
            }
        }
    }

    /// Sends the results, the trace, and the report of this process.
    async fn send_results(&self, outbox: &Outbox) {
        let host = &self.host;
        let mut report = collect_results(host, |actor, bytes| async move {
            let mut parts = bytes.chunks(PART_BYTES).peekable();
            loop {
                let part = Blob(parts.next().unwrap_or_default().to_vec());
                let last = parts.peek().is_none();
                outbox.room(PART_BYTES).await;
                outbox.put(FrameKind::Control, &Control::ActorResults { actor, part, last });
                if last {
                    return;
                }
            }
        })
        .await;
        report.trace_error = send_trace(host, |part| async {
            outbox.room(4 * PART_BYTES).await;
            outbox.put(FrameKind::Control, &Control::Trace(Blob(part)));
            Ok(())
        })
        .await;
        report.clock = self.follower.borrow().course();
        let largest = report.clock.iter().map(|sample| sample.error_ns).max().unwrap_or_default();
        report.clock_error_ns = largest.max(self.aligned.error_ns());
        outbox.put(FrameKind::Control, &Control::Done(Box::new(report)));
        self.handed_in.set(true);
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

    /// Once all results are sent, a closed connection is a normal end.
    fn ended(&self, error: LinkError) -> End {
        if self.handed_in.get() { End::Over } else { End::Broken(error) }
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
