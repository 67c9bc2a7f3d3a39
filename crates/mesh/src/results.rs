//! Results of an actor when its run has ended, for the report of this process or another.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::actors::MeshActor;
use crate::autoscale::Standing;
use crate::coordinator::CoordinatorState;
use crate::course::Course;
use crate::criterion::Count;
use crate::diary::{Coming, Diary, Sighting};
use crate::measure::{JourneyCounts, OperationHistory, ServiceMetrics, Tally};
use crate::model::ServiceId;
use crate::node::{NodeState, PlaceCourse};
use crate::station::ProxyUse;

/// Results of one actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ActorResults {
    /// Results of the coordinator.
    Coordinator {
        /// Histories of the operations, in the order in which they began.
        history: Vec<OperationHistory>,
        /// Its final state.
        state: CoordinatorState,
        /// Nodes that it declared dead, or alive again.
        sightings: Diary<Sighting>,
    },
    /// Results of a node and its instances.
    Node {
        /// By service.
        served: Vec<(ServiceId, ServiceMetrics)>,
        /// Time series of its instances.
        courses: Vec<PlaceCourse>,
        /// Instances that came and went.
        comings: Diary<Coming>,
        /// Counts for SLOs of its services, by index into [`Mesh::criteria`](crate::Mesh::criteria) and piece; pieces
        /// without requests are left out.
        counts: Vec<((u32, u32), Count)>,
        /// Its final state.
        state: NodeState,
    },
    /// Results of a load.
    Client {
        /// One for each target of the load's mix.
        tallies: Vec<Tally>,
        /// Their time series; if there are several targets, one more has the number of requests in flight at once, over
        /// all.
        courses: Vec<Course>,
        /// For each of the load's criteria, in the order of [`Mesh::criteria`](crate::Mesh::criteria), its counts: one,
        /// or one for each of its pieces.
        counts: Vec<Vec<Count>>,
        /// Spans of planned times in which the client was down: requests planned in them were not measured.
        gaps: Vec<(Time, Time)>,
        /// Its journeys, if its users make some.
        journeys: Option<Box<JourneyCounts>>,
        /// Figures of its proxy, if requests have passed it.
        proxy: Option<Box<ProxyUse>>,
    },
    /// Results of the autoscaler.
    Autoscaler {
        /// By service.
        standings: Vec<(ServiceId, Standing)>,
    },
    /// Results of all requests of external clients.
    Gateway {
        /// All together.
        tally: Box<Tally>,
    },
}

impl MeshActor {
    /// Its results until `now`.
    pub fn results(&self, now: Time) -> ActorResults {
        match self {
            MeshActor::Coordinator(coordinator) => {
                let (history, sightings) = (coordinator.history().to_vec(), coordinator.sightings().clone());
                ActorResults::Coordinator { history, state: coordinator.state(), sightings }
            }
            MeshActor::Node(node) => ActorResults::Node {
                served: node.served(now),
                courses: node.courses(now),
                comings: node.comings(),
                counts: node.slo_counts(now),
                state: node.state(),
            },
            MeshActor::Client(client) => client.results(now),
            MeshActor::Autoscaler(autoscaler) => ActorResults::Autoscaler {
                standings: autoscaler.standings().map(|(service, standing)| (service, standing.clone())).collect(),
            },
            MeshActor::Gateway(gateway) => ActorResults::Gateway { tally: Box::new(gateway.tally().clone()) },
        }
    }
}
