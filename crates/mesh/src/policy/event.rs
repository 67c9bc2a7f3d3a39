//! Actions of policies, counted by edge and by service.

use serde::{Deserialize, Serialize};

/// Action of a policy that a report counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PolicyEvent {
    /// A breaker failed an attempt: the caller had `max_requests` in flight.
    OverflowRequests,
    /// A breaker failed an attempt: `max_connections` were in use, and `max_pending_requests` waited.
    OverflowPending,
    /// A breaker allowed no retry: `max_retries` were in flight.
    OverflowRetries,
    /// An attempt waited for a connection.
    Waited,
    /// The retry budget allowed no retry.
    OverBudget,
    /// An ejection was not made: too many instances would have been out.
    EjectionSpared,
    /// An instance was ejected.
    Ejected,
    /// An attempt was sent beside one in flight.
    Hedged,
    /// A hedge had the first good reply.
    HedgeWon,
    /// A hedge was not sent: the retry budget, the breaker or the instances did not allow it.
    HedgeDenied,
    /// An attempt was in flight when another one had the first good reply.
    Unneeded,
    /// A failure was not retried: it is none of those that the call retries.
    NotRetried,
    /// An instance refused a request: it had as many as its limit allows.
    Limited,
    /// A request was refused: the bucket of the instance or of the caller held no token.
    RateLimited,
    /// An instance refused a request: too little time was left until its deadline.
    ShedDeadline,
    /// An instance refused a request: those of its class filled their share of the room.
    ShedPriority,
    /// A copy of a call was sent to a mirror.
    Mirrored,
    /// Something else answered in the place of a call that had failed.
    FellBack,
    /// A connection to an instance was opened.
    Connected,
    /// An attempt waited for a connection to its instance.
    Pooled,
    /// CoDel refused a waiting request, because waits had exceeded its target throughout an interval.
    ShedDelay,
    /// A caller held an attempt, as the service had no ready instance.
    Held,
    /// A caller refused an attempt: it held as many as its activator may.
    OverHeld,
}

impl PolicyEvent {
    /// All of them, in the order in which they are reported.
    pub const ALL: [PolicyEvent; 23] = [
        PolicyEvent::OverflowRequests,
        PolicyEvent::OverflowPending,
        PolicyEvent::OverflowRetries,
        PolicyEvent::Waited,
        PolicyEvent::OverBudget,
        PolicyEvent::EjectionSpared,
        PolicyEvent::Ejected,
        PolicyEvent::Hedged,
        PolicyEvent::HedgeWon,
        PolicyEvent::HedgeDenied,
        PolicyEvent::Unneeded,
        PolicyEvent::NotRetried,
        PolicyEvent::Limited,
        PolicyEvent::RateLimited,
        PolicyEvent::ShedDeadline,
        PolicyEvent::ShedPriority,
        PolicyEvent::Mirrored,
        PolicyEvent::FellBack,
        PolicyEvent::Connected,
        PolicyEvent::Pooled,
        PolicyEvent::ShedDelay,
        PolicyEvent::Held,
        PolicyEvent::OverHeld,
    ];

    /// Key in `summary.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyEvent::OverflowRequests => "overflow_requests",
            PolicyEvent::OverflowPending => "overflow_pending",
            PolicyEvent::OverflowRetries => "overflow_retries",
            PolicyEvent::Waited => "waited",
            PolicyEvent::OverBudget => "over_budget",
            PolicyEvent::EjectionSpared => "ejections_spared",
            PolicyEvent::Ejected => "ejections",
            PolicyEvent::Hedged => "hedges",
            PolicyEvent::HedgeWon => "hedges_won",
            PolicyEvent::HedgeDenied => "hedges_denied",
            PolicyEvent::Unneeded => "attempts_unneeded",
            PolicyEvent::NotRetried => "not_retried",
            PolicyEvent::Limited => "limited",
            PolicyEvent::RateLimited => "rate_limited",
            PolicyEvent::ShedDeadline => "shed_deadline",
            PolicyEvent::ShedPriority => "shed_priority",
            PolicyEvent::Mirrored => "mirrored",
            PolicyEvent::FellBack => "fallbacks",
            PolicyEvent::Connected => "connections_opened",
            PolicyEvent::Pooled => "waited_in_pool",
            PolicyEvent::ShedDelay => "shed_delay",
            PolicyEvent::Held => "held",
            PolicyEvent::OverHeld => "over_held",
        }
    }

    /// For people, beside a number.
    pub fn in_words(self) -> &'static str {
        match self {
            PolicyEvent::OverflowRequests => "over max_requests",
            PolicyEvent::OverflowPending => "over max_pending_requests",
            PolicyEvent::OverflowRetries => "retries over max_retries",
            PolicyEvent::Waited => "waited for a connection",
            PolicyEvent::OverBudget => "over budget",
            PolicyEvent::EjectionSpared => "ejections not made",
            PolicyEvent::Ejected => "ejections",
            PolicyEvent::Hedged => "hedges",
            PolicyEvent::HedgeWon => "hedges that won",
            PolicyEvent::HedgeDenied => "hedges not sent",
            PolicyEvent::Unneeded => "attempts not needed",
            PolicyEvent::NotRetried => "failures not retried",
            PolicyEvent::Limited => "over the limit",
            PolicyEvent::RateLimited => "over the rate limit",
            PolicyEvent::ShedDeadline => "shed by deadline",
            PolicyEvent::ShedPriority => "shed by priority",
            PolicyEvent::Mirrored => "mirrored",
            PolicyEvent::FellBack => "fallbacks",
            PolicyEvent::Connected => "connections opened",
            PolicyEvent::Pooled => "waited in the pool",
            PolicyEvent::ShedDelay => "shed by delay",
            PolicyEvent::Held => "held for an instance",
            PolicyEvent::OverHeld => "over the activator's size",
        }
    }
}

/// Kind of policy events that a time series shows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyGroup {
    /// Instances ejected.
    Ejections,
    /// Attempts and retries that a breaker or a budget did not allow.
    Overflows,
    /// Attempts sent beside one in flight.
    Hedges,
    /// Requests that a limit on requests at once or over time refused.
    Limited,
    /// Requests that an instance refused by deadline, priority or delay.
    Shed,
}

impl PolicyGroup {
    /// All of them, in the order in which they are reported.
    pub const ALL: [PolicyGroup; 5] =
        [PolicyGroup::Ejections, PolicyGroup::Overflows, PolicyGroup::Hedges, PolicyGroup::Limited, PolicyGroup::Shed];

    /// In one word, for people and for columns.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyGroup::Ejections => "ejections",
            PolicyGroup::Overflows => "overflows",
            PolicyGroup::Hedges => "hedges",
            PolicyGroup::Limited => "limited",
            PolicyGroup::Shed => "shed",
        }
    }

    /// The events that it counts.
    pub fn events(self) -> &'static [PolicyEvent] {
        match self {
            PolicyGroup::Ejections => &[PolicyEvent::Ejected],
            PolicyGroup::Overflows => &[
                PolicyEvent::OverflowRequests,
                PolicyEvent::OverflowPending,
                PolicyEvent::OverflowRetries,
                PolicyEvent::OverBudget,
                PolicyEvent::OverHeld,
            ],
            PolicyGroup::Hedges => &[PolicyEvent::Hedged],
            PolicyGroup::Limited => &[PolicyEvent::Limited, PolicyEvent::RateLimited],
            PolicyGroup::Shed => &[PolicyEvent::ShedDeadline, PolicyEvent::ShedPriority, PolicyEvent::ShedDelay],
        }
    }
}

/// Policy events of one call; each at most 255 times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks([u8; PolicyEvent::ALL.len()]);

impl Marks {
    /// One more.
    pub fn count(&mut self, event: PolicyEvent) {
        let count = &mut self.0[event as usize];
        *count = count.saturating_add(1);
    }

    /// True if there was none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == Marks::default()
    }

    /// Number of these events.
    pub fn of(&self, event: PolicyEvent) -> u8 {
        self.0[event as usize]
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Marks) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine = mine.saturating_add(theirs));
    }
}

/// Policy events of many calls. Takes no memory until the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCounts(Option<Box<[u64; PolicyEvent::ALL.len()]>>);

impl PolicyCounts {
    /// Counts the events of a call.
    #[inline]
    pub fn add(&mut self, marks: &Marks) {
        if !marks.is_empty() {
            let counts = self.0.get_or_insert_default();
            counts.iter_mut().zip(marks.0).for_each(|(sum, count)| *sum = sum.saturating_add(count.into()));
        }
    }

    /// Counts one event.
    pub(crate) fn count(&mut self, event: PolicyEvent) {
        let count = &mut self.0.get_or_insert_default()[event as usize];
        *count = count.saturating_add(1);
    }

    /// Number of these events.
    pub fn of(&self, event: PolicyEvent) -> u64 {
        self.0.as_ref().map_or(0, |counts| counts[event as usize])
    }

    /// Number of the events of a group.
    pub fn of_group(&self, group: PolicyGroup) -> u64 {
        group.events().iter().fold(0, |sum, event| sum.saturating_add(self.of(*event)))
    }

    /// The events that occurred, with their numbers.
    pub fn occurred(&self) -> impl Iterator<Item = (PolicyEvent, u64)> + '_ {
        PolicyEvent::ALL.into_iter().map(|event| (event, self.of(event))).filter(|(_, count)| *count > 0)
    }

    /// Adds the counts of others.
    pub fn merge(&mut self, other: &PolicyCounts) {
        if let Some(other) = &other.0 {
            let counts = self.0.get_or_insert_default();
            counts.iter_mut().zip(other.iter()).for_each(|(mine, theirs)| *mine = mine.saturating_add(*theirs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_where_they_stand_in_the_list() {
        for (at, event) in PolicyEvent::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, at);
            let (mut marks, mut counts) = (Marks::default(), PolicyCounts::default());
            (0..300).for_each(|_| marks.count(event));
            counts.add(&marks);
            counts.merge(&counts.clone());
            assert_eq!(counts.occurred().collect::<Vec<_>>(), [(event, 510)]);
        }
    }
}
