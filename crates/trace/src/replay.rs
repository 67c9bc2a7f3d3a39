//! Whether actors do again what a trace says that they did.
//!
//! A [`Replay`] takes the records of a trace one by one. What an actor took in is given to a fresh one, by
//! [`Cell::step`]; the records of what it did then are compared, in order, with what the fresh one does. An actor that
//! takes time and randomness only from its context cannot tell the difference, so there must be none: if there is,
//! either the trace was made by another program or of another experiment, or the actor takes something from elsewhere.
//!
//! The trace may be a merge of those of several processes ([`Replay::of_processes`]). Then records of other actors stand
//! between an input and its effects, an actor may be born again in a new process, a process that was killed leaves a
//! trace without its end, and clocks differ: a message may seem to arrive before it is sent, and is waited for.

use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::mem;

use meshsim_actor::{
    Actor, ActorId, Cell, Effects, Envelope, Fate, Input, Message, MessageId, Power, Recorder, Time, What,
};
use serde::Serialize;

use crate::export::{id_text, kind, time};
use crate::format::cut;
use crate::{Entry, Header, Record};

/// Most records of one actor that are held back because a message it took in was not seen to be sent. Then it is given
/// up: so far apart no clocks are.
const HELD_MAX: usize = 4096;

/// Feeds a trace to fresh actors. `F` makes the cell of an actor, for the incarnation that it begins with, or `None`
/// for one that is not to be replayed: its messages are read all the same.
///
/// Memory grows with the messages that are under way at once, and with the actors.
pub struct Replay<A: Actor, F> {
    fresh: F,
    /// The trace is a merge.
    of_processes: bool,
    lives: BTreeMap<ActorId, Life<A>>,
    under_way: BTreeMap<MessageId, Sent<A::Msg>>,
    /// Messages that were taken in and not yet sent, and by whom.
    awaited: BTreeSet<(MessageId, ActorId)>,
    room: Room,
    report: Report,
}

/// What was replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that were read.
    pub records: u64,
    /// Actors that took in something.
    pub actors: u64,
    /// Starts, messages and timers that they took in.
    pub inputs: u64,
    /// What they did about it, and the trace says too.
    pub effects: u64,
    /// Actors that could be replayed only so far.
    pub stopped: Vec<Stopped>,
    /// Steps whose end is not in the trace, because the process was killed.
    pub cut: u64,
    /// How much was compared of each actor of which not all was, by rising number; there once the replay has finished.
    pub partly: Vec<Partly>,
}

/// How much of an actor was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partly {
    /// Who.
    pub actor: ActorId,
    /// Starts, messages and timers that it took in again.
    pub compared: u64,
    /// Those that the trace says it took in.
    pub inputs: u64,
}

/// An actor that took in a message whose content is not in the trace: its sender's process was killed before it wrote
/// that down. What the actor did from there on, until it is born anew, cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Who.
    pub actor: ActorId,
    /// The record of taking it in.
    pub record: u64,
    /// The message.
    pub message: MessageId,
}

/// Where an actor did something else than the trace says.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<M, T> {
    /// The record where they part: that of `said`, or the actor's next after all that the trace says of the step, or
    /// the end of the trace.
    pub record: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub actor: ActorId,
    /// What the trace says; `None` if it says nothing more of this step.
    pub said: Option<Entry<M, T>>,
    /// What the actor did now; `None` if it did nothing more. If the trace says that a timer fired, the actor has no
    /// such timer armed; if it says that a message arrived, none is under way to it.
    pub did: Option<Entry<M, T>>,
}

/// An actor while it is replayed.
struct Life<A: Actor> {
    cell: Cell<A>,
    /// It has taken in something.
    begun: bool,
    /// The moment of the step at hand.
    at: Time,
    /// What it did in that step, and how much of that the trace has said.
    did: Effects<A::Msg, A::Tick>,
    said: usize,
    /// What happened to it after it took in a message that was not yet sent; the first record is that.
    held: VecDeque<Record<A::Msg, A::Tick>>,
    /// It cannot be replayed further.
    stopped: bool,
    /// Inputs that the trace says it took in.
    inputs: u64,
    /// Of these, those that it took in again.
    compared: u64,
}

/// A message under way.
struct Sent<M> {
    to: ActorId,
    msg: M,
    /// Copies that may still arrive.
    copies: u32,
}

/// Room for two values as bytes, kept for its memory.
type Room = [Vec<u8>; 2];

/// How far [`Replay::follow`] came.
enum Followed {
    Done,
    /// This was not sent yet.
    Missing(MessageId),
}

type Parted<A> = Box<Difference<<A as Actor>::Msg, <A as Actor>::Tick>>;

impl<A, F> Replay<A, F>
where
    A: Actor,
    F: FnMut(ActorId, u32) -> Option<Cell<A>>,
{
    /// To replay the trace of one process.
    pub fn new(fresh: F) -> Self {
        Replay {
            fresh,
            of_processes: false,
            lives: BTreeMap::new(),
            under_way: BTreeMap::new(),
            awaited: BTreeSet::new(),
            room: Room::default(),
            report: Report::default(),
        }
    }

    /// To replay a merge of the traces of several processes, some of which may have been killed: where an actor's life
    /// ends, it is then no difference that the end of a step is missing.
    pub fn of_processes(fresh: F) -> Self {
        Replay { of_processes: true, ..Replay::new(fresh) }
    }

    /// What was replayed so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes the next record of the trace.
    ///
    /// # Errors
    /// If an actor does something else than the trace says. Nothing should be taken after that.
    pub fn take(&mut self, record: Record<A::Msg, A::Tick>) -> Result<(), Parted<A>> {
        self.report.records = record.seq + 1;
        match &record.entry {
            Entry::Fate(id, fate) => {
                self.meet(*id, *fate);
                return Ok(());
            }
            Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Note { .. } => {}
            // Not when it is sent: its sender's host says after that how many copies there are.
            Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Power(_) => self.wake(record.actor)?,
        }
        if self.life(record.actor).is_some_and(|life| !life.held.is_empty()) {
            // It may be what another actor waits for.
            if let Entry::Send { to, seq, msg } = &record.entry {
                self.send(MessageId { from: record.actor, seq: *seq }, *to, msg.clone());
            }
            return self.hold(record);
        }
        if let Followed::Missing(id) = self.follow(&record)? {
            self.awaited.insert((id, record.actor));
            return self.hold(record);
        }
        if let Entry::Send { to, seq, msg } = record.entry {
            self.send(MessageId { from: record.actor, seq }, to, msg);
        }
        Ok(())
    }

    /// Takes the end of the trace; says what was replayed. `whole` is false if it was not read to its end: then the end
    /// of a step may be missing.
    ///
    /// # Errors
    /// If an actor did more than the trace says.
    pub fn finish(mut self, whole: bool) -> Result<Report, Parted<A>> {
        while let Some((id, actor)) = self.awaited.first().copied() {
            self.go_on(id, actor)?;
        }
        if whole {
            for life in self.lives.values_mut() {
                life.end_step(self.report.records, self.of_processes, &mut self.report)?;
            }
        }
        let partly = self.lives.iter().filter(|(_, life)| life.compared < life.inputs);
        self.report.partly = partly
            .map(|(actor, life)| Partly { actor: *actor, compared: life.compared, inputs: life.inputs })
            .collect();
        Ok(self.report)
    }

    /// The actor with this number, if it is to be replayed.
    fn life(&mut self, actor: ActorId) -> Option<&mut Life<A>> {
        match self.lives.entry(actor) {
            Occupied(life) => Some(life.into_mut()),
            Vacant(place) => Some(place.insert(Life::new((self.fresh)(actor, 0)?))),
        }
    }

    /// Keeps a message until its last copy arrived or was lost.
    fn send(&mut self, id: MessageId, to: ActorId, msg: A::Msg) {
        if self.life(to).is_some() {
            self.under_way.insert(id, Sent { to, msg, copies: 1 });
        }
    }

    fn meet(&mut self, id: MessageId, fate: Fate) {
        match fate {
            Fate::Lost(_) => drop(copy(&mut self.under_way, id)),
            Fate::Duplicate(..) => {
                if let Some(sent) = self.under_way.get_mut(&id) {
                    sent.copies = sent.copies.saturating_add(1);
                }
            }
            Fate::Deliver(_) | Fate::Hold(_) => {}
        }
    }

    /// Keeps what happened to an actor that waits for a message.
    fn hold(&mut self, record: Record<A::Msg, A::Tick>) -> Result<(), Parted<A>> {
        let actor = record.actor;
        let Some(life) = self.lives.get_mut(&actor) else { return Ok(()) };
        life.held.push_back(record);
        if life.held.len() > HELD_MAX
            && let Some(Record { entry: Entry::Deliver(id), .. }) = life.held.front()
        {
            let id = *id;
            self.go_on(id, actor)?;
        }
        Ok(())
    }

    /// Goes on with those that wait for what `sender` has sent.
    fn wake(&mut self, sender: ActorId) -> Result<(), Parted<A>> {
        if self.awaited.is_empty() {
            return Ok(());
        }
        let first = (MessageId { from: sender, seq: 0 }, ActorId(0));
        let last = (MessageId { from: sender, seq: u64::MAX }, ActorId(u32::MAX));
        let sent = self.awaited.range(first..=last).filter(|(id, actor)| is_sent(&self.under_way, *id, *actor));
        let sent: Vec<_> = sent.copied().collect();
        sent.into_iter().try_for_each(|(id, actor)| self.go_on(id, actor))
    }

    /// Goes on with an actor that waits for a message; without the message, if it is still not there.
    fn go_on(&mut self, id: MessageId, actor: ActorId) -> Result<(), Parted<A>> {
        self.awaited.remove(&(id, actor));
        let Some(life) = self.lives.get_mut(&actor) else { return Ok(()) };
        let mut held = mem::take(&mut life.held);
        if let Some(first) = held.front()
            && !is_sent(&self.under_way, id, actor)
        {
            if !self.of_processes {
                // In one process whatever arrives was sent: had an actor not sent it now, that had been found first.
                life.at = first.at;
                return Err(life.parted(first.seq, Some(first.entry.clone()), None));
            }
            life.stopped = true;
            self.report.stopped.push(Stopped { actor, record: first.seq, message: id });
        }
        while let Some(record) = held.pop_front() {
            if let Followed::Missing(id) = self.follow(&record)? {
                self.awaited.insert((id, actor));
                held.push_front(record);
                if let Some(life) = self.lives.get_mut(&actor) {
                    life.held = held;
                }
                break;
            }
        }
        Ok(())
    }

    /// Lets happen to an actor what the trace says, or compares what it did about it.
    fn follow(&mut self, record: &Record<A::Msg, A::Tick>) -> Result<Followed, Parted<A>> {
        let Replay { fresh, of_processes, lives, under_way, room, report, .. } = self;
        let Some(life) = lives.get_mut(&record.actor) else {
            if let Entry::Deliver(id) = record.entry {
                copy(under_way, id);
            }
            return Ok(Followed::Done);
        };
        let input = match &record.entry {
            Entry::Start { incarnation } => {
                let born = *incarnation != life.cell.incarnation();
                life.end_step(record.seq, born && *of_processes, report)?;
                if born {
                    let cell = fresh(record.actor, *incarnation);
                    life.stopped = cell.is_none();
                    if let Some(mut cell) = cell {
                        // The machine's clock goes on, whoever lives there; and who takes something in is not paused.
                        cell.keep_pace(&life.cell, record.at);
                        life.cell = cell;
                    }
                }
                Input::Start
            }
            Entry::Deliver(id) => {
                life.end_step(record.seq, false, report)?;
                let sent = is_sent(under_way, *id, record.actor).then(|| copy(under_way, *id)).flatten();
                match sent {
                    Some(envelope) => Input::Deliver(envelope),
                    None if life.stopped => {
                        life.inputs += 1;
                        return Ok(Followed::Done);
                    }
                    None => return Ok(Followed::Missing(*id)),
                }
            }
            Entry::Fire(timer) => {
                life.end_step(record.seq, false, report)?;
                Input::Fire(*timer)
            }
            Entry::Power(power @ (Power::Crash | Power::Wipe)) => {
                life.end_step(record.seq, *of_processes, report)?;
                life.cell.reboot(*power == Power::Wipe);
                return Ok(Followed::Done);
            }
            // It notices nothing but that its work takes longer.
            Entry::Power(power) => {
                life.cell.set_pace(record.at, *power);
                return Ok(Followed::Done);
            }
            Entry::Fate(..) => return Ok(Followed::Done),
            Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Note { .. } => {
                if !life.stopped {
                    life.compare(record, room)?;
                    report.effects += 1;
                }
                return Ok(Followed::Done);
            }
        };
        life.inputs += 1;
        if life.stopped {
            return Ok(Followed::Done);
        }
        life.compared += 1;
        report.actors += u64::from(!mem::replace(&mut life.begun, true));
        report.inputs += 1;
        life.begin_step(record, input)?;
        Ok(Followed::Done)
    }
}

/// Nothing is taken down, but actors are to note what they noted when something was.
struct Noting;

impl<M, T> Recorder<M, T> for Noting {
    fn record(&mut self, _: Time, _: ActorId, _: What<'_, M, T>) {}
}

impl<A: Actor> Life<A> {
    fn new(cell: Cell<A>) -> Self {
        Life {
            cell,
            begun: false,
            at: Time::ZERO,
            did: Vec::new(),
            said: 0,
            held: VecDeque::new(),
            stopped: false,
            inputs: 0,
            compared: 0,
        }
    }

    fn begin_step(&mut self, record: &Record<A::Msg, A::Tick>, input: Input<A::Msg>) -> Result<(), Parted<A>> {
        self.at = record.at;
        if self.cell.step(record.at, input, &mut self.did, &mut Noting) {
            return Ok(());
        }
        Err(self.parted(record.seq, Some(record.entry.clone()), None))
    }

    /// Compares the next of what it did with what the trace says.
    fn compare(&mut self, record: &Record<A::Msg, A::Tick>, room: &mut Room) -> Result<(), Parted<A>> {
        let did = self.did.get(self.said).map(|effect| effect.what(self.at));
        if did.as_ref().is_some_and(|did| same(did, &record.entry, room)) {
            self.said += 1;
            return Ok(());
        }
        Err(self.parted(record.seq, Some(record.entry.clone()), did))
    }

    /// The trace says no more of the step at hand. `cut` is true if that may be because it is not there.
    fn end_step(&mut self, next: u64, cut: bool, report: &mut Report) -> Result<(), Parted<A>> {
        if let Some(more) = self.did.get(self.said) {
            if !cut {
                return Err(self.parted(next, None, Some(more.what(self.at))));
            }
            report.cut += 1;
        }
        self.did.clear();
        self.said = 0;
        Ok(())
    }

    fn parted(
        &self,
        record: u64,
        said: Option<Entry<A::Msg, A::Tick>>,
        did: Option<What<'_, A::Msg, A::Tick>>,
    ) -> Parted<A> {
        Box::new(Difference { record, at: self.at, actor: self.cell.id(), said, did: did.map(Entry::from) })
    }
}

/// True if the message is under way, and to this actor.
fn is_sent<M>(under_way: &BTreeMap<MessageId, Sent<M>>, id: MessageId, to: ActorId) -> bool {
    under_way.get(&id).is_some_and(|sent| sent.to == to)
}

/// A copy of a message arrives or is lost; after the last one the message is forgotten.
fn copy<M: Clone>(under_way: &mut BTreeMap<MessageId, Sent<M>>, id: MessageId) -> Option<Envelope<M>> {
    let Occupied(mut sent) = under_way.entry(id) else { return None };
    sent.get_mut().copies -= 1;
    let Sent { to, msg, .. } = if sent.get().copies == 0 {
        sent.remove()
    } else {
        let Sent { to, msg, copies } = sent.get();
        Sent { to: *to, msg: msg.clone(), copies: *copies }
    };
    Some(Envelope { from: id.from, to, seq: id.seq, msg })
}

/// True if the trace would be the same.
fn same<M: Serialize, T: Serialize>(did: &What<'_, M, T>, said: &Entry<M, T>, room: &mut Room) -> bool {
    match (did, said) {
        (What::Send(did), Entry::Send { to, seq, msg }) => {
            did.to == *to && did.seq == *seq && same_bytes(&did.msg, msg, room)
        }
        (What::Arm { timer, at, tick }, Entry::Arm { timer: said_timer, at: said_at, tick: said_tick }) => {
            timer == said_timer && at == said_at && same_bytes(tick, said_tick, room)
        }
        (What::Disarm(did), Entry::Disarm(said)) => did == said,
        (What::Note(did), Entry::Note { what, subject, value }) => {
            cut(did.what) == &**what && did.subject == *subject && did.value == *value
        }
        _ => false,
    }
}

/// By the bytes, which are what a trace holds: a value need not be equal to itself (a NaN is not).
fn same_bytes<V: Serialize>(did: &V, said: &V, [a, b]: &mut Room) -> bool {
    a.clear();
    b.clear();
    meshsim_wire::encode_into(did, a).is_ok() && meshsim_wire::encode_into(said, b).is_ok() && a == b
}

/// Most characters of an effect that are shown.
const SHOWN_MAX: usize = 400;

impl<M: Message, T: Debug> Difference<M, T> {
    /// What the trace says and what the actor did now, a line each. Of long ones, the part where they differ.
    pub fn texts(&self, header: &Header) -> [String; 2] {
        const NOTHING: &str = "nothing more in this step";
        let text = |entry: &Option<_>| entry.as_ref().map_or(NOTHING.into(), |entry| self.effect(header, entry));
        let did = match self.said {
            Some(Entry::Fire(_)) => "no such timer is armed".into(),
            Some(Entry::Deliver(_)) => "no such message is under way to it".into(),
            _ => text(&self.did),
        };
        let said = text(&self.said);
        let alike = said.chars().zip(did.chars()).take_while(|(a, b)| a == b).count();
        [part(&said, alike), part(&did, alike)]
    }

    /// With the handles of timers, which a line of an export leaves out: two effects may differ in nothing else.
    fn effect(&self, header: &Header, entry: &Entry<M, T>) -> String {
        let kind = kind(entry);
        match entry {
            Entry::Send { to, seq, msg } => {
                let id = id_text(header, MessageId { from: self.actor, seq: *seq });
                format!("{kind}  {}  {id} to {}  {msg:?}", msg.kind(), header.name(*to))
            }
            Entry::Arm { timer, at, tick } => format!("{kind}  {tick:?} at {}  {timer:?}", time(*at)),
            Entry::Fire(timer) | Entry::Disarm(timer) => format!("{kind}  {timer:?}"),
            Entry::Note { what, subject, value } => format!("{kind}  {what} {subject} {value}"),
            Entry::Deliver(id) => format!("{kind}  {}", id_text(header, *id)),
            Entry::Start { .. } | Entry::Fate(..) | Entry::Power(_) => kind.into(),
        }
    }
}

/// The part of `text` around its character `at`.
fn part(text: &str, at: usize) -> String {
    let chars = text.chars().count();
    if chars <= SHOWN_MAX {
        return text.into();
    }
    let first = at.saturating_sub(SHOWN_MAX / 2).min(chars - SHOWN_MAX);
    let shown: String = text.chars().skip(first).take(SHOWN_MAX).collect();
    let (before, after) = (if first > 0 { "..." } else { "" }, if first + SHOWN_MAX < chars { "..." } else { "" });
    format!("{before}{shown}{after}")
}
