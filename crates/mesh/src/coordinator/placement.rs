//! Placement of instances on nodes.
//!
//! Placement changes as little as it can. Desired instances that have a place stay there, version by version: only the
//! surplus of a version is removed, and only its shortage is added. Removal takes first the instances that are not
//! ready, then those on the nodes that the policy ranks lowest; addition takes the nodes that it ranks highest. So a
//! step never stops an instance to start an equal one on another node, and the number of ready instances that the step
//! was decided with still holds after placement. Instances on a leaving node are replaced on other nodes, and stay
//! until their replacements are ready. Everything is counted in whole thousandths of a core, so that no rounding of
//! floats ever decides an order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use serde::{Deserialize, Serialize};

use crate::message::Share;
use crate::model::{Mesh, NodeSpec, Placement};
use crate::mutant::Mutant;
use crate::operation::{Desired, count_of, total};

/// The nodes, and the cores reserved on them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct NodeResources {
    nodes: Vec<Machine>,
    /// Rises when a node with instances stays no longer, or stays again.
    revision: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    alive: bool,
    /// Its node leaves: nothing more is placed there.
    leaving: bool,
    /// Its node is drained, or in reserve: nothing more is placed there, and what is there stays until it is evicted.
    closed: bool,
    /// Thousandths of a core.
    cores: u64,
    /// Of these, reserved by instances.
    reserved: u64,
    /// Instances of any service.
    instances: u32,
}

/// Placement of the instances of one service: (node, share) by rising node, no empty share.
pub(super) type ServicePlacement = Vec<(u32, Share)>;

/// Inputs of the placement of one service.
pub(super) struct Placing<'a> {
    pub(super) policy: Placement,
    /// Cores that each instance takes.
    pub(super) cpu: f64,
    pub(super) wanted: &'a Desired,
    /// Number of ready instances of a version on a node, by its last report.
    pub(super) ready_on: &'a dyn Fn(u32, u32) -> u32,
    /// Of these, the number that may replace instances on leaving nodes.
    pub(super) replaces_on: &'a dyn Fn(u32, u32) -> u32,
}

/// The instances of one service while they are placed.
#[derive(Clone)]
struct Layout {
    policy: Placement,
    /// Thousandths of a core that each instance takes.
    cpu: u64,
    /// Weights of the nodes' quotas: their free cores, including those that this service uses there.
    weights: Vec<u64>,
    /// The sum of the weights.
    sum: i128,
    /// Instances on each node, of any version.
    have: Vec<u32>,
    /// By rising node; some may be empty.
    placed: Vec<(u32, Share)>,
}

/// Thousandths of a core.
fn milli(cores: f64) -> u64 {
    (cores * 1000.0).round() as u64
}

impl Machine {
    fn stays(&self) -> bool {
        self.alive && !self.leaving
    }

    fn takes_more(&self) -> bool {
        self.stays() && !self.closed
    }

    fn free(&self) -> u64 {
        self.cores.saturating_sub(self.reserved)
    }
}

impl NodeResources {
    pub(super) fn new(mesh: &Mesh) -> Self {
        let machine = |node: &NodeSpec| Machine {
            alive: node.is_there_at_start(),
            leaving: false,
            closed: false,
            cores: milli(node.cores),
            reserved: 0,
            instances: 0,
        };
        let mut resources = NodeResources { nodes: mesh.nodes.iter().map(machine).collect(), revision: 0 };
        super::pool::in_reserve(mesh).for_each(|node| resources.set_closed(node, true));
        resources
    }

    /// Instances are placed on nodes that are alive alone.
    pub(super) fn set_alive(&mut self, node: usize, alive: bool) {
        self.change(node, |machine| machine.alive = alive);
    }

    /// Sets whether a node leaves; nothing is placed on one that does.
    pub(super) fn set_leaving(&mut self, node: usize, leaving: bool) {
        self.change(node, |machine| machine.leaving = leaving);
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut Machine)) {
        let machine = &mut self.nodes[node];
        let stayed = machine.stays();
        change(machine);
        if machine.stays() != stayed && machine.instances > 0 {
            self.revision += 1;
        }
    }

    /// A number that changes whenever [`count_staying`](Self::count_staying) of a placement may.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Sets whether nothing more is placed on a node, though it stays.
    pub(super) fn set_closed(&mut self, node: usize, closed: bool) {
        self.nodes[node].closed = closed;
    }

    /// Share of a node's cores that is reserved.
    pub(super) fn reserved(&self, node: usize) -> f64 {
        self.nodes[node].reserved as f64 / self.nodes[node].cores.max(1) as f64
    }

    /// Instances of a service went from a node; each reserved so many cores.
    pub(super) fn release(&mut self, node: usize, cpu: f64, instances: u32) {
        self.take(node, milli(cpu), -i64::from(instances));
    }

    /// True if nodes that take more have room for all of these instances: cores of one, and their number. Nodes that
    /// are `without` do not count. The largest instances are placed first, each on the first node with room.
    pub(super) fn has_room(&self, instances: &[(f64, u32)], without: usize) -> bool {
        let takes_more = |(node, machine): &(usize, &Machine)| *node != without && machine.takes_more();
        let mut free: Vec<u64> = self.nodes.iter().enumerate().filter(takes_more).map(|(_, it)| it.free()).collect();
        left_over(instances, &mut free).is_empty()
    }

    /// The number of further nodes that these instances need, of nodes with so many cores; at most `most`. Instances
    /// that no such node has room for do not count.
    pub(super) fn nodes_for(&self, instances: &[(f64, u32)], cores: f64, most: usize) -> usize {
        let fit: Vec<_> = instances.iter().copied().filter(|(cpu, _)| milli(*cpu) <= milli(cores)).collect();
        (0..most).find(|count| left_over(&fit, &mut vec![milli(cores); *count]).is_empty()).unwrap_or(most)
    }

    /// Splits a placement into the part on nodes that stay and the part on nodes that leave. The part on dead nodes is
    /// in neither.
    pub(super) fn split(&self, placed: &ServicePlacement) -> (ServicePlacement, ServicePlacement) {
        let alive = placed.iter().filter(|(node, _)| self.nodes[*node as usize].alive).cloned();
        alive.partition(|(node, _)| self.nodes[*node as usize].stays())
    }

    /// Instances of a placement on nodes that stay.
    pub(super) fn count_staying(&self, placed: &ServicePlacement) -> u32 {
        let stays = |node: u32| self.nodes[node as usize].stays();
        placed.iter().filter(|(node, _)| stays(*node)).map(|(_, share)| total(share)).sum()
    }

    /// Instances, of any service, that are placed on a node.
    pub(super) fn instances(&self, node: usize) -> u32 {
        self.nodes[node].instances
    }

    /// Places the desired instances of a service. Instances for which no node has room stay unplaced; those of dead
    /// nodes are placed on others.
    ///
    /// If cores are scarce, instances of the target version get them first.
    pub(super) fn place(&mut self, placing: Placing<'_>, before: &ServicePlacement) -> ServicePlacement {
        let Placing { policy, cpu, wanted, ready_on, replaces_on } = placing;
        let (cpu, target) = (milli(cpu), wanted.target);
        for (node, share) in before {
            self.take(*node as usize, cpu, -i64::from(total(share)));
        }
        let (staying, leaving) = self.split(before);
        let mut layout = Layout::new(policy, cpu, self, staying);
        for (node, have) in layout.have.iter().enumerate().filter(|(_, have)| **have > 0) {
            self.take(node, cpu, i64::from(*have));
        }

        let mut versions = versions_of(&layout.placed);
        // Old ones go first, so that new ones find the room.
        versions.sort_by_key(|version| *version == target);
        for version in versions {
            let surplus = layout.count(version).saturating_sub(count_of(&wanted.versions, version));
            let unready = |node, count: u32| count.saturating_sub(ready_on(node, version));
            let left = surplus - self.shrink(&mut layout, version, surplus, wanted.running(), unready);
            self.shrink(&mut layout, version, left, wanted.running(), |_, count| count);
        }
        let mut missing = wanted.versions.clone();
        missing.sort_by_key(|(version, _)| *version != target);
        for (version, count) in missing {
            let more = count.saturating_sub(layout.count(version));
            // The others are to go, in a rolling update now and in a canary perhaps: the new ones are spread among
            // themselves.
            let is_canary = wanted.canary.as_ref().is_some_and(|canary| canary.version == version);
            let among_themselves = is_canary || version == target && wanted.rolling.is_some();
            let goal = match among_themselves {
                true if is_canary => count,
                true => wanted.instances,
                false => wanted.running(),
            };
            self.grow(&mut layout, version, more, goal, among_themselves);
        }
        layout.placed.retain(|(_, share)| !share.is_empty());
        let mut placed = layout.placed;
        if Mutant::PlacedTwice.is_on() {
            let dead: Vec<_> = before.iter().filter(|(node, _)| !self.nodes[*node as usize].alive).cloned().collect();
            dead.iter().for_each(|(node, share)| self.take(*node as usize, cpu, i64::from(total(share))));
            placed.extend(dead);
            placed.sort_by_key(|(node, _)| *node);
        }
        if !leaving.is_empty() {
            // Instances that this step adds are not ready yet, whatever was reported before.
            let there = |node: u32, version| {
                let at = before.binary_search_by_key(&node, |(node, _)| *node);
                at.map_or(0, |at| count_of(&before[at].1, version)).min(replaces_on(node, version))
            };
            let needed = needed_still(&leaving, &placed, wanted, ready_on, &there);
            needed.iter().for_each(|(node, share)| self.take(*node as usize, cpu, i64::from(total(share))));
            placed.extend(needed);
            placed.sort_by_key(|(node, _)| *node);
        }
        placed
    }

    fn take(&mut self, node: usize, cpu: u64, instances: i64) {
        let machine = &mut self.nodes[node];
        machine.reserved = machine.reserved.saturating_add_signed(cpu as i64 * instances);
        machine.instances = machine.instances.saturating_add_signed(instances as i32);
    }

    /// Adds up to `more` instances of a version.
    ///
    /// `spread`: one by one to the node with the largest remainder (its quota of `goal` minus the instances it has)
    /// while it has room. Between equals the one with the fewest instances of the service, then of any, then the first.
    /// `bin_pack`: to the node with the least room that is enough. The instances that count for a node are of any
    /// version, or of this one `among_themselves`.
    fn grow(&mut self, layout: &mut Layout, version: u32, more: u32, goal: u32, among_themselves: bool) {
        if more == 0 {
            return;
        }
        let mut have = layout.have.clone();
        if among_themselves {
            have.fill(0);
            layout.placed.iter().for_each(|(node, share)| have[*node as usize] = count_of(share, version));
        }
        let cpu = layout.cpu;
        let key =
            |machines: &NodeResources, layout: &Layout, node: usize, have: u32| -> (i128, Reverse<u32>, Reverse<u32>) {
                let machine = &machines.nodes[node];
                match layout.policy {
                    Placement::Spread => {
                        let remainder =
                            i128::from(goal) * i128::from(layout.weights[node]) - i128::from(have) * layout.sum;
                        (remainder, Reverse(layout.have[node]), Reverse(machine.instances))
                    }
                    Placement::BinPack => (-i128::from(machine.free()), Reverse(0), Reverse(0)),
                }
            };
        let has_room = |machine: &Machine| machine.takes_more() && machine.free() >= cpu;
        let mut added = match layout.policy {
            Placement::Spread if more as usize > self.nodes.len() => self.fair_shares(layout, &have, goal, more),
            _ => vec![0; self.nodes.len()],
        };
        for (node, count) in added.iter().enumerate().filter(|(_, count)| **count > 0) {
            (have[node], layout.have[node]) = (have[node] + count, layout.have[node] + count);
            self.take(node, cpu, i64::from(*count));
        }
        let mut heap: BinaryHeap<_> = (0..self.nodes.len())
            .filter(|node| has_room(&self.nodes[*node]))
            .map(|node| (key(self, layout, node, have[node]), Reverse(node)))
            .collect();
        for _ in added.iter().sum()..more {
            let Some(mut first) = heap.peek_mut() else { break };
            let Reverse(node) = first.1;
            (have[node], layout.have[node], added[node]) = (have[node] + 1, layout.have[node] + 1, added[node] + 1);
            self.take(node, cpu, 1);
            match has_room(&self.nodes[node]) {
                true => first.0 = key(self, layout, node, have[node]),
                false => _ = PeekMut::pop(first),
            }
        }
        layout.add(version, &added);
    }

    /// The first of `more` instances that spread out, by node: those that come before all others, whatever decides
    /// between equals. Fewer than one for each node are left. With many instances on each node it is a fraction of the
    /// work of placing them one by one.
    fn fair_shares(&self, layout: &Layout, have: &[u32], goal: u32, more: u32) -> Vec<u32> {
        // Each instance that a node gets lowers its remainder by the sum of the weights.
        let step = layout.sum.max(1);
        let remainder =
            |node: usize| i128::from(goal) * i128::from(layout.weights[node]) - i128::from(have[node]) * step;
        let open = || (0..self.nodes.len()).filter(|node| self.nodes[*node].takes_more());
        let Some(highest) = open().map(remainder).max() else { return vec![0; self.nodes.len()] };
        // The number of them on a node with remainders above a bound, which is this many steps below the highest.
        let above = |node: usize, steps: u32| {
            let room = self.nodes[node].free().checked_div(layout.cpu).unwrap_or(u64::MAX);
            let first = remainder(node) - (highest - i128::from(steps) * step);
            let wanted = first.clamp(0, i128::from(u32::MAX) * step).unsigned_abs().div_ceil(step.unsigned_abs());
            u64::try_from(wanted).unwrap_or(u64::MAX).min(room)
        };
        let are_enough = |steps: u32| {
            let mut left = u64::from(more);
            // Stops at the first that is too much.
            open().all(|node| match left.checked_sub(above(node, steps)) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            })
        };
        // The lowest bound with at most `more` above it: a node can have no more steps than there are instances.
        let (mut low, mut high) = (0, more);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            (low, high) = if are_enough(middle) { (middle, high) } else { (low, middle - 1) };
        }
        let mut shares = vec![0; self.nodes.len()];
        open().for_each(|node| shares[node] = above(node, low) as u32);
        shares
    }

    /// The reverse of [`grow`](Self::grow): removes up to `fewer` instances of a version from the nodes that are
    /// furthest above their quota of `goal`, or, packed, from those with the most room. `most` bounds the removals from
    /// a node, given its number and its instances of that version. Returns the number removed.
    fn shrink(
        &mut self,
        layout: &mut Layout,
        version: u32,
        fewer: u32,
        goal: u32,
        most: impl Fn(u32, u32) -> u32,
    ) -> u32 {
        if fewer == 0 {
            return 0;
        }
        let key = |machines: &NodeResources, layout: &Layout, node: usize| -> (i128, u32) {
            let machine = &machines.nodes[node];
            match layout.policy {
                Placement::Spread => {
                    let quota = i128::from(goal) * i128::from(layout.weights[node]);
                    (i128::from(layout.have[node]) * layout.sum - quota, machine.instances)
                }
                Placement::BinPack => (i128::from(machine.free()), 0),
            }
        };
        let mut heap: BinaryHeap<_> = layout
            .placed
            .iter()
            .enumerate()
            .map(|(at, (node, share))| (at, *node, most(*node, count_of(share, version)).min(count_of(share, version))))
            .filter(|(.., most)| *most > 0)
            .map(|(at, node, most)| (key(self, layout, node as usize), node, at, most))
            .collect();
        let mut gone = 0;
        while gone < fewer
            && let Some((_, node, at, most)) = heap.pop()
        {
            gone += 1;
            self.take(node as usize, layout.cpu, -1);
            layout.have[node as usize] -= 1;
            layout.placed[at].1.take(version, 1);
            if most > 1 {
                heap.push((key(self, layout, node as usize), node, at, most - 1));
            }
        }
        gone
    }
}

impl Layout {
    /// `placed` is on nodes that are alive, and its cores are not reserved yet.
    fn new(policy: Placement, cpu: u64, machines: &NodeResources, placed: ServicePlacement) -> Self {
        let mut have = vec![0; machines.nodes.len()];
        placed.iter().for_each(|(node, share)| have[*node as usize] = total(share));
        let mut weights: Vec<u64> = machines.nodes.iter().map(|m| if m.takes_more() { m.free() } else { 0 }).collect();
        // Services that reserve nothing still spread.
        if weights.iter().all(|w| *w == 0) {
            weights = machines.nodes.iter().map(|m| u64::from(m.takes_more())).collect();
        }
        let sum = weights.iter().map(|w| i128::from(*w)).sum();
        Layout { policy, cpu, weights, sum, have, placed }
    }

    fn count(&self, version: u32) -> u32 {
        self.placed.iter().map(|(_, share)| count_of(share, version)).sum()
    }

    /// Adds so many instances of a version on each node. Both lists are gone through once, however many nodes are new.
    fn add(&mut self, version: u32, counts: &[u32]) {
        let before = std::mem::take(&mut self.placed);
        let is_new = |node: u32| before.binary_search_by_key(&node, |(n, _)| *n).is_err();
        let adding = || (0_u32..).zip(counts).filter(|(_, count)| **count > 0);
        let mut placed = Vec::with_capacity(before.len() + adding().filter(|(node, _)| is_new(*node)).count());
        let mut there = before.into_iter().peekable();
        for (node, count) in adding() {
            placed.extend(std::iter::from_fn(|| there.next_if(|(n, _)| *n < node)));
            let (_, mut share) = there.next_if(|(n, _)| *n == node).unwrap_or((node, Share::new()));
            share.add(version, *count);
            placed.push((node, share));
        }
        placed.extend(there);
        self.placed = placed;
    }
}

/// The part of the leaving nodes' instances that must stay for now: of each version the desired number of ready ones,
/// minus those that are certain to be ready on nodes that stay.
pub(super) fn needed_still(
    leaving: &ServicePlacement,
    staying: &ServicePlacement,
    wanted: &Desired,
    ready_on: &dyn Fn(u32, u32) -> u32,
    replaces_on: &dyn Fn(u32, u32) -> u32,
) -> ServicePlacement {
    let mut missing = wanted.versions.clone();
    for (version, count) in &mut missing {
        let ready = staying.iter().map(|(node, share)| replaces_on(*node, *version).min(count_of(share, *version)));
        *count = count.saturating_sub(ready.sum());
    }
    let mut needed = ServicePlacement::new();
    for (node, share) in leaving {
        let mut stays = Share::new();
        for (version, count) in share {
            let Some((_, missing)) = missing.iter_mut().find(|(v, _)| v == version) else { continue };
            let keep = (*count).min(ready_on(*node, *version)).min(*missing);
            *missing -= keep;
            stays.add(*version, keep);
        }
        if !stays.is_empty() {
            needed.push((*node, stays));
        }
    }
    needed
}

/// The instances for which there is no room.
fn left_over(instances: &[(f64, u32)], free: &mut [u64]) -> Vec<(u64, u32)> {
    let mut left: Vec<(u64, u32)> = instances.iter().map(|(cpu, count)| (milli(*cpu), *count)).collect();
    left.sort_by_key(|(cpu, _)| Reverse(*cpu));
    for (cpu, count) in &mut left {
        for room in free.iter_mut() {
            let fit = room.checked_div(*cpu).map_or(*count, |fit| (*count).min(u32::try_from(fit).unwrap_or(u32::MAX)));
            (*room, *count) = (*room - *cpu * u64::from(fit), *count - fit);
        }
    }
    left.retain(|(_, count)| *count > 0);
    left
}

fn versions_of(placed: &ServicePlacement) -> Vec<u32> {
    let mut versions: Vec<u32> = placed.iter().flat_map(|(_, share)| share.iter().map(|(v, _)| *v)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::{Rng, Time};

    fn machines(cores: &[f64]) -> NodeResources {
        let node = |cores: &f64| NodeSpec { name: String::new(), cores: *cores, zone: 0, joins: Time::ZERO };
        NodeResources::new(&Mesh { nodes: cores.iter().map(node).collect(), ..Mesh::default() })
    }

    /// Places the desired instances of the highest version and others, with all instances ready.
    fn place(
        machines: &mut NodeResources,
        policy: Placement,
        cpu: f64,
        wanted: &[(u32, u32)],
        before: &ServicePlacement,
    ) -> ServicePlacement {
        let (target, _) = *wanted.last().expect("something is wanted");
        let wanted = Desired { instances: total(wanted), target, versions: wanted.to_vec(), ..Desired::default() };
        let all_ready = |node: u32, version| share_on(before, node).map_or(0, |share| count_of(share, version));
        machines.place(Placing { policy, cpu, wanted: &wanted, ready_on: &all_ready, replaces_on: &all_ready }, before)
    }

    fn share_on(placed: &ServicePlacement, node: u32) -> Option<&Share> {
        placed.iter().find(|(n, _)| *n == node).map(|(_, share)| share)
    }

    fn totals(placed: &ServicePlacement) -> Vec<(u32, u32)> {
        placed.iter().map(|(node, share)| (*node, total(share))).collect()
    }

    #[test]
    fn spread_is_by_largest_remainder_of_free_cores() {
        let mut machines = machines(&[4.0, 2.0, 2.0]);
        let placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 10)], &vec![]);
        assert_eq!(totals(&placed), [(0, 5), (1, 3), (2, 2)]);
    }

    #[test]
    fn services_with_few_instances_spread_over_all_nodes() {
        for cpu in [0.0, 0.5] {
            let mut machines = machines(&[8.0; 10]);
            let mut hosted = [0; 10];
            for _ in 0..50 {
                let placed = place(&mut machines, Placement::Spread, cpu, &[(1, 2)], &vec![]);
                placed.iter().for_each(|(node, share)| hosted[*node as usize] += total(share));
            }
            assert_eq!(hosted, [10; 10], "cpu {cpu}");
        }
    }

    #[test]
    fn bin_pack_fills_one_node_before_the_next_and_empties_the_emptiest() {
        let mut machines = machines(&[4.0, 4.0, 4.0]);
        let placed = place(&mut machines, Placement::BinPack, 1.0, &[(1, 6)], &vec![]);
        assert_eq!(totals(&placed), [(0, 4), (1, 2)]);
        let placed = place(&mut machines, Placement::BinPack, 1.0, &[(1, 5)], &placed);
        assert_eq!(totals(&placed), [(0, 4), (1, 1)]);
    }

    #[test]
    fn no_node_exceeds_its_cores_and_other_versions_go_short_first() {
        for policy in [Placement::Spread, Placement::BinPack] {
            let mut machines = machines(&[2.0, 1.0]);
            let placed = place(&mut machines, policy, 0.5, &[(1, 5), (2, 5)], &vec![]);
            assert_eq!(totals(&placed), [(0, 4), (1, 2)], "{policy:?}");
            let of = |version| placed.iter().map(|(_, share)| count_of(share, version)).sum::<u32>();
            assert_eq!((of(1), of(2)), (1, 5));
        }
    }

    #[test]
    fn what_stays_does_not_move_when_more_come_or_some_go() {
        let mut machines = machines(&[8.0; 5]);
        let mut placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 13)], &vec![]);
        for wanted in [17, 29, 30, 11, 4, 12] {
            let next = place(&mut machines, Placement::Spread, 0.1, &[(1, wanted)], &placed);
            assert_eq!(totals(&next).iter().map(|(_, c)| c).sum::<u32>(), wanted);
            let grown = wanted > totals(&placed).iter().map(|(_, c)| c).sum();
            for (node, count) in totals(&placed) {
                let then = totals(&next).iter().find(|(n, _)| *n == node).map_or(0, |(_, c)| *c);
                assert!(if grown { then >= count } else { then <= count }, "{placed:?} -> {next:?}");
            }
            placed = next;
        }
    }

    #[test]
    fn an_update_replaces_in_place() {
        let mut machines = machines(&[8.0; 3]);
        let placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 9)], &vec![]);
        let placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 6), (2, 3)], &placed);
        assert_eq!(placed, (0..3).map(|node| (node, vec![(1, 2), (2, 1)].into())).collect::<ServicePlacement>());
    }

    #[test]
    fn what_a_dead_node_had_goes_elsewhere() {
        let mut machines = machines(&[8.0; 3]);
        let placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 9)], &vec![]);
        machines.set_alive(1, false);
        let placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 9)], &placed);
        assert_eq!(totals(&placed), [(0, 5), (2, 4)]);
        machines.set_alive(1, true);
        let placed = place(&mut machines, Placement::Spread, 0.1, &[(1, 10)], &placed);
        assert_eq!(totals(&placed), [(0, 5), (1, 1), (2, 4)], "it gets new ones first");
    }

    #[test]
    fn what_is_not_ready_goes_first_wherever_it_stands() {
        for policy in [Placement::Spread, Placement::BinPack] {
            let mut machines = machines(&[8.0; 3]);
            let before = place(&mut machines, policy, 0.1, &[(1, 9)], &vec![]);
            let (of_one, wanted) = (before[0].0, Desired { target: 2, ..Desired::of_one_version(7, 1) });
            // One instance on the first node of the service is ready, and all elsewhere.
            let ready_on = |node: u32, _| if node == of_one { 1 } else { 9 };
            let placing = Placing { policy, cpu: 0.1, wanted: &wanted, ready_on: &ready_on, replaces_on: &ready_on };
            let after = machines.place(placing, &before);
            let lost = before[0].1[0].1 - share_on(&after, of_one).map_or(0, |share| share[0].1);
            assert_eq!(lost, 2, "{policy:?}: {before:?} -> {after:?}");
        }
    }

    #[test]
    fn instances_that_are_placed_together_go_where_they_would_go_one_by_one() {
        let mut rng = Rng::stream(5, "x");
        for round in 0..200 {
            let nodes = 1 + rng.below(12) as usize;
            let cores: Vec<f64> = (0..nodes).map(|_| f64::from(1 + rng.below(9))).collect();
            let mut machines = machines(&cores);
            (0..nodes).filter(|_| rng.chance(0.2)).for_each(|node| machines.set_closed(node, true));
            let cpu = [0, 0, 7, 250][rng.below(4) as usize];
            let mut placed = ServicePlacement::new();
            for node in 0..nodes as u32 {
                let share = rng.chance(0.4).then(|| (1, 1 + rng.below(5)));
                placed.extend(share.map(|share| (node, [share].into_iter().collect())));
            }
            let (mut alone, mut layout) = (machines.clone(), Layout::new(Placement::Spread, cpu, &machines, placed));
            let more = rng.below(400);
            let goal = more + rng.below(20);
            let mut one_by_one = layout.clone();
            machines.grow(&mut layout, 1, more, goal, false);
            (0..more).for_each(|_| alone.grow(&mut one_by_one, 1, 1, goal, false));
            assert_eq!(layout.placed, one_by_one.placed, "round {round}: {more} on {cores:?}");
            assert_eq!(format!("{machines:?}"), format!("{alone:?}"), "round {round}");
        }
    }

    #[test]
    fn a_rolling_update_spreads_new_instances_as_if_the_old_had_gone() {
        // Seven old ones on eight nodes, and three new ones beside them.
        let mut machines = machines(&[8.0; 8]);
        let old = place(&mut machines, Placement::Spread, 0.1, &[(1, 7)], &vec![]);
        let quarter = crate::model::Amount::Share(0.25);
        let rolling = Some(crate::operation::Rolling { max_surge: quarter, max_unavailable: quarter });
        let mut placed = old;
        for versions in [vec![(1, 6), (2, 3)], vec![(1, 3), (2, 6)], vec![(1, 2), (2, 7)], vec![(2, 7)]] {
            let wanted = Desired { target: 2, versions, rolling, ..Desired::of_one_version(7, 1) };
            let placing = Placing {
                policy: Placement::Spread,
                cpu: 0.1,
                wanted: &wanted,
                ready_on: &|_, _| 9,
                replaces_on: &|_, _| 9,
            };
            placed = machines.place(placing, &placed);
            assert!(placed.iter().all(|(_, share)| count_of(share, 2) <= 1), "{placed:?}");
        }
        assert_eq!(totals(&placed).len(), 7);
    }
}
