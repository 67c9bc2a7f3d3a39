//! What an actor has to tell when its run has ended, for whoever writes the report: in this process or in another.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::actors::MeshActor;
use crate::coordinator::CoordinatorState;
use crate::course::Course;
use crate::criterion::Count;
use crate::diary::{Coming, Diary, Sighting};
use crate::measure::{OperationHistory, Served, Tally};
use crate::model::ServiceId;
use crate::node::{NodeState, PlaceCourse};

/// What one actor found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Findings {
    /// What was done, and what is wanted in the end.
    Coordinator {
        /// What became of each operation, in the order in which they began.
        history: Vec<OperationHistory>,
        /// What it holds.
        state: CoordinatorState,
        /// Nodes that it declared dead, or heard of again.
        sightings: Diary<Sighting>,
    },
    /// What instances did, and what is there in the end.
    Node {
        /// By service.
        served: Vec<(ServiceId, Served)>,
        /// The course of its instances over time.
        courses: Vec<PlaceCourse>,
        /// Instances that came and went.
        comings: Diary<Coming>,
        /// What it has.
        state: NodeState,
    },
    /// What became of a load.
    Client {
        /// One for each target of the load's mix.
        tallies: Vec<Tally>,
        /// Their courses over time; if there are several, one more says how many requests there were at once, of all.
        courses: Vec<Course>,
        /// For each of the load's criteria, in the order of [`Mesh::criteria`](crate::Mesh::criteria), its counts: one, or
        /// one for each of its pieces.
        counts: Vec<Vec<Count>>,
        /// Spans of planned moments in which the client was down: what was planned then was not measured.
        gaps: Vec<(Time, Time)>,
    },
    /// What became of all that was asked from outside.
    Gateway {
        /// All together.
        tally: Tally,
    },
}

impl MeshActor {
    /// What it found until `now`.
    pub fn findings(&self, now: Time) -> Findings {
        match self {
            MeshActor::Coordinator(coordinator) => {
                let (history, sightings) = (coordinator.history().to_vec(), coordinator.sightings().clone());
                Findings::Coordinator { history, state: coordinator.state(), sightings }
            }
            MeshActor::Node(node) => Findings::Node {
                served: node.served(now),
                courses: node.courses(now),
                comings: node.comings(),
                state: node.state(),
            },
            MeshActor::Client(client) => client.findings(now),
            MeshActor::Gateway(gateway) => Findings::Gateway { tally: gateway.tally().clone() },
        }
    }
}
