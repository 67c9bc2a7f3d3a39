//! `round_robin`: in turn.

use super::Peer;

pub(super) fn pick(peers: &[Peer], turn: &mut u32) -> usize {
    let picked = *turn as usize % peers.len();
    *turn = turn.wrapping_add(1);
    picked
}
