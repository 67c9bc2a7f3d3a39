//! Which node gets which instances.
//!
//! Placement changes as little as it can: instances stay where they are, new ones go where the policy wants them most,
//! surplus ones leave where it wants them least. Everything is counted in whole thousandths of a core, so that no
//! rounding of floats ever decides an order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::message::Share;
use crate::model::{Mesh, NodeSpec, Placement};
use crate::operation::{add, count_of, total};

/// The machines, and what is taken of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Machines(Vec<Machine>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    alive: bool,
    /// Thousandths of a core.
    cores: u64,
    /// Of these, reserved by instances.
    reserved: u64,
    /// Instances of any service.
    instances: u32,
}

/// Where the instances of one service are: (node, share) by rising node, no empty share.
pub(super) type Placed = Vec<(u32, Share)>;

/// Thousandths of a core.
fn milli(cores: f64) -> u64 {
    (cores * 1000.0).round() as u64
}

impl Machine {
    fn free(&self) -> u64 {
        self.cores.saturating_sub(self.reserved)
    }
}

impl Machines {
    pub(super) fn new(mesh: &Mesh) -> Self {
        let machine = |node: &NodeSpec| Machine {
            alive: node.is_there_at_start(),
            cores: milli(node.cores),
            reserved: 0,
            instances: 0,
        };
        Machines(mesh.nodes.iter().map(machine).collect())
    }

    /// Instances are placed on nodes that are alive alone.
    pub(super) fn set_alive(&mut self, node: usize, alive: bool) {
        self.0[node].alive = alive;
    }

    /// Instances, of any service, that are placed on a node.
    pub(super) fn instances(&self, node: usize) -> u32 {
        self.0[node].instances
    }

    /// Places `wanted` instances by version, of which each takes `cpu` cores. What is not placed finds no room.
    ///
    /// What dead nodes had is placed elsewhere.
    pub(super) fn place(&mut self, policy: Placement, cpu: f64, wanted: &[(u32, u32)], before: &Placed) -> Placed {
        let cpu = milli(cpu);
        for (node, share) in before {
            self.take(*node as usize, cpu, -i64::from(total(share)));
        }
        let mut counts: Vec<(u32, u32)> = before
            .iter()
            .filter(|(node, _)| self.0[*node as usize].alive)
            .map(|(node, share)| (*node, total(share)))
            .collect();
        for (node, count) in &counts {
            self.take(*node as usize, cpu, i64::from(*count));
        }
        let (now, then) = (total(&counts), total(wanted));
        if then > now {
            self.grow(policy, cpu, then, then - now, &mut counts);
        } else {
            self.shrink(policy, cpu, then, now - then, &mut counts);
        }
        assign_versions(wanted, before, &counts)
    }

    fn take(&mut self, node: usize, cpu: u64, instances: i64) {
        let machine = &mut self.0[node];
        machine.reserved = machine.reserved.saturating_add_signed(cpu as i64 * instances);
        machine.instances = machine.instances.saturating_add_signed(instances as i32);
    }

    /// Free cores of each node, and what this service has there counted as free: what its quota is proportional to.
    fn weights(&self, cpu: u64, counts: &[(u32, u32)]) -> Vec<u64> {
        let mut weights: Vec<u64> = self.0.iter().map(|m| if m.alive { m.free() } else { 0 }).collect();
        for (node, count) in counts {
            weights[*node as usize] += cpu * u64::from(*count);
        }
        // Services that reserve nothing still spread.
        if weights.iter().all(|w| *w == 0) {
            return self.0.iter().map(|m| u64::from(m.alive)).collect();
        }
        weights
    }

    /// `spread`: one by one to the node with the largest remainder, its quota minus what it has, as long as it has room.
    /// Between equals the one with the fewest instances, then the first. `bin_pack`: to the node with the least room
    /// that is enough.
    fn grow(&mut self, policy: Placement, cpu: u64, total: u32, more: u32, counts: &mut Vec<(u32, u32)>) {
        let weights = self.weights(cpu, counts);
        let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
        let key = |machines: &Machines, node: usize, have: u32| -> (i128, Reverse<u32>) {
            let machine = &machines.0[node];
            match policy {
                Placement::Spread => {
                    let remainder = i128::from(total) * i128::from(weights[node]) - i128::from(have) * sum;
                    (remainder, Reverse(machine.instances))
                }
                Placement::BinPack => (-i128::from(machine.free()), Reverse(0)),
            }
        };
        let mut have = vec![0; self.0.len()];
        counts.iter().for_each(|(node, count)| have[*node as usize] = *count);
        let has_room = |machine: &Machine| machine.alive && machine.free() >= cpu;
        let mut heap: BinaryHeap<_> = (0..self.0.len())
            .filter(|node| has_room(&self.0[*node]))
            .map(|node| (key(self, node, have[node]), Reverse(node)))
            .collect();
        for _ in 0..more {
            let Some((_, Reverse(node))) = heap.pop() else { break };
            have[node] += 1;
            self.take(node, cpu, 1);
            if has_room(&self.0[node]) {
                heap.push((key(self, node, have[node]), Reverse(node)));
            }
        }
        *counts = with_instances(&have);
    }

    /// The reverse of [`grow`](Self::grow): from the node that is furthest above its quota, or, packed, from the one
    /// with the most room.
    fn shrink(&mut self, policy: Placement, cpu: u64, total: u32, fewer: u32, counts: &mut Vec<(u32, u32)>) {
        let weights = self.weights(cpu, counts);
        let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
        let key = |machines: &Machines, node: usize, have: u32| -> (i128, u32) {
            let machine = &machines.0[node];
            match policy {
                Placement::Spread => {
                    let excess = i128::from(have) * sum - i128::from(total) * i128::from(weights[node]);
                    (excess, machine.instances)
                }
                Placement::BinPack => (i128::from(machine.free()), 0),
            }
        };
        let mut heap: BinaryHeap<_> =
            counts.iter().map(|(node, count)| (key(self, *node as usize, *count), *node, *count)).collect();
        let mut left: Vec<(u32, u32)> = Vec::new();
        for _ in 0..fewer {
            let Some((_, node, count)) = heap.pop() else { break };
            self.take(node as usize, cpu, -1);
            if count > 1 {
                heap.push((key(self, node as usize, count - 1), node, count - 1));
            }
        }
        left.extend(heap.into_iter().map(|(_, node, count)| (node, count)));
        left.sort_unstable();
        *counts = left;
    }
}

fn with_instances(have: &[u32]) -> Vec<(u32, u32)> {
    let nodes = (0_u32..).zip(have);
    nodes.filter(|(_, count)| **count > 0).map(|(node, count)| (node, *count)).collect()
}

/// Divides `wanted` instances by version among nodes with given totals, keeping what a node has where possible.
fn assign_versions(wanted: &[(u32, u32)], before: &Placed, counts: &[(u32, u32)]) -> Placed {
    // What finds no room is missing from the newest versions: they are those not yet there.
    let mut surplus = total(wanted) - total(counts);
    let mut wanted = wanted.to_vec();
    for (_, count) in wanted.iter_mut().rev() {
        let cut = surplus.min(*count);
        *count -= cut;
        surplus -= cut;
    }
    let mut placed: Placed = counts
        .iter()
        .map(|(node, count)| {
            let had = before.binary_search_by_key(node, |(n, _)| *n).map(|at| before[at].1.clone()).unwrap_or_default();
            (*node, keep_at_most(had, *count))
        })
        .collect();
    // Versions of which there are too many: one by one from where there are most.
    for version in versions_of(&placed) {
        let has: u32 = placed.iter().map(|(_, share)| count_of(share, version)).sum();
        let mut surplus = has.saturating_sub(count_of(&wanted, version));
        let mut heap: BinaryHeap<(u32, Reverse<usize>)> =
            placed.iter().enumerate().map(|(at, (_, share))| (count_of(share, version), Reverse(at))).collect();
        while surplus > 0
            && let Some((count, Reverse(at))) = heap.pop()
        {
            remove(&mut placed[at].1, version, 1);
            heap.push((count - 1, Reverse(at)));
            surplus -= 1;
        }
    }
    // Versions of which there are too few: in turn to the nodes that have room.
    let mut gaps: Vec<(usize, u32)> = placed
        .iter()
        .zip(counts)
        .enumerate()
        .map(|(at, ((_, share), (_, count)))| (at, count - total(share)))
        .filter(|(_, gap)| *gap > 0)
        .collect();
    let mut turn = 0;
    for (version, count) in &wanted {
        let has: u32 = placed.iter().map(|(_, share)| count_of(share, *version)).sum();
        for _ in has..*count {
            if gaps.is_empty() {
                break;
            }
            turn %= gaps.len();
            let (at, gap) = &mut gaps[turn];
            add(&mut placed[*at].1, *version, 1);
            *gap -= 1;
            if *gap == 0 {
                gaps.remove(turn);
            } else {
                turn += 1;
            }
        }
    }
    placed.retain(|(_, share)| !share.is_empty());
    placed
}

/// The newest of a share, `most` in all: the oldest go first.
fn keep_at_most(mut share: Share, most: u32) -> Share {
    let mut surplus = total(&share).saturating_sub(most);
    for (_, count) in &mut share {
        let gone = surplus.min(*count);
        *count -= gone;
        surplus -= gone;
    }
    share.retain(|(_, count)| *count > 0);
    share
}

fn versions_of(placed: &Placed) -> Vec<u32> {
    let mut versions: Vec<u32> = placed.iter().flat_map(|(_, share)| share.iter().map(|(v, _)| *v)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

fn remove(share: &mut Share, version: u32, count: u32) {
    if let Some((_, have)) = share.iter_mut().find(|(v, _)| *v == version) {
        *have -= count;
    }
    share.retain(|(_, have)| *have > 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::Time;

    fn machines(cores: &[f64]) -> Machines {
        let node = |cores: &f64| NodeSpec { name: String::new(), cores: *cores, zone: 0, joins: Time::ZERO };
        Machines::new(&Mesh { nodes: cores.iter().map(node).collect(), ..Mesh::default() })
    }

    fn totals(placed: &Placed) -> Vec<(u32, u32)> {
        placed.iter().map(|(node, share)| (*node, total(share))).collect()
    }

    #[test]
    fn spread_is_by_largest_remainder_of_free_cores() {
        let mut machines = machines(&[4.0, 2.0, 2.0]);
        let placed = machines.place(Placement::Spread, 0.1, &[(1, 10)], &vec![]);
        assert_eq!(totals(&placed), [(0, 5), (1, 3), (2, 2)]);
    }

    #[test]
    fn services_with_few_instances_spread_over_all_nodes() {
        for cpu in [0.0, 0.5] {
            let mut machines = machines(&[8.0; 10]);
            let mut hosted = [0; 10];
            for _ in 0..50 {
                let placed = machines.place(Placement::Spread, cpu, &[(1, 2)], &vec![]);
                placed.iter().for_each(|(node, share)| hosted[*node as usize] += total(share));
            }
            assert_eq!(hosted, [10; 10], "cpu {cpu}");
        }
    }

    #[test]
    fn bin_pack_fills_one_node_before_the_next_and_empties_the_emptiest() {
        let mut machines = machines(&[4.0, 4.0, 4.0]);
        let placed = machines.place(Placement::BinPack, 1.0, &[(1, 6)], &vec![]);
        assert_eq!(totals(&placed), [(0, 4), (1, 2)]);
        let placed = machines.place(Placement::BinPack, 1.0, &[(1, 5)], &placed);
        assert_eq!(totals(&placed), [(0, 4), (1, 1)]);
    }

    #[test]
    fn no_node_gets_more_than_its_cores_and_the_newest_go_short() {
        for policy in [Placement::Spread, Placement::BinPack] {
            let mut machines = machines(&[2.0, 1.0]);
            let placed = machines.place(policy, 0.5, &[(1, 5), (2, 5)], &vec![]);
            assert_eq!(totals(&placed), [(0, 4), (1, 2)], "{policy:?}");
            let of = |version| placed.iter().map(|(_, share)| count_of(share, version)).sum::<u32>();
            assert_eq!((of(1), of(2)), (5, 1));
        }
    }

    #[test]
    fn what_stays_does_not_move_when_more_come_or_some_go() {
        let mut machines = machines(&[8.0; 5]);
        let mut placed = machines.place(Placement::Spread, 0.1, &[(1, 13)], &vec![]);
        for wanted in [17, 29, 30, 11, 4, 12] {
            let next = machines.place(Placement::Spread, 0.1, &[(1, wanted)], &placed);
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
        let placed = machines.place(Placement::Spread, 0.1, &[(1, 9)], &vec![]);
        let placed = machines.place(Placement::Spread, 0.1, &[(1, 6), (2, 3)], &placed);
        assert_eq!(placed, (0..3).map(|node| (node, vec![(1, 2), (2, 1)])).collect::<Placed>());
    }

    #[test]
    fn what_a_dead_node_had_goes_elsewhere() {
        let mut machines = machines(&[8.0; 3]);
        let placed = machines.place(Placement::Spread, 0.1, &[(1, 9)], &vec![]);
        machines.set_alive(1, false);
        let placed = machines.place(Placement::Spread, 0.1, &[(1, 9)], &placed);
        assert_eq!(totals(&placed), [(0, 5), (2, 4)]);
        machines.set_alive(1, true);
        let placed = machines.place(Placement::Spread, 0.1, &[(1, 10)], &placed);
        assert_eq!(totals(&placed), [(0, 5), (1, 1), (2, 4)], "it gets new ones first");
    }
}
