//! Reconstruction of requests from the records of a trace.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::{ActorId, Fate, MessageId, Time};
use meshsim_mesh::RequestId;
use meshsim_mesh::mark::{self, Passed, TryEnded};
use meshsim_mesh::message::{Msg, Request, Tick};
use meshsim_mesh::model::ServiceId;
use meshsim_trace::{Entry, Record};

use super::{Call, End, Frame, Hop, Queue, Step, Try, Waterfall};

/// Calls and hops kept of one request. What comes beyond is left out, and its time is that of the call above.
const PARTS_MAX: usize = 100_000;

/// Calls that lie so deep are left out: what reads a request goes down as deep.
const DEPTH_MAX: u16 = 500;

/// Instances with more slots are not searched for the holders of the slots.
pub const SLOTS_LOOKED_AT: u64 = 256;

/// Follows the requests of a trace.
///
/// Memory grows with the number of requests in flight.
#[derive(Debug, Default)]
pub struct Follower {
    live: BTreeMap<u64, Live>,
    /// Calls by key: several where the network has doubled a request.
    calls: BTreeMap<u64, Vec<Known>>,
    /// Hops by the node's name for the task.
    tasks: BTreeMap<(ActorId, u64), (u64, usize)>,
    /// Frames by the node's name for it.
    frames: BTreeMap<(ActorId, u64), (u64, usize, usize)>,
    /// The frames of blocks that are not waited for and have not begun, by the node's name for their task.
    blocks: BTreeMap<(ActorId, u64), (u64, usize, usize)>,
    /// Attempts that wait for an instance, by caller, its number for the call, and attempt.
    activated: BTreeMap<(ActorId, u64, u64), Time>,
    /// Attempts that a circuit breaker holds back, by caller, its number for the call, and attempt.
    held: BTreeMap<(ActorId, u64, u64), Time>,
    /// Attempts that wait for a connection, by caller, its number for the call, and attempt.
    pooled: BTreeMap<(ActorId, u64, u64), Time>,
    /// Attempts at the proxies of their callers, by caller, its number for the call, and attempt.
    passing: BTreeMap<(ActorId, u64, u64), Time>,
    /// Messages in flight.
    messages: BTreeMap<MessageId, Message>,
    /// The last input of each actor.
    actors: BTreeMap<ActorId, Actor>,
    /// Holders of the slots of an instance.
    holders: BTreeMap<(ActorId, ServiceId, u32), BTreeSet<(u64, usize)>>,
    /// Other requests are missing in the trace: what holds a slot is not known.
    is_of_some: bool,
}

/// A call of a request in flight.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The caller's number for it, [shortened](mark::short); `None` until its caller notes it, in the step in which it
    /// begins.
    number: Option<u64>,
    root: u64,
    call: usize,
}

/// A request in flight.
#[derive(Debug)]
struct Live {
    waterfall: Waterfall,
    tasks: Vec<(ActorId, u64)>,
    frames: Vec<(ActorId, u64)>,
    blocks: Vec<(ActorId, u64)>,
    messages: Vec<MessageId>,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    /// A request: its key, its root and call, the attempt, and the instance.
    Request { key: u64, root: u64, call: usize, attempt: u8, service: ServiceId, ordinal: u32 },
    /// The reply of a hop.
    Answer(u64, usize),
}

#[derive(Debug, Default)]
struct Actor {
    input: Option<Message>,
    /// The hop whose reply is about to be sent.
    answers: Option<(u64, usize)>,
}

impl Follower {
    /// Follows a trace in which only some requests are kept.
    pub fn of_some() -> Self {
        Follower { is_of_some: true, ..Follower::default() }
    }

    /// Processes the next record. Returns the request that ends with it, if one does.
    pub fn take(&mut self, record: &Record<Msg, Tick>) -> Option<Waterfall> {
        let actor = record.actor;
        match &record.entry {
            Entry::Start { .. } | Entry::Fire(_) | Entry::Durable(_) => {
                self.actors.entry(actor).or_default().input = None;
            }
            Entry::Deliver(id) => {
                let input = self.messages.get(id).copied();
                self.actors.entry(actor).or_default().input = input;
                self.came(input, record.at);
            }
            Entry::Send { seq, msg, .. } => self.sent(record, MessageId { from: actor, seq: *seq }, msg),
            Entry::Fate(id, Fate::Lost(_)) => _ = self.messages.remove(id),
            Entry::Note { what, subject, value } => return self.noted(record, what, *subject, *value),
            Entry::Arm { .. } | Entry::Disarm(_) | Entry::Fate(..) | Entry::Power(_) | Entry::Persist(_) => {}
        }
        None
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> usize {
        self.live.len()
    }

    fn sent(&mut self, record: &Record<Msg, Tick>, id: MessageId, msg: &Msg) {
        let (root, message) = match msg {
            Msg::Request(request) => {
                let Some((root, call)) = self.call(request.id.key, mark::short(request.call)) else { return };
                self.tried(root, call, request, record);
                let Request { service, ordinal, attempt, .. } = *request;
                (root, Message::Request { key: request.id.key, root, call, attempt, service, ordinal })
            }
            Msg::Reply(_) => {
                let answers = self.actors.get_mut(&record.actor).and_then(|actor| actor.answers.take());
                let Some((root, hop)) = answers else { return };
                (root, Message::Answer(root, hop))
            }
            _ => return,
        };
        if let Some(live) = self.live.get_mut(&root) {
            live.messages.push(id);
            self.messages.insert(id, message);
        }
    }

    /// A request has come to the node of its instance.
    fn came(&mut self, input: Option<Message>, at: Time) {
        let Some(Message::Request { root, call, attempt, .. }) = input else { return };
        let call = self.live.get_mut(&root).and_then(|live| live.waterfall.calls.get_mut(call));
        let tries = call.into_iter().flat_map(|call| call.tries.iter_mut().rev());
        if let Some(it) = tries.into_iter().find(|it| it.attempt == attempt) {
            it.came.get_or_insert(at);
        }
    }

    /// A request has passed the proxies of its node, which now takes it in.
    fn passed(&mut self, key: u64, passed: Passed, node: ActorId) {
        let Some((root, call)) = self.call(key, passed.call) else { return };
        let of = self.live.get(&root).and_then(|live| live.waterfall.calls.get(call));
        let instance = of.and_then(|of| {
            let it = of.tries.iter().rev().find(|it| it.attempt == passed.attempt)?;
            Some((of.callee?.0, it.to?.1))
        });
        if let Some((service, ordinal)) = instance {
            let input = Message::Request { key, root, call, attempt: passed.attempt, service, ordinal };
            self.actors.entry(node).or_default().input = Some(input);
        }
    }

    /// The call with this key to which its caller gave this number.
    fn call(&mut self, key: u64, number: u64) -> Option<(u64, usize)> {
        let known = self.calls.get_mut(&key)?;
        let of = |wanted| known.iter().position(|known| known.number == wanted);
        let at = of(Some(number)).or_else(|| of(None))?;
        let of = &mut known[at];
        of.number = Some(number);
        Some((of.root, of.call))
    }

    fn tried(&mut self, root: u64, call: usize, request: &Request, record: &Record<Msg, Tick>) {
        let attempt = (record.actor, mark::short(request.call), u64::from(request.attempt));
        let activated = self.activated.remove(&attempt);
        let (held, pooled) = (self.held.remove(&attempt), self.pooled.remove(&attempt));
        let passing = self.passing.remove(&attempt);
        let Some(live) = self.live.get_mut(&root) else { return };
        let call = &mut live.waterfall.calls[call];
        call.callee = Some((request.service, request.endpoint));
        let Entry::Send { to, .. } = &record.entry else { return };
        if call.tries.len() < PARTS_MAX {
            call.tries.push(Try {
                attempt: request.attempt,
                activated,
                held,
                pooled,
                passing,
                sent: record.at,
                came: None,
                to: Some((*to, request.ordinal)),
                ended: None,
                failure: None,
                answer: None,
                hops: Vec::new(),
            });
        }
    }

    fn noted(&mut self, record: &Record<Msg, Tick>, what: &str, subject: u64, value: u64) -> Option<Waterfall> {
        let (at, actor) = (record.at, record.actor);
        match what {
            mark::DUE => self.due(subject, at, Time::from_nanos(value)),
            mark::TRY_ENDED => return self.try_ended(subject, TryEnded::from_value(value)?, at, actor),
            mark::HELD => _ = self.held.insert((actor, subject, value), at),
            mark::ACTIVATING => _ = self.activated.insert((actor, subject, value), at),
            mark::POOLED => _ = self.pooled.insert((actor, subject, value), at),
            mark::PASSING => _ = self.passing.insert((actor, subject, value), at),
            mark::PASSED => self.passed(subject, Passed::from_value(value), actor),
            mark::QUEUED => {
                let queue = self.queue(actor, value);
                if let Some((root, hop)) = self.hop(subject, at, actor)
                    && let Some(live) = self.live.get_mut(&root)
                {
                    live.waterfall.hops[hop].queue = Some(queue);
                }
            }
            mark::SLOT => self.slot(subject, value, at, actor),
            mark::WORK => self.step(subject, actor, at, Step::Work(meshsim_actor::Span::from_nanos(value))),
            mark::SLEEP => self.step(subject, actor, at, Step::Sleep),
            mark::CALL => self.called(subject, value, at, actor),
            mark::FORK => self.forked(subject, value, at, actor),
            mark::DETACHED => self.detached(subject, value, at, actor),
            mark::FRAME_ENDED => {
                if let Some(frame) = self.frame(subject, actor) {
                    frame.ended = Some(at);
                }
            }
            mark::ANSWERED => self.ended(subject, at, actor, End::Answered),
            mark::CUT => self.ended(subject, at, actor, End::Cut),
            mark::TURNED_AWAY => self.never_begun(subject, at, actor, End::TurnedAway),
            mark::LATE if self.tasks.contains_key(&(actor, subject)) && !self.is_of_input(actor, subject) => {
                self.ended(subject, at, actor, End::Late);
            }
            mark::LATE => self.never_begun(subject, at, actor, End::Late),
            _ => {}
        }
        None
    }

    fn due(&mut self, root: u64, at: Time, due: Time) {
        let id = RequestId::new(RequestId::caller(root), RequestId::number(root));
        let first = Call { key: id.key, by: None, depth: 0, callee: None, began: at, ended: None, tries: Vec::new() };
        let waterfall = Waterfall {
            root,
            // A trace of processes may hold anything.
            due: due.min(at),
            ended: at,
            failure: None,
            calls: vec![first],
            hops: Vec::new(),
            left_out: 0,
        };
        let live = Live { waterfall, tasks: Vec::new(), frames: Vec::new(), blocks: Vec::new(), messages: Vec::new() };
        if let Some(former) = self.live.insert(root, live) {
            self.forget(&former);
        }
        self.calls.insert(id.key, vec![Known { number: None, root, call: 0 }]);
    }

    fn try_ended(&mut self, key: u64, ended: TryEnded, at: Time, actor: ActorId) -> Option<Waterfall> {
        let (root, index) = self.call(key, ended.call)?;
        let attempt = (actor, ended.call, u64::from(ended.attempt));
        let activated = self.activated.remove(&attempt);
        let (held, pooled) = (self.held.remove(&attempt), self.pooled.remove(&attempt));
        let passing = self.passing.remove(&attempt);
        let live = self.live.get_mut(&root)?;
        let Waterfall { calls, hops, .. } = &mut live.waterfall;
        let call = calls.get_mut(index)?;
        let is_open = |it: &Try| it.ended.is_none() && it.attempt == ended.attempt;
        if !call.tries.iter().any(is_open) {
            // Not sent: there was no instance, or its retry was withdrawn.
            let (attempt, hops) = (ended.attempt, Vec::new());
            call.tries.push(Try {
                attempt,
                activated,
                held,
                pooled,
                passing,
                sent: at,
                came: None,
                to: None,
                ended: None,
                failure: None,
                answer: None,
                hops,
            });
        }
        let input = self.actors.get(&actor).and_then(|actor| actor.input);
        let answer = match input {
            Some(Message::Answer(of, hop)) if of == root && hops.get(hop).is_some_and(|hop| hop.call == index) => {
                Some(hop)
            }
            _ => None,
        };
        // Several may be in flight.
        let last = call.tries.iter_mut().rev().find(|it| is_open(it))?;
        (last.ended, last.failure) = (Some(at), ended.failure);
        last.answer = answer.filter(|answer| last.hops.contains(answer));
        if ended.again {
            return None;
        }
        call.ended = Some(at);
        if index > 0 {
            return None;
        }
        let live = self.live.remove(&root)?;
        self.forget(&live);
        Some(Waterfall { ended: at, failure: ended.failure, ..live.waterfall })
    }

    /// A request is followed no longer.
    fn forget(&mut self, live: &Live) {
        for call in &live.waterfall.calls {
            self.calls.remove(&call.key);
        }
        for task in &live.tasks {
            self.free(*task);
            self.tasks.remove(task);
        }
        live.frames.iter().for_each(|frame| _ = self.frames.remove(frame));
        live.blocks.iter().for_each(|block| _ = self.blocks.remove(block));
        live.messages.iter().for_each(|message| _ = self.messages.remove(message));
        for (hop, of) in live.waterfall.hops.iter().enumerate() {
            self.free_slot(live.waterfall.root, hop, of.node, &live.waterfall);
        }
    }

    fn free(&mut self, task: (ActorId, u64)) {
        let Some(&(root, hop)) = self.tasks.get(&task) else { return };
        let Some(live) = self.live.remove(&root) else { return };
        self.free_slot(root, hop, task.0, &live.waterfall);
        self.live.insert(root, live);
    }

    fn free_slot(&mut self, root: u64, hop: usize, node: ActorId, waterfall: &Waterfall) {
        let Some(instance) = instance_of(waterfall, hop) else { return };
        if let Some(holders) = self.holders.get_mut(&(node, instance.0, instance.1)) {
            holders.remove(&(root, hop));
            if holders.is_empty() {
                self.holders.remove(&(node, instance.0, instance.1));
            }
        }
    }

    /// The hop of a task; an unknown one begins with the last input of the node.
    fn hop(&mut self, task: u64, at: Time, actor: ActorId) -> Option<(u64, usize)> {
        if let Some(known) = self.tasks.get(&(actor, task)) {
            return Some(*known);
        }
        let (root, hop) = self.arrived(at, actor)?;
        self.tasks.insert((actor, task), (root, hop));
        self.live.get_mut(&root)?.tasks.push((actor, task));
        Some((root, hop))
    }

    /// A request that a node has just taken in begins a hop.
    fn arrived(&mut self, at: Time, actor: ActorId) -> Option<(u64, usize)> {
        let Some(Message::Request { root, call, attempt, .. }) = self.actors.get(&actor)?.input else { return None };
        let Waterfall { calls, hops, left_out, .. } = &mut self.live.get_mut(&root)?.waterfall;
        if hops.len() >= PARTS_MAX {
            *left_out += 1;
            return None;
        }
        let number = hops.len();
        let of = calls.get_mut(call)?.tries.iter_mut().rev().find(|it| it.attempt == attempt && it.to.is_some())?;
        of.hops.push(number);
        hops.push(Hop {
            call,
            node: actor,
            arrived: at,
            queue: None,
            slot: None,
            ended: None,
            end: None,
            frames: Vec::new(),
        });
        Some((root, number))
    }

    fn is_of_input(&self, actor: ActorId, key: u64) -> bool {
        let input = self.actors.get(&actor).and_then(|actor| actor.input);
        matches!(input, Some(Message::Request { key: of, .. }) if of == key)
    }

    fn never_begun(&mut self, key: u64, at: Time, actor: ActorId, end: End) {
        if !self.is_of_input(actor, key) {
            return;
        }
        let Some((root, hop)) = self.arrived(at, actor) else { return };
        if let Some(live) = self.live.get_mut(&root) {
            let hop = &mut live.waterfall.hops[hop];
            (hop.ended, hop.end) = (Some(at), Some(end));
        }
        if end == End::TurnedAway {
            self.actors.entry(actor).or_default().answers = Some((root, hop));
        }
    }

    fn slot(&mut self, task: u64, frame: u64, at: Time, actor: ActorId) {
        if let Some(block) = self.blocks.remove(&(actor, task)) {
            if let Some(live) = self.live.get_mut(&block.0) {
                live.frames.push((actor, frame));
                self.frames.insert((actor, frame), block);
            }
            return;
        }
        let Some((root, hop)) = self.hop(task, at, actor) else { return };
        let Some(live) = self.live.get_mut(&root) else { return };
        let of = &mut live.waterfall.hops[hop];
        if of.slot.is_some() {
            return;
        }
        of.slot = Some(at);
        of.frames.push(Frame { depth: 0, began: at, ended: None, steps: Vec::new() });
        live.frames.push((actor, frame));
        let instance = instance_of(&live.waterfall, hop);
        self.frames.insert((actor, frame), (root, hop, 0));
        if let Some((service, ordinal)) = instance {
            self.holders.entry((actor, service, ordinal)).or_default().insert((root, hop));
        }
    }

    fn frame(&mut self, frame: u64, actor: ActorId) -> Option<&mut Frame> {
        let &(root, hop, frame) = self.frames.get(&(actor, frame))?;
        self.live.get_mut(&root)?.waterfall.hops.get_mut(hop)?.frames.get_mut(frame)
    }

    fn step(&mut self, frame: u64, actor: ActorId, at: Time, step: Step) {
        if let Some(frame) = self.frame(frame, actor) {
            frame.steps.push((at, step));
        }
    }

    fn called(&mut self, frame: u64, key: u64, at: Time, actor: ActorId) {
        let Some(&(root, hop, _)) = self.frames.get(&(actor, frame)) else { return };
        let Some(live) = self.live.get_mut(&root) else { return };
        let Waterfall { calls, hops, left_out, .. } = &mut live.waterfall;
        let Some(depth) = hops.get(hop).and_then(|hop| calls.get(hop.call)).map(|call| call.depth + 1) else { return };
        if calls.len() >= PARTS_MAX || depth > DEPTH_MAX {
            *left_out += 1;
            return;
        }
        let call = calls.len();
        calls.push(Call { key, by: Some(hop), depth, callee: None, began: at, ended: None, tries: Vec::new() });
        self.calls.entry(key).or_default().push(Known { number: None, root, call });
        self.step(frame, actor, at, Step::Call(call));
    }

    fn forked(&mut self, frame: u64, branch: u64, at: Time, actor: ActorId) {
        let Some(&(root, hop, parent)) = self.frames.get(&(actor, frame)) else { return };
        let Some(live) = self.live.get_mut(&root) else { return };
        let Some(of) = live.waterfall.hops.get_mut(hop) else { return };
        let number = of.frames.len();
        let depth = of.frames[parent].depth + 1;
        if number >= PARTS_MAX || depth > DEPTH_MAX {
            live.waterfall.left_out += 1;
            return;
        }
        of.frames.push(Frame { depth, began: at, ended: None, steps: Vec::new() });
        // The branches of one fork are begun together, before any of them runs.
        let runs_none = |frames: &[Frame], branches: &[usize]| {
            branches.iter().all(|at| frames[*at].ended.is_none() && frames[*at].steps.is_empty())
        };
        let frames = &of.frames;
        let is_same = match frames[parent].steps.last() {
            Some((began, Step::Fork(branches))) => *began == at && runs_none(frames, branches),
            _ => false,
        };
        let steps = &mut of.frames[parent].steps;
        match steps.last_mut() {
            Some((_, Step::Fork(branches))) if is_same => branches.push(number),
            _ => steps.push((at, Step::Fork(vec![number]))),
        }
        live.frames.push((actor, branch));
        self.frames.insert((actor, branch), (root, hop, number));
    }

    fn detached(&mut self, frame: u64, block: u64, at: Time, actor: ActorId) {
        let Some(&(root, hop, parent)) = self.frames.get(&(actor, frame)) else { return };
        let Some(live) = self.live.get_mut(&root) else { return };
        let frames = &mut live.waterfall.hops[hop].frames;
        let (number, depth) = (frames.len(), frames[parent].depth + 1);
        if number >= PARTS_MAX || depth > DEPTH_MAX {
            live.waterfall.left_out += 1;
            return;
        }
        frames.push(Frame { depth, began: at, ended: None, steps: Vec::new() });
        frames[parent].steps.push((at, Step::Detach(number)));
        live.blocks.push((actor, block));
        self.blocks.insert((actor, block), (root, hop, number));
    }

    fn ended(&mut self, task: u64, at: Time, actor: ActorId, end: End) {
        let Some(&(root, hop)) = self.tasks.get(&(actor, task)) else { return };
        self.free((actor, task));
        self.tasks.remove(&(actor, task));
        let Some(live) = self.live.get_mut(&root) else { return };
        let of = &mut live.waterfall.hops[hop];
        (of.ended, of.end) = (Some(at), Some(end));
        if end != End::Late {
            self.actors.entry(actor).or_default().answers = Some((root, hop));
        }
    }

    /// Holders of the slots of the instance that the last received request of a node is for.
    fn queue(&self, actor: ActorId, slots: u64) -> Queue {
        let mut queue = Queue { slots, is_of_some: self.is_of_some, ..Queue::default() };
        let Some(Message::Request { service, ordinal, .. }) = self.actors.get(&actor).and_then(|actor| actor.input)
        else {
            return queue;
        };
        let holders =
            self.holders.get(&(actor, service, ordinal)).filter(|_| slots <= SLOTS_LOOKED_AT && !self.is_of_some);
        for (root, hop) in holders.into_iter().flatten() {
            let Some(Waterfall { calls, hops, .. }) = self.live.get(root).map(|live| &live.waterfall) else { continue };
            let running = hops[*hop].frames.iter().rev().filter(|frame| frame.ended.is_none());
            match running.filter_map(|frame| frame.steps.last()).map(|(_, step)| step).next() {
                Some(Step::Work(_)) => queue.working += 1,
                Some(Step::Sleep) => queue.sleeping += 1,
                Some(Step::Call(call)) => {
                    let Some((callee, _)) = calls[*call].callee else { continue };
                    match queue.calls.iter_mut().find(|(service, _)| *service == callee) {
                        Some((_, count)) => *count += 1,
                        None => queue.calls.push((callee, 1)),
                    }
                }
                Some(Step::Fork(_) | Step::Detach(_)) | None => {}
            }
        }
        queue.calls.sort_by_key(|(service, count)| (std::cmp::Reverse(*count), *service));
        queue
    }
}

/// The instance that does a hop: its service, and its number on the node.
fn instance_of(waterfall: &Waterfall, hop: usize) -> Option<(ServiceId, u32)> {
    let call = waterfall.calls.get(waterfall.hops.get(hop)?.call)?;
    let (_, ordinal) = call.tries.iter().find(|it| it.hops.contains(&hop))?.to?;
    Some((call.callee?.0, ordinal))
}
