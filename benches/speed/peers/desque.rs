//! desque 0.4: a bare discrete-event simulator. Boxed events in a binary heap, one state for all.

use desque::SimState;
use desque::serial::{Event, Simulation};
use meshsim_actor::{Dist, Rng, Span};
use meshsim_benches::{Done, SEED, Work, broadcast, mm1, phold, ping_pong};

type Sim = Simulation<State, u64>;

/// State that all events share.
#[derive(Debug)]
struct State {
    rng: Rng,
    entities: Vec<u64>,
    events: u64,
    until: u64,
}

impl SimState<u64> for State {
    fn is_complete(&self, _: &u64) -> bool {
        self.events >= self.until
    }
}

/// A run, and the number of events per unit of work.
struct Desque(Sim, u64);

impl Work for Desque {
    fn run(&mut self, amount: u64) -> Done {
        let before = self.0.state().events;
        self.0.state_mut().until = before + amount * self.1;
        self.0.run().expect("time does not go backwards");
        let events = self.0.state().events - before;
        Done { work: events / self.1, events }
    }
}

fn simulation(entities: usize) -> Sim {
    Sim::new(State { rng: Rng::stream(SEED, "desque"), entities: vec![0; entities], events: 0, until: 0 }, 0)
}

fn schedule(sim: &mut Sim, after: Span, event: impl Event<State, u64> + 'static) -> desque::Result {
    let at = sim.current_time() + after.nanos();
    sim.schedule(event, at)
}

fn exponential(sim: &mut Sim, at_least: Span, mean: Span) -> Span {
    Dist::Exponential { at_least, mean }.sample(&mut sim.state_mut().rng)
}

#[derive(Debug)]
struct Catch {
    player: u32,
}

impl Event<State, u64> for Catch {
    fn execute(&mut self, sim: &mut Sim) -> desque::Result {
        let state = sim.state_mut();
        state.events += 1;
        state.entities[self.player as usize] += 1;
        throw(sim)
    }
}

fn throw(sim: &mut Sim) -> desque::Result {
    let players = sim.state().entities.len() as u32;
    let player = sim.state_mut().rng.below(players);
    let after = exponential(sim, phold::LEAST, phold::MEAN);
    schedule(sim, after, Catch { player })
}

/// See [`phold`].
pub(crate) fn phold(players: u32) -> impl Work {
    let mut sim = simulation(players as usize);
    for _ in 0..players {
        throw(&mut sim).expect("time does not go backwards");
    }
    Desque(sim, 1)
}

#[derive(Debug)]
struct Hit {
    from: u32,
    to: u32,
    count: u64,
}

impl Event<State, u64> for Hit {
    fn execute(&mut self, sim: &mut Sim) -> desque::Result {
        let state = sim.state_mut();
        state.events += 1;
        state.entities[self.to as usize] += 1;
        schedule(sim, ping_pong::LATENCY, Hit { from: self.to, to: self.from, count: self.count + 1 })
    }
}

/// See [`ping_pong`].
pub(crate) fn ping_pong(pairs: u32) -> impl Work {
    let mut sim = simulation(pairs as usize * 2);
    for pair in 0..pairs {
        let hit = Hit { from: pair * 2, to: pair * 2 + 1, count: 0 };
        schedule(&mut sim, ping_pong::LATENCY, hit).expect("time does not go backwards");
    }
    Desque(sim, 1)
}

#[derive(Debug)]
struct Step {
    node: u32,
    step: u64,
}

#[derive(Debug)]
struct Ack {
    step: u64,
}

impl Event<State, u64> for Step {
    fn execute(&mut self, sim: &mut Sim) -> desque::Result {
        let state = sim.state_mut();
        state.events += 1;
        state.entities[self.node as usize] = self.step;
        schedule(sim, broadcast::LATENCY, Ack { step: self.step })
    }
}

impl Event<State, u64> for Ack {
    fn execute(&mut self, sim: &mut Sim) -> desque::Result {
        let state = sim.state_mut();
        state.events += 1;
        state.entities[0] -= 1;
        if state.entities[0] == 0 { send(sim, self.step + 1) } else { Ok(()) }
    }
}

fn send(sim: &mut Sim, step: u64) -> desque::Result {
    let nodes = sim.state().entities.len() - 1;
    sim.state_mut().entities[0] = nodes as u64;
    (1..=nodes as u32).try_for_each(|node| schedule(sim, broadcast::LATENCY, Step { node, step }))
}

/// See [`broadcast`].
pub(crate) fn broadcast(nodes: u32) -> impl Work {
    let mut sim = simulation(nodes as usize + 1);
    send(&mut sim, 0).expect("time does not go backwards");
    Desque(sim, 1)
}

#[derive(Debug)]
struct Arrival;

#[derive(Debug)]
struct End;

impl Event<State, u64> for Arrival {
    fn execute(&mut self, sim: &mut Sim) -> desque::Result {
        let state = sim.state_mut();
        state.events += 1;
        state.entities[0] += 1;
        if state.entities[0] == 1 {
            let service = exponential(sim, Span::ZERO, mm1::SERVICE);
            schedule(sim, service, End)?;
        }
        let next = exponential(sim, Span::ZERO, mm1::BETWEEN);
        schedule(sim, next, Arrival)
    }
}

impl Event<State, u64> for End {
    fn execute(&mut self, sim: &mut Sim) -> desque::Result {
        let state = sim.state_mut();
        state.events += 1;
        state.entities[0] -= 1;
        if state.entities[0] > 0 {
            let service = exponential(sim, Span::ZERO, mm1::SERVICE);
            schedule(sim, service, End)?;
        }
        Ok(())
    }
}

/// See [`mm1`]. Two events for each request.
pub(crate) fn mm1() -> impl Work {
    let mut sim = simulation(1);
    schedule(&mut sim, Span::ZERO, Arrival).expect("time does not go backwards");
    Desque(sim, 2)
}
