//! A rate-limited log of bad peers: one clear line for each, and not a thousand a second.

use std::cell::Cell;
use std::net::SocketAddr;

use crate::clock::Clock;
use crate::transport::LinkError;

/// Most lines in one second.
const LINES_MAX: u64 = 10;

/// Logs the problems of incoming connections.
#[derive(Debug, Default)]
pub(crate) struct PeerLog {
    second: Cell<u64>,
    lines: Cell<u64>,
    silent: Cell<u64>,
}

impl PeerLog {
    /// Logs that the bytes from `peer` are unusable.
    pub(crate) fn complain(&self, clock: &Clock, peer: SocketAddr, error: &LinkError) {
        let second = clock.own() / 1_000_000_000;
        if second != self.second.replace(second) {
            self.lines.set(0);
            let silent = self.silent.replace(0);
            if silent > 0 {
                tracing::warn!("{silent} more connections were closed for such reasons");
            }
        }
        if self.lines.get() < LINES_MAX {
            self.lines.set(self.lines.get() + 1);
            tracing::warn!("closed the connection from {peer}: it {error}");
        } else {
            self.silent.set(self.silent.get() + 1);
        }
    }
}
