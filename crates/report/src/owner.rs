//! Which request each record of a trace belongs to.
//!
//! [`Owners`] reads records one by one, in a run or from its trace. What it says follows from the messages, which carry the
//! name of their request, and from what actors [note](meshsim_mesh::mark). The same records give the same answers, in one
//! reading or in several that are [continued](Owners::from_bytes).

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::{ActorId, Fate, MessageId, Time, Timer};
use meshsim_mesh::RequestId;
use meshsim_mesh::mark::{self, TryEnded};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::message::{Msg, Request, Tick};
use meshsim_mesh::model::{EndpointId, ServiceId};
use meshsim_trace::{Entry, Record};
use serde::{Deserialize, Serialize};

/// Doubled requests that were answered and are remembered, so that their second answer is known to be a copy.
const ANSWERED_MAX: usize = 4096;

/// A request, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The request that entered the mesh: [`RequestId::root`].
    pub root: u64,
    /// Which of the calls made for it, by their beginning; 0 is the client's own.
    pub hop: u32,
    /// Which try of that call, from 0.
    pub attempt: u8,
}

/// The part of a run to which a record belongs: the control plane, all traffic, or one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Of {
    /// The mesh itself: control messages, machines, timers of the control plane, and what is not known.
    Control,
    /// Requests, but none of its own: the clock of a load, the processor of a node, a request from outside.
    Traffic,
    /// This request.
    Request(Owner),
}

/// Facts about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The part of the run to which it belongs.
    pub of: Of,
    /// The service that it is about.
    pub service: Option<ServiceId>,
    /// The endpoint that it is about.
    pub endpoint: Option<EndpointId>,
    /// A reply to a try that has been given up.
    pub is_late: bool,
    /// A request has ended with it for its client.
    pub ended: Option<Ended>,
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When it was due.
    pub due: Time,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl Known {
    /// The request that it belongs to.
    pub fn owner(&self) -> Option<Owner> {
        match self.of {
            Of::Request(owner) => Some(owner),
            Of::Control | Of::Traffic => None,
        }
    }
}

/// A record, as far as it matters here. A run knows the content of what arrives; a trace has it with its sending.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The actor began, in this life.
    Start(u32),
    /// It took in a message.
    Deliver(MessageId, Option<&'a Msg>),
    /// It took in a timer.
    Fire(Timer),
    /// It sent a message.
    Send(MessageId, &'a Msg),
    /// It armed a timer.
    Arm(Timer, &'a Tick),
    /// It disarmed a timer.
    Disarm(Timer),
    /// It remarked something: the word, the subject, the value.
    Note(&'a str, u64, u64),
    /// The network decided what becomes of a message.
    Fate(MessageId, Fate),
    /// Something was done to its machine.
    MachineAction,
}

impl<'a> From<&'a Record<Msg, Tick>> for Seen<'a> {
    fn from(record: &'a Record<Msg, Tick>) -> Self {
        match &record.entry {
            Entry::Start { incarnation } => Seen::Start(*incarnation),
            Entry::Deliver(id) => Seen::Deliver(*id, None),
            Entry::Fire(timer) => Seen::Fire(*timer),
            Entry::Send { seq, msg, .. } => Seen::Send(MessageId { from: record.actor, seq: *seq }, msg),
            Entry::Arm { timer, tick, .. } => Seen::Arm(*timer, tick),
            Entry::Disarm(timer) => Seen::Disarm(*timer),
            Entry::Note { what, subject, value } => Seen::Note(what, *subject, *value),
            Entry::Fate(id, fate) => Seen::Fate(*id, *fate),
            Entry::Power(_) => Seen::MachineAction,
        }
    }
}

/// Follows the records of a run. Memory grows with what is under way at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Owners {
    roots: BTreeMap<u64, Root>,
    /// Calls under way, by caller and [key](RequestId::key): several where the network has doubled a request.
    calls: BTreeMap<(ActorId, u64), Vec<Call>>,
    /// Requests that nodes have taken in, by the node's name for the task.
    tasks: BTreeMap<(ActorId, u64), Task>,
    /// The tasks of the frames of scripts.
    frames: BTreeMap<(ActorId, u64), u64>,
    /// Messages under way, and how many copies of each.
    messages: BTreeMap<MessageId, (Message, u32)>,
    timers: BTreeMap<(ActorId, Timer), Of>,
    actors: BTreeMap<ActorId, Actor>,
    /// Answered calls whose request was doubled.
    answered: BTreeSet<(ActorId, u64, u64)>,
}

/// A request of which something is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Root {
    /// Calls made for it so far.
    calls: u32,
    /// Calls, tasks and messages that are open.
    open: u32,
    due: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Call {
    owner: Owner,
    /// The caller's [short](mark::short) number for it; `None` until it has said one.
    number: Option<u64>,
    /// A try is under way.
    is_sent: bool,
    is_doubled: bool,
    callee: Option<(ServiceId, EndpointId)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    of: Ask,
    frames: Vec<u64>,
    /// Keys of calls that it has made and that had not ended when it looked last.
    calls: Vec<u64>,
}

/// A try, as it comes to a node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Ask {
    owner: Owner,
    key: u64,
    number: u64,
    callee: (ServiceId, EndpointId),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Message {
    Other(Of, Option<ServiceId>),
    Request(Ask),
    Reply(Ask),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Actor {
    /// The request that it took in last, in this step.
    input: Option<Ask>,
    /// What its next reply answers.
    answers: Option<Ask>,
    /// What its last record was about, in this step.
    current: Option<Owner>,
}

impl Message {
    fn known(&self) -> Known {
        match self {
            Message::Other(of, service) => Known { of: *of, service: *service, ..PLAIN },
            Message::Request(ask) | Message::Reply(ask) => ask.known(),
        }
    }

    fn owner(&self) -> Option<Owner> {
        self.known().owner()
    }
}

impl Ask {
    fn known(&self) -> Known {
        let (service, endpoint) = self.callee;
        Known { of: Of::Request(self.owner), service: Some(service), endpoint: Some(endpoint), ..PLAIN }
    }
}

/// Nothing is known.
const PLAIN: Known = Known { of: Of::Control, service: None, endpoint: None, is_late: false, ended: None };
const TRAFFIC: Known = Known { of: Of::Traffic, ..PLAIN };

fn of(owner: Option<Owner>, otherwise: Of) -> Known {
    Known { of: owner.map_or(otherwise, Of::Request), ..PLAIN }
}

/// The service that a control message is about, if it is one.
fn service_of(message: &Msg) -> Option<ServiceId> {
    match message {
        Msg::Request(request) => Some(request.service),
        Msg::ExternalRequest(ask) => Some(ask.service),
        Msg::Operate(operation) => Some(operation.operation.service),
        Msg::Steps(orders) => {
            if let [only] = orders.as_slice() {
                Some(only.decision.service)
            } else {
                None
            }
        }
        Msg::Report(report) => {
            if let [(only, _)] = report.services.as_slice() {
                Some(*only)
            } else {
                None
            }
        }
        _ => None,
    }
}

impl Owners {
    /// Goes on where another one [stopped](Self::to_bytes); `None` if these are no such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        meshsim_wire::decode(bytes).ok()
    }

    /// Appends all that is known, or nothing if that is too much.
    pub fn to_bytes(&self, out: &mut Vec<u8>) {
        let len = out.len();
        if meshsim_wire::encode_into(self, out).is_err() {
            out.truncate(len);
        }
    }

    /// Facts about a message in flight.
    pub fn message(&self, id: MessageId) -> Option<Known> {
        self.messages.get(&id).map(|(message, _)| message.known())
    }

    /// Takes in the next record.
    pub fn take(&mut self, actor: ActorId, seen: Seen<'_>) -> Known {
        let known = match seen {
            Seen::Start(_) => self.start(actor),
            Seen::MachineAction => PLAIN,
            Seen::Deliver(id, msg) => return self.deliver(actor, id, msg),
            Seen::Fire(timer) => {
                let of = self.timers.remove(&(actor, timer)).unwrap_or(Of::Control);
                self.step(actor, None);
                Known { of, ..PLAIN }
            }
            Seen::Send(id, msg) => self.send(id, msg),
            Seen::Arm(timer, tick) => {
                let current = self.actors.get(&actor).and_then(|actor| actor.current);
                let of = match tick {
                    Tick::Timeout(_) | Tick::Retry(_) | Tick::Frame(_) => current.map_or(Of::Traffic, Of::Request),
                    Tick::Arrival | Tick::Processor => Of::Traffic,
                    _ => Of::Control,
                };
                self.timers.insert((actor, timer), of);
                return Known { of, ..PLAIN };
            }
            Seen::Disarm(timer) => {
                let of = self.timers.remove(&(actor, timer)).unwrap_or(Of::Control);
                return Known { of, ..PLAIN };
            }
            Seen::Note(word, subject, value) => self.note(actor, word, subject, value),
            Seen::Fate(id, fate) => return self.fate(id, fate),
        };
        if let Some(owner) = known.owner() {
            self.actors.entry(actor).or_default().current = Some(owner);
        }
        known
    }

    /// The actor takes in something.
    fn step(&mut self, actor: ActorId, input: Option<Ask>) {
        self.actors.insert(actor, Actor { input, ..Actor::default() });
    }

    /// A life that ended took along all that it had under way.
    fn start(&mut self, actor: ActorId) -> Known {
        let of_actor = (actor, 0)..=(actor, u64::MAX);
        let calls: Vec<u64> = self.calls.range(of_actor.clone()).map(|(of, _)| of.1).collect();
        calls.into_iter().for_each(|key| self.end_calls(actor, key));
        let tasks: Vec<u64> = self.tasks.range(of_actor).map(|(of, _)| of.1).collect();
        tasks.into_iter().for_each(|task| _ = self.end_task(actor, task));
        self.timers.retain(|(of, _), _| *of != actor);
        self.step(actor, None);
        PLAIN
    }

    fn deliver(&mut self, actor: ActorId, id: MessageId, content: Option<&Msg>) -> Known {
        let message = match (self.messages.get(&id), content) {
            (Some((message, _)), _) => *message,
            // It was sent where nobody saw it.
            (None, Some(Msg::Request(request))) => Message::Request(self.ask(id.from, request)),
            (None, Some(content)) => Message::Other(class_of(content), service_of(content)),
            (None, None) => Message::Other(Of::Control, None),
        };
        let mut known = message.known();
        let input = match message {
            Message::Request(ask) => Some(ask),
            Message::Reply(ask) => {
                known.is_late = self.is_late(actor, &ask);
                None
            }
            Message::Other(..) => None,
        };
        self.gone(id);
        self.step(actor, input);
        known
    }

    /// A reply comes; true if nobody waits for it any more, and it is no copy.
    fn is_late(&mut self, actor: ActorId, ask: &Ask) -> bool {
        let of = (actor, ask.key, ask.number);
        let calls = self.calls.get(&(actor, ask.key)).map_or(&[][..], Vec::as_slice);
        let Some(call) = calls.iter().find(|call| call.number == Some(mark::short(ask.number))) else {
            return !self.answered.remove(&of);
        };
        let is_on_time = call.is_sent && call.owner.attempt == ask.owner.attempt;
        if is_on_time && call.is_doubled && self.answered.len() < ANSWERED_MAX {
            self.answered.insert(of);
        }
        !is_on_time
    }

    /// A request as its receiver knows it.
    fn ask(&self, caller: ActorId, request: &Request) -> Ask {
        let known = self.calls.get(&(caller, request.id.key)).and_then(|calls| calls.first());
        let hop = known.map_or(0, |call| call.owner.hop);
        let owner = Owner { root: request.id.root, hop, attempt: request.attempt };
        Ask { owner, key: request.id.key, number: request.call, callee: (request.service, request.endpoint) }
    }

    fn send(&mut self, id: MessageId, msg: &Msg) -> Known {
        let message = match msg {
            Msg::Request(request) => {
                let mut ask = self.ask(id.from, request);
                if let Some(call) = self.call(id.from, request.id.key, mark::short(request.call)) {
                    call.is_sent = true;
                    call.owner.attempt = request.attempt;
                    call.callee = Some(ask.callee);
                    ask.owner = call.owner;
                }
                Message::Request(ask)
            }
            Msg::Reply(_) => match self.actors.get_mut(&id.from).and_then(|actor| actor.answers.take()) {
                Some(ask) => Message::Reply(ask),
                None => Message::Other(Of::Traffic, None),
            },
            other => Message::Other(class_of(other), service_of(other)),
        };
        if let Some(owner) = message.owner() {
            self.opened(owner.root);
        }
        if let Some((former, _)) = self.messages.insert(id, (message, 1))
            && let Some(owner) = former.owner()
        {
            self.closed(owner.root);
        }
        message.known()
    }

    fn fate(&mut self, id: MessageId, fate: Fate) -> Known {
        let Some((message, copies)) = self.messages.get_mut(&id) else { return PLAIN };
        let message = *message;
        match fate {
            Fate::Duplicate(..) => {
                *copies = copies.saturating_add(1);
                if let Message::Request(ask) = message
                    && let Some(call) = self.call(id.from, ask.key, mark::short(ask.number))
                {
                    call.is_doubled = true;
                }
            }
            Fate::Lost(_) => self.gone(id),
            Fate::Deliver(_) | Fate::Hold(_) => {}
        }
        message.known()
    }

    /// A copy has arrived, or is lost.
    fn gone(&mut self, id: MessageId) {
        let Some((message, copies)) = self.messages.get_mut(&id) else { return };
        *copies -= 1;
        if *copies == 0 {
            let owner = message.owner();
            self.messages.remove(&id);
            owner.into_iter().for_each(|owner| self.closed(owner.root));
        }
    }

    /// The call with this key to which its caller gave this number.
    fn call(&mut self, caller: ActorId, key: u64, number: u64) -> Option<&mut Call> {
        let calls = self.calls.get_mut(&(caller, key))?;
        let find = |calls: &[Call], wanted| calls.iter().position(|call| call.number == wanted);
        let at = find(calls, Some(number)).or_else(|| find(calls, None))?;
        let call = &mut calls[at];
        call.number = Some(number);
        Some(call)
    }

    fn note(&mut self, actor: ActorId, word: &str, subject: u64, value: u64) -> Known {
        match word {
            mark::DUE => {
                let key = RequestId::new(RequestId::caller(subject), RequestId::number(subject)).key;
                let owner = self.begin_call(actor, subject, key);
                self.roots.entry(subject).or_default().due = Time::from_nanos(value);
                of(Some(owner), Of::Traffic)
            }
            mark::TRY_ENDED => self.try_ended(actor, subject, value),
            mark::QUEUED => self.task(actor, subject),
            mark::SLOT => {
                let known = self.task(actor, subject);
                if let Some(task) = self.tasks.get_mut(&(actor, subject)) {
                    task.frames.push(value);
                    self.frames.insert((actor, value), subject);
                }
                known
            }
            mark::WORK | mark::SLEEP => self.frame(actor, subject),
            mark::FORK => {
                let known = self.frame(actor, subject);
                if let Some(task) = self.frames.get(&(actor, subject)).copied() {
                    self.frames.insert((actor, value), task);
                    self.tasks.entry((actor, task)).and_modify(|task| task.frames.push(value));
                }
                known
            }
            mark::CALL => self.called(actor, subject, value),
            mark::FRAME_ENDED => {
                let known = self.frame(actor, subject);
                if let Some(task) = self.frames.remove(&(actor, subject)) {
                    self.tasks.entry((actor, task)).and_modify(|task| task.frames.retain(|frame| *frame != subject));
                }
                known
            }
            mark::ANSWERED => self.answer(actor, subject, false),
            mark::CUT => self.answer(actor, subject, true),
            mark::TURNED_AWAY => {
                let Some(actor) = self.actors.get_mut(&actor) else { return TRAFFIC };
                actor.answers = actor.input.filter(|ask| ask.key == subject);
                actor.answers.map_or(TRAFFIC, |ask| ask.known())
            }
            mark::LATE => {
                let input = self.actors.get(&actor).and_then(|actor| actor.input);
                match input.filter(|ask| ask.key == subject) {
                    Some(ask) => ask.known(),
                    None => self.end_task(actor, subject).map_or(TRAFFIC, |task| task.of.known()),
                }
            }
            "decide" | "apply" | "refuse" => {
                Known { service: Some(ServiceId(subject.try_into().unwrap_or(u16::MAX))), ..PLAIN }
            }
            _ => PLAIN,
        }
    }

    fn begin_call(&mut self, caller: ActorId, root: u64, key: u64) -> Owner {
        self.opened(root);
        let hops = &mut self.roots.entry(root).or_default().calls;
        let owner = Owner { root, hop: *hops, attempt: 0 };
        *hops = hops.saturating_add(1);
        let call = Call { owner, number: None, is_sent: false, is_doubled: false, callee: None };
        self.calls.entry((caller, key)).or_default().push(call);
        owner
    }

    fn called(&mut self, actor: ActorId, frame: u64, key: u64) -> Known {
        let Some(task) = self.frames.get(&(actor, frame)).copied() else { return TRAFFIC };
        let Some(known) = self.tasks.get_mut(&(actor, task)) else { return TRAFFIC };
        let root = known.of.owner.root;
        // Calls that have ended are of no interest.
        let open = &self.calls;
        if known.calls.len() >= 16 && known.calls.len().is_power_of_two() {
            known.calls.retain(|key| open.contains_key(&(actor, *key)));
        }
        known.calls.push(key);
        let callee = known.of.callee;
        let owner = self.begin_call(actor, root, key);
        Known { service: Some(callee.0), endpoint: Some(callee.1), ..of(Some(owner), Of::Traffic) }
    }

    fn try_ended(&mut self, actor: ActorId, key: u64, value: u64) -> Known {
        let Some(ended) = TryEnded::from_value(value) else { return TRAFFIC };
        let Some(call) = self.call(actor, key, ended.call) else { return TRAFFIC };
        let mut known = of(Some(Owner { attempt: ended.attempt, ..call.owner }), Of::Traffic);
        (known.service, known.endpoint) = call.callee.unzip();
        call.is_sent = false;
        let (owner, number) = (call.owner, call.number);
        if ended.again {
            call.owner.attempt = ended.attempt.saturating_add(1);
            return known;
        }
        if owner.hop == 0 && key == RequestId::new(RequestId::caller(owner.root), RequestId::number(owner.root)).key {
            let due = self.roots.get(&owner.root).map_or(Time::ZERO, |root| root.due);
            known.ended = Some(Ended { due, failure: ended.failure });
        }
        if let Some(calls) = self.calls.get_mut(&(actor, key)) {
            let at = calls.iter().position(|call| call.number == number);
            at.into_iter().for_each(|at| _ = calls.remove(at));
            if calls.is_empty() {
                self.calls.remove(&(actor, key));
            }
            self.closed(owner.root);
        }
        known
    }

    /// A task, which begins with what its node took in last if it is not known.
    fn task(&mut self, actor: ActorId, task: u64) -> Known {
        if let Some(task) = self.tasks.get(&(actor, task)) {
            return task.of.known();
        }
        let Some(ask) = self.actors.get(&actor).and_then(|actor| actor.input) else { return TRAFFIC };
        self.opened(ask.owner.root);
        self.tasks.insert((actor, task), Task { of: ask, frames: Vec::new(), calls: Vec::new() });
        ask.known()
    }

    fn frame(&self, actor: ActorId, frame: u64) -> Known {
        let task = self.frames.get(&(actor, frame)).and_then(|task| self.tasks.get(&(actor, *task)));
        task.map_or(TRAFFIC, |task| task.of.known())
    }

    /// A task ends, and its answer is sent next. One that is cut takes its calls along.
    fn answer(&mut self, actor: ActorId, task: u64, is_cut: bool) -> Known {
        let Some(task) = self.end_task(actor, task) else { return TRAFFIC };
        if is_cut {
            task.calls.iter().for_each(|key| self.end_calls(actor, *key));
        }
        self.actors.entry(actor).or_default().answers = Some(task.of);
        task.of.known()
    }

    fn end_task(&mut self, actor: ActorId, task: u64) -> Option<Task> {
        let task = self.tasks.remove(&(actor, task))?;
        task.frames.iter().for_each(|frame| _ = self.frames.remove(&(actor, *frame)));
        self.closed(task.of.owner.root);
        Some(task)
    }

    fn end_calls(&mut self, actor: ActorId, key: u64) {
        let calls = self.calls.remove(&(actor, key)).unwrap_or_default();
        calls.iter().for_each(|call| self.closed(call.owner.root));
    }

    fn opened(&mut self, root: u64) {
        let open = &mut self.roots.entry(root).or_default().open;
        *open = open.saturating_add(1);
    }

    fn closed(&mut self, root: u64) {
        let Some(of) = self.roots.get_mut(&root) else { return };
        of.open = of.open.saturating_sub(1);
        if of.open == 0 {
            self.roots.remove(&root);
        }
    }
}

/// What a message that is neither a request nor a reply is part of.
fn class_of(message: &Msg) -> Of {
    match message {
        Msg::Reply(_) | Msg::Request(_) | Msg::ExternalRequest(_) | Msg::ExternalReply(_) => Of::Traffic,
        _ => Of::Control,
    }
}
