//! The future-event list of this process: timers, messages that are not due yet, machine actions.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use meshsim_actor::{ActorId, Envelope, MachineAction, Time, Timer};

/// Largest number of entries of an agenda. Messages beyond it are lost as to a full queue; the number of timers is
/// bounded by the requests of the actors.
pub(crate) const HELD_MAX: usize = 1 << 20;
/// Bytes of memory for the messages of other processes in the agenda. Messages beyond it are lost likewise.
const HELD_BYTES_MAX: usize = 128 << 20;

/// Ordered by time, then by the order of insertion.
#[derive(Debug)]
pub(crate) struct Agenda<M> {
    heap: BinaryHeap<Entry<M>>,
    ticket: u64,
    /// Bytes of the messages of other processes.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<M> {
    at: Time,
    ticket: u64,
    actor: ActorId,
    /// Bytes of memory of a message from another process; 0 for every other entry.
    bytes: u32,
    due: Due<M>,
}

/// Future input of an actor. A message is boxed, because the heap moves its entries.
#[derive(Debug)]
pub(crate) enum Due<M> {
    /// Marks the machine as absent.
    Absent,
    Begin,
    Fire(Timer),
    /// End of a sync.
    Durable(u64),
    Deliver(Box<Envelope<M>>),
    Power(MachineAction),
}

impl<M> Agenda<M> {
    pub(crate) fn new() -> Self {
        Agenda { heap: BinaryHeap::new(), ticket: 0, bytes: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, actor: ActorId, due: Due<M>) {
        self.add(at, actor, 0, due);
    }

    /// Keeps a message until it is due, if there is room for it. `bytes`: its bytes of memory if it came from another
    /// process, else 0.
    pub(crate) fn hold(&mut self, at: Time, bytes: usize, envelope: Envelope<M>) -> Result<(), Envelope<M>> {
        if self.heap.len() >= HELD_MAX || self.bytes.saturating_add(bytes) > HELD_BYTES_MAX {
            return Err(envelope);
        }
        self.bytes += bytes;
        self.add(at, envelope.to, bytes as u32, Due::Deliver(Box::new(envelope)));
        Ok(())
    }

    fn add(&mut self, at: Time, actor: ActorId, bytes: u32, due: Due<M>) {
        self.ticket += 1;
        self.heap.push(Entry { at, ticket: self.ticket, actor, bytes, due });
    }

    /// Removes the machine actions from this time on, because the plan has changed.
    pub(crate) fn forget_powers(&mut self, from: Time) {
        self.heap.retain(|entry| entry.at < from || !matches!(entry.due, Due::Power(_)));
    }

    /// Due time of the first entry.
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the first entry if it is due at `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(ActorId, Due<M>)> {
        if self.next()? > now {
            return None;
        }
        let entry = self.heap.pop()?;
        self.bytes -= entry.bytes as usize;
        Some((entry.actor, entry.due))
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

/// The earliest entry is the greatest: the heap returns the greatest first.
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

    #[test]
    fn messages_of_other_processes_are_held_up_to_a_bound_on_their_bytes() {
        let mut agenda = Agenda::new();
        let mut hold = |at| {
            let envelope = Envelope { from: ActorId(0), to: ActorId(1), seq: 0, msg: () };
            agenda.hold(Time::from_nanos(at), HELD_BYTES_MAX / 4, envelope).is_ok()
        };
        assert_eq!([1, 2, 3, 4, 5].map(&mut hold), [true, true, true, true, false]);
        assert!(agenda.pop(Time::from_nanos(1)).is_some());
        agenda.push(Time::NEVER, ActorId(1), Due::Begin);
        let envelope = Envelope { from: ActorId(0), to: ActorId(1), seq: 0, msg: () };
        assert!(agenda.hold(Time::NEVER, HELD_BYTES_MAX / 4, envelope.clone()).is_ok());
        assert!(agenda.hold(Time::NEVER, 1, envelope.clone()).is_err());
        assert!(agenda.hold(Time::NEVER, 0, envelope).is_ok());
    }
}
