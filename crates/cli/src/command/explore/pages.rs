//! Parts of a trace that were read, by their chunks: a question about a moment reads a few chunks and not the whole.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use meshsim_trace::{Chunk, Index as Chunks};

use super::index::{Index, Reading};
use super::overview::Overview;
use crate::error::Error;
use crate::flow::{Item, Source};

/// Records of a part: those of more chunks are read part by part.
pub(super) const RECORDS_MAX: u64 = 300_000;
/// Records of all parts that are kept.
const KEPT_MAX: u64 = 2_000_000;
/// Records behind a part among which the ends of its messages are looked for. The [overview](super::overview) knows the
/// ends that come later.
pub(super) const LOOK_AHEAD: u64 = 1 << 16;

/// The trace in parts. Its memory is bounded by [`KEPT_MAX`].
#[derive(Default)]
pub(super) struct Pages {
    /// The chunks of each part; the one that was used last comes last.
    kept: Mutex<VecDeque<(Range<usize>, Arc<Index>)>>,
}

/// The records of consecutive chunks.
pub(super) fn records(chunks: &[Chunk]) -> Range<u64> {
    match (chunks.first(), chunks.last()) {
        (Some(first), Some(last)) => first.first..last.first + u64::from(last.records),
        _ => 0..0,
    }
}

/// The chunks with records in a stretch of time, in nanoseconds.
pub(super) fn within(chunks: &[Chunk], from: u64, to: u64) -> Range<usize> {
    let first = chunks.partition_point(|chunk| chunk.to.nanos() < from);
    first..chunks.partition_point(|chunk| chunk.from.nanos() <= to).max(first)
}

impl Pages {
    /// The part with these chunks, and perhaps others beside them.
    pub(super) fn over(
        &self,
        chunks: Range<usize>,
        of: &Chunks,
        source: &Source,
        overview: &Overview,
    ) -> Result<Arc<Index>, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in = |it: &(Range<usize>, _)| it.0.start <= chunks.start && chunks.end <= it.0.end;
        if let Some(at) = kept.iter().position(is_in)
            && let Some(found) = kept.remove(at)
        {
            let part = found.1.clone();
            kept.push_back(found);
            return Ok(part);
        }
        drop(kept);
        let (part, is_final) = read(chunks.clone(), of, source, overview)?;
        let part = Arc::new(part);
        if is_final {
            kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back((chunks, part.clone()));
            let len = |it: &(Range<usize>, Arc<Index>)| it.1.span.end - it.1.span.start;
            while kept.len() > 1 && kept.iter().map(len).sum::<u64>() > KEPT_MAX {
                kept.pop_front();
            }
        }
        Ok(part)
    }
}

/// Reads a part. It is final if more reading cannot tell more about its messages.
fn read(chunks: Range<usize>, of: &Chunks, source: &Source, overview: &Overview) -> Result<(Index, bool), Error> {
    let span = records(&of.chunks[chunks.clone()]);
    let until = span.end + LOOK_AHEAD;
    let behind = of.chunks.partition_point(|chunk| chunk.first < until);
    let mut flow = source.flow_within(of, chunks.start..behind.max(chunks.end))?;
    let wrong = |error| Error::Trace(source.path.clone(), error);
    let mut reading = Reading::new(span.clone(), &source.names);
    // If a chunk is damaged, the trace ends before it, and the overview reports that.
    let under_way = match flow.under_way() {
        Ok(under_way) => under_way,
        Err(error) if span.start > 0 || !of.is_complete => return Err(wrong(error)),
        Err(_) => Vec::new(),
    };
    under_way.iter().for_each(|(id, sent)| reading.is_under_way(sent, id.from));
    let mut last = span.start;
    for item in flow {
        let Ok(item) = item else { break };
        last = item.record.seq;
        if last >= until || last >= span.end && reading.is_closed() {
            break;
        }
        reading.take(&item);
    }
    let mut index = reading.end();
    if index.open > 0 {
        overview.late_ends(&mut index);
    }
    let is_at_end = of.is_complete && last + 1 >= of.records() && overview.is_whole();
    let is_final = index.open == 0 || is_at_end || overview.has_read(until);
    Ok((index, is_final))
}

/// Does something with every record of consecutive chunks until it breaks, or the trace is damaged.
pub(super) fn each(
    chunks: Range<usize>,
    of: &Chunks,
    source: &Source,
    mut take: impl FnMut(&Item) -> ControlFlow<()>,
) -> Result<(), Error> {
    let end = records(&of.chunks[chunks.clone()]).end;
    for item in source.flow_within(of, chunks)? {
        let item = item.map_err(|error| Error::Trace(source.path.clone(), error))?;
        if item.record.seq >= end || take(&item).is_break() {
            break;
        }
    }
    Ok(())
}
