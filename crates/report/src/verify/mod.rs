//! Invariants of a run, checked from outside on its trace: what an actor did is taken from the messages that it took in
//! and sent, and not from its own word for it.
//!
//! [`Verifier`] reads the records one by one. Each rule is a file here, with its state:
//!
//! - `arrivals`: every message arrives once for each of its copies, after it was sent, or is lost;
//! - `decisions`: the coordinator's steps are numbered without gaps, and each has one content for all nodes;
//! - `progress`: a node acknowledges the steps that reached it, in order, and never fewer than before;
//! - `instances`: a node reports no more instances than its steps give it;
//! - `views`: callers are told of instances that a node has reported, each once;
//! - `replies`: a reply answers a request that arrived, once for each time that it did.
//!
//! To add a rule: a file with a type that implements `Check`, and a line in [`Verifier::new`].

mod arrivals;
mod decisions;
mod instances;
mod progress;
mod replies;
mod text;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{ActorId, Fate, MachineAction, MessageId};
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::{Entry, Record};
use schemars::JsonSchema;
use serde::Serialize;

/// Breaches of a rule that are kept; later ones are counted.
const BREACHES_MAX: usize = 10;

/// The result of one rule.
#[derive(Clone, Debug, JsonSchema, Serialize)]
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
#[derive(Clone, Debug, JsonSchema, Serialize)]
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

/// Checks all rules on the records of a trace.
pub struct Verifier {
    sent: BTreeMap<MessageId, Sent>,
    checks: Vec<(Box<dyn Check>, Verified)>,
    mesh: Arc<Mesh>,
    is_live: bool,
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
    Request(u64, u8, u16),
    /// A reply.
    Reply,
}

impl From<&Msg> for Content {
    fn from(msg: &Msg) -> Self {
        match msg {
            Msg::Request(it) => Content::Request(it.call, it.attempt, it.incarnation),
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
    fn take(&mut self, actor: ActorId, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>>;
}

impl Verifier {
    /// A verifier of a run of this mesh, from its first record. In a trace of a live run, sends of a process that was
    /// killed are missing, and clocks differ a little: messages are only known if [`Verifier::foresee`] has read them.
    pub fn new(mesh: Arc<Mesh>, is_live: bool) -> Self {
        let checks: Vec<Box<dyn Check>> = vec![
            Box::new(arrivals::Arrivals),
            Box::<decisions::Decisions>::default(),
            Box::<progress::Progress>::default(),
            Box::<instances::Instances>::default(),
            Box::<views::Views>::default(),
            Box::<replies::Replies>::default(),
        ];
        let begin = |check: Box<dyn Check>| {
            let verified = Verified { rule: check.rule(), checked: 0, broken: 0, breaches: Vec::new() };
            (check, verified)
        };
        Verifier { sent: BTreeMap::new(), checks: checks.into_iter().map(begin).collect(), mesh, is_live }
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

    /// Takes in the next record.
    pub fn take(&mut self, record: &Record<Msg, Tick>) {
        match &record.entry {
            Entry::Send { to, seq, msg } => {
                if !self.is_live {
                    self.send(MessageId { from: record.actor, seq: *seq }, *to, msg);
                }
                self.check(record, &Event::Sent(*to, msg));
            }
            Entry::Fate(id, fate) if !self.is_live => self.meet(*id, *fate),
            Entry::Deliver(id) => self.arrive(record, *id),
            Entry::Start { .. } => self.check(record, &Event::Began),
            Entry::Power(action) if *action == MachineAction::Wipe => {
                self.check(record, &Event::Wiped);
            }
            _ => {}
        }
    }

    fn arrive(&mut self, record: &Record<Msg, Tick>, id: MessageId) {
        match self.sent.get_mut(&id) {
            Some(sent) if sent.to == record.actor && sent.copies > 0 => {
                sent.copies -= 1;
                let content = sent.content.clone();
                if sent.copies == 0 {
                    self.sent.remove(&id);
                }
                self.check(record, &Event::Arrived(id.from, &content));
            }
            // It is no actor.
            None if id.from.index() >= self.mesh.actor_count() => {}
            None if self.is_live => self.check(record, &Event::Unknown(id.from)),
            _ => self.check(record, &Event::Stray(id)),
        }
    }

    fn check(&mut self, record: &Record<Msg, Tick>, event: &Event<'_>) {
        for (check, verified) in &mut self.checks {
            let Some(result) = check.take(record.actor, event, &self.mesh) else { continue };
            verified.checked += 1;
            let Err(reason) = result else { continue };
            verified.broken += 1;
            if verified.breaches.len() < BREACHES_MAX {
                let actor = self.mesh.actor_name(record.actor).to_owned();
                verified.breaches.push(Breach { record: record.seq, at_s: record.at.secs(), actor, reason });
            }
        }
    }

    /// The results, rule by rule.
    pub fn finish(self) -> Vec<Verified> {
        self.checks.into_iter().map(|(_, verified)| verified).collect()
    }
}

pub use text::text;
