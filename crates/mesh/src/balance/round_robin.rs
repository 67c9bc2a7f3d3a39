//! `round_robin`: in turn, from a position of each caller's own.

pub(super) fn pick(n: usize, turn: &mut u32) -> usize {
    let picked = *turn as usize % n;
    *turn = turn.wrapping_add(1);
    picked
}
