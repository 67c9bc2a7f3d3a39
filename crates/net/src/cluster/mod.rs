//! The cluster protocol: how processes join a run, begin together, are lost and replaced, leave, and hand in results.
//!
//! Both sides are state machines: [`HubMachine`] and [`MemberMachine`]. Events go in, effects come out as data. Nothing
//! here is asynchronous, shares a cell, reads a clock, or knows a socket: drivers (`net/src/hub.rs`,
//! `net/src/member.rs`) give the machines their events with the time, and carry out the effects. So the protocol also
//! runs in the simulator, under its faults: `net/tests/cluster`.
//!
//! [`Control`] lists all messages. Their bytes are part of the wire format.
//!
//! The module is public for tests and tools. A program that takes part in a cluster needs [`Hub`](crate::Hub) and
//! [`join`](crate::join()) instead.

mod assignments;
mod attention;
mod backoff;
mod control;
mod departures;
mod hub;
mod member;

use std::time::Duration;

pub use crate::clock::Alignment;
pub use assignments::Join;
pub(crate) use backoff::backoff;
pub use control::{
    Answer, Assigned, Blob, Control, HUB, Joined, PART_BYTES, Peer, ProcessId, ProcessReport, Purpose, Sender, parts,
};
pub(crate) use control::{HUB_ROLE, refusal};
pub use departures::Departure;
pub(crate) use hub::TAIL;
pub use hub::{
    ClusterStatus, ConnectionId, HubEffect, HubEvent, HubMachine, HubMemory, HubSpec, Phase, ProcessState, RunResult,
    TICK,
};
pub use member::{Failure, MemberEffect, MemberError, MemberEvent, MemberMachine, MemberSpec};

/// Interval of the pings of each side of a connection.
pub(crate) const PING: Duration = Duration::from_secs(1);

/// Reason why a process ends a connection, worded about the other side: "it ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closure {
    /// It came too late.
    Denied(String),
    /// It broke the protocol.
    Violation(String),
}

/// Importance of a line for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For developers.
    Debug,
    /// The usual course.
    Info,
    /// A loss, or a sign of one.
    Warn,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Words of tasks, sockets, clocks, logs and shared cells.
    const FOREIGN: &[&str] = &["tokio", "actix", "async ", "Cell<", "Rc<", "Instant", "SystemTime", "tracing"];

    fn check(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let checked = |path: std::path::PathBuf| {
            if path.is_dir() {
                return check(&path);
            }
            if path.ends_with("cluster/mod.rs") {
                return 0;
            }
            let text = fs::read_to_string(&path).unwrap();
            let found = FOREIGN.iter().find(|word| text.contains(**word));
            assert_eq!(found, None, "{}", path.display());
            1
        };
        entries.map(checked).sum()
    }

    #[test]
    fn the_protocol_knows_no_task_socket_clock_log_or_shared_cell() {
        assert!(check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster")) >= 12);
    }
}
