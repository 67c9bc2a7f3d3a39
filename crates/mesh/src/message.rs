//! What the actors of a mesh say to each other. Kept at 48 bytes: every event of a run moves one.

use std::sync::Arc;

use meshsim_actor::{ActorId, Message, Rng, Span, Time};
use serde::{Deserialize, Serialize};

use crate::measure::{Failure, Verb};
use crate::model::{CallPolicy, EndpointId, Operation, ServiceId};
use crate::node::hosting::INSTANCES_MAX;
use crate::path::Path;
use crate::request_id::{Draw, RequestId};

/// A message between two actors of a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Msg {
    /// Caller to instance: do this.
    Request(Request),
    /// Instance to caller: done, or not.
    Reply(Reply),
    /// Coordinator to node: steps to apply, in order and without gaps.
    Steps(Vec<Order>),
    /// Coordinator to node: instead of the steps up to `n`.
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
    /// Node to coordinator: this order cannot be right, and nothing was changed.
    Refuse {
        /// The step.
        n: u64,
        /// The epoch that the node holds to.
        epoch: u64,
    },
    /// Node to coordinator: I am up (again).
    Hello(Ack),
    /// Node, client or gateway to coordinator: I am alive, and this is what I know.
    Heartbeat(Heartbeat),
    /// Node to coordinator: which of my instances take requests.
    Report(Box<Report>),
    /// Coordinator to node: I have your reports up to `have` only.
    ReportFrom {
        /// Number of the last one.
        have: u64,
    },
    /// Coordinator to node, client and gateway: where the instances are.
    View(#[serde(with = "meshsim_actor::shared")] Arc<View>),
    /// Outside to gateway: ask this of the mesh.
    Ask(Box<Ask>),
    /// Gateway to outside: what came of it.
    Answer(Box<Answer>),
    /// Outside to coordinator: do this now, whatever its [`Operation::at`].
    Operate(Box<Operation>),
    /// Coordinator to outside: that has begun, or not. Each [`Msg::Operate`] is answered before the next is heard.
    Operating {
        /// Where its history is; `None` if it [makes no sense](Operation::validate), or there were
        /// [too many](crate::coordinator::operations::HAND_MAX).
        history: Option<u32>,
    },
    /// Outside to node: leave the mesh without losing a request, and go after `grace` whatever you still do.
    Leave {
        /// How long it may take.
        grace: Span,
    },
    /// Node to coordinator: I leave. What I have is to be placed elsewhere.
    Leaving {
        /// In which life it says so.
        incarnation: u32,
    },
    /// Coordinator to node: nothing is placed on you any more.
    Released,
    /// Outside to coordinator: others refuse to talk with this node, in this life. Place nothing on it.
    Shun {
        /// Which.
        node: ActorId,
    },
    /// Node to coordinator: I have left, and say nothing more in this life.
    Left {
        /// In which life it says so.
        incarnation: u32,
    },
}

/// A call of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Which request this is, and which call made for it.
    pub id: RequestId,
    /// The caller's name for the call.
    pub call: u64,
    /// When the caller gives up, if it says so.
    pub deadline: Time,
    /// Which instance on the node.
    pub ordinal: u32,
    /// Size of the request.
    pub bytes: u32,
    /// Of which service.
    pub service: ServiceId,
    /// What it is to do.
    pub endpoint: EndpointId,
    /// Which try this is, from 0.
    pub attempt: u8,
    /// The answer is to bring the path that the request took.
    pub traced: bool,
    /// Which life of the caller asks (its incarnation's low bits): names of calls begin anew in each.
    pub life: u16,
}

impl Request {
    /// The stream from which this is drawn for it, in runs with this seed.
    #[inline]
    pub(crate) fn draws(&self, seed: u64, draw: Draw) -> Rng {
        self.id.draws(seed, self.attempt, draw)
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// [`Request::call`].
    pub call: u64,
    /// [`Request::attempt`].
    pub attempt: u8,
    /// [`Request::life`].
    pub life: u16,
    /// `None`: done.
    pub failure: Option<Failure>,
    /// Done without a call that was optional and failed, however far below.
    pub degraded: bool,
    /// Size of the reply.
    pub bytes: u32,
    /// The path of a traced request. It takes no bandwidth: to be watched changes nothing.
    pub path: Option<Box<Path>>,
}

/// What somebody outside asks of the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The asker's own name for it: it comes back with the answer.
    pub ask: u64,
    /// Whom.
    pub service: ServiceId,
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Size of the request.
    pub bytes: u32,
    /// Timeout and retries of the gateway.
    pub policy: CallPolicy,
    /// Travels with the request: a server drops work whose caller has given up.
    pub deadline: Option<Span>,
    /// The answer is to bring the path.
    pub traced: bool,
}

/// What came of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Ask::ask`].
    pub ask: u64,
    /// `None`: done.
    pub failure: Option<Failure>,
    /// Done without a call that was optional and failed, however far below.
    pub degraded: bool,
    /// Tries beyond the first.
    pub retries: u32,
    /// Size of the answer; 0 if there was none.
    pub bytes: u32,
    /// When the gateway was asked.
    pub asked: Time,
    /// When it had the answer, or had given up.
    pub ended: Time,
    /// The path that it took: empty if it was not asked for, or nothing was sent.
    pub path: Path,
}

/// How many instances of each version one node is to have: rising versions, counts above zero.
pub type Share = Vec<(u32, u32)>;

/// One step for one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What was decided, the same for all nodes.
    #[serde(with = "meshsim_actor::shared")]
    pub decision: Arc<Decision>,
    /// The node's own part, absolute.
    pub share: Share,
}

/// What the coordinator decided in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The step's number: 1, 2, 3, ... without gaps.
    pub n: u64,
    /// The term of the coordinator that sends it; a fence.
    pub epoch: u64,
    /// Digest of this step and all before it.
    pub digest: u64,
    /// What was done.
    pub verb: Verb,
    /// To which service.
    pub service: ServiceId,
    /// How many steps of this service there are, with this one.
    pub generation: u64,
    /// C from now on.
    pub capacity: f64,
}

/// All that a node is to have after step `n`.
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
    /// Which.
    pub service: ServiceId,
    /// Its generation.
    pub generation: u64,
    /// C.
    pub capacity: f64,
    /// The node's part.
    pub share: Share,
}

/// How far a node is: cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// The last step that is applied and stored.
    pub applied: u64,
    /// The digest after it.
    pub digest: u64,
    /// Which disk this is: new after a wipe.
    pub lineage: u32,
    /// How often the node was rebooted.
    pub incarnation: u32,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of the sender's last [`Report`].
    pub report: u64,
    /// The [`View`] that the sender has.
    pub view: u64,
    /// How often the sender was rebooted.
    pub incarnation: u32,
}

/// Which instances of a node take requests: of the services where that changed since report `base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its number, rising by one in each life of the node.
    pub seq: u64,
    /// The report that this one builds on.
    pub base: u64,
    /// Which life.
    pub incarnation: u32,
    /// The services, with all their ready instances as (ordinal, version).
    #[serde(deserialize_with = "crate::memory::reported")]
    pub services: Vec<(ServiceId, Vec<(u32, u32)>)>,
}

impl Report {
    /// False if it cannot be from a node: its ordinals do not rise, or there are too many.
    pub(crate) fn is_sound(&self) -> bool {
        let rise = |ready: &[(u32, u32)]| ready.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let instances: usize = self.services.iter().map(|(_, ready)| ready.len()).sum();
        instances <= INSTANCES_MAX && self.services.iter().all(|(_, ready)| rise(ready))
    }
}

/// Where the instances of every service are: what callers choose from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Rising.
    pub version: u64,
    /// By service: its ready instances, by rising (node, ordinal), without those of a canary.
    #[serde(serialize_with = "crate::memory::write_viewed", deserialize_with = "crate::memory::viewed")]
    pub services: Vec<Arc<[Instance]>>,
    /// Nodes that went down, and the version that said so first: calls sent to them under an older one are lost.
    pub fallen: Vec<(ActorId, u64)>,
    /// The services that have a canary, rising.
    #[serde(deserialize_with = "crate::memory::splits")]
    pub splits: Vec<Split>,
}

/// A service whose requests are split: some go to instances of a new version, its canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Which.
    pub service: ServiceId,
    /// The canary's version.
    pub version: u32,
    /// The share of requests that go there, from 0 to 1.
    pub share: f64,
    /// The canary's ready instances, by rising (node, ordinal).
    #[serde(with = "crate::memory::split_instances")]
    pub instances: Arc<[Instance]>,
}

/// One instance, as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    /// Where it is.
    pub node: ActorId,
    /// Its number on that node.
    pub ordinal: u32,
    /// Its version.
    pub version: u32,
}

impl View {
    /// The ready instances of a service, without those of a canary.
    #[inline]
    pub fn instances(&self, service: ServiceId) -> &Arc<[Instance]> {
        &self.services[service.index()]
    }

    /// How the requests of a service are split, if it has a canary.
    #[inline]
    pub fn split(&self, service: ServiceId) -> Option<&Split> {
        if self.splits.is_empty() {
            return None;
        }
        let at = self.splits.binary_search_by_key(&service, |split| split.service).ok()?;
        Some(&self.splits[at])
    }
}

/// What an actor of a mesh wants to be reminded of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tick {
    /// Coordinator: an operation of the file begins.
    Operation(u32),
    /// Coordinator: the next turn of a running operation.
    Turn(u32),
    /// Coordinator: a node has not acknowledged.
    Resend(u32),
    /// Coordinator: who has not been heard of?
    Watch,
    /// Coordinator: tell the callers where the instances are.
    Publish,
    /// Node, client, gateway: say that you are alive.
    Heartbeat,
    /// Node: an instance's start or drain delay is over.
    Instance {
        /// Of which service.
        service: ServiceId,
        /// Which.
        ordinal: u32,
    },
    /// Node: a frame of a script has slept enough.
    Frame(crate::node::FrameKey),
    /// Caller: no answer in time.
    Timeout(crate::call::CallKey),
    /// Caller: the backoff before a retry is over.
    Retry(crate::call::CallKey),
    /// Client: a request is planned.
    Arrival,
    /// Node: somebody's work may be done.
    Processor,
    /// Node: have you left? If not, say again that you want to.
    Leave,
    /// Client: a user of a closed load sends its next request.
    User(u32),
}

impl Message for Msg {
    fn kind(&self) -> &'static str {
        match self {
            Msg::Request(_) => "request",
            Msg::Reply(_) => "reply",
            Msg::Steps(orders) => match orders.as_slice() {
                [order] => order.decision.verb.as_str(),
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
            Msg::View(_) => "view",
            Msg::Ask(_) => "ask",
            Msg::Answer(_) => "answer",
            Msg::Operate(_) => "operate",
            Msg::Operating { .. } => "operating",
            Msg::Leave { .. } => "leave",
            Msg::Leaving { .. } => "leaving",
            Msg::Released => "released",
            Msg::Shun { .. } => "shun",
            Msg::Left { .. } => "left",
        }
    }

    /// Requests and replies: the content that they stand for. The rest: about what it takes on a wire.
    fn bytes(&self) -> u32 {
        let (fixed, each, count) = match self {
            Msg::Request(request) => return request.bytes,
            Msg::Reply(reply) => return reply.bytes,
            Msg::Ask(ask) => return ask.bytes,
            Msg::Answer(answer) => return answer.bytes,
            Msg::Steps(orders) => (8, 48, orders.len()),
            Msg::Snapshot(snapshot) => (32, 32, snapshot.services.len()),
            Msg::Report(report) => (24, 8, report.services.iter().map(|(_, ready)| 1 + ready.len()).sum()),
            Msg::View(view) => {
                let canaries = view.splits.iter().map(|split| 3 + split.instances.len());
                (16, 8, view.services.iter().map(|instances| 1 + instances.len()).chain(canaries).sum())
            }
            Msg::Ack(_) | Msg::Hello(_) | Msg::Heartbeat(_) | Msg::Operate(_) => (32, 0, 0),
            Msg::Need { .. } | Msg::Refuse { .. } | Msg::ReportFrom { .. } | Msg::Operating { .. } => (24, 0, 0),
            Msg::Leave { .. } | Msg::Leaving { .. } | Msg::Released | Msg::Shun { .. } | Msg::Left { .. } => (16, 0, 0),
        };
        fixed + each * u32::try_from(count).unwrap_or(u32::MAX / 64)
    }

    fn heap_bytes(&self) -> usize {
        crate::memory::heap_bytes(self)
    }
}

const _: () = assert!(size_of::<Msg>() <= 48 && size_of::<Request>() <= 48);
const _: () = assert!(size_of::<Tick>() <= 16);
