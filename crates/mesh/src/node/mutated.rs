//! The part of a node's disk that a crash loses under some mutants; see [`crate::mutant`].

use std::cell::RefCell;
use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Span, Time};

use super::Node;
use super::hosting::HostedServices;
use super::steps::Applied;
use crate::actors::MeshCx;
use crate::mutant::Mutant;

/// Time from a step to the next start of its node within which the crash was soon after the step.
const SOON: Span = Span::from_secs(3);

/// The disk before the last step.
struct Disk {
    at: Time,
    applied: Applied,
    hosting: Option<Box<HostedServices>>,
}

thread_local! {
    static BEFORE: RefCell<BTreeMap<ActorId, Disk>> = const { RefCell::new(BTreeMap::new()) };
}

fn loses_number() -> bool {
    Mutant::EffectWithoutNumber.is_on() || Mutant::AcknowledgedBeforeStored.is_on()
}

fn loses_effect() -> bool {
    Mutant::NumberWithoutEffect.is_on() || Mutant::AcknowledgedBeforeStored.is_on()
}

impl Node {
    /// A step is about to be applied.
    pub(super) fn keep_for_mutants(&self, cx: &MeshCx<'_>) {
        if loses_number() || loses_effect() {
            let disk = Disk { at: cx.now(), applied: self.applied.clone(), hosting: self.hosting.clone() };
            BEFORE.with_borrow_mut(|all| all.insert(cx.id(), disk));
        }
    }

    /// A life begins.
    pub(super) fn lose_by_mutants(&mut self, cx: &MeshCx<'_>) {
        if !loses_number() && !loses_effect() {
            return;
        }
        let disk = BEFORE.with_borrow_mut(|all| all.remove(&cx.id()));
        let is_wiped = self.applied.n == 0;
        let Some(disk) = disk.filter(|disk| !is_wiped && cx.now().since(disk.at) < SOON) else { return };
        if loses_number() {
            self.applied = disk.applied;
        }
        if loses_effect() {
            self.hosting = disk.hosting;
            self.hosting.iter_mut().for_each(|hosting| hosting.power_off());
        }
    }
}
