//! What several faults together do to machines.

use std::collections::BTreeMap;

use crate::{ActorId, Disturbance, Fault, Power, Time};

/// What is done to which machine when, in order of time; ends come before beginnings of the same time.
///
/// Faults on the same machine may overlap: it is down (or stands still) while at least one says so, and its speed is
/// the product of all. So every fault can be taken back without knowing of the others.
pub(crate) fn powers(faults: &[Fault]) -> Vec<(Time, ActorId, Power)> {
    let mut changes: Vec<(Time, bool, usize)> = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        if fault.at < fault.until && fault.kind.outage().is_some() {
            changes.push((fault.at, true, index));
            if fault.until < Time::NEVER {
                changes.push((fault.until, false, index));
            }
        }
    }
    changes.sort();

    let mut machines: BTreeMap<ActorId, Machine> = BTreeMap::new();
    let mut powers = Vec::new();
    for (at, begins, index) in changes {
        let Some(outage) = faults[index].kind.outage() else { continue };
        for actor in outage.actors.iter() {
            let machine = machines.entry(actor).or_default();
            powers.extend(machine.change(begins, outage.begin, index).map(|power| (at, actor, power)));
        }
    }
    powers
}

#[derive(Default)]
struct Machine {
    down: u32,
    paused: u32,
    slowed: Vec<(usize, f64)>,
}

impl Machine {
    /// What changes when the fault number `index` begins or ends.
    fn change(&mut self, begins: bool, power: Power, index: usize) -> Option<Power> {
        let count = |n: &mut u32| {
            *n = if begins { *n + 1 } else { *n - 1 };
            *n == u32::from(begins)
        };
        match power {
            // A disk can be lost while the machine is down already.
            Power::Wipe if begins => {
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
