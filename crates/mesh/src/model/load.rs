//! Loads.

use std::sync::Arc;

use meshsim_actor::{Dist, Span, Time};
use serde::{Deserialize, Serialize};

use super::script::CallPolicy;
use super::sizes::Sizes;
use super::targeting::Targeting;
use super::{EndpointId, ServiceId};
use crate::serving::priority::Priority;

/// Load on entry services: in an open loop, where each request is sent at its planned time, however slow earlier
/// replies are; or in a closed loop, by [users](Arrivals::Users) who wait for replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// Zone of its client: an index into [`Mesh::zones`](super::Mesh::zones).
    pub zone: u16,
    /// The first time at which a request may be planned.
    pub start: Time,
    /// No request is planned at or after this.
    pub end: Time,
    /// Planned times of the requests, counted from `start`; or the users who send them.
    pub arrivals: Arrivals,
    /// Targets.
    pub mix: Vec<Target>,
    /// Rule by which a request gets one of them.
    pub targeting: Targeting,
    /// Sizes of the requests, if they vary.
    pub sizes: Option<Box<Sizes>>,
    /// Timeout and retries of the client.
    pub policy: CallPolicy,
    /// Travels with the request: a server drops work whose caller has given up. Counted from the planned time.
    pub deadline: Option<Span>,
    /// Class of its requests, and of the calls made for them.
    pub priority: Priority,
    /// Requests planned before `start + warmup` are offered but not measured.
    pub warmup: Span,
    /// Length of the windows of its [time series](crate::course::Course).
    pub window: Span,
}

/// One kind of request of a load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The entry service.
    pub service: ServiceId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its share, relative to the other targets.
    pub weight: f64,
    /// Size of the request; the mean, if [`Load::sizes`] vary.
    pub request_bytes: u32,
}

/// Planned times of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Arrivals {
    /// By a rate that may change over time.
    Rate {
        /// Evenly, or at random.
        process: Process,
        /// The rate, piece by piece. After the last piece nothing more is planned.
        stages: Arc<[Stage]>,
    },
    /// At given times, rising, counted from the load's start.
    Stamps(Arc<[Span]>),
    /// In closed loop: when users have their answers and have thought.
    Users(Users),
}

/// The users of a closed load. They send fewer requests to a slow mesh; the omitted requests are not measured
/// (coordinated omission).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// Number of users.
    pub count: u32,
    /// Think time of a user: from the reply, or from giving up, to its next request.
    pub think: Dist,
    /// Shortest time between the starts of two requests of a user. The latency of a request that starts later, because
    /// the previous reply was late, runs from its planned start.
    pub pacing: Option<Span>,
}

impl Arrivals {
    /// One rate for the whole run.
    pub fn steady(process: Process, per_second: f64) -> Self {
        Arrivals::Rate { process, stages: Arc::new([Stage { length: Span::MAX, from: per_second, to: per_second }]) }
    }

    /// The users, of a closed load.
    pub fn users(&self) -> Option<&Users> {
        if let Arrivals::Users(users) = self { Some(users) } else { None }
    }

    /// Time, counted from the load's start, before which both plan the same requests by the same draws.
    pub fn same_until(&self, other: &Arrivals) -> Span {
        let mut same = Span::ZERO;
        let (Arrivals::Rate { process, stages }, Arrivals::Rate { process: of_other, stages: others }) = (self, other)
        else {
            return same;
        };
        if process != of_other {
            return same;
        }
        for (stage, other) in stages.iter().zip(others.iter()) {
            let is_level = [stage.to, other.from, other.to].iter().all(|rate| *rate == stage.from);
            if stage == other || is_level {
                same += stage.length.min(other.length);
            }
            if stage != other {
                break;
            }
        }
        same
    }

    /// The same arrivals at `factor` times the rate. Given times and users stay as they are.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        match self {
            Arrivals::Rate { process, stages } => {
                let scaled = |stage: &Stage| Stage { from: stage.from * factor, to: stage.to * factor, ..*stage };
                Arrivals::Rate { process: *process, stages: stages.iter().map(scaled).collect() }
            }
            Arrivals::Stamps(_) | Arrivals::Users(_) => self.clone(),
        }
    }
}

/// Spacing of the planned times at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// Evenly spaced.
    Constant,
    /// At random, independent of each other.
    Poisson,
}

/// A piece of a rate: linear from one value to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Duration.
    pub length: Span,
    /// Requests per second at its beginning.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
}
