//! The records of a trace, each with the facts that follow from its position.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;

use meshsim_actor::{ActorId, Fate, Span};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::{EndpointId, ServiceId};
use meshsim_trace::{Derived, Deriver, Entry, ReadError, Reader, Record, Sent};

use super::words::About;

/// Calls that are remembered, answered or not: a doubled request is answered twice. Of older ones the reply says no
/// service.
const CALLS_MAX: usize = 1 << 17;

/// The records of a trace in their order.
pub(crate) struct Flow {
    reader: Reader<File, Msg, Tick>,
    known: Known,
}

/// State after the records so far.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) deriver: Deriver<Tick, About>,
    calls: Calls,
}

/// One record.
pub(crate) struct Item {
    pub(crate) record: Record<Msg, Tick>,
    pub(crate) derived: Derived<Tick, About>,
    /// A request that arrives after its deadline, or a reply to an attempt that has been given up.
    pub(crate) is_late: bool,
}

impl Item {
    /// The sending of the message that it is about.
    pub(crate) fn sent(&self) -> Option<&Sent<About>> {
        self.derived.message.as_ref().and_then(|(_, sent)| sent.as_ref())
    }

    /// Sender of the message of the record.
    pub(crate) fn sender(&self) -> Option<ActorId> {
        self.derived.message.as_ref().map(|(id, _)| id.from)
    }

    /// For a delivery: the time from the send to the arrival.
    pub(crate) fn took(&self) -> Option<Span> {
        let sent = self.sent().filter(|_| matches!(self.record.entry, Entry::Deliver(_)))?;
        Some(self.record.at.since(sent.at))
    }

    /// True if it says that a message is lost.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.record.entry, Entry::Fate(_, Fate::Lost(_)))
    }
}

impl Flow {
    pub(crate) fn new(reader: Reader<File, Msg, Tick>) -> Self {
        Flow { reader, known: Known::default() }
    }
}

impl Iterator for Flow {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.reader.next()?;
        Some(record.map(|record| self.known.take(record)))
    }
}

impl Known {
    /// Processes the next record.
    pub(crate) fn take(&mut self, record: Record<Msg, Tick>) -> Item {
        let calls = &mut self.calls;
        let derived = self.deriver.derive(&record, |message| {
            let mut about = About::of(message);
            match (message, &record.entry) {
                (Msg::Request(_), _) => calls.begin(record.actor, &about),
                (Msg::Reply(_), Entry::Send { to, .. }) => {
                    if let Some(call) = calls.get(*to, &about) {
                        (about.service, about.endpoint) = (Some(call.service), Some(call.endpoint));
                        about.root = Some(call.root);
                    }
                }
                _ => {}
            }
            about
        });
        let mut is_late = false;
        match (&record.entry, &derived) {
            (Entry::Deliver(_), Derived { message: Some((_, Some(sent))), .. }) => {
                is_late = record.at > sent.about.deadline;
                if sent.kind == "reply" {
                    is_late = calls.answer(record.actor, &sent.about);
                }
            }
            (Entry::Fire(_), Derived { tick: Some(Tick::Timeout(key)), incarnation, .. }) => {
                calls.give_up(record.actor, key.number(), *incarnation as u16);
            }
            _ => {}
        }
        Item { record, derived, is_late }
    }
}

/// The latest calls, by caller, number and life of the caller.
#[derive(Default)]
struct Calls {
    latest: BTreeMap<(ActorId, u64, u16), Call>,
    /// In the order in which they began.
    began: VecDeque<(ActorId, u64, u16)>,
}

struct Call {
    service: ServiceId,
    endpoint: EndpointId,
    root: u64,
    /// The latest attempt.
    attempt: u32,
    /// True if that attempt has been given up.
    is_given_up: bool,
    is_answered: bool,
}

impl Calls {
    fn begin(&mut self, caller: ActorId, about: &About) {
        let (Some((call, life)), Some(service), Some(endpoint), Some(attempt), Some(root)) =
            (about.call, about.service, about.endpoint, about.attempt, about.root)
        else {
            return;
        };
        let key = (caller, call, life);
        if self
            .latest
            .insert(key, Call { service, endpoint, root, attempt, is_given_up: false, is_answered: false })
            .is_none()
        {
            self.began.push_back(key);
            if self.began.len() > CALLS_MAX
                && let Some(oldest) = self.began.pop_front()
            {
                self.latest.remove(&oldest);
            }
        }
    }

    fn get(&self, caller: ActorId, about: &About) -> Option<&Call> {
        let (call, life) = about.call?;
        self.latest.get(&(caller, call, life))
    }

    /// A reply arrives; true if it is late.
    fn answer(&mut self, caller: ActorId, about: &About) -> bool {
        let Some((number, life)) = about.call else { return false };
        let Some(call) = self.latest.get_mut(&(caller, number, life)) else { return false };
        let is_late = call.is_given_up || about.attempt.is_some_and(|attempt| attempt < call.attempt);
        // A second reply is a copy, and not a late one.
        let was_answered = call.is_answered;
        call.is_answered |= !is_late;
        is_late && !was_answered
    }

    fn give_up(&mut self, caller: ActorId, call: u64, life: u16) {
        if let Some(call) = self.latest.get_mut(&(caller, call, life)) {
            call.is_given_up = true;
        }
    }
}
