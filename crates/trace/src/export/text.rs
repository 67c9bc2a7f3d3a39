//! One line for a person: when, who, what, and about which message.
//!
//! ```text
//!     0.001250000s  node-2        deliver      extend  coordinator/7 from coordinator
//! ```

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{Read, Write};

use meshsim_actor::{ActorId, Fate, Message, Power, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::derive::{Derived, Deriver};
use super::{ExportError, id_text, kind};
use crate::{Entry, Header, ReadError, Reader, Record};

/// Writes the whole trace; says how many records there were.
pub(super) fn write<R, M, T>(mut trace: Reader<R, M, T>, out: &mut impl Write) -> Result<u64, ExportError>
where
    R: Read,
    M: Message,
    T: Serialize + DeserializeOwned + Debug,
{
    let header = trace.header().clone();
    let width = header.actors.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(4, 24);
    let mut deriver = Deriver::default();
    let mut records = 0;
    for record in &mut trace {
        let record = record?;
        let derived = deriver.derive(&record);
        writeln!(out, "{}", line(&header, width, &record, &derived))?;
        records += 1;
    }
    Ok(records)
}

/// The last `most` records of `actor` before record `end`, a line each, with their numbers: what led to something.
///
/// # Errors
/// If the trace cannot be read that far.
pub fn before<R, M, T>(
    mut trace: Reader<R, M, T>,
    actor: ActorId,
    end: u64,
    most: usize,
) -> Result<Vec<(u64, String)>, ReadError>
where
    R: Read,
    M: Message,
    T: Serialize + DeserializeOwned + Debug,
{
    let header = trace.header().clone();
    let mut deriver = Deriver::default();
    let mut last = VecDeque::new();
    for record in &mut trace {
        let record = record?;
        if record.seq >= end {
            break;
        }
        let derived = deriver.derive(&record);
        if record.actor == actor {
            last.push_back((record, derived));
            if last.len() > most {
                last.pop_front();
            }
        }
    }
    Ok(last.iter().map(|(record, derived)| (record.seq, line(&header, 0, record, derived))).collect())
}

fn line<M: Debug, T: Debug>(header: &Header, width: usize, record: &Record<M, T>, derived: &Derived) -> String {
    let line = format!(
        "{:>17}  {:width$}  {:11}  {}",
        time(record.at),
        header.name(record.actor),
        kind(&record.entry),
        detail(header, record, derived),
    );
    line.trim_end().into()
}

/// A moment, to the nanosecond.
pub(crate) fn time(at: Time) -> String {
    format!("{}.{:09}s", at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000)
}

fn detail<M: Debug, T: Debug>(header: &Header, record: &Record<M, T>, derived: &Derived) -> String {
    let message = derived.message.map(|(id, sent)| (id_text(header, id), sent.map_or("?", |sent| sent.kind)));
    let (id, kind) = message.unwrap_or_default();
    match &record.entry {
        Entry::Start { incarnation } => format!("life {incarnation}"),
        Entry::Deliver(from) => {
            let copy = if derived.copy > 0 { format!(" (copy {})", derived.copy) } else { String::new() };
            format!("{kind}  {id} from {}{copy}", header.name(from.from))
        }
        Entry::Send { to, msg, .. } => format!("{kind}  {id} to {}  {msg:?}", header.name(*to)),
        Entry::Arm { at, tick, .. } => format!("{tick:?} in {}", at.since(record.at)),
        Entry::Fire(_) | Entry::Disarm(_) => derived.cause.map_or_else(String::new, |seq| format!("of record {seq}")),
        Entry::Note { what, subject, value } => format!("{what} {subject} {value}"),
        Entry::Fate(_, Fate::Deliver(after)) => format!("{kind}  {id} takes {after}"),
        Entry::Fate(_, Fate::Lost(cause)) => format!("{kind}  {id}: {}", cause.as_str()),
        Entry::Fate(_, Fate::Duplicate(a, b)) => format!("{kind}  {id} takes {a} and {b}"),
        Entry::Fate(_, Fate::Hold(until)) => format!("{kind}  {id} until {until}"),
        Entry::Power(Power::Speed(speed)) => format!("x{speed}"),
        Entry::Power(_) => String::new(),
    }
}
