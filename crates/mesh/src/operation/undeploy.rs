//! `undeploy`: remove all instances of a service.

use super::{Turn, Wanted};

pub(super) fn turn(wanted: &mut Wanted) -> Turn {
    wanted.deployed = false;
    wanted.s = 0.0;
    wanted.instances = 0;
    wanted.versions.clear();
    wanted.rolling = None;
    wanted.canary = None;
    Turn::Last
}
