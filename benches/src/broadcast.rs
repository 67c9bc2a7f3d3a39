//! One actor sends a numbered step to all others; each acknowledges it; after all acknowledgements the next step
//! follows. 1 ms each way.

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Message, Recorder, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_sim::Sim;
use serde::{Deserialize, Serialize};

use crate::{SEED, network};

/// One way.
pub const LATENCY: Span = Span::from_millis(1);

/// The coordinator, or one of the nodes.
#[derive(Clone, Debug)]
pub enum Member {
    /// Sends steps to actors 1 to `nodes`.
    Coordinator {
        /// Number of nodes.
        nodes: u32,
        /// The current step.
        step: u64,
        /// Number of missing acknowledgements.
        missing: u32,
    },
    /// Acknowledges.
    Node {
        /// The last step received.
        seen: u64,
    },
}

/// Their messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Msg {
    /// A step.
    Step(u64),
    /// Acknowledgement of a step.
    Ack(u64),
}

impl Message for Msg {
    fn kind(&self) -> &'static str {
        match self {
            Msg::Step(_) => "step",
            Msg::Ack(_) => "ack",
        }
    }
}

impl Actor for Member {
    type Msg = Msg;
    type Tick = ();
    type Disk = ();

    fn disk(&self) {}

    #[inline]
    fn on(&mut self, event: Event<Msg, ()>, cx: &mut Cx<'_, Msg, ()>) {
        match (self, event) {
            (Member::Node { seen }, Event::Message { from, msg: Msg::Step(step) }) => {
                *seen = step;
                cx.send(from, Msg::Ack(step));
            }
            (Member::Coordinator { nodes, step, missing }, event) => {
                if let Event::Message { msg: Msg::Ack(acknowledged), .. } = event {
                    *missing -= u32::from(acknowledged == *step);
                    if *missing > 0 {
                        return;
                    }
                    *step += 1;
                }
                *missing = *nodes;
                for node in 1..=*nodes {
                    cx.send(ActorId(node), Msg::Step(*step));
                }
            }
            _ => {}
        }
    }
}

/// One coordinator and this many nodes, with the first step in flight.
pub fn prepare<R: Recorder<Msg, ()>>(nodes: u32, latency: Dist, recorder: R) -> Sim<Member, R> {
    let spec = NetworkSpec { latency: vec![latency], ..NetworkSpec::constant(SEED, Span::ZERO) };
    let mut sim = Sim::with_recorder(SEED, network(spec), recorder);
    sim.add_unnamed(Member::Coordinator { nodes, step: 0, missing: 0 });
    for _ in 0..nodes {
        sim.add_unnamed(Member::Node { seen: 0 });
    }
    sim.run_until(Time::ZERO);
    sim
}
