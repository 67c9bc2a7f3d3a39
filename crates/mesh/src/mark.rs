//! Notes about requests in a trace: the position of a request, and the reason of each wait.
//!
//! A trace already holds the messages of a request, with their names ([`RequestId`](crate::request_id::RequestId)).
//! Notes add the events between two messages: a note has a word, a subject and a value. Without a recorder, no note is
//! made.
//!
//! | word | written by | subject | value |
//! |---|---|---|---|
//! | [`DUE`] | client, gateway | [`root`](crate::request_id::RequestId::root) | planned time, in nanoseconds |
//! | [`TRY_ENDED`] | the caller | [`key`](crate::request_id::RequestId::key) | a [`TryEnded`] |
//! | [`HELD`] | the caller | its number for the call, [shortened](short) | attempt, which a circuit breaker holds back |
//! | [`POOLED`] | the caller | its number for the call, [shortened](short) | attempt, which waits for a connection |
//! | [`ACTIVATING`] | the caller | its number for the call, [shortened](short) | attempt, which waits for a ready instance |
//! | [`PASSING`] | the caller | its number for the call, [shortened](short) | attempt, which is at the caller's proxy |
//! | [`PASSED`] | node | key | a [`Passed`]: the request has passed the proxies there; what it becomes follows |
//! | [`QUEUED`] | node that accepts a request | task | number of slots of the instance |
//! | [`SLOT`] | node | task | its first frame; its wait, if any, has ended |
//! | [`WORK`], [`SLEEP`] | node | frame | duration in nanoseconds, on an idle machine |
//! | [`CALL`] | node | frame | key of the call; its messages follow |
//! | [`FORK`] | node | frame | a frame that runs beside others, for which this one waits |
//! | [`DETACHED`] | node | frame | the task of a block that it does not wait for; the block's [`SLOT`] follows |
//! | [`BLOCK_ENDED`] | node | task of a block | 0 |
//! | [`FRAME_ENDED`] | node | frame | 0 |
//! | [`ANSWERED`] | node | task | 0; the reply follows |
//! | [`TURNED_AWAY`] | node | key | 0: there is no such instance, or its queue is full; the reply follows |
//! | [`LATE`] | node | task, or key if no instance accepted it | 0: its caller has given up |
//! | [`CUT`] | node | task | 0: its instance was cut off; the reply follows |
//!
//! A task is a request at a node, a frame is a position in its script. Both are numbers that are valid at that node, in
//! that incarnation. The notes of a node follow the message delivery, or the timer, that caused them.

use crate::measure::Failure;

/// A request is due.
pub const DUE: &str = "due";
/// An attempt has ended for its caller.
pub const TRY_ENDED: &str = "try_ended";
/// An attempt waits at its caller: a circuit breaker allows no more at the service.
pub const HELD: &str = "held";
/// An attempt waits for a connection to its instance.
pub const POOLED: &str = "pooled";
/// An attempt waits at its caller: the service has no ready instance.
pub const ACTIVATING: &str = "activating";
/// An attempt is at the proxy of its caller.
pub const PASSING: &str = "passing";
/// A request has passed the proxies of its instance's node.
pub const PASSED: &str = "passed";
/// A request waits for a slot.
pub const QUEUED: &str = "queued";
/// A request gets its slot.
pub const SLOT: &str = "slot";
/// A script works.
pub const WORK: &str = "work";
/// A script sleeps.
pub const SLEEP: &str = "sleep";
/// A script calls.
pub const CALL: &str = "call";
/// A script begins a branch.
pub const FORK: &str = "fork";
/// A script begins a block that it does not wait for.
pub const DETACHED: &str = "detached";
/// A block that no script waits for is done, or has failed.
pub const BLOCK_ENDED: &str = "block_ended";
/// A script, or a branch of one, is done.
pub const FRAME_ENDED: &str = "frame_ended";
/// A request has been done, or has failed.
pub const ANSWERED: &str = "answered";
/// A request was refused.
pub const TURNED_AWAY: &str = "turned_away";
/// A request was given up by its caller before it got a slot, or was cancelled.
pub const LATE: &str = "late";
/// A request was ended before its script: with its instance, or by a policy after it had waited.
pub const CUT: &str = "cut";

/// All of these words.
pub const ALL: [&str; 20] = [
    DUE,
    TRY_ENDED,
    HELD,
    POOLED,
    ACTIVATING,
    PASSING,
    PASSED,
    QUEUED,
    SLOT,
    WORK,
    SLEEP,
    CALL,
    FORK,
    DETACHED,
    BLOCK_ENDED,
    FRAME_ENDED,
    ANSWERED,
    TURNED_AWAY,
    LATE,
    CUT,
];

/// Result of an attempt, for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryEnded {
    /// Reason of the failure; `None` on success.
    pub failure: Option<Failure>,
    /// Number of the attempt, from 0.
    pub attempt: u8,
    /// The call is tried again, after a pause.
    pub again: bool,
    /// The caller's number for the call, [shortened](short); 0 if it was refused before it had one.
    pub call: u64,
}

/// A request that has passed proxies, as its caller names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The caller: the low bits of its id.
    pub caller: u16,
    /// Number of the attempt, from 0.
    pub attempt: u8,
    /// The caller's number for the call, [shortened](short).
    pub call: u64,
}

impl Passed {
    /// As a note's value.
    pub fn value(self) -> u64 {
        self.call | u64::from(self.attempt) << 40 | u64::from(self.caller) << 48
    }

    /// Decodes a note's value.
    pub fn from_value(value: u64) -> Self {
        Passed { caller: (value >> 48) as u16, attempt: (value >> 40) as u8, call: value & ((1 << 40) - 1) }
    }
}

/// The number that a caller gives to a call ([`Request::call`](crate::message::Request::call)), shortened to fit a
/// note. The calls of one caller that are in flight together differ in it. A request that the network duplicates is
/// executed twice, and the calls of both differ in nothing else.
pub fn short(call: u64) -> u64 {
    call & 0xf_ffff | (call >> 32 & 0xf_ffff) << 20
}

impl TryEnded {
    /// As a note's value.
    pub fn value(self) -> u64 {
        let failure = self.failure.map_or(0, |failure| failure as u64 + 1);
        failure | u64::from(self.attempt) << 8 | u64::from(self.again) << 16 | self.call << 24
    }

    /// Decodes a note's value; `None` if the value is unknown.
    pub fn from_value(value: u64) -> Option<Self> {
        let failure = match value & 0xff {
            0 => None,
            code => Some(*Failure::ALL.get(code as usize - 1)?),
        };
        Some(TryEnded { failure, attempt: (value >> 8) as u8, again: value >> 16 & 1 == 1, call: value >> 24 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_passage_comes_back() {
        for (caller, attempt, call) in [(0, 0, 0), (u16::MAX, 255, short(u64::MAX)), (7, 2, short(9 << 32 | 5))] {
            let passed = Passed { caller, attempt, call };
            assert_eq!(Passed::from_value(passed.value()), passed);
        }
    }

    #[test]
    fn what_is_said_of_a_try_comes_back() {
        for failure in Failure::ALL.into_iter().map(Some).chain([None]) {
            for (attempt, again, call) in [(0, false, 0), (255, true, short(u64::MAX))] {
                let ended = TryEnded { failure, attempt, again, call };
                assert_eq!(TryEnded::from_value(ended.value()), Some(ended));
            }
        }
        assert_eq!(TryEnded::from_value(0xff), None);
    }
}
