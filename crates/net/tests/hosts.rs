//! Hosts and clusters of them in one process, over real sockets of the loopback: what happens when a process is not
//! where it was, or not the one that it was.

use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::System;
use meshsim_actor::{Actor, ActorId, Cx, Event, Message, Span, Time};
use meshsim_fault::{ActorSet, Crash, Fault, NetworkSpec, Pause};
use meshsim_net::{
    Cast, Credentials, Handle, Host, HostOptions, Hub, HubOptions, Join, MemberError, MemberOptions, Seat, Work, join,
};
use meshsim_wire::Secret;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};

const CALLER: ActorId = ActorId(0);
const CALLED: ActorId = ActorId(1);
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const PERIOD: Span = Span::from_millis(10);

/// Nothing here takes so long, on any machine that works.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Call(String);

impl Message for Call {
    fn kind(&self) -> &'static str {
        "call"
    }
}

/// Calls, if it is the caller, again and again; counts what it has lived through.
#[derive(Clone, Debug, Default)]
struct Player {
    /// What it says.
    text: String,
    starts: u8,
    sent: u64,
    heard: u64,
}

impl Actor for Player {
    type Msg = Call;
    type Tick = ();

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

/// A caller that says this; the findings of an actor are its starts.
fn cast(text: &str) -> Cast<Player> {
    let text = text.to_owned();
    let seat = |name: &str| Seat { name: name.into(), role: "player", needed: true };
    Cast {
        seed: 7,
        network: NetworkSpec::default(),
        seats: vec![seat("caller"), seat("called")],
        actor: Rc::new(move |_| Player { text: text.clone(), ..Player::default() }),
        findings: Arc::new(|player: &Player, _| vec![player.starts]),
        tape: Rc::new(|| Err(io::Error::other("nothing is to be written down"))),
        outside: None,
    }
}

fn credentials() -> Credentials {
    Credentials { cluster: "test".into(), secret: Secret::none(), tls: None }
}

/// Looks until there is something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(STEP).await;
    }
    panic!("in vain: {what}");
}

/// A process of its own, as far as the other can tell.
fn host(process: u32) -> Rc<Host<Player>> {
    let options =
        HostOptions { credentials: credentials(), process, life: life(process), work: Work::Sleep, is_traced: false };
    let host = Host::start(options, Rc::new(cast(""))).unwrap();
    host.host(ActorId(process), 0);
    host
}

fn life(process: u32) -> u64 {
    u64::from(process) + 100
}

#[test]
fn a_peer_that_was_out_of_reach_is_found_at_its_new_address() {
    System::new().block_on(async {
        let (caller, called) = (host(0), host(1));
        let listener = TcpListener::bind(ANY).await.unwrap();
        let right = listener.local_addr().unwrap().to_string();
        called.meet(0, life(0), "127.0.0.1:1".into(), &[CALLER]);
        called.serve(listener);
        // Nobody listens where it was.
        let wrong = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap().to_string();
        caller.meet(1, life(1), wrong, &[CALLED]);
        called.begin();
        caller.begin();
        until("it is given up", async || (caller.counts().lost_down > 0).then_some(())).await;
        caller.meet(1, life(1), right, &[CALLED]);
        let heard = async || called.look(CALLED, |cell| cell.actor().heard).await.filter(|heard| *heard > 0);
        until("it hears", heard).await;
    });
}

/// A member of the cluster that wants to host the called.
async fn member(hub: &str) -> JoinHandle<Result<(), MemberError>> {
    let options = MemberOptions {
        hub: hub.into(),
        credentials: credentials(),
        join: Join { role: "player".into(), count: 1, ..Join::default() },
        listener: TcpListener::bind(ANY).await.unwrap(),
        patience: PATIENCE,
    };
    spawn_local(async move { join(options, |_| Ok(cast(""))).await })
}

/// A hub that hosts a caller who says this, until it is stopped.
async fn hub(text: &str) -> Hub<Player> {
    let options = HubOptions {
        listener: TcpListener::bind(ANY).await.unwrap(),
        credentials: credentials(),
        work: Work::Sleep,
        is_traced: false,
        end: Time::NEVER,
        here: vec![CALLER],
        charter: Vec::new(),
        answers: Box::new(|_| {}),
        traces: Box::new(|_, _| Ok(())),
    };
    Hub::open(options, cast(text)).unwrap()
}

async fn until_begun(handle: &Handle<Player>) -> Time {
    until("the run goes on", async || {
        let snapshot = handle.snapshot().await.unwrap();
        (snapshot.missing.is_empty() && snapshot.now > Time::ZERO).then_some(snapshot.now)
    })
    .await
}

#[test]
fn who_joins_after_a_crash_that_was_ordered_by_hand_does_not_live_through_it() {
    System::new().block_on(async {
        let hub = hub("").await;
        let (handle, address) = (hub.handle(), hub.address().to_string());
        let performance = spawn_local(hub.perform(|_| false));

        let first = member(&address).await;
        let at = until_begun(&handle).await + PERIOD * 10;
        let crash = Crash { actors: ActorSet::from_iter([CALLED]) };
        handle.fault(Fault::new(at, at + PERIOD, crash)).await.unwrap();
        until("it is over", async || (handle.snapshot().await.unwrap().now > at + PERIOD).then_some(())).await;

        first.abort();
        until("it is gone", async || (!handle.snapshot().await.unwrap().missing.is_empty()).then_some(())).await;
        let second = member(&address).await;
        until_begun(&handle).await;
        handle.stop().unwrap();
        let performance = performance.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert_eq!(performance.findings[CALLED.index()].as_deref(), Some(&[1][..]), "it started once in its life");
    });
}

#[test]
fn at_a_paused_machine_no_more_waits_than_memory_is_meant_for() {
    System::new().block_on(async {
        let hub = hub(&"x".repeat(1 << 20)).await;
        let (handle, address) = (hub.handle(), hub.address().to_string());
        let performance = spawn_local(hub.perform(|_| false));
        let member = member(&address).await;
        let at = until_begun(&handle).await + PERIOD * 10;
        let pause = Pause { actors: ActorSet::from_iter([CALLED]) };
        handle.fault(Fault::new(at, Time::NEVER, pause)).await.unwrap();
        // 128 of a megabyte have room, and as many again are under way at the most.
        let sent = async || handle.look(CALLER, |player| player.sent).await.ok().filter(|sent| *sent > 300);
        until("more has been sent than there is room for", sent).await;
        handle.stop().unwrap();
        let performance = performance.await.unwrap().unwrap();
        member.await.unwrap().unwrap();
        let called = &performance.processes[1].counts;
        assert!(called.lost_full > 0 && called.delivered < 100, "{called:?}");
    });
}
