//! nexosim 1.0: models with ports, an asynchronous executor; one thread.
//!
//! Its ports have no delay, so a model that sends over a link schedules the sending at itself; PHOLD, whose receivers
//! are not known beforehand, schedules the receiver's input through the global scheduler.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use meshsim_actor::{Dist, Rng, Span};
use meshsim_benches::{Done, SEED, Work, broadcast, mm1, phold, ping_pong};
use nexosim::model::{Context, Model, schedulable};
use nexosim::ports::{EventSource, Output};
use nexosim::simulation::{EventId, Mailbox, Scheduler, SimInit, Simulation};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

/// Units of work done, shared by all models.
type Counter = Arc<AtomicU64>;

struct Nexosim(Simulation, Counter);

impl Work for Nexosim {
    fn run(&mut self, amount: u64) -> Done {
        let before = self.1.load(Ordering::Relaxed);
        while self.1.load(Ordering::Relaxed) - before < amount {
            self.0.step().expect("no model fails");
        }
        let work = self.1.load(Ordering::Relaxed) - before;
        Done { work, events: work }
    }
}

fn exponential(rng: &mut Rng, at_least: Span, mean: Span) -> Duration {
    // A deadline must be in the future.
    Duration::from_nanos(Dist::Exponential { at_least, mean }.sample(rng).nanos().max(1))
}

fn start(bench: SimInit) -> Simulation {
    bench.init(MonotonicTime::EPOCH).expect("a bench that is right")
}

/// The addresses of all players, which are known only when all exist.
#[derive(Clone, Default)]
struct Field {
    all: Arc<OnceLock<(Scheduler, Vec<EventId<()>>)>>,
    work: Counter,
}

#[derive(Serialize, Deserialize)]
struct Player {
    rng: Rng,
    caught: u64,
    #[serde(skip)]
    field: Field,
}

#[Model]
impl Player {
    async fn catch(&mut self, _: ()) {
        self.caught += 1;
        self.field.work.fetch_add(1, Ordering::Relaxed);
        let (scheduler, players) = self.field.all.get().expect("filled before the first step");
        let to = self.rng.below(players.len() as u32) as usize;
        let after = exponential(&mut self.rng, phold::LEAST, phold::MEAN);
        scheduler.schedule_event(after, &players[to], ()).expect("a time in the future");
    }
}

/// See [`phold`].
pub(crate) fn phold(players: u32) -> impl Work {
    let field = Field::default();
    let mut bench = SimInit::with_num_threads(1);
    let mut ids = Vec::new();
    for player in 0..players {
        let mailbox = Mailbox::new();
        ids.push(EventSource::new().connect(Player::catch, &mailbox).register(&mut bench));
        let model = Player { rng: Rng::keyed(SEED, 1, player.into()), caught: 0, field: field.clone() };
        bench = bench.add_model(model, mailbox, "player");
    }
    let simulation = start(bench);
    let scheduler = simulation.scheduler();
    let mut rng = Rng::stream(SEED, "nexosim");
    for _ in 0..players {
        let to = rng.below(players) as usize;
        let after = exponential(&mut rng, phold::LEAST, phold::MEAN);
        scheduler.schedule_event(after, &ids[to], ()).expect("a time in the future");
    }
    assert!(field.all.set((scheduler, ids)).is_ok(), "filled once");
    Nexosim(simulation, field.work)
}

#[derive(Serialize, Deserialize)]
struct Pinger {
    ball: Output<u64>,
    serves: bool,
    #[serde(skip)]
    work: Counter,
}

#[Model]
impl Pinger {
    #[nexosim(init)]
    async fn init(&mut self, cx: &Context<Self>, _: &mut ()) {
        if self.serves {
            self.catch(0, cx).await;
        }
    }

    async fn catch(&mut self, count: u64, cx: &Context<Self>) {
        self.work.fetch_add(1, Ordering::Relaxed);
        let after = Duration::from_nanos(ping_pong::LATENCY.nanos());
        cx.schedule_event(after, schedulable!(Self::throw), count + 1).expect("a time in the future");
    }

    #[nexosim(schedulable)]
    async fn throw(&mut self, count: u64) {
        self.ball.send(count).await;
    }
}

/// See [`ping_pong`].
pub(crate) fn ping_pong(pairs: u32) -> impl Work {
    let work = Counter::default();
    let mut bench = SimInit::with_num_threads(1);
    for _ in 0..pairs {
        let make = |serves| Pinger { ball: Output::default(), serves, work: work.clone() };
        let (mut one, mut other) = (make(true), make(false));
        let (one_mailbox, other_mailbox) = (Mailbox::new(), Mailbox::new());
        one.ball.connect(Pinger::catch, &other_mailbox);
        other.ball.connect(Pinger::catch, &one_mailbox);
        bench = bench.add_model(one, one_mailbox, "one").add_model(other, other_mailbox, "other");
    }
    Nexosim(start(bench), work)
}

#[derive(Serialize, Deserialize)]
struct Coordinator {
    step: Output<u64>,
    nodes: u32,
    missing: u32,
    #[serde(skip)]
    work: Counter,
}

#[Model]
impl Coordinator {
    #[nexosim(init)]
    async fn init(&mut self, cx: &Context<Self>, _: &mut ()) {
        self.plan(0, cx);
    }

    fn plan(&mut self, step: u64, cx: &Context<Self>) {
        self.missing = self.nodes;
        let after = Duration::from_nanos(broadcast::LATENCY.nanos());
        cx.schedule_event(after, schedulable!(Self::send), step).expect("a time in the future");
    }

    #[nexosim(schedulable)]
    async fn send(&mut self, step: u64) {
        self.step.send(step).await;
    }

    async fn ack(&mut self, step: u64, cx: &Context<Self>) {
        self.work.fetch_add(1, Ordering::Relaxed);
        self.missing -= 1;
        if self.missing == 0 {
            self.plan(step + 1, cx);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Node {
    ack: Output<u64>,
    seen: u64,
    #[serde(skip)]
    work: Counter,
}

#[Model]
impl Node {
    async fn step(&mut self, step: u64, cx: &Context<Self>) {
        self.work.fetch_add(1, Ordering::Relaxed);
        self.seen = step;
        let after = Duration::from_nanos(broadcast::LATENCY.nanos());
        cx.schedule_event(after, schedulable!(Self::acknowledge), step).expect("a time in the future");
    }

    #[nexosim(schedulable)]
    async fn acknowledge(&mut self, step: u64) {
        self.ack.send(step).await;
    }
}

/// See [`broadcast`].
pub(crate) fn broadcast(nodes: u32) -> impl Work {
    let work = Counter::default();
    let mut bench = SimInit::with_num_threads(1);
    let mut coordinator = Coordinator { step: Output::default(), nodes, missing: 0, work: work.clone() };
    let coordinator_mailbox = Mailbox::new();
    for _ in 0..nodes {
        let mut node = Node { ack: Output::default(), seen: 0, work: work.clone() };
        let mailbox = Mailbox::new();
        node.ack.connect(Coordinator::ack, &coordinator_mailbox);
        coordinator.step.connect(Node::step, &mailbox);
        bench = bench.add_model(node, mailbox, "node");
    }
    bench = bench.add_model(coordinator, coordinator_mailbox, "coordinator");
    Nexosim(start(bench), work)
}

#[derive(Serialize, Deserialize)]
struct Client {
    request: Output<()>,
    rng: Rng,
}

#[Model]
impl Client {
    #[nexosim(init)]
    async fn init(&mut self, cx: &Context<Self>, _: &mut ()) {
        self.plan(cx);
    }

    fn plan(&mut self, cx: &Context<Self>) {
        let after = exponential(&mut self.rng, Span::ZERO, mm1::BETWEEN);
        cx.schedule_event(after, schedulable!(Self::ask), ()).expect("a time in the future");
    }

    #[nexosim(schedulable)]
    async fn ask(&mut self, _: (), cx: &Context<Self>) {
        self.request.send(()).await;
        self.plan(cx);
    }
}

#[derive(Serialize, Deserialize)]
struct Server {
    rng: Rng,
    here: u64,
    #[serde(skip)]
    work: Counter,
}

#[Model]
impl Server {
    async fn request(&mut self, _: (), cx: &Context<Self>) {
        self.here += 1;
        if self.here == 1 {
            self.plan(cx);
        }
    }

    fn plan(&mut self, cx: &Context<Self>) {
        let after = exponential(&mut self.rng, Span::ZERO, mm1::SERVICE);
        cx.schedule_event(after, schedulable!(Self::end), ()).expect("a time in the future");
    }

    #[nexosim(schedulable)]
    async fn end(&mut self, _: (), cx: &Context<Self>) {
        self.work.fetch_add(1, Ordering::Relaxed);
        self.here -= 1;
        if self.here > 0 {
            self.plan(cx);
        }
    }
}

/// See [`mm1`].
pub(crate) fn mm1() -> impl Work {
    let work = Counter::default();
    let mut client = Client { request: Output::default(), rng: Rng::stream(SEED, "client") };
    let server = Server { rng: Rng::stream(SEED, "server"), here: 0, work: work.clone() };
    let (client_mailbox, server_mailbox) = (Mailbox::new(), Mailbox::new());
    client.request.connect(Server::request, &server_mailbox);
    let bench = SimInit::with_num_threads(1);
    let bench = bench.add_model(client, client_mailbox, "client").add_model(server, server_mailbox, "server");
    Nexosim(start(bench), work)
}
