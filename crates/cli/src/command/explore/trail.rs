//! Causes and effects of records, part by part of the trace.

use std::sync::Arc;

use super::answers::Now;
use super::index::Index;
use super::overview::Overview;
use super::pages::{Pages, records};
use crate::error::Error;
use crate::flow::Source;

/// Parts that are read for the causes of a record.
const CAUSE_PARTS_MAX: usize = 6;
/// Chunks in which effects are looked for: some 100,000 records.
const EFFECT_CHUNKS: usize = 3;

/// Follows records of a trace.
pub(super) struct Trail<'a> {
    pub(super) pages: &'a Pages,
    pub(super) now: Arc<Now>,
    pub(super) source: &'a Source,
    pub(super) overview: &'a Overview,
}

impl Trail<'_> {
    /// True if the trace has this record.
    pub(super) fn has(&self, record: u64) -> bool {
        record < self.now.chunks.records()
    }

    /// The part with a record; `None` if the trace does not have it.
    pub(super) fn part(&self, record: u64) -> Result<Option<Arc<Index>>, Error> {
        let Some(chunk) = self.now.chunks.with_record(record) else { return Ok(None) };
        self.pages.over(chunk..chunk + 1, &self.now.chunks, self.source, self.overview).map(Some)
    }

    /// The record itself, its cause, and so on: at most so many, and whether there are more.
    pub(super) fn causes(&self, record: u64, most: usize) -> Result<(Vec<u64>, bool), Error> {
        let mut chain = Vec::new();
        let mut parts = 0;
        let mut part: Option<Arc<Index>> = None;
        let mut at = record;
        loop {
            if chain.len() == most {
                return Ok((chain, true));
            }
            if part.as_ref().is_none_or(|part| !part.span.contains(&at)) {
                if parts == CAUSE_PARTS_MAX {
                    return Ok((chain, true));
                }
                (part, parts) = (self.part(at)?, parts + 1);
            }
            chain.push(at);
            match part.as_ref().and_then(|part| part.cause(at)) {
                Some(cause) => at = cause,
                None => return Ok((chain, false)),
            }
        }
    }

    /// The records that follow from this one, however far: the first so many, and whether there may be more.
    pub(super) fn effects(&self, record: u64, most: usize) -> Result<(Vec<u64>, bool), Error> {
        let Some(first) = self.now.chunks.with_record(record) else { return Ok((Vec::new(), false)) };
        let last = (first + EFFECT_CHUNKS).min(self.now.chunks.chunks.len());
        let mut found = vec![record];
        for chunk in first..last {
            let part = self.pages.over(chunk..chunk + 1, &self.now.chunks, self.source, self.overview)?;
            let span = records(&self.now.chunks.chunks[chunk..=chunk]);
            for next in span.start.max(record + 1)..span.end {
                if part.cause(next).is_some_and(|cause| found.binary_search(&cause).is_ok()) {
                    if found.len() > most {
                        return Ok((found.split_off(1), true));
                    }
                    found.push(next);
                }
            }
        }
        // The effects of what happened long ago are seldom of interest, but it is said that they were not looked for.
        let is_cut = last < self.now.chunks.chunks.len() && self.goes_on(&found, last)?;
        Ok((found.split_off(1), is_cut))
    }

    /// True if a record of the next chunk follows from one of these.
    fn goes_on(&self, found: &[u64], chunk: usize) -> Result<bool, Error> {
        let part = self.pages.over(chunk..chunk + 1, &self.now.chunks, self.source, self.overview)?;
        let span = records(&self.now.chunks.chunks[chunk..=chunk]);
        Ok(span.into_iter().any(|next| part.cause(next).is_some_and(|cause| found.binary_search(&cause).is_ok())))
    }

    /// The records of the sending and of the end of the message that a record is about; 0 if it has no end.
    pub(super) fn message(&self, record: u64) -> Result<Option<[u64; 2]>, Error> {
        let part = self.part(record)?;
        Ok(part.and_then(|part| {
            let row = part.messages.of_record(record)?;
            Some([part.messages.record[row], part.messages.end[row]])
        }))
    }
}
