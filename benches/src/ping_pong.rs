//! Pairs that send a ball to and fro, 1 ms each way.

use meshsim_actor::{Actor, ActorId, Cx, Event, Message, Recorder, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_sim::Sim;
use serde::{Deserialize, Serialize};

use crate::{SEED, network};

/// One way.
pub const LATENCY: Span = Span::from_millis(1);

/// Sends the ball back.
#[derive(Clone, Debug)]
pub struct Player {
    /// To whom the first ball goes.
    serves: Option<ActorId>,
    caught: u64,
}

/// How often it has been hit.
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

/// So many pairs, all balls in the air.
pub fn prepare<R: Recorder<Ball, ()>>(pairs: u32, recorder: R) -> Sim<Player, R> {
    let mut sim = Sim::with_recorder(SEED, network(NetworkSpec::constant(SEED, LATENCY)), recorder);
    for pair in 0..pairs {
        sim.add_unnamed(Player { serves: Some(ActorId(pair * 2 + 1)), caught: 0 });
        sim.add_unnamed(Player { serves: None, caught: 0 });
    }
    sim.run_until(Time::ZERO);
    sim
}
