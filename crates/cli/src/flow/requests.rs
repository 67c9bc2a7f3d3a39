//! The requests of a trace that are selected, each when it has ended.

use std::collections::BTreeMap;

use meshsim_mesh::mark;
use meshsim_report::plural;
use meshsim_report::waterfall::{Follower, Totals, Waterfall};
use meshsim_trace::Entry;

use super::source::Source;
use super::stream::Item;
use crate::error::Error;

/// Follows requests. One is selected, as a whole, by any of its messages, or by the note that it is due. Memory grows
/// with the largest number of requests in flight.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    follower: Follower,
    /// Requests in flight, and whether each is selected.
    live: BTreeMap<u64, bool>,
    wanted: usize,
}

impl Requests {
    /// Takes in the next record. Gives back the request that ends with it, if it is selected.
    pub(crate) fn take(&mut self, item: &Item, is_wanted: bool) -> Option<Waterfall> {
        let due = match &item.record.entry {
            Entry::Note { what, subject, .. } if &**what == mark::DUE => Some(*subject),
            _ => None,
        };
        if let Some(root) = due
            && self.live.insert(root, false) == Some(true)
        {
            self.wanted -= 1;
        }
        let root = due.or_else(|| item.sent().and_then(|sent| sent.about.root));
        if is_wanted
            && let Some(root) = root
            && let Some(known) = self.live.get_mut(&root)
        {
            self.wanted += usize::from(!*known);
            *known = true;
        }
        let ended = self.follower.take(&item.record)?;
        let is_wanted = self.live.remove(&ended.root).unwrap_or(false);
        self.wanted -= usize::from(is_wanted);
        is_wanted.then_some(ended)
    }

    /// Omissions, one sentence each.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let told = || format!("{} left out: they had not ended", plural(self.wanted as u64, "request"));
        (self.wanted > 0).then(told).into_iter().collect()
    }

    /// Requests that are selected and have not ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.wanted
    }
}

/// Follows the requests of a trace, of which it may hold some or all.
pub(crate) fn follower(source: &Source) -> Follower {
    if source.header.keep.is_empty() { Follower::default() } else { Follower::of_some() }
}

/// Adds up the time of all requests by kind.
pub(crate) fn gather_totals(source: &Source) -> Result<Totals, Error> {
    let (mut totals, mut follower) = (Totals::default(), follower(source));
    for record in source.reader()? {
        let record = record.map_err(|error| Error::Trace(source.path.clone(), error))?;
        if let Some(of) = follower.take(&record) {
            totals.add(&of);
        }
    }
    Ok(totals)
}
