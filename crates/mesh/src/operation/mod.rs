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

use std::fmt;

use meshsim_actor::{Rng, Span};
use serde::{Deserialize, Serialize};

pub use extend::INSTANCES_MAX;
pub(crate) use scale::slots;

use crate::model::{Change, Mesh, Operation, Service, Strategy};

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

/// Most instances that an operation by hand may want, as one of a file.
pub const TO_MAX: u32 = 1_000_000;

/// The least time between two steps of an operation by hand: one that never settles must leave time for others.
pub const EVERY_MIN: Span = Span::from_millis(1);

/// Why an operation makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationError(pub &'static str);

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for OperationError {}

impl Operation {
    /// Checks it, for who got it from outside: what no file may say, nobody may say by hand.
    ///
    /// # Errors
    /// If the mesh has no such service, or a number means nothing (a rate of NaN).
    pub fn validate(&self, mesh: &Mesh) -> Result<(), OperationError> {
        let require = |holds: bool, what| if holds { Ok(()) } else { Err(OperationError(what)) };
        let rate_fits = |rate: f64| require(rate > 0.0 && rate <= 100.0, "the rate must be above 0 and at most 100");
        require(self.service.index() < mesh.services.len(), "there is no such service")?;
        require(self.times != Some(0), "an operation takes at least one step")?;
        match &self.change {
            Change::Deploy | Change::Undeploy => return Ok(()),
            Change::Extend { to, rate, .. } => {
                require(*to <= TO_MAX, "these are too many instances")?;
                rate_fits(*rate)?;
            }
            Change::Scale { by } => require(*by > 0.0 && *by <= 1e6, "the factor must be above 0 and at most 1000000")?,
            Change::Update { rate, strategy, .. } => {
                rate_fits(*rate)?;
                strategy.validate()?;
            }
        }
        require(self.every >= EVERY_MIN, "there must be at least 1ms between two steps")
    }
}

impl Strategy {
    fn validate(&self) -> Result<(), OperationError> {
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        match self {
            Strategy::Bernoulli | Strategy::Batch => Ok(()),
            Strategy::Rolling { max_surge, max_unavailable } if is_share(max_surge) && is_share(max_unavailable) => {
                Ok(())
            }
            Strategy::Rolling { .. } => Err(OperationError("surge and unavailable are shares, from 0 to 1")),
            Strategy::Canary { weights } => {
                let rise = weights.windows(2).all(|pair| pair[0] < pair[1]);
                let fit = weights.iter().all(|weight| *weight > 0.0 && is_share(weight));
                if rise && fit && !weights.is_empty() {
                    Ok(())
                } else {
                    Err(OperationError("a canary needs weights that rise, above 0 and up to 1"))
                }
            }
        }
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
        let of = |(version, count): &(u32, u32)| f64::from(*version) * f64::from(*count);
        // Not `sum`: the sum of no floats is -0.0, and would be written so.
        self.versions.iter().map(of).fold(0.0, |sum, v| sum + v) / f64::from(self.instances().max(1))
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
    use meshsim_actor::Time;

    use crate::model::{Feedback, Rounding, ServiceId};

    #[test]
    fn what_no_file_may_say_is_named_and_what_one_may_passes() {
        let service = Service {
            name: "s".into(),
            instances: 1,
            capacity: 1.0,
            capacity_min: 0.0,
            capacity_max: 10.0,
            version: 1,
            cpu: 0.0,
            start_delay: Span::ZERO,
            drain_delay: Span::ZERO,
            queue: 0,
            balancer: Default::default(),
            endpoints: vec![],
            behaviours: vec![],
        };
        let mesh = Mesh { services: vec![service], ..Mesh::default() };
        let validated = |change| {
            let (at, service, every) = (Time::ZERO, ServiceId(0), EVERY_MIN);
            Operation { at, service, change, every, times: None }.validate(&mesh)
        };
        let extend =
            |to, rate| validated(Change::Extend { to, rate, rounding: Rounding::Away, feedback: Feedback::Commanded });
        let update = |rate, strategy| validated(Change::Update { to: 2, rate, strategy });
        let rolling = |max_surge, max_unavailable| update(1.0, Strategy::Rolling { max_surge, max_unavailable });
        let canary = |weights: &[f64]| update(1.0, Strategy::Canary { weights: weights.into() });
        let sound = [
            extend(0, 0.1),
            extend(TO_MAX, 100.0),
            validated(Change::Scale { by: 0.5 }),
            validated(Change::Deploy),
            update(0.3, Strategy::Batch),
            rolling(0.0, 1.0),
            canary(&[0.1, 1.0]),
        ];
        assert_eq!(sound, [Ok(()); 7]);
        let nonsense = [
            extend(u32::MAX, 0.1),
            extend(1, f64::NAN),
            extend(1, 0.0),
            extend(1, f64::INFINITY),
            validated(Change::Scale { by: -1.0 }),
            validated(Change::Scale { by: f64::NAN }),
            update(f64::NAN, Strategy::Bernoulli),
            rolling(f64::NAN, 0.0),
            rolling(0.0, 1e300),
            canary(&[]),
            canary(&[0.5, 0.5]),
            canary(&[f64::NAN]),
            canary(&[0.5, 1.1]),
        ];
        assert!(nonsense.iter().all(Result::is_err), "{nonsense:?}");
        let operation = Operation {
            at: Time::ZERO,
            service: ServiceId(0),
            change: Change::Scale { by: 2.0 },
            every: Span::from_secs(1),
            times: None,
        };
        assert!(Operation { service: ServiceId(1), ..operation.clone() }.validate(&mesh).is_err());
        assert!(Operation { every: Span::ZERO, ..operation.clone() }.validate(&mesh).is_err());
        assert!(Operation { times: Some(0), ..operation }.validate(&mesh).is_err());
    }

    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("operation", include_str!("mod.rs"));
    }

    #[test]
    fn v_without_instances_is_a_plain_zero() {
        let v = Wanted::default().v_mean();
        assert!(v == 0.0 && v.is_sign_positive(), "{v:?}");
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
