//! The same work as a loop around the event queue, without actors, links, counters or a trace: the limit that the queue
//! sets.

use meshsim_actor::{Dist, Rng, Span, Time};
use meshsim_sim::Ladder;

use crate::{Done, SEED, Work, broadcast, mm1, phold, ping_pong};

/// Three words and the time, like an entry of meshsim's own queue.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    to: u32,
    from: u32,
    content: u64,
}

/// A queue, a clock, one stream of randomness, and eight bytes for each entity.
pub struct Bare<F> {
    queue: Ladder<Item>,
    now: Time,
    rng: Rng,
    state: Vec<u64>,
    on: F,
    /// Events per unit of work.
    events_per_work: u64,
}

impl<F: FnMut(&mut World<'_>, Item)> Work for Bare<F> {
    fn run(&mut self, amount: u64) -> Done {
        let events = amount * self.events_per_work;
        for _ in 0..events {
            let Some(at) = self.queue.next_time(|_| true) else { break };
            let Some(item) = self.queue.pop() else { break };
            self.now = at;
            let mut world = World { queue: &mut self.queue, now: at, rng: &mut self.rng, state: &mut self.state };
            (self.on)(&mut world, item);
        }
        Done { work: amount, events }
    }
}

/// State that an event may access.
pub struct World<'a> {
    queue: &'a mut Ladder<Item>,
    now: Time,
    rng: &'a mut Rng,
    state: &'a mut [u64],
}

impl World<'_> {
    #[inline]
    fn push(&mut self, after: Span, from: u32, to: u32, content: u64) {
        self.queue.push(self.now + after, Item { to, from, content });
    }

    #[inline]
    fn exponential(&mut self, at_least: Span, mean: Span) -> Span {
        Dist::Exponential { at_least, mean }.sample(self.rng)
    }
}

fn prepare<F: FnMut(&mut World<'_>, Item)>(
    entities: usize,
    events_per_work: u64,
    begin: impl FnOnce(&mut World<'_>),
    on: F,
) -> Bare<F> {
    let mut bare = Bare {
        queue: Ladder::default(),
        now: Time::ZERO,
        rng: Rng::stream(SEED, "bare"),
        state: vec![0; entities],
        on,
        events_per_work,
    };
    begin(&mut World { queue: &mut bare.queue, now: Time::ZERO, rng: &mut bare.rng, state: &mut bare.state });
    bare
}

/// See [`mod@phold`].
pub fn phold(players: u32) -> impl Work {
    let throw = move |world: &mut World<'_>, from: u32, content: u64| {
        let to = world.rng.below(players);
        let after = world.exponential(phold::LEAST, phold::MEAN);
        world.push(after, from, to, content);
    };
    prepare(
        players as usize,
        1,
        |world| (0..players).for_each(|from| throw(world, from, 0)),
        move |world, item| {
            world.state[item.to as usize] += 1;
            throw(world, item.to, item.content + 1);
        },
    )
}

/// See [`mod@ping_pong`].
pub fn ping_pong(pairs: u32) -> impl Work {
    prepare(
        pairs as usize * 2,
        1,
        |world| (0..pairs).for_each(|pair| world.push(ping_pong::LATENCY, pair * 2, pair * 2 + 1, 0)),
        |world, item| {
            world.state[item.to as usize] += 1;
            world.push(ping_pong::LATENCY, item.to, item.from, item.content + 1);
        },
    )
}

/// See [`mod@broadcast`].
pub fn broadcast(nodes: u32) -> impl Work {
    let send = move |world: &mut World<'_>, step: u64| {
        world.state[0] = u64::from(nodes);
        (1..=nodes).for_each(|node| world.push(broadcast::LATENCY, 0, node, step));
    };
    prepare(
        nodes as usize + 1,
        1,
        move |world| send(world, 0),
        move |world, item| {
            if item.to > 0 {
                world.state[item.to as usize] = item.content;
                world.push(broadcast::LATENCY, item.to, 0, item.content);
            } else {
                world.state[0] -= 1;
                if world.state[0] == 0 {
                    send(world, item.content + 1);
                }
            }
        },
    )
}

/// See [`mod@mm1`]. Two events for each request: there is no link between the client and the server.
pub fn mm1() -> impl Work {
    const ARRIVAL: u32 = 0;
    const END: u32 = 1;
    prepare(
        2,
        2,
        |world| world.push(Span::ZERO, 0, ARRIVAL, 0),
        |world, item| {
            if item.to == ARRIVAL {
                let after = world.exponential(Span::ZERO, mm1::BETWEEN);
                world.push(after, 0, ARRIVAL, 0);
                world.state[0] += 1;
            } else {
                world.state[0] -= 1;
                world.state[1] += 1;
            }
            // The server continues, or begins.
            if world.state[0] > 0 && (item.to == END || world.state[0] == 1) {
                let after = world.exponential(Span::ZERO, mm1::SERVICE);
                world.push(after, 0, END, 0);
            }
        },
    )
}
