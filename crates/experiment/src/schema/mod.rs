//! The format of the file, by an example that has everything:
//!
//! ```yaml
#![doc = include_str!("../format.yaml")]
//! ```
//!
//! The sections of this folder are the same format as tables, from which both the decoder and the JSON Schema are made.

mod autoscale;
mod fault;
mod limits;
mod load;
mod mesh;
mod network;
mod nodes;
mod operation;
mod policy;
mod rollout;
mod script;
mod service;

use meshsim_actor::Span;
use meshsim_mesh::model::ProxyPer;
use schemars::SchemaGenerator;

use crate::section::{As, At, Many, Named, section};
use crate::values::{Name, Whole};

pub(crate) use autoscale::{Autoscale, CapacitySettings, Decline, Growth, Hpa, KedaSettings, KnativeSettings, Other};
pub(crate) use fault::{Fault, Link, ServiceFault};
pub(crate) use limits::Steps;
pub use limits::{
    ENDPOINTS_MAX, EVENTS_MAX, INSTANCES_MAX, LOADS_MAX, NODES_MAX, SERVICES_MAX, USERS_MAX, VERSION_MAX, ZONES_MAX,
};
pub(crate) use load::{Arrivals, Burst, Diurnal, JourneyStep, Load, Mix, MixPiece, Replay, Stage, Weights};
pub(crate) use mesh::{MeshInFull, MeshOf};
pub(crate) use network::{Control, Network, Zones};
pub(crate) use nodes::NodeGroup;
pub(crate) use operation::{Drain, Operation, Scale, Set, Update};
pub(crate) use policy::{Activator, Breaker, Connections, Hedge, Mirror, Outliers, RateLimit, Shed, WindowBudget};
pub(crate) use rollout::{Analysis, BlueGreen, Rollout, RolloutStep};
pub use script::REPEATS_MAX;
pub(crate) use script::{Branch, CacheOf, CallInFull, Choice, QueueOf, Retry, Step, Times};
pub(crate) use service::{DisruptionBudget, Endpoint, Service, SplitPart};

/// The JSON Schema (2020-12) of the experiment file, with a description of every field.
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<As<File>>();
    schema.insert("title".into(), "meshsim experiment".into());
    schema.to_value()
}

section! {
    /// Mesh, operations, load, faults and SLOs of a run.
    struct File in "an experiment" {
        /// Name of the run [default: name of the folder of a `mesh.yaml`, or of the file].
        optional name: At<Name>;
        /// Seed of all randomness of the run: the same file and seed give the same run.
        or seed: Whole<0, { u64::MAX }> = "1";
        /// Duration of the run, in virtual time.
        or duration: At<Span> = "60s";
        /// The machines, in groups.
        required nodes: At<Many<NodeGroup>>;
        /// The network between the machines.
        or network: Network = "";
        /// Settings of the control plane.
        or control: Control = "";
        /// Technology of the mesh: its proxies, and the defaults of balancers, retries, timeouts and `proxy` [default:
        /// none of these; calls pass no proxy].
        optional mesh: At<MeshOf>;
        /// Owner of a proxy, with its own balancer state and retry budgets: each instance, or each node [default:
        /// instance, or that of `mesh`].
        optional proxy: ProxyPer;
        /// The services, by name.
        required services: At<Named<Service>>;
        /// Operations on services. A service that no `deploy` names is deployed at 0s.
        or operations: At<Vec<At<Operation>>> = "";
        /// The loads, by name.
        or load: At<Named<At<Load>>> = "";
        /// The faults; each is reverted after `for`.
        or faults: At<Vec<At<Fault>>> = "";
        /// The SLOs: `[load, load.endpoint or service] metric comparison threshold [any ..] [from .. to ..]`, or
        /// `recovery < 10s after FAULT`.
        or slo: Vec<At<String>> = "";
    }
}
