//! The whole path: actors of two processes of a cluster. The hub hosts the sending actor; the members host the others,
//! each in its own host with its own connection.

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::System;
use meshsim_actor::{Actor, ActorId, Cx, Event, Time};
use meshsim_benches::SEED;
use meshsim_fault::NetworkSpec;
use meshsim_net::{ActorSpec, Credentials, Hub, HubOptions, Join, MemberOptions, Phase, RunSpec, Work, join};
use meshsim_wire::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::process::{Failure, Meter, Report, announce, announce_begun};
use crate::workload::{ANY, SOURCE, Workload};

/// Longest run: if a message is lost, the benchmark waits for its acknowledgement until then.
const END: Time = Time::from_nanos(60_000_000_000);

/// Measurements of all actors of one process.
#[derive(Debug)]
struct Tally {
    plan: Plan,
    meter: OnceCell<Meter>,
    received: Cell<u64>,
    report: Cell<Option<Report>>,
}

impl Tally {
    fn new(plan: &Plan) -> Rc<Self> {
        Rc::new(Tally { plan: *plan, meter: OnceCell::new(), received: Cell::new(0), report: Cell::new(None) })
    }

    /// From the start of the first actor.
    fn meter(&self) -> &Meter {
        self.meter.get_or_init(Meter::start)
    }

    fn receive(&self) {
        self.received.set(self.received.get() + 1);
        if self.received.get() == u64::from(self.plan.together) * self.plan.messages_each() {
            self.report.set(Some(self.meter().received(self.received.get())));
        }
    }

    fn report(&self) -> Result<Report, Failure> {
        self.report.get().ok_or_else(|| format!("messages were lost: {} came", self.received.get()).into())
    }
}

enum Player {
    Source(Source),
    Sink { heard: u64, tally: Rc<Tally> },
}

/// Sends bursts, and another one for each that all receivers have acknowledged.
struct Source {
    load: Workload,
    sent: u32,
    acknowledged: u64,
    in_flight: VecDeque<Time>,
    trips: Vec<u64>,
    tally: Rc<Tally>,
}

impl Source {
    fn send_burst(&mut self, cx: &mut Cx<'_, Workload, ()>) {
        let Plan { targets, burst, bursts, .. } = self.tally.plan;
        if self.sent == bursts {
            return;
        }
        self.sent += 1;
        self.in_flight.push_back(cx.now());
        for target in 1..=targets {
            for _ in 0..burst {
                cx.send(ActorId(target), self.load.clone());
            }
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_, Workload, ()>) {
        let plan = self.tally.plan;
        self.acknowledged += 1;
        if !self.acknowledged.is_multiple_of(u64::from(plan.targets)) {
            return;
        }
        self.trips.extend(self.in_flight.pop_front().map(|begun| cx.now().since(begun).nanos()));
        self.send_burst(cx);
        if self.in_flight.is_empty() {
            let trips = std::mem::take(&mut self.trips);
            self.tally.report.set(Some(self.tally.meter().sent(plan.messages(), trips)));
        }
    }
}

impl Actor for Player {
    type Msg = Workload;
    type Tick = ();
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Workload, ()>, cx: &mut Cx<'_, Workload, ()>) {
        match (self, event) {
            (Player::Source(source), Event::Start) => {
                source.tally.meter();
                (0..source.tally.plan.ahead).for_each(|_| source.send_burst(cx));
            }
            (Player::Source(source), Event::Message { .. }) => source.hear(cx),
            (Player::Sink { tally, .. }, Event::Start) => drop(tally.meter()),
            (Player::Sink { heard, tally }, Event::Message { from, .. }) => {
                *heard += 1;
                tally.receive();
                if *heard % u64::from(tally.plan.burst) == 0 {
                    cx.send(from, Workload::Heard);
                }
            }
            (_, Event::Timer(())) => {}
        }
    }
}

fn run_spec(tally: &Rc<Tally>) -> RunSpec<Player> {
    let seat = |name: String, role| ActorSpec { name, role, needed: true };
    let sinks = (1..=tally.plan.targets).map(|target| seat(format!("sink-{target}"), "sink"));
    let tally = tally.clone();
    let actor = move |actor| match (actor, tally.clone()) {
        (SOURCE, tally) => Player::Source(Source {
            load: Workload::load(),
            sent: 0,
            acknowledged: 0,
            in_flight: VecDeque::new(),
            trips: Vec::new(),
            tally,
        }),
        (_, tally) => Player::Sink { heard: 0, tally },
    };
    RunSpec {
        seed: SEED,
        // No modelled latency: messages take only their real time.
        network: NetworkSpec::default(),
        actors: iter::once(seat("source".into(), "source")).chain(sinks).collect(),
        actor: Rc::new(actor),
        findings: Arc::new(|_, _| Vec::new()),
        news: None,
        trace_sink: Rc::new(|| Err(io::Error::other("nothing is to be written down"))),
        disk: None,
        outside: None,
        leave: None,
        refused: None,
    }
}

fn credentials() -> Credentials {
    Credentials { cluster: "bench".into(), secret: Secret::none(), tls: None }
}

pub(crate) fn listen(plan: &Plan) -> Result<Report, Failure> {
    System::new().block_on(async {
        let tally = Tally::new(plan);
        let options = HubOptions {
            listener: TcpListener::bind(ANY).await?,
            credentials: credentials(),
            work: Work::Sleep,
            is_traced: false,
            end: END,
            here: vec![SOURCE],
            payload: Vec::new(),
            answers: Box::new(|_| {}),
            traces: Box::new(|_, _| Ok(())),
            news: Box::new(drop),
            journal: None,
        };
        let hub = Hub::open(options, run_spec(&tally))?;
        announce(hub.address().port());
        let mut is_idle = plan.bursts == 0;
        hub.perform(|snapshot| {
            if is_idle && snapshot.phase == Phase::Running {
                is_idle = false;
                announce_begun();
            }
            tally.report.get().is_some()
        })
        .await?;
        tally.report()
    })
}

pub(crate) fn dial(plan: &Plan, port: u16) -> Result<Report, Failure> {
    System::new().block_on(async {
        let tally = Tally::new(plan);
        let mut members = JoinSet::new();
        for _ in 0..plan.together {
            let options = MemberOptions {
                hub: format!("{}:{port}", Ipv4Addr::LOCALHOST),
                credentials: credentials(),
                join: Join { role: "sink".into(), count: 1, ..Join::default() },
                listener: TcpListener::bind(ANY).await?,
                patience: Duration::from_secs(2),
                leaving: None,
                journal: None,
            };
            let tally = tally.clone();
            members.spawn_local(async move { join(options, |_| Ok(run_spec(&tally))).await });
        }
        while let Some(left) = members.join_next().await {
            left??;
        }
        tally.report()
    })
}
