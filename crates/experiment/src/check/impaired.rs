//! Faults of services, as the requests meet them: which share of them, and with which outcome.
//!
//! A fault of some of the instances concerns their share of the requests, as if the balancer spread them evenly.

use meshsim_actor::{Dist, ImpairmentKind, Side};
use meshsim_fault::Service as ServiceFault;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::Share;

use super::flow::Profile;
use super::span;
use super::timeline::total;

/// One effect on the requests to a service.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// The service, by index.
    pub(super) service: usize,
    entry: Option<u16>,
    version: Option<u32>,
    /// At the calls of this service, or of loads.
    caller: Option<Option<u16>>,
    /// Share of the service's instances, of the version if there is one.
    pub(super) share: f64,
    pub(super) effect: ImpairmentKind,
}

impl Hit {
    /// The effect of a fault, where the instances of its service are placed so.
    pub(super) fn new(fault: &ServiceFault, placed: &[(u32, Share)], mesh: &Mesh) -> Self {
        let (subject, effect) = (&fault.impairment.subject, fault.impairment.effect.clone());
        let of = |share: &Share| match subject.version {
            Some(version) => share.iter().filter(|(it, _)| *it == version).map(|(_, count)| count).sum(),
            None => total(share),
        };
        let all: u32 = placed.iter().map(|(_, share)| of(share)).sum();
        let hit: u32 = placed
            .iter()
            .filter(|(node, _)| fault.actors.contains(mesh.node_actor(*node as usize)))
            .map(|(node, share)| match &subject.copies {
                None => of(share),
                Some(copies) => {
                    let here = |it: &u32| copies.binary_search(&(mesh.node_actor(*node as usize), *it)).is_ok();
                    (0..of(share)).filter(here).count() as u32
                }
            })
            .sum();
        let (caller, share) = match subject.side {
            Side::CalledBy(caller) => (Some(caller), 1.0),
            Side::Served => (None, f64::from(hit) / f64::from(all.max(1))),
        };
        let service = usize::from(subject.program);
        Hit { service, entry: subject.entry, version: subject.version, caller, share, effect }
    }

    fn serves(&self, service: usize, endpoint: usize, version: u32) -> bool {
        self.caller.is_none()
            && self.service == service
            && self.entry.is_none_or(|entry| usize::from(entry) == endpoint)
            && self.version.is_none_or(|it| it == version)
    }

    fn calls(&self, caller: Option<usize>, service: usize, endpoint: usize) -> bool {
        self.caller.is_some_and(|it| it.map(usize::from) == caller)
            && self.service == service
            && self.entry.is_none_or(|entry| usize::from(entry) == endpoint)
    }
}

/// Factor by which the work of requests to this endpoint takes longer.
pub(super) fn stretch(hits: &[Hit], service: usize, endpoint: usize, version: u32) -> f64 {
    let hits = hits.iter().filter(|hit| hit.serves(service, endpoint, version));
    hits.fold(1.0, |all, hit| match hit.effect {
        ImpairmentKind::Speed(speed) => all * (1.0 - hit.share + hit.share / speed),
        _ => all,
    })
}

/// Factor by which the slots of the instances of a service are fewer.
pub(super) fn slots(hits: &[Hit], service: usize, slots: f64) -> f64 {
    let hits = hits.iter().filter(|hit| hit.caller.is_none() && hit.service == service);
    hits.fold(1.0, |all, hit| match hit.effect {
        ImpairmentKind::Slots(share) => {
            let left = (slots * share).round().max(1.0) / slots.max(1.0);
            all * (1.0 - hit.share + hit.share * left)
        }
        _ => all,
    })
}

/// Applies the effects on requests that an instance of this version serves.
pub(super) fn serve(hits: &[Hit], (service, endpoint, version): (usize, usize, u32), profile: &mut Profile) {
    hits.iter().filter(|hit| hit.serves(service, endpoint, version)).for_each(|hit| hit.apply(profile, true));
}

/// Applies the effects on calls by a service, or by loads, to what the caller expects.
pub(super) fn call(hits: &[Hit], caller: Option<usize>, (service, endpoint): (usize, usize), profile: &mut Profile) {
    hits.iter().filter(|hit| hit.calls(caller, service, endpoint)).for_each(|hit| hit.apply(profile, false));
}

/// Share of the attempts that a caller's own machine fails, and which never arrive.
pub(super) fn withheld(hits: &[Hit], caller: Option<usize>, (service, endpoint): (usize, usize)) -> f64 {
    let hits = hits.iter().filter(|hit| hit.calls(caller, service, endpoint));
    1.0 - hits.fold(1.0, |all, hit| match hit.effect {
        ImpairmentKind::Errors(share) | ImpairmentKind::Refuse(share) | ImpairmentKind::Hang(share) => {
            all * (1.0 - share)
        }
        _ => all,
    })
}

impl Hit {
    fn apply(&self, profile: &mut Profile, is_served: bool) {
        match &self.effect {
            ImpairmentKind::Errors(share) if is_served => fail(profile, self.share * share, None),
            // Those that are refused, or fail before they are sent, take no time.
            ImpairmentKind::Errors(share) | ImpairmentKind::Refuse(share) => {
                fail(profile, self.share * share, Some(0.0))
            }
            ImpairmentKind::Latency(added) => later(profile, self.share, added),
            // The time of those that hang has no closed form here: their callers' timeouts decide it.
            ImpairmentKind::Hang(share) => fail(profile, self.share * share, None),
            ImpairmentKind::Slots(_) | ImpairmentKind::Speed(_) => {}
        }
    }
}

/// A further share fails, after the same time or after `time`.
fn fail(profile: &mut Profile, share: f64, time: Option<f64>) {
    profile.fail = 1.0 - (1.0 - profile.fail) * (1.0 - share);
    if let Some(time) = time {
        profile.time = (1.0 - share) * profile.time + share * time;
        profile.work *= 1.0 - share;
        if share > 0.0 {
            profile.soonest = profile.soonest.min(time);
        }
    }
    if share >= 1.0 {
        profile.least = f64::INFINITY;
    }
}

fn later(profile: &mut Profile, share: f64, added: &Dist) {
    profile.time += share * added.mean_secs();
    if share >= 1.0 {
        profile.least += span::least(added);
        profile.soonest += span::least(added);
    }
    profile.long += span::most(added);
    profile.worst += span::most(added);
}
