//! Breakdown of the time of all requests of an endpoint, and of the slowest.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Span};
use meshsim_mesh::RequestId;
use meshsim_mesh::model::{EndpointId, ServiceId};

use super::{Kind, Waterfall};

/// Resolution of latencies: a 64th of their power of two, 1.6 % or less.
const FINENESS: u32 = 6;

/// Sums of the critical paths of requests, by client and endpoint. Memory does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct Totals(BTreeMap<(ActorId, Option<(ServiceId, EndpointId)>), Group>);

/// The requests of one client for one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Number of requests that have ended.
    pub requests: u64,
    /// Of these, the number of failures.
    pub failed: u64,
    /// By latency class.
    classes: BTreeMap<u32, Class>,
}

#[derive(Clone, Debug, Default)]
struct Class {
    requests: u64,
    least: u64,
    parts: BTreeMap<(Option<ServiceId>, Kind), u128>,
}

/// Breakdown of the time of a number of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Number of requests.
    pub requests: u64,
    /// The latency of the fastest of them.
    pub from: Span,
    /// The mean of their latencies: the sum of the parts, divided by the number of requests.
    pub mean_ns: f64,
    /// By service and kind, the longest first: nanoseconds of all of them.
    pub parts: Vec<(Option<ServiceId>, Kind, u128)>,
}

impl Totals {
    /// Adds a request.
    pub fn add(&mut self, of: &Waterfall) {
        let callee = of.calls.first().and_then(|call| call.callee);
        let group = self.0.entry((RequestId::caller(of.root), callee)).or_default();
        group.requests += 1;
        group.failed += u64::from(of.failure.is_some());
        let latency = of.latency().nanos();
        let class = group.classes.entry(class(latency)).or_default();
        class.least = if class.requests == 0 { latency } else { class.least.min(latency) };
        class.requests += 1;
        for piece in of.critical_path() {
            *class.parts.entry((piece.service, piece.kind)).or_default() +=
                u128::from(piece.to.since(piece.from).nanos());
        }
    }

    /// The groups, each with its client and endpoint: by client and endpoint, the requests for which there was no
    /// instance last of their client's.
    pub fn groups(&self) -> impl Iterator<Item = (ActorId, Option<(ServiceId, EndpointId)>, &Group)> {
        let mut groups: Vec<_> = self.0.iter().map(|((caller, callee), group)| (*caller, *callee, group)).collect();
        groups.sort_by_key(|(caller, callee, _)| (*caller, callee.is_none(), *callee));
        groups.into_iter()
    }
}

impl Group {
    /// The requests by their rank in latency, the fastest first, in groups that begin where the one before ends: up to
    /// each of these shares of all. Requests whose latencies can hardly be told apart are in one group; a group may be
    /// empty.
    pub fn by_rank(&self, ends: &[f64]) -> Vec<Share> {
        let mut classes = self.classes.values().peekable();
        let mut before = 0;
        let group = |end: &f64| {
            let (mut requests, mut least, mut parts) = (0, None, BTreeMap::<_, u128>::new());
            while let Some(class) = classes.next_if(|class| {
                // A class belongs where its middle lies.
                (before + class.requests.div_ceil(2)) as f64 <= self.requests as f64 * end
            }) {
                (requests, before) = (requests + class.requests, before + class.requests);
                least.get_or_insert(class.least);
                for (part, ns) in &class.parts {
                    *parts.entry(*part).or_default() += ns;
                }
            }
            Share::new(requests, least.unwrap_or(0), parts)
        };
        ends.iter().map(group).collect()
    }

    /// The slowest requests, at least this share of all: 1 is all of them. Requests whose latencies can hardly be told
    /// apart are taken together, so it may be a few more.
    pub fn slowest(&self, share: f64) -> Share {
        let wanted = (self.requests as f64 * share).ceil() as u64;
        let (mut requests, mut least, mut parts) = (0, 0, BTreeMap::<_, u128>::new());
        for class in self.classes.values().rev() {
            if requests >= wanted {
                break;
            }
            (requests, least) = (requests + class.requests, class.least);
            for (part, ns) in &class.parts {
                *parts.entry(*part).or_default() += ns;
            }
        }
        Share::new(requests, least, parts)
    }
}

impl Share {
    fn new(requests: u64, least: u64, parts: BTreeMap<(Option<ServiceId>, Kind), u128>) -> Self {
        let sum: u128 = parts.values().sum();
        let mut parts: Vec<_> = parts.into_iter().map(|((service, kind), ns)| (service, kind, ns)).collect();
        parts.sort_by_key(|(service, kind, ns)| (std::cmp::Reverse(*ns), *service, *kind));
        Share { requests, from: Span::from_nanos(least), mean_ns: sum as f64 / requests.max(1) as f64, parts }
    }
}

/// Latencies of one class differ by at most 1.6 %.
fn class(ns: u64) -> u32 {
    let bits = u64::BITS - ns.leading_zeros();
    if bits <= FINENESS + 1 {
        return ns as u32;
    }
    let shift = bits - FINENESS - 1;
    (shift << FINENESS) + (ns >> shift) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_an_instance_come_last_of_their_clients() {
        let callee = |endpoint| Some((ServiceId(0), EndpointId(endpoint)));
        let keys = [(5, None), (5, callee(1)), (5, callee(0)), (6, None), (6, callee(0))];
        let totals = Totals(keys.map(|(caller, callee)| ((ActorId(caller), callee), Group::default())).into());
        let groups: Vec<_> = totals.groups().map(|(caller, callee, _)| (caller.0, callee)).collect();
        assert_eq!(groups, [(5, callee(0)), (5, callee(1)), (5, None), (6, callee(0)), (6, None)]);
    }

    #[test]
    fn groups_by_rank_hold_each_request_once_and_the_slowest_come_last() {
        let class = |latency: u64, requests| Class {
            requests,
            least: latency,
            parts: [((None, Kind::Work), u128::from(latency * requests))].into(),
        };
        let classes = [(1, class(10, 500)), (2, class(20, 400)), (3, class(30, 90)), (4, class(40, 10))];
        let group = Group { requests: 1_000, failed: 0, classes: classes.into() };
        let ranks = group.by_rank(&[0.5, 0.9, 0.99, 1.0]);
        assert_eq!(ranks.iter().map(|it| it.requests).collect::<Vec<u64>>(), [500, 400, 90, 10]);
        assert_eq!(ranks.iter().map(|it| it.mean_ns).collect::<Vec<f64>>(), [10.0, 20.0, 30.0, 40.0]);
        let same = Group { classes: [(1, class(10, 1_000))].into(), ..group };
        let ranks = same.by_rank(&[0.5, 0.9, 0.99, 1.0]);
        assert_eq!(ranks.iter().map(|it| it.requests).sum::<u64>(), 1_000, "all look alike");
    }

    #[test]
    fn classes_rise_and_are_narrow() {
        let mut before = 0;
        for ns in
            (0..2_000_u64).chain((11..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 1))]))
        {
            assert!(class(ns) >= before, "{ns}");
            before = class(ns);
            assert!(ns < 128 || class(ns + ns / 50) > class(ns), "{ns}");
        }
    }
}
