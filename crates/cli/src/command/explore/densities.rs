//! Numbers of messages by actor and time, at one resolution for the whole run.

use std::collections::BTreeMap;

use meshsim_actor::ActorId;

/// Columns of one actor, and of all together: the resolution becomes coarser where there would be more.
const COLUMNS_MAX: usize = 1 << 13;
const CELLS_MAX: usize = 1 << 22;
/// Least nanoseconds of a column, as a power of two.
const BITS_MIN: u32 = 10;

/// Numbers of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) sent: u32,
    pub(super) received: u32,
    pub(super) lost: u32,
}

/// The fate of a message at an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Sent,
    Received,
    Lost,
}

impl Cell {
    pub(super) fn add(&mut self, change: Change) {
        match change {
            Change::Sent => self.sent += 1,
            Change::Received => self.received += 1,
            Change::Lost => self.lost += 1,
        }
    }

    fn join(&mut self, other: Cell) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
    }
}

/// Messages of each actor in columns of equal time. A column has 2^bits nanoseconds.
#[derive(Debug)]
pub(super) struct Densities {
    pub(super) bits: u32,
    actors: BTreeMap<u32, Vec<Cell>>,
}

impl Default for Densities {
    fn default() -> Self {
        Densities { bits: BITS_MIN, actors: BTreeMap::new() }
    }
}

impl Densities {
    /// Counts a message at an actor. It gets coarser by itself where a moment lies beyond its columns.
    pub(super) fn add(&mut self, actor: ActorId, at: u64, change: Change) {
        while at >> self.bits >= self.columns_max() {
            self.coarsen();
        }
        let columns = self.actors.entry(actor.0).or_default();
        let at = (at >> self.bits) as usize;
        if at >= columns.len() {
            columns.resize(at + 1, Cell::default());
        }
        columns[at].add(change);
    }

    fn columns_max(&self) -> u64 {
        (CELLS_MAX / (self.actors.len() + 1)).clamp(64, COLUMNS_MAX) as u64
    }

    fn coarsen(&mut self) {
        self.bits += 1;
        for columns in self.actors.values_mut() {
            let halves = columns.chunks(2).map(|pair| {
                let mut cell = pair[0];
                pair[1..].iter().for_each(|other| cell.join(*other));
                cell
            });
            *columns = halves.collect();
        }
    }

    /// The numbers of each actor in columns of 2^bits nanoseconds from a column on; `None` if they are not known that
    /// finely.
    pub(super) fn columns(&self, bits: u32, first: u64, count: usize) -> Option<BTreeMap<u32, Vec<Cell>>> {
        let shift = bits.checked_sub(self.bits)?;
        let scale = 1_u64.checked_shl(shift)?;
        let until = first.checked_add(count as u64)?.saturating_mul(scale);
        let from = first.saturating_mul(scale);
        let mut found = BTreeMap::new();
        for (actor, columns) in &self.actors {
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(columns.len());
            let until = usize::try_from(until).unwrap_or(usize::MAX).min(columns.len());
            let filled = (from..until).filter(|at| columns[*at] != Cell::default());
            for at in filled {
                let joined = found.entry(*actor).or_insert_with(|| vec![Cell::default(); count]);
                joined[(at - from) >> shift].join(columns[at]);
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_run_has_coarser_columns_and_loses_no_message() {
        let mut densities = Densities::default();
        for n in 0..100_000_u64 {
            densities.add(ActorId((n % 3) as u32), n * 1_000_000, if n % 7 == 0 { Change::Lost } else { Change::Sent });
        }
        assert!(densities.bits > BITS_MIN && 100_000_000_000 >> densities.bits < COLUMNS_MAX as u64);
        let all = densities.columns(40, 0, 1).unwrap();
        let sum = |of: fn(&Cell) -> u32| all.values().map(|cells| of(&cells[0])).sum::<u32>();
        assert_eq!((sum(|it| it.sent), sum(|it| it.lost)), (100_000 - 14_286, 14_286));
        let bits = densities.bits + 1;
        let parts = densities.columns(bits, 3, 50).unwrap();
        let within = (0..100_000_u64).filter(|n| (3 << bits..53 << bits).contains(&(n * 1_000_000))).count();
        assert_eq!(parts.values().flatten().map(|it| it.sent + it.lost).sum::<u32>() as usize, within);
        assert!(densities.columns(densities.bits - 1, 0, 1).is_none());
    }
}
