//! Replay: feeds a trace to fresh actors and compares their effects with the recorded ones.
//!
//! A [`Replay`] takes the records of a trace one by one. It gives recorded inputs to a fresh actor with [`Cell::step`],
//! and compares the recorded effects, in order, with those of the fresh actor. An actor that takes time and randomness
//! only from its context cannot tell the difference, so the effects must be equal. If they are not, either the trace
//! comes from another program or experiment, or the actor has another source of input.
//!
//! The trace may be merged from those of several processes ([`Replay::of_processes`]). Then records of other actors may
//! be between an input and its effects, an actor may start a new incarnation in a new process, and the trace of a
//! killed process lacks its end. Clocks differ too: a message may seem to arrive before it is sent, and the replay then
//! waits for the sending.

use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::mem;

use meshsim_actor::{
    Actor, ActorId, Cell, Effects, EntryRef, Envelope, Fate, Input, MachineAction, Message, MessageId, Recorder, Time,
};
use serde::Serialize;

use crate::export::{id_text, kind, time};
use crate::format::cut;
use crate::{Entry, Header, Record};

/// Records of one actor that wait for the sending of a message that it received. Beyond this number the replay of the
/// actor stops: no clocks differ by that much.
const HELD_MAX: usize = 4096;

/// Replays a trace with fresh actors. `F` creates the cell of an actor for its first incarnation in the trace, or
/// returns `None` for an actor that is not replayed; its messages are read in any case.
///
/// Memory grows with the number of messages in flight and of actors.
pub struct Replay<A: Actor, F> {
    fresh: F,
    /// True if the trace is merged.
    of_processes: bool,
    lives: BTreeMap<ActorId, ReplayedActor<A>>,
    in_flight: BTreeMap<MessageId, Sent<A::Msg>>,
    /// Messages received and not yet sent, with their receivers.
    awaited: BTreeSet<(MessageId, ActorId)>,
    room: Room,
    report: ReplayReport,
}

/// Report of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Number of records read.
    pub records: u64,
    /// Number of actors with an input.
    pub actors: u64,
    /// Inputs of these actors: starts, messages and timers.
    pub inputs: u64,
    /// Effects that equal those of the trace.
    pub effects: u64,
    /// Actors that could be replayed only in part.
    pub stopped: Vec<Stopped>,
    /// Steps whose end is missing in the trace, because the process was killed.
    pub cut: u64,
    /// Coverage of each actor that was not compared completely, by rising id; set when the replay has finished.
    pub partly: Vec<Partly>,
}

/// Coverage of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partly {
    /// The actor.
    pub actor: ActorId,
    /// Inputs that were replayed: starts, messages and timers.
    pub compared: u64,
    /// Inputs in the trace.
    pub inputs: u64,
}

/// An actor that received a message whose content is not in the trace, because the sender's process was killed before
/// it wrote the sending. The later effects of the actor cannot be compared until its next incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The actor.
    pub actor: ActorId,
    /// The record of the delivery.
    pub record: u64,
    /// The message.
    pub message: MessageId,
}

/// The first effect in which an actor differs from the trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<M, T> {
    /// The record of the divergence: that of `said`, or the actor's next one after all records of the step, or the end
    /// of the trace.
    pub record: u64,
    /// Its time.
    pub at: Time,
    /// The actor.
    pub actor: ActorId,
    /// The recorded effect; `None` if the trace has no further one in this step.
    pub said: Option<Entry<M, T>>,
    /// The effect of the actor; `None` if it had no further one. If the trace has a timer that fired, the actor has no
    /// such timer armed; if the trace has a delivery, no such message to the actor is in flight.
    pub did: Option<Entry<M, T>>,
}

/// An actor during its replay.
struct ReplayedActor<A: Actor> {
    cell: Cell<A>,
    /// True once it has received an input.
    begun: bool,
    /// Time of the current step.
    at: Time,
    /// Effects of that step, and the number of those that were compared.
    did: Effects<A::Msg, A::Tick>,
    said: usize,
    /// Records of the actor since it received a message that is not yet sent; the first one is that delivery.
    held: VecDeque<Record<A::Msg, A::Tick>>,
    /// True if it cannot be replayed further.
    stopped: bool,
    /// True if its next incarnation begins with durable state that is not in the trace.
    is_restored: bool,
    /// Its inputs in the trace.
    inputs: u64,
    /// Its inputs that were replayed.
    compared: u64,
}

/// A message in flight.
struct Sent<M> {
    to: ActorId,
    msg: M,
    /// Copies that may still arrive.
    copies: u32,
}

/// Buffers for two values as bytes, kept for their memory.
type Room = [Vec<u8>; 2];

/// Result of [`Replay::follow`].
enum Followed {
    Done,
    /// This message is not sent yet.
    Missing(MessageId),
}

type Parted<A> = Box<Difference<<A as Actor>::Msg, <A as Actor>::Tick>>;

impl<A, F> Replay<A, F>
where
    A: Actor,
    F: FnMut(ActorId, u32) -> Option<Cell<A>>,
{
    /// A replay of the trace of one process.
    pub fn new(fresh: F) -> Self {
        Replay {
            fresh,
            of_processes: false,
            lives: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            awaited: BTreeSet::new(),
            room: Room::default(),
            report: ReplayReport::default(),
        }
    }

    /// A replay of a trace that is merged from several processes, some of which may have been killed: a missing end of
    /// an actor's last step is then not a difference.
    pub fn of_processes(fresh: F) -> Self {
        Replay { of_processes: true, ..Replay::new(fresh) }
    }

    /// Report of the replay so far.
    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    /// An actor after its last input; `None` if it has had none, or is not replayed.
    pub fn actor(&self, actor: ActorId) -> Option<&A> {
        self.lives.get(&actor).filter(|life| life.begun).map(|life| life.cell.actor())
    }

    /// Takes the next record of the trace.
    ///
    /// # Errors
    /// If an actor differs from the trace. No record should be passed after that.
    pub fn take(&mut self, record: Record<A::Msg, A::Tick>) -> Result<(), Parted<A>> {
        self.report.records = record.seq + 1;
        match &record.entry {
            Entry::Fate(id, fate) => {
                self.meet(*id, *fate);
                return Ok(());
            }
            Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Note { .. } | Entry::Persist(_) => {}
            // Not at the sending: the network's fate, which gives the number of copies, comes after it.
            Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Durable(_) | Entry::Power(_) => {
                self.wake(record.actor)?;
            }
        }
        if self.life(record.actor).is_some_and(|life| !life.held.is_empty()) {
            // Another actor may wait for this message.
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

    /// Ends the replay and returns its report. `whole` is false if the trace was not read to its end: then the end of a
    /// step may be missing.
    ///
    /// # Errors
    /// If an actor has more effects than the trace.
    pub fn finish(mut self, whole: bool) -> Result<ReplayReport, Parted<A>> {
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

    /// The actor with this id, if it is replayed.
    fn life(&mut self, actor: ActorId) -> Option<&mut ReplayedActor<A>> {
        match self.lives.entry(actor) {
            Occupied(life) => Some(life.into_mut()),
            Vacant(place) => Some(place.insert(ReplayedActor::new((self.fresh)(actor, 0)?))),
        }
    }

    /// Keeps a message until its last copy arrived or was lost.
    fn send(&mut self, id: MessageId, to: ActorId, msg: A::Msg) {
        if self.life(to).is_some() {
            self.in_flight.insert(id, Sent { to, msg, copies: 1 });
        }
    }

    fn meet(&mut self, id: MessageId, fate: Fate) {
        match fate {
            Fate::Lost(_) => drop(copy(&mut self.in_flight, id)),
            Fate::Duplicate(..) => {
                if let Some(sent) = self.in_flight.get_mut(&id) {
                    sent.copies = sent.copies.saturating_add(1);
                }
            }
            Fate::Deliver(_) | Fate::Hold(_) => {}
        }
    }

    /// Keeps a record of an actor that waits for a message.
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

    /// Continues the actors that wait for the last message of `sender`.
    fn wake(&mut self, sender: ActorId) -> Result<(), Parted<A>> {
        if self.awaited.is_empty() {
            return Ok(());
        }
        let first = (MessageId { from: sender, seq: 0 }, ActorId(0));
        let last = (MessageId { from: sender, seq: u64::MAX }, ActorId(u32::MAX));
        let sent = self.awaited.range(first..=last).filter(|(id, actor)| is_sent(&self.in_flight, *id, *actor));
        let sent: Vec<_> = sent.copied().collect();
        sent.into_iter().try_for_each(|(id, actor)| self.go_on(id, actor))
    }

    /// Continues an actor that waits for a message; without the message, if it is still missing.
    fn go_on(&mut self, id: MessageId, actor: ActorId) -> Result<(), Parted<A>> {
        self.awaited.remove(&(id, actor));
        let Some(life) = self.lives.get_mut(&actor) else { return Ok(()) };
        let mut held = mem::take(&mut life.held);
        if let Some(first) = held.front()
            && !is_sent(&self.in_flight, id, actor)
        {
            if !self.of_processes {
                // In one process a message that arrives was sent: if an actor had not sent it now, that difference
                // would have been found first.
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

    /// Replays an input, or compares an effect.
    fn follow(&mut self, record: &Record<A::Msg, A::Tick>) -> Result<Followed, Parted<A>> {
        let Replay { fresh, of_processes, lives, in_flight, room, report, .. } = self;
        let Some(life) = lives.get_mut(&record.actor) else {
            if let Entry::Deliver(id) = record.entry {
                copy(in_flight, id);
            }
            return Ok(Followed::Done);
        };
        let input = match &record.entry {
            Entry::Start { incarnation } => {
                let born = *incarnation != life.cell.incarnation();
                life.end_step(record.seq, born && *of_processes, report)?;
                if born {
                    let cell = fresh(record.actor, *incarnation);
                    life.stopped = cell.is_none() || mem::take(&mut life.is_restored);
                    if let Some(mut cell) = cell {
                        // The machine's clock continues across incarnations; and a machine that accepts an input is not
                        // paused.
                        cell.keep_pace(&life.cell, record.at);
                        life.cell = cell;
                    }
                }
                Input::Start
            }
            Entry::Deliver(id) => {
                life.end_step(record.seq, false, report)?;
                let sent = is_sent(in_flight, *id, record.actor).then(|| copy(in_flight, *id)).flatten();
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
            Entry::Durable(position) => {
                life.end_step(record.seq, false, report)?;
                Input::Durable(*position)
            }
            Entry::Power(power @ (MachineAction::Crash | MachineAction::Wipe)) => {
                life.end_step(record.seq, *of_processes, report)?;
                life.cell.reboot(*power == MachineAction::Wipe);
                return Ok(Followed::Done);
            }
            Entry::Power(MachineAction::Restored) => {
                life.is_restored = true;
                return Ok(Followed::Done);
            }
            // The only effect on the actor is that its work, or the syncing of its disk, takes longer.
            Entry::Power(power) => {
                life.cell.set_pace(record.at, power);
                return Ok(Followed::Done);
            }
            Entry::Fate(..) => return Ok(Followed::Done),
            Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Note { .. } | Entry::Persist(_) => {
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

/// Records nothing, but makes actors note what they noted in the recorded run.
struct Noting;

impl<M, T> Recorder<M, T> for Noting {
    fn record(&mut self, _: Time, _: ActorId, _: EntryRef<'_, M, T>) {}
}

impl<A: Actor> ReplayedActor<A> {
    fn new(cell: Cell<A>) -> Self {
        ReplayedActor {
            cell,
            begun: false,
            at: Time::ZERO,
            did: Vec::new(),
            said: 0,
            held: VecDeque::new(),
            stopped: false,
            is_restored: false,
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

    /// Compares the next effect of the actor with that of the trace.
    fn compare(&mut self, record: &Record<A::Msg, A::Tick>, room: &mut Room) -> Result<(), Parted<A>> {
        let did = self.did.get(self.said).map(|effect| effect.entry(self.at));
        if did.as_ref().is_some_and(|did| same(did, &record.entry, room)) {
            self.said += 1;
            return Ok(());
        }
        Err(self.parted(record.seq, Some(record.entry.clone()), did))
    }

    /// Ends the current step of the trace. `cut` is true if the rest of the step may be missing.
    fn end_step(&mut self, next: u64, cut: bool, report: &mut ReplayReport) -> Result<(), Parted<A>> {
        if let Some(more) = self.did.get(self.said) {
            if !cut {
                return Err(self.parted(next, None, Some(more.entry(self.at))));
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
        did: Option<EntryRef<'_, A::Msg, A::Tick>>,
    ) -> Parted<A> {
        Box::new(Difference { record, at: self.at, actor: self.cell.id(), said, did: did.map(Entry::from) })
    }
}

/// True if the message is in flight to this actor.
fn is_sent<M>(in_flight: &BTreeMap<MessageId, Sent<M>>, id: MessageId, to: ActorId) -> bool {
    in_flight.get(&id).is_some_and(|sent| sent.to == to)
}

/// Counts a copy that arrives or is lost; the message is dropped after the last one.
fn copy<M: Clone>(in_flight: &mut BTreeMap<MessageId, Sent<M>>, id: MessageId) -> Option<Envelope<M>> {
    let Occupied(mut sent) = in_flight.entry(id) else { return None };
    sent.get_mut().copies -= 1;
    let Sent { to, msg, .. } = if sent.get().copies == 0 {
        sent.remove()
    } else {
        let Sent { to, msg, copies } = sent.get();
        Sent { to: *to, msg: msg.clone(), copies: *copies }
    };
    Some(Envelope { from: id.from, to, seq: id.seq, msg })
}

/// True if both give the same trace.
fn same<M: Serialize, T: Serialize>(did: &EntryRef<'_, M, T>, said: &Entry<M, T>, room: &mut Room) -> bool {
    match (did, said) {
        (EntryRef::Send(did), Entry::Send { to, seq, msg }) => {
            did.to == *to && did.seq == *seq && same_bytes(&did.msg, msg, room)
        }
        (EntryRef::Arm { timer, at, tick }, Entry::Arm { timer: said_timer, at: said_at, tick: said_tick }) => {
            timer == said_timer && at == said_at && same_bytes(tick, said_tick, room)
        }
        (EntryRef::Disarm(did), Entry::Disarm(said)) => did == said,
        (EntryRef::Persist(did), Entry::Persist(said)) => did == said,
        (EntryRef::Note(did), Entry::Note { what, subject, value }) => {
            cut(did.what) == &**what && did.subject == *subject && did.value == *value
        }
        _ => false,
    }
}

/// Compares bytes, which are what a trace holds: a value need not be equal to itself (a NaN is not).
fn same_bytes<V: Serialize>(did: &V, said: &V, [a, b]: &mut Room) -> bool {
    a.clear();
    b.clear();
    meshsim_wire::encode_into(did, a).is_ok() && meshsim_wire::encode_into(said, b).is_ok() && a == b
}

/// Most characters of an effect that are shown.
const SHOWN_MAX: usize = 400;

impl<M: Message, T: Debug> Difference<M, T> {
    /// The recorded and the replayed effect as a line each. Of long ones, the part in which they differ.
    pub fn texts(&self, header: &Header) -> [String; 2] {
        const NOTHING: &str = "nothing more in this step";
        let text = |entry: &Option<_>| entry.as_ref().map_or(NOTHING.into(), |entry| self.effect(header, entry));
        let did = match self.said {
            Some(Entry::Fire(_)) => "no such timer is armed".into(),
            Some(Entry::Deliver(_)) => "no such message is in flight to it".into(),
            Some(Entry::Durable(_)) => "no such sync is under way".into(),
            _ => text(&self.did),
        };
        let said = text(&self.said);
        let alike = said.chars().zip(did.chars()).take_while(|(a, b)| a == b).count();
        [part(&said, alike), part(&did, alike)]
    }

    /// With the handles of timers, which a line of an export leaves out: two effects may differ only in them.
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
            Entry::Persist(position) | Entry::Durable(position) => format!("{kind}  {position}"),
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
