//! What the coordinator can do to a service, as a recurrence that is turned step by step.
//!
//! Each operation is a pure function of what is wanted now and what the nodes reported: it says what is wanted next, and
//! whether there is more to do. The coordinator rounds here, once for the whole mesh; splitting over nodes comes after.
//!
//! To add one: a file here with a `turn`, a variant of [`Change`] and of [`Verb`](crate::measure::Verb), a line in
//! [`turn`].

mod deploy;
mod extend;
mod scale;
mod undeploy;
mod update;

use meshsim_actor::Rng;
use serde::{Deserialize, Serialize};

pub use extend::INSTANCES_MAX;
pub(crate) use scale::slots;

use crate::model::{Change, Service};

/// What is wanted of one service: the state of its recurrences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// True between deploy and undeploy.
    pub deployed: bool,
    /// S, as the recurrence has it.
    pub s: f64,
    /// C.
    pub c: f64,
    /// V, as the recurrence has it.
    pub v: f64,
    /// Whole instances by version: rising versions, counts above zero. Their sum is S in whole instances.
    pub versions: Vec<(u32, u32)>,
}

/// What the nodes last reported of one service: late by the network, and by whatever was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observed<'a> {
    /// Instances that take requests, by version: rising versions.
    pub ready: &'a [(u32, u32)],
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turn {
    /// A step was decided; there are more to come.
    Step,
    /// A step was decided, and it was the last: what was wanted is reached.
    Last,
    /// Nothing can be decided before the nodes report more.
    Wait,
    /// Nothing is left to decide.
    Reached,
    /// The rounding cannot come nearer; this much is left (wanted minus reached).
    Stuck(f64),
    /// The operation makes no sense now: the service is not deployed, or already is.
    Refused,
}

/// Turns an operation once: the `k`-th time, from 0.
pub fn turn(
    change: &Change,
    k: u32,
    service: &Service,
    wanted: &mut Wanted,
    observed: Observed<'_>,
    rng: &mut Rng,
) -> Turn {
    if wanted.deployed == matches!(change, Change::Deploy) {
        return Turn::Refused;
    }
    match change {
        Change::Deploy => deploy::turn(service, wanted),
        Change::Undeploy => undeploy::turn(wanted),
        Change::Extend { to, rate, rounding, feedback } => extend::turn(
            extend::Extend { to: *to, rate: *rate, rounding: *rounding, feedback: *feedback },
            wanted,
            observed,
            rng,
        ),
        Change::Scale { by } => scale::turn(*by, service, wanted),
        Change::Update { to, rate, strategy } => update::turn(*to, *rate, strategy, k, wanted, observed, rng),
    }
}

/// How far an operation is from what it wants: wanted minus reached, in its own unit.
pub fn residual(change: &Change, wanted: &Wanted) -> f64 {
    match change {
        Change::Deploy | Change::Undeploy | Change::Scale { .. } => 0.0,
        Change::Extend { to, .. } => f64::from(*to) - f64::from(wanted.instances()),
        Change::Update { to, .. } => f64::from(*to) - wanted.v_mean(),
    }
}

impl Wanted {
    /// S in whole instances.
    pub fn instances(&self) -> u32 {
        total(&self.versions)
    }

    /// V as the mean over whole instances; 0 without instances.
    pub fn v_mean(&self) -> f64 {
        let sum: f64 = self.versions.iter().map(|(version, count)| f64::from(*version) * f64::from(*count)).sum();
        sum / f64::from(self.instances().max(1))
    }

    /// Sets S in whole instances. New ones get the newest version; the oldest go first.
    fn set_instances(&mut self, instances: u32, version_if_none: u32) {
        let now = self.instances();
        if instances > now {
            let newest = self.versions.last().map_or(version_if_none, |(version, _)| *version);
            add(&mut self.versions, newest, instances - now);
        }
        let mut surplus = now.saturating_sub(instances);
        for (_, count) in &mut self.versions {
            let gone = surplus.min(*count);
            *count -= gone;
            surplus -= gone;
        }
        self.versions.retain(|(_, count)| *count > 0);
    }

    /// Moves `count` instances to version `to`, the lowest other versions first.
    fn move_to(&mut self, to: u32, count: u32) {
        let mut left = count;
        for (version, have) in &mut self.versions {
            let moved = if *version == to { 0 } else { left.min(*have) };
            *have -= moved;
            left -= moved;
        }
        self.versions.retain(|(_, have)| *have > 0);
        add(&mut self.versions, to, count - left);
    }

    /// Instances of any version but this.
    fn other_than(&self, version: u32) -> u32 {
        self.instances() - count_of(&self.versions, version)
    }
}

/// All counts together.
pub(crate) fn total(versions: &[(u32, u32)]) -> u32 {
    versions.iter().map(|(_, count)| count).sum()
}

/// How many of one version.
pub(crate) fn count_of(versions: &[(u32, u32)], version: u32) -> u32 {
    versions.iter().find(|(v, _)| *v == version).map_or(0, |(_, count)| *count)
}

/// Adds instances of one version, keeping the order.
pub(crate) fn add(versions: &mut Vec<(u32, u32)>, version: u32, count: u32) {
    if count == 0 {
        return;
    }
    match versions.binary_search_by_key(&version, |(v, _)| *v) {
        Ok(at) => versions[at].1 += count,
        Err(at) => versions.insert(at, (version, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("operation", include_str!("mod.rs"));
    }

    #[test]
    fn the_oldest_go_first_and_new_ones_are_of_the_newest_version() {
        let mut wanted = Wanted { versions: vec![(1, 3), (2, 2)], ..Wanted::default() };
        wanted.set_instances(7, 9);
        assert_eq!(wanted.versions, [(1, 3), (2, 4)]);
        wanted.set_instances(2, 9);
        assert_eq!(wanted.versions, [(2, 2)]);
        wanted.set_instances(0, 9);
        wanted.set_instances(1, 9);
        assert_eq!(wanted.versions, [(9, 1)]);
    }
}
