//! Links that lose packets, under a transport that sends them again.

use serde::{Deserialize, Serialize};

use crate::{Disturbance, InTransit, Link, PendingFate, Span, Time, verdict::probability};

/// A link that loses packets under a transport that sends them again, as TCP does: a lost message arrives later.
///
/// Each attempt to send a message is lost with this probability, independently. The transport tries again after
/// [`RETRY_AFTER_MIN`] or the round trip, whichever is longer, and after twice as long each time, at most
/// [`RETRY_AFTER_MAX`]. After [`RETRIES_MAX`] lost retries it gives up, and the message is lost
/// ([`LossReason::Loss`](meshsim_actor::LossReason::Loss)). Each attempt meets the loss of its own time, so a message
/// arrives soon after the end of a fault that loses everything.
///
/// The unit is the message, whatever its length and kind. Not modelled: head-of-line blocking (a lost message does not
/// hold up later ones of the same sender), the faster repairs of TCP (fast retransmit, tail loss probes), and the
/// [`Bandwidth`](crate::Bandwidth) that a retry takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The links.
    pub on: Link,
    /// Probability that an attempt is lost, in 0..=1.
    pub probability: f64,
}

/// The shortest wait before a retry: Linux's `TCP_RTO_MIN`.
pub const RETRY_AFTER_MIN: Span = Span::from_millis(200);

/// The longest wait before a retry: Linux's `TCP_RTO_MAX`.
pub const RETRY_AFTER_MAX: Span = Span::from_secs(120);

/// Retries until the transport gives up: Linux's `tcp_retries2`.
pub const RETRIES_MAX: u32 = 15;

impl Disturbance for Loss {
    /// Adds to the probability that the first attempt is lost. [`Network`](crate::Network) draws once for all losses of
    /// one time. If two faults each drew, they would be two links in a row for this attempt, but not for the retry.
    fn amend(&mut self, _: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if message.is_on(&self.on) {
            verdict.loss = together(verdict.loss, self.probability);
        }
    }

    fn validate(&self) -> Result<(), String> {
        probability(self.probability)
    }
}

/// Probability that at least one of two independent losses happens.
pub(crate) fn together(one: f64, other: f64) -> f64 {
    // Exactly `other` if `one` is zero, and exactly 1 if either is 1.
    if one == 0.0 { other } else { 1.0 - (1.0 - one) * (1.0 - other) }
}
