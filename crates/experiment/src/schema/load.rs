//! Loads, and the planned times of their requests.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::model::Process;
use meshsim_mesh::serving::priority::Priority;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Hedge, Retry, USERS_MAX};
use crate::problem::Reporter;
use crate::section::{At, Field, Named, by_key, section};
use crate::tree::{Node, Value};
use crate::values::{Fraction, Name, Rate, Real, RequestSize, Timeout, Whole};

section! {
    /// Open-loop load by `arrivals`: each request is sent at its planned time, however slow earlier replies are. Or
    /// closed-loop load by `users`, who wait for replies.
    struct Load in "a load" {
        /// The service whose endpoints the mix names; without a mix `service` or `service.endpoint`.
        optional to: At<String>;
        /// Planned times of the requests. A load has this, or `users`.
        optional arrivals: Arrivals;
        /// Number of users of a closed loop; each sends a request after the reply to its last one and its think time.
        optional users: At<Whole<1, USERS_MAX>>;
        /// Think time of a user, from the reply (or the failure, or the timeout) to its next request [default: 0s].
        optional think: At<Dist>;
        /// Shortest time between the starts of two requests of a user [default: none].
        optional pacing: At<Span>;
        /// Targets, by weight: an endpoint of `to`, or `service.endpoint`, or a service with one endpoint; or pieces of
        /// a mix that changes.
        optional mix: At<Mix>;
        /// Requests that a user makes one after the other, by name, instead of a mix: each arrival is a user, and each
        /// of the
        /// `users` makes journey after journey.
        optional journey: At<Named<JourneyStep>>;
        /// Size of a request; or a distribution of sizes, as `{ log_normal: 8 KiB, sigma: 1 }`.
        or request: RequestSize = "1 KiB";
        /// Timeout of one attempt; or `none`.
        or timeout: Timeout = "15s";
        /// Attempts after the first.
        or retries: Whole<0, 255> = "0";
        /// Backoff and budget of these retries.
        or retry: Retry = "";
        /// Further attempts while one is in flight [default: none].
        optional hedge: Hedge;
        /// Answer in its place if it fails after its retries: `static`, or that of `service.endpoint` [default: none].
        optional fallback: At<String>;
        /// Services drop requests that are older than this, counted from the planned time [default: none].
        optional deadline: Span;
        /// Class of its requests, and of the calls made for them.
        or priority: Priority = "critical";
        /// Requests planned in the first part of the load are offered but not measured.
        or warmup: At<Span> = "0s";
        /// Time at which it begins.
        or from: At<Span> = "0s";
        /// Duration [default: to the end of the run].
        optional length as "for": At<Span>;
        /// Zone of its client [default: that of the first node].
        optional zone: At<Name>;
        /// Length of the windows of its time series; doubles in a run longer than 600 of them.
        or window: At<Span> = "1s";
    }
}

section! {
    /// A step of a journey.
    struct JourneyStep in "a step of a journey" {
        /// An endpoint of the load's `to`, or `service.endpoint`, or a service with one endpoint.
        required to: At<String>;
        /// Time from its reply to the next step.
        or think: Dist = "0s";
        /// Weights of the steps that may follow, and of `end` [default: the next step in the file; after the last, the
        /// end].
        optional next: At<Weights>;
    }
}

/// Weights of targets, by name.
pub(crate) type Weights = Named<Real<1_000_000_000, true>>;

section! {
    /// A piece of a mix that changes.
    struct MixPiece in "a piece of a mix" {
        /// Duration. The weights at the end of the last piece stay.
        required length as "for": At<Span>;
        /// Weights at its beginning.
        required weights: At<Weights>;
        /// Weights at its end, reached linearly [default: those at its beginning].
        optional to: At<Weights>;
    }
}

/// Targets by weight, for all of the load or piece by piece.
#[derive(Clone, Debug)]
pub(crate) enum Mix {
    Steady(Weights),
    Pieces(Vec<MixPiece>),
}

impl Field for Mix {
    const NAME: &'static str = "Mix";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::decode(node, reporter).map(Mix::Pieces),
            _ => Named::decode(node, reporter).map(Mix::Steady),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (steady, pieces) = (Weights::schema(generator), Vec::<MixPiece>::schema(generator));
        json_schema!({ "description": "Targets by weight, or pieces of a mix that changes.", "anyOf": [steady, pieces] })
    }
}

by_key! {
    /// Planned times of the requests.
    enum Arrivals in "`arrivals`" {
        "constant" => Constant,
        "poisson" => Poisson,
        "stages" => Stages,
        "burst" => Burst,
        "diurnal" => Diurnal,
        "replay" => Replay,
    }
}

section! {
    /// Evenly spaced.
    struct Constant in "`arrivals`" {
        /// Rate.
        required constant: Rate;
    }
}
section! {
    /// At random, independent of each other.
    struct Poisson in "`arrivals`" {
        /// Mean rate.
        required poisson: Rate;
    }
}
section! {
    /// At a rate that changes.
    struct Stages in "`arrivals`" {
        /// The pieces, one after the other; after the last, nothing more is planned.
        required stages: At<Vec<Stage>>;
        /// Evenly, or at random.
        or process: Process = "poisson";
    }
}
section! {
    /// A piece of a rate.
    struct Stage in "a stage" {
        /// Duration.
        required length as "for": Span;
        /// The rate at its beginning.
        required rate: Rate;
        /// The rate at its end, reached linearly [default: the rate at its beginning].
        optional to: Rate;
    }
}
section! {
    /// At a rate that jumps between two values, at random times: with exponential times a Markov-modulated Poisson
    /// process.
    struct Burst in "`arrivals`" {
        /// The rate in a burst.
        required burst: At<Rate>;
        /// The rate between bursts.
        or base: Rate = "0/s";
        /// Duration of a burst.
        required length as "for": At<Dist>;
        /// Time from the end of a burst to the next.
        required apart: At<Dist>;
        /// Evenly, or at random.
        or process: Process = "poisson";
    }
}
section! {
    /// At a rate that rises and falls as a sine.
    struct Diurnal in "`arrivals`" {
        /// The mean rate.
        required diurnal: Rate;
        /// Greatest distance from the mean rate, as a share of it.
        or amplitude: Fraction = "50%";
        /// Time from one peak to the next.
        or period: At<Span> = "24h";
        /// Time of a peak, counted from the load's start [default: a quarter of the period].
        optional peak: Span;
        /// Evenly, or at random.
        or process: Process = "poisson";
    }
}
section! {
    /// At times from a file.
    struct Replay in "`arrivals`" {
        /// A CSV file with a header: times (seconds, or dates with times), or with `per`, counts.
        required replay: At<String>;
        /// The column to read [default: the first].
        optional column: At<String>;
        /// Factor by which the times are compressed.
        or speed: Real<1_000_000> = "1";
        /// Each row is a count of requests over this interval.
        optional per: At<Span>;
        /// With `per`: evenly within each row, or at random [default: `poisson`].
        optional process: At<Process>;
    }
}
