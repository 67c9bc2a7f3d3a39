//! Policies of callers (circuit breakers, outlier detection, hedging, a retry budget over a time) and of instances
//! (limits and shedding).

use meshsim_actor::Span;
use meshsim_mesh::policy::hedge::HedgeAfter;

use crate::section::{At, section};
use crate::values::{Budget, Factor, Fraction, Limit, LimitedAt, Rate, Real, Whole};

section! {
    /// Circuit breaker: limits on what one caller has in flight to the service; the defaults are Envoy's. What exceeds
    /// a limit fails as `refused` and is not retried.
    struct Breaker in "`breaker`" {
        /// Requests of one caller at the service at once; further ones wait at the caller. A connection carries one
        /// request at a time.
        or max_connections: Limit = "1024";
        /// Requests that wait for a connection.
        or max_pending_requests: Limit = "1024";
        /// Requests of one caller at the service at once.
        or max_requests: Limit = "1024";
        /// Retries in flight. Holds for calls without a retry budget (`retry: { budget: none }`).
        or max_retries: Limit = "3";
    }
}

section! {
    /// Activator: callers hold their calls while the service has no ready instance; the defaults are Knative's.
    struct Activator in "`activator`" {
        /// Longest time for which a call is held; then it fails as `no_instance`. Its timeout runs meanwhile.
        or hold: At<Span> = "300s";
        /// Calls that one caller (a node, a load) holds; a further one is refused.
        or size: Whole<1, 1_000_000> = "10000";
    }
}

section! {
    /// Connections of each caller to each instance; one carries one request at a time.
    struct Connections in "`connections`" {
        /// Connections that are open at once; further requests for the instance wait for one.
        or max: Whole<1, 1_000_000> = "1000";
        /// Time to open a connection.
        or set_up: Span = "0s";
        /// Time after which an idle connection is closed [default: never].
        optional idle: Span;
    }
}

section! {
    /// Outlier detection: a caller ejects instances that fail, for a while; the defaults are Envoy's.
    struct Outliers in "`outlier_detection`" {
        /// Failures in a row that eject an instance.
        or consecutive_failures: Limit = "5";
        /// Ejects an instance whose success rate in an interval is so many standard deviations below the mean.
        or success_rate_stdev_factor: Factor = "1.9";
        /// Instances with enough requests that this needs.
        or success_rate_minimum_hosts: Whole<0, 1_000_000> = "5";
        /// Requests in an interval from which on an instance has enough.
        or success_rate_request_volume: Whole<0, 1_000_000> = "100";
        /// Ejects an instance of whose requests in an interval such a share failed.
        or failure_percentage_threshold: Budget = "none";
        /// Instances with enough requests that this needs.
        or failure_percentage_minimum_hosts: Whole<0, 1_000_000> = "5";
        /// Requests in an interval from which on an instance has enough.
        or failure_percentage_request_volume: Whole<0, 1_000_000> = "50";
        /// Time between two sweeps, which judge the rates and let instances come back; at least 1 ms.
        or interval: At<Span> = "10s";
        /// Length of an ejection, times the number of ejections that are not forgotten.
        or base_ejection_time: Span = "30s";
        /// Limit of that product.
        or max_ejection_time: Span = "300s";
        /// Share of the instances that may be ejected at once.
        or max_ejection_percent: Fraction = "10%";
        /// One instance may be ejected, whatever `max_ejection_percent` is.
        or always_eject_one_host: bool = "false";
    }
}

section! {
    /// Hedging: a further attempt, at another instance, while one is in flight; the first good reply wins.
    struct Hedge in "`hedge`" {
        /// Time after which it is sent: a duration, or a percentile of the caller's latest latencies.
        required after: HedgeAfter;
        /// Attempts of a call that may be sent so; each counts as a retry for the retry budget.
        or max: Whole<1, 10> = "1";
        /// The other attempts are cancelled when one has succeeded, and the calls made for them; gRPC does so.
        or cancel: bool = "true";
    }
}

section! {
    /// Retry budget over a time, instead of `budget` and `budget_min`; the defaults are Linkerd's.
    struct WindowBudget in "`window_budget`" {
        /// Time over which calls and retries count; at least 1 ms.
        or ttl: At<Span> = "10s";
        /// Retries for each call.
        or ratio: Real<1_000, true> = "0.2";
        /// Retries a second that are allowed besides.
        or min_per_s: Real<1_000_000, true> = "10";
    }
}

section! {
    /// Token bucket: requests over time. What exceeds it fails as `refused`.
    struct RateLimit in "`rate_limit`" {
        /// Requests per second that pass in the long run.
        required rate: At<Rate>;
        /// Requests that may pass at once after a pause.
        or burst: Whole<1, 1_000_000_000> = "1";
        /// Owner of a bucket: each instance, for requests of all callers; or each caller, for its requests to all
        /// instances.
        or at: LimitedAt = "instance";
    }
}

section! {
    /// Requests that an instance refuses, or serves in another order, so that others are served in time.
    struct Shed in "`shed`" {
        /// Refuses a request with less time left until its deadline when it would get its slot [default: served until
        /// the deadline has passed].
        optional time_left: Span;
        /// Shares of the room of an instance (`limit`, or slots and queue) that requests may fill, by class [default:
        /// all].
        optional priority: Shares;
        /// Serves the newest of the waiting requests first, once some have waited without a break for this long
        /// [default: never].
        optional lifo_after: Span;
        /// CoDel: refuses the oldest of the waiting requests, ever faster, once requests have waited for longer than
        /// `target` throughout an `interval` [default: never].
        optional codel: Codel;
    }
}

section! {
    /// Controlled delay; the defaults are those of its authors.
    struct Codel in "`codel`" {
        /// Acceptable standing wait for a slot.
        or target: Span = "5ms";
        /// Time for which requests may wait longer than that, as in a burst; at least 1 ms.
        or interval: At<Span> = "100ms";
    }
}

section! {
    /// Shares of the room of an instance that the requests of a class, together with all others there, may fill.
    struct Shares in "`priority`" {
        /// Users notice at once if they fail.
        or critical_plus: Fraction = "100%";
        /// Users notice if they fail. Requests without a class are these.
        or critical: Fraction = "90%";
        /// Some may fail, and are made up for later.
        or sheddable_plus: Fraction = "75%";
        /// Many may fail.
        or sheddable: Fraction = "50%";
    }
}

section! {
    /// Copies of calls, whose replies are not waited for.
    struct Mirror in "`mirror`" {
        /// Receiver: a service with endpoints of the same names, or one endpoint.
        required to: At<String>;
        /// Share of the calls that are copied.
        or share: Fraction = "100%";
    }
}
