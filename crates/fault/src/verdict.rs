//! A message in transit, and the decisions about it.

use meshsim_actor::{ActorId, Fate, LossReason, Rng, Span, Time};

use crate::Link;

/// A message whose fate the network decides.
#[derive(Clone, Debug)]
pub struct InTransit {
    /// Time of sending.
    pub now: Time,
    /// Sender.
    pub from: ActorId,
    /// Receiver.
    pub to: ActorId,
    /// Its length on the wire.
    pub bytes: u32,
    seed: u64,
    seq: u64,
    rng: Option<Rng>,
}

impl InTransit {
    pub(crate) fn new(seed: u64, now: Time, from: ActorId, to: ActorId, seq: u64, bytes: u32) -> Self {
        InTransit { now, from, to, bytes, seed, seq, rng: None }
    }

    /// The message's own random stream. It is created on first use, so a certain fate costs nothing.
    pub fn rng(&mut self) -> &mut Rng {
        let (seed, link, seq) = (self.seed, self.link(), self.seq);
        self.rng.get_or_insert_with(|| Rng::keyed(seed, link, seq))
    }

    /// True with this probability; zero and one draw nothing.
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            false
        } else if probability >= 1.0 {
            true
        } else {
            self.rng().chance(probability)
        }
    }

    /// True if a fault of these links concerns it.
    pub fn is_on(&self, links: &Link) -> bool {
        links.concerns(self.from, self.to) && links.message.is_none_or(|seq| seq == self.seq)
    }

    /// Sender and receiver as one number.
    pub fn link(&self) -> u64 {
        u64::from(self.from.0) << 32 | u64::from(self.to.0)
    }
}

/// The fate of a message as far as it is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PendingFate {
    /// Delay until the message arrives.
    pub delay: Span,
    /// Delay of the copy after the message, if there is a copy. There is at most one.
    pub copy: Option<Span>,
    /// Probability that the first attempt is lost, in 0..=1. The transport sends it again: see [`Loss`](crate::Loss).
    pub loss: f64,
    /// Reason of the loss, if the message never arrives. No later fault reverts it.
    pub lost: Option<LossReason>,
    /// Time until which the message is held before it is released.
    pub held: Option<Time>,
}

impl PendingFate {
    pub(crate) fn fate(self, now: Time) -> Fate {
        let arrival = self.held.unwrap_or(now).max(now) + self.delay;
        match self {
            PendingFate { lost: Some(cause), .. } => Fate::Lost(cause),
            PendingFate { copy: Some(lag), .. } => Fate::Duplicate(arrival.since(now), arrival.since(now) + lag),
            PendingFate { held: Some(_), .. } => Fate::Hold(arrival),
            PendingFate { delay, .. } => Fate::Deliver(delay),
        }
    }
}

/// Returns an error if `p` is not a probability.
pub(crate) fn probability(p: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&p) { Ok(()) } else { Err(format!("a probability is between 0 and 1, not {p}")) }
}
