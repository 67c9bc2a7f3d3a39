//! PHOLD: every actor that receives a ball throws one to another, chosen uniformly (Fujimoto 1990, "Performance of Time
//! Warp under synthetic workloads"). One ball for each actor; a ball flies 0.1 s and an exponential time of mean 1 s.

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Message, Recorder, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_sim::Sim;
use serde::{Deserialize, Serialize};

use crate::{SEED, network};

/// Smallest flight time of a ball.
pub const LEAST: Span = Span::from_millis(100);
/// Mean of the added exponential time.
pub const MEAN: Span = Span::from_secs(1);

/// Catches and throws.
#[derive(Clone, Debug)]
pub struct Player {
    players: u32,
    caught: u64,
}

/// The ball.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ball;

impl Message for Ball {
    fn kind(&self) -> &'static str {
        "ball"
    }
}

impl Actor for Player {
    type Msg = Ball;
    type Tick = ();
    type Disk = ();

    fn disk(&self) {}

    #[inline]
    fn on(&mut self, event: Event<Ball, ()>, cx: &mut Cx<'_, Ball, ()>) {
        if let Event::Message { .. } = event {
            self.caught += 1;
        }
        let to = ActorId(cx.rng().below(self.players));
        cx.send(to, Ball);
    }
}

/// Many players, all balls in the air.
pub fn prepare<R: Recorder<Ball, ()>>(players: u32, recorder: R) -> Sim<Player, R> {
    let latency = Dist::Exponential { at_least: LEAST, mean: MEAN };
    let spec =
        NetworkSpec { latency: vec![latency.clone()], local: latency, ..NetworkSpec::constant(SEED, Span::ZERO) };
    let mut sim = Sim::with_recorder(SEED, network(spec), recorder);
    for _ in 0..players {
        sim.add_unnamed(Player { players, caught: 0 });
    }
    sim.run_until(Time::ZERO);
    sim
}
