//! Pairs of actors that send a ball back and forth, 1 ms each way.

use meshsim_actor::{Actor, ActorId, Cx, Event, Message, Recorder, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_sim::Sim;
use serde::{Deserialize, Serialize};

use crate::{SEED, network};

/// One-way latency.
pub const LATENCY: Span = Span::from_millis(1);

/// Sends the ball back.
#[derive(Clone, Debug)]
pub struct Player {
    /// The receiver of the first ball.
    serves: Option<ActorId>,
    caught: u64,
}

/// A ball, with the number of its hits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ball(u64);

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
        match event {
            Event::Message { from, msg } => {
                self.caught += 1;
                cx.send(from, Ball(msg.0 + 1));
            }
            Event::Start => {
                if let Some(to) = self.serves {
                    cx.send(to, Ball(0));
                }
            }
            Event::Timer(()) => {}
        }
    }
}

/// This many pairs, all balls in the air.
pub fn prepare<R: Recorder<Ball, ()>>(pairs: u32, recorder: R) -> Sim<Player, R> {
    let mut sim = Sim::with_recorder(SEED, network(NetworkSpec::constant(SEED, LATENCY)), recorder);
    for pair in 0..pairs {
        sim.add_unnamed(Player { serves: Some(ActorId(pair * 2 + 1)), caught: 0 });
        sim.add_unnamed(Player { serves: None, caught: 0 });
    }
    sim.run_until(Time::ZERO);
    sim
}
