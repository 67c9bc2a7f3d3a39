//! One queue, one server: a client sends requests at random times, and a server serves them one by one.
//!
//! A unit of work is a request. It takes three events: the client's timer, the message, the server's timer.

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Message, Recorder, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_sim::Sim;
use serde::{Deserialize, Serialize};

use crate::{SEED, network};

/// Mean time between requests: the server is busy 80 % of the time.
pub const BETWEEN: Span = Span::from_micros(1_250);
/// Mean service time.
pub const SERVICE: Span = Span::from_micros(1_000);

/// The client, or the server.
#[derive(Clone, Debug)]
pub enum Station {
    /// Sends requests to the server.
    Client {
        /// The server.
        server: ActorId,
    },
    /// Serves requests.
    Server {
        /// Number of requests here, including the one in service.
        here: u64,
        /// Number of requests served.
        served: u64,
    },
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request;

impl Message for Request {
    fn kind(&self) -> &'static str {
        "request"
    }
}

fn arm(cx: &mut Cx<'_, Request, ()>, mean: Span) {
    let after = Dist::Exponential { at_least: Span::ZERO, mean }.sample(cx.rng());
    cx.arm(cx.now() + after, ());
}

impl Actor for Station {
    type Msg = Request;
    type Tick = ();
    type Disk = ();

    fn disk(&self) {}

    #[inline]
    fn on(&mut self, event: Event<Request, ()>, cx: &mut Cx<'_, Request, ()>) {
        match (self, event) {
            (Station::Client { .. }, Event::Start) => arm(cx, BETWEEN),
            (Station::Client { server }, Event::Timer(())) => {
                cx.send(*server, Request);
                arm(cx, BETWEEN);
            }
            (Station::Server { here, .. }, Event::Message { .. }) => {
                *here += 1;
                if *here == 1 {
                    arm(cx, SERVICE);
                }
            }
            (Station::Server { here, served }, Event::Timer(())) => {
                (*here, *served) = (*here - 1, *served + 1);
                if *here > 0 {
                    arm(cx, SERVICE);
                }
            }
            _ => {}
        }
    }
}

/// A client and a server.
pub fn prepare<R: Recorder<Request, ()>>(recorder: R) -> Sim<Station, R> {
    let mut sim = Sim::with_recorder(SEED, network(NetworkSpec::constant(SEED, Span::ZERO)), recorder);
    sim.add_unnamed(Station::Client { server: ActorId(1) });
    sim.add_unnamed(Station::Server { here: 0, served: 0 });
    sim.run_until(Time::ZERO);
    sim
}
