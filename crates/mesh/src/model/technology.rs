//! The technology of a mesh: the proxies between its callers and its instances.

use meshsim_actor::{Dist, Span};
use serde::{Deserialize, Serialize};

use super::{Mesh, ProxyPer};
use crate::actors::MeshCx;

/// Mesh technologies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Technology {
    /// No mesh: instances call each other.
    None,
    /// A sidecar beside each instance: Istio's, which is Envoy.
    SidecarEnvoy,
    /// A sidecar beside each instance: Linkerd's.
    SidecarLinkerd,
    /// A proxy on each node, which balances connections: Istio's ztunnel.
    AmbientL4,
    /// The same, and a waypoint (an Envoy) before the instances of each service.
    AmbientWaypoint,
    /// A library in each instance, as gRPC with xDS.
    Proxyless,
}

impl Technology {
    /// All of them.
    pub const ALL: [Technology; 6] = [
        Technology::None,
        Technology::SidecarEnvoy,
        Technology::SidecarLinkerd,
        Technology::AmbientL4,
        Technology::AmbientWaypoint,
        Technology::Proxyless,
    ];

    /// Its name in an experiment file.
    pub const fn name(self) -> &'static str {
        match self {
            Technology::None => "none",
            Technology::SidecarEnvoy => "sidecar-envoy",
            Technology::SidecarLinkerd => "sidecar-linkerd",
            Technology::AmbientL4 => "ambient-l4",
            Technology::AmbientWaypoint => "ambient-waypoint",
            Technology::Proxyless => "proxyless",
        }
    }

    /// True if requests pass proxies.
    pub const fn has_proxies(self) -> bool {
        !matches!(self, Technology::None | Technology::Proxyless)
    }

    /// True if it chooses an instance for each request and can retry one: it reads requests, and not only connections.
    pub const fn reads_requests(self) -> bool {
        !matches!(self, Technology::None | Technology::AmbientL4)
    }
}

/// The proxies of a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataPlane {
    /// Technology that they are those of.
    pub technology: Technology,
    /// The proxy that a request passes when it leaves its caller and when it arrives at its node; `None`: there is
    /// none.
    pub proxy: Option<ProxyStation>,
    /// Owner of this proxy.
    pub per: ProxyPer,
    /// The proxy that a request passes besides, before that of the instance; there is one for each service on each of
    /// its nodes.
    pub waypoint: Option<ProxyStation>,
    /// Each load, and the gateway of a live run, has a proxy, too. Without it, their requests come from outside the
    /// mesh.
    pub has_load_proxies: bool,
    /// Processor time of the caller's proxy for a new connection (mutual TLS).
    pub handshake: Span,
    /// Time until a proxy has a new configuration: besides the debounce, and for each proxy of the mesh.
    pub push: Push,
}

/// Delay of the configuration of proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Besides the debounce.
    pub base: Span,
    /// For each proxy that is configured.
    pub per_proxy: Span,
}

/// A proxy as a station: requests wait for one of its workers, which takes processor time for each.
///
/// All of the time is on the way of the request, and the reply passes at once: see `README.md` of `examples/choose`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyStation {
    /// Requests that it works on at once.
    pub workers: u32,
    /// Processor time of a request, for both ways.
    pub work: Dist,
    /// Processor time for each KiB of the request.
    pub per_kib: Span,
    /// Time besides, in which a request neither computes nor keeps a worker.
    pub latency: Dist,
    /// Memory of one proxy, in bytes.
    pub memory: u64,
}

impl Mesh {
    /// The proxy that requests of this actor pass when they leave it.
    #[inline]
    pub(crate) fn proxy_of(&self, cx: &MeshCx<'_>) -> Option<&ProxyStation> {
        let plane = self.data_plane.as_deref()?;
        let is_in_mesh = plane.has_load_proxies || self.node_index(cx.id()).is_some();
        plane.proxy.as_ref().filter(|_| is_in_mesh)
    }
}

impl DataPlane {
    /// The proxies that a request passes when it arrives at the node of its instance, in order.
    pub fn on_the_way_in(&self) -> impl Iterator<Item = &ProxyStation> {
        self.waypoint.iter().chain(&self.proxy)
    }

    /// The proxy that a request passes when it leaves; `of_load`: that of a load, and not of an instance.
    pub fn on_the_way_out(&self, of_load: bool) -> Option<&ProxyStation> {
        self.proxy.as_ref().filter(|_| !of_load || self.has_load_proxies)
    }

    /// Number of proxies that are configured in a mesh with so many instances on so many nodes.
    pub fn proxies(&self, instances: u64, nodes: u64) -> u64 {
        match (self.technology, self.per) {
            (Technology::None, _) => 0,
            (_, ProxyPer::Instance) => instances,
            (_, ProxyPer::Node) => nodes,
        }
    }

    /// Time from the publication of a configuration until callers have it, without the network.
    pub fn push_delay(&self, instances: u64, nodes: u64) -> Span {
        self.push.base + self.push.per_proxy * self.proxies(instances, nodes)
    }
}
