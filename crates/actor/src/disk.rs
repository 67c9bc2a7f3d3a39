//! The disk of a machine, while what is written to it takes time to be safe.
//!
//! An actor has durable state: [`Actor::disk`]. Normally it is on the disk the moment it changes, and a crash keeps it.
//! While [`MachineAction::Disk`](crate::MachineAction::Disk) holds, it is not:
//!
//! - **The gate**: a message that [reveals durable state](crate::Message::reveals) leaves when the disk has the state that
//!   its sender had then. So acknowledged means durable, and an actor cannot get past the gate by answering a second copy of
//!   a message during a sync. Other messages do not wait.
//! - The state that such a message waits for has a position: 1, 2, 3, ... It is written only if it differs from the one
//!   before.
//! - One sync is under way at a time ([`Effect::Persist`](crate::Effect::Persist)). It covers all states up to its position,
//!   and the next one covers those that came meanwhile (group commit).
//! - The host says when a sync has ended ([`Input::Durable`](crate::Input::Durable)).
//! - A crash loses what was not synced: any number of the last states, as a disk may have written some of them. State that
//!   no message has revealed is lost, too. No other actor can know of it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Actor, ActorId, Effect, Effects, Envelope, Message, Rng, Span};

/// States after the last sync that are kept one by one. More than these become one: a crash keeps them all or none.
const CHANGES_MAX: usize = 64;
/// Messages that may wait at the gate. More are not sent; the actors send again what matters.
const HELD_MAX: usize = 1 << 14;

/// The durable state that an actor has when its machine comes up again.
#[derive(Clone, Debug, PartialEq)]
pub enum Reboot<D> {
    /// All of its durable state, as it was when the machine went down.
    Kept,
    /// Durable state of an earlier time: what came later was not synced.
    Found(D),
    /// Nothing: the disk was wiped.
    Wiped,
}

/// A disk that takes time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Disk<A: Actor> {
    /// Duration of a sync; [`Span::MAX`]: the disk is full, and no sync ends. `None`: it takes no time any more, and is
    /// done with when all is durable.
    pub(crate) sync: Option<Span>,
    /// The last position, and the last one that is durable. Positions are never used again, not after a reboot nor on a
    /// later disk of the machine. So the end of an earlier sync is not mistaken for that of a later one.
    position: u64,
    durable: u64,
    /// The durable state at `durable`.
    image: A::Disk,
    /// The states after it.
    changes: VecDeque<(u64, A::Disk)>,
    /// The position that the sync under way covers.
    syncing: Option<u64>,
    /// Messages at the gate, each with the position that it waits for.
    held: VecDeque<(u64, ActorId, A::Msg)>,
}

impl<D> Reboot<D> {
    /// What is found as another type of durable state. A state that is none of it is as good as no state.
    pub fn and_then<E>(self, convert: impl FnOnce(D) -> Option<E>) -> Reboot<E> {
        match self {
            Reboot::Kept => Reboot::Kept,
            Reboot::Found(disk) => convert(disk).map_or(Reboot::Wiped, Reboot::Found),
            Reboot::Wiped => Reboot::Wiped,
        }
    }
}

impl<A: Actor> Disk<A> {
    /// A disk with this state, whose positions go on after `position`.
    pub(crate) fn new(position: u64, image: A::Disk) -> Self {
        let (sync, changes, held) = (None, VecDeque::new(), VecDeque::new());
        Disk { sync, position, durable: position, image, changes, syncing: None, held }
    }

    /// The last position.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The state that a sync up to `position` makes durable.
    pub(crate) fn image(&self, position: u64) -> Option<&A::Disk> {
        self.changes.iter().rev().find(|(at, _)| *at <= position).map(|(_, image)| image)
    }

    /// The position of the sync under way.
    pub(crate) fn syncing(&self) -> Option<u64> {
        self.syncing
    }

    /// True if it takes no time any more, and all is durable.
    pub(crate) fn is_done(&self) -> bool {
        self.sync.is_none() && self.position == self.durable
    }

    /// The newest state that a message waits for, or has waited for.
    fn newest(&self) -> &A::Disk {
        self.changes.back().map_or(&self.image, |(_, image)| image)
    }

    fn begin_sync(&mut self) -> Option<Effect<A::Msg, A::Tick>> {
        if self.syncing.is_some() || self.position == self.durable {
            return None;
        }
        self.syncing = Some(self.position);
        Some(Effect::Persist(self.position))
    }

    /// Takes the messages that have to wait out of the effects of a step of `actor`, from `first` on. `sent` is the number
    /// of the actor's messages after the step; those at the gate get their numbers when they leave.
    pub(crate) fn gate(&mut self, actor: &A, out: &mut Effects<A::Msg, A::Tick>, first: usize, sent: &mut u64) {
        let reveals = |effect: &Effect<A::Msg, A::Tick>| matches!(effect, Effect::Send(it) if it.msg.reveals());
        if !out[first..].iter().any(reveals) {
            return;
        }
        let image = actor.disk();
        if image != *self.newest() {
            self.position += 1;
            // Never the state that the sync under way covers: there were fewer when that began.
            if self.changes.len() == CHANGES_MAX {
                self.changes.pop_back();
            }
            self.changes.push_back((self.position, image));
        }
        if self.position > self.durable {
            self.hold(out, first, sent);
            out.extend(self.begin_sync());
        }
    }

    fn hold(&mut self, out: &mut Effects<A::Msg, A::Tick>, first: usize, sent: &mut u64) {
        let mut left = 0;
        let held = out.extract_if(first.., |effect| {
            let Effect::Send(envelope) = effect else { return false };
            if !envelope.msg.reveals() {
                envelope.seq -= left;
                return false;
            }
            left += 1;
            true
        });
        for effect in held {
            if let Effect::Send(Envelope { to, msg, .. }) = effect
                && self.held.len() < HELD_MAX
            {
                self.held.push_back((self.position, to, msg));
            }
        }
        *sent -= left;
    }

    /// A sync up to `position` has ended. False if it is one of before a crash, or of a disk that has become fast.
    pub(crate) fn synced(
        &mut self,
        position: u64,
        from: ActorId,
        sent: &mut u64,
        out: &mut Effects<A::Msg, A::Tick>,
    ) -> bool {
        if self.syncing != Some(position) {
            return false;
        }
        self.syncing = None;
        self.durable = position;
        while let Some((_, image)) = self.changes.pop_front_if(|(at, _)| *at <= position) {
            self.image = image;
        }
        while let Some((_, to, msg)) = self.held.pop_front_if(|(at, ..)| *at <= position) {
            out.push(Effect::Send(Envelope { from, to, seq: *sent, msg }));
            *sent += 1;
        }
        out.extend(self.begin_sync());
        true
    }

    /// The machine goes down. Returns what the disk has: of the changes that were not synced, the first few may be there,
    /// drawn from `rng`.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> A::Disk {
        let written = if self.changes.is_empty() { 0 } else { rng.below(self.changes.len() as u32 + 1) };
        if let Some((_, image)) = self.changes.drain(..written as usize).next_back() {
            self.image = image;
        }
        self.forget();
        self.image.clone()
    }

    /// The disk was wiped; it has this state now.
    pub(crate) fn wipe(&mut self, image: A::Disk) {
        self.image = image;
        self.forget();
    }

    /// Forgets the states and messages that waited for a sync. The image is all that the disk has, and it is durable.
    fn forget(&mut self) {
        self.changes.clear();
        self.held.clear();
        (self.syncing, self.durable) = (None, self.position);
    }
}

#[cfg(test)]
mod tests;
