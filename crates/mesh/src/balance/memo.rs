//! Tables that follow from a list of instances alone, computed once and shared by all callers that have this list.
//!
//! A hash table of 20,000 instances takes a quarter of a megabyte, and in a simulation thousands of callers have the
//! same list. So tables are no state of a caller: they are functions of the list and the rule, remembered for each
//! thread while the list lives. What is remembered decides nothing, so it is not in a snapshot, and two hosts that
//! remember differently do the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::maglev::Table;
use super::ring_hash::Ring;
use crate::board::LoadBoard;
use crate::model::{Balancer, Mesh, Part, ServiceId};
use crate::view::InstanceRef;

/// Something that follows from a list of instances.
#[derive(Debug)]
enum Derived {
    Ring(Ring),
    Table(Table),
    /// The instances of each zone of the mesh, or of each part of a split.
    Lists(Vec<Arc<[InstanceRef]>>),
    /// The least loaded on this board, whose address is not used again while it is here.
    Least(#[expect(dead_code, reason = "it keeps the address")] Arc<LoadBoard>, Vec<u32>),
}

/// Rule by which something was derived.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Hash(Balancer),
    Zones,
    /// By the address of the parts.
    Parts(usize),
    /// By the address of a board.
    Least(usize),
}

impl Rule {
    fn kind(self) -> u8 {
        match self {
            Rule::Hash(_) => 0,
            Rule::Zones => 1,
            Rule::Least(_) => 2,
            Rule::Parts(_) => 3,
        }
    }
}

struct Entry {
    /// Keeps the address of the list from being used again.
    list: Weak<[InstanceRef]>,
    rule: Rule,
    derived: Rc<Derived>,
}

thread_local! {
    /// By the address of the list and the kind of the rule.
    static MEMO: RefCell<BTreeMap<(usize, u8), Entry>> = const { RefCell::new(BTreeMap::new()) };
}

/// The position of the instance for `key`.
#[inline(never)]
pub(super) fn hashed(
    balancer: &Balancer,
    instances: &Arc<[InstanceRef]>,
    (mesh, service): (&Mesh, ServiceId),
    key: u64,
) -> usize {
    let weight = |instance: InstanceRef| mesh.weight(service, instance);
    let derived = derived(instances, Rule::Hash(*balancer), || match *balancer {
        Balancer::Maglev { table_size, .. } => Derived::Table(Table::new(instances, weight, table_size)),
        Balancer::RingHash { min_size, max_size, .. } => {
            Derived::Ring(Ring::new(instances, weight, min_size, max_size))
        }
        _ => unreachable!("this balancer has no table"),
    });
    match &*derived {
        Derived::Ring(ring) => ring.find(key),
        Derived::Table(table) => table.find(key),
        Derived::Lists(_) | Derived::Least(..) => unreachable!("a table is derived as nothing else"),
    }
}

/// Gives the instances of each zone of the mesh.
pub(super) fn by_zone<R>(list: &Arc<[InstanceRef]>, mesh: &Mesh, take: impl FnOnce(&[Arc<[InstanceRef]>]) -> R) -> R {
    let derived = derived(list, Rule::Zones, || {
        let mut zones = vec![Vec::new(); mesh.zones.len()];
        for instance in &**list {
            if let Some(node) = mesh.node_index(instance.node)
                && let Some(zone) = zones.get_mut(usize::from(mesh.nodes[node].zone))
            {
                zone.push(*instance);
            }
        }
        Derived::Lists(zones.into_iter().map(Arc::from).collect())
    });
    match &*derived {
        Derived::Lists(zones) => take(zones),
        _ => unreachable!("zones are not derived as a table"),
    }
}

/// Gives the instances of each part of a split.
pub(super) fn by_part<R>(
    list: &Arc<[InstanceRef]>,
    parts: &[Part],
    mesh: &Mesh,
    take: impl FnOnce(&[Arc<[InstanceRef]>]) -> R,
) -> R {
    let derived = derived(list, Rule::Parts(parts.as_ptr() as usize), || {
        let of = |part: &Part| list.iter().filter(|it| part.has(it, mesh)).copied().collect();
        Derived::Lists(parts.iter().map(of).collect())
    });
    match &*derived {
        Derived::Lists(parts) => take(parts),
        _ => unreachable!("parts are not derived as a table"),
    }
}

/// Gives the positions of the instances with the least load on a board.
pub(super) fn least_loaded<R>(
    list: &Arc<[InstanceRef]>,
    board: &Arc<LoadBoard>,
    mesh: &Mesh,
    take: impl FnOnce(&[u32]) -> R,
) -> R {
    let rule = Rule::Least(Arc::as_ptr(board) as usize);
    let derived = derived(list, rule, || Derived::Least(board.clone(), super::least_loaded::least(list, board, mesh)));
    match &*derived {
        Derived::Least(_, least) => take(least),
        _ => unreachable!("the least loaded are derived as nothing else"),
    }
}

fn derived(list: &Arc<[InstanceRef]>, rule: Rule, make: impl FnOnce() -> Derived) -> Rc<Derived> {
    let address = (Arc::as_ptr(list).cast::<()>() as usize, rule.kind());
    let known = MEMO.with_borrow(|memo| {
        let entry = memo.get(&address).filter(|entry| entry.rule == rule && entry.list.strong_count() > 0)?;
        Some(entry.derived.clone())
    });
    known.unwrap_or_else(|| {
        let derived = Rc::new(make());
        MEMO.with_borrow_mut(|memo| {
            // Lists that are gone take their tables with them.
            memo.retain(|_, entry| entry.list.strong_count() > 0);
            memo.insert(address, Entry { list: Arc::downgrade(list), rule, derived: derived.clone() });
        });
        derived
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;
    use crate::model::Keys;

    #[test]
    fn one_table_serves_all_callers_and_goes_with_its_list() {
        let maglev = Balancer::Maglev { table_size: 251, keys: Keys::default() };
        let other = Balancer::Maglev { table_size: 509, keys: Keys::default() };
        let mesh = Mesh { services: vec![crate::balance::tests::service()], ..Mesh::default() };
        let of = (&mesh, ServiceId(0));
        let count = || MEMO.with_borrow(BTreeMap::len);
        for round in 0..100_u32 {
            let list = instances(10 + round);
            let again = list.clone();
            for key in 0..50 {
                assert_eq!(hashed(&maglev, &list, of, key), hashed(&maglev, &again, of, key));
            }
            let by_other = hashed(&other, &list, of, 300);
            assert_eq!(by_other, Table::new(&list, |_| 1.0, 509).find(300), "another rule has another table");
            assert!(count() <= 2, "{}", count());
        }
    }
}
