//! Merging the traces of several processes of one run.

use std::io::Read;

use meshsim_actor::Time;
use serde::de::DeserializeOwned;

use crate::{Entry, ReadError, ReadErrorKind, Reader, Record};

/// Merges the records of all `parts` and hands each to `put`, in order of time; returns their number. Each part must be
/// in order of time, and the clocks must agree: then the delivery of a message is never written before its sending.
///
/// A truncated part ends at the cut: its process was killed while it wrote or sent it.
///
/// Holds one record of each part in memory.
///
/// # Errors
/// If a part cannot be read further for another reason. The records before that point in all parts are handed over.
pub fn merge<R, M, T>(parts: Vec<Reader<R, M, T>>, mut put: impl FnMut(&Record<M, T>)) -> Result<u64, ReadError>
where
    R: Read,
    M: DeserializeOwned,
    T: DeserializeOwned + Copy,
{
    let mut parts = parts;
    let mut heads: Vec<Option<Record<M, T>>> = parts.iter_mut().map(next).collect::<Result<_, _>>()?;
    let mut records = 0;
    // There are few parts: looking at all of them costs less than keeping them sorted.
    while let Some(first) =
        (0..heads.len()).filter(|at| heads[*at].is_some()).min_by_key(|at| order(heads[*at].as_ref()))
    {
        if let Some(record) = heads[first].take() {
            put(&record);
            records += 1;
        }
        heads[first] = next(&mut parts[first])?;
    }
    Ok(records)
}

fn next<R, M, T>(part: &mut Reader<R, M, T>) -> Result<Option<Record<M, T>>, ReadError>
where
    R: Read,
    M: DeserializeOwned,
    T: DeserializeOwned + Copy,
{
    match part.next().transpose() {
        Err(ReadError { trouble: ReadErrorKind::CutOff, .. }) => Ok(None),
        read => read,
    }
}

/// At equal times the step that sends a message comes before the one that receives it.
pub(crate) fn order<M, T>(head: Option<&Record<M, T>>) -> (Time, bool) {
    head.map_or((Time::NEVER, true), |record| (record.at, matches!(record.entry, Entry::Deliver(_))))
}
