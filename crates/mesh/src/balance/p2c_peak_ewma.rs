//! `p2c_peak_ewma`: of two distinct random instances, the one with the lower `estimate * (pending + 1)`.
//!
//! The estimate is sensitive to peaks: a slower sample replaces it, a faster one draws it down, and *each read lets it
//! decay towards nothing*. So does the start value, from the time at which the instance became known. Without the
//! decay at reads an instance that was slow once would get no request, and so no sample that says that it is well
//! again. (Linkerd's and Finagle's balancer, "peak EWMA", as in `tower::load::PeakEwma`; Finagle's
//! `com.twitter.finagle.loadbalancer.p2c.P2CPeakEwma`.)

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{Rng, Span, Time};
use serde::{Deserialize, Serialize};

use super::{Occasion, replaced, weights};
use crate::view::InstanceRef;

/// A caller's state of the instances of a service: those with a request in flight or with an estimate that has not
/// faded. All others have the start value, faded since `since`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Estimates {
    /// The instances that `peers` refers to.
    #[serde(with = "meshsim_actor::shared")]
    instances: Arc<[InstanceRef]>,
    /// Time at which the others became known.
    since: Time,
    /// By position in `instances`.
    peers: BTreeMap<u32, InstanceStats>,
    /// Peers at which those are let go of which nothing is left to know.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct InstanceStats {
    /// Requests in flight.
    pending: u32,
    /// In nanoseconds.
    estimate: f64,
    /// Time of the last read or sample.
    touched: Time,
}

/// Lower bound of an estimate: a nanosecond, the resolution of the clock. All that have faded to it are equal, and the
/// pending requests decide. A start value of 30 ms fades to it in 17 time constants.
const LEAST_NS: f64 = 1.0;

impl Default for Estimates {
    fn default() -> Self {
        Estimates { instances: Arc::default(), since: Time::ZERO, peers: BTreeMap::new(), sweep_at: 64 }
    }
}

impl Estimates {
    #[inline(never)]
    pub(super) fn pick(
        &mut self,
        instances: &Arc<[InstanceRef]>,
        decay: Span,
        start: Span,
        occasion: &Occasion<'_>,
        rng: &mut Rng,
    ) -> usize {
        let now = occasion.now;
        self.follow(instances, start, now);
        let n = instances.len() as u32;
        let picked = match n {
            1 => 0,
            _ => {
                let [first, second] = match occasion.is_weighted() {
                    true => draw_alike(instances, occasion, rng),
                    false => {
                        let first = rng.below(n);
                        [first, (first + 1 + rng.below(n - 1)) % n]
                    }
                };
                let costs = [first, second].map(|at| self.read(at, decay, start, now));
                if costs[1] < costs[0] { second } else { first }
            }
        };
        if self.peers.len() >= self.sweep_at {
            self.sweep(decay, start, now);
        }
        let unknown = InstanceStats { pending: 0, ..InstanceStats::start(start, self.since) };
        let peer = self.peers.entry(picked).or_insert(unknown);
        if n > 1 {
            peer.fade(decay, now);
        }
        peer.pending += 1;
        picked as usize
    }

    pub(super) fn ended(&mut self, to: InstanceRef, decay: Span, now: Time, took: Span) {
        // An instance that has gone leaves no state; one that was gone and came back starts anew.
        let Ok(at) = self.instances.binary_search(&to) else { return };
        if let Some(peer) = self.peers.get_mut(&(at as u32)) {
            peer.pending = peer.pending.saturating_sub(1);
            peer.learn(took, decay, now);
        }
    }

    pub(super) fn cancelled(&mut self, to: InstanceRef) {
        let Ok(at) = self.instances.binary_search(&to) else { return };
        if let Some(peer) = self.peers.get_mut(&(at as u32)) {
            peer.pending = peer.pending.saturating_sub(1);
        }
    }

    /// The cost of an instance. What was learnt of it fades by being looked at.
    fn read(&mut self, at: u32, decay: Span, start: Span, now: Time) -> f64 {
        match self.peers.get_mut(&at) {
            Some(peer) => {
                peer.fade(decay, now);
                peer.estimate * f64::from(peer.pending + 1)
            }
            // Fading twice is fading once for the sum of both, so this need not be kept.
            None => self.unknown(decay, start, now),
        }
    }

    /// The estimate of those of which nothing was learnt.
    fn unknown(&self, decay: Span, start: Span, now: Time) -> f64 {
        let mut peer = InstanceStats::start(start, self.since);
        peer.fade(decay, now);
        peer.estimate
    }

    /// Removes the entries that carry no information: they have faded as far as those of unknown instances.
    fn sweep(&mut self, decay: Span, start: Span, now: Time) {
        if self.unknown(decay, start, now) <= LEAST_NS {
            self.peers.retain(|_, peer| {
                let mut faded = *peer;
                faded.fade(decay, now);
                peer.pending > 0 || faded.estimate > LEAST_NS
            });
        }
        self.sweep_at = 64.max(2 * self.peers.len());
    }

    /// The instances have changed: those that stay keep their state, those that come have the start value.
    fn follow(&mut self, instances: &Arc<[InstanceRef]>, start: Span, now: Time) {
        let Some(old) = replaced(&mut self.instances, instances) else { return };
        let mut stay: Vec<(u32, u32)> = Vec::new();
        for (at, instance) in old.iter().enumerate() {
            if let Ok(now_at) = instances.binary_search(instance) {
                stay.push((now_at as u32, at as u32));
            }
        }
        let mut known = std::mem::take(&mut self.peers);
        let mut peers: BTreeMap<u32, InstanceStats> =
            stay.iter().filter_map(|(now_at, at)| Some((*now_at, known.remove(at)?))).collect();
        // The smaller set is kept one by one: instances without a sample until now, or those that come now.
        if stay.len() - peers.len() <= instances.len() - stay.len() {
            let since = InstanceStats::start(start, self.since);
            for (now_at, _) in &stay {
                peers.entry(*now_at).or_insert(since);
            }
            self.since = now;
        } else {
            let mut stay = stay.iter().map(|(now_at, _)| *now_at).peekable();
            for at in 0..instances.len() as u32 {
                if stay.next_if_eq(&at).is_none() {
                    peers.insert(at, InstanceStats::start(start, now));
                }
            }
        }
        self.peers = peers;
    }
}

/// Draws of the second candidate where instances differ in weight.
const DRAWS_MAX: usize = 16;

/// Two candidates where instances differ in weight: one by its weight, and another one of the same weight. So each
/// class of equal weights gets its share, and the estimates decide within it. (Finagle's `TrafficDistributor`.) One
/// that is alone in its class is both.
fn draw_alike(instances: &[InstanceRef], occasion: &Occasion<'_>, rng: &mut Rng) -> [u32; 2] {
    let weight = |at: u32| occasion.weight(instances[at as usize]);
    let first = weights::draw(instances, occasion, rng);
    let mut others = std::iter::repeat_with(|| weights::draw(instances, occasion, rng)).take(DRAWS_MAX);
    let second = others.find(|at| *at != first && weight(*at) == weight(first));
    [first, second.unwrap_or(first)]
}

impl InstanceStats {
    fn start(start: Span, since: Time) -> Self {
        InstanceStats { pending: 0, estimate: start.nanos() as f64, touched: since }
    }

    fn fade(&mut self, decay: Span, now: Time) {
        self.approach(0.0, decay, now);
    }

    /// A request took so long.
    fn learn(&mut self, took: Span, decay: Span, now: Time) {
        self.approach(took.nanos() as f64, decay, now);
    }

    fn approach(&mut self, sample: f64, decay: Span, now: Time) {
        let passed = now.since(self.touched);
        if sample > self.estimate {
            self.estimate = sample;
        } else if !passed.is_zero() {
            let kept = (-passed.secs() / decay.secs()).exp();
            self.estimate = (sample + (self.estimate - sample) * kept).max(LEAST_NS);
        }
        self.touched = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::{instances, service};
    use crate::model::{Mesh, ServiceId};

    const DECAY: Span = Span::from_secs(10);
    const START: Span = Span::from_millis(30);

    fn mesh() -> Mesh {
        Mesh { services: vec![service()], ..Mesh::default() }
    }

    fn when(mesh: &Mesh, now: Time) -> Occasion<'_> {
        Occasion { mesh, service: ServiceId(0), root: 0, now, board: None, young: &[] }
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    #[test]
    fn slower_samples_replace_the_estimate_and_faster_ones_and_reads_decay_it() {
        let mut peer = InstanceStats::start(START, at(0));
        peer.learn(Span::from_millis(500), DECAY, at(0));
        assert_eq!(peer.estimate, 500e6);
        peer.learn(Span::from_millis(10), DECAY, at(10));
        let drawn = 10e6 + 490e6 / std::f64::consts::E;
        assert!((peer.estimate / drawn - 1.0).abs() < 1e-9, "{}", peer.estimate);
        peer.fade(DECAY, at(15));
        peer.fade(DECAY, at(20));
        assert!((peer.estimate * std::f64::consts::E / drawn - 1.0).abs() < 1e-9, "{}", peer.estimate);
    }

    #[test]
    fn an_instance_that_was_slow_is_tried_again_without_a_sign_that_it_recovered() {
        let (two, mesh, mut rng) = (instances(2), mesh(), Rng::stream(1, "x"));
        let mut known = Estimates::default();
        let slow = known.pick(&two, DECAY, START, &when(&mesh, at(0)), &mut rng);
        known.ended(two[slow], DECAY, at(0), Span::from_secs(1));
        let mut asked_again = None;
        for ms in 0..60_000 {
            let now = Time::ZERO + Span::from_millis(ms);
            let picked = known.pick(&two, DECAY, START, &when(&mesh, now), &mut rng);
            known.ended(two[picked], DECAY, now + Span::from_millis(5), Span::from_millis(5));
            if picked == slow && asked_again.is_none() {
                asked_again = Some(ms);
            }
        }
        // The other has about 5 ms: it takes ln 200 time constants at most.
        let after = asked_again.expect("it is asked again") as f64 / 1e3;
        assert!((30.0..60.0).contains(&after), "{after}");
    }

    #[test]
    fn of_an_instance_with_nothing_under_way_nothing_is_kept_for_ever() {
        let (many, mesh, mut rng) = (instances(10_000), mesh(), Rng::stream(1, "x"));
        let mut known = Estimates::default();
        // One request in 17 s: each has faded when the 20th after it comes.
        for i in 0..5_000 {
            let picked = known.pick(&many, DECAY, START, &when(&mesh, at(17 * i)), &mut rng);
            known.ended(many[picked], DECAY, at(17 * i), START);
        }
        assert!(known.peers.len() <= 64, "{}", known.peers.len());
    }

    #[test]
    fn later_instances_begin_with_the_start_value_and_earlier_keep_theirs() {
        let mut known = Estimates::default();
        for (before, after) in [(10, 12), (2, 40)] {
            let (few, more) = (instances(before), instances(after));
            known.follow(&instances(0), START, at(0));
            known.follow(&few, START, at(0));
            known.follow(&more, START, at(10));
            for place in 0..after {
                let faded = if place < before { 30e6 / std::f64::consts::E } else { 30e6 };
                let cost = known.read(place, DECAY, START, at(10));
                assert!((cost / faded - 1.0).abs() < 1e-9, "{place} of {after}: {cost}");
            }
            assert!(known.peers.len() <= 2, "{}", known.peers.len());
        }
    }
}
