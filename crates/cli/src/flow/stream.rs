//! The records of a trace, each with the facts that follow from its position.

use std::collections::VecDeque;
use std::ops::Range;

use meshsim_actor::{ActorId, Fate, MessageId, Span};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::ServiceId;
use meshsim_report::owner::{self, Owner, Owners, Seen};
use meshsim_trace::export::RequestOf;
use meshsim_trace::{Chunk, Context, Derived, Deriver, Entry, Index, ReadError, Reader, Record, Sent};

use super::place::Place;
use super::words::{About, Names};

/// The records of a trace in their order, or those of some of its chunks.
pub(crate) struct Flow {
    reader: Reader<Place, Msg, Tick>,
    known: Known,
    /// Parts of the trace that are still to come; `None`: it is read to its end.
    parts: Option<VecDeque<Part>>,
    /// Of the part at hand.
    wanted: Range<u64>,
    next: u64,
}

/// A part of a trace.
struct Part {
    /// Position at which reading begins: the context before the wanted records lists what is open there.
    begin: Chunk,
    /// The first chunk, in case that one does not say enough.
    first: Chunk,
    /// The numbers of the records that are wanted.
    wanted: Range<u64>,
}

/// State after the records so far.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) deriver: Deriver<Tick, About>,
    owners: Owners,
}

/// One record.
pub(crate) struct Item {
    pub(crate) record: Record<Msg, Tick>,
    pub(crate) derived: Derived<Tick, About>,
    /// A request that arrives after its deadline, or a reply to an attempt that has been given up.
    pub(crate) is_late: bool,
    /// The request that it belongs to, and the place in it.
    pub(crate) owner: Option<Owner>,
    /// The service that it is about.
    pub(crate) service: Option<ServiceId>,
    /// A request has ended with it for its client.
    pub(crate) ended: Option<owner::Ended>,
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

    /// The same as JSON Lines has it.
    pub(crate) fn request(&self, names: &Names) -> Option<RequestOf> {
        let Owner { root, hop, attempt } = self.owner?;
        Some(RequestOf { root: names.request(root), hop, r#try: u32::from(attempt) + 1 })
    }

    /// True if it says that a message is lost.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.record.entry, Entry::Fate(_, Fate::Lost(_)))
    }
}

impl Flow {
    /// All records.
    pub(crate) fn new(reader: Reader<Place, Msg, Tick>) -> Self {
        Flow { reader, known: Known::default(), parts: None, wanted: 0..u64::MAX, next: 0 }
    }

    /// The records of the chunks that may hold what is wanted.
    pub(crate) fn of_chunks(
        reader: Reader<Place, Msg, Tick>,
        index: &Index,
        mut may_hold: impl FnMut(&Chunk) -> bool,
    ) -> Self {
        let mut parts: VecDeque<Part> = VecDeque::new();
        // The last chunk of a trace tells whether it was cut off.
        let is_last = |at: usize| !index.is_complete && at + 1 == index.chunks.len();
        let mut until = 0;
        for (at, chunk) in index.chunks.iter().enumerate() {
            if !may_hold(chunk) && !is_last(at) {
                continue;
            }
            let end = if is_last(at) { u64::MAX } else { chunk.first + u64::from(chunk.records) };
            let begin = index.start_before(at);
            match parts.back_mut() {
                Some(part) if begin <= until => part.wanted.end = end,
                _ => {
                    let (begin, first) = (index.chunks[begin].clone(), index.chunks[0].clone());
                    parts.push_back(Part { begin, first, wanted: chunk.first..end });
                }
            }
            until = at + 1;
        }
        Flow { reader, known: Known::default(), parts: Some(parts), wanted: 0..0, next: 0 }
    }

    /// Goes to the next part; false if there is none.
    fn go_on(&mut self) -> Result<bool, ReadError> {
        let Some(part) = self.parts.as_mut().and_then(VecDeque::pop_front) else { return Ok(false) };
        self.next = part.begin.first;
        self.reader.seek(&part.begin)?;
        let resumed = self.reader.context()?.and_then(|context| Known::resumed(&context));
        self.known = match resumed {
            Some(known) => known,
            None if part.begin.first == 0 => Known::default(),
            None => {
                self.next = part.first.first;
                self.reader.seek(&part.first)?;
                Known::default()
            }
        };
        self.wanted = part.wanted;
        Ok(true)
    }

    /// Goes to the first wanted record, and gives back the messages that are under way before it, in the order in which
    /// they were sent.
    pub(crate) fn under_way(&mut self) -> Result<Vec<(MessageId, Sent<About>)>, ReadError> {
        if self.next >= self.wanted.end && !self.go_on()? {
            return Ok(Vec::new());
        }
        while self.next < self.wanted.start {
            let Some(record) = self.reader.next().transpose()? else { break };
            self.next = record.seq.saturating_add(1);
            self.known.take(record);
        }
        let mut sent: Vec<_> = self.known.deriver.in_flight().map(|(id, sent)| (id, *sent)).collect();
        sent.sort_unstable_by_key(|(_, sent)| sent.seq);
        Ok(sent)
    }

    fn read(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            if self.next >= self.wanted.end && !self.go_on()? {
                return Ok(None);
            }
            let Some(record) = self.reader.next().transpose()? else { return Ok(None) };
            self.next = record.seq.saturating_add(1);
            let item = self.known.take(record);
            if item.record.seq >= self.wanted.start {
                return Ok(Some(item));
            }
        }
    }
}

impl Iterator for Flow {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            // Nothing comes after an error.
            (self.parts, self.wanted) = (None, 0..0);
        }
        read.transpose()
    }
}

impl Known {
    /// Goes on from what was open at the beginning of a chunk; `None` if that says too little.
    fn resumed(context: &Context<Msg, Tick>) -> Option<Self> {
        let owners = Owners::from_bytes(context.extra.as_deref()?)?;
        let deriver = Deriver::resumed(context, |id, _, msg| about(msg, owners.message(id)));
        Some(Known { deriver, owners })
    }

    /// Processes the next record.
    pub(crate) fn take(&mut self, record: Record<Msg, Tick>) -> Item {
        let of = self.owners.take(record.actor, Seen::from(&record));
        let derived = self.deriver.derive(&record, |message| about(message, Some(of)));
        let is_delivery = matches!(record.entry, Entry::Deliver(_));
        let is_late = match &derived.message {
            Some((_, Some(sent))) if is_delivery => of.is_late || record.at > sent.about.deadline,
            _ => false,
        };
        Item { record, derived, is_late, owner: of.owner(), service: of.service, ended: of.ended }
    }
}

/// Subject of a message. A reply has no service of its own; its request has.
fn about(message: &Msg, known: Option<owner::Known>) -> About {
    let mut about = About::of(message);
    if let (Msg::Reply(_), Some(known)) = (message, known) {
        (about.service, about.endpoint) = (known.service, known.endpoint);
        about.root = known.owner().map(|owner| owner.root);
    }
    about
}
