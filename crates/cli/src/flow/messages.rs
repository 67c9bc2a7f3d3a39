//! The messages of a trace, each when it is known how it fared.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Fate, MessageId, Time};
use meshsim_report::plural;
use meshsim_trace::{Entry, Sent};

use super::stream::Item;
use super::words::About;

/// Fate of one copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fared {
    /// It arrived, by this record.
    Arrived {
        record: u64,
        at: Time,
        /// Number of messages that its receiver had already sent or taken in at that moment.
        rank: u64,
        /// After its sender had given up, or the try.
        is_late: bool,
    },
    /// It was lost.
    Lost { at: Time, reason: &'static str },
    /// It was on its way when the trace ended.
    UnderWay,
}

/// A copy of a message: two where the network has doubled it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) id: MessageId,
    /// Circumstances of its sending.
    pub(crate) sent: Sent<About>,
    /// Number of messages that its sender had already sent or taken in at that moment.
    pub(crate) rank: u64,
    /// Which copy, from 0, in the order in which their fates are known.
    pub(crate) copy: u32,
    pub(crate) fared: Fared,
}

/// Follows the messages of a trace that are selected, by any of their records. Memory grows with the messages that are
/// on their way at once.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    open: BTreeMap<MessageId, Open>,
    /// Of the open ones, how many are selected.
    wanted: usize,
    /// When each actor last sent or took in a message, and how many it had then.
    last: BTreeMap<ActorId, (Time, u64)>,
    /// Records about messages whose sending is not in the trace.
    unknown: u64,
}

#[derive(Debug)]
struct Open {
    rank: u64,
    is_wanted: bool,
    /// Copies whose fate is not known, and those whose fate is.
    left: u32,
    settled: u32,
    sent: Sent<About>,
}

impl Messages {
    /// Takes in the next record. Gives back the copy of a message whose fate it tells, if the message is selected.
    pub(crate) fn take(&mut self, item: &Item, is_wanted: bool) -> Option<Copy> {
        let (id, sent) = item.derived.message.as_ref()?;
        let rank = self.rank(item);
        let Some(sent) = sent else {
            self.unknown += u64::from(is_wanted);
            return None;
        };
        if let Entry::Send { .. } = item.record.entry {
            let open = Open { rank, is_wanted: false, left: 1, settled: 0, sent: *sent };
            self.open.insert(*id, open);
        }
        let open = self.open.get_mut(id)?;
        self.wanted += usize::from(is_wanted && !open.is_wanted);
        open.is_wanted |= is_wanted;
        open.sent = *sent;
        let fared = match &item.record.entry {
            Entry::Deliver(_) => {
                Fared::Arrived { record: item.record.seq, at: item.record.at, rank, is_late: item.is_late }
            }
            Entry::Fate(_, Fate::Lost(cause)) => Fared::Lost { at: item.record.at, reason: cause.as_str() },
            Entry::Fate(_, Fate::Duplicate(..)) => {
                open.left += 1;
                return None;
            }
            _ => return None,
        };
        let copy = Copy { id: *id, sent: *sent, rank: open.rank, copy: open.settled, fared };
        let is_wanted = open.is_wanted;
        (open.left, open.settled) = (open.left.saturating_sub(1), open.settled + 1);
        if open.left == 0 {
            self.open.remove(id);
            self.wanted -= usize::from(is_wanted);
        }
        is_wanted.then_some(copy)
    }

    fn rank(&mut self, item: &Item) -> u64 {
        if !matches!(item.record.entry, Entry::Send { .. } | Entry::Deliver(_)) {
            return 0;
        }
        let (at, count) = self.last.entry(item.record.actor).or_default();
        if *at != item.record.at {
            (*at, *count) = (item.record.at, 0);
        }
        *count += 1;
        *count - 1
    }

    /// True if the fate of a message that is selected is not known yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.wanted > 0
    }

    /// Omissions, one sentence each.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let records = plural(self.unknown, "record");
        let told = || format!("{records} left out: their messages were sent before the trace begins");
        (self.unknown > 0).then(told).into_iter().collect()
    }

    /// The copies of selected messages that were on their way when the trace ended.
    pub(crate) fn rest(self) -> impl Iterator<Item = Copy> {
        self.open.into_iter().filter(|(_, open)| open.is_wanted).flat_map(|(id, open)| {
            let copy = move |copy| Copy { id, sent: open.sent, rank: open.rank, copy, fared: Fared::UnderWay };
            (open.settled..open.settled + open.left).map(copy)
        })
    }
}
