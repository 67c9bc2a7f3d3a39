//! simcore 0.1: components that receive boxed events, a binary heap, one generator for all.

use std::cell::RefCell;
use std::rc::Rc;

use meshsim_actor::Span;
use meshsim_benches::{Done, Work, broadcast, mm1, phold, ping_pong};
use serde::Serialize;
use simcore::{Event, EventHandler, Id, Simulation, SimulationContext, cast};

/// A run, and the number of events per unit of work.
struct Simcore(Simulation, u64);

impl Work for Simcore {
    fn run(&mut self, amount: u64) -> Done {
        self.0.steps(amount * self.1);
        Done { work: amount, events: amount * self.1 }
    }
}

fn simulation() -> Simulation {
    Simulation::new(meshsim_benches::SEED)
}

fn add<C: EventHandler + 'static>(sim: &mut Simulation, name: &str, make: impl FnOnce(SimulationContext) -> C) -> Id {
    let component = make(sim.create_context(name));
    sim.add_handler(name, Rc::new(RefCell::new(component)))
}

/// By inversion: the crate draws from the distributions of another version of `rand` than ours.
fn exponential(ctx: &SimulationContext, mean: Span) -> f64 {
    -(1.0 - ctx.rand()).ln() * mean.secs()
}

#[derive(Clone, Serialize)]
struct Ball {
    count: u64,
}

struct Phold {
    ctx: SimulationContext,
    players: u32,
    caught: u64,
}

impl Phold {
    fn throw(&self, count: u64) {
        let to = self.ctx.gen_range(0..self.players);
        self.ctx.emit(Ball { count }, to, phold::LEAST.secs() + exponential(&self.ctx, phold::MEAN));
    }
}

impl EventHandler for Phold {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Ball { count } => {
                self.caught += 1;
                self.throw(count + 1);
            }
        })
    }
}

/// See [`phold`].
pub(crate) fn phold(players: u32) -> impl Work {
    let mut sim = simulation();
    for player in 0..players {
        add(&mut sim, &player.to_string(), |ctx| {
            let player = Phold { ctx, players, caught: 0 };
            player.throw(0);
            player
        });
    }
    Simcore(sim, 1)
}

struct PingPong {
    ctx: SimulationContext,
    caught: u64,
}

impl EventHandler for PingPong {
    fn on(&mut self, event: Event) {
        let from = event.src;
        cast!(match event.data {
            Ball { count } => {
                self.caught += 1;
                self.ctx.emit(Ball { count: count + 1 }, from, ping_pong::LATENCY.secs());
            }
        })
    }
}

/// See [`ping_pong`].
pub(crate) fn ping_pong(pairs: u32) -> impl Work {
    let mut sim = simulation();
    for player in 0..pairs * 2 {
        let serves = player % 2 == 0;
        add(&mut sim, &player.to_string(), |ctx| {
            if serves {
                ctx.emit(Ball { count: 0 }, player + 1, ping_pong::LATENCY.secs());
            }
            PingPong { ctx, caught: 0 }
        });
    }
    Simcore(sim, 1)
}

#[derive(Clone, Serialize)]
struct Step {
    step: u64,
}

#[derive(Clone, Serialize)]
struct Ack {
    step: u64,
}

struct Coordinator {
    ctx: SimulationContext,
    nodes: u32,
    missing: u32,
}

impl Coordinator {
    fn send(&mut self, step: u64) {
        self.missing = self.nodes;
        for node in 1..=self.nodes {
            self.ctx.emit(Step { step }, node, broadcast::LATENCY.secs());
        }
    }
}

impl EventHandler for Coordinator {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Ack { step } => {
                self.missing -= 1;
                if self.missing == 0 {
                    self.send(step + 1);
                }
            }
        })
    }
}

struct Node {
    ctx: SimulationContext,
    seen: u64,
}

impl EventHandler for Node {
    fn on(&mut self, event: Event) {
        let from = event.src;
        cast!(match event.data {
            Step { step } => {
                self.seen = self.seen.max(step);
                self.ctx.emit(Ack { step }, from, broadcast::LATENCY.secs());
            }
        })
    }
}

/// See [`broadcast`].
pub(crate) fn broadcast(nodes: u32) -> impl Work {
    let mut sim = simulation();
    add(&mut sim, "coordinator", |ctx| {
        let mut coordinator = Coordinator { ctx, nodes, missing: 0 };
        coordinator.send(0);
        coordinator
    });
    for node in 1..=nodes {
        add(&mut sim, &node.to_string(), |ctx| Node { ctx, seen: 0 });
    }
    Simcore(sim, 1)
}

#[derive(Clone, Serialize)]
struct Arrival {}

#[derive(Clone, Serialize)]
struct End {}

struct Station {
    ctx: SimulationContext,
    here: u64,
}

impl Station {
    fn serve(&self) {
        self.ctx.emit_self(End {}, exponential(&self.ctx, mm1::SERVICE));
    }
}

impl EventHandler for Station {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Arrival {} => {
                self.here += 1;
                if self.here == 1 {
                    self.serve();
                }
                self.ctx.emit_self(Arrival {}, exponential(&self.ctx, mm1::BETWEEN));
            }
            End {} => {
                self.here -= 1;
                if self.here > 0 {
                    self.serve();
                }
            }
        })
    }
}

/// See [`mm1`]. Two events for each request.
pub(crate) fn mm1() -> impl Work {
    let mut sim = simulation();
    add(&mut sim, "station", |ctx| {
        ctx.emit_self_now(Arrival {});
        Station { ctx, here: 0 }
    });
    Simcore(sim, 2)
}
