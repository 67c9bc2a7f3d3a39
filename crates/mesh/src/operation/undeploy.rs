//! `undeploy`: remove all instances of a service.

use super::{Desired, Iteration};

pub(super) fn iterate(wanted: &mut Desired) -> Iteration {
    wanted.deployed = false;
    wanted.s = 0.0;
    wanted.instances = 0;
    wanted.versions.clear();
    wanted.rolling = None;
    wanted.canary = None;
    Iteration::Last
}
