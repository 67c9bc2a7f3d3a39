//! Steps of the coordinator.

use std::collections::BTreeMap;

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Decision, Msg, NodeStep, Share};
use meshsim_mesh::model::{COORDINATOR, ServiceId};

use super::{At, Check, Content, Event};

/// The steps so far, by number, and the generation of each by its service and number.
#[derive(Default)]
pub(super) struct Decisions {
    steps: BTreeMap<u64, Decision>,
    generations: BTreeMap<(ServiceId, u64), u64>,
    /// Digests of snapshots up to steps that were sent to no node: there was none to send them to.
    snapshots: BTreeMap<u64, u64>,
    /// What each step gives a node, for the steps that it has not acknowledged.
    shares: BTreeMap<ActorId, BTreeMap<u64, Share>>,
}

impl Check for Decisions {
    fn rule(&self) -> &'static str {
        "steps and generations have no gaps, and one content for all nodes"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, _: &Mesh) -> Option<Result<(), String>> {
        if actor != COORDINATOR {
            return None;
        }
        match event {
            // It has lost its log, and begins another.
            Event::Wiped => {
                *self = Decisions::default();
                None
            }
            Event::Arrived(node, Content::Control(msg)) => {
                if let Msg::Ack(ack) = &**msg
                    && let Some(shares) = self.shares.get_mut(node)
                {
                    *shares = shares.split_off(&(ack.applied + 1));
                }
                None
            }
            Event::Sent(node, Msg::Steps(steps)) => Some(steps.iter().try_for_each(|step| {
                self.add(&step.decision)?;
                self.gives(*node, step)
            })),
            Event::Sent(_, Msg::Snapshot(snapshot)) => Some(match self.steps.get(&snapshot.n) {
                _ if snapshot.n == 0 => Ok(()),
                Some(step) if step.digest == snapshot.digest => Ok(()),
                None if *self.snapshots.entry(snapshot.n).or_insert(snapshot.digest) == snapshot.digest => Ok(()),
                _ => Err(format!("sends a snapshot of another history up to step {}", snapshot.n)),
            }),
            _ => None,
        }
    }
}

impl Decisions {
    fn add(&mut self, step: &Decision) -> Result<(), String> {
        let last = self.steps.last_key_value().map_or(0, |(n, _)| *n);
        let covered = self.snapshots.last_key_value().map_or(0, |(n, _)| *n);
        match self.steps.get(&step.n) {
            // A coordinator that came back repeats its steps in its new term.
            Some(known) if *known == Decision { epoch: known.epoch, ..step.clone() } => Ok(()),
            Some(_) => Err(format!("sends step {} with another content than before", step.n)),
            None if self.snapshots.get(&step.n).is_some_and(|digest| *digest != step.digest) => {
                Err(format!("sends step {} of another history than its snapshot", step.n))
            }
            None if step.n == last + 1 || step.n <= covered + 1 => {
                let fits = self.fits(step, covered);
                self.generations.insert((step.service, step.n), step.generation);
                self.steps.insert(step.n, step.clone());
                fits
            }
            None => Err(format!("sends step {} after step {last}", step.n)),
        }
    }

    /// A step that is sent to a node again gives it the same.
    fn gives(&mut self, node: ActorId, step: &NodeStep) -> Result<(), String> {
        let n = step.decision.n;
        let before = self.shares.entry(node).or_default().entry(n).or_insert_with(|| step.share.clone());
        if *before == step.share { Ok(()) } else { Err(format!("sends step {n} again, and it gives something else")) }
    }

    /// The generation follows that of the service's step before, by number. Those up to `covered` are in a snapshot:
    /// they may have been sent to no node, or are sent after later ones.
    fn fits(&self, step: &Decision, covered: u64) -> Result<(), String> {
        let (service, n) = (step.service, step.n);
        let before = self.generations.range((service, 0)..(service, n)).next_back();
        let (at, before) = before.map_or((0, 0), |((_, at), generation)| (*at, *generation));
        let after =
            self.generations.range((service, n)..=(service, u64::MAX)).next().map(|(_, generation)| *generation);
        let follows = if at < covered { step.generation > before } else { step.generation == before + 1 };
        match after.filter(|after| step.generation >= *after) {
            _ if !follows => Err(format!("sends step {n} with generation {} after {before}", step.generation)),
            Some(after) => Err(format!("sends step {n} with generation {} before {after}", step.generation)),
            None => Ok(()),
        }
    }
}
