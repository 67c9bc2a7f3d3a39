//! Proxies: the callers on behalf of instances, and their state of the called services.
//!
//! A proxy is made at the first call, so that an instance that never calls costs nothing. Its state is sparse: a route
//! for each service that it has called, and of the instances there only what its balancer needs.

use meshsim_actor::Rng;
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::balance::Known;
use crate::balance::subset::Subset;
use crate::model::{Mesh, ServiceId};
use crate::policy::PolicyState;

/// Names a proxy among those of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProxyId(u32);

impl ProxyId {
    /// The proxy that every actor has: of a client, of a gateway, of a node as a whole.
    pub const ONLY: ProxyId = ProxyId(0);
    /// None yet.
    pub const NONE: ProxyId = ProxyId(u32::MAX);
}

/// Owner of a proxy: an instance, by its service and its ordinal on the node.
pub(crate) type Whose = (ServiceId, u32);

/// The streams from which it is drawn where a proxy begins: apart from all other streams that a number keys.
const PLACES: u64 = u64::from_be_bytes(*b"\0\0places");

/// The proxies of one actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proxies {
    /// The first is [`ProxyId::ONLY`].
    places: Vec<Option<Box<Proxy>>>,
    free: Vec<u32>,
    /// Proxies at which those of instances that are gone are looked for.
    sweep_at: usize,
}

/// One proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proxy {
    whose: Option<Whose>,
    /// By rising service.
    routes: Vec<Upstream>,
}

/// State that a proxy keeps of a service that it has called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Upstream {
    service: ServiceId,
    /// Calls in flight.
    pub(crate) active: u32,
    /// Of these, the number that are being retried.
    pub(crate) retrying: u32,
    known: Known,
    /// The part that few services need.
    more: Option<Box<More>>,
}

/// State of a called service that most services do not need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct More {
    /// Of the instances of its canary, while it has one.
    canary: Option<Known>,
    /// Of the instances of single zones, or of parts of a split, by rising number.
    parts: Vec<(u16, Known)>,
    /// The instances that the caller uses, if it uses some alone.
    subset: Option<Subset>,
    /// Of the policies of its callers.
    policies: PolicyState,
}

/// Set of instances of a service from which one was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pool {
    /// All: there is no canary.
    All,
    /// Those of other versions than the canary's.
    Staying,
    /// The canary's.
    Canary,
    /// Those of one zone, or of one part of a split; without those of a canary.
    Part(u16),
}

impl Upstream {
    /// State of the instances of a pool, if there is any.
    pub(crate) fn find(&mut self, pool: Pool) -> Option<&mut Known> {
        match pool {
            Pool::All | Pool::Staying => Some(&mut self.known),
            Pool::Canary => self.more.as_mut()?.canary.as_mut(),
            Pool::Part(part) => {
                let parts = &mut self.more.as_mut()?.parts;
                let at = parts.binary_search_by_key(&part, |(part, _)| *part).ok()?;
                Some(&mut parts[at].1)
            }
        }
    }

    /// The instances that the caller uses, of all these.
    pub(crate) fn subset(&mut self) -> &mut Subset {
        self.more.get_or_insert_default().subset.get_or_insert_default()
    }

    /// State of the policies, if there is any.
    #[inline]
    pub(crate) fn find_policies(&mut self) -> Option<&mut PolicyState> {
        self.more.as_mut().map(|more| &mut more.policies)
    }

    /// State of the policies; made if there is none.
    pub(crate) fn policies(&mut self) -> &mut PolicyState {
        &mut self.more.get_or_insert_default().policies
    }
}

impl Proxies {
    pub(crate) fn new() -> Self {
        Proxies { places: vec![Some(Box::new(Proxy::new(None)))], free: Vec::new(), sweep_at: 16 }
    }

    /// # Panics
    /// If there is none with this id. One with calls in flight always exists.
    pub(crate) fn get(&mut self, id: ProxyId) -> &mut Proxy {
        self.places[id.0 as usize].as_mut().expect("a proxy stays while its instance or a call of it does")
    }

    /// A proxy for an instance that has none yet.
    pub(crate) fn add(&mut self, whose: Whose) -> ProxyId {
        let proxy = Some(Box::new(Proxy::new(Some(whose))));
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.places[place as usize] = proxy;
        ProxyId(place)
    }

    /// Settings of services have changed: balancers begin anew, and policies go on under theirs.
    pub(crate) fn settings_changed(&mut self, old: &Mesh, new: &Mesh, cx: &mut MeshCx<'_>) {
        for proxy in self.places.iter_mut().flatten() {
            let whose = proxy.whose;
            for route in &mut proxy.routes {
                let (was, is) = (old.service(route.service), new.service(route.service));
                if (was.balancer, &was.selection) != (is.balancer, &is.selection) {
                    route.known = known_anew(whose, route.service, new, cx);
                    if let Some(more) = &mut route.more {
                        (more.canary, more.subset) = (None, None);
                        more.parts.clear();
                    }
                }
                if let Some(more) = route.more.as_mut().filter(|_| was.policies != is.policies) {
                    more.policies.changed(was.policies.as_deref(), is.policies.as_deref(), cx);
                }
            }
        }
    }

    /// Once there are twice as many proxies as were needed at the last sweep, removes those that have no call in flight
    /// and whose instances are gone. So hosting need not report when an instance goes, and unneeded proxies are at most
    /// as many as needed ones.
    pub(crate) fn sweep(&mut self, mut is_there: impl FnMut(ProxyId, Whose) -> bool) {
        if self.places.len() - self.free.len() < self.sweep_at {
            return;
        }
        for (place, proxy) in self.places.iter_mut().enumerate() {
            let id = ProxyId(place as u32);
            let is_idle = |proxy: &Proxy| proxy.routes.iter().all(|route| route.active == 0);
            let goes = proxy.as_ref().is_some_and(|it| is_idle(it) && it.whose.is_some_and(|it| !is_there(id, it)));
            if goes {
                *proxy = None;
                self.free.push(id.0);
            }
        }
        self.sweep_at = 16.max(2 * (self.places.len() - self.free.len()));
    }
}

impl Proxy {
    /// Its owner, if that is an instance: the service, and the ordinal on the node.
    pub(crate) fn whose(&self) -> Option<Whose> {
        self.whose
    }

    fn new(whose: Option<Whose>) -> Self {
        Proxy { whose, routes: Vec::new() }
    }

    /// State of a service, if it was called.
    pub(crate) fn find(&mut self, service: ServiceId) -> Option<&mut Upstream> {
        let at = self.routes.binary_search_by_key(&service, |route| route.service).ok()?;
        Some(&mut self.routes[at])
    }

    /// State of a service; it is created when the service is first called.
    #[inline]
    pub(crate) fn route(&mut self, service: ServiceId, mesh: &Mesh, cx: &MeshCx<'_>) -> &mut Upstream {
        let at = match self.routes.binary_search_by_key(&service, |route| route.service) {
            Ok(at) => at,
            Err(at) => self.begin_route(at, service, mesh, cx),
        };
        &mut self.routes[at]
    }

    #[cold]
    fn begin_route(&mut self, at: usize, service: ServiceId, mesh: &Mesh, cx: &MeshCx<'_>) -> usize {
        let known = self.known_anew(service, mesh, cx);
        self.routes.insert(at, Upstream { service, active: 0, retrying: 0, known, more: None });
        at
    }

    /// State of the instances of a pool. A new canary starts with empty state.
    pub(crate) fn known(&mut self, service: ServiceId, pool: Pool, mesh: &Mesh, cx: &MeshCx<'_>) -> &mut Known {
        let begins = !matches!(pool, Pool::All | Pool::Staying) && self.route(service, mesh, cx).find(pool).is_none();
        let anew = begins.then(|| self.known_anew(service, mesh, cx));
        let route = self.route(service, mesh, cx);
        match pool {
            Pool::All => {
                if let Some(more) = &mut route.more {
                    more.canary = None;
                }
            }
            Pool::Staying => {}
            Pool::Canary => {
                let canary = &mut route.more.get_or_insert_default().canary;
                return canary.get_or_insert_with(|| anew.expect("it begins"));
            }
            Pool::Part(part) => {
                let parts = &mut route.more.get_or_insert_default().parts;
                let at = parts.binary_search_by_key(&part, |(part, _)| *part).unwrap_or_else(|at| {
                    parts.insert(at, (part, anew.expect("it begins")));
                    at
                });
                return &mut parts[at].1;
            }
        }
        &mut route.known
    }

    fn known_anew(&self, service: ServiceId, mesh: &Mesh, cx: &MeshCx<'_>) -> Known {
        known_anew(self.whose, service, mesh, cx)
    }
}

fn known_anew(whose: Option<Whose>, service: ServiceId, mesh: &Mesh, cx: &MeshCx<'_>) -> Known {
    let (balancer, place) = (&mesh.service(service).balancer, place(mesh.seed, cx.id().0, whose, service));
    if mesh.is_weighted(service) { Known::weighted(balancer, place) } else { Known::new(balancer, place) }
}

/// Start position of a caller's round robin. If all began at the first instance, many callers would act as one: their
/// first requests, and those after each lull, would all meet there.
fn place(seed: u64, actor: u32, whose: Option<Whose>, callee: ServiceId) -> u32 {
    let (service, ordinal) =
        whose.map_or((u64::from(u16::MAX), u32::MAX), |(service, ordinal)| (service.0.into(), ordinal));
    let caller = u64::from(actor) << 32 | u64::from(ordinal);
    Rng::keyed(seed ^ PLACES, caller, service << 16 | u64::from(callee.0)).next_u64() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_of_instances_that_are_gone_make_room_for_others() {
        let mut proxies = Proxies::new();
        // Each instance calls once and is gone when the next one comes.
        for ordinal in 0..1000 {
            proxies.sweep(|_, (_, other)| other + 1 >= ordinal);
            let id = proxies.add((ServiceId(0), ordinal));
            assert!(id != ProxyId::ONLY && proxies.get(id).whose == Some((ServiceId(0), ordinal)));
        }
        assert!(proxies.places.len() <= 20, "{}", proxies.places.len());
    }

    #[test]
    fn callers_begin_at_places_of_their_own() {
        let n = 8;
        let mut counts = vec![0_u32; n];
        for actor in 0..100 {
            for ordinal in 0..80 {
                let place = place(1, actor, Some((ServiceId(3), ordinal)), ServiceId(4));
                counts[place as usize % n] += 1;
            }
        }
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 130), "{counts:?}");
    }
}
