//! Invariants of a run, checked from outside on its trace: what an actor did is taken from the messages that it took in
//! and sent, and not from its own word for it.
//!
//! [`Verifier`] reads the records one by one. Each rule is a file here, with its state:
//!
//! - `arrivals`: every message arrives once for each of its copies, after it was sent, or is lost;
//! - `decisions`: the coordinator's steps are numbered without gaps, and each has one content for all nodes;
//! - `progress`: a node acknowledges the steps that reached it, in order, and never fewer than before;
//! - `epochs`: a step of an older term is never applied after one of a newer term, and the coordinator's terms rise;
//! - `instances`: a node reports no more instances than its steps give it;
//! - `slots`: an instance serves no more requests at once than it has slots, and no more wait than its queue holds;
//! - `views`: callers are told of instances that a node has reported, each once;
//! - `callers`: a caller keeps the newest view that has reached it;
//! - `replies`: a reply answers a request that arrived, once for each time that it did;
//! - `durable`: what reveals durable state leaves when the disk has it;
//! - `healed`: when no fault has held for long enough, all is as it was decided.
//!
//! To add a rule: a file with a type that implements `Check`, and a line in [`Verifier::new`].

mod arrivals;
mod callers;
mod decisions;
mod durable;
mod epochs;
mod given;
mod healed;
mod instances;
mod progress;
mod replies;
mod slots;
mod targets;
mod text;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{ActorId, EntryRef, Fate, MachineAction, MessageId, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::ServiceId;
use meshsim_trace::{Entry, Record};
use schemars::JsonSchema;
use serde::Serialize;

/// Breaches of a rule that are kept; later ones are counted.
const BREACHES_MAX: usize = 10;

/// The result of one rule.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct Verified {
    /// The rule, in a sentence.
    pub rule: &'static str,
    /// Number of times that it was checked.
    pub checked: u64,
    /// Number of times that it was broken.
    pub broken: u64,
    /// The first breaches.
    pub breaches: Vec<Breach>,
}

/// A place at which a rule is broken.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct Breach {
    /// Number of the record, from 0.
    pub record: u64,
    /// Its time.
    pub at_s: f64,
    /// Name of its actor.
    pub actor: String,
    /// The way in which it breaks the rule.
    pub reason: String,
}

impl Verified {
    /// A rule that has not been checked yet.
    pub fn new(rule: &'static str) -> Self {
        Verified { rule, checked: 0, broken: 0, breaches: Vec::new() }
    }

    /// Counts a breach. The first ten are kept.
    pub fn breach(&mut self, breach: Breach) {
        self.broken += 1;
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(breach);
        }
    }
}

/// Checks all rules on the records of a trace.
pub struct Verifier {
    sent: BTreeMap<MessageId, Sent>,
    checks: Vec<(Box<dyn Check>, Verified)>,
    mesh: Arc<Mesh>,
    is_live: bool,
    /// Number of the next record, for those that have none of their own.
    next: u64,
}

/// The place of a record in a run.
#[derive(Clone, Copy)]
struct At {
    record: u64,
    time: Time,
    actor: ActorId,
}

impl At {
    fn breach(self, mesh: &Mesh, reason: String) -> Breach {
        Breach { record: self.record, at_s: self.time.secs(), actor: mesh.actor_name(self.actor).to_owned(), reason }
    }
}

/// What rules look at of a record.
enum Seen<'a> {
    Send(ActorId, u64, &'a Msg),
    Fate(MessageId, Fate),
    Deliver(MessageId),
    Start,
    Wipe,
    Restored,
    Persist(u64),
    Durable(u64),
    Note(&'a str, u64, u64),
}

/// A message that has been sent, while copies of it are on their way.
struct Sent {
    to: ActorId,
    content: Content,
    copies: u32,
}

/// The part of a message that rules look at.
#[derive(Clone)]
enum Content {
    /// A message of the control plane.
    Control(Arc<Msg>),
    /// A request: the caller's name for the call, the attempt, the caller's incarnation.
    Request(u64, u8, u16, Instance),
    /// A reply.
    Reply,
}

/// An instance on a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Instance {
    service: ServiceId,
    ordinal: u32,
}

impl From<&Msg> for Content {
    fn from(msg: &Msg) -> Self {
        match msg {
            Msg::Request(it) => {
                let instance = Instance { service: it.service, ordinal: it.ordinal };
                Content::Request(it.call, it.attempt, it.incarnation, instance)
            }
            Msg::Reply(_) => Content::Reply,
            other => Content::Control(Arc::new(other.clone())),
        }
    }
}

/// An event of a run, with what the record alone does not have.
enum Event<'a> {
    /// An actor sent a message.
    Sent(ActorId, &'a Msg),
    /// An actor took in a message, from this sender.
    Arrived(ActorId, &'a Content),
    /// A message arrived from this sender, whose process was killed: its content is not known.
    Unknown(ActorId),
    /// A message arrived of which no copy was on its way.
    Stray(MessageId),
    /// An actor began, for the first time or anew.
    Began,
    /// The disk of an actor's machine was wiped.
    Wiped,
    /// An actor begins with durable state that an earlier process left in a journal. What led to it may be missing: the
    /// trace of a process that is killed is lost.
    Restored,
    /// A sync of an actor's durable state began, up to this position.
    Persists(u64),
    /// An actor's durable state is on its disk up to this position.
    Durable(u64),
    /// An actor wrote a note: a word, a subject and a value.
    Noted(&'a str, u64, u64),
}

/// The end of a run whose faults have ended.
#[derive(Clone, Copy)]
struct Ending {
    /// End of the last fault.
    healed: Time,
    /// End of the run.
    end: Time,
}

/// State of each node, which is lost when its disk is wiped.
#[derive(Default)]
struct OfNodes<S>(BTreeMap<ActorId, S>);

impl<S: Default> OfNodes<S> {
    /// The state of the node that an event is of; `None` if it is of no node, or clears the state.
    fn of(&mut self, actor: ActorId, event: &Event<'_>, mesh: &Mesh) -> Option<&mut S> {
        mesh.node_index(actor)?;
        if let Event::Wiped = event {
            self.0.remove(&actor);
            return None;
        }
        Some(self.0.entry(actor).or_default())
    }
}

/// A rule.
trait Check {
    /// The rule, in a sentence.
    fn rule(&self) -> &'static str;
    /// Takes in an event of an actor. `None`: the rule says nothing about it; an error says how it is broken.
    fn take(&mut self, at: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>>;
    /// The run has ended in order: how the rule is broken then, by which actors. `None`: the rule says nothing about
    /// it.
    fn end(&mut self, _: Ending, _: &Mesh) -> Option<Vec<(ActorId, String)>> {
        None
    }
}

impl Verifier {
    /// A verifier of a run of this mesh, from its first record. In a trace of a live run, sends of a process that was
    /// killed are missing, and clocks differ a little: messages are only known if [`Verifier::foresee`] has read them.
    pub fn new(mesh: Arc<Mesh>, is_live: bool) -> Self {
        let checks: Vec<Box<dyn Check>> = vec![
            Box::new(arrivals::Arrivals),
            Box::<decisions::Decisions>::default(),
            Box::<progress::Progress>::default(),
            Box::<epochs::Epochs>::default(),
            Box::<instances::Instances>::default(),
            Box::<slots::Slots>::default(),
            Box::<views::Views>::default(),
            Box::<callers::Callers>::default(),
            Box::<replies::Replies>::default(),
            Box::<durable::Durable>::default(),
            Box::<healed::Healed>::default(),
        ];
        let checks = checks.into_iter().map(|check| {
            let verified = Verified::new(check.rule());
            (check, verified)
        });
        Verifier { sent: BTreeMap::new(), checks: checks.collect(), mesh, is_live, next: 0 }
    }

    /// Reads the sends of a live run ahead: its records are ordered by clocks that differ a little, so that a message
    /// may seem to arrive before it was sent.
    pub fn foresee(&mut self, record: &Record<Msg, Tick>) {
        match &record.entry {
            Entry::Send { to, seq, msg } => self.send(MessageId { from: record.actor, seq: *seq }, *to, msg),
            Entry::Fate(id, fate) => self.meet(*id, *fate),
            _ => {}
        }
    }

    fn send(&mut self, id: MessageId, to: ActorId, msg: &Msg) {
        self.sent.insert(id, Sent { to, content: msg.into(), copies: 1 });
    }

    fn meet(&mut self, id: MessageId, fate: Fate) {
        let Some(sent) = self.sent.get_mut(&id) else { return };
        match fate {
            Fate::Duplicate(..) => sent.copies += 1,
            Fate::Lost(_) => sent.copies = sent.copies.saturating_sub(1),
            Fate::Deliver(_) | Fate::Hold(_) => {}
        }
        if sent.copies == 0 && !self.is_live {
            self.sent.remove(&id);
        }
    }

    /// Takes in the next record of a trace.
    pub fn take(&mut self, record: &Record<Msg, Tick>) {
        let seen = match &record.entry {
            Entry::Send { to, seq, msg } => Seen::Send(*to, *seq, msg),
            Entry::Fate(id, fate) => Seen::Fate(*id, *fate),
            Entry::Deliver(id) => Seen::Deliver(*id),
            Entry::Start { .. } => Seen::Start,
            Entry::Power(MachineAction::Wipe) => Seen::Wipe,
            Entry::Power(MachineAction::Restored) => Seen::Restored,
            Entry::Persist(position) => Seen::Persist(*position),
            Entry::Durable(position) => Seen::Durable(*position),
            Entry::Note { what, subject, value } => Seen::Note(what, *subject, *value),
            _ => return,
        };
        self.see(At { record: record.seq, time: record.at, actor: record.actor }, seen);
    }

    /// Takes in what happens next in a run, without a trace.
    pub fn record(&mut self, time: Time, actor: ActorId, entry: &EntryRef<'_, Msg, Tick>) {
        let at = At { record: self.next, time, actor };
        self.next += 1;
        let seen = match entry {
            EntryRef::Send(envelope) => Seen::Send(envelope.to, envelope.seq, &envelope.msg),
            EntryRef::Fate(id, fate) => Seen::Fate(*id, *fate),
            EntryRef::Deliver(envelope) => Seen::Deliver(envelope.id()),
            EntryRef::Start { .. } => Seen::Start,
            EntryRef::Power(MachineAction::Wipe) => Seen::Wipe,
            EntryRef::Persist(position) => Seen::Persist(*position),
            EntryRef::Durable(position) => Seen::Durable(*position),
            EntryRef::Note(note) => Seen::Note(note.what, note.subject, note.value),
            _ => return,
        };
        self.see(at, seen);
    }

    /// The run has reached its end, `end`, and its last fault ended at `healed`. In a live run the faults made by hand
    /// are not known, and nothing follows.
    pub fn ends(&mut self, healed: Time, end: Time) {
        if self.is_live {
            return;
        }
        let record = self.next.saturating_sub(1);
        for (check, verified) in &mut self.checks {
            let Some(reasons) = check.end(Ending { healed, end }, &self.mesh) else { continue };
            verified.checked += 1;
            for (actor, reason) in reasons {
                verified.breach(At { record, time: end, actor }.breach(&self.mesh, reason));
            }
        }
    }

    fn see(&mut self, at: At, seen: Seen<'_>) {
        self.next = at.record + 1;
        match seen {
            Seen::Send(to, seq, msg) => {
                if !self.is_live {
                    self.send(MessageId { from: at.actor, seq }, to, msg);
                }
                self.check(at, &Event::Sent(to, msg));
            }
            Seen::Fate(id, fate) if !self.is_live => self.meet(id, fate),
            Seen::Fate(..) => {}
            Seen::Deliver(id) => self.arrive(at, id),
            Seen::Start => self.check(at, &Event::Began),
            Seen::Wipe => self.check(at, &Event::Wiped),
            Seen::Restored => self.check(at, &Event::Restored),
            Seen::Persist(position) => self.check(at, &Event::Persists(position)),
            Seen::Durable(position) => self.check(at, &Event::Durable(position)),
            Seen::Note(what, subject, value) => self.check(at, &Event::Noted(what, subject, value)),
        }
    }

    fn arrive(&mut self, at: At, id: MessageId) {
        match self.sent.get_mut(&id) {
            Some(sent) if sent.to == at.actor && sent.copies > 0 => {
                sent.copies -= 1;
                let content = sent.content.clone();
                if sent.copies == 0 {
                    self.sent.remove(&id);
                }
                self.check(at, &Event::Arrived(id.from, &content));
            }
            // It is no actor.
            None if id.from.index() >= self.mesh.actor_count() => {}
            None if self.is_live => self.check(at, &Event::Unknown(id.from)),
            _ => self.check(at, &Event::Stray(id)),
        }
    }

    fn check(&mut self, at: At, event: &Event<'_>) {
        for (check, verified) in &mut self.checks {
            let Some(result) = check.take(at, event, &self.mesh) else { continue };
            verified.checked += 1;
            if let Err(reason) = result {
                verified.breach(at.breach(&self.mesh, reason));
            }
        }
    }

    /// The results, rule by rule.
    pub fn finish(self) -> Vec<Verified> {
        self.checks.into_iter().map(|(_, verified)| verified).collect()
    }
}

pub use text::text;
