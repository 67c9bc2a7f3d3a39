//! Idle actors, with or without a heartbeat.

use meshsim_actor::{Actor, Cx, Event, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_sim::Sim;

use crate::phold::Ball;
use crate::{SEED, network};

/// Wakes up at an interval, if it has one.
#[derive(Clone, Debug)]
pub struct Sleeper {
    every: Option<Span>,
    beats: u64,
}

impl Actor for Sleeper {
    type Msg = Ball;
    type Tick = ();
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, _: Event<Ball, ()>, cx: &mut Cx<'_, Ball, ()>) {
        self.beats += 1;
        if let Some(every) = self.every {
            cx.arm(cx.now() + every, ());
        }
    }
}

/// This many sleepers, at the time 1 s.
pub fn prepare(sleepers: u32, every: Option<Span>) -> Sim<Sleeper> {
    let mut sim = Sim::new(SEED, network(NetworkSpec::constant(SEED, Span::from_millis(1))));
    for _ in 0..sleepers {
        sim.add_unnamed(Sleeper { every, beats: 0 });
    }
    sim.run_until(Time::ZERO + Span::from_secs(1));
    sim
}
