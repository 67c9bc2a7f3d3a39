//! A node: an actor that owns its instances and does their work.
//!
//! - [`steps`]: the coordinator's steps, applied in order and exactly once, acknowledged when stored.
//! - [`hosting`]: instances start, accept requests, drain and stop.
//! - [`work`]: requests and the scripts that they run.
//! - `cancel`: requests that their callers do not need any more.
//! - `late`: replies to calls that were given up.
//! - `passing`: requests at the proxies of a mesh technology.
//! - `leave`: the node leaves without losing a request.
//! - `disk`: what a crash keeps.
//! - `processor`: the cores, and their sharing among the computing requests.

mod admit;
mod caches;
mod cancel;
mod demand;
mod detached;
mod disk;
mod figures;
pub mod hosting;
mod late;
mod leave;
mod mutated;
mod passing;
mod places;
mod processor;
mod queues;
mod script;
mod served;
pub mod steps;
pub mod work;

use std::sync::Arc;

use meshsim_actor::{ActorId, Event, Span, Time};
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::board::{self, InstanceLoad, LoadBoard, Rounds};
use crate::call::{CallOutcome, Caller};
use crate::criterion::Count;
use crate::diary::{Coming, Diary};
use crate::measure::ServiceMetrics;
use crate::message::{Heartbeat, Msg, Tick};
use crate::model::{COORDINATOR, Mesh, ServiceId};
use crate::mutant::Mutant;
use crate::news::{News, Told, shortened};
use crate::view::InstanceView;

pub use disk::NodeDisk;
use hosting::{HostedServices, HostedState};
pub use places::PlaceCourse;
use steps::Applied;
use work::Work;
pub use work::{FrameKey, TaskKey};

/// A machine of the mesh.
///
/// A node without instances takes 80 bytes: its instances and its work are behind pointers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) mesh: Arc<Mesh>,
    #[serde(with = "meshsim_actor::shared")]
    view: Arc<InstanceView>,
    /// Content of the disk.
    applied: Applied,
    /// Content of the disk (the shares) and of memory (the instances).
    hosting: Option<Box<HostedServices>>,
    /// Content of memory only.
    work: Option<Box<Work>>,
    /// The next round of each load board; `None`: there are none.
    rounds: Option<Box<Rounds>>,
}

/// Final state of a node, for people and for comparison with other runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// The last step applied.
    pub applied: u64,
    /// The digest after it.
    pub digest: u64,
    /// The services that it was ever told to host.
    pub services: Vec<HostedState>,
}

impl Node {
    /// A node that hosts nothing yet. `view` is where instances are thought to be: nowhere.
    pub fn new(mesh: Arc<Mesh>, view: Arc<InstanceView>) -> Self {
        Node { mesh, view, applied: Applied::default(), hosting: None, work: None, rounds: None }
    }

    /// Measurements of its instances until `now`, by service.
    pub fn served(&self, now: Time) -> Vec<(ServiceId, ServiceMetrics)> {
        let mut served = self.hosting.as_ref().map_or_else(Vec::new, |hosting| hosting.served(now));
        for done in self.work.iter().flat_map(|work| work.processor.in_progress()) {
            if let Ok(at) = served.binary_search_by_key(&done.owner.service, |(service, _)| *service) {
                served[at].1.work_ns = served[at].1.work_ns.saturating_add(done.worked.nanos());
            }
        }
        served
    }

    /// Time series of its instances until `now`, by service.
    pub fn courses(&self, now: Time) -> Vec<PlaceCourse> {
        let Some(hosting) = &self.hosting else { return Vec::new() };
        let in_progress = self.work.iter().flat_map(|work| work.processor.in_progress());
        let in_flight = self.work.iter().flat_map(|work| work.in_flight_at());
        hosting.courses(now, in_progress, in_flight)
    }

    /// Counts for SLOs of services until `now`, by index into [`Mesh::criteria`] and piece.
    pub fn slo_counts(&self, now: Time) -> Vec<((u32, u32), Count)> {
        let Some(hosting) = &self.hosting else { return Vec::new() };
        hosting.slo_counts(now, self.work.iter().flat_map(|work| work.in_flight_at()))
    }

    /// Instances that came and went.
    pub fn comings(&self) -> Diary<Coming> {
        self.hosting.as_ref().map_or_else(Diary::default, |hosting| hosting.comings())
    }

    /// Measurements of its instances since those that `told` covers. Work in progress is included when it is done.
    pub(crate) fn news(&self, told: Told, now: Time) -> (News, Told) {
        let Some(hosting) = &self.hosting else { return (News::Node { places: Vec::new(), comings: None }, told) };
        let oldest = self.work.iter().flat_map(|work| work.in_flight_at()).map(|(_, arrived)| arrived).min();
        let entries = hosting.comings_count();
        let comings = (entries != told.entries).then(|| shortened(hosting.comings()));
        let until = oldest.map_or(now, |oldest| oldest.min(now));
        (News::Node { places: hosting.news(told, now), comings }, Told { until, entries })
    }

    /// Its current state.
    pub fn state(&self) -> NodeState {
        NodeState {
            applied: self.applied.n,
            digest: self.applied.digest,
            services: self.hosting.as_ref().map_or_else(Vec::new, |hosting| hosting.state()),
        }
    }

    /// The instance view that it uses; it may be stale.
    pub fn view(&self) -> &InstanceView {
        &self.view
    }

    /// Requests that it works on or that wait.
    pub fn in_flight(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.in_flight())
    }

    pub(crate) fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        match event {
            Event::Start => self.start(cx),
            Event::Message { from, msg: Msg::Request(request) } => self.arrives(from, request, cx),
            Event::Message { msg: Msg::Reply(reply), .. } => self.reply(reply, cx),
            Event::Message { from, msg } => self.take_control(from, msg, cx),
            Event::Timer(Tick::Processor) => self.work_done(cx),
            Event::Timer(Tick::Frame(frame)) => self.run(frame, cx),
            Event::Timer(tick) => self.take_tick(tick, cx),
        }
        self.count_copies();
        self.pass_out(cx);
        // Whatever it was: once for all that has begun and ended by it.
        if let Some(work) = &mut self.work {
            work.processor.settle(cx);
        }
    }

    /// Handles what is neither a request nor a reply.
    #[inline(never)]
    fn take_control(&mut self, from: ActorId, msg: Msg, cx: &mut MeshCx<'_>) {
        if !is_for_nodes(from, &msg, &self.mesh) {
            return;
        }
        match msg {
            Msg::Steps(orders) => self.apply_steps(orders, cx),
            Msg::Snapshot(snapshot) => self.apply_snapshot(&snapshot, cx),
            Msg::ReportFrom { have } => self.report(have, cx),
            Msg::InstanceView(view) => self.take_view(view, cx),
            Msg::Loads(board) => {
                if let Some(work) = &mut self.work {
                    work.calls.take_board(board, &self.mesh, cx.now());
                }
            }
            Msg::AskSample { round } => self.sample(from, round, cx),
            Msg::AskDemand { service, round } => self.tell_demand(from, service, round, cx),
            Msg::AskFigures { service, round } => self.tell_figures(service, round, cx),
            Msg::Leave { grace } => self.leave(grace, cx),
            Msg::Cancel(it) => self.cancel(from, &it, cx),
            Msg::Released => self.released(cx),
            _ => unreachable!("a message for others was let in"),
        }
    }

    /// Handles a timer that few requests need, or none.
    #[inline(never)]
    fn take_tick(&mut self, tick: Tick, cx: &mut MeshCx<'_>) {
        match tick {
            Tick::Heartbeat => self.heartbeat(cx),
            Tick::Instance { service, ordinal } => self.instance_due(service, ordinal, cx),
            Tick::Hanging(frame) => self.look_if_it_hangs(frame, cx),
            Tick::Visible(message) => self.visible_again(message, cx),
            Tick::Leave => self.go_on_leaving(cx),
            Tick::Loads(service) => self.tell_loads(service, cx),
            Tick::Timeout(call) => self.with_calls(cx, |calls, mesh, _, cx| calls.timeout(call, mesh, cx)),
            Tick::Send { call, attempt } => {
                if let Some(work) = &mut self.work {
                    work.calls.send_late(call, attempt, &self.mesh, cx);
                }
            }
            Tick::Passed(pass) => self.passed(pass, cx),
            Tick::Retry(call) => self.with_calls(cx, |calls, mesh, view, cx| calls.retry(call, mesh, view, cx)),
            Tick::Call(call, tick) => {
                self.with_calls(cx, |calls, mesh, view, cx| calls.tick((call, tick), mesh, view, cx));
            }
            Tick::Operation(_)
            | Tick::Iterate(_)
            | Tick::Resend(_)
            | Tick::Watch
            | Tick::Publish
            | Tick::Arrival
            | Tick::User(_)
            | Tick::Sample
            | Tick::Scale(_)
            | Tick::Demand(_)
            | Tick::Figures
            | Tick::Uncordon(_)
            | Tick::Pool(_)
            | Tick::Provisioned(_)
            | Tick::Worked(_)
            | Tick::Pushed
            | Tick::Frame(_)
            | Tick::Processor => {
                unreachable!("a node arms no such timer, or `on` has handled it")
            }
        }
    }

    #[cold]
    fn start(&mut self, cx: &mut MeshCx<'_>) {
        self.lose_by_mutants(cx);
        self.applied.begin(cx.incarnation());
        cx.send(COORDINATOR, Msg::Hello(self.applied.ack(cx.incarnation())));
        if let Some(hosting) = &mut self.hosting {
            hosting.power_on(&self.mesh, cx);
        }
        self.report_changes(cx);
        self.arm_heartbeat(true, cx);
        self.go_on_leaving(cx);
        // The timers of an earlier incarnation are gone.
        self.rounds = None;
        self.arm_rounds(None, cx);
    }

    /// Waits for the next round of each load board, but not of those that `old` has, too.
    fn arm_rounds(&mut self, old: Option<&Mesh>, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let is_new = |(service, refresh): &(ServiceId, Span)| {
            old.is_none_or(|old| board::refresh(old, *service) != Some(*refresh))
        };
        for (service, refresh) in board::services(&mesh).filter(is_new) {
            self.rounds.get_or_insert_default().arm(service, refresh, cx);
        }
    }

    /// A round of the load board begins.
    fn tell_loads(&mut self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let Some(refresh) = board::refresh(&self.mesh, service).filter(|_| !self.has_left()) else { return };
        self.rounds.get_or_insert_default().arm(service, refresh, cx);
        let node = cx.id();
        let hosted = self.hosting.as_mut().and_then(|hosting| hosting.get(service));
        let loads: Vec<InstanceLoad> = hosted.map_or_else(Vec::new, |hosted| hosted.loads(node).collect());
        if !loads.is_empty() {
            let (round, incarnation) = (board::round_at(cx.now(), refresh), cx.incarnation());
            cx.send(COORDINATOR, Msg::Loads(Arc::new(LoadBoard { service, round, incarnation, loads })));
        }
    }

    fn heartbeat(&mut self, cx: &mut MeshCx<'_>) {
        if self.has_left() {
            return;
        }
        let report = self.hosting.as_ref().map_or(0, |hosting| hosting.reported());
        let heartbeat = Heartbeat { report, view: self.view.version, incarnation: cx.incarnation() };
        cx.send(COORDINATOR, Msg::Heartbeat(heartbeat));
        self.arm_heartbeat(false, cx);
    }

    fn arm_heartbeat(&self, first: bool, cx: &mut MeshCx<'_>) {
        arm_heartbeat(self.mesh.control.heartbeat, first, cx);
    }

    fn take_view(&mut self, view: Arc<InstanceView>, cx: &mut MeshCx<'_>) {
        let is_old = Mutant::OlderViewTaken.is_on() && view.version < self.view.version;
        if !view.replaces(&self.view) && !is_old {
            return;
        }
        let old = std::mem::replace(&mut self.view, view);
        if let Some(mesh) = self.view.set(&old, &self.mesh) {
            let old = std::mem::replace(&mut self.mesh, mesh);
            self.arm_rounds(Some(&old), cx);
            if let Some(work) = &mut self.work {
                work.calls.settings_changed(&old, &self.mesh, cx);
            }
        }
        if let Some(work) = &mut self.work {
            let ended = work.calls.view_changed(&old, &self.mesh, &self.view, cx);
            ended.into_iter().for_each(|ended| self.call_ended(ended, cx));
        }
    }

    /// Runs `act` on the calling side, and continues the script whose call has ended, if one has.
    fn with_calls(
        &mut self,
        cx: &mut MeshCx<'_>,
        act: impl FnOnce(&mut Caller<FrameKey>, &Mesh, &InstanceView, &mut MeshCx<'_>) -> Option<CallOutcome<FrameKey>>,
    ) {
        let Some(work) = &mut self.work else { return };
        if let Some(ended) = act(&mut work.calls, &self.mesh, &self.view, cx) {
            self.call_ended(ended, cx);
        }
    }
}

/// False for a message that a peer that keeps to the protocol never sends to a node: it is dropped.
fn is_for_nodes(from: ActorId, msg: &Msg, mesh: &Mesh) -> bool {
    match msg {
        Msg::Request(_) | Msg::Reply(_) | Msg::Cancel(_) => true,
        Msg::Steps(_)
        | Msg::Snapshot(_)
        | Msg::ReportFrom { .. }
        | Msg::InstanceView(_)
        | Msg::Released
        | Msg::Loads(_)
        | Msg::AskFigures { .. } => from == COORDINATOR,
        Msg::AskSample { .. } | Msg::AskDemand { .. } => mesh.is_autoscaler(from),
        Msg::Leave { .. } => from == mesh.external_client(),
        Msg::Ack(_)
        | Msg::Need { .. }
        | Msg::Refuse { .. }
        | Msg::Hello(_)
        | Msg::Heartbeat(_)
        | Msg::Report(_)
        | Msg::ExternalRequest(_)
        | Msg::ExternalReply(_)
        | Msg::Operate(_)
        | Msg::Operated(_)
        | Msg::Leaving { .. }
        | Msg::Shun { .. }
        | Msg::Left { .. }
        | Msg::Sample(_)
        | Msg::AskScale { .. }
        | Msg::Scale(_)
        | Msg::Figures(_)
        | Msg::Demand(_)
        | Msg::Held { .. } => false,
    }
}

/// A sign of life of who hosts nothing, only calls; and the next one.
pub(crate) fn caller_heartbeat(mesh: &Mesh, view: &InstanceView, first: bool, cx: &mut MeshCx<'_>) {
    let heartbeat = Heartbeat { report: 0, view: view.version, incarnation: cx.incarnation() };
    cx.send(COORDINATOR, Msg::Heartbeat(heartbeat));
    arm_heartbeat(mesh.control.heartbeat, first, cx);
}

/// The next sign of life. The first one comes at random within the interval, so that not all come at once.
fn arm_heartbeat(every: Span, first: bool, cx: &mut MeshCx<'_>) {
    if every.is_zero() {
        return;
    }
    let wait = if first { every.scaled(cx.rng().unit()) } else { every };
    cx.arm(cx.now() + wait, Tick::Heartbeat);
}
