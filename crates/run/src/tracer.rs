//! The trace of a mesh while it is written: which request each record belongs to, and which records are kept.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use meshsim_actor::{ActorId, EntryRef, Fate, MessageId, Recorder, Time, Timer};
use meshsim_mesh::mark;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::owner::{Known, Of, Owners, Seen};
use meshsim_trace::{Entry, Header, ReadError, Reader, Record, WriteError, Writer};

use crate::keep::{Choice, Keep};

/// Writes the trace of a mesh.
///
/// A selection that is [known only at the end](Keep::is_known_late) cannot be chosen while the run goes on: then all is
/// written, and [`choose`] reads it again. Memory grows with what is under way in the run, and with the requests that
/// are chosen.
#[derive(Debug)]
pub struct Tracer<W: Write> {
    writer: Writer<W>,
    owners: Owners,
    /// The same, of what is kept alone: what a reader knows.
    kept: Owners,
    choice: Choice,
    phase: Phase,
    /// Last input of each actor that was not kept.
    inputs: BTreeMap<ActorId, (Time, Input)>,
    left_out: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All records are written.
    All,
    /// All records are written, and will be read again.
    First,
    /// Those that are chosen are written.
    Chosen,
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
            () if keep.is_known_late() => Phase::First,
            () => Phase::Chosen,
        };
        Tracer::in_phase(out, header, Choice::new(keep, header.seed), phase)
    }

    fn in_phase(out: W, header: &Header, choice: Choice, phase: Phase) -> Self {
        let keep = if phase == Phase::Chosen { choice.keep().to_string() } else { String::new() };
        Tracer {
            writer: Writer::new(out, &Header { keep, ..header.clone() }),
            owners: Owners::default(),
            kept: Owners::default(),
            choice,
            phase,
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
            inputs: self.inputs.clone(),
            left_out: self.left_out.clone(),
        }
    }

    /// Closes the current chunk, so that all records so far can be read.
    pub fn close_chunk(&mut self) {
        let owners = if self.phase == Phase::Chosen { &self.kept } else { &self.owners };
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
        self.writer.leave_out(self.left_out);
        let out = self.writer.finish()?;
        self.choice.end();
        Ok((out, (self.phase == Phase::First).then_some(self.choice)))
    }

    /// Takes a record that was read from another trace.
    pub fn put(&mut self, record: &Record<Msg, Tick>) {
        if self.is_wanted(record.at, record.actor, Seen::from(record)) {
            self.writer.put(record);
            self.close_if_full();
        }
    }

    /// True if a record is to be written, which is next.
    fn is_wanted(&mut self, at: Time, actor: ActorId, seen: Seen<'_>) -> bool {
        let known = self.owners.take(actor, seen);
        if self.phase == Phase::First {
            self.choice.see(at, &known);
        }
        if self.phase == Phase::Chosen {
            if !self.is_kept(&known) {
                self.leave_out(at, actor, seen);
                return false;
            }
            match seen {
                Seen::Start(_) | Seen::Deliver(..) | Seen::Fire(_) => _ = self.inputs.remove(&actor),
                Seen::Send(..) | Seen::Arm(..) | Seen::Disarm(_) | Seen::Note(..) => self.put_input(actor),
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
        };
        if self.is_wanted(at, actor, seen) {
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
    }
}

/// Writes what was chosen of a whole trace to `out`.
///
/// # Errors
/// If the one cannot be read or the other not written.
pub fn choose<W: Write>(whole: impl Read, choice: Choice, out: W) -> Result<W, ChooseError> {
    let reader: Reader<_, Msg, Tick> = Reader::new(whole)?;
    let header = reader.header().clone();
    let beyond = choice.beyond;
    let mut tracer = Tracer::in_phase(out, &header, choice, Phase::Chosen);
    for record in reader {
        tracer.put(&record?);
    }
    if beyond > 0 {
        tracer.left_out.insert("failed request beyond the bound".into(), beyond);
    }
    Ok(tracer.finish()?.0)
}
