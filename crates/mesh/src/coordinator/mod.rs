//! The coordinator: an actor that holds the desired state, broadcasts steps and collects acknowledgements.
//!
//! - [`operations`]: operations begin and are iterated, step by step.
//! - [`steps`]: a step is decided once, numbered, logged, broadcast, and resent until acknowledged.
//! - `rollout`: rollouts, and the counts of nodes for their analyses.
//! - `place`: placement of instances. `progress`, `watch`, `leave`: nodes that are alive, dead or leaving. `drain`,
//!   `pool`: nodes that are drained, and nodes that come and go as they are needed.
//!   [`instance_registry`]: the instance view of the callers.
//! - `disk`: what a crash keeps.
//! - `look`: status of the run, for an operator who looks while it is in progress.
//!
//! Level-triggered: it derives every message from the known state of a node, never from earlier sends.

mod disk;
mod drain;
pub mod instance_registry;
mod layout;
mod leave;
pub mod operations;
mod placement;
mod pool;
mod progress;
mod push;
mod rollout;
mod status;
pub mod steps;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use meshsim_actor::{ActorId, Event, Span, Timer};
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::board::{Collecting, LoadBoard};
use crate::diary::{Diary, ENTRIES_OF_COORDINATOR, Seen, Sighting};
use crate::measure::OperationHistory;
use crate::message::{Ack, Heartbeat, Msg, ReadinessReport, Share, Tick};
use crate::model::{Mesh, Operation, ServiceId, Settings};
use crate::mutant::Mutant;
use crate::node::hosting::INSTANCES_MAX;
use crate::operation::{Desired, count_of};

pub use disk::CoordinatorDisk;
use drain::Cordons;
use instance_registry::{CanaryShare, InstanceRegistry};
pub use layout::Layout;
use operations::Running;
use placement::{NodeResources, ServicePlacement};
use pool::PoolNodes;
use progress::NodeProgress;
use push::Pushing;
use rollout::Rollouts;
pub use status::Presence;
use steps::Log;
use watch::Watch;

/// Holds the desired state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Coordinator {
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) mesh: Arc<Mesh>,
    /// Its term: rises with each of its lives.
    epoch: u64,
    /// Key of the stream of its decisions, since its first start; see [`operations`].
    decisions: Option<u64>,
    log: Log,
    services: Vec<ServiceState>,
    machines: NodeResources,
    members: Vec<NodeProgress>,
    /// Nodes that do not stay: those with [`NodeProgress::leave`] set. `set_leave` writes both.
    departing: BTreeSet<usize>,
    watch: Watch,
    endpoints: InstanceRegistry,
    /// Settings that operations have changed.
    #[serde(with = "meshsim_actor::shared")]
    settings: Arc<Settings>,
    /// Operations of the file that have begun.
    begun: usize,
    /// Manual operations, in the order in which they began.
    manual: Vec<Operation>,
    running: Vec<Running>,
    history: Vec<OperationHistory>,
    sightings: Diary<Sighting>,
    /// Timer that publishes the instance view.
    publishing: Option<Timer>,
    /// The view that callers have meanwhile, while the latest is pushed to their proxies.
    pushing: Option<Pushing>,
    /// Load boards; `None`: no report has come.
    boards: Option<Box<Collecting>>,
    /// Rollouts; `None`: there was none yet.
    rollouts: Option<Box<Rollouts>>,
    /// Nodes on which nothing more is placed.
    cordons: Cordons,
    pools: PoolNodes,
}

/// Desired state of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ServiceState {
    wanted: Desired,
    generation: u64,
    /// The last step of it.
    step: u64,
    placed: ServicePlacement,
    /// Of these instances, the number on nodes that stay, and the [revision](NodeResources::revision) at which they were
    /// counted; `None`: they have to be counted.
    staying: Option<(u64, u32)>,
}

/// Final state of the coordinator, for people and for comparison with other runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoordinatorState {
    /// Steps decided.
    pub steps: u64,
    /// The digest of all of them.
    pub digest: u64,
    /// The services, in the order of the mesh.
    pub services: Vec<DesiredState>,
}

/// Desired state of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Its name.
    pub service: String,
    /// Number of steps decided for it.
    pub generation: u64,
    /// S, C and V, and the whole instances by version.
    pub wanted: Desired,
    /// Placement of its instances: (node, instances by version).
    pub placed: Vec<(u32, Share)>,
}

impl Coordinator {
    /// A coordinator before the run.
    pub fn new(mesh: Arc<Mesh>) -> Self {
        Coordinator {
            epoch: 1,
            decisions: None,
            log: Log::default(),
            services: vec![ServiceState::default(); mesh.services.len()],
            machines: NodeResources::new(&mesh),
            members: mesh.nodes.iter().map(NodeProgress::new).collect(),
            departing: BTreeSet::new(),
            watch: Watch::default(),
            endpoints: InstanceRegistry::new(&mesh),
            settings: Arc::default(),
            begun: 0,
            manual: Vec::new(),
            running: Vec::new(),
            history: Vec::new(),
            sightings: Diary::default(),
            publishing: None,
            pushing: None,
            boards: None,
            rollouts: None,
            cordons: Cordons::default(),
            pools: PoolNodes::new(&mesh),
            mesh,
        }
    }

    /// Histories of the operations, in the order in which they began; repairs are among them.
    pub fn history(&self) -> &[OperationHistory] {
        &self.history
    }

    /// Nodes that it declared dead, or alive again.
    pub fn sightings(&self) -> &Diary<Sighting> {
        &self.sightings
    }

    fn sighted(&mut self, node: usize, seen: Seen, cx: &MeshCx<'_>) {
        self.sightings.write(Sighting { at: cx.now(), node: node as u32, seen }, ENTRIES_OF_COORDINATOR);
    }

    /// Its current state.
    pub fn state(&self) -> CoordinatorState {
        let services = self.mesh.services.iter().zip(&self.services);
        CoordinatorState {
            steps: self.log.last(),
            digest: self.log.digest(),
            services: services
                .map(|(service, state)| DesiredState {
                    service: service.name.clone(),
                    generation: state.generation,
                    wanted: state.wanted.clone(),
                    placed: state.placed.clone(),
                })
                .collect(),
        }
    }

    /// Nodes that it takes for dead, or that have not come yet.
    pub fn dead(&self) -> Vec<ActorId> {
        let dead = self.members.iter().enumerate().filter(|(_, member)| !member.alive);
        dead.map(|(node, _)| self.mesh.node_actor(node)).collect()
    }

    pub(crate) fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        match event {
            Event::Start => self.start(cx),
            Event::Message { from, msg } => match self.mesh.node_index(from) {
                Some(node) => self.node_said(node, msg, cx),
                None => self.other_said(from, msg, cx),
            },
            Event::Timer(tick) => match tick {
                Tick::Operation(first) => self.begin_operations(first as usize, cx),
                Tick::Iterate(running) => self.iterate(running as usize, cx),
                Tick::Resend(node) => self.resend(node as usize, cx),
                Tick::Watch => self.watch(cx),
                Tick::Publish => self.publish(cx),
                Tick::Pushed => self.pushed(cx),
                Tick::Figures => self.ask_figures(cx),
                Tick::Uncordon(node) => self.uncordon_if_due(node, cx),
                Tick::Pool(pool) => self.look_at_pool(pool as usize, cx),
                Tick::Provisioned(node) => self.provisioned(node as usize, cx),
                Tick::Heartbeat
                | Tick::Instance { .. }
                | Tick::Frame(_)
                | Tick::Hanging(_)
                | Tick::Visible(_)
                | Tick::Send { .. }
                | Tick::Timeout(_)
                | Tick::Retry(_)
                | Tick::Arrival
                | Tick::User(_)
                | Tick::Call(..)
                | Tick::Processor
                | Tick::Loads(_)
                | Tick::Sample
                | Tick::Scale(_)
                | Tick::Demand(_)
                | Tick::Worked(_)
                | Tick::Passed(_)
                | Tick::Leave => unreachable!("a coordinator arms no such timer"),
            },
        }
        // Whatever was decided while this event was handled goes out now, as one message to each node.
        self.broadcast(cx);
    }

    fn start(&mut self, cx: &mut MeshCx<'_>) {
        self.decisions.get_or_insert_with(|| cx.rng().next_u64());
        self.arm_next_operations(cx);
        self.resume_operations(cx);
        self.resume_rollouts(cx);
        self.resume_cordons(cx);
        self.begin_pools(cx);
        for node in 0..self.members.len() {
            if self.members[node].acked < self.members[node].sent && !Mutant::RestartsWithoutResend.is_on() {
                self.send_tail(node, cx);
            }
        }
        self.publish_soon(cx);
        self.begin_watch(cx);
    }

    fn node_said(&mut self, node: usize, msg: Msg, cx: &mut MeshCx<'_>) {
        if self.is_too_late(node, &msg) {
            return;
        }
        match msg {
            Msg::Ack(ack) => {
                self.heard(node, ack.incarnation, cx);
                self.acknowledged(node, ack, cx);
            }
            Msg::Hello(ack) => self.hello(node, ack, cx),
            Msg::Heartbeat(heartbeat) => {
                self.heard(node, heartbeat.incarnation, cx);
                self.node_heartbeat(node, heartbeat, cx);
            }
            Msg::Report(report) => {
                self.heard(node, report.incarnation, cx);
                self.report(node, &report, cx);
            }
            Msg::Need { from, to } => self.send_missing(node, from, to, cx),
            Msg::Refuse { n, .. } => cx.note("refused", node as u64, n),
            Msg::Leaving { incarnation } => {
                self.heard(node, incarnation, cx);
                self.leaving(node, incarnation, cx);
            }
            Msg::Left { incarnation } => {
                self.heard(node, incarnation, cx);
                self.left(node, incarnation, cx);
            }
            Msg::Loads(report) => self.load_report(node, &report, cx),
            Msg::Figures(figures) => self.figures(node, *figures),
            // A peer that keeps to the protocol sends a coordinator none of these.
            Msg::Request(_)
            | Msg::Reply(_)
            | Msg::Steps(_)
            | Msg::Snapshot(_)
            | Msg::ReportFrom { .. }
            | Msg::InstanceView(_)
            | Msg::ExternalRequest(_)
            | Msg::ExternalReply(_)
            | Msg::Operate(_)
            | Msg::Operated(_)
            | Msg::Leave { .. }
            | Msg::Cancel(_)
            | Msg::Released
            | Msg::Shun { .. }
            | Msg::AskSample { .. }
            | Msg::Sample(_)
            | Msg::AskScale { .. }
            | Msg::Scale(_)
            | Msg::AskFigures { .. }
            | Msg::AskDemand { .. }
            | Msg::Demand(_)
            | Msg::Held { .. } => {}
        }
    }

    /// Handles a message of a client, of the autoscaler, of the gateway or of an external client.
    fn other_said(&mut self, from: ActorId, msg: Msg, cx: &mut MeshCx<'_>) {
        match msg {
            Msg::Heartbeat(heartbeat) => self.send_view_if_older(from, heartbeat.view, cx),
            Msg::Operate(operate) if from == self.mesh.external_client() || self.mesh.is_autoscaler(from) => {
                self.operate(from, *operate, cx);
            }
            Msg::AskScale { service } if self.mesh.is_autoscaler(from) => self.tell_scale(service, cx),
            Msg::Shun { node } if from == self.mesh.external_client() => self.shun(node, cx),
            _ => {}
        }
    }

    /// A node gave a sign of life; perhaps the first of all, the first after it was taken for dead, or the first of a
    /// new life.
    fn heard(&mut self, node: usize, incarnation: u32, cx: &mut MeshCx<'_>) {
        let member = &mut self.members[node];
        member.heard = cx.now();
        if incarnation > member.incarnation {
            // Its hello was lost. How far its disk is, its next acknowledgement will say.
            self.rebooted(node, incarnation, cx);
            self.members[node].acked = 0;
            self.members[node].lineage = 0;
            self.send_tail(node, cx);
        }
        self.revive(node, cx);
    }

    fn hello(&mut self, node: usize, ack: Ack, cx: &mut MeshCx<'_>) {
        self.members[node].heard = cx.now();
        if ack.incarnation > self.members[node].incarnation {
            self.rebooted(node, ack.incarnation, cx);
        }
        if ack.incarnation < self.members[node].incarnation {
            return;
        }
        let is_same_disk = matches!(self.members[node].lineage, 0) || self.members[node].lineage == ack.lineage;
        if !is_same_disk && !Mutant::WipeNotNoticed.is_on() {
            self.members[node].acked = 0;
        }
        self.members[node].lineage = ack.lineage;
        self.revive(node, cx);
        self.acknowledged(node, ack, cx);
        // At the very start nothing is overdue yet; in a later incarnation everything is.
        if ack.incarnation > 0 && self.members[node].acked < self.members[node].sent {
            self.send_tail(node, cx);
        }
    }

    /// A node's memory is gone, and its instances and what waited there with it.
    fn rebooted(&mut self, node: usize, incarnation: u32, cx: &mut MeshCx<'_>) {
        let member = &mut self.members[node];
        member.incarnation = incarnation;
        member.report = 0;
        // Steps that its former life acknowledged are not waited for again.
        member.since = member.since.max(member.acked);
        self.stays(node);
        if !Mutant::FormerLifeViewed.is_on() {
            self.endpoints.node_failed(self.mesh.node_actor(node));
        }
        self.publish_soon(cx);
    }

    fn revive(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        if std::mem::replace(&mut self.members[node].alive, true) {
            return;
        }
        cx.note("alive", node as u64, 0);
        self.sighted(node, Seen::Back, cx);
        self.machines.set_alive(node, true);
        self.members[node].resends = 0;
        // The steps of its absence did not wait for it: its acknowledgement settles none of them.
        self.members[node].since = self.members[node].since.max(self.log.last());
        if !Mutant::RoomNotUsed.is_on() {
            self.repair_unplaced(cx);
        }
        self.members[node].sent = self.log.last();
        if !Mutant::NotCaughtUp.is_on() {
            self.send_tail(node, cx);
        }
    }

    fn node_heartbeat(&mut self, node: usize, heartbeat: Heartbeat, cx: &mut MeshCx<'_>) {
        let actor = self.mesh.node_actor(node);
        let is_of_this_life = heartbeat.incarnation == self.members[node].incarnation;
        let is_behind = heartbeat.report > self.members[node].report && !Mutant::LostReportNotAskedFor.is_on();
        if is_of_this_life && is_behind {
            cx.send(actor, Msg::ReportFrom { have: self.members[node].report });
        }
        self.send_view_if_older(actor, heartbeat.view, cx);
    }

    fn report(&mut self, node: usize, report: &ReadinessReport, cx: &mut MeshCx<'_>) {
        let (actor, member) = (self.mesh.node_actor(node), &mut self.members[node]);
        let is_of_this_life = report.incarnation == member.incarnation || Mutant::FormerLifeReports.is_on();
        if !is_of_this_life || report.seq <= member.report || !report.is_sound() {
            return;
        }
        if report.base > member.report && !Mutant::ReportGapTaken.is_on() {
            // An earlier report is missing: ask for all since the last.
            cx.send(actor, Msg::ReportFrom { have: member.report });
            return;
        }
        member.report = report.seq;
        if self.endpoints.report(actor, report) {
            self.weigh_canaries();
            self.release(cx);
            self.publish_soon(cx);
        }
    }

    /// Publishes the view after a short delay, together with further changes until then.
    fn publish_soon(&mut self, cx: &mut MeshCx<'_>) {
        if self.publishing.is_none() && self.pushing.is_none() && self.has_news(&self.canaries()) {
            let wait = self.mesh.control.debounce.max(Span::from_nanos(1));
            self.publishing = Some(cx.arm(cx.now() + wait, Tick::Publish));
        }
    }

    /// True if there are changes to publish. `canaries` are the current ones.
    fn has_news(&self, canaries: &[CanaryShare]) -> bool {
        let has_set = self.endpoints.view().settings != self.settings;
        has_set || self.endpoints.is_dirty() || !self.endpoints.has_told(canaries)
    }

    /// The services that have a canary, rising, with the share of requests that its ready instances are enough for.
    fn canaries(&self) -> Vec<CanaryShare> {
        let of = |(at, state): (usize, &ServiceState)| {
            let (service, canary) = (ServiceId(at as u16), state.wanted.canary.as_ref()?);
            let ready = count_of(&self.endpoints.ready(service), canary.version);
            Some((service, canary.version, canary.in_force(state.wanted.instances, ready)))
        };
        self.services.iter().enumerate().filter_map(of).collect()
    }

    /// The weights that are in force now stay in force while any instance of their canaries is ready.
    fn weigh_canaries(&mut self) {
        for (at, state) in self.services.iter_mut().enumerate() {
            if state.wanted.canary.is_some() {
                state.wanted.saw(&self.endpoints.ready(ServiceId(at as u16)));
            }
        }
    }

    fn publish(&mut self, cx: &mut MeshCx<'_>) {
        self.publishing = None;
        self.weigh_canaries();
        let canaries = self.canaries();
        if !self.has_news(&canaries) {
            return;
        }
        let before = self.endpoints.view().clone();
        let view = self.endpoints.publish(&canaries, &self.settings).clone();
        let delay = self.push_delay();
        if delay.is_zero() {
            self.tell_callers(&Msg::InstanceView(view), cx);
        } else {
            self.pushing = Some(Pushing(before));
            cx.arm(cx.now() + delay, Tick::Pushed);
        }
    }

    /// A node reports the load of its instances.
    fn load_report(&mut self, node: usize, report: &LoadBoard, cx: &mut MeshCx<'_>) {
        let actor = self.mesh.node_actor(node);
        let is_its = report.loads.len() <= INSTANCES_MAX && report.loads.iter().all(|load| load.node == actor);
        let is_sound = report.is_sound(&self.mesh, cx.now());
        if !is_its || !is_sound || report.incarnation != self.members[node].incarnation {
            return;
        }
        let endpoints = &self.endpoints;
        let is_whole = |has: &dyn Fn(ActorId) -> bool| endpoints.all_hosts(report.service, has);
        for board in self.boards.get_or_insert_default().report(actor, report, is_whole) {
            self.tell_callers(&Msg::Loads(Arc::new(board)), cx);
        }
    }

    /// Sends this to all callers.
    fn tell_callers(&self, msg: &Msg, cx: &mut MeshCx<'_>) {
        for (node, member) in self.members.iter().enumerate() {
            if member.alive {
                cx.send(self.mesh.node_actor(node), msg.clone());
            }
        }
        for load in 0..self.mesh.loads.len() {
            cx.send(self.mesh.client_actor(load), msg.clone());
        }
        if self.mesh.has_gateway {
            cx.send(self.mesh.gateway_actor(), msg.clone());
        }
    }

    fn send_view_if_older(&self, to: ActorId, has: u64, cx: &mut MeshCx<'_>) {
        let view = self.pushing.as_ref().map_or(self.endpoints.view(), |Pushing(before)| before);
        if has < view.version && !Mutant::LostViewNotResent.is_on() {
            cx.send(to, Msg::InstanceView(view.clone()));
        }
    }
}
