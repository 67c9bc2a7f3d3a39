//! Services, their endpoints and their versions.

use meshsim_actor::Span;
use meshsim_mesh::model::{Amount, Balancer, ZoneRouting};
use meshsim_mesh::serving::limit::Limit as ServingLimit;
use meshsim_mesh::serving::priority::Priority;

use super::limits::Version;
use super::{Activator, Autoscale, Breaker, Connections, INSTANCES_MAX, Mirror, Outliers, RateLimit, Shed, Step};
use crate::section::{At, Named, section};
use crate::values::{ByteSize, Fraction, Name, Real, Whole};

section! {
    /// An independently deployable component.
    struct Service in "a service" {
        /// Instances when it is deployed (S).
        or instances: Whole<0, INSTANCES_MAX> = "1";
        /// Requests that one instance serves concurrently (C); it has max(1, round(C)) slots.
        or capacity: At<Real<1_000_000>> = "1";
        /// Lower limit of C.
        optional capacity_min: At<Real<1_000_000>>;
        /// Upper limit of C.
        optional capacity_max: At<Real<1_000_000>>;
        /// Version when it is deployed (V).
        or version: Version = "1";
        /// Cores that one instance reserves on its node.
        or cpu: Real<100_000, true> = "0.1";
        /// Cores that all requests of one instance may use together [default: those of the node].
        optional cpu_limit: Real<100_000>;
        /// Requests that may wait at one instance; one beyond them is refused.
        or queue: Whole<0, 1_000_000> = "1000";
        /// Time from the creation of an instance until it accepts requests.
        or start_delay: Span = "0s";
        /// Time for which an instance that is being removed still accepts requests, because callers may hold an older
        /// view.
        or drain_delay: Span = "1s";
        /// Time from the order to stop until the remaining requests of the instance are cut off, `drain_delay` included
        /// [default: no limit].
        optional grace: Span;
        /// Balancer with which its callers choose one of its instances [default: least_request, or that of `mesh`].
        optional balancer: Balancer;
        /// Preference of its callers for instances in their own zone [default: none].
        optional zone_routing: ZoneRouting;
        /// Share of usable instances below which its callers use all: of those that are ready, failed ones too
        /// [default: 0%, as Istio's]; with `outlier_detection` of those that are not ejected, ejected ones too
        /// [default: 50%, as Envoy's].
        optional panic_threshold: Fraction;
        /// Parts of its instances among which calls are split by weight [default: all are one].
        optional split: At<Vec<At<SplitPart>>>;
        /// Instances that each caller uses alone, so that an instance has few callers [default: all].
        optional subset: Whole<1, INSTANCES_MAX>;
        /// Factors on the weights of its instances, by zone [default: 1].
        or zone_weights: At<Named<Real<1_000_000>>> = "";
        /// Fewer requests for new instances at first [default: they get their share at once].
        optional slow_start: At<SlowStart>;
        /// Limits on what each of its callers has in flight [default: none].
        optional breaker: Breaker;
        /// Connections of each of its callers to each instance [default: without limit, and open at once].
        optional connections: Connections;
        /// Holds its calls while it has no ready instance [default: they fail; with `autoscale: { knative: .. }` held].
        optional activator: Activator;
        /// Ejection of its instances by each of its callers [default: none].
        optional outlier_detection: Outliers;
        /// Copies of its calls to another service [default: none].
        optional mirror: Mirror;
        /// Requests at one instance at once, waiting or in a slot: a number, or `gradient` [default: slots and queue].
        optional limit: ServingLimit;
        /// Requests over time, of each instance or from each caller [default: no limit].
        optional rate_limit: RateLimit;
        /// Requests that an instance refuses so that others are served in time [default: none].
        optional shed: Shed;
        /// Changes the number of its instances, or their capacity, by a measured signal [default: only operations do].
        optional autoscale: At<Autoscale>;
        /// Instances that evictions may make unavailable: of nodes that are drained [default: all].
        optional disruption_budget: At<DisruptionBudget>;
        /// Its endpoints, by name.
        required endpoints: At<Named<Endpoint>>;
        /// Endpoints that change from a version on, by version; the others stay as they are.
        or versions: Named<Behaviour> = "";
    }
}

section! {
    /// A limit on evictions (Kubernetes' PodDisruptionBudget). Give one of both.
    struct DisruptionBudget in "`disruption_budget`" {
        /// Instances that are to be ready: a number, or a percentage of S, rounded up.
        optional min_available: At<Amount>;
        /// Instances that may not be ready: a number, or a percentage of S, rounded up.
        optional max_unavailable: At<Amount>;
    }
}

section! {
    /// New instances get fewer requests at first; the defaults are Envoy's.
    struct SlowStart in "`slow_start`" {
        /// Time from the first view that has an instance until it has its full weight.
        required window: Span;
        /// The weight rises with (age / window)^(1 / aggression): 1 is linear.
        or aggression: Real<100> = "1";
        /// Share of its weight that an instance has from the beginning.
        or min_weight: Fraction = "10%";
    }
}

section! {
    /// Processing of a request.
    struct Endpoint in "an endpoint" {
        /// Share of the requests that fail at random.
        or errors: Fraction = "0%";
        /// Size of the reply.
        or response: ByteSize = "1 KiB";
        /// Class of its requests [default: that of the load that they are made for].
        optional priority: Priority;
        /// Steps that run one after the other; the request holds its slot during all of them.
        or script: Vec<Step> = "";
    }
}

section! {
    /// Behaviour of a service from a version on.
    struct Behaviour in "a version" {
        /// The changed endpoints, in full.
        required endpoints: Named<Endpoint>;
    }
}

section! {
    /// Part of a service's instances: those of a version, or on nodes with labels.
    struct SplitPart in "a part of a `split`" {
        /// The instances of this version [default: of any].
        optional version: Version;
        /// The instances on nodes with all these labels [default: on any].
        or labels: Named<Name> = "";
        /// Its share of the calls, relative to the other parts.
        or weight: Real<1_000_000_000, true> = "1";
    }
}
