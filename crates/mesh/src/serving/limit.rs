//! Limit on the requests at an instance at once, waiting or in a slot: a number, or one that follows the latency.
//!
//! With slots and a fixed limit an instance is an M/M/c/K queue; with a limit equal to its slots it blocks as Erlang's
//! formula B says.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use super::gradient::{self, Gradient};

/// Limit on the requests at an instance at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Limit {
    /// This number.
    Fixed(u32),
    /// As many as do not slow each other down.
    Gradient(Gradient),
}

/// State of one instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    gradient: Option<Box<gradient::State>>,
}

impl State {
    /// The limit now.
    pub(super) fn now(&mut self, of: &Limit, now: Time) -> u32 {
        match of {
            Limit::Fixed(limit) => *limit,
            Limit::Gradient(of) => self.gradient(of, now).limit(of, now),
        }
    }

    /// A request that arrived at `arrived` is done.
    pub(super) fn ended(&mut self, of: &Limit, arrived: Time, key: u64, now: Time) {
        if let Limit::Gradient(of) = of {
            self.gradient(of, now).ended(of, arrived, key, now);
        }
    }

    fn gradient(&mut self, of: &Gradient, now: Time) -> &mut gradient::State {
        self.gradient.get_or_insert_with(|| Box::new(gradient::State::new(of, now)))
    }
}
