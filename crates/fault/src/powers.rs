//! What several faults together do to machines.

use std::collections::BTreeMap;

use crate::{ActorId, Disturbance, Fault, Power, Time};

/// What is done to which machine when, in order of time; ends come before beginnings of the same time.
///
/// Faults on the same machine may overlap: it is down (or stands still) while at least one says so, and its speed is
/// the product of all. So every fault can be taken back without knowing of the others.
///
/// A machine that is `absent` is down from before the beginning, and its coming is an end like that of a crash. So a
/// fault on one that has not come does nothing to it, but keeps it from coming until the fault is over.
pub(crate) fn powers(faults: &[Fault], absent: &[(ActorId, Time)]) -> Vec<(Time, ActorId, Power)> {
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

    let mut powers = Vec::new();
    for (at, begins, change) in changes {
        match change {
            Change::Absence(actor) => {
                powers.extend(machines.entry(actor).or_default().come().map(|power| (at, actor, power)));
            }
            Change::Fault(index) => {
                let Some(outage) = faults[index].kind.outage() else { continue };
                for actor in outage.actors.iter() {
                    let machine = machines.entry(actor).or_default();
                    powers.extend(machine.change(begins, outage.begin, index).map(|power| (at, actor, power)));
                }
            }
        }
    }
    powers
}

/// What begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Absence(ActorId),
    /// By its place in the list.
    Fault(usize),
}

#[derive(Default)]
struct Machine {
    is_absent: bool,
    /// How many say that it is down; its absence is one of them.
    down: u32,
    paused: u32,
    slowed: Vec<(usize, f64)>,
}

impl Machine {
    /// It is no longer absent.
    fn come(&mut self) -> Option<Power> {
        self.is_absent = false;
        self.down -= 1;
        (self.down == 0).then_some(Power::Restart)
    }

    /// What changes when the fault number `index` begins or ends.
    fn change(&mut self, begins: bool, power: Power, index: usize) -> Option<Power> {
        let count = |n: &mut u32| {
            *n = if begins { *n + 1 } else { *n - 1 };
            *n == u32::from(begins)
        };
        match power {
            // A disk can be lost while the machine is down already, if there ever was one.
            Power::Wipe if begins && !self.is_absent => {
                self.down += 1;
                Some(Power::Wipe)
            }
            Power::Crash | Power::Wipe => {
                count(&mut self.down).then_some(if begins { Power::Crash } else { Power::Restart })
            }
            Power::Pause => count(&mut self.paused).then_some(if begins { Power::Pause } else { Power::Resume }),
            Power::Speed(factor) => {
                if begins {
                    self.slowed.push((index, factor));
                } else {
                    self.slowed.retain(|(other, _)| *other != index);
                }
                Some(Power::Speed(self.slowed.iter().map(|(_, factor)| factor).product()))
            }
            Power::Restart | Power::Resume => None,
        }
    }
}
