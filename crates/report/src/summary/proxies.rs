//! The technology of the mesh, and what its proxies took.

use std::borrow::Cow;

use meshsim_experiment::Experiment;
use meshsim_mesh::model::{ProxyPer, ServiceId};
use meshsim_mesh::station::ProxyUse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measured;
use super::operations::Course;

/// The technology of a mesh, and what its proxies took from the end of the first load's warm-up to the end of the run.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct MeshSummary {
    /// Its word in the file.
    pub technology: Cow<'static, str>,
    /// Proxies at the end: of instances, nodes and loads. Waypoints count once for each node that can have an instance
    /// of their service.
    pub proxies: u64,
    /// Cores that they kept busy, on average.
    pub cores_busy: f64,
    /// Their memory, in bytes.
    pub memory_bytes: u64,
    /// The same by the service whose requests and calls they passed on, and by load. The proxy of a node works for
    /// several services; its memory is in the sum alone.
    pub by: Vec<ProxySummary>,
    /// Settings of the file that the technology cannot carry out. The run kept to them: the applications would have to.
    pub left_to_applications: Vec<String>,
}

/// What proxies took for a service or a load.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct ProxySummary {
    /// The service, or the load.
    pub name: String,
    /// True for a load.
    pub is_load: bool,
    /// Requests that passed a proxy.
    pub passes: u64,
    /// Cores that this kept busy, on average.
    pub cores_busy: f64,
    /// Mean processor time of a passage; `null` if there was none.
    pub work_mean_ns: Option<u64>,
    /// Mean time of a passage besides: waiting for a worker, or for a core; `null` if there was none.
    pub waited_mean_ns: Option<u64>,
    /// Memory of its own proxies, in bytes.
    pub memory_bytes: u64,
}

impl MeshSummary {
    pub(super) fn new(experiment: &Experiment, measured: &Measured, course: &Course) -> Option<Self> {
        let mesh = &experiment.mesh;
        let plane = mesh.data_plane.as_deref()?;
        let span = measured.now.since(mesh.measured_from());
        let cores = |work_ns: u64| if span.is_zero() { 0.0 } else { work_ns as f64 / span.nanos() as f64 };
        let of = |(name, is_load, memory_bytes): (&str, bool, u64), used: &ProxyUse| ProxySummary {
            name: name.to_owned(),
            is_load,
            passes: used.passes,
            cores_busy: cores(used.work_ns),
            work_mean_ns: used.work_ns.checked_div(used.passes),
            waited_mean_ns: used.waited_ns.checked_div(used.passes),
            memory_bytes,
        };
        let nodes = mesh.nodes.iter().filter(|node| !node.is_spare()).count() as u64;
        let memory = |station: Option<&meshsim_mesh::model::ProxyStation>| station.map_or(0, |station| station.memory);
        let (proxy, waypoint) = (memory(plane.proxy.as_ref()), memory(plane.waypoint.as_ref()));
        let (mut proxies, mut memory_bytes) = match plane.per {
            ProxyPer::Node if plane.proxy.is_some() => (nodes, nodes.saturating_mul(proxy)),
            _ => (0, 0),
        };
        let mut by = Vec::new();
        for (index, (service, served)) in mesh.services.iter().zip(&measured.served).enumerate() {
            let instances = u64::from(course.at_the_end(ServiceId(index as u16)).instances);
            let beside = if plane.per == ProxyPer::Instance && plane.proxy.is_some() { instances } else { 0 };
            let before = if plane.waypoint.is_some() { instances.min(nodes) } else { 0 };
            let own = beside.saturating_mul(proxy).saturating_add(before.saturating_mul(waypoint));
            proxies += beside + before;
            memory_bytes = memory_bytes.saturating_add(own);
            by.push(of((&service.name, false, own), &served.proxy));
        }
        for (load, used) in mesh.loads.iter().zip(&measured.load_proxies) {
            if let Some(used) = used {
                proxies += 1;
                memory_bytes = memory_bytes.saturating_add(proxy);
                by.push(of((&load.name, true, proxy), used));
            }
        }
        Some(MeshSummary {
            technology: plane.technology.name().into(),
            proxies,
            cores_busy: by.iter().map(|it| it.cores_busy).sum(),
            memory_bytes,
            by: by.into_iter().filter(|it| it.passes > 0 || it.memory_bytes > 0).collect(),
            left_to_applications: experiment.left_to_applications.clone(),
        })
    }
}
