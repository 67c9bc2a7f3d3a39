//! The trace of a mesh while it is written: which request each record belongs to, and which records are kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};

use meshsim_actor::{ActorId, EntryRef, Fate, MessageId, Recorder, Time, Timer};
use meshsim_mesh::mark;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::owner::{Known, Of, Owners, Seen};
use meshsim_trace::{Entry, Header, ReadError, Reader, Record, WriteError, Writer};

use crate::keep::{Choice, Keep};

/// Writes the trace of a mesh.
///
/// A selection may depend on the end of a request: then its records wait until it ends, and with them all that come
/// after them, at most [`HELD_MAX`]. It may even be [known only at the end](Keep::is_known_late) of the run: then the
/// requests that were among the slowest when they ended are written, and [`choose`] reads them again. Memory grows with
/// what is in flight in the run, and with the requests that are chosen.
#[derive(Debug)]
pub struct Tracer<W: Write> {
    writer: Writer<W>,
    owners: Owners,
    /// The same, of what is kept alone: what a reader knows.
    kept: Owners,
    choice: Choice,
    phase: Phase,
    held: Held,
    /// Last input of each actor that was not kept.
    inputs: BTreeMap<ActorId, (Time, Input)>,
    left_out: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All records are written.
    All,
    /// Those of requests that may be chosen are written, when these have ended.
    Ends,
    /// Those that are chosen are written.
    Chosen,
}

/// Records that wait for the ends of requests. If there are more, the oldest request is kept, however it ends.
pub const HELD_MAX: usize = 1 << 18;

/// Records from the first one of a request on that has not ended.
#[derive(Clone, Debug, Default)]
struct Held {
    records: VecDeque<(Record<Msg, Tick>, Known)>,
    /// Requests that have not ended.
    open: BTreeSet<u64>,
}

/// Input of an actor.
#[derive(Clone, Copy, Debug)]
enum Input {
    Deliver(MessageId),
    Fire(Timer),
}

/// Why a trace could not be chosen from.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// The complete trace, which is written first, cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The kept part cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl<W: Write> Tracer<W> {
    /// Begins the trace of a run.
    pub fn new(out: W, header: &Header, keep: Keep) -> Self {
        let phase = match () {
            () if keep.is_all() => Phase::All,
            () if keep.is_known_at_ends() => Phase::Ends,
            () => Phase::Chosen,
        };
        Tracer::in_phase(out, header, Choice::new(keep, header.seed), phase)
    }

    fn in_phase(out: W, header: &Header, choice: Choice, phase: Phase) -> Self {
        let keep = if phase == Phase::All { String::new() } else { choice.keep().to_string() };
        Tracer {
            writer: Writer::new(out, &Header { keep, ..header.clone() }),
            owners: Owners::default(),
            kept: Owners::default(),
            choice,
            phase,
            held: Held::default(),
            inputs: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// A tracer that goes on as this one would, to another output: see [`Writer::fork`].
    pub fn fork<V: Write>(&self, out: V) -> Tracer<V> {
        Tracer {
            writer: self.writer.fork(out),
            owners: self.owners.clone(),
            kept: self.kept.clone(),
            choice: self.choice.clone(),
            phase: self.phase,
            held: self.held.clone(),
            inputs: self.inputs.clone(),
            left_out: self.left_out.clone(),
        }
    }

    /// Closes the current chunk, so that all records so far can be read.
    pub fn close_chunk(&mut self) {
        let owners = if self.phase == Phase::All { &self.owners } else { &self.kept };
        self.writer.close_chunk(|out| owners.to_bytes(out));
    }

    /// The writer of its records.
    pub fn writer(&self) -> &Writer<W> {
        &self.writer
    }

    /// Ends it. Gives back where it went, and what to [`choose`] from it if that is known only now.
    ///
    /// # Errors
    /// The first that occurred since the beginning.
    pub fn finish(mut self) -> Result<(W, Option<Choice>), WriteError> {
        // Requests that have not ended were neither slow nor did they fail.
        self.held.open.clear();
        self.let_go();
        let (is_late, beyond) = (self.choice.keep().is_known_late(), self.choice.beyond);
        if beyond > 0 && !is_late {
            self.left_out.insert(BEYOND.into(), beyond);
        }
        self.writer.leave_out(self.left_out);
        let out = self.writer.finish()?;
        Ok((out, (self.phase == Phase::Ends && is_late).then_some(self.choice)))
    }

    /// Takes a record that was read from another trace.
    pub fn put(&mut self, record: &Record<Msg, Tick>) {
        let known = self.owners.take(record.actor, Seen::from(record));
        match self.phase {
            Phase::Ends => self.hold(record.clone(), known),
            Phase::All | Phase::Chosen => self.put_now(record, &known),
        }
    }

    fn put_now(&mut self, record: &Record<Msg, Tick>, known: &Known) {
        if self.is_wanted(record.at, record.actor, Seen::from(record), known) {
            self.writer.put(record);
            self.close_if_full();
        }
    }

    /// Holds a record until it is known of all requests before it whether they are kept.
    fn hold(&mut self, record: Record<Msg, Tick>, known: Known) {
        self.choice.see(record.at, &known);
        if let Some(root) = known.owner().map(|owner| owner.root) {
            let is_new = matches!(&record.entry, Entry::Note { what, .. } if &**what == mark::DUE);
            if known.ended.is_some() {
                self.held.open.remove(&root);
            } else if is_new && !self.choice.is_drawn(root) {
                self.held.open.insert(root);
            }
        }
        self.held.records.push_back((record, known));
        self.let_go();
    }

    /// Writes the records of which it is known whether they are kept.
    fn let_go(&mut self) {
        while let Some((_, known)) = self.held.records.front() {
            let open = known.owner().map(|owner| owner.root).filter(|root| self.held.open.contains(root));
            if let Some(root) = open {
                if self.held.records.len() <= HELD_MAX {
                    break;
                }
                self.held.open.remove(&root);
                self.choice.keep_now(root);
            }
            if let Some((record, known)) = self.held.records.pop_front() {
                self.put_now(&record, &known);
            }
        }
    }

    /// True if a record is to be written, which is next.
    fn is_wanted(&mut self, at: Time, actor: ActorId, seen: Seen<'_>, known: &Known) -> bool {
        if self.phase != Phase::All {
            if !self.is_kept(known) {
                self.leave_out(at, actor, seen);
                return false;
            }
            match seen {
                Seen::Start(_) | Seen::Deliver(..) | Seen::Fire(_) | Seen::Durable => _ = self.inputs.remove(&actor),
                Seen::Send(..) | Seen::Arm(..) | Seen::Disarm(_) | Seen::Note(..) | Seen::Persist => {
                    self.put_input(actor);
                }
                Seen::Fate(..) | Seen::MachineAction => {}
            }
            self.kept.take(actor, seen);
        }
        let service = known.service.map(|service| u64::from(service.0));
        self.writer.tag(service, known.owner().map(|owner| owner.root));
        true
    }

    fn close_if_full(&mut self) {
        if self.writer.is_full() {
            self.close_chunk();
        }
    }

    fn is_kept(&self, known: &Known) -> bool {
        match known.of {
            Of::Control => true,
            Of::Traffic => false,
            Of::Request(owner) => self.choice.has(owner.root),
        }
    }

    fn leave_out(&mut self, at: Time, actor: ActorId, seen: Seen<'_>) {
        self.count(kind(seen), 1);
        match seen {
            Seen::Deliver(id, _) => _ = self.inputs.insert(actor, (at, Input::Deliver(id))),
            Seen::Fire(timer) => _ = self.inputs.insert(actor, (at, Input::Fire(timer))),
            Seen::Note(mark::DUE, ..) => self.count("request", 1),
            _ => {}
        }
    }

    fn count(&mut self, kind: &str, by: i64) {
        let count = self.left_out.entry(kind.to_owned()).or_default();
        *count = count.saturating_add_signed(by);
    }

    /// Keeps the cause of every kept record too, so that causes stay right.
    fn put_input(&mut self, actor: ActorId) {
        let Some((at, input)) = self.inputs.remove(&actor) else { return };
        let (seen, entry) = match input {
            Input::Deliver(id) => (Seen::Deliver(id, None), Entry::Deliver(id)),
            Input::Fire(timer) => (Seen::Fire(timer), Entry::Fire(timer)),
        };
        self.count(kind(seen), -1);
        self.kept.take(actor, seen);
        self.writer.tag(None, None);
        let record: Record<Msg, Tick> = Record { seq: 0, at, actor, entry };
        self.writer.put(&record);
        self.close_if_full();
    }
}

impl<W: Write> Recorder<Msg, Tick> for Tracer<W> {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        let seen = match &what {
            EntryRef::Start { incarnation } => Seen::Start(*incarnation),
            EntryRef::Deliver(envelope) => Seen::Deliver(envelope.id(), Some(&envelope.msg)),
            EntryRef::Fire(timer, _) => Seen::Fire(*timer),
            EntryRef::Send(envelope) => Seen::Send(envelope.id(), &envelope.msg),
            EntryRef::Arm { timer, tick, .. } => Seen::Arm(*timer, tick),
            EntryRef::Disarm(timer) => Seen::Disarm(*timer),
            EntryRef::Note(note) => Seen::Note(note.what, note.subject, note.value),
            EntryRef::Fate(id, fate) => Seen::Fate(*id, *fate),
            EntryRef::Power(_) => Seen::MachineAction,
            EntryRef::Persist(_) => Seen::Persist,
            EntryRef::Durable(_) => Seen::Durable,
        };
        let known = self.owners.take(actor, seen);
        if self.phase == Phase::Ends {
            // Numbers are given when they are written.
            self.hold(Record { seq: 0, at, actor, entry: Entry::from(what) }, known);
        } else if self.is_wanted(at, actor, seen, &known) {
            self.writer.record(at, actor, what);
            self.close_if_full();
        }
    }
}

/// Names, as of [`kind`](meshsim_trace::export::kind), of the kinds that can be left out.
fn kind(seen: Seen<'_>) -> &'static str {
    match seen {
        Seen::Start(_) => "start",
        Seen::Deliver(..) => "deliver",
        Seen::Fire(_) => "timer_fire",
        Seen::Send(..) => "send",
        Seen::Arm(..) => "timer_set",
        Seen::Disarm(_) => "timer_clear",
        Seen::Note(..) => "note",
        Seen::Fate(_, Fate::Deliver(_)) => "delay",
        Seen::Fate(_, Fate::Lost(_)) => "lost",
        Seen::Fate(_, Fate::Duplicate(..)) => "duplicate",
        Seen::Fate(_, Fate::Hold(_)) => "hold",
        Seen::MachineAction => "power",
        Seen::Persist => "persist",
        Seen::Durable => "durable",
    }
}

/// Failed requests beyond the bound, among what was left out.
const BEYOND: &str = "failed request beyond the bound";

/// Writes what was chosen of a trace, which has all that may have been chosen, to `out`.
///
/// # Errors
/// If the one cannot be read or the other not written.
pub fn choose<W: Write>(whole: impl Read, choice: Choice, out: W) -> Result<W, ChooseError> {
    let mut reader: Reader<_, Msg, Tick> = Reader::new(whole)?;
    let header = reader.header().clone();
    let mut tracer = Tracer::in_phase(out, &header, choice, Phase::Chosen);
    for record in &mut reader {
        tracer.put(&record?);
    }
    for (kind, count) in reader.left_out() {
        *tracer.left_out.entry(kind.clone()).or_default() += count;
    }
    if tracer.choice.beyond > 0 {
        tracer.left_out.insert(BEYOND.into(), tracer.choice.beyond);
    }
    Ok(tracer.finish()?.0)
}
