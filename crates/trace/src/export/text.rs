//! One line for a person: when, who, what, and about which message.
//!
//! ```text
//!     0.001250000s  node-2        deliver      extend  coordinator/7 from coordinator
//! ```

use std::io::{Read, Write};

use meshsim_actor::{Fate, Message, Power};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::derive::{Derived, Deriver};
use super::{ExportError, id_text, kind};
use crate::{Entry, Header, Reader, Record};

/// Writes the whole trace; says how many records there were.
pub(super) fn write<R, M, T>(mut trace: Reader<R, M, T>, out: &mut impl Write) -> Result<u64, ExportError>
where
    R: Read,
    M: Message,
    T: Serialize + DeserializeOwned + std::fmt::Debug,
{
    let header = trace.header().clone();
    let width = header.actors.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(4, 24);
    let mut deriver = Deriver::default();
    let mut records = 0;
    for record in &mut trace {
        let record = record?;
        let derived = deriver.derive(&record);
        let (actor, kind) = (header.name(record.actor), kind(&record.entry));
        let line = format!(
            "{:>6}.{:09}s  {actor:width$}  {kind:11}  {}",
            record.at.nanos() / 1_000_000_000,
            record.at.nanos() % 1_000_000_000,
            detail(&header, &record, &derived),
        );
        writeln!(out, "{}", line.trim_end())?;
        records += 1;
    }
    Ok(records)
}

fn detail<M: std::fmt::Debug, T: std::fmt::Debug>(header: &Header, record: &Record<M, T>, derived: &Derived) -> String {
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
