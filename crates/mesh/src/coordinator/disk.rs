//! The coordinator's disk: all that was decided, and the view that callers were told of.
//!
//! It also has what nodes were last known to do, as it was when the disk was last written. A coordinator that starts again
//! goes on from there, and learns by acknowledgements, heartbeats and reports what has changed since.

use meshsim_actor::Reboot;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;

/// Content of the coordinator's disk. Two are equal if the same was decided.
///
/// The mesh is not written: it stands in the experiment, and the next coordinator has it too.
#[derive(Clone, Debug)]
pub struct CoordinatorDisk(Box<Coordinator>);

/// The decisions of the coordinator, in the order in which they are written.
type Decided = (
    u64,
    Option<u64>,
    Log,
    Vec<ServiceState>,
    Arc<Settings>,
    usize,
    Vec<Operation>,
    Vec<Running>,
    Vec<OperationHistory>,
    Option<Box<Rollouts>>,
    Cordons,
    PoolNodes,
);

/// What the coordinator knew of the nodes.
type Known = (NodeResources, Vec<NodeProgress>, BTreeSet<usize>, InstanceRegistry, Diary<Sighting>);

impl Serialize for CoordinatorDisk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let it = &*self.0;
        let (epoch, decisions, log, services, settings) = (it.epoch, it.decisions, &it.log, &it.services, &it.settings);
        let (begun, manual, running, history) = (it.begun, &it.manual, &it.running, &it.history);
        let (rollouts, cordons, pools) = (&it.rollouts, &it.cordons, &it.pools);
        let decided =
            (epoch, decisions, log, services, settings, begun, manual, running, history, rollouts, cordons, pools);
        let known = (&it.machines, &it.members, &it.departing, &it.endpoints, &it.sightings);
        (decided, known).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CoordinatorDisk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (decided, known): (Decided, Known) = Deserialize::deserialize(deserializer)?;
        let (epoch, decisions, log, services, settings, begun, manual, running, history, rollouts, cordons, pools) =
            decided;
        let (machines, members, departing, endpoints, sightings) = known;
        Ok(CoordinatorDisk(Box::new(Coordinator {
            mesh: Arc::default(),
            epoch,
            decisions,
            log,
            services,
            machines,
            members,
            departing,
            watch: Watch::default(),
            endpoints,
            settings,
            begun,
            manual,
            running,
            history,
            sightings,
            publishing: None,
            pushing: None,
            boards: None,
            rollouts,
            cordons,
            pools,
        })))
    }
}

impl PartialEq for CoordinatorDisk {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        let leaves = |it: &Coordinator| it.members.iter().map(|member| member.leave).collect::<Vec<_>>();
        (a.epoch, a.decisions, a.begun, a.manual.len()) == (b.epoch, b.decisions, b.begun, b.manual.len())
            && (a.log.last(), a.log.digest(), a.history.len()) == (b.log.last(), b.log.digest(), b.history.len())
            && a.endpoints.view().version == b.endpoints.view().version
            && (&a.services, &a.running, &a.settings) == (&b.services, &b.running, &b.settings)
            && (&a.cordons, &a.pools) == (&b.cordons, &b.pools)
            && leaves(a) == leaves(b)
            && a.rollouts.as_ref().map(|it| it.decided()) == b.rollouts.as_ref().map(|it| it.decided())
    }
}

impl Coordinator {
    /// Content of its disk.
    pub(crate) fn disk(&self) -> CoordinatorDisk {
        let mut disk = self.clone();
        disk.forget();
        CoordinatorDisk(Box::new(disk))
    }

    /// The machine went down. Timers are set anew at the start.
    pub(crate) fn reboot(&mut self, found: Reboot<CoordinatorDisk>) {
        let former = match found {
            Reboot::Kept => self.epoch,
            Reboot::Found(CoordinatorDisk(disk)) => {
                let (mesh, sightings) = (self.mesh.clone(), std::mem::take(&mut self.sightings));
                *self = Coordinator { mesh, ..*disk };
                // The diary is for the report of the run, and not for the coordinator.
                if sightings.entries.len() > self.sightings.entries.len() {
                    self.sightings = sightings;
                }
                self.epoch
            }
            Reboot::Wiped => std::mem::replace(self, Coordinator::new(self.mesh.clone())).epoch,
        };
        self.lose_by_mutant();
        if !Mutant::TermNotRaised.is_on() {
            self.epoch = former + 1;
        }
        if Mutant::LineageForgotten.is_on() {
            self.members.iter_mut().for_each(|member| member.lineage = 0);
        }
        self.forget();
    }

    /// Drops what is in memory only.
    fn forget(&mut self) {
        (self.publishing, self.pushing) = (None, None);
        if let Some(rollouts) = &mut self.rollouts {
            rollouts.reboot();
        }
        self.members.iter_mut().for_each(|member| member.resend = None);
    }
}
