//! Operations of the coordinator on a service, each a recurrence that is iterated step by step.
//!
//! Each operation is a pure function of the desired state and of the reports of the nodes: it returns the next desired
//! state, and whether there is more to do. The coordinator rounds here, once for the whole mesh; splitting over nodes
//! comes after.
//!
//! # Concurrent operations on one service
//!
//! Operations of different kinds combine, and the second of a kind supersedes the first.
//!
//! - An extend moves S, a scale C and an update V. They are different quantities, so they run side by side, as they do
//!   in Kubernetes (a Deployment can be scaled while it rolls). Queueing would make a service that needs instances wait
//!   for an update that may take minutes; replacing would leave an update half done.
//! - Two of one kind would pull one quantity toward two targets. The newer one has the desired target: the older one
//!   ends as [`Replaced`](crate::measure::OperationOutcome::Superseded), at the value that it has reached.
//! - An undeploy supersedes all. A deploy of a service that is deployed is refused, and disturbs none.
//! - S counts the instances that are desired to stay. Temporary ones, such as a surge, are [extra](Desired::extra) and
//!   not part of S: an extend neither counts nor keeps them. The update that added them removes them, or the one that
//!   supersedes that update does.
//! - New instances get the [target version](Desired::target), that of the last update: never the one that is being
//!   left. When instances are removed, those of other versions go first, and of these the ones that are not ready.
//! - A rolling update in progress decides how the instances follow S, so that its bounds, for the current S, hold.
//! - During a [canary](Canary), S counts the instances that stay and the canary's are extra, `ceil(w S)` for the
//!   current S. New ones of S are of the version that stays. An update to another version removes the canary's
//!   instances at once, a rollback among them; a rolling one within its bounds. One to the same version begins with
//!   them; if it is no canary, requests are shared by instance from then on.
//!
//! - Drains of several nodes go on side by side, within one disruption budget.
//! - A [rollout](crate::rollout) moves V too: it and an update supersede each other. Its new version is a canary.
//!
//! To add one: a file here with an `iterate`, a variant of [`Change`] and of [`OperationKind`], a line in [`iterate`].

pub(crate) mod canary;
mod deploy;
mod extend;
mod flush;
mod rolling;
mod scale;
mod undeploy;
mod update;

use std::fmt;

use meshsim_actor::{Rng, Span};
use serde::{Deserialize, Serialize};

pub use canary::{Canary, canary_instances};
pub use extend::INSTANCES_MAX;
pub use rolling::{Rolling, rolling_bounds};
pub use scale::slots;

use crate::measure::OperationKind;
use crate::model::{Amount, Change, Mesh, Operation, Service, Strategy};

/// Desired state of one service: the state of its recurrences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// True between deploy and undeploy.
    pub deployed: bool,
    /// S, as the recurrence has it.
    pub s: f64,
    /// S in whole instances. What is extra for a time is not among them; see [`Desired::extra`].
    pub instances: u32,
    /// C.
    pub c: f64,
    /// V, as the recurrence has it.
    pub v: f64,
    /// The version that instances are to be of: new ones get it, and where some go, those of others go first. A
    /// canary's version is that only when the old ones go.
    pub target: u32,
    /// All instances that are to run, by version: rising versions, counts above zero.
    pub versions: Vec<(u32, u32)>,
    /// Bounds of the rolling update in progress, if there is one: it decides which instances make up S.
    pub rolling: Option<Rolling>,
    /// The canary in progress, if there is one: its instances are extra.
    pub canary: Option<Canary>,
}

/// Observed state of one service, as the nodes last reported it; stale by network delay and lost messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observed<'a> {
    /// Instances that take requests, by version: rising versions.
    pub ready: &'a [(u32, u32)],
    /// Of these, the ones that are to stay where they are: on no node more than its share. What was ordered to go
    /// is not counted on, even before its node has said that it went.
    pub available: &'a [(u32, u32)],
}

impl<'a> Observed<'a> {
    /// All that is ready is to stay.
    pub fn of(ready: &'a [(u32, u32)]) -> Self {
        Observed { ready, available: ready }
    }

    fn available(&self, version: u32) -> u32 {
        count_of(self.available, version)
    }
}

/// Result of an iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Iteration {
    /// A step was decided; there are more to come.
    Step,
    /// A step was decided, and it was the last: the target is reached.
    Last,
    /// Nothing can be decided before the nodes report more.
    Wait,
    /// Nothing is left to decide.
    Reached,
    /// The rounding cannot come nearer; this much is left (wanted minus reached).
    Stuck(f64),
    /// The operation does not apply in the current state: the service is not deployed, or already is.
    Refused,
}

/// Turns an operation once: the `k`-th time, from 0.
pub fn iterate(
    change: &Change,
    k: u32,
    service: &Service,
    wanted: &mut Desired,
    observed: Observed<'_>,
    rng: &mut Rng,
) -> Iteration {
    if wanted.deployed == matches!(change, Change::Deploy) && !matches!(change, Change::Set(_)) {
        return Iteration::Refused;
    }
    match change {
        Change::Deploy => deploy::iterate(service, wanted),
        Change::Undeploy => undeploy::iterate(wanted),
        Change::Flush => flush::iterate(),
        Change::Extend { to, rate, rounding, feedback } => extend::iterate(
            extend::Extend { to: *to, rate: *rate, rounding: *rounding, feedback: *feedback },
            wanted,
            observed,
            rng,
        ),
        Change::Scale { by } => scale::iterate(*by, service, wanted),
        Change::Update { to, rate, strategy } => {
            update::iterate(update::Update { to: *to, rate: *rate, strategy, k }, wanted, observed, rng)
        }
        // The coordinator tells it with the view; it moves no recurrence.
        Change::Set(_) => Iteration::Reached,
        // They need the time and measurements: `RolloutProgress` advances them.
        Change::Rollout(_) | Change::Steer(_) => Iteration::Refused,
        // It changes where instances are, and not how many: the coordinator evicts them.
        Change::Drain(_) => Iteration::Refused,
    }
}

/// Largest target of a manual operation, as of one in a file.
pub const TO_MAX: u32 = 1_000_000;

/// Smallest interval between two steps of a manual operation: one that never settles must leave time for others.
pub const EVERY_MIN: Span = Span::from_millis(1);

/// Reason why an operation is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationError(pub &'static str);

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for OperationError {}

impl Operation {
    /// Validates an operation of an external client: the limits are those of the file.
    ///
    /// # Errors
    /// If the mesh has no such service, or a number is meaningless (a rate of NaN).
    pub fn validate(&self, mesh: &Mesh) -> Result<(), OperationError> {
        let require = |holds: bool, what| if holds { Ok(()) } else { Err(OperationError(what)) };
        let rate_fits = |rate: f64| require(rate > 0.0 && rate <= 100.0, "the rate must be above 0 and at most 100");
        require(self.service.index() < mesh.services.len(), "unknown service")?;
        require(self.times != Some(0), "an operation takes at least one step")?;
        match &self.change {
            Change::Deploy | Change::Undeploy | Change::Flush | Change::Steer(_) => return Ok(()),
            Change::Set(setting) => return require(setting.is_sound(self.service, mesh), "no such value"),
            Change::Extend { to, rate, .. } => {
                require(*to <= TO_MAX, "too many instances")?;
                rate_fits(*rate)?;
            }
            Change::Scale { by } => require(*by > 0.0 && *by <= 1e6, "the factor must be above 0 and at most 1000000")?,
            Change::Update { rate, strategy, .. } => {
                rate_fits(*rate)?;
                strategy.validate()?;
            }
            Change::Rollout(rollout) => rollout.validate(&mesh.control).map_err(OperationError)?,
            Change::Drain(drain) => require((drain.node as usize) < mesh.nodes.len(), "unknown node")?,
        }
        require(self.every >= EVERY_MIN, "there must be at least 1ms between two steps")
    }
}

impl Strategy {
    fn validate(&self) -> Result<(), OperationError> {
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        let is_amount = |amount: &Amount| match amount {
            Amount::Instances(count) => *count <= TO_MAX,
            Amount::Share(share) => is_share(share),
        };
        match self {
            Strategy::Bernoulli | Strategy::Batch => Ok(()),
            Strategy::Rolling { max_surge, max_unavailable } => {
                if !is_amount(max_surge) || !is_amount(max_unavailable) {
                    return Err(OperationError("surge and unavailable are numbers of instances, or shares up to 100%"));
                }
                if max_surge.is_zero() && max_unavailable.is_zero() {
                    return Err(OperationError("a rolling update needs a surge or an unavailable instance"));
                }
                Ok(())
            }
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

/// True if an operation of this kind supersedes one in progress on the same service.
pub fn supersedes(newer: OperationKind, older: OperationKind) -> bool {
    let is_of_version = |kind| matches!(kind, OperationKind::Update | OperationKind::Rollout);
    let is_same = newer == older && newer != OperationKind::Drain;
    is_same || newer == OperationKind::Undeploy || (is_of_version(newer) && is_of_version(older))
}

/// Distance of an operation from its target: target minus reached value, in its own unit.
pub fn residual(change: &Change, wanted: &Desired) -> f64 {
    match change {
        Change::Deploy | Change::Undeploy | Change::Flush | Change::Set(_) | Change::Scale { .. } => 0.0,
        Change::Steer(_) | Change::Drain(_) => 0.0,
        Change::Rollout(rollout) => f64::from(rollout.to) - wanted.v_mean(),
        Change::Extend { to, .. } => f64::from(*to) - f64::from(wanted.instances),
        Change::Update { to, .. } => f64::from(*to) - wanted.v_mean(),
    }
}

/// Ends an operation before it has reached its target: it takes no further step.
pub fn stop(change: &Change, wanted: &mut Desired) {
    if matches!(change, Change::Update { .. }) {
        wanted.rolling = None;
    }
}

impl Desired {
    /// A deployed service of `instances` instances, all of this version.
    pub fn of_one_version(instances: u32, version: u32) -> Self {
        let mut wanted = Desired {
            deployed: true,
            s: f64::from(instances),
            instances,
            v: f64::from(version),
            target: version,
            ..Desired::default()
        };
        add(&mut wanted.versions, version, instances);
        wanted
    }

    /// All instances that must run: S and the extra ones.
    pub fn running(&self) -> u32 {
        total(&self.versions)
    }

    /// Instances above S that are to run for a time only, such as the surge of a rolling update, or a canary.
    pub fn extra(&self) -> u32 {
        self.running().saturating_sub(self.instances)
    }

    /// The share of requests that a version is to get as a canary; 1 if all instances are of it, 0 if it is no canary.
    pub fn weight_of(&self, version: u32) -> f64 {
        match &self.canary {
            Some(canary) if canary.version == version => canary.weight(),
            _ if self.target == version && self.other_than(version) == 0 => 1.0,
            _ => 0.0,
        }
    }

    /// True if all instances of the canary are ready, and its weight is in force.
    pub(crate) fn has_canary_ready(&self, observed: Observed<'_>) -> bool {
        let is_ready = |canary: &Canary| {
            let ready = observed.available(canary.version);
            let in_force = canary.in_force(self.instances, ready);
            self.instances == 0 || (ready >= canary.beside(self.instances) && in_force == canary.weight())
        };
        self.canary.as_ref().is_some_and(is_ready)
    }

    /// V as the mean over all instances that are to run; 0 without instances.
    pub fn v_mean(&self) -> f64 {
        let of = |(version, count): &(u32, u32)| f64::from(*version) * f64::from(*count);
        // Not `sum`: the sum of no floats is -0.0, and would be written so.
        self.versions.iter().map(of).fold(0.0, |sum, v| sum + v) / f64::from(self.running().max(1))
    }

    /// Fraction of the requests that each version gets while these instances are ready (both by rising version): a
    /// canary its [weight in force](Canary::in_force), and the others in equal parts per instance.
    pub fn request_shares(&self, ready: &[(u32, u32)]) -> Vec<(u32, f64)> {
        let canary = self.canary.as_ref().map(|canary| {
            let count = count_of(ready, canary.version);
            (canary.version, count, canary.in_force(self.instances, count))
        });
        let (version, beside, weight) = canary.unwrap_or((0, 0, 0.0));
        let others = total(ready) - beside;
        // If one version has no ready instance, the other serves.
        let weight = match (beside, others) {
            (0, _) => 0.0,
            (_, 0) => 1.0,
            _ => weight,
        };
        let share = |(of, count): &(u32, u32)| match beside > 0 && *of == version {
            true => (*of, weight),
            false => (*of, (1.0 - weight) * f64::from(*count) / f64::from(others.max(1))),
        };
        ready.iter().map(share).filter(|(_, share)| *share > 0.0).collect()
    }

    /// So many instances are ready, by version: a canary's weight that is in force for them stays so.
    pub fn saw(&mut self, ready: &[(u32, u32)]) {
        if let Some(canary) = &mut self.canary {
            canary.saw(self.instances, count_of(ready, canary.version));
        }
    }

    /// Sets S in whole instances. New ones get the target version. A rolling update or a canary in progress decides how
    /// the instances follow; otherwise no instance is extra afterwards.
    fn set_instances(&mut self, instances: u32, observed: Observed<'_>) {
        self.instances = instances;
        if let Some(rolling) = self.rolling {
            rolling::roll(self, rolling, observed);
            return;
        }
        if self.canary.is_some() {
            canary::follow(self, observed);
            return;
        }
        let more = instances.saturating_sub(self.running());
        add(&mut self.versions, self.target, more);
        self.drop_extra(observed);
    }

    /// Removes the extra instances and returns their number: first those that are not of the target version, of these
    /// first those that are not ready.
    fn drop_extra(&mut self, observed: Observed<'_>) -> u32 {
        let (extra, target) = (self.extra(), self.target);
        let left = extra - self.take_others(target, extra, observed);
        if let Some((_, have)) = self.versions.iter_mut().find(|(version, _)| *version == target) {
            *have = have.saturating_sub(left);
        }
        self.versions.retain(|(_, have)| *have > 0);
        extra
    }

    /// Moves `count` instances to version `to`.
    fn move_to(&mut self, to: u32, count: u32, observed: Observed<'_>) {
        let moved = self.take_others(to, count, observed);
        add(&mut self.versions, to, moved);
    }

    /// Takes `count` instances away that are not of version `but`, or all there are, and says how many that were. Those
    /// that are not ready go first, then lower versions before higher ones.
    fn take_others(&mut self, but: u32, count: u32, observed: Observed<'_>) -> u32 {
        let mut left = count;
        for only_unready in [true, false] {
            for (version, have) in self.versions.iter_mut().filter(|(version, _)| *version != but) {
                let stay = if only_unready { observed.available(*version).min(*have) } else { 0 };
                let gone = left.min(*have - stay);
                *have -= gone;
                left -= gone;
            }
        }
        self.versions.retain(|(_, have)| *have > 0);
        count - left
    }

    /// Instances of any version but this.
    fn other_than(&self, version: u32) -> u32 {
        self.running() - count_of(&self.versions, version)
    }

    /// The versions but this, with how many there are to be of each.
    fn old(&self, version: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.versions.iter().copied().filter(move |(v, _)| *v != version)
    }
}

/// All counts together.
pub(crate) fn total(versions: &[(u32, u32)]) -> u32 {
    versions.iter().map(|(_, count)| count).sum()
}

/// Number of instances of one version.
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
pub(crate) mod tests {
    use super::*;
    use meshsim_actor::Time;

    use crate::model::{Feedback, Rounding, ServiceId};

    pub(crate) fn service() -> Service {
        Service {
            name: "s".into(),
            instances: 1,
            capacity: 1.0,
            capacity_min: 0.0,
            capacity_max: 10.0,
            version: 1,
            cpu: 0.0,
            cpu_limit: None,
            start_delay: Span::ZERO,
            drain_delay: Span::ZERO,
            grace: None,
            queue: 0,
            balancer: Default::default(),
            selection: None,
            policies: None,
            serving: None,
            autoscale: None,
            disruption_budget: None,
            endpoints: vec![],
            behaviours: vec![],
        }
    }

    #[test]
    fn what_no_file_may_say_is_named_and_what_one_may_passes() {
        let mesh = Mesh { services: vec![service()], ..Mesh::default() };
        let validated = |change| {
            let (at, service, every) = (Time::ZERO, ServiceId(0), EVERY_MIN);
            Operation { at, service, change, every, times: None }.validate(&mesh)
        };
        let extend =
            |to, rate| validated(Change::Extend { to, rate, rounding: Rounding::Away, feedback: Feedback::Commanded });
        let update = |rate, strategy| validated(Change::Update { to: 2, rate, strategy });
        let rolling = |max_surge, max_unavailable| update(1.0, Strategy::Rolling { max_surge, max_unavailable });
        let shares = |surge, unavailable| rolling(Amount::Share(surge), Amount::Share(unavailable));
        let counts = |surge, unavailable| rolling(Amount::Instances(surge), Amount::Instances(unavailable));
        let canary = |weights: &[f64]| update(1.0, Strategy::Canary { weights: weights.into() });
        let sound = [
            extend(0, 0.1),
            extend(TO_MAX, 100.0),
            validated(Change::Scale { by: 0.5 }),
            validated(Change::Deploy),
            update(0.3, Strategy::Batch),
            shares(0.0, 1.0),
            counts(0, 1),
            canary(&[0.1, 1.0]),
        ];
        assert_eq!(sound, [Ok(()); 8]);
        let nonsense = [
            extend(u32::MAX, 0.1),
            extend(1, f64::NAN),
            extend(1, 0.0),
            extend(1, f64::INFINITY),
            validated(Change::Scale { by: -1.0 }),
            validated(Change::Scale { by: f64::NAN }),
            update(f64::NAN, Strategy::Bernoulli),
            shares(f64::NAN, 0.0),
            shares(0.0, 1e300),
            shares(0.0, 0.0),
            counts(0, 0),
            counts(u32::MAX, 0),
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
        crate::expect_registered("operation", &include_str!("mod.rs").replace("pub(crate) mod", "mod"));
    }

    #[test]
    fn v_without_instances_is_a_plain_zero() {
        let v = Desired::default().v_mean();
        assert!(v == 0.0 && v.is_sign_positive(), "{v:?}");
    }

    /// The versions after S was set to each of `instances` in turn, with none ready.
    fn after_setting(wanted: &mut Desired, instances: &[u32]) -> Vec<(u32, u32)> {
        instances.iter().for_each(|n| wanted.set_instances(*n, Observed::default()));
        wanted.versions.clone()
    }

    #[test]
    fn new_instances_are_of_the_target_version_and_others_go_first() {
        let mixed = |target, versions: &[(u32, u32)]| {
            let instances = total(versions);
            Desired { instances, target, versions: versions.to_vec(), ..Desired::default() }
        };
        let mut forward = mixed(2, &[(1, 3), (2, 2)]);
        assert_eq!(after_setting(&mut forward, &[7]), [(1, 3), (2, 4)]);
        assert_eq!(after_setting(&mut forward, &[2]), [(2, 2)]);
        assert_eq!(after_setting(&mut forward, &[0, 1]), [(2, 1)]);
        // In a rollback from 3 to 1: shrinking 10 to 5 leaves V at 1, and growing makes none of the version that is
        // left.
        let back = mixed(1, &[(1, 6), (3, 4)]);
        assert!((back.v_mean() - 1.8).abs() < 1e-12);
        assert_eq!(after_setting(&mut back.clone(), &[5]), [(1, 5)]);
        assert_eq!(after_setting(&mut back.clone(), &[8]), [(1, 6), (3, 2)]);
        assert_eq!(after_setting(&mut back.clone(), &[15]), [(1, 11), (3, 4)]);
    }

    #[test]
    fn of_the_versions_that_go_the_unready_instances_go_first() {
        let mut wanted =
            Desired { instances: 9, target: 3, versions: vec![(1, 3), (2, 3), (3, 3)], ..Desired::default() };
        wanted.set_instances(7, Observed::of(&[(1, 3), (2, 1), (3, 3)]));
        assert_eq!(wanted.versions, [(1, 3), (2, 1), (3, 3)]);
        wanted.set_instances(6, Observed::of(&[(1, 3), (2, 1), (3, 3)]));
        assert_eq!(wanted.versions, [(1, 2), (2, 1), (3, 3)]);
    }

    #[test]
    fn an_extend_during_a_rolling_update_moves_s_and_keeps_the_bounds() {
        // Ten, in the first round: eight old ones ready, five new ones start.
        let quarter = Amount::Share(0.25);
        let rolling = Some(Rolling { max_surge: quarter, max_unavailable: quarter });
        let first = Desired { target: 2, versions: vec![(1, 8), (2, 5)], rolling, ..Desired::of_one_version(10, 1) };
        let observed = Observed::of(&[(1, 8)]);
        let to = |n| {
            let mut wanted = first.clone();
            wanted.set_instances(n, observed);
            (wanted.instances, wanted.extra(), wanted.versions)
        };
        // S is the requested number; the surge comes on top. Of five, four must be ready, and no new one is.
        assert_eq!(to(15), (15, 4, vec![(1, 8), (2, 11)]));
        assert_eq!(to(5), (5, 2, vec![(1, 4), (2, 3)]));
        assert_eq!(to(10), (10, 3, vec![(1, 8), (2, 5)]));
    }

    #[test]
    fn an_update_that_takes_the_place_of_a_rolling_one_drops_its_surge() {
        let quarter = Amount::Share(0.25);
        let rolling = Some(Rolling { max_surge: quarter, max_unavailable: quarter });
        let mut wanted =
            Desired { target: 2, versions: vec![(1, 8), (2, 5)], rolling, ..Desired::of_one_version(10, 1) };
        let batch = Change::Update { to: 1, rate: 1.0, strategy: Strategy::Batch };
        let turn = iterate(&batch, 0, &service(), &mut wanted, Observed::of(&[(1, 8)]), &mut Rng::stream(1, "x"));
        assert_eq!((turn, wanted.extra(), wanted.rolling), (Iteration::Last, 0, None));
        assert_eq!(wanted.versions, [(1, 10)]);
    }
}
