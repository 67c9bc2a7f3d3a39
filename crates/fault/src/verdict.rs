//! A message on its way, and what is to become of it.

use meshsim_actor::{ActorId, Cause, Fate, Rng, Span, Time};

/// A message that the network looks at.
#[derive(Clone, Debug)]
pub struct Passing {
    /// When it is sent.
    pub now: Time,
    /// By whom.
    pub from: ActorId,
    /// To whom.
    pub to: ActorId,
    /// Its length on the wire.
    pub bytes: u32,
    seed: u64,
    seq: u64,
    rng: Option<Rng>,
}

impl Passing {
    pub(crate) fn new(seed: u64, now: Time, from: ActorId, to: ActorId, seq: u64, bytes: u32) -> Self {
        Passing { now, from, to, bytes, seed, seq, rng: None }
    }

    /// The message's own stream. It is made when first asked for, so certainty costs nothing.
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

    /// Sender and receiver as one number.
    pub fn link(&self) -> u64 {
        u64::from(self.from.0) << 32 | u64::from(self.to.0)
    }
}

/// What is to become of a message, as far as it has been decided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// How long it is on its way.
    pub delay: Span,
    /// How long after it a copy arrives, if one does. There is at most one copy.
    pub copy: Option<Span>,
    /// How likely its first try is lost on the way, in 0..=1. The transport sends it again: see [`Loss`](crate::Loss).
    pub loss: f64,
    /// Why it never arrives, if it does not. Nothing brings it back.
    pub lost: Option<Cause>,
    /// Until when it is kept back before it sets out.
    pub held: Option<Time>,
}

impl Verdict {
    pub(crate) fn fate(self, now: Time) -> Fate {
        let arrival = self.held.unwrap_or(now).max(now) + self.delay;
        match self {
            Verdict { lost: Some(cause), .. } => Fate::Lost(cause),
            Verdict { copy: Some(lag), .. } => Fate::Duplicate(arrival.since(now), arrival.since(now) + lag),
            Verdict { held: Some(_), .. } => Fate::Hold(arrival),
            Verdict { delay, .. } => Fate::Deliver(delay),
        }
    }
}

/// Says so if `p` is not a probability.
pub(crate) fn probability(p: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&p) { Ok(()) } else { Err(format!("a probability is between 0 and 1, not {p}")) }
}
