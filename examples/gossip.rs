//! Custom actors in the simulator, without a mesh: a rumour spreads through a thousand people.
//!
//! Each person who knows it tells one other at random every second, over links that have a delay and lose a tenth of
//! all messages. (Push gossip: Demers et al. 1987, "Epidemic Algorithms for Replicated Database Maintenance"; without
//! loss it takes about log2 n + ln n rounds: Pittel 1987.)
//!
//! `cargo run --release -p meshsim-examples --bin gossip`

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Message, Span, Time};
use meshsim_fault::{Drop, Fault, Link, Network, NetworkSpec};
use meshsim_sim::Sim;
use serde::{Deserialize, Serialize};

const PEOPLE: u32 = 1000;

/// A person, with or without the rumour.
struct Person {
    heard: Option<Time>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rumour;

impl Message for Rumour {
    fn kind(&self) -> &'static str {
        "rumour"
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Tell;

impl Actor for Person {
    type Msg = Rumour;
    type Tick = Tell;
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Rumour, Tell>, cx: &mut Cx<'_, Rumour, Tell>) {
        let is_news = match event {
            Event::Start => self.heard.is_some(),
            Event::Message { .. } => self.heard.is_none(),
            Event::Timer(Tell) => {
                let neighbour = ActorId(cx.rng().below(PEOPLE));
                cx.send(neighbour, Rumour);
                true
            }
        };
        if is_news {
            self.heard.get_or_insert(cx.now());
            cx.arm(cx.now() + Span::from_secs(1), Tell);
        }
    }
}

/// Time at which each person hears it.
fn spread(seed: u64) -> Vec<Time> {
    let latency = Dist::Exponential { at_least: Span::from_millis(10), mean: Span::from_millis(40) };
    let spec = NetworkSpec {
        latency: vec![latency],
        faults: vec![Fault::new(Time::ZERO, Time::NEVER, Drop { on: Link::all(), probability: 0.1 })],
        ..NetworkSpec::constant(seed, Span::ZERO)
    };
    let mut sim = Sim::new(seed, Network::new(spec).expect("the network is valid"));
    for person in 0..PEOPLE {
        sim.add(Person { heard: (person == 0).then_some(Time::ZERO) }, &format!("person-{person}"));
    }
    sim.run_until(Time::ZERO + Span::from_secs(60));
    sim.actors().filter_map(|person| person.heard).collect()
}

fn main() {
    let mut heard = spread(7);
    heard.sort_unstable();
    for share in [0.01, 0.1, 0.5, 0.9, 0.99, 1.0] {
        let count = (share * f64::from(PEOPLE)) as usize;
        match heard.get(count - 1) {
            Some(at) => println!("{count:>5} of {PEOPLE} have heard it after {:.2} s", at.secs()),
            None => println!("{count:>5} of {PEOPLE} never heard it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rumour_takes_about_log2_n_plus_ln_n_rounds_and_repeats() {
        let heard = spread(7);
        let last = heard.iter().max().unwrap().secs();
        assert_eq!(heard.len(), PEOPLE as usize);
        assert!((14.0..30.0).contains(&last), "{last}");
        assert_eq!(heard, spread(7));
        assert_ne!(heard, spread(8));
    }
}
