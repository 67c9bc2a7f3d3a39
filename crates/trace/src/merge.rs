//! Records of several processes of one run, put together as one trace.

use std::io::{Read, Write};

use meshsim_actor::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Entry, ReadError, Reader, Record, Trouble, Writer};

/// Writes the records of all `parts` to `out`, in order of time; says how many there were. Each part must be in order of
/// time itself, and their clocks must agree: a message's delivery is then never written before its sending.
///
/// A part that is cut off ends there: its process was killed while it wrote or handed it in.
///
/// Holds one record of each part.
///
/// # Errors
/// If a part cannot be read further for another reason. What comes before in all parts has been written.
pub fn merge<R, M, T, W>(parts: Vec<Reader<R, M, T>>, out: &mut Writer<W>) -> Result<u64, ReadError>
where
    R: Read,
    M: Serialize + DeserializeOwned,
    T: Serialize + DeserializeOwned + Copy,
    W: Write,
{
    let mut parts = parts;
    let mut heads: Vec<Option<Record<M, T>>> = parts.iter_mut().map(next).collect::<Result<_, _>>()?;
    let mut records = 0;
    // Few parts: looking at all of them costs less than keeping them sorted.
    while let Some(first) = (0..heads.len()).filter(|at| heads[*at].is_some()).min_by_key(|at| order(&heads[*at])) {
        if let Some(record) = heads[first].take() {
            out.put(&record);
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
        Err(ReadError { trouble: Trouble::CutOff, .. }) => Ok(None),
        read => read,
    }
}

/// At one moment what a message is sent by comes before what takes it in.
fn order<M, T>(head: &Option<Record<M, T>>) -> (Time, bool) {
    head.as_ref().map_or((Time::NEVER, true), |record| (record.at, matches!(record.entry, Entry::Deliver(_))))
}
