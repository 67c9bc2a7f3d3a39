//! The messages between the actors of a mesh. Kept at 48 bytes: every event of a run moves one.

use std::sync::Arc;

use meshsim_actor::{ActorId, Message, Rng, Span, Time};
use serde::{Deserialize, Serialize};

use crate::autoscale::demand::Demand;
use crate::autoscale::signal::{NodeSample, ServiceScale};
use crate::board::LoadBoard;
use crate::measure::{Failure, OperationKind};
use crate::model::{CallPolicy, EndpointId, Operation, ServiceId};
use crate::mutant::Mutant;
use crate::node::hosting::INSTANCES_MAX;
use crate::path::Path;
use crate::request_id::{Draw, RequestId};
use crate::rollout::figures::ServiceFigures;
pub use crate::share::Share;
use crate::station::PassKey;
use crate::view::InstanceView;

/// A message between two actors of a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Msg {
    /// Caller to instance: execute an endpoint.
    Request(Request),
    /// Instance to caller: result of a request.
    Reply(Reply),
    /// Coordinator to node: steps to apply, in order and without gaps.
    Steps(Vec<NodeStep>),
    /// Coordinator to node: the complete desired state, instead of the steps up to `n`.
    Snapshot(#[serde(with = "meshsim_actor::shared")] Arc<Snapshot>),
    /// Node to coordinator: all steps up to `applied` are applied and stored.
    Ack(Ack),
    /// Node to coordinator: steps `from..to` are missing.
    Need {
        /// The first that is missing.
        from: u64,
        /// The first after them that the node has.
        to: u64,
    },
    /// Node to coordinator: rejects a step that is invalid; nothing was changed.
    Refuse {
        /// The step.
        n: u64,
        /// The epoch of the node.
        epoch: u64,
    },
    /// Node to coordinator: the node has started (again).
    Hello(Ack),
    /// Node, client or gateway to coordinator: the sender is alive; its current versions.
    Heartbeat(Heartbeat),
    /// Node to coordinator: the ready instances of the node.
    Report(Box<ReadinessReport>),
    /// Coordinator to node: asks for the changes after readiness report `have`.
    ReportFrom {
        /// Number of the last one.
        have: u64,
    },
    /// Coordinator to node, client and gateway: the instance view.
    InstanceView(#[serde(with = "meshsim_actor::shared")] Arc<InstanceView>),
    /// External client to gateway: a request to the mesh.
    ExternalRequest(Box<Ask>),
    /// Gateway to external client: result of an [`Ask`].
    ExternalReply(Box<Answer>),
    /// External client or autoscaler to coordinator: begin this operation now, whatever its [`Operation::at`].
    Operate(Box<Operate>),
    /// Coordinator to the sender of the operation: it has begun, or was refused. Each [`Msg::Operate`] is answered
    /// before the next is processed.
    Operated(Operated),
    /// External client to node: leave the mesh without losing a request, at the latest after `grace`.
    Leave {
        /// Limit on the time that it may take.
        grace: Span,
    },
    /// Node to coordinator: the node leaves; its instances must be placed on other nodes.
    Leaving {
        /// Incarnation of the sender.
        incarnation: u32,
    },
    /// Coordinator to node: nothing is placed on the node any more.
    Released,
    /// External client to coordinator: other nodes refuse connections with this incarnation of the node. Nothing may be
    /// placed on it.
    Shun {
        /// The node.
        node: ActorId,
    },
    /// Node to coordinator: the node has left, and sends nothing more in this incarnation.
    Left {
        /// Incarnation of the sender.
        incarnation: u32,
    },
    /// Node to coordinator: the load of its instances of a service. Coordinator to node, client and gateway: of all.
    Loads(#[serde(with = "meshsim_actor::shared")] Arc<LoadBoard>),
    /// Caller to node: the reply to a request is not needed any more.
    Cancel(Cancel),
    /// Autoscaler to node: asks for a sample of its instances.
    AskSample {
        /// Number of the round.
        round: u64,
    },
    /// Node to autoscaler: the sample.
    Sample(Box<NodeSample>),
    /// Autoscaler to coordinator: asks for the instances that a service is to have.
    AskScale {
        /// The service.
        service: ServiceId,
    },
    /// Coordinator to autoscaler: these.
    Scale(Box<ServiceScale>),
    /// Coordinator to node: asks for the counts of a service that has a rollout.
    AskFigures {
        /// The service.
        service: ServiceId,
        /// Number of the round; 0: they are needed no more.
        round: u64,
    },
    /// Node to coordinator: these.
    Figures(Box<ServiceFigures>),
    /// Autoscaler to node, client and gateway: asks for the demand for a service.
    AskDemand {
        /// The service.
        service: ServiceId,
        /// Number of the round.
        round: u64,
    },
    /// Node, client or gateway to autoscaler: its part of the demand.
    Demand(Box<Demand>),
    /// Node, client or gateway to autoscaler: it begins to hold requests for a service, which has no instance.
    Held {
        /// The service.
        service: ServiceId,
    },
}

/// A call of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Name of the request and of the call made for it.
    pub id: RequestId,
    /// The caller's name for the call.
    pub call: u64,
    /// Time after which the caller no longer needs the reply.
    pub deadline: Time,
    /// Ordinal of the instance on the node.
    pub ordinal: u32,
    /// Size of the request.
    pub bytes: u32,
    /// Service of the instance.
    pub service: ServiceId,
    /// Endpoint to execute.
    pub endpoint: EndpointId,
    /// Number of the attempt, from 0.
    pub attempt: u8,
    /// The reply must carry the path of the request.
    pub traced: bool,
    /// Incarnation of the caller (its low bits): names of calls begin anew in each.
    pub incarnation: u16,
}

impl Request {
    /// The stream from which this is drawn for it, in runs with this seed.
    #[inline]
    pub(crate) fn draws(&self, seed: u64, draw: Draw) -> Rng {
        self.id.draws(seed, self.attempt, draw)
    }
}

/// Names a [`Request`] whose reply is not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cancel {
    /// [`Request::call`].
    pub call: u64,
    /// [`Request::attempt`].
    pub attempt: u8,
    /// [`Request::incarnation`].
    pub incarnation: u16,
}

/// Reply to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// [`Request::call`].
    pub call: u64,
    /// [`Request::attempt`].
    pub attempt: u8,
    /// [`Request::incarnation`].
    pub incarnation: u16,
    /// `None` on success.
    pub failure: Option<Failure>,
    /// Succeeded although an optional call failed, at any depth.
    pub degraded: bool,
    /// Size of the reply.
    pub bytes: u32,
    /// The path of a traced request. It takes no bandwidth: tracing changes no time.
    pub path: Option<Box<Path>>,
}

/// Request of an external client to the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The client's own name for it, returned with the reply.
    pub ask: u64,
    /// Service to call.
    pub service: ServiceId,
    /// Endpoint to call.
    pub endpoint: EndpointId,
    /// Size of the request.
    pub bytes: u32,
    /// Timeout and retries of the gateway.
    pub policy: CallPolicy,
    /// Travels with the request: a server drops work whose caller has given up.
    pub deadline: Option<Span>,
    /// The reply must carry the path.
    pub traced: bool,
}

/// Operation that an external client submits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operate {
    /// Number that the client gives it; the answer has the same.
    pub ask: u64,
    /// The operation.
    pub operation: Operation,
}

/// Result of an [`Operate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operated {
    /// [`Operate::ask`].
    pub ask: u64,
    /// Index of its history; `None` if it is [invalid](Operation::validate) or the
    /// [limit](crate::coordinator::operations::MANUAL_OPERATIONS_MAX) is reached.
    pub history: Option<u32>,
    /// It was refused, as its history says: the service is not deployed, or is already.
    pub is_refused: bool,
}

/// Result of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Ask::ask`].
    pub ask: u64,
    /// `None` on success.
    pub failure: Option<Failure>,
    /// Succeeded although an optional call failed, at any depth.
    pub degraded: bool,
    /// Attempts after the first.
    pub retries: u32,
    /// Size of the reply; 0 if there was none.
    pub bytes: u32,
    /// Time at which the gateway received it.
    pub asked: Time,
    /// Time at which it had the reply, or gave up.
    pub ended: Time,
    /// Path of the request: empty if it was not requested, or nothing was sent.
    pub path: Path,
}

/// One step for one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStep {
    /// The decision, the same for all nodes.
    #[serde(with = "meshsim_actor::shared")]
    pub decision: Arc<Decision>,
    /// The node's own part, absolute.
    pub share: Share,
}

/// Decision of the coordinator in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The step's number: 1, 2, 3, ... without gaps.
    pub n: u64,
    /// The term of the coordinator that sends it; a fence.
    pub epoch: u64,
    /// Digest of this step and all before it.
    pub digest: u64,
    /// Kind of the operation.
    pub kind: OperationKind,
    /// To which service.
    pub service: ServiceId,
    /// Number of steps decided for this service, including this one.
    pub generation: u64,
    /// C from now on.
    pub capacity: f64,
}

/// Complete desired state of a node after step `n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last step that it covers.
    pub n: u64,
    /// The coordinator's term.
    pub epoch: u64,
    /// The digest after that step.
    pub digest: u64,
    /// The state of each service that was ever deployed.
    #[serde(deserialize_with = "crate::memory::snapshots")]
    pub services: Vec<ServiceSnapshot>,
}

/// One service of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// The service.
    pub service: ServiceId,
    /// Its generation.
    pub generation: u64,
    /// C.
    pub capacity: f64,
    /// The node's part.
    pub share: Share,
}

/// Progress of a node: cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// The last step that is applied and stored.
    pub applied: u64,
    /// The digest after it.
    pub digest: u64,
    /// Identity of its disk: new after a wipe.
    pub lineage: u32,
    /// Number of reboots of the node.
    pub incarnation: u32,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of the sender's last [`ReadinessReport`].
    pub report: u64,
    /// The [`InstanceView`] that the sender has.
    pub view: u64,
    /// Number of reboots of the sender.
    pub incarnation: u32,
}

/// Ready instances of a node, of the services whose ready instances have changed since report `base`.
///
/// An ordinary report has the changes alone: a thousand instances that become ready one after the other are a thousand
/// entries, and not half a million.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadinessReport {
    /// Its number, rising by one in each incarnation of the node.
    pub seq: u64,
    /// The report that this one builds on.
    pub base: u64,
    /// Incarnation of the sender.
    pub incarnation: u32,
    /// The services.
    #[serde(deserialize_with = "crate::memory::reported")]
    pub services: Vec<ServiceReport>,
}

/// Ready instances of one service on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The service.
    pub service: ServiceId,
    /// Ready instances as (ordinal, version): all of them, or those that have become ready.
    pub ready: Vec<(u32, u32)>,
    /// Ordinals of the instances that are ready no more; `None`: `ready` has all that are.
    pub gone: Option<Vec<u32>>,
}

impl ServiceReport {
    /// Instances that it names.
    pub(crate) fn entries(&self) -> usize {
        self.ready.len() + self.gone.as_ref().map_or(0, Vec::len)
    }

    /// Brings the list of ready instances up to date with this report. Returns the entries that were removed or
    /// replaced; if they equal `ready`, the list is as before.
    ///
    /// For one instance that becomes ready or goes, it searches the list once and does not read all of it.
    pub fn apply(&self, known: &mut Vec<(u32, u32)>) -> Vec<(u32, u32)> {
        let Some(gone) = &self.gone else { return std::mem::replace(known, self.ready.clone()) };
        let mut left = Vec::new();
        match gone[..] {
            [] => {}
            [ordinal] => left.extend(place(known, ordinal).ok().map(|at| known.remove(at))),
            _ => known.retain(|it| {
                let goes = gone.binary_search(&it.0).is_ok();
                left.extend(goes.then_some(*it));
                !goes
            }),
        }
        let mut new = Vec::new();
        for it in &self.ready {
            match place(known, it.0) {
                Ok(at) => left.push(std::mem::replace(&mut known[at], *it)),
                Err(at) => new.push((at, *it)),
            }
        }
        match new[..] {
            [] => {}
            [(at, only)] => known.insert(at, only),
            // Two lists that rise: the sort merges them.
            _ => {
                known.extend(new.into_iter().map(|(_, it)| it));
                known.sort_by_key(|(ordinal, _)| *ordinal);
            }
        }
        left
    }
}

fn place(known: &[(u32, u32)], ordinal: u32) -> Result<usize, usize> {
    known.binary_search_by_key(&ordinal, |(ordinal, _)| *ordinal)
}

impl ReadinessReport {
    /// False if it cannot be from a node: its ordinals do not rise, or there are too many.
    pub(crate) fn is_sound(&self) -> bool {
        let rise = |it: &ServiceReport| it.ready.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let gone_rise = |it: &ServiceReport| it.gone.iter().all(|gone| gone.windows(2).all(|pair| pair[0] < pair[1]));
        let instances: usize = self.services.iter().map(|it| it.ready.len()).sum();
        instances <= INSTANCES_MAX && self.services.iter().all(|it| rise(it) && gone_rise(it))
    }
}

/// Reminders that an actor of a mesh sets for itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tick {
    /// Coordinator: an operation of the file begins.
    Operation(u32),
    /// Coordinator: the next turn of a running operation.
    Iterate(u32),
    /// Coordinator: a node has not acknowledged.
    Resend(u32),
    /// Coordinator: check which nodes are silent.
    Watch,
    /// Coordinator: tell the callers where the instances are.
    Publish,
    /// Node, client, gateway: say that you are alive.
    Heartbeat,
    /// Node: an instance's start or drain delay is over.
    Instance {
        /// Service of the instance.
        service: ServiceId,
        /// Ordinal of the instance.
        ordinal: u32,
    },
    /// Node: a frame of a script has slept enough.
    Frame(crate::node::FrameKey),
    /// Caller: the attempt has timed out.
    Timeout(crate::call::CallKey),
    /// Caller: the backoff before a retry is over.
    Retry(crate::call::CallKey),
    /// Client: a request is planned.
    Arrival,
    /// Node: work of a request may be done.
    Processor,
    /// Node: have you left? If not, say again that you want to.
    Leave,
    /// Client: a user of a closed load sends its next request.
    User(u32),
    /// Node: a request that hangs looks whether it still does.
    Hanging(crate::node::FrameKey),
    /// Caller: an attempt that its machine has held back is sent.
    Send {
        /// The call.
        call: crate::call::CallKey,
        /// The attempt, as in [`Request::attempt`].
        attempt: u8,
    },
    /// Node: a round of the load board of this service begins.
    Loads(ServiceId),
    /// Caller: a timer that few calls have.
    Call(crate::call::CallKey, crate::call::CallTick),
    /// Node: the visibility time of a message is over.
    Visible(crate::node::TaskKey),
    /// Autoscaler: the next round of samples is due.
    Sample,
    /// Autoscaler: a decision about this service is due.
    Scale(ServiceId),
    /// Coordinator: the next round of counts for rollouts is due.
    Figures,
    /// Coordinator: instances may be placed on this node again, unless a later drain forbids it.
    Uncordon(u32),
    /// Coordinator: the next look at a pool of nodes is due.
    Pool(u32),
    /// Coordinator: a node that was ordered for its pool is in service.
    Provisioned(u32),
    /// Autoscaler: the next round of demands for this service is due.
    Demand(ServiceId),
    /// Load, gateway: a worker of its proxy is done with a request.
    Worked(PassKey),
    /// Node, load, gateway: a request has passed a proxy.
    Passed(PassKey),
    /// Coordinator: the proxies of the callers have the latest instance view.
    Pushed,
}

impl Msg {
    /// All values of [`Message::kind`].
    pub const KINDS: [&str; 41] = [
        "request",
        "reply",
        "deploy",
        "undeploy",
        "flush",
        "extend",
        "scale",
        "update",
        "rollout",
        "drain",
        "repair",
        "steps",
        "snapshot",
        "ack",
        "need",
        "refuse",
        "hello",
        "heartbeat",
        "report",
        "report_from",
        "view",
        "external_request",
        "external_reply",
        "operate",
        "operated",
        "leave",
        "leaving",
        "released",
        "shun",
        "left",
        "cancel",
        "loads",
        "ask_sample",
        "sample",
        "ask_scale",
        "scale_report",
        "ask_figures",
        "figures",
        "ask_demand",
        "demand",
        "held",
    ];
}

impl Message for Msg {
    fn kind(&self) -> &'static str {
        match self {
            Msg::Request(_) => "request",
            Msg::Reply(_) => "reply",
            Msg::Steps(orders) => match orders.as_slice() {
                [order] => order.decision.kind.as_str(),
                _ => "steps",
            },
            Msg::Snapshot(_) => "snapshot",
            Msg::Ack(_) => "ack",
            Msg::Need { .. } => "need",
            Msg::Refuse { .. } => "refuse",
            Msg::Hello(_) => "hello",
            Msg::Heartbeat(_) => "heartbeat",
            Msg::Report(_) => "report",
            Msg::ReportFrom { .. } => "report_from",
            Msg::InstanceView(_) => "view",
            Msg::ExternalRequest(_) => "external_request",
            Msg::ExternalReply(_) => "external_reply",
            Msg::Operate(_) => "operate",
            Msg::Operated(_) => "operated",
            Msg::Leave { .. } => "leave",
            Msg::Leaving { .. } => "leaving",
            Msg::Released => "released",
            Msg::Shun { .. } => "shun",
            Msg::Left { .. } => "left",
            Msg::Loads(_) => "loads",
            Msg::Cancel(_) => "cancel",
            Msg::AskSample { .. } => "ask_sample",
            Msg::Sample(_) => "sample",
            Msg::AskScale { .. } => "ask_scale",
            Msg::Scale(_) => "scale_report",
            Msg::AskFigures { .. } => "ask_figures",
            Msg::Figures(_) => "figures",
            Msg::AskDemand { .. } => "ask_demand",
            Msg::Demand(_) => "demand",
            Msg::Held { .. } => "held",
        }
    }

    /// Requests and replies: the size of the content that they stand for. The rest: about their size on the wire.
    fn bytes(&self) -> u32 {
        let (fixed, each, count) = match self {
            Msg::Request(request) => return request.bytes,
            Msg::Reply(reply) => return reply.bytes,
            Msg::ExternalRequest(ask) => return ask.bytes,
            Msg::ExternalReply(answer) => return answer.bytes,
            Msg::Steps(orders) => (8, 48, orders.len()),
            Msg::Snapshot(snapshot) => (32, 32, snapshot.services.len()),
            Msg::Report(report) => (24, 8, report.services.iter().map(|it| 1 + it.entries()).sum()),
            Msg::InstanceView(view) => {
                let canaries = view.splits.iter().map(|split| 3 + split.instances.len());
                let settings = [8 * view.settings.len()];
                let ready = view.services.iter().map(|instances| 1 + instances.len());
                (16, 8, ready.chain(canaries).chain(settings).sum())
            }
            Msg::Loads(board) => (16, 8, board.loads.len()),
            Msg::Sample(sample) => (16, 24, sample.instances.len()),
            Msg::Scale(scale) => (16, 8, scale.placed.len()),
            Msg::Figures(it) => (32, 8, it.versions.iter().map(|(_, it)| 4 + it.latency.filled().count()).sum()),
            Msg::Ack(_) | Msg::Hello(_) | Msg::Heartbeat(_) | Msg::Operate(_) => (32, 0, 0),
            Msg::Need { .. } | Msg::Refuse { .. } | Msg::ReportFrom { .. } | Msg::Operated(_) => (24, 0, 0),
            Msg::Leave { .. } | Msg::Leaving { .. } | Msg::Released => (16, 0, 0),
            Msg::Shun { .. } | Msg::Left { .. } | Msg::Cancel(_) => (16, 0, 0),
            Msg::AskSample { .. } | Msg::AskScale { .. } | Msg::AskFigures { .. } => (16, 0, 0),
            Msg::AskDemand { .. } | Msg::Held { .. } => (16, 0, 0),
            Msg::Demand(_) => (72, 0, 0),
        };
        fixed + each * u32::try_from(count).unwrap_or(u32::MAX / 64)
    }

    fn heap_bytes(&self) -> usize {
        crate::memory::heap_bytes(self)
    }

    /// What the coordinator has decided, and what a node has applied. Signs of life, requests and measurements do not wait
    /// for disks.
    fn reveals(&self) -> bool {
        match self {
            Msg::Steps(_) => !Mutant::SentBeforeSynced.is_on(),
            Msg::Ack(_) | Msg::Hello(_) => !Mutant::AcknowledgedBeforeSynced.is_on(),
            Msg::Snapshot(_)
            | Msg::InstanceView(_)
            | Msg::Operated(_)
            | Msg::Released
            | Msg::Scale(_)
            | Msg::Need { .. }
            | Msg::Refuse { .. }
            | Msg::Report(_)
            | Msg::Leaving { .. }
            | Msg::Left { .. } => true,
            Msg::Request(_)
            | Msg::Reply(_)
            | Msg::Heartbeat(_)
            | Msg::ReportFrom { .. }
            | Msg::ExternalRequest(_)
            | Msg::ExternalReply(_)
            | Msg::Operate(_)
            | Msg::Leave { .. }
            | Msg::Shun { .. }
            | Msg::Loads(_)
            | Msg::Cancel(_)
            | Msg::AskSample { .. }
            | Msg::Sample(_)
            | Msg::AskScale { .. }
            | Msg::AskFigures { .. }
            | Msg::Figures(_)
            | Msg::AskDemand { .. }
            | Msg::Demand(_)
            | Msg::Held { .. } => false,
        }
    }
}

const _: () = assert!(size_of::<Msg>() <= 48 && size_of::<Request>() <= 48);
const _: () = assert!(size_of::<Tick>() <= 16);
