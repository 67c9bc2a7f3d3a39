//! What is to happen later in this process: timers, messages that are not due yet, what is done to machines.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use meshsim_actor::{ActorId, Envelope, Power, Time, Timer};

/// Most entries of an agenda. Messages beyond it are lost as to a full queue; timers are bounded by what the actors ask
/// for.
pub(crate) const HELD_MAX: usize = 1 << 20;

/// Ordered by time, then by the order in which it was written down.
#[derive(Debug)]
pub(crate) struct Agenda<M> {
    heap: BinaryHeap<Entry<M>>,
    ticket: u64,
}

#[derive(Debug)]
struct Entry<M> {
    at: Time,
    ticket: u64,
    actor: ActorId,
    due: Due<M>,
}

/// What is to happen to an actor. A message is boxed: the heap moves its entries about.
#[derive(Debug)]
pub(crate) enum Due<M> {
    /// Its machine is not there yet.
    Absent,
    Begin,
    Fire(Timer),
    Deliver(Box<Envelope<M>>),
    Power(Power),
}

impl<M> Agenda<M> {
    pub(crate) fn new() -> Self {
        Agenda { heap: BinaryHeap::new(), ticket: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn push(&mut self, at: Time, actor: ActorId, due: Due<M>) {
        self.ticket += 1;
        self.heap.push(Entry { at, ticket: self.ticket, actor, due });
    }

    /// Takes out what was to be done to machines: there is another plan.
    pub(crate) fn forget_powers(&mut self) {
        self.heap.retain(|entry| !matches!(entry.due, Due::Power(_)));
    }

    /// When the first entry is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the first entry, if it is due by now.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(ActorId, Due<M>)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|entry| (entry.actor, entry.due))
    }
}

impl<M> PartialEq for Entry<M> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<M> Eq for Entry<M> {}

impl<M> PartialOrd for Entry<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest: the heap gives the greatest first.
impl<M> Ord for Entry<M> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.ticket).cmp(&(self.at, self.ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_in_their_order() {
        let mut agenda: Agenda<()> = Agenda::new();
        for (at, actor) in [(5, 0), (3, 1), (5, 2), (1, 3)] {
            agenda.push(Time::from_nanos(at), ActorId(actor), Due::Begin);
        }
        let mut order = vec![];
        assert!(agenda.pop(Time::ZERO).is_none());
        while let Some((actor, _)) = agenda.pop(Time::from_nanos(5)) {
            order.push(actor.0);
        }
        assert_eq!(order, [3, 1, 0, 2]);
    }
}
