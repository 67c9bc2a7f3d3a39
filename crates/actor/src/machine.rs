//! The machine of an actor: its power, its pace, and the inputs that wait while it does not accept any.
//!
//! Every host brings an actor its inputs with [`Cell::take`], and applies faults to its machine with [`Cell::switch`].
//! So a pause, a crash and a late start have the same meaning, the same bounds and the same counts in virtual time and
//! in processes.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::pace::Pace;
use crate::{
    Actor, Cell, Counts, Effects, EntryRef, Fate, Impairment, Input, LossReason, MachineAction, Recorder, Span, Time,
    Timer,
};

/// Inputs that may wait at one machine that is paused or has not begun. Messages beyond it are lost as to a full queue.
pub const WAITING_MAX: usize = 1 << 20;
/// Bytes of memory for the messages that wait at all such machines of one host. Messages beyond it are lost likewise.
pub const WAITING_BYTES_MAX: usize = 128 << 20;

/// The counters of all machines of one host, and the memory that their waiting messages take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Counters of the host.
    pub counts: Counts,
    /// Bytes of the waiting messages, at most [`WAITING_BYTES_MAX`].
    waiting_bytes: usize,
}

/// A machine that is not simply up. Most cells have none: a cell whose machine was never held up pays only for a
/// pointer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine<A: Actor> {
    pub(crate) condition: Condition,
    has_begun: bool,
    is_down: bool,
    /// In the order of arrival. Empty while the machine is down, and while it accepts every input.
    waiting: VecDeque<Input<A::Msg>>,
    /// Bytes of the messages among them.
    waiting_bytes: usize,
    /// `None`: what an actor writes is on the disk at once.
    pub(crate) disk: Option<Disk<A>>,
    /// The last position on the disks before it.
    disk_position: u64,
}

/// The part of a machine that its actor can see.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// `None`: its pace has never changed.
    pub(crate) pace: Option<Pace>,
    /// The impairments in force, in the order in which they began.
    pub(crate) impaired: Vec<Arc<Impairment>>,
}

/// The result of a [`Cell::switch`]. The host first arms the timers, then delivers the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Switched<M> {
    /// The times at which the work in progress will be done. The host arms them in addition to the earlier ones.
    pub timers: Vec<(Time, Timer)>,
    /// The inputs to [take](Cell::take) now: the start of a life, the inputs that waited, and the end of a sync.
    pub inputs: Vec<Input<M>>,
}

impl<A: Actor> Machine<A> {
    /// A machine that is up and has begun.
    pub(crate) fn running() -> Self {
        Machine {
            condition: Condition::default(),
            has_begun: true,
            is_down: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            disk: None,
            disk_position: 0,
        }
    }

    /// Changes the duration of a sync. `image` is the durable state of the actor.
    pub(crate) fn set_disk(&mut self, sync: Option<Span>, image: A::Disk) {
        if sync.is_some() && self.disk.is_none() {
            self.disk = Some(Disk::new(self.disk_position, image));
        }
        if let Some(disk) = &mut self.disk {
            disk.sync = sync;
        }
        self.drop_idle_disk();
    }

    /// Drops a disk that takes no time any more, once all is durable.
    pub(crate) fn drop_idle_disk(&mut self) {
        if let Some(disk) = self.disk.take_if(|disk| disk.is_done()) {
            self.disk_position = disk.position();
        }
    }

    fn takes_in(&self) -> bool {
        self.has_begun && !self.is_down && !self.is_paused()
    }

    fn is_paused(&self) -> bool {
        self.condition.pace.as_ref().is_some_and(Pace::is_paused)
    }

    /// Begins or ends an impairment.
    pub(crate) fn impair(&mut self, power: &MachineAction) {
        match power {
            MachineAction::Impair(it) => self.condition.impaired.push(it.clone()),
            MachineAction::Recover(key) => {
                let impaired = &mut self.condition.impaired;
                if let Some(at) = impaired.iter().position(|it| it.key == *key) {
                    impaired.remove(at);
                }
            }
            _ => {}
        }
    }

    /// Begins an incarnation and returns its first inputs.
    fn begin(&mut self, ledger: &mut Ledger) -> Vec<Input<A::Msg>> {
        self.has_begun = true;
        [Input::Start].into_iter().chain(self.take_waiting(ledger)).collect()
    }

    fn take_waiting(&mut self, ledger: &mut Ledger) -> VecDeque<Input<A::Msg>> {
        ledger.waiting_bytes -= mem::take(&mut self.waiting_bytes);
        mem::take(&mut self.waiting)
    }

    /// Queues an input until the machine resumes; returns the input if the queue is full.
    fn keep(&mut self, input: Input<A::Msg>, ledger: &mut Ledger) -> Result<(), Input<A::Msg>> {
        let bytes = match &input {
            Input::Deliver(envelope) => envelope.memory_bytes(),
            Input::Start | Input::Fire(_) | Input::Durable(_) => 0,
        };
        let all = ledger.waiting_bytes.saturating_add(bytes);
        if self.waiting.len() >= WAITING_MAX || all > WAITING_BYTES_MAX {
            return Err(input);
        }
        ledger.waiting_bytes = all;
        self.waiting_bytes += bytes;
        self.waiting.push_back(input);
        Ok(())
    }
}

impl<A: Actor> Cell<A> {
    /// Runs the actor on an input if its machine accepts it now, and counts it. Otherwise the input waits until the
    /// machine resumes, or is lost: a message that finds the machine down or the queue full, or a timer that finds the
    /// machine down.
    ///
    /// Returns true if the actor ran. The host must then carry out its effects, which are appended to `out`, before it
    /// brings the next input.
    #[inline]
    pub fn take(
        &mut self,
        now: Time,
        input: Input<A::Msg>,
        ledger: &mut Ledger,
        out: &mut Effects<A::Msg, A::Tick>,
        trace: &mut impl Recorder<A::Msg, A::Tick>,
    ) -> bool {
        if self.machine.as_ref().is_some_and(|machine| !machine.takes_in()) {
            self.withhold(now, input, ledger, trace);
            return false;
        }
        let message = matches!(input, Input::Deliver(_));
        let timer = matches!(input, Input::Fire(_));
        let ran = self.step(now, input, out, trace);
        let counts = &mut ledger.counts;
        if ran {
            counts.events += 1;
            counts.delivered += u64::from(message);
            counts.fired += u64::from(timer);
        } else {
            counts.dropped += 1;
        }
        ran
    }

    /// Queues an input that the machine does not accept now, or counts it as lost.
    #[cold]
    fn withhold(
        &mut self,
        now: Time,
        input: Input<A::Msg>,
        ledger: &mut Ledger,
        trace: &mut impl Recorder<A::Msg, A::Tick>,
    ) {
        let Some(machine) = &mut self.machine else { return };
        let kept = if machine.is_down {
            Err((input, LossReason::Down))
        } else {
            machine.keep(input, ledger).map_err(|input| (input, LossReason::Full))
        };
        match kept {
            Ok(()) => {}
            Err((Input::Deliver(envelope), cause)) => {
                ledger.counts.lose(cause);
                trace.record(now, envelope.from, EntryRef::Fate(envelope.id(), Fate::Lost(cause)));
            }
            Err((Input::Fire(_), _)) => ledger.counts.dropped += 1,
            // The restart begins the incarnation, with what the disk had.
            Err((Input::Start | Input::Durable(_), _)) => {}
        }
    }

    /// Makes the machine accept no input until [`begin`](Cell::begin); until then every input waits.
    pub fn await_beginning(&mut self) {
        self.machine_mut().has_begun = false;
    }

    /// Marks the machine as absent until its first [`MachineAction::Restart`], which begins its actor's first
    /// incarnation.
    pub fn set_absent(&mut self, now: Time, ledger: &mut Ledger, trace: &mut impl Recorder<A::Msg, A::Tick>) {
        self.await_beginning();
        self.go_down(now, ledger, trace);
    }

    /// Begins the first incarnation on a machine that [awaits it](Cell::await_beginning), unless the machine is down:
    /// then its restart begins it. Returns the inputs that the machine is to [take](Cell::take) now, in order.
    pub fn begin(&mut self, ledger: &mut Ledger) -> Vec<Input<A::Msg>> {
        let machine = self.machine_mut();
        if machine.is_down || machine.has_begun { Vec::new() } else { machine.begin(ledger) }
    }

    /// Applies an action to the machine, and records it.
    pub fn switch(
        &mut self,
        now: Time,
        power: MachineAction,
        ledger: &mut Ledger,
        trace: &mut impl Recorder<A::Msg, A::Tick>,
    ) -> Switched<A::Msg> {
        trace.record(now, self.id(), EntryRef::Power(&power));
        let timers = self.set_pace(now, &power);
        let machine = self.machine_mut();
        let inputs = match power {
            MachineAction::Crash | MachineAction::Wipe => {
                // An incarnation that has not begun has nothing to lose.
                if machine.has_begun {
                    self.reboot(power == MachineAction::Wipe);
                }
                self.go_down(now, ledger, trace);
                Vec::new()
            }
            MachineAction::Restart if machine.is_down => {
                machine.is_down = false;
                machine.begin(ledger)
            }
            MachineAction::Resume if machine.takes_in() => machine.take_waiting(ledger).into(),
            // A machine that is not down has begun, or is about to.
            MachineAction::Restart
            | MachineAction::Resume
            | MachineAction::Pause
            | MachineAction::Speed(_)
            | MachineAction::Impair(_)
            | MachineAction::Recover(_)
            | MachineAction::Restored => Vec::new(),
            MachineAction::Disk(_) => self.disk().and_then(Disk::syncing).map(Input::Durable).into_iter().collect(),
        };
        Switched { timers, inputs }
    }

    /// Takes the machine down: waiting inputs are lost, and so are new ones.
    fn go_down(&mut self, now: Time, ledger: &mut Ledger, trace: &mut impl Recorder<A::Msg, A::Tick>) {
        let machine = self.machine_mut();
        machine.is_down = true;
        let waited = machine.take_waiting(ledger);
        waited.into_iter().for_each(|input| self.withhold(now, input, ledger, trace));
    }

    /// Number of messages that wait at the machine.
    pub fn waiting(&self) -> usize {
        let waiting = self.machine.iter().flat_map(|machine| &machine.waiting);
        waiting.filter(|input| matches!(input, Input::Deliver(_))).count()
    }
}

#[cfg(test)]
mod tests;
