//! The combined effect of several faults on machines.

use std::collections::BTreeMap;

use crate::{ActorId, Disturbance, Fault, MachineAction, Span, Time};

/// Machine actions in order of time; ends come before starts of the same time.
///
/// Faults on the same machine may overlap. The machine is down (or paused) while at least one fault has it so, and its
/// speed is the product of all; the times of its disk add up. So every fault can be reverted without knowledge of the
/// others.
///
/// An `absent` machine is down from before the start of the run, and its first start ends this like the end of a crash.
/// A fault on an absent machine does nothing to it, but delays its first start until the fault ends.
pub(crate) fn machine_actions(faults: &[Fault], absent: &[(ActorId, Time)]) -> Vec<(Time, ActorId, MachineAction)> {
    let mut changes: Vec<(Time, bool, Change)> = Vec::new();
    let mut machines: BTreeMap<ActorId, Machine> = BTreeMap::new();
    for (actor, at) in absent {
        machines.insert(*actor, Machine { down: 1, is_absent: true, ..Machine::default() });
        if *at < Time::NEVER {
            changes.push((*at, false, Change::Absence(*actor)));
        }
    }
    for (index, fault) in faults.iter().enumerate() {
        if fault.at < fault.until && fault.kind.outage().is_some() {
            changes.push((fault.at, true, Change::Fault(index)));
            if fault.until < Time::NEVER {
                changes.push((fault.until, false, Change::Fault(index)));
            }
        }
    }
    changes.sort();

    let mut machine_actions = Vec::new();
    for (at, begins, change) in changes {
        match change {
            Change::Absence(actor) => {
                machine_actions.extend(machines.entry(actor).or_default().come().map(|power| (at, actor, power)));
            }
            Change::Fault(index) => {
                let Some(outage) = faults[index].kind.outage() else { continue };
                for actor in outage.actors.iter() {
                    let machine = machines.entry(actor).or_default();
                    machine_actions
                        .extend(machine.change(begins, &outage.begin, index).map(|power| (at, actor, power)));
                }
            }
        }
    }
    machine_actions
}

/// The start or the end of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Absence(ActorId),
    /// Fault, by its index in the list.
    Fault(usize),
}

#[derive(Default)]
struct Machine {
    is_absent: bool,
    /// Number of reasons for the machine to be down; its absence is one of them.
    down: u32,
    paused: u32,
    slowed: Vec<(usize, f64)>,
    /// Durations of a sync of its disk.
    disks: Vec<(usize, Span)>,
}

impl Machine {
    /// Ends the absence.
    fn come(&mut self) -> Option<MachineAction> {
        self.is_absent = false;
        self.down -= 1;
        (self.down == 0).then_some(MachineAction::Restart)
    }

    /// Applies the start or the end of the fault number `index`.
    fn change(&mut self, begins: bool, power: &MachineAction, index: usize) -> Option<MachineAction> {
        let count = |n: &mut u32| {
            *n = if begins { *n + 1 } else { *n - 1 };
            *n == u32::from(begins)
        };
        match power {
            // A disk can be lost while the machine is already down, unless the machine is absent.
            MachineAction::Wipe if begins && !self.is_absent => {
                self.down += 1;
                Some(MachineAction::Wipe)
            }
            MachineAction::Crash | MachineAction::Wipe => {
                count(&mut self.down).then_some(if begins { MachineAction::Crash } else { MachineAction::Restart })
            }
            MachineAction::Pause => {
                count(&mut self.paused).then_some(if begins { MachineAction::Pause } else { MachineAction::Resume })
            }
            MachineAction::Speed(factor) => {
                if begins {
                    self.slowed.push((index, *factor));
                } else {
                    self.slowed.retain(|(other, _)| *other != index);
                }
                Some(MachineAction::Speed(self.slowed.iter().map(|(_, factor)| factor).product()))
            }
            MachineAction::Disk(sync) => {
                if begins {
                    self.disks.push((index, sync.unwrap_or(Span::ZERO)));
                } else {
                    self.disks.retain(|(other, _)| *other != index);
                }
                let sync = self.disks.iter().map(|(_, sync)| *sync).reduce(|a, b| a + b);
                Some(MachineAction::Disk(sync))
            }
            // Each impairment has a key of its own, so its start and its end need no count.
            MachineAction::Impair(it) if !begins => Some(MachineAction::Recover(it.key)),
            MachineAction::Impair(_) => Some(power.clone()),
            MachineAction::Restart | MachineAction::Resume | MachineAction::Recover(_) | MachineAction::Restored => {
                None
            }
        }
    }
}
