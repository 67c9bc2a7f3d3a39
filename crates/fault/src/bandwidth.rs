//! Links with a limited number of bytes a second.

use std::collections::BTreeMap;

use meshsim_actor::LossReason;
use serde::{Deserialize, Serialize};

use crate::{Disturbance, InTransit, Link, PendingFate, Span, Time};

/// Each link (a sender and a receiver) passes its messages one after the other at a fixed rate, in the order in which
/// they were sent; later messages wait for earlier ones.
///
/// The only fault in which messages affect each other, and the only one with state: the time at which each link becomes
/// free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// The links.
    pub on: Link,
    /// Rate of each link, above 0.
    pub bytes_per_sec: u64,
    /// Bytes that may wait at each link. A message that finds more before it is lost ([`LossReason::Full`]).
    pub queue_bytes_max: u64,
    /// Time at which each used link becomes free.
    #[serde(default)]
    free_at: BTreeMap<u64, Time>,
}

impl Bandwidth {
    /// Limits these links.
    pub fn new(on: Link, bytes_per_sec: u64, queue_bytes_max: u64) -> Self {
        Bandwidth { on, bytes_per_sec, queue_bytes_max, free_at: BTreeMap::new() }
    }
}

impl Disturbance for Bandwidth {
    fn amend(&mut self, _: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if !message.is_on(&self.on) || self.bytes_per_sec == 0 {
            return;
        }
        let free_at = self.free_at.entry(message.link()).or_default();
        let wait = free_at.since(message.now);
        if wait.secs() * self.bytes_per_sec as f64 > self.queue_bytes_max as f64 {
            verdict.lost = Some(LossReason::Full);
            return;
        }
        let passing = Span::from_secs_f64(f64::from(message.bytes) / self.bytes_per_sec as f64);
        *free_at = message.now + wait + passing;
        verdict.delay += wait + passing;
    }

    fn validate(&self) -> Result<(), String> {
        if self.bytes_per_sec > 0 { Ok(()) } else { Err("a link that carries nothing is a partition".into()) }
    }
}
