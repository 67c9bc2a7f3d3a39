//! Hosts, and clusters of them in one process, over real sockets of the loopback: processes that are not at their
//! former address, or that are not the former process.

use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::System;
use meshsim_actor::{Actor, ActorId, Cx, Event, Message, Span, Time};
use meshsim_fault::{ActorSet, Crash, Cut, Fault, FaultKind, NetworkSpec, Partition, Pause};
use meshsim_net::{
    ActorSpec, ClusterStatus, Credentials, Handle, Host, HostOptions, Hub, HubError, HubOptions, Join, MemberError,
    MemberOptions, RunResult, RunSpec, Work, join,
};
use meshsim_wire::Secret;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

const CALLER: ActorId = ActorId(0);
const CALLED: ActorId = ActorId(1);
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const PERIOD: Span = Span::from_millis(10);

/// No step here takes this long on a machine that works.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Call(String);

impl Message for Call {
    fn kind(&self) -> &'static str {
        "call"
    }

    fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}

/// The caller calls again and again; every player counts its starts.
#[derive(Clone, Debug, Default)]
struct Player {
    /// The text of its calls.
    text: String,
    starts: u8,
    sent: u64,
    heard: u64,
}

impl Actor for Player {
    type Msg = Call;
    type Tick = ();
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Call, ()>, cx: &mut Cx<'_, Call, ()>) {
        match event {
            Event::Start => self.starts += 1,
            Event::Message { .. } => self.heard += 1,
            Event::Timer(()) => {
                self.sent += 1;
                cx.send(CALLED, Call(self.text.clone()));
            }
        }
        if cx.id() == CALLER && !matches!(event, Event::Message { .. }) {
            cx.arm(cx.now() + PERIOD, ());
        }
    }
}

/// More than one frame of results holds.
const FOUND_BYTES: usize = 600_000;

/// A caller with this text, the called, and an idle third. The results of an actor are its starts, and padding.
fn run_spec(text: &str) -> RunSpec<Player> {
    let text = text.to_owned();
    let seat = |name: &str| ActorSpec { name: name.into(), role: "player", needed: name != "third" };
    RunSpec {
        seed: 7,
        network: NetworkSpec::default(),
        actors: vec![seat("caller"), seat("called"), seat("third")],
        actor: Rc::new(move |_| Player { text: text.clone(), ..Player::default() }),
        news: None,
        findings: Arc::new(|player: &Player, _| {
            let mut found = vec![7; FOUND_BYTES];
            found[0] = player.starts;
            found
        }),
        trace_sink: Rc::new(|| Err(io::Error::other("nothing is to be written down"))),
        disk: None,
        outside: None,
        leave: None,
        refused: None,
    }
}

/// Number of starts of the called actor in its incarnation; `None` if that is lost.
fn starts(performance: &RunResult) -> Option<u8> {
    let found = performance.findings[CALLED.index()].as_deref()?;
    assert!(found.len() == FOUND_BYTES && found[1..].iter().all(|byte| *byte == 7));
    Some(found[0])
}

fn credentials() -> Credentials {
    Credentials { cluster: "test".into(), secret: Secret::none(), tls: None }
}

/// Polls until there is a result.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(STEP).await;
    }
    panic!("timed out: {what}");
}

/// A separate process, as far as the other can tell.
fn host(process: u32) -> Rc<Host<Player>> {
    let options = HostOptions {
        credentials: credentials(),
        process,
        boot_id: boot_id(process),
        work: Work::Sleep,
        is_traced: false,
    };
    let host = Host::start(options, Rc::new(run_spec(""))).unwrap();
    host.host(ActorId(process), 0);
    host
}

fn boot_id(process: u32) -> u64 {
    u64::from(process) + 100
}

#[test]
fn a_peer_that_was_out_of_reach_is_found_at_its_new_address() {
    System::new().block_on(async {
        let (caller, called) = (host(0), host(1));
        let listener = TcpListener::bind(ANY).await.unwrap();
        let right = listener.local_addr().unwrap().to_string();
        called.meet(0, boot_id(0), "127.0.0.1:1".into(), &[CALLER]);
        called.serve(listener);
        // No process listens at the former address.
        let wrong = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap().to_string();
        caller.meet(1, boot_id(1), wrong, &[CALLED]);
        called.begin();
        caller.begin();
        until("it is given up", async || (caller.counts().lost_down > 0).then_some(())).await;
        caller.meet(1, boot_id(1), right, &[CALLED]);
        let heard = async || called.inspect(CALLED, |cell| cell.actor().heard).await.filter(|heard| *heard > 0);
        until("it hears", heard).await;
    });
}

/// A member that asks for any actor, or for the named one.
async fn member(hub: &str, name: Option<&str>) -> JoinHandle<Result<(), MemberError>> {
    let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    let count = u32::from(name.is_none());
    let options = MemberOptions {
        hub: hub.into(),
        credentials: credentials(),
        join: Join { role: "player".into(), names, count, ..Join::default() },
        listener: TcpListener::bind(ANY).await.unwrap(),
        patience: PATIENCE,
        leaving: None,
        journal: None,
    };
    spawn_local(async move { join(options, |_| Ok(run_spec(""))).await })
}

/// A connection to the hub that can be cut.
struct Way {
    address: String,
    is_open: Rc<Cell<bool>>,
    /// While it is set, bytes to the hub vanish, and are counted.
    vanished: Rc<Cell<Option<usize>>>,
    /// Counts the cuts. Each connection obeys the cuts since it began, also while it is still being opened.
    cuts: watch::Sender<u64>,
}

impl Way {
    async fn to(hub: &str) -> Self {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (is_open, vanished) = (Rc::new(Cell::new(true)), Rc::default());
        let way = Way { address, is_open, vanished, cuts: watch::Sender::new(0) };
        let (hub, is_open, vanished, cuts) =
            (hub.to_owned(), way.is_open.clone(), way.vanished.clone(), way.cuts.clone());
        spawn_local(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                if !is_open.get() {
                    continue;
                }
                let mut cut = cuts.subscribe();
                let mut far = TcpStream::connect(&hub).await.unwrap();
                let vanished = vanished.clone();
                spawn_local(async move {
                    let ((near_in, mut near_out), (mut far_in, far_out)) = (near.split(), far.split());
                    tokio::select! {
                        () = to_the_hub(near_in, far_out, &vanished) => {}
                        _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        way
    }

    /// Ends the open connections.
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends the open connections and refuses new ones.
    fn close(&self) {
        self.is_open.set(false);
        self.cut();
    }

    fn open(&self) {
        self.is_open.set(true);
    }
}

async fn to_the_hub(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, vanished: &Cell<Option<usize>>) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        match vanished.get() {
            Some(before) => vanished.set(Some(before + count)),
            None if to.write_all(&bytes[..count]).await.is_ok() => {}
            None => return,
        }
    }
}

/// A cluster that runs until it is stopped. Its hub hosts the caller.
struct Cluster {
    hub: String,
    handle: Handle<Player>,
    performance: JoinHandle<Result<RunResult, HubError>>,
}

impl Cluster {
    async fn begin(text: &str, needs_third: bool) -> Self {
        let options = HubOptions {
            listener: TcpListener::bind(ANY).await.unwrap(),
            credentials: credentials(),
            work: Work::Sleep,
            is_traced: false,
            end: Time::NEVER,
            here: vec![CALLER],
            payload: Vec::new(),
            answers: Box::new(|_| {}),
            traces: Box::new(|_, _| Ok(())),
            news: Box::new(drop),
            journal: None,
        };
        let mut run_spec = run_spec(text);
        run_spec.actors[2].needed = needs_third;
        let hub = Hub::open(options, run_spec).unwrap();
        let (handle, address) = (hub.handle(), hub.address().to_string());
        Cluster { hub: address, handle, performance: spawn_local(hub.perform(|_| false)) }
    }

    async fn status(&self) -> ClusterStatus {
        self.handle.status().await.unwrap()
    }

    /// Waits until the run is in progress and all processes have joined.
    async fn until_running(&self) -> Time {
        until("the run goes on", async || {
            let status = self.status().await;
            (status.missing.is_empty() && status.now > Time::ZERO).then_some(status.now)
        })
        .await
    }

    async fn until_later_than(&self, time: Time) {
        until("it is later", async || (self.status().await.now > time).then_some(())).await;
    }

    async fn until_missing(&self, names: &[&str]) {
        until("some are missing", async || (self.status().await.missing == names).then_some(())).await;
    }

    /// Waits until the caller has made this many further calls.
    async fn until_said(&self, more: u64) {
        let sent = async || self.handle.inspect(CALLER, |cell| cell.actor().sent).await.ok();
        let before = until("the caller is there", sent).await;
        until("it says more", async || sent().await.filter(|sent| *sent > before + more)).await;
    }

    async fn fault(&self, at: Time, until: Time, kind: impl Into<FaultKind>) {
        self.handle.fault(Fault::new(at, until, kind)).await.unwrap();
    }

    async fn end(self) -> RunResult {
        self.handle.stop().unwrap();
        self.performance.await.unwrap().unwrap()
    }
}

fn the_called() -> ActorSet {
    ActorSet::from_iter([CALLED])
}

#[test]
fn a_late_member_ignores_a_manual_crash_that_has_ended() {
    System::new().block_on(async {
        let cluster = Cluster::begin("", false).await;
        let first = member(&cluster.hub, None).await;
        let at = cluster.until_running().await + PERIOD * 10;
        cluster.fault(at, at + PERIOD, Crash { actors: the_called() }).await;
        cluster.until_later_than(at + PERIOD).await;
        first.abort();
        cluster.until_missing(&["called"]).await;
        let second = member(&cluster.hub, None).await;
        cluster.until_running().await;
        let performance = cluster.end().await;
        second.await.unwrap().unwrap();
        assert_eq!(starts(&performance), Some(1));
    });
}

#[test]
fn at_a_paused_machine_no_more_waits_than_memory_is_meant_for() {
    System::new().block_on(async {
        let cluster = Cluster::begin(&"x".repeat(1 << 20), false).await;
        let member = member(&cluster.hub, None).await;
        let at = cluster.until_running().await + PERIOD * 10;
        cluster.fault(at, Time::NEVER, Pause { actors: the_called() }).await;
        // The outbox holds 128 messages of a megabyte, and at most as many again are in flight.
        cluster.until_said(300).await;
        let performance = cluster.end().await;
        member.await.unwrap().unwrap();
        let called = &performance.processes[1].counts;
        assert!(called.lost_full > 0 && called.delivered < 100, "{called:?}");
    });
}

#[test]
fn messages_held_by_a_partition_are_counted_until_their_release() {
    System::new().block_on(async {
        let held = async |until: fn(Time) -> Time| {
            let cluster = Cluster::begin("", false).await;
            let member = member(&cluster.hub, None).await;
            let at = cluster.until_running().await + PERIOD * 10;
            let cut = Cut::Islands(vec![ActorSet::from_iter([CALLER]), the_called()]);
            cluster.fault(at, until(at), Partition { cut, hold: true }).await;
            cluster.until_later_than(at + PERIOD * 10).await;
            let performance = cluster.end().await;
            member.await.unwrap().unwrap();
            let counts = performance.processes[0].counts;
            assert!(counts.held + performance.processes[1].counts.delivered <= counts.sent, "{counts:?}");
            counts.held
        };
        assert!(held(|at| at + Span::from_secs(3_600)).await > 0);
        assert_eq!(held(|at| at + PERIOD).await, 0, "a partition that is over keeps nothing back");
    });
}

#[test]
fn a_member_disconnected_before_the_start_rejoins() {
    System::new().block_on(async {
        let cluster = Cluster::begin("", true).await;
        let way = Way::to(&cluster.hub).await;
        let called = member(&way.address, Some("called")).await;
        cluster.until_missing(&["third"]).await;
        way.close();
        cluster.until_missing(&["called", "third"]).await;
        way.open();
        cluster.until_missing(&["third"]).await;
        let third = member(&cluster.hub, Some("third")).await;
        cluster.until_running().await;
        let performance = cluster.end().await;
        called.await.unwrap().unwrap();
        third.await.unwrap().unwrap();
        assert_eq!((performance.processes.len(), performance.lost), (3, vec![]));
    });
}

#[test]
fn a_member_disconnected_at_the_end_still_sends_its_results() {
    System::new().block_on(async {
        let cluster = Cluster::begin("", false).await;
        let way = Way::to(&cluster.hub).await;
        let called = member(&way.address, Some("called")).await;
        cluster.until_running().await;
        way.cut();
        let performance = cluster.end().await;
        called.await.unwrap().unwrap();
        assert_eq!((starts(&performance), performance.lost), (Some(1), vec![]));
    });
}

#[test]
fn a_member_whose_last_results_were_lost_on_the_way_sends_them_again() {
    System::new().block_on(async {
        let cluster = Cluster::begin("", false).await;
        let way = Way::to(&cluster.hub).await;
        let called = member(&way.address, Some("called")).await;
        cluster.until_running().await;
        way.vanished.set(Some(0));
        let performance = spawn_local(cluster.end());
        // As far as the member can tell, they are sent.
        until("all results are sent", async || way.vanished.get().filter(|bytes| *bytes > FOUND_BYTES)).await;
        way.cut();
        way.vanished.set(None);
        called.await.unwrap().unwrap();
        let performance = performance.await.unwrap();
        assert_eq!((starts(&performance), performance.lost), (Some(1), vec![]));
    });
}

#[test]
fn a_manual_fault_also_reaches_processes_that_were_disconnected() {
    System::new().block_on(async {
        let cluster = Cluster::begin("", false).await;
        let way = Way::to(&cluster.hub).await;
        let called = member(&way.address, Some("called")).await;
        cluster.until_running().await;
        way.close();
        cluster.until_missing(&["called"]).await;
        let at = cluster.status().await.now + PERIOD;
        cluster.fault(at, Time::NEVER, Crash { actors: the_called() }).await;
        cluster.until_later_than(at + PERIOD).await;
        way.open();
        cluster.until_running().await;
        cluster.until_said(20).await;
        let performance = cluster.end().await;
        called.await.unwrap().unwrap();
        let counts = &performance.processes[1].counts;
        assert!(counts.lost_down > 0, "its machine is down: {counts:?}");
    });
}

#[test]
fn a_new_member_replaces_a_lost_one_and_the_other_lost_one_may_rejoin() {
    System::new().block_on(async {
        let cluster = Cluster::begin("", true).await;
        let ways = [Way::to(&cluster.hub).await, Way::to(&cluster.hub).await];
        let first = member(&ways[0].address, None).await;
        cluster.until_missing(&["third"]).await;
        let second = member(&ways[1].address, None).await;
        cluster.until_running().await;
        ways.iter().for_each(Way::close);
        cluster.until_missing(&["called", "third"]).await;
        let instead = member(&cluster.hub, None).await;
        cluster.until_missing(&["third"]).await;
        ways.iter().for_each(Way::open);
        cluster.until_running().await;
        let refused = first.await.unwrap().unwrap_err();
        assert!(refused.to_string().contains("another process has taken its place"), "{refused}");
        let performance = cluster.end().await;
        second.await.unwrap().unwrap();
        instead.await.unwrap().unwrap();
        assert_eq!(performance.lost, Vec::<String>::new());
    });
}
