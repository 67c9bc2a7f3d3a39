//! The rules by which the owner of a record is found.

use meshsim_actor::{ActorId, Fate, MessageId, Time};
use meshsim_mesh::RequestId;
use meshsim_mesh::mark::{self, Passed, TryEnded};
use meshsim_mesh::message::{Msg, Request, Tick};
use meshsim_mesh::model::ServiceId;

use super::open::{Actor, Ask, Call, Life, Message, Open, Task};
use super::stored::Stored;
use super::{Ended, Known, Of, Owner, PLAIN, Seen};

/// Doubled requests that were answered and are remembered, so that their second answer is known to be a copy.
const ANSWERED_MAX: usize = 4096;

/// Follows the records of a run. Memory grows with the number of requests and messages in flight.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    open: Open,
}

/// Equal if the same is open.
impl PartialEq for Owners {
    fn eq(&self, other: &Self) -> bool {
        Stored::from(&self.open) == Stored::from(&other.open)
    }
}

const TRAFFIC: Known = Known { of: Of::Traffic, ..PLAIN };

impl Owners {
    /// Goes on where another one [stopped](Self::to_bytes); `None` if these are no such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = meshsim_wire::decode(bytes).ok()?;
        Some(Owners { open: stored.into() })
    }

    /// Appends all that is known, or nothing if that is too much.
    pub fn to_bytes(&self, out: &mut Vec<u8>) {
        let len = out.len();
        if meshsim_wire::encode_into(&Stored::from(&self.open), out).is_err() {
            out.truncate(len);
        }
    }

    /// Facts about a message in flight.
    pub fn message(&self, id: MessageId) -> Option<Known> {
        self.open.message(id).map(Message::known)
    }

    /// Takes in the next record.
    pub fn take(&mut self, actor: ActorId, seen: Seen<'_>) -> Known {
        let known = match seen {
            Seen::Start(_) => self.start(actor),
            Seen::MachineAction | Seen::Persist | Seen::Durable => PLAIN,
            Seen::Deliver(id, msg) => return self.deliver(actor, id, msg),
            Seen::Fire(timer) => {
                let of = self.open.life(actor).timers.remove(timer).unwrap_or(Of::Control);
                self.step(actor, None);
                Known { of, ..PLAIN }
            }
            Seen::Send(id, msg) => self.send(id, msg),
            Seen::Arm(timer, tick) => {
                let life = self.open.life(actor);
                let current = life.actor.as_ref().and_then(|actor| actor.current);
                let of = match tick {
                    Tick::Timeout(_)
                    | Tick::Retry(_)
                    | Tick::Call(..)
                    | Tick::Frame(_)
                    | Tick::Hanging(_)
                    | Tick::Visible(_)
                    | Tick::Send { .. } => current.map_or(Of::Traffic, Of::Request),
                    Tick::Arrival | Tick::Processor | Tick::Worked(_) | Tick::Passed(_) => Of::Traffic,
                    _ => Of::Control,
                };
                life.timers.insert(timer, of);
                return Known { of, ..PLAIN };
            }
            Seen::Disarm(timer) => {
                let of = self.open.life(actor).timers.remove(timer).unwrap_or(Of::Control);
                return Known { of, ..PLAIN };
            }
            Seen::Note(word, subject, value) => self.note(actor, word, subject, value),
            Seen::Fate(id, fate) => return self.fate(id, fate),
        };
        if let Some(owner) = known.owner() {
            self.open.actor(actor).current = Some(owner);
        }
        known
    }

    /// The actor takes in something.
    fn step(&mut self, actor: ActorId, input: Option<Ask>) {
        self.open.life(actor).actor = Some(Actor { input, ..Actor::default() });
    }

    /// An incarnation that ended loses all that it had in flight.
    fn start(&mut self, actor: ActorId) -> Known {
        let life = self.open.life(actor);
        life.timers.clear();
        let calls = life.calls.sorted();
        let tasks: Vec<u64> = life.tasks.iter().map(|(task, _)| task).collect();
        calls.into_iter().for_each(|(key, _)| self.end_calls(actor, key));
        tasks.into_iter().for_each(|task| _ = self.end_task(actor, task));
        self.step(actor, None);
        PLAIN
    }

    fn deliver(&mut self, actor: ActorId, id: MessageId, content: Option<&Msg>) -> Known {
        let message = match (self.open.message(id), content) {
            (Some(message), _) => *message,
            // Its sending is not in the trace.
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
        self.open.gone(id);
        self.step(actor, input);
        known
    }

    /// A reply arrives; true if no caller waits for it any more, and it is not a duplicate.
    fn is_late(&mut self, actor: ActorId, ask: &Ask) -> bool {
        let of = (actor, ask.key, ask.number);
        let Open { lives, answered } = &mut self.open;
        let calls = lives.get(actor).map(|life| &life.calls);
        let Some(call) = calls.and_then(|calls| calls.numbered(ask.key, mark::short(ask.number))) else {
            return !answered.remove(&of);
        };
        let is_on_time = call.is_sent && call.owner.attempt == ask.owner.attempt;
        if is_on_time && call.is_doubled && answered.len() < ANSWERED_MAX {
            answered.insert(of);
        }
        !is_on_time
    }

    /// A request as its receiver knows it.
    fn ask(&self, caller: ActorId, request: &Request) -> Ask {
        let known = self.open.lives.get(caller).and_then(|life| life.calls.first(request.id.key));
        let hop = known.map_or(0, |call| call.owner.hop);
        let owner = Owner { root: request.id.root, hop, attempt: request.attempt };
        Ask { owner, key: request.id.key, number: request.call, callee: (request.service, request.endpoint) }
    }

    fn send(&mut self, id: MessageId, msg: &Msg) -> Known {
        let message = match msg {
            Msg::Request(request) => {
                let mut ask = self.ask(id.from, request);
                if let Some(call) = self.open.life(id.from).calls.name(request.id.key, mark::short(request.call)) {
                    call.is_sent = true;
                    call.owner.attempt = request.attempt;
                    call.callee = Some(ask.callee);
                    ask.owner = call.owner;
                }
                Message::Request(ask)
            }
            Msg::Reply(_) => match self.open.life(id.from).actor.as_mut().and_then(|actor| actor.answers.take()) {
                Some(ask) => Message::Reply(ask),
                None => Message::Other(Of::Traffic, None),
            },
            other => Message::Other(class_of(other), service_of(other)),
        };
        message.root().into_iter().for_each(|root| self.open.opened(root));
        let former = self.open.life(id.from).messages.insert(id.seq, (message, 1));
        if let Some(root) = former.and_then(|(former, _)| former.root()) {
            self.open.closed(root);
        }
        message.known()
    }

    fn fate(&mut self, id: MessageId, fate: Fate) -> Known {
        let Some(life) = self.open.lives.get_mut(id.from) else { return PLAIN };
        let Some((message, copies)) = life.messages.get_mut(id.seq) else { return PLAIN };
        let message = *message;
        match fate {
            Fate::Duplicate(..) => {
                *copies = copies.saturating_add(1);
                if let Message::Request(ask) = message
                    && let Some(call) = life.calls.name(ask.key, mark::short(ask.number))
                {
                    call.is_doubled = true;
                }
            }
            Fate::Lost(_) => self.open.gone(id),
            Fate::Deliver(_) | Fate::Hold(_) => {}
        }
        message.known()
    }

    fn note(&mut self, actor: ActorId, word: &str, subject: u64, value: u64) -> Known {
        match word {
            mark::DUE => {
                let key = RequestId::new(RequestId::caller(subject), RequestId::number(subject)).key;
                let owner = self.begin_call(actor, subject, key);
                self.open.root(subject).due = Time::from_nanos(value);
                of(Some(owner), Of::Traffic)
            }
            mark::TRY_ENDED => self.try_ended(actor, subject, value),
            mark::HELD | mark::POOLED | mark::ACTIVATING | mark::PASSING => self.waits(actor),
            mark::PASSED => self.passed(actor, subject, Passed::from_value(value)),
            mark::QUEUED => self.task(actor, subject),
            mark::SLOT => {
                let known = self.task(actor, subject);
                let life = self.open.life(actor);
                if let Some(task) = life.tasks.get_mut(subject) {
                    task.frames.push(value);
                    life.frames.insert(value, subject);
                }
                known
            }
            mark::WORK | mark::SLEEP => self.frame(actor, subject),
            mark::FORK => {
                let known = self.frame(actor, subject);
                let life = self.open.life(actor);
                if let Some(task) = life.frames.get(subject).copied() {
                    life.frames.insert(value, task);
                    life.tasks.get_mut(task).into_iter().for_each(|task| task.frames.push(value));
                }
                known
            }
            mark::DETACHED => self.detached(actor, subject, value),
            mark::BLOCK_ENDED => self.end_task(actor, subject).map_or(TRAFFIC, |task| task.of.known()),
            mark::CALL => self.called(actor, subject, value),
            mark::FRAME_ENDED => {
                let known = self.frame(actor, subject);
                let life = self.open.life(actor);
                if let Some(task) = life.frames.remove(subject) {
                    let task = life.tasks.get_mut(task).into_iter();
                    task.for_each(|task| task.frames.retain(|frame| *frame != subject));
                }
                known
            }
            mark::ANSWERED => self.answer(actor, subject, false),
            mark::CUT => self.answer(actor, subject, true),
            mark::TURNED_AWAY => {
                let Some(actor) = self.open.life(actor).actor.as_mut() else { return TRAFFIC };
                actor.answers = actor.input.filter(|ask| ask.key == subject);
                actor.answers.map_or(TRAFFIC, |ask| ask.known())
            }
            mark::LATE => {
                let input = self.open.life(actor).actor.as_ref().and_then(|actor| actor.input);
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
        let of = self.open.root(root);
        of.open = of.open.saturating_add(1);
        let owner = Owner { root, hop: of.calls, attempt: 0 };
        of.calls = of.calls.saturating_add(1);
        let call = Call { owner, number: None, is_sent: false, is_doubled: false, callee: None };
        self.open.life(caller).calls.push(key, call);
        owner
    }

    fn called(&mut self, actor: ActorId, frame: u64, key: u64) -> Known {
        let Life { frames, tasks, calls, .. } = self.open.life(actor);
        let Some(known) = frames.get(frame).and_then(|task| tasks.get_mut(*task)) else { return TRAFFIC };
        let root = known.of.owner.root;
        // Calls that have ended are of no interest.
        if known.calls.len() >= 16 && known.calls.len().is_power_of_two() {
            known.calls.retain(|key| calls.contains(*key));
        }
        known.calls.push(key);
        let callee = known.of.callee;
        let owner = self.begin_call(actor, root, key);
        Known { service: Some(callee.0), endpoint: Some(callee.1), ..of(Some(owner), Of::Traffic) }
    }

    fn try_ended(&mut self, actor: ActorId, key: u64, value: u64) -> Known {
        let Some(ended) = TryEnded::from_value(value) else { return TRAFFIC };
        let calls = &mut self.open.life(actor).calls;
        let Some(call) = calls.name(key, ended.call) else { return TRAFFIC };
        let mut known = of(Some(Owner { attempt: ended.attempt, ..call.owner }), Of::Traffic);
        (known.service, known.endpoint) = call.callee.unzip();
        call.is_sent = false;
        let owner = call.owner;
        if ended.again {
            call.owner.attempt = ended.attempt.saturating_add(1);
            return known;
        }
        calls.remove(key, ended.call);
        if owner.hop == 0 && key == RequestId::new(RequestId::caller(owner.root), RequestId::number(owner.root)).key {
            known.ended = Some(Ended { due: self.open.root(owner.root).due, failure: ended.failure });
        }
        self.open.closed(owner.root);
        known
    }

    /// A task, which begins with what its node took in last if it is not known.
    fn task(&mut self, actor: ActorId, task: u64) -> Known {
        let life = self.open.life(actor);
        if let Some(task) = life.tasks.get(task) {
            return task.of.known();
        }
        let Some(ask) = life.actor.as_ref().and_then(|actor| actor.input) else { return TRAFFIC };
        self.open.opened(ask.owner.root);
        self.open.life(actor).tasks.insert(task, Task { of: ask, frames: Vec::new(), calls: Vec::new() });
        ask.known()
    }

    /// An attempt waits at its caller: it is of what the actor does now.
    fn waits(&mut self, actor: ActorId) -> Known {
        of(self.open.actor(actor).current, Of::Traffic)
    }

    /// A request has passed the proxies of its node, which now takes it in.
    fn passed(&mut self, node: ActorId, key: u64, passed: Passed) -> Known {
        let caller = ActorId(passed.caller.into());
        let call = self.open.lives.get(caller).and_then(|life| life.calls.numbered(key, passed.call)).copied();
        // The caller has given it up, or is another with the same low bits.
        let Some(Call { owner, callee: Some(callee), .. }) = call else { return TRAFFIC };
        let ask = Ask { owner: Owner { attempt: passed.attempt, ..owner }, key, number: passed.call, callee };
        self.open.actor(node).input = Some(ask);
        ask.known()
    }

    /// A block of a script is a task of the same request.
    fn detached(&mut self, actor: ActorId, frame: u64, block: u64) -> Known {
        let life = self.open.life(actor);
        let Some(of) = life.frames.get(frame).and_then(|task| life.tasks.get(*task)).map(|task| task.of) else {
            return TRAFFIC;
        };
        life.tasks.insert(block, Task { of, frames: Vec::new(), calls: Vec::new() });
        self.open.opened(of.owner.root);
        of.known()
    }

    fn frame(&self, actor: ActorId, frame: u64) -> Known {
        let life = self.open.lives.get(actor);
        let task = life.and_then(|life| life.tasks.get(*life.frames.get(frame)?));
        task.map_or(TRAFFIC, |task| task.of.known())
    }

    /// A task ends, and its answer is sent next. One that is cut takes its calls along.
    fn answer(&mut self, actor: ActorId, task: u64, is_cut: bool) -> Known {
        let Some(task) = self.end_task(actor, task) else { return TRAFFIC };
        if is_cut {
            task.calls.iter().for_each(|key| self.end_calls(actor, *key));
        }
        self.open.actor(actor).answers = Some(task.of);
        task.of.known()
    }

    fn end_task(&mut self, actor: ActorId, task: u64) -> Option<Task> {
        let life = self.open.life(actor);
        let task = life.tasks.remove(task)?;
        task.frames.iter().for_each(|frame| _ = life.frames.remove(*frame));
        self.open.closed(task.of.owner.root);
        Some(task)
    }

    fn end_calls(&mut self, actor: ActorId, key: u64) {
        let calls = self.open.life(actor).calls.remove_all(key);
        calls.iter().for_each(|call| self.open.closed(call.owner.root));
    }
}

/// The class of a message that is neither a request nor a reply.
fn class_of(message: &Msg) -> Of {
    match message {
        Msg::Reply(_) | Msg::Request(_) | Msg::ExternalRequest(_) | Msg::ExternalReply(_) => Of::Traffic,
        _ => Of::Control,
    }
}

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
            if let [only] = report.services.as_slice() {
                Some(only.service)
            } else {
                None
            }
        }
        _ => None,
    }
}
